"""Behind a program that runs: calling where PyCharm's debug server may come to listen, ever more slowly."""

from __future__ import annotations

import _socket
import errno
import time

from autoattach._errors import AttachError
from autoattach._network import ATTEMPT, Awaited, identity, peek, ready, resolve
from autoattach._slot import Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from autoattach._network import Greeting
    from autoattach._process import Process

LONGEST = 60.0  # seconds between two attempts; the first comes after one
GOING_ON = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK))


class Redial(Awaited):
    """What a `Watcher` waits at. It has PyCharm's slot for as long as it has a connection, and no longer.

    PyCharm serves one process at a time. A connection that it does not answer yet stands in its queue, where it would
    be found dead later if it were closed now: it is kept, and watched, for PyCharm greets it when its turn comes. So
    an IDE never meets a session that nobody is behind.
    """

    def __init__(self, host: str, port: int, process: Process, leaves: Callable[[], bool]) -> None:
        """`leaves` says whether it is for another process to call now."""
        super().__init__()
        self._leaves = leaves
        self._place = host, port
        self._process = process
        self._slot = Slot(host, port)
        self._pause = 1.0
        self._next = time.monotonic() + self._pause  # a fork interrupts the pause, and does not begin it anew
        self._sock: _socket.socket | None = None
        self._identity: tuple[int, int] | None = None

    def wait(self, until: float, greeting: Greeting) -> list[_socket.socket]:
        """Call again and again until somebody greets us: that connection. None of it when the bell was rung."""
        while True:
            if self._sock is None:
                while time.monotonic() < self._next:
                    if ready([], self._bell, self._next - time.monotonic()) is None:
                        return []
                self._dial()
                self._pause = min(LONGEST, self._pause * 2)
                self._next = time.monotonic() + self._pause
            elif ready([self._sock], self._bell, LONGEST) is None:
                return []
            if self._sock is None:
                continue
            if identity(self._sock.fileno()) != self._identity:  # the program has closed it
                self._hang_up()
                continue
            data = peek(self._sock)
            verdict = greeting(data) if data else None if data is None else False
            if verdict and not self._leaves():
                sock, self._sock = self._sock, None
                return [sock]
            if verdict is not None:
                self._hang_up()
            elif data:
                time.sleep(0.02)  # the rest of it is on its way

    def _dial(self) -> None:
        if self._leaves() or not self._slot.take(self._process):
            return
        try:
            family, address = resolve(*self._place)
            self._sock = sock = _socket.socket(family, _socket.SOCK_STREAM)
            self._identity = identity(sock.fileno())
            sock.setblocking(False)
            error = sock.connect_ex(address)
            if error in GOING_ON:
                ready([sock], self._bell, ATTEMPT, writing=True)
                error = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            # A call to a port of one's own that nobody listens on may reach oneself.
            if error or sock.getpeername() == sock.getsockname():
                self._hang_up()
            else:
                _keep_alive(sock)
        except (AttachError, OSError):
            self._hang_up()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            number = sock.detach()
            if identity(number) == self._identity:  # else it is a file of the program's by now
                _socket.close(number)
        self._slot.close()

    def close(self) -> None:
        """Also in a forked child: the parent's connection and slot stay as they are."""
        self._unhang()
        self._hang_up()


def _keep_alive(sock: _socket.socket) -> None:
    """A PyCharm whose machine has vanished is noticed within two minutes."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(_socket, option):
            sock.setsockopt(_socket.IPPROTO_TCP, getattr(_socket, option), value)
