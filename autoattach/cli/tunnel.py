"""`autoattach tunnel`: the door in a container or on a server, at a port here; or the IDE here, at a port there.

`python -m autoattach pipe` is started over there, and connections are carried over its standard input and output.
"""

from __future__ import annotations

import argparse
import errno
import shlex
import signal
import socket
import sys
import time
from typing import List, NoReturn

from autoattach._errors import AttachError
from autoattach._network import holder
from autoattach._network_errors import AddressError, PortTaken
from autoattach.cli import _relay, _way
from autoattach.cli._transport import TICK, Transport
from autoattach.cli._way import Way

NAME = "tunnel"
HELP = "bring the door of a program in a container, a pod or on a server to a port of this machine"
EPILOG = """\
It runs on your machine, beside the IDE, for as long as you debug; Ctrl-C ends it. It starts `PYTHON -m autoattach pipe`
over there, through ssh, docker exec or kubectl exec, and carries the connections over that one's standard input and
output. Nothing is published, and nothing listens but on 127.0.0.1. Who may come in is decided by ssh, by Docker and by
the cluster's RBAC. It needs autoattach in there, and opens no connection to the program before the IDE opens one here.

VS Code connects to 127.0.0.1:9000 as if the program ran here. With --reverse it is the program that connects: PyCharm's
debug server (or VS Code's "listen") waits at 127.0.0.1:9000 here, and the program finds it at 127.0.0.1:9000 there.

examples:
  autoattach tunnel docker://web                              a container; no -p, no DEBUGGER_HOST
  autoattach tunnel kubectl://shop/web-5d9f7c                 a pod; the container's name may follow: .../app
  autoattach tunnel ssh://me@host --python /srv/app/.venv/bin/python
  autoattach tunnel --reverse docker://web                    PyCharm
  autoattach tunnel --command "docker compose exec -T web"    any other way in: podman exec -i web, sudo -u app,
                                                              nsenter -t PID -n, ssh -J jump host"""

HOST, PORT = "127.0.0.1", 9000
PAUSE = 10.0  # seconds between two tries, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `tunnel` takes on its command line."""
    parser.usage = "autoattach tunnel [OPTION ...] (WHERE | --command COMMAND)"
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("where", metavar="WHERE", nargs="?", help=_way.FORMS)
    parser.add_argument(
        "--command", metavar="COMMAND", dest="way_in", help="what runs a command there; instead of WHERE"
    )
    parser.add_argument("--reverse", action="store_true", help="the program there connects to the IDE here (PyCharm)")
    parser.add_argument("--port", type=_port, default=PORT, help="the port here (9000); 0: any free one")
    parser.add_argument(
        "--remote-port",
        type=_port,
        metavar="PORT",
        help="the port there (what DEBUGGER_PORT is there, else 9000); "
        "keep it the same as the port here, for children are announced to the IDE with it",
    )
    parser.add_argument("--python", default="python3", help="the Python there, one that has autoattach (python3)")


def _port(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) < 65536):
        raise argparse.ArgumentTypeError(f"{value!r} is no port")
    return int(value)


