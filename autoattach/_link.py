"""A member's connection to its session: it waits there, as the leader waits at the door, to be told of an IDE."""

import _socket
import time

from autoattach._network import Place, peek, reachable, ready, resolve, spell
from autoattach._network_errors import SessionGone
from autoattach._session import HELLO, HUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._network import Greeting
    from autoattach._session import Session

CONNECT = 2.0  # seconds; the connection is to this machine


class Link(Place):
    """A connection to where the session's clients connect: its leader's door or, once an IDE came, the adapter."""

    def __init__(self, sock: _socket.socket, session: "Session") -> None:
        super().__init__(sock)
        self._heard = b""
        self.session = session

    @classmethod
    def open(cls, session: "Session", pid: int, role: str = "") -> "Link":
        """Connect, and say who we are, and whether that is a hub. Raises `SessionGone` where nobody listens."""
        try:
            family, address = resolve(reachable(session.host), session.port)
            sock = _socket.socket(family, _socket.SOCK_STREAM)
            try:
                sock.settimeout(CONNECT)
                sock.connect(address)
                sock.send(HELLO + f"{' '.join([session.id, str(pid), *role.split()])}\n".encode())
                sock.setblocking(False)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise SessionGone(f"nobody is at {spell(session.host, session.port)} ({error})") from None
        return cls(sock, session)

    def wait(self, until: float, greeting: "Greeting | None" = None) -> "tuple[str, int, int] | None":
        """Wait to be told where debuggees go: host, port, and the pid of the process they belong to.

        None when the time ran out, `interrupt()` was called, the session has ended, or the program closed our socket.
        """
        while self.is_ours():
            left = until - time.monotonic()
            try:
                sock = _socket.socket(*self._kind, fileno=self._number)
            except OSError:  # the program has closed it just as we looked at it
                return None
            try:
                if left <= 0 or ready([sock], self._bell, left) is None or not self.is_ours():
                    return None
                data = peek(sock)
                if data == b"":
                    self.close()
                elif data:
                    self._heard += sock.recv(len(data))
            finally:
                sock.detach()
            while b"\n" in self._heard:
                line, _, self._heard = self._heard.partition(b"\n")
                words = line.decode("ascii", "replace").split()
                if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
                    return words[0], int(words[1]), int(words[2])
                if len(words) == 2 and words[0] == HUB and words[1].isdigit():
                    self.hub = int(words[1])
                if until != float("inf"):  # asked at start-up: there is an answer, and nobody is there
                    return None
        return None

    def close(self) -> None:
        """Leave. Also after a fork, in the child: the parent's link stays."""
        self._unhang()
        if self.is_ours():
            _socket.close(self._number)
        self._number = -1
