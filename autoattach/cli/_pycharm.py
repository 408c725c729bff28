"""A stand-in for PyCharm's Python Debug Server: it plays PyCharm for ``autoattach demo`` and for the tests.

It speaks the line protocol of pydevd-pycharm, ``COMMAND\\tSEQUENCE\\tTEXT``, 203 to 263. Sources: the package's own
``_pydevd_bundle/pydevd_comm.py`` and ``pydevd_process_net_command.py``, and PyCharm's side of it in
https://github.com/JetBrains/intellij-community, python/pydevSrc/src/com/jetbrains/python/debugger/pydev.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Callable, Mapping, NamedTuple, Sequence
from urllib.parse import unquote
from xml.etree import ElementTree

RUN = 101
THREAD_SUSPEND = 105
THREAD_RUN = 106
SET_BREAK = 111
EVALUATE = 113
GET_FRAME = 114
CONSOLE = 116
PROCESS_CREATED = 149
PROCESS_CREATED_RECEIVED = 159
VERSION = 501
ERROR = 901

_STREAMS = {"1": "stdout", "2": "stderr"}


class PydevdError(Exception):
    """The debugger refused a command; the text is the reason it gave."""


class Frame(NamedTuple):
    """One frame of a stopped thread."""

    id: str
    file: str
    line: int
    function: str


class Stop(NamedTuple):
    """A thread that stopped, and where."""

    thread: str
    file: str
    line: int
    function: str
    frames: list[Frame]
    """Innermost first."""


class Server:
    """A port on which one process at a time is served, as PyCharm does: the next when the last has gone.

    The kernel takes further connections meanwhile, and they hear nothing.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Raises OSError when the port cannot be had."""
        self._listener = socket.socket()
        try:
            # Without it a port that a test used a moment ago is refused.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(50)
        except BaseException:
            self._listener.close()
            raise
        self.host, self.port = self._listener.getsockname()[:2]
        self._session: Session | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(self, timeout: float = 30.0) -> Session:
        """Wait for a process and greet it, once the one before has gone.

        Raises TimeoutError after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        if self._session is not None:
            self._session.wait_closed(timeout)
        self._listener.settimeout(max(0.01, end - time.monotonic()))
        try:
            connection, _ = self._listener.accept()
        except socket.timeout:
            raise TimeoutError(f"nobody connected to port {self.port}") from None
        self._session = Session(connection)
        return self._session

    def close(self) -> None:
        """Stop listening and end the session there is."""
        self._listener.close()
        if self._session is not None:
            self._session.close()