def run(arguments: argparse.Namespace) -> int:
    """Carry connections until Ctrl-C. Returns 130 then, 143 after SIGTERM, 1 where it cannot begin, 2 for usage."""
    if (arguments.where is None) == (arguments.way_in is None):
        say("either WHERE or --command, as in: autoattach tunnel docker://web")
        return 2
    if arguments.reverse and not arguments.port:
        say("port 0 is any free one, and it has to be the IDE's")
        return 2
    came: List[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in _signals()}
    tunnel = None
    try:
        for number in handlers:
            signal.signal(number, interrupt)
        way = _way.to(arguments.where) if arguments.way_in is None else _way.by(arguments.way_in)
        tunnel = Tunnel(way, arguments)
        if arguments.reverse:
            tunnel.reverse()
        tunnel.forward()
    except AttachError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 128 + (came[0] if came else signal.SIGINT)
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)  # what follows is short
        if tunnel is not None:
            tunnel.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _signals() -> List[int]:
    """Those that end it, but for what is ignored: nohup has SIGHUP so."""
    found = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def say(text: str) -> None:
    """A line on stderr, while somebody is there to read it."""
    try:
        print("autoattach tunnel:", text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


class Tunnel:
    """What `tunnel` does: a transport as long as there is one, and a new one after."""

    def __init__(self, way: Way, arguments: argparse.Namespace) -> None:
        self._way = way
        self._python = arguments.python
        self._port = arguments.port
        options = ["--port", str(arguments.remote_port)] if arguments.remote_port else []
        options += ["--listen"] if arguments.reverse else []
        self._words = [*shlex.split(self._python), "-m", "autoattach", "pipe", *options]
        self._link: Transport | None = None
        self._listener: socket.socket | None = None
        self._said = ""

    def forward(self) -> NoReturn:
        """Listen here. Raises `AttachError` where it cannot begin; what fails later is said, and tried again."""
        try:
            self._listener = _relay.listen(self._port)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
                raise AddressError(f"cannot listen on {HOST}:{self._port} ({error.strerror or error})") from None
            raise PortTaken(
                f"port {HOST}:{self._port} is taken{holder(self._port)}",
                "end that program, or give another port with --port, and DEBUGGER_PORT there the same",
            ) from None
        self._port = self._listener.getsockname()[1]
        link = self._open()
        say(f"{HOST}:{self._port} leads to port {link.port} in {self._way.place}; attach here; Ctrl-C ends it")
        if link.port != self._port:
            say(
                f"children are announced to the IDE at port {link.port}: take the same port on both sides to debug them"
            )
        self._listener.settimeout(TICK)
        while True:
            if self._link is not None and not self._link.alive():
                self._lost("; the next connection opens it again")
            try:
                sock, _ = self._listener.accept()
            except socket.timeout:
                continue
            except OSError:  # it left in the queue, or there are no more files to open for now
                time.sleep(TICK)
                continue
            sock.settimeout(None)
            self._carry(sock)

    def _carry(self, sock: socket.socket) -> None:
        try:
            if self._link is not None and not self._link.alive():
                self._lost("")
            link = self._link
            if link is None:
                link = self._open()
                say(f"the way to {self._way.place} is open again")
        except AttachError as error:
            _relay.abort(sock)
            self.say_once(str(error))
        else:
            link.relay.carry(sock)

    def reverse(self) -> NoReturn:
        """Have the other side listen. Raises `AttachError` where it cannot begin; what fails later is tried again."""
        pause, began = 1.0, False
        while True:
            try:
                link = self._open()
                began, pause = True, 1.0
                say(
                    f"port {link.port} in {self._way.place} leads to the IDE at {HOST}:{self._port}; "
                    "start its debug server; Ctrl-C ends it"
                )
                while link.alive():
                    time.sleep(TICK)
                self._lost("; trying again")
            except AttachError as error:
                if not began:
                    raise
                self.say_once(f"{error}; trying again")
            time.sleep(pause)
            pause = min(2 * pause, PAUSE)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._listener is not None:
            self._listener.close()
        if self._link is not None:
            self._link.close()

    def _open(self) -> Transport:
        self._link = None
        self._link = link = Transport(self._way, self._words, self._python)
        try:
            link.open(self._dial, self._refused, say)
        except AttachError:
            self._link = None
            link.close()
            raise
        self._said = ""
        return link

    def _lost(self, what_next: str) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
            say(f"the way to {self._way.place} has ended ({link.last_words()}){what_next}")

    def say_once(self, text: str) -> None:
        """Say it, but not what was said just before."""
        if text != self._said:
            self._said = text
            say(text)

    def _dial(self) -> socket.socket:
        try:
            return _relay.dial(self._port)
        except OSError as error:
            reason = error.strerror or error
            self.say_once(
                str(AddressError(f"nobody listens on {HOST}:{self._port} ({reason})", "start the IDE's side"))
            )
            raise

    def _refused(self, reason: str) -> None:
        port = self._link.port if self._link is not None else ""
        self.say_once(
            f"nobody listens on port {port} in {self._way.place} ({reason}); "
            "start the program there with START_DEBUGGER=1"
        )
