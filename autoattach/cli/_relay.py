"""Connections, any number at once, carried over one pair of pipes: what `tunnel` and `pipe` share.

The two ends are alike: who has a connection opens a stream, and the other side connects to where it leads. A frame is a
kind, the stream's number, a length and that many bytes. So the end of one direction is said, not left to the
transport: ssh, docker and kubectl each pass on the end of a stream in their own way, or not at all.

Memory is bounded: of each stream at most `WINDOW` bytes are on their way or wait for a slow reader, as in HTTP/2. The
thread that reads frames never writes one, else two full pipes could wait for each other.

Threads, for Windows cannot select on a pipe.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
import time
from collections import deque
from typing import Callable, Deque, Dict, Protocol

HELLO = b"\0autoattach pipe "  # what `pipe` says first: this, VERSION, and its port or `!` and what went wrong
VERSION = "1"
WINDOW = 1 << 19
CHUNK = 1 << 15  # bytes; less than what a frame's length can say
BEAT = 15.0  # seconds between two signs of life

OPEN, REFUSED, DATA, CREDIT, END, RESET, ALIVE = range(1, 8)
HEADER = struct.Struct(">BIH")
NUMBER = struct.Struct(">I")
AT_ONCE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # SO_LINGER: closing is a reset


class Raw(Protocol):
    """An unbuffered end of a pipe."""

    def read(self, size: int, /) -> bytes | None: ...
    def write(self, data: bytes | memoryview, /) -> int | None: ...
    def close(self) -> None: ...


class Relay:
    """One end. Frames come from `source` and go to `sink`; it ends for good when either does."""

    def __init__(
        self,
        source: Raw,
        sink: Raw,
        dial: Callable[[], socket.socket],
        refused: Callable[[str], None],
        rest: bytes = b"",
    ) -> None:
        """`dial` connects for a stream of the other side, or raises OSError; that the other side could not is told
        to `refused`. `rest`: what has been read from `source` already."""
        self.dial = dial
        self.ended = threading.Event()
        self._source = source
        self._sink = sink
        self._refused = refused
        self._rest = rest
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._streams: Dict[int, Stream] = {}
        self._numbers = itertools.count(1)
        self._heard = time.monotonic()

    def start(self) -> None:
        """Read frames from now on."""
        spawn(self._read)
        spawn(self._beat)

    def carry(self, sock: socket.socket) -> None:
        """Carry a connection, which belongs to the relay from now on."""
        stream = self._add(next(self._numbers), sock)
        if stream is None:
            abort(sock)
            return
        self.send(OPEN, stream.number)
        stream.start()

    def silent(self) -> float:
        """Seconds since the other side was heard last."""
        return time.monotonic() - self._heard

    def close(self) -> None:
        """End it: the other side sees the end of its source. Where a write is stuck, its transport must be ended."""
        self._end()
        if self._writing.acquire(timeout=1):
            try:
                self._sink.close()
            except OSError:
                pass
            finally:
                self._writing.release()

    def send(self, kind: int, number: int = 0, data: bytes = b"") -> None:
        """Send a frame. Where the transport has ended, so has the relay."""
        frame = memoryview(HEADER.pack(kind, number, len(data)) + data)
        try:
            with self._writing:
                while frame and not self.ended.is_set():
                    frame = frame[self._sink.write(frame) or 0 :]
        except (OSError, ValueError):  # closed over there; or here
            self._end()

    def forget(self, number: int) -> None:
        """The stream is done."""
        with self._lock:
            self._streams.pop(number, None)

    def _add(self, number: int, sock: socket.socket | None) -> Stream | None:
        with self._lock:
            if self.ended.is_set():
                return None
            stream = self._streams[number] = Stream(self, number, sock)
            return stream

    def _end(self) -> None:
        with self._lock:
            self.ended.set()
            streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.reset()

    def _beat(self) -> None:
        while not self.ended.wait(BEAT):
            self.send(ALIVE)

    def _read(self) -> None:
        buffer = bytearray(self._rest)
        try:
            while True:
                while len(buffer) >= HEADER.size:
                    kind, number, size = HEADER.unpack_from(buffer)
                    if len(buffer) < HEADER.size + size:
                        break
                    data = bytes(buffer[HEADER.size : HEADER.size + size])
                    del buffer[: HEADER.size + size]
                    if not self._take(kind, number, data):
                        return
                more = self._source.read(1 << 16)
                if not more:
                    return
                self._heard = time.monotonic()
                buffer += more
        except (OSError, ValueError, struct.error):
            pass  # the transport broke, or speaks something else
        finally:
            self._end()

    def _take(self, kind: int, number: int, data: bytes) -> bool:
        """Whether it was a frame. Nothing is written here."""
        if kind == OPEN:
            opened = self._add(number, None)
            if opened is not None:
                opened.start()
            return True
        if kind == REFUSED:
            self._refused(data.decode("utf-8", "replace"))
        stream = self._streams.get(number)
        if stream is None:  # a word about one that is done, or a sign of life
            return OPEN < kind <= ALIVE
        if kind == DATA:
            stream.take(data)
        elif kind == CREDIT:
            stream.grant(NUMBER.unpack(data)[0])
        elif kind == END:
            stream.finish()
        elif kind in (RESET, REFUSED):
            stream.reset()
        return OPEN < kind <= ALIVE


class Stream:
    """One connection: a thread for each direction."""

    def __init__(self, relay: Relay, number: int, sock: socket.socket | None) -> None:
        """Without `sock` it is the other side's, and has to be connected here."""
        self.number = number
        self._relay = relay
        self._socket = sock
        self._news = threading.Condition()
        self._inbox: Deque[bytes] = deque()
        self._credit = WINDOW
        self._owed = 0
        self._finished = False  # the other side sends no more
        self._dead = False
        self._writing = False
        self._directions = 2

    def start(self) -> None:
        spawn(self._run)

    # Called by the thread that reads frames

    def take(self, data: bytes) -> None:
        with self._news:
            if not self._dead:
                self._inbox.append(data)
                self._news.notify_all()

    def grant(self, size: int) -> None:
        with self._news:
            self._credit += size
            self._news.notify_all()

    def finish(self) -> None:
        with self._news:
            self._finished = True
            self._news.notify_all()

    def reset(self) -> None:
        """End both directions at once, so that whoever is connected here sees that something is missing."""
        with self._news:
            if self._dead:
                return
            self._dead = True
            self._inbox.clear()
            self._news.notify_all()
            if self._socket is None or not self._directions:
                return
            # The threads of both directions are woken by a shutdown; the last of them closes it. Not to send is kept
            # open where it can be, for its shutdown would look like an end in good order.
            both = self._writing or os.name == "nt"
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                self._socket.shutdown(socket.SHUT_RDWR if both else socket.SHUT_RD)
            except OSError:
                pass  # the other side was first

    # The threads

    def _run(self) -> None:
        if self._socket is None:
            try:
                sock = self._relay.dial()
            except OSError as error:
                self._relay.send(REFUSED, self.number, str(error.strerror or error).encode()[:CHUNK])
                self._relay.forget(self.number)
                return
            with self._news:
                self._socket = sock
                dead = self._dead
            if dead:  # while it connected
                abort(sock)
                self._relay.forget(self.number)
                return
        sock = self._socket
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # gone already, which reading will find
        spawn(lambda: self._direct(self._deliver, sock))
        self._direct(self._collect, sock)

    def _direct(self, work: Callable[[socket.socket], None], sock: socket.socket) -> None:
        try:
            work(sock)
        except OSError:  # whoever was connected here has left in the middle
            if not self._dead:
                self._relay.send(RESET, self.number)
            self.reset()
        with self._news:
            self._directions -= 1
            if self._directions:
                return
            sock.close()
        self._relay.forget(self.number)

    def _collect(self, sock: socket.socket) -> None:
        """From the socket to the other side."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._credit > 0 or self._dead)
                size = min(CHUNK, self._credit)
            data = b"" if self._dead else sock.recv(size)
            if self._dead:
                return
            if not data:
                self._relay.send(END, self.number)
                return
            with self._news:
                self._credit -= len(data)
            self._relay.send(DATA, self.number, data)

    def _deliver(self, sock: socket.socket) -> None:
        """From the other side to the socket."""
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._inbox) or self._finished or self._dead)
                if self._dead:
                    return
                data = self._inbox.popleft() if self._inbox else b""
                self._writing = bool(data)
            if not data:
                sock.shutdown(socket.SHUT_WR)
                return
            sock.sendall(data)
            with self._news:
                self._writing = False
                self._owed += len(data)
                owed, self._owed = (self._owed, 0) if self._owed >= WINDOW // 4 else (0, self._owed)
            if owed:
                self._relay.send(CREDIT, self.number, NUMBER.pack(owed))


def listen(port: int) -> socket.socket:
    """Listen on loopback. Raises OSError."""
    sock = socket.socket()
    try:
        if os.name == "nt":  # there SO_REUSEADDR would let two listen
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", -5), 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def dial(port: int) -> socket.socket:
    """Connect on loopback. Raises OSError."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.settimeout(None)
    return sock


def abort(sock: socket.socket) -> None:
    """Close it so that the other end sees a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    except OSError:
        pass
    sock.close()


def spawn(work: Callable[[], None]) -> None:
    """Do it in a thread that keeps no process alive."""
    threading.Thread(target=work, daemon=True).start()
