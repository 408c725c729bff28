"""The programs in examples/, each as its head says, with the IDE that it is for."""

from __future__ import annotations

import queue
import shutil
import threading
import urllib.request
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from launchers.ides import IDES, Stop
from launchers.launcher import Launcher, Running
from support import LIMIT, listeners, needs, wait_until

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="there are no examples beside these tests")

ANY = [pytest.param(name, marks=needs(name)) for name in ("debugpy", "ptvsd", "pydevd-pycharm")]
BOTH = [pytest.param(name, marks=needs(name)) for name in ("debugpy", "pydevd-pycharm")]


class Example:
    """A copy of the examples, one of them running, and the IDE."""

    def __init__(self, folder: Path, port: int, debugger: str) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
        self.port = port
        self.debugger = debugger
        self._opened: list[Any] = []

    def start(self, *command: str, needs: list[str] | None = None, ide: bool = True, **env: object) -> Running:
        """Run a command in the folder of the examples. `{python}` and the like are as in a `Launcher`."""
        launcher = Launcher("example", {}, command, lambda running: "", needs=needs or [])
        if launcher.missing():
            pytest.skip(launcher.missing())
        running = Running(launcher, self.folder, DEBUGGER_PORT=self.port, DEBUGGER_IDE=self.debugger, **env)
        self._opened.append(running)
        if ide:
            self.ide = IDES[self.debugger](self.port, running.breakpoints)
            self._opened.append(self.ide)
        self.running = running
        running.start()
        return running

    def stop(self) -> Stop:
        """The next stop; who asks lets it go on."""
        try:
            return self.ide.stops.get(timeout=LIMIT / 2)
        except queue.Empty:
            raise AssertionError(f"no stop\n{self.running.program.dump()}\n{self.ide.dump()}") from None

    def greets(self) -> None:
        """It stops at its breakpoint, with its variables, and runs to its end."""
        stop = self.stop()
        assert stop.locals["name"].strip("'") == "world"
        stop.go_on()
        assert self.running.program.wait() == 0
        assert "Hello, world!\n" in self.running.program.stdout  # a debugger's own call may add words of its own

    def close(self) -> None:
        for thing in self._opened:
            thing.close() if isinstance(thing, Running) else thing.__exit__()


@pytest.fixture
def example(tmp_path: Path, port: int) -> Iterator[Callable[[str], Example]]:
    """The examples, for a debugger."""
    made = []

    def make(debugger: str) -> Example:
        made.append(Example(tmp_path, port, debugger))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[[str], Example]


@pytest.mark.parametrize("debugger", ANY)
def test_plain(example: Make, debugger: str) -> None:
    """START_DEBUGGER alone: it waits for the IDE, and stops."""
    one = example(debugger)
    one.start("{python}", "plain.py", START_DEBUGGER=1)
    one.ide.attach()
    one.greets()


CALLS = {"debugpy": "vscode_debugpy.py", "ptvsd": "vscode_ptvsd.py", "pydevd-pycharm": "pycharm_settrace.py"}


@pytest.mark.parametrize("hook", ["the hook attaches", "the call attaches"])
@pytest.mark.parametrize("debugger", ANY)
def test_the_debuggers_own_call(example: Make, debugger: str, hook: str) -> None:
    """attach_vscode() and attach_pycharm() make the call where START_DEBUGGER is set and nothing has attached before."""
    one = example(debugger)
    skip = None if hook == "the hook attaches" else f"*{CALLS[debugger]}"
    running = one.start("{python}", CALLS[debugger], START_DEBUGGER=1, DEBUGGER_SKIP=skip)
    if skip is not None and debugger != "pydevd-pycharm":
        # debugpy's own listen() loses a client that comes before the program itself has (1.8.22)
        running.program.wait_for("waiting for VS Code to attach")
    one.ide.attach()
    one.greets()
    ours = "\n".join(running.program.ours)
    assert ("waiting for VS Code to attach" in ours) == (skip is not None and debugger != "pydevd-pycharm")


@pytest.mark.parametrize("debugger", ANY)
def test_not_asked_for(example: Make, debugger: str) -> None:
    """Without START_DEBUGGER the call is not made."""
    one = example(debugger)
    running = one.start("{python}", CALLS[debugger])
    assert running.program.wait() == 0
    assert running.program.stdout == "Hello, world!\n"
    assert not running.program.ours