class Session:
    """One process, seen from PyCharm.

    Every wait ends: after ``timeout`` seconds (argument, or this attribute) with TimeoutError, and with
    ConnectionError when the process has gone. The text of both holds everything that was received.
    """

    timeout = 30.0

    def __init__(self, connection: socket.socket) -> None:
        """Speak over a connected socket, which belongs to the session from now on. PyCharm speaks first."""
        connection.settimeout(None)
        self.received: list[tuple[int, int, str]] = []
        """What came: command, sequence number, decoded text."""
        self._socket = connection
        self._writing = threading.Lock()
        self._news = threading.Condition()
        self._taken: list[int] = []
        self._seq = -1
        self._closed = False
        self._stopped: dict[str, Stop] = {}
        self._last: Stop | None = None
        self._reader = threading.Thread(target=self._receive, name="pycharm-reader", daemon=True)
        self._reader.start()
        self._greeting = self.send(VERSION, "0.1\tUNIX")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Messages

    def send(self, command: int, text: str) -> int:
        """Send a command and return its number, for ``answer``. Raises ConnectionError when the process has gone."""
        with self._writing:
            self._seq += 2  # the IDE's are odd
            try:
                self._socket.sendall(f"{command}\t{self._seq}\t{text}\n".encode())
            except OSError as error:
                raise ConnectionError(f"cannot send {command}: {error}{self.dump()}") from error
            return self._seq

    def answer(self, seq: int, timeout: float | None = None) -> str:
        """Wait for the answer to command ``seq`` and return its text. Raises PydevdError when it failed."""
        command, _, text = self._wait(
            f"answer to {seq}", lambda message: message[1] == seq and message[0] != CONSOLE, timeout
        )
        if command == ERROR:
            raise PydevdError(text)
        return text

    def request(self, command: int, text: str, timeout: float | None = None) -> str:
        """Send a command, wait for its answer and return the text. Raises PydevdError when it failed."""
        return self.answer(self.send(command, text), timeout)

    def dump(self) -> str:
        """Everything received, one message a line: for errors."""
        messages = list(self.received)
        return "\n".join(["", "received:"] + [f"  {c}\t{s}\t{text[:2000]}" for c, s, text in messages])

    # The session

    def start(self, breakpoints: Mapping[str, Sequence[int]] | None = None, timeout: float | None = None) -> str:
        """Set breakpoints (lines by absolute path) and let the program go on; return the debugger's version."""
        version = self.answer(self._greeting, timeout)
        self.set_breakpoints(breakpoints or {})
        self.send(RUN, "")
        return version

    def set_breakpoints(self, breakpoints: Mapping[str, Sequence[int]]) -> None:
        """Add breakpoints: lines by absolute path. The debugger does not answer."""
        for path, lines in breakpoints.items():
            for line in lines:
                # type, file, line, function, who is suspended, condition, log expression
                fields = ("python-line", path, str(line), "None", "THREAD", "None", "None")
                self.send(SET_BREAK, "\t".join(fields))

    def wait_stopped(self, timeout: float | None = None) -> Stop:
        """Wait for a thread to stop. Each stop is returned once; what came before the call counts."""
        _, _, text = self._wait("stop", lambda message: message[0] == THREAD_SUSPEND, timeout)
        self._last = _stop(text)
        return self._last

    def locals(self, stop: Stop | None = None, frame: int = 0) -> dict[str, str]:
        """The variables of a frame (0 is the innermost) of a stop, by default the last: their values by name."""
        stop = self._stop(stop)
        # Releases before 222 have no group field (0: ordinary variables) and do not mind it.
        place = (stop.thread, stop.frames[frame].id, "FRAME", "0")
        xml = _xml(self.request(GET_FRAME, "\t".join(place)))
        return {unquote(v.get("name", "")): _value(v) for v in xml.iter("var") if "value" in v.attrib}

    def evaluate(self, expression: str, stop: Stop | None = None, frame: int = 0) -> str:
        """The value of an expression in a frame of a stop, by default the last. Raises PydevdError when it has none."""
        stop = self._stop(stop)
        encoded = expression.replace("\n", "@LINE@").replace("\t", " ")  # both would end the field
        xml = self.request(EVALUATE, "\t".join((stop.thread, stop.frames[frame].id, "LOCAL", encoded, "1")))
        variable = next(_xml(xml).iter("var"))
        if variable.get("isErrorOnEval"):
            raise PydevdError(_value(variable))
        return _value(variable)

    def resume(self) -> None:
        """Let every stopped thread go on, as PyCharm's Resume does."""
        with self._news:
            threads, self._stopped = list(self._stopped), {}
        for thread in threads:
            self.send(THREAD_RUN, thread)

    def output(self, stream: str = "stdout") -> str:
        """What the program has written by now, as PyCharm's console would show it: "stdout" or "stderr"."""
        pieces = []
        for command, _, text in list(self.received):
            if command == CONSOLE:
                for io in _xml(text).iter("io"):
                    if _STREAMS.get(io.get("ctx", "")) == stream:
                        pieces.append(unquote(io.get("s", "")))
        return "".join(pieces)

    def wait_output(self, text: str, stream: str = "stdout", timeout: float | None = None) -> str:
        """Wait until the program has written ``text``; return all it has written by then. Raises TimeoutError."""
        with self._news:
            self._news.wait_for(lambda: self._closed or text in self.output(stream), self._limit(timeout))
            if text not in self.output(stream):
                raise TimeoutError(f"no {text!r} in the output{self.dump()}")
        return self.output(stream)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the process has closed the connection. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self._closed, self._limit(timeout)):
                raise TimeoutError("the connection is still open" + self.dump())

    def close(self) -> None:
        """Hang up, as PyCharm's Stop does. Harmless when done already."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first
        self._reader.join(5)
        self._socket.close()

    # Inside

    def _stop(self, stop: Stop | None) -> Stop:
        found = stop or self._last
        if found is None:
            raise PydevdError("nothing has stopped yet")
        return found

    def _limit(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def _wait(
        self, what: str, matches: Callable[[tuple[int, int, str]], bool], timeout: float | None
    ) -> tuple[int, int, str]:
        end = time.monotonic() + self._limit(timeout)
        with self._news:
            while True:
                for index, message in enumerate(self.received):
                    if index not in self._taken and matches(message):
                        self._taken.append(index)
                        return message
                if self._closed:
                    raise ConnectionError(f"closed while waiting for a {what}{self.dump()}")
                if not self._news.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise TimeoutError(f"no {what} in time{self.dump()}")

    def _receive(self) -> None:
        buffer = b""
        try:
            while True:
                chunk = self._socket.recv(65536)
                if not chunk:
                    break
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._take(line.decode())
        except (OSError, ValueError):
            pass  # reset, or a peer that speaks something else: both are the end
        finally:
            with self._news:
                self._closed = True
                self._news.notify_all()

    def _take(self, line: str) -> None:
        command, seq, text = line.split("\t", 2)
        message = (int(command), int(seq), unquote(text))
        with self._news:
            self.received.append(message)
            if message[0] == THREAD_SUSPEND:
                stop = _stop(message[2])
                self._stopped[stop.thread] = stop
            self._news.notify_all()
        if message[0] == PROCESS_CREATED:
            # The process waits for this word before it goes on.
            self.send(PROCESS_CREATED_RECEIVED, seq)


def _xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - from the program that is debugged, on this machine


def _stop(text: str) -> Stop:
    thread = next(_xml(text).iter("thread"))
    frames = [
        Frame(f.get("id", ""), f.get("file", ""), int(f.get("line", "0")), f.get("name", ""))
        for f in thread.iter("frame")
    ]
    first = frames[0] if frames else Frame("", "", 0, "")
    return Stop(thread.get("id", ""), first.file, first.line, first.function, frames)


def _value(variable: ElementTree.Element) -> str:
    # Quoted once more inside the quoted message. "str: abc" in some releases: the type is put before the value.
    value = unquote(variable.get("value", ""))
    prefix = variable.get("type", "") + ": "
    return value[len(prefix) :] if value.startswith(prefix) else value
