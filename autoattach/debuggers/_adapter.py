"""Run debugpy's adapter on sockets that are there already. A program, started by `debugpy.py` beside it.

Its orders are one line of JSON on standard input, so that no secret stands in a command line. The adapter makes its
public socket with `debugpy.common.sockets.create_server` (debugpy 1.6 to 1.8.22), and that function is replaced here;
the other replacements each say what goes wrong without them. On POSIX the sockets are inherited, by number; on Windows
they are shared, as bytes.
"""

import json
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Read the orders, leave the session of the program that is debugged, and serve."""
    orders = json.loads(sys.stdin.buffer.readline())
    if hasattr(signal, "pthread_sigmask"):  # a hub for one command has its signals blocked
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if hasattr(os, "fork") and os.fork() != 0:  # the program must not have to reap us: the adapter may outlive it
        os._exit(0)
    # In place of the folder of this file, in which `debugpy` is another module
    sys.path[0] = orders["path"]
    sys.argv[1:] = orders["arguments"]
    try:
        serve(orders)
    except Exception as error:
        import socket

        with socket.create_connection(("127.0.0.1", orders["report"]), 5) as report:
            report.sendall(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        raise


def serve(orders: dict) -> None:  # type: ignore[type-arg]
    """Run the adapter as the orders say, until its debuggees and clients have gone."""
    import base64
    import inspect
    import queue
    import select
    import socket
    import threading
    import time
    from types import SimpleNamespace

    from debugpy.common import log, messaging, sockets

    def take(order: "int | str") -> socket.socket:
        share: Any = getattr(socket, "fromshare", None)  # on Windows
        sock = socket.socket(fileno=order) if isinstance(order, int) else share(base64.b64decode(order))
        sock.setblocking(True)
        # As debugpy's own sockets: a client whose machine has vanished is noticed within 20 s
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 5)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        return sock

    class Door(socket.socket):
        """The listening socket; who has been let in already comes first."""

        def accept(self):  # type: ignore[no-untyped-def]
            # Nobody before the program itself is there: a client that comes sooner has the adapter listen for programs
            # twice, and one that leaves sooner ends it (debugpy 1.8.22).
            while not servers.connections():
                time.sleep(0.005)
            if not self.sorting:
                self.sorting = True
                threading.Thread(target=self.sort, daemon=True).start()
                for visitor in visitors[1:]:  # they have said nothing yet
                    threading.Thread(target=receive, args=(visitor, address_of(visitor)), daemon=True).start()
                if visitors:  # the client for which this adapter was started
                    return visitors[0], address_of(visitors[0])
            while True:
                client = clients_to_come.get()
                if client is None:
                    raise OSError("the door is closed")
                # When the last program has gone we are about to end, and a client would wait in vain (debugpy 1.6 to
                # 1.8.22); after an exec the next one is about to come.
                until = time.monotonic() + 1
                while not servers.connections() and time.monotonic() < until:
                    time.sleep(0.01)
                if servers.connections():
                    return client
                sockets.close_socket(client[0])

        sorting = False

        def sort(self) -> None:
            """Processes of the session come to the same door as its clients: let both in, and tell them apart."""
            while True:
                try:
                    sock, address = super().accept()
                except OSError:
                    clients_to_come.put(None)
                    return
                threading.Thread(target=receive, args=(sock, address), daemon=True).start()

    def address_of(sock: socket.socket) -> Any:
        try:
            return sock.getpeername()
        except OSError:  # gone meanwhile
            return "", 0

    def receive(sock: socket.socket, address: Any) -> None:
        sock.settimeout(10)
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except OSError:
            first = b""
        if first != orders["hello"][:1].encode():  # a client begins with "Content-Length"
            sock.settimeout(None)
            clients_to_come.put((sock, address))
            return
        try:
            line = sock.makefile("rb").readline(200).decode()
            if line.startswith(orders["hello"]):
                # After an exec it has the id of the program before, of which the adapter must have taken leave.
                words = line.split()
                pid, until = int(words[2]), time.monotonic() + 3
                if words[3:] == [orders["hub"]]:
                    orders["pid"] = pid  # from now on the members are its
                    waiting_hub[:] = [sock]
                while (pid in [conn.pid for conn in servers.connections()]) and time.monotonic() < until:
                    time.sleep(0.01)
                with members_lock:
                    forget_the_ended()
                    members.append(sock)
                    if not tell_members():
                        sock.sendall(orders["wait"].encode())
                return
        except (OSError, ValueError):
            pass
        sock.close()

    def forget_the_ended() -> None:
        for member in list(members):
            if select.select([member], [], [], 0)[0]:
                members.remove(member)
                member.close()

    waiting_hub: list[socket.socket] = []

    def wait_for_hub(session, predicate, timeout=None):  # type: ignore[no-untyped-def]
        # A client is attached to the process that is here longest, and leaves as that ends: to the hub, if there is one
        # that has come back to its session, whoever else is here. It has waited for a client, with nothing loaded.
        if timeout == 0:  # it is to be attached to a certain process
            return wait_as_it_is(session, predicate, timeout)
        with members_lock:
            forget_the_ended()
            waits = any(sock in members for sock in waiting_hub)
        if waits:
            tell_members(True)
            until = time.monotonic() + 5
            while time.monotonic() < until and orders["pid"] not in parents:  # until it is completely in
                time.sleep(0.01)
        there = [conn for conn in servers.connections() if conn.pid == orders["pid"] and predicate(conn)]
        if there and there[0].server is None:
            return there[0]
        return wait_as_it_is(session, predicate, timeout)

    def tell_members(a_client_is_coming: bool = False) -> bool:
        """Where debuggees go; only when there is a client: nobody loads a debugger for want of one."""
        for conn in servers.connections():
            session = getattr(conn.server, "session", None)
            if session is not None and session.client.is_connected and not session.is_finalizing:
                break
        else:
            if not a_client_is_coming:
                return False
        host, port = sockets.get_address(servers.listener)[:2]
        with members_lock:
            while members:
                member = members.pop()
                try:
                    member.sendall(f"{host} {port} {orders['pid']}\n".encode())
                    coming.append(member)
                except OSError:  # it has ended
                    member.close()
        return True

    def await_members() -> None:
        # They leave their links when they are in, or know that they will not be.
        until = time.monotonic() + 20  # on a machine that is busy
        while time.monotonic() < until and not servers.connections():
            with members_lock:
                for member in select.select(coming, [], [], 0)[0]:
                    coming.remove(member)
                    member.close()
            if not coming:
                break
            time.sleep(0.02)

    def wait_until_ended() -> None:
        # The program may have ended with its client, and a member of the session may just have come, or be told to
        # come: it would find nobody, or be left with a dead debugger in it (debugpy 1.6 to 1.8.22).
        end_as_it_is()
        await_members()
        while servers.connections():
            servers.dont_wait_for_first_connection()  # have it look
            servers.wait_until_disconnected()
            end_as_it_is()
            await_members()

    coming: list[socket.socket] = []
    clients_to_come: Any = queue.SimpleQueue()
    members = [take(order) for order in orders["members"]]
    members_lock = threading.RLock()
    visitors = [take(order) for order in orders["visitors"]]
    listener = take(orders["listener"])
    door = Door(listener.family, listener.type, listener.proto, fileno=listener.detach())
    create_server = sockets.create_server

    def create_server_or_take(host, port=0, *arguments, **keywords):  # type: ignore[no-untyped-def]
        if port != orders["port"]:
            return create_server(host, port, *arguments, **keywords)
        # Here and not earlier: the adapter has forked once more meanwhile, and closed its standard input
        threading.Thread(target=end_if_alone, daemon=True).start()
        return door

    def read_line(stream, reader):  # type: ignore[no-untyped-def]
        # Half a line and then the end of the stream: the adapter would read on for ever, at full speed (debugpy 1.6 to
        # 1.8.22).
        try:
            line = reader.readline()
        except Exception as error:
            raise messaging.NoMoreMessages(str(error), stream=stream) from None
        if not line.endswith(b"\r\n"):
            raise messaging.NoMoreMessages(stream=stream)
        return line[:-2]

    messaging.JsonIOStream._read_line = read_line

    # A message that fails ends the adapter, and with it everybody's session: a client that vanishes as it is answered,
    # for one (debugpy 1.6 to 1.8.22). That its own channel is closed is enough.
    messaging.os = SimpleNamespace(_exit=lambda status: None)  # type: ignore[attr-defined, unused-ignore]

    def report_sockets() -> None:
        # Told to the oldest session's client, which may have vanished: the exception would hit the client that comes
        # (debugpy 1.8.1 to 1.8.22: every now and then a second client's `initialize` had no answer).
        try:
            report_as_it_is()
        except Exception:
            log.swallow_exception("A client could not be told of the sockets:")

    alone = os.dup(0)

    parents: dict[Any, Any] = {}
    connecting = threading.local()

    def connection(self, sock):  # type: ignore[no-untyped-def]
        connecting.it = self
        self.unblocking = threading.RLock()
        is_child = bool(parents)
        connect_as_it_is(self, sock)
        parents[getattr(self, "pid", None)] = getattr(self, "ppid", None)
        if is_child:
            threading.Thread(target=let_go, args=(self,), daemon=True).start()

    def let_go(conn: Any) -> None:
        # A child waits for its client for ever, if that does not know sub-sessions (debugpy 1.6 to 1.8.22). Most end
        # that by themselves; not one that was started with an environment in which there is nothing of us.
        time.sleep(10)
        with conn.unblocking:
            if conn.server is None and not conn.disconnected:
                try:
                    for request, arguments in requests:
                        conn.channel.request(request, {**arguments, "subProcessId": conn.pid})
                except Exception:  # it has ended
                    log.swallow_exception("A child could not be let go on:")

    # As the adapter itself does where there is no client.
    requests: Any = [
        ("initialize", {"adapterID": "debugpy"}),
        ("attach", {}),
        ("configurationDone", {}),
        ("disconnect", {}),
    ]

    def session_of(pid):  # type: ignore[no-untyped-def]
        # A daemon forks twice, and its middle has ended when its last process connects; a member's leader may have
        # ended: nobody would be told of them (debugpy 1.6 to 1.8.22). The nearest ancestor's client is, or any.
        session = session_as_it_is(pid)
        while (session is None or session.is_finalizing) and parents.get(pid):
            pid = parents[pid]
            session = session_as_it_is(pid) or session
        own = getattr(getattr(connecting, "it", None), "pid", None)
        if session is None and session_as_it_is(own) is None:  # else it is that process's new image
            for conn in servers.connections():
                other = getattr(conn.server, "session", None)
                if other is not None and other.client.is_connected and not other.is_finalizing:
                    return other
        return session

    def end_if_alone() -> None:
        # The program holds the other end until it is our debuggee, and says so; it may be killed before. Then the
        # members take its place with the client that is here, if there are any.
        lives = os.read(alone, 1)
        os.close(alone)
        until = time.monotonic() + 15  # it may be about to be registered
        if not lives:
            with members_lock:
                forget_the_ended()
                if not members and not servers.connections():
                    os._exit(1)
            tell_members(True)
        while not servers.connections():
            if time.monotonic() > until:
                os._exit(1)
            time.sleep(0.1)

    def attach_to_session(connection, session):  # type: ignore[no-untyped-def]
        # A client that comes right after another has left is refused while the first one's session is being closed
        # (debugpy 1.6 to 1.8.22).
        start = time.monotonic()
        while connection.server is not None and time.monotonic() < start + 5:
            before = connection.server.session
            leaving = before.is_finalizing or not before.client.is_connected
            if not leaving and time.monotonic() > start + 0.3:
                break
            time.sleep(0.01)
        with connection.unblocking:
            attach_as_it_is(connection, session)
        # A new client is told of the children of the process that it attaches to: also of those who have lost theirs.
        there = {conn.pid for conn in servers.connections()}
        for conn in servers.connections():
            if conn.server is None and conn.ppid not in there:
                conn.ppid = connection.pid
        threading.Thread(target=tell_members, daemon=True).start()

    def serve_on(name, handler, *arguments, **keywords):  # type: ignore[no-untyped-def]
        def handle(sock: socket.socket) -> None:
            # An exception (a client that has gone, for one) would end the thread that accepts: nobody would be let in
            # any more (debugpy 1.6 to 1.8.22).
            try:
                handler(sock)
            except Exception:
                log.swallow_exception("A client could not be let in:")
                sockets.close_socket(sock)

        return serve_as_it_is(name, handle, *arguments, **keywords)

    serve_as_it_is = sockets.serve
    sockets.create_server, sockets.serve = create_server_or_take, serve_on

    from debugpy.adapter import __main__ as adapter
    from debugpy.adapter import clients, servers, sessions  # noqa: F401 - in the order that their imports need

    report_as_it_is: Any = getattr(sessions, "report_sockets", None)
    if report_as_it_is is not None:
        sessions.report_sockets = report_sockets
    end_as_it_is, sessions.wait_until_ended = sessions.wait_until_ended, wait_until_ended
    connect_as_it_is, session_as_it_is = servers.Connection.__init__, sessions.get
    servers.Connection.__init__, sessions.get = connection, session_of
    wait_as_it_is, servers.wait_for_connection = servers.wait_for_connection, wait_for_hub
    attach_as_it_is = servers.Connection.attach_to_session
    servers.Connection.attach_to_session = attach_to_session
    if inspect.signature(adapter.main).parameters:  # up to 1.8.0
        adapter.main(adapter._parse_argv(sys.argv))
    else:
        adapter.main()


if __name__ == "__main__":
    main()