@pytest.mark.parametrize("debugger", BOTH)
def test_at_once(example: Make, debugger: str) -> None:
    """`call_immediately=True` asks nobody."""
    one = example(debugger)
    one.start("{python}", "at_once.py", {"debugpy": "vscode", "pydevd-pycharm": "pycharm"}[debugger])
    one.ide.attach()
    one.greets()


@needs("pydevd-pycharm")
def test_pycharm_is_not_there(example: Make) -> None:
    """attach_pycharm() says what to do, and the program runs."""
    running = example("pydevd-pycharm").start("{python}", "at_once.py", "pycharm", ide=False)
    assert running.program.wait() == 0
    assert running.program.stdout == "Hello, world!\n"
    assert "ssh -R" in running.program.stderr


@pytest.mark.parametrize("command", ["{python} app.py", "debug.main"])
@pytest.mark.parametrize("debugger", BOTH)
def test_reload(example: Make, debugger: str, command: str) -> None:
    """watchfiles starts the program anew when it is edited, and the breakpoint is hit in the new process as well."""
    one = example(debugger)
    one.folder = one.folder / "reload"
    running = one.start("{bin}/watchfiles", "--filter", "python", command, needs=["watchfiles"], START_DEBUGGER=1)
    one.ide.attach()
    first = one.stop()
    assert first.locals["n"] == "21"
    (one.folder / "app.py").write_text((one.folder / "app.py").read_text().replace("work(21)", "work(22)"))
    first.go_on()
    until: list[Stop] = []

    def edited() -> bool:
        try:
            until.append(one.ide.stops.get(timeout=0.5))
        except queue.Empty:
            return False
        until[-1].go_on()
        return until[-1].locals["n"] == "22"

    wait_until(edited, f"stop after the edit\n{running.program.dump()}\n{one.ide.dump()}", program=running.program)
    assert until[-1].pid != first.pid


FLASK = ["{bin}/flask", "--app", "APP", "run", "--port", "{http}"]


def get(running: Running, path: str) -> Future[str]:
    """Make a request in a thread, once the server is there; the answer, later."""
    future: Future[str] = Future()

    def call() -> None:
        try:
            wait_until(lambda: listeners(running.http), "server", program=running.program)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{running.http}{path}", timeout=LIMIT) as response:
                future.set_result(response.read().decode())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


@pytest.mark.parametrize("debugger", BOTH)
def test_flask_on_request(example: Make, debugger: str) -> None:
    """A request that asks stops, with either IDE; the others are answered as ever."""
    one = example(debugger)
    command = [word.replace("APP", "flask_on_request") for word in FLASK]
    running = one.start(*command, needs=["flask"], START_DEBUGGER="request")
    assert get(running, "/").result(LIMIT) == "Hello!"
    for _ in range(2):
        one.ide.attach()
        answer = get(running, "/?START_DEBUGGER=1")
        one.stop().go_on()
        assert answer.result(LIMIT) == "Hello!"
        assert get(running, "/").result(LIMIT) == "Hello!"


@needs("pydevd-pycharm")
def test_flask_route(example: Make) -> None:
    """A request that asks stops in the body of the route; a second one does, too, by the same session."""
    one = example("pydevd-pycharm")
    running = one.start(*[word.replace("APP", "flask_route") for word in FLASK], needs=["flask"])
    assert get(running, "/").result(LIMIT) == "Hello!"
    for _ in range(2):
        answer = get(running, "/?START_DEBUGGER=1")
        one.stop().go_on()
        assert answer.result(LIMIT) == "Hello!"
    assert not running.program.ours


@pytest.mark.parametrize("debugger", ANY)
def test_worker(example: Make, debugger: str) -> None:
    """It stops in the one job, and in no other."""
    one = example(debugger)
    running = one.start("{python}", "worker.py", "3")
    one.ide.attach()
    stop = one.stop()
    assert stop.locals["job"] == "3"
    assert running.program.stdout.endswith("job 2 4\n")
    stop.go_on()
    assert running.program.wait() == 0
    assert running.program.stdout.endswith("job 4 8\n")
    assert one.ide.stops.empty()


def test_each_example_is_run() -> None:
    """Each program of the folder is named in a test, and in the page that lists them."""
    page = (EXAMPLES / "README.rst").read_text()
    tests = "".join(Path(__file__).with_name(name).read_text() for name in ("test_examples.py", "test_recipes.py"))
    for path in EXAMPLES.rglob("*.py"):
        name = path.relative_to(EXAMPLES)
        assert f"``{name.parts[0]}" in page, name
        assert name.stem in tests, name
