"""What listening and connecting share: addresses, and looking at who is there without taking away what it has sent.

An IDE speaks first: a DAP client its `initialize`, PyCharm its version. A port scanner leaves, a health check speaks
something else.

`_socket` and `select` alone: `socket` would import `selectors` and `enum`, 4 ms.
"""

import _socket
import os
import select
import time

from autoattach._process import brief

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol, Sequence

    Greeting = Callable[[bytes], "bool | None"]

    class Beside(Protocol):
        """What a thread that waits looks at as well."""

        number: int

        def is_ours(self) -> bool:
            """Whether it still is what its number names."""

        def answer(self) -> None:
            """It can be read from. Never raises."""


PEEK = 4096  # bytes that are looked at
# As they were: gevent would have a thread of ours run an event loop of its own.
_poll, _select = getattr(select, "poll", None), select.select
ATTEMPT = 2.0  # seconds that one attempt to connect, or an IDE's first byte, may take


def greets_as_dap(data: bytes) -> "bool | None":
    """Whether these first bytes are a whole message of the Debug Adapter Protocol; None while that cannot be told.

    A whole one, for half a message is no IDE (and debugpy's adapter, left with one, spins for ever).
    """
    wanted = b"content-length:"
    if data[: len(wanted)].lower() != wanted[: len(data)]:
        return False
    header, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None if len(data) < PEEK else False
    length = header[len(wanted) :].partition(b"\r\n")[0].strip()
    if not length.isdigit() or body[:1] not in (b"", b"{"):
        return False
    return True if len(body) >= min(int(length), PEEK - len(header) - len(end)) else None


def greets_as_pydevd(data: bytes) -> "bool | None":
    """Whether these first bytes are of pydevd's protocol: `COMMAND<tab>SEQUENCE<tab>...`; None while unknown."""
    number, tab, _ = data.partition(b"\t")
    return number.isdigit() if tab else None if data.isdigit() else False


def resolve(host: str, port: int, passive: bool = False) -> "tuple[int, tuple[object, ...]]":
    """The address family and the socket address of a host; IPv4 before IPv6. Raises `AddressError`."""
    flags = _socket.AI_PASSIVE if passive else 0
    try:
        # As bytes: a string would be encoded by `encodings.idna`, which imports `re` and `enum`: 12 ms.
        name = host.encode() if host.isascii() else host
        found = _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM, 0, flags)
    except (OSError, UnicodeError) as error:
        from autoattach._network_errors import AddressError

        raise AddressError(
            f"DEBUGGER_HOST={host} cannot be resolved ({getattr(error, 'strerror', None) or error})",
            "set DEBUGGER_HOST to a host name or address",
        ) from None
    found.sort(key=lambda entry: entry[0] != _socket.AF_INET)
    return found[0][0], found[0][4]


def reachable(host: str) -> str:
    """Where to connect to who listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - any of its addresses


def spell(host: str, port: int) -> str:
    """`HOST:PORT`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def holder(port: int) -> str:
    """` by PROGRAM (pid N)` for the process that listens on the port, where Linux tells; else an empty string.

    Of another user's process it tells the user only.
    """
    try:
        inodes, user = set(), ""
        for name in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(name) as table:
                for line in list(table)[1:]:
                    fields = line.split()
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        inodes.add(f"socket:[{fields[9]}]")
                        user = fields[7]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                for number in os.listdir(f"/proc/{pid}/fd"):
                    if os.readlink(f"/proc/{pid}/fd/{number}") in inodes:
                        with open(f"/proc/{pid}/cmdline", "rb") as record:
                            command = brief(os.fsdecode(record.read()).rstrip("\0").split("\0"))
                        whose = "" if user == str(os.geteuid()) else f", of {_user(user)}"
                        return f" by pid {pid} ({command}{whose})"
            except OSError:  # another user's, or gone
                continue
        return f" by a program of {_user(user)}" if inodes else ""
    except (OSError, ValueError, IndexError):
        return ""


