"""Listening: bind, hold and watch, before any debugger.

Whoever connects is let in and looked at. Only when an IDE stands there is a debugger loaded, and is given the sockets
as they are, every byte still in them.
"""

import _socket
import sys
import time

from autoattach._network import Place, holder, peek, ready, resolve, spell
from autoattach._notices import say_once
from autoattach._session import HELLO, HUB, WAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from autoattach._network import Greeting
    from autoattach._settings import Ports

KEEP = 16  # connections that have said nothing yet; the oldest make room for new ones
MEMBERS = 500  # processes that may wait here: a process has some 1000 numbers for its files
SENTENCE = 10.0  # seconds that a first message may take from its first byte to its last


class Door(Place):
    """A socket that listens, and whoever stands before it."""

    def __init__(self, sock: _socket.socket, address: "tuple[str, int]", name: str = "") -> None:
        """`name` is the id of the session: who knows it may wait here with us for the IDE."""
        super().__init__(sock)
        self._socket: _socket.socket | None = None
        self.address = address
        self._name = name
        self.members: list[_socket.socket] = []
        """The connections of other processes of the session."""
        self._pending: list[_socket.socket] = []
        self._unsure: dict[_socket.socket, float] = {}
        self.gives_way = False
        """To a hub, when one comes: `wait()` ends then."""

    @classmethod
    def open(cls, host: str, ports: "Ports", name: str = "", patience: float = 0.0) -> "Door":
        """Listen on the first free port of `ports` at `host`.

        Raises `PortTaken` when none is free after `patience` seconds, and `AddressError` for any other reason.
        """
        family, address = resolve(host, ports[0], passive=True)
        until = time.monotonic() + patience
        while True:
            for port in range(ports[0], ports[1] + 1):
                try:
                    sock = _listen(family, (address[0], port, *address[2:]))
                except OSError as error:
                    import errno

                    if error.errno not in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
                        from autoattach._network_errors import AddressError

                        raise AddressError(
                            f"cannot listen on {spell(host, port)} ({error.strerror or error})", _advice(error)
                        ) from None
                    continue
                return cls(sock, (host, sock.getsockname()[1]), name)
            if time.monotonic() >= until:
                break
            time.sleep(0.1)
        from autoattach._network_errors import PortTaken

        if ports[0] != ports[1]:
            raise PortTaken(f"every port of {host}:{ports[0]}-{ports[1]} is taken", "set DEBUGGER_PORT to a free one")
        raise PortTaken(
            f"port {spell(host, ports[0])} is taken{holder(ports[0])}",
            "end that program, or set DEBUGGER_PORT to another port (0 takes any free one)",
            ports[0],
        )

    @property
    def socket(self) -> _socket.socket:
        """The listening socket."""
        if self._socket is None:
            self._socket = _socket.socket(*self._kind, fileno=self._number)
        return self._socket

    def _park(self) -> None:
        if self._socket is not None:
            self._socket.detach()
            self._socket = None

    def wait(self, until: float, greeting: "Greeting") -> "list[_socket.socket]":
        """Wait until an IDE has spoken, at the latest until `until` (seconds of `time.monotonic()`).

        The connections that stand there are returned, the IDE's first; none when the time ran out, `interrupt()` was
        called, or the program closed our socket (a daemon closes all it finds).
        """
        try:
            visitors = self._wait(until, greeting)
        except OSError:
            if self.is_ours():
                raise
            visitors = []  # the program has closed it just as we looked at it
        finally:
            self._park()
        return visitors

    def _wait(self, until: float, greeting: "Greeting") -> "list[_socket.socket]":
        while self.is_ours():
            left = until - time.monotonic()
            if left <= 0:
                break
            if self.hub and self.gives_way:
                self._announce_hub()
                break
            # What has said only a part of it stays readable: it is looked at again a little later.
            watched = [self.socket, *(peer for peer in self._pending if peer not in self._unsure), *self.members]
            found = ready(watched, self._bell, min(left, 0.05) if self._unsure else left)
            if found is None or not self.is_ours():
                break
            if self.socket in found:
                found.remove(self.socket)
                self._accept()
            for peer in [*found, *self._unsure]:
                if peer in self.members:
                    self._part_with(peer)
                elif peer in self._pending and self._judge(peer, greeting):  # else it has made room
                    visitors, self._pending, self._unsure = [peer, *self._pending], [], {}
                    return visitors
        return []

    def readmit(self, peers: "Sequence[_socket.socket]") -> None:
        """Let these connections stand before the door, as if they had just come."""
        self._pending.extend(peers)

    def _judge(self, peer: _socket.socket, greeting: "Greeting") -> bool:
        """Whether an IDE has spoken; who is none is let go."""
        data = peek(peer)
        if data and data.startswith(HELLO):
            self._let_in(peer, data)
            return False
        verdict = None if data is None else greeting(data)
        if verdict is None and data and time.monotonic() - self._unsure.setdefault(peer, time.monotonic()) > SENTENCE:
            verdict = False
        if verdict is not None or data == b"":
            self._unsure.pop(peer, None)
            self._pending.remove(peer)
            if not verdict:
                if data:
                    peer.recv(65536)  # unread, it would make our goodbye a reset
                    _report_stranger(data)
                peer.close()
        return bool(verdict)

    def _let_in(self, peer: _socket.socket, data: bytes) -> None:
        """A process of our session stays until it has ended, or an IDE has come."""
        self._pending.remove(peer)
        words = data.split()
        hub = words[3:] == [HUB.encode()]
        if not data.endswith(b"\n") or len(words) != 3 + hub or words[1] != self._name.encode():
            peer.close()
            return
        try:
            peer.recv(len(data))
            peer.send(WAIT)
        except OSError:  # gone already
            peer.close()
        else:
            if hub and words[2].isdigit():
                self.hub = int(words[2])
            self.members.append(peer)
            if len(self.members) > MEMBERS:
                self._part_with(peer)

    def _announce_hub(self) -> None:
        for member in self.members:
            try:
                member.send(f"{HUB} {self.hub}\n".encode())
            except OSError:  # gone already
                pass

    def _part_with(self, member: _socket.socket) -> None:
        self.members.remove(member)
        member.close()

    def _accept(self) -> None:
        try:
            number, _ = self.socket._accept()  # type: ignore[attr-defined, unused-ignore]
        except OSError:  # it has gone already; or there are no numbers left, and it stands there still
            time.sleep(0.05)
            return
        peer = _socket.socket(*self._kind, fileno=number)
        peer.setblocking(False)
        self._pending.append(peer)
        while len(self._pending) > KEEP:
            oldest = self._pending.pop(0)
            self._unsure.pop(oldest, None)
            oldest.close()

    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = str(self.socket.getsockname()[0])
        self._park()
        return address.startswith("127.") or address == "::1"

    def close(self) -> None:
        """Stop listening, and let everybody go. Also after a fork, in the child: the parent's door stays open."""
        self._unhang()
        for peer in [*self._pending, *self.members]:
            peer.close()
        self._pending, self.members = [], []
        if self.is_ours():
            self.socket.close()
        self._park()
        self._number = -1


def _listen(family: int, address: "tuple[object, ...]") -> _socket.socket:
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # a port whose last connections still linger in TIME_WAIT is free
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind(address)  # type: ignore[arg-type, unused-ignore]
        sock.listen(128)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "set DEBUGGER_PORT to a port of 1024 or above"
    return "set DEBUGGER_HOST to an address of this machine"


def _report_stranger(data: bytes) -> None:
    say_once(f"what connected to the debug port speaks something else ({data[:16]!r}); an IDE can still attach")
