"""A small client of the Debug Adapter Protocol: it plays VS Code for ``autoattach demo`` and for the tests.

It speaks to debugpy and to ptvsd. Source: https://microsoft.github.io/debug-adapter-protocol/specification
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import tempfile
import threading
import time
from typing import IO, Any, Callable, Dict, Mapping, Sequence, cast

Json = Dict[str, Any]
Breakpoints = Mapping[str, Sequence[int]]


class DapError(Exception):
    """The other side refused a request; the text is the reason it gave."""


class Client:
    """One DAP session, seen from the IDE.

    Every wait ends: after ``timeout`` seconds (argument, or this attribute) with TimeoutError, and with
    ConnectionError when the other side has gone. The text of both holds everything that was received.
    """

    timeout = 30.0

    address: tuple[str, int]
    """Where the adapter of ``listen`` waits for the program: host and port."""

    _socket: socket.socket | None = None
    _adapter: subprocess.Popen[bytes] | None = None
    _errors: IO[bytes] | None = None

    def __init__(self, connection: socket.socket) -> None:
        """Speak over a connected TCP socket, which belongs to the client from now on."""
        connection.settimeout(None)
        self._open(lambda: connection.recv(65536), connection.sendall)
        self._socket = connection

    def _open(self, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        self.received: list[Json] = []
        self.breakpoints: list[Json] = []
        """The answers to setBreakpoints of the last ``attach``: dictionaries with ``verified`` and ``line``."""
        self._read = read
        self._write = write
        self._writing = threading.Lock()
        self._news = threading.Condition()
        self._taken: list[int] = []
        self._seq = 0
        self._closed = False
        self._attaching: int | None = None
        self._reader = threading.Thread(target=self._receive, name="dap-reader", daemon=True)
        self._reader.start()

    @classmethod
    def connect(cls, host: str, port: int, timeout: float | None = None) -> Client:
        """Connect, trying again while the port refuses.

        Raises ConnectionRefusedError after ``timeout`` seconds, and OSError at once for what time does not mend.
        """
        end = time.monotonic() + (cls.timeout if timeout is None else timeout)
        while True:
            try:
                return cls(socket.create_connection((host, port), max(0.1, end - time.monotonic())))
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    @classmethod
    def listen(
        cls,
        python: str,
        host: str = "127.0.0.1",
        port: int = 0,
        path_mappings: Mapping[str, str] | None = None,
        just_my_code: bool = False,
        **more: Any,
    ) -> Client:
        """Do what VS Code does for ``"listen"`` in launch.json: start debugpy's adapter and let the program come to it.

        ``python`` is an interpreter that has debugpy. On return the adapter listens on ``address``; start the program,
        then call ``attach(breakpoints)`` to go on when it is there. ``close`` ends the adapter.
        """
        # The trigger is kept from the adapter: it is a Python itself.
        environment = {name: value for name, value in os.environ.items() if name != "START_DEBUGGER"}
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        adapter = subprocess.Popen(
            [python, "-m", "debugpy.adapter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            bufsize=0,
        )
        self = cls.__new__(cls)
        pipes = cast("IO[bytes]", adapter.stdin), cast("IO[bytes]", adapter.stdout)
        self._open(lambda: os.read(pipes[1].fileno(), 65536), pipes[0].write)
        self._adapter = adapter
        self._errors = errors
        try:
            listen = {"listen": {"host": host, "port": port}}
            self._attaching = self._start_attach(path_mappings, just_my_code, {**listen, **more})
            waiting = self.wait_event("debugpyWaitingForServer")
            self.address = str(waiting["host"]), int(waiting["port"])
        except BaseException:
            self.close()
            raise
        return self

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Messages

    def send(self, command: str, arguments: Json | None = None) -> int:
        """Send a request and return its number, for ``response``. Raises ConnectionError when nobody is there."""
        with self._writing:
            self._seq += 1
            message = {"seq": self._seq, "type": "request", "command": command, "arguments": arguments or {}}
            body = json.dumps(message).encode()
            try:
                self._write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            except (OSError, ValueError) as error:
                raise ConnectionError(f"cannot send {command}: {error}{self.dump()}") from error
            return self._seq

    def response(self, seq: int, timeout: float | None = None) -> Json:
        """Wait for the answer to request ``seq`` and return its body. Raises DapError when it failed."""
        answer = self._wait(
            f"the answer to request {seq}",
            lambda message: message.get("type") == "response" and message.get("request_seq") == seq,
            timeout,
        )
        if not answer.get("success"):
            raise DapError(f"{answer.get('command')}: {answer.get('message')}")
        return dict(answer.get("body") or {})

    def request(self, command: str, arguments: Json | None = None, timeout: float | None = None) -> Json:
        """Send a request, wait for its answer and return the body. Raises DapError when it failed."""
        return self.response(self.send(command, arguments), timeout)

    def wait_event(
        self, name: str, predicate: Callable[[Json], bool] | None = None, timeout: float | None = None
    ) -> Json:
        """Wait for an event and return its body. Each event is returned once; what came before the call counts.

        ``predicate`` is given the body.
        """

        def matches(message: Json) -> bool:
            if message.get("type") != "event" or message.get("event") != name:
                return False
            return predicate is None or predicate(message.get("body") or {})

        return dict(self._wait(f"event {name}", matches, timeout).get("body") or {})

    def events(self, name: str) -> list[Json]:
        """The bodies of the events of that name received by now."""
        return [m.get("body") or {} for m in list(self.received) if m.get("type") == "event" and m.get("event") == name]

    def output(self, category: str = "stdout") -> str:
        """The program's output as the debugger has reported it by now."""
        return "".join(body.get("output", "") for body in self.events("output") if body.get("category") == category)

    def dump(self) -> str:
        """Everything received, one message a line: for errors."""
        lines = ["", "received:"] + ["  " + json.dumps(message)[:2000] for message in list(self.received)]
        if self._errors is not None:
            size = os.fstat(self._errors.fileno()).st_size
            lines += ["the adapter's errors:", os.pread(self._errors.fileno(), size, 0).decode(errors="replace")]
        return "\n".join(lines)

    # The session

    def attach(
        self,
        breakpoints: Breakpoints | None = None,
        path_mappings: Mapping[str, str] | None = None,
        just_my_code: bool = False,
        **more: Any,
    ) -> Json:
        """Attach and set breakpoints, in the order that debugpy and ptvsd both take; the program goes on after it.

        ``breakpoints``: lines by absolute path. ``path_mappings``: the IDE's folder to the program's. ``more``: further
        arguments of the attach request; they win. Returns the body of attach's answer. On a client made by ``listen``
        these arguments but the breakpoints were given there.
        """
        seq, self._attaching = self._attaching, None
        if seq is None:
            seq = self._start_attach(path_mappings, just_my_code, more)

        def refused(message: Json) -> bool:
            return message.get("request_seq") == seq and message.get("success") is False

        # ptvsd sends it before the attach request, debugpy after it. A refusal is an answer too. The attach request
        # itself is answered after configurationDone.
        news = self._wait("event initialized", lambda m: m.get("event") == "initialized" or refused(m))
        if refused(news):
            raise DapError(f"attach: {news.get('message')}")
        self.breakpoints = []
        for path, lines in (breakpoints or {}).items():
            self.breakpoints += self.set_breakpoints(path, lines)
        self.request("setExceptionBreakpoints", {"filters": []})
        self.request("configurationDone")
        return self.response(seq)

    def set_breakpoints(self, path: str, lines: Sequence[int]) -> list[Json]:
        """Set the breakpoints of one file, in place of those it had."""
        arguments = {
            "source": {"path": path, "name": os.path.basename(path)},
            "breakpoints": [{"line": line} for line in lines],
        }
        return list(self.request("setBreakpoints", arguments)["breakpoints"])

    def child(self, event: Json | None = None, breakpoints: Breakpoints | None = None) -> Client:
        """Attach to a child process as VS Code does on the event ``debugpyAttach``, whose body ``event`` is.

        Without ``event`` the next one is waited for.
        """
        arguments = dict(self.wait_event("debugpyAttach") if event is None else event)
        address = arguments["connect"]
        child = Client.connect(address["host"], int(address["port"]))
        try:
            child.attach(breakpoints, **arguments)
        except BaseException:
            child.close()
            raise
        return child

    def wait_stopped(self, timeout: float | None = None) -> int:
        """Wait for a stop and return the thread's id."""
        return int(self.wait_event("stopped", None, timeout)["threadId"])

    def stack(self, thread: int) -> list[Json]:
        """The frames of a stopped thread, innermost first: ``id``, ``name``, ``line``, ``source["path"]``."""
        return list(self.request("stackTrace", {"threadId": thread})["stackFrames"])

    def locals(self, frame: int) -> dict[str, str]:
        """The local variables of a frame: their values as the debugger writes them, by name."""
        scopes = self.request("scopes", {"frameId": frame})["scopes"]
        scope = next(scope for scope in scopes if scope["name"] == "Locals")
        variables = self.request("variables", {"variablesReference": scope["variablesReference"]})["variables"]
        # debugpy puts groups between them, as "special variables".
        return {v["name"]: v["value"] for v in variables if " " not in v["name"]}

    def evaluate(self, expression: str, frame: int | None = None, context: str = "watch") -> str:
        """The value of an expression in a frame, as the debugger writes it.

        Raises DapError when it has none; ptvsd gives the error as the value then.
        """
        arguments: Json = {"expression": expression, "context": context}
        if frame is not None:
            arguments["frameId"] = frame
        return str(self.request("evaluate", arguments)["result"])

    def continue_(self, thread: int) -> None:
        """Let the program go on."""
        self.request("continue", {"threadId": thread})

    def disconnect(self, terminate: bool = False) -> None:
        """Leave as an IDE leaves; the program goes on unless ``terminate``."""
        try:
            self.request("disconnect", {"restart": False, "terminateDebuggee": terminate})
        except ConnectionError:
            pass  # gone before it answered
        self.close()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the other side has closed the connection. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self._closed, self.timeout if timeout is None else timeout):
                raise TimeoutError("the connection is still open" + self.dump())

    def close(self) -> None:
        """Vanish without a word: the connection is reset, an adapter of ours killed. Harmless when done already."""
        if self._socket is not None:
            try:
                # Zero linger makes it a reset. The shutdown ends the reader's recv, which would keep the socket open.
                linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._socket.shutdown(socket.SHUT_RD)
            except OSError:
                pass
            self._reader.join(5)
            self._socket.close()
        if self._adapter is not None:
            self._adapter.kill()
            self._adapter.wait(10)
            self._reader.join(5)
            for pipe in (self._adapter.stdin, self._adapter.stdout, self._errors):
                if pipe is not None:
                    pipe.close()
            self._errors = None

    # Inside

    def _start_attach(self, mappings: Mapping[str, str] | None, just_my_code: bool, more: Json) -> int:
        initialize = {
            "clientID": "vscode",
            "clientName": "autoattach",
            "adapterID": "debugpy",
            "pathFormat": "path",
            "linesStartAt1": True,
            "columnsStartAt1": True,
            "locale": "en",
            "supportsVariableType": True,
            # Children are announced by the event debugpyAttach, and not by a request to this side.
            "supportsStartDebuggingRequest": False,
        }
        self.request("initialize", initialize)
        attach: Json = {
            "name": "autoattach",
            "type": "debugpy",
            "request": "attach",
            "justMyCode": just_my_code,
            "subProcess": True,
            "redirectOutput": True,
        }
        if mappings:
            attach["pathMappings"] = [{"localRoot": local, "remoteRoot": remote} for local, remote in mappings.items()]
        return self.send("attach", {**attach, **more})

    def _wait(self, what: str, matches: Callable[[Json], bool], timeout: float | None = None) -> Json:
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        with self._news:
            while True:
                for index, message in enumerate(self.received):
                    if index not in self._taken and matches(message):
                        self._taken.append(index)
                        return message
                if self._closed:
                    raise ConnectionError(f"closed while waiting for {what}{self.dump()}")
                if not self._news.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise TimeoutError(f"no {what} in time{self.dump()}")

    def _receive(self) -> None:
        buffer = b""
        try:
            while True:
                chunk = self._read()
                if not chunk:
                    break
                buffer += chunk
                while b"\r\n\r\n" in buffer:
                    header, rest = buffer.split(b"\r\n\r\n", 1)
                    fields = dict(line.split(b": ", 1) for line in header.split(b"\r\n"))
                    size = int(fields[b"Content-Length"])
                    if len(rest) < size:
                        break
                    buffer = rest[size:]
                    message = json.loads(rest[:size].decode())
                    with self._news:
                        self.received.append(message)
                        self._news.notify_all()
        except (OSError, ValueError, KeyError):
            pass  # reset, or a peer that speaks something else: both are the end
        finally:
            with self._news:
                self._closed = True
                self._news.notify_all()