def _user(number: str) -> str:
    try:
        return f"user {__import__('pwd').getpwuid(int(number)).pw_name}"
    except (ImportError, KeyError):
        return f"user id {number}"


def ready(
    socks: "Sequence[_socket.socket]", bell: "Bell | None", seconds: float, writing: bool = False
) -> "list[_socket.socket] | None":
    """Those that can be read from, or with `writing` be written to; None when the bell was rung."""
    numbers = {sock.fileno(): sock for sock in socks}
    ring = [] if bell is None else [bell.ear]
    aside = {} if bell is None else {one.number: one for one in beside if one.is_ours()}
    seconds = min(seconds, 86400.0)
    if _poll is not None:
        poll = _poll()
        for number in numbers:
            poll.register(number, select.POLLOUT if writing else select.POLLIN)
        for number in [*ring, *aside]:
            poll.register(number, select.POLLIN)
        if bell is not None:
            bell.is_awaited = True
        found = [number for number, _ in poll.poll(seconds * 1000)]
    else:  # Windows, where a pipe cannot be selected on: the bell is looked at every now and then
        if bell is not None and bell.rung:
            return None
        seconds = min(seconds, 0.5) if ring else seconds
        reads, writes = ([], list(numbers)) if writing else (list(numbers), [])
        if not numbers:  # it wants at least one
            time.sleep(seconds)
            return []
        done = _select(reads, writes, writes, seconds)  # there a connection that is refused is the third kind
        found = [number for numbers in done for number in numbers]
    for number in found:
        if number in aside:
            aside[number].answer()
    if any(number in ring for number in found):
        return None
    return [numbers[number] for number in found if number in numbers]


beside: "list[Beside]" = []
"""The channel of this process (`_channel`), if it has one."""


def peek(sock: _socket.socket) -> "bytes | None":
    """What a connection has sent; b"" when it is closed; None when there is nothing yet."""
    try:
        return sock.recv(PEEK, _socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


class Awaited:
    """What a thread waits at; another thread can end the wait."""

    def __init__(self) -> None:
        self._bell: Bell | None = None
        self.opened = time.monotonic()
        self.hub = 0
        """The process id of a hub that is about to have the port in the place of who has it."""

    def interruptible(self) -> "Callable[[], None]":
        """Prepare for `wait()` in a thread; what is returned, called from another, ends that `wait()`."""
        self._unhang()
        self._bell = bell = Bell()
        return bell.ring

    def is_waiting(self) -> bool:
        """Whether that thread sleeps, but for the few instructions before, since `interruptible()`."""
        return self._bell is not None and self._bell.is_awaited

    def _unhang(self) -> None:
        if self._bell is not None:
            self._bell.close()
            self._bell = None


class Place(Awaited):
    """A socket, by its number.

    A number and no object: an open socket object that the interpreter's end finds makes it warn, and Python 3.8 crash.
    """

    def __init__(self, sock: _socket.socket) -> None:
        super().__init__()
        self._kind = sock.family, sock.type, sock.proto
        self._number = sock.detach()
        self._identity = identity(self._number)

    def is_ours(self) -> bool:
        """Whether our socket is still what its number names: a program may close, and use again, any number."""
        return self._number >= 0 and self._identity == identity(self._number)


class Bell:
    """A pipe that is readable once it was rung."""

    def __init__(self) -> None:
        self.ear, self._hammer = os.pipe()
        self.is_awaited = False
        """Somebody sleeps until it rings, or is about to (not told on Windows)."""
        self.rung = False
        self._identity = identity(self.ear), identity(self._hammer)

    def _is_ours(self) -> bool:
        return self._identity == (identity(self.ear), identity(self._hammer))

    def ring(self) -> None:
        self.rung = True
        if self._is_ours():
            os.write(self._hammer, b"!")

    def close(self) -> None:
        if self._is_ours():
            os.close(self.ear)
            os.close(self._hammer)


def identity(number: int) -> "tuple[int, int] | None":
    """What the number of an open file names: a program may close, and use again, any number."""
    if os.name == "nt":  # there sockets are no files
        return None
    try:
        status = os.fstat(number)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
