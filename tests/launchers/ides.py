"""The two IDEs, played: each follows a whole tree of processes, and hands over the stops as they come."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from support import LIMIT

from autoattach.cli._dap import Client, DapError
from autoattach.cli._pycharm import PydevdError, Server, Session

GONE = (ConnectionError, TimeoutError, DapError, PydevdError, OSError)
PID = "__import__('os').getpid()"


class Stop:
    """A process that stands at a breakpoint."""

    def __init__(self, place: str, values: Mapping[str, str], pid: int, session: int | None, go_on: Callable[[], None]):
        self.place = place
        """`app.py:12`"""
        self.locals = values
        self.pid = pid
        """The process that stands there, by its own word."""
        self.session = session
        """The process that this session is of, by the debugger's word; None where the debugger gives none."""
        self.go_on = go_on


class Ide:
    """What both share: threads that follow, a queue of stops, and what went wrong on the way."""

    def __init__(self, port: int, breakpoints: Mapping[str, Sequence[int]]) -> None:
        self.port = port
        self.breakpoints = breakpoints
        self.stops: queue.Queue[Stop] = queue.Queue()
        self.attached: queue.Queue[int | None] = queue.Queue()
        """One entry for each process attached to."""
        self.remarks: list[str] = []
        self.sessions: list[Any] = []
        self.closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.hang_up()
        for thread in list(self._threads):
            thread.join(LIMIT)

    def hang_up(self) -> None:
        raise NotImplementedError

    def dump(self) -> str:
        """What it has heard, for errors."""
        return "\n".join(["--- the IDE's side", *self.remarks, *(session.dump()[-5000:] for session in self.sessions)])

    def wait_attached(self) -> int | None:
        """Until it is attached to one process more."""
        try:
            return self.attached.get(timeout=LIMIT)
        except queue.Empty:
            raise AssertionError(f"not attached\n{self.dump()}") from None

    def spawn(self, function: Callable[..., None], *arguments: object) -> None:
        def guarded() -> None:
            try:
                function(*arguments)
            except GONE as error:
                self.remarks.append(f"{function.__name__}: {type(error).__name__}: {str(error)[:3000]}")

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()


class VsCode(Ide):
    """Attaches to the port, and to each child that it is told of."""

    def __init__(self, port: int, breakpoints: Mapping[str, Sequence[int]]) -> None:
        super().__init__(port, breakpoints)
        self._open = 0  # sessions, not counting the children's

    def attach(self) -> None:
        """Press F5: once the port is there, and the session before has ended, attach to it."""
        self.spawn(self._attach)

    def hang_up(self) -> None:
        for client in self.sessions:
            client.close()

    def _attach(self) -> None:
        end = time.monotonic() + LIMIT
        while not self.closing.is_set():
            if self._open:
                self.closing.wait(0.02)
                continue
            client = Client.connect("127.0.0.1", self.port, LIMIT)
            self.sessions.append(client)
            try:
                client.attach(self.breakpoints)
            except GONE as error:
                # the adapter of a session that has just ended; a user presses F5 once more
                client.close()
                if time.monotonic() > end:
                    raise
                self.remarks.append(f"attach: {type(error).__name__}: {str(error)[:300]}")
                continue
            pid = client.wait_event("process")["systemProcessId"]
            self.attached.put(pid)
            self._open += 1
            try:
                self._follow(client, pid)
            finally:
                client.close()
                self._open -= 1
            return

    def _child(self, parent: Client, event: dict[str, Any]) -> None:
        client = parent.child(event, self.breakpoints)
        self.sessions.append(client)
        self.attached.put(event["subProcessId"])
        try:
            self._follow(client, event["subProcessId"])
        finally:
            client.close()

    def _follow(self, client: Client, pid: int) -> None:
        told = 0
        while not self.closing.is_set():
            for event in client.events("debugpyAttach")[told:]:
                told += 1
                self.spawn(self._child, client, event)
            try:
                thread = client.wait_stopped(timeout=0.05)
            except TimeoutError:
                if client.events("terminated"):
                    return
                continue
            frame = client.stack(thread)[0]
            self.stops.put(
                Stop(
                    f"{Path(frame['source']['path']).name}:{frame['line']}",
                    client.locals(frame["id"]),
                    int(client.evaluate(PID, frame["id"])),
                    pid,
                    lambda thread=thread: client.continue_(thread),  # type: ignore[misc]
                )
            )


class PyCharm(Ide):
    """Serves one process at a time: the next when the last has gone."""

    def __init__(self, port: int, breakpoints: Mapping[str, Sequence[int]]) -> None:
        super().__init__(port, breakpoints)
        self._server = Server(port=port)
        self.spawn(self._serve)

    def attach(self) -> None:
        """Nothing to do: it listens."""

    def hang_up(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                session = self._server.accept(timeout=0.2)
            except TimeoutError:
                continue
            try:
                self.sessions.append(session)
                session.start(self.breakpoints)
                self.attached.put(None)
                self._follow(session)
            except GONE as error:
                self.remarks.append(f"a process: {type(error).__name__}: {str(error)[:3000]}")
                session.close()

    def _follow(self, session: Session) -> None:
        while not self.closing.is_set():
            try:
                stop = session.wait_stopped(timeout=0.1)
            except TimeoutError:
                continue
            self.stops.put(
                Stop(
                    f"{Path(stop.file).name}:{stop.line}",
                    session.locals(stop),
                    int(session.evaluate(PID, stop)),
                    None,
                    session.resume,
                )
            )


IDES: dict[str, Callable[[int, Mapping[str, Sequence[int]]], Any]] = {
    "debugpy": VsCode,
    "ptvsd": VsCode,
    "pydevd-pycharm": PyCharm,
}
