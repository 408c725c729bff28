"""Whatever starts the program, the breakpoint in the user's code is hit, in the process that runs it.

The programs are real ones, from the extra `launchers`; what is not installed is skipped. Each row of the table in
`launchers/` is run with each debugger. `--launchers-table FILE` writes what was seen into the documentation.
"""

from __future__ import annotations

import itertools
import os
import queue
import signal
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import pytest
from launchers import LAUNCHERS
from launchers.ides import IDES, Ide, Stop
from launchers.launcher import CHANCE, HANGS, HIT, RUNS, Launcher, Running
from launchers.table import rows_of
from support import DEBUGGERS, LIMIT, has

Start = Callable[..., "tuple[Running, Any]"]
Saw = Callable[[str], None]

SLOW_TO_SLEEP = """
    import _thread, os, time

    threads, fstat = os.listdir("/proc/self/task"), os.fstat

    def busy(number):
        if str(_thread.get_native_id()) not in threads:
            os.fstat = fstat
            until = time.monotonic() + 2
            while time.monotonic() < until:
                pass
        return fstat(number)

    os.fstat = busy
    if not os.fork():  # our thread is away meanwhile, and begins anew, with this
        os._exit(0)
"""
UWSGI = LAUNCHERS["uwsgi --master --processes 2"]
SLOW_UWSGI = replace(
    UWSGI,
    id="slow to sleep",
    files={"app.py": SLOW_TO_SLEEP + UWSGI.files["app.py"]},
    command=[*UWSGI.command, "--cheap"],  # it forks at the first request
)

SOON = LIMIT / 2  # seconds that a stop may take; short of all, so that a failure can still show what there is to see
TRIES = 6  # runs of the user's code within which the worker meant has one, however long each takes


def rows(
    fits: Callable[[Launcher], object] = lambda launcher: True,
    debuggers: Any = tuple(DEBUGGERS),
    table: Iterable[Launcher] = tuple(LAUNCHERS.values()),
) -> Any:
    """Parametrize by launcher and debugger."""

    def marks(launcher: Launcher, debugger: str) -> Iterator[Any]:
        missing = launcher.missing() or ("" if has(debugger) else f"{debugger} is not there, or cannot work here")
        if missing:
            yield pytest.mark.skip(reason=missing)

    return pytest.mark.parametrize(
        ("launcher", "debugger"),
        [
            pytest.param(launcher, debugger, id=f"{launcher.id}-{debugger}", marks=list(marks(launcher, debugger)))
            for launcher in table
            if fits(launcher)
            for debugger in debuggers
        ],
    )


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Start]:
    """Start a launcher, and the IDE for it."""
    opened: list[Any] = []

    def start(launcher: Launcher, debugger: str, wait: int = 60) -> tuple[Running, Any]:
        running = Running(
            launcher, tmp_path, START_DEBUGGER=1, DEBUGGER_PORT=port, DEBUGGER_IDE=debugger, DEBUGGER_WAIT=wait
        )
        ide = IDES[debugger](port, running.breakpoints)
        opened.extend([ide, running])
        running.start()
        return running, ide

    yield start
    for thing in reversed(opened):
        if isinstance(thing, Running):
            thing.close()
        else:
            thing.__exit__()


@pytest.fixture
def saw(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Saw:
    """Tell the documentation's table what was seen."""
    record_property("launchers-row", [request.getfixturevalue("launcher").id, request.getfixturevalue("debugger")])
    return lambda what: record_property("launchers-saw", what)


@rows()
def test_hit(launcher: Launcher, debugger: str, start: Start, saw: Saw) -> None:
    """The breakpoint in the user's code is hit in each process that runs it; then all goes on, and can be ended."""
    if launcher.expected(debugger) == CHANCE:
        saw(CHANCE)
        pytest.skip("which worker runs the code is chance")
    if launcher.expected(debugger) == HANGS:
        saw(HANGS)
        pytest.skip("a worker hangs now and then: see the note of the launcher")
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    for _ in range(launcher.earlier):
        earlier(ide, running)
    stops = stop_in_each_worker(running, ide, debugger)
    end(running, ide)
    saw(RUNS if not stops else HIT if launcher.workers == 1 else f"{HIT} in {stops} of {launcher.workers} workers")


@rows(lambda launcher: launcher.serves and launcher.later, ["debugpy"])
def test_attached_later(launcher: Launcher, debugger: str, start: Start, saw: Saw) -> None:
    """A program that serves already can be attached to: the breakpoint is hit in whichever process runs the code."""
    running, ide = start(launcher, debugger, wait=0)
    finish(running.trigger(), running, ide)
    ide.attach()
    ide.wait_attached()
    stop, outcome = run_until_stop(running, ide)  # what was forked before anybody came is told of it a little later
    check(stop, running)
    stop.go_on()
    finish(outcome, running, ide)
    end(running, ide)
    saw("also when attached later")


@rows(lambda launcher: launcher.edit)
def test_after_an_edit(launcher: Launcher, debugger: str, start: Start, saw: Saw) -> None:
    """When a file is edited the program is loaded anew, and the breakpoint is hit in the new process as well."""
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    outcome = running.trigger()
    first = next_stop(ide, outcome, running)
    if first is not None:
        first.go_on()
    finish(outcome, running, ide)
    new = edit_until_noticed(running, ide)
    if launcher.expected(debugger) == HIT:
        assert first is not None, f"no stop\n{running.dump()}\n{ide.dump()}"
        assert new is not None, f"no stop after the edit\n{running.dump()}\n{ide.dump()}"
        assert new.pid != first.pid
    end(running, ide)
    saw("also after an edit")


@rows(lambda launcher: launcher.replaces, ["debugpy", "pydevd-pycharm"])
def test_a_worker_that_dies(launcher: Launcher, debugger: str, start: Start, saw: Saw) -> None:
    """A worker is killed, another takes its place, and the breakpoint is hit in that one as well."""
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    stop, _ = run_until_stop(running, ide)
    before = running.processes()
    os.kill(stop.pid, signal.SIGKILL)
    standing = [run_until_stop(running, ide)]
    if standing[0][0].pid in before:  # the other worker: while it stands, the next run is for the new one
        standing.append(run_until_stop(running, ide))
    check(standing[-1][0], running)
    assert standing[-1][0].pid not in before
    for stop, outcome in standing:
        stop.go_on()
        finish(outcome, running, ide)
    end(running, ide)
    saw("also in the worker that replaces one")


@rows(lambda launcher: launcher.earlier, ["debugpy"])
def test_a_hold_that_runs_out(launcher: Launcher, debugger: str, start: Start, saw: Saw) -> None:
    """What comes first waits out its DEBUGGER_WAIT and runs; the next has the port again, and can be attached to."""
    running, ide = start(launcher, debugger, wait=1)
    running.program.wait_for("migrated", "stdout")
    ide.attach()
    ide.wait_attached()
    stop_in_each_worker(running, ide, debugger)
    end(running, ide)
    saw("")


@rows(table=[SLOW_UWSGI], debuggers=["pydevd-pycharm"])
def test_forked_without_pythons_lock(launcher: Launcher, debugger: str, start: Start) -> None:
    """uWSGI forks while a thread of the program's first process may have Python's lock: ours sleeps by then, however
    long it takes. Else the workers would wait for it for ever."""
    running, ide = start(launcher, debugger)
    assert stop_in_each_worker(running, ide, debugger) == 1
    end(running, ide)


def test_the_documentation_has_all_of_them() -> None:
    """docs/launchers.rst lists the launchers that are tested, and no other."""
    page = Path(__file__).parents[1] / "docs" / "launchers.rst"
    assert rows_of(page.read_text()) == list(LAUNCHERS), "write it anew: --launchers-table ../docs/launchers.rst"


# --- the steps of a test


def earlier(ide: Any, running: Running) -> None:
    """A process that comes and goes before stops; after its end the IDE attaches to the next."""
    stop = ide.stops.get(timeout=LIMIT)
    check(stop, running)
    stop.go_on()
    ide.attach()
    ide.wait_attached()


def stop_in_each_worker(running: Running, ide: Ide, debugger: str) -> int:
    """The user's code runs once in each worker, at the same time. How many of them stop, as they should."""
    launcher = running.launcher
    wanted = launcher.workers if launcher.expected(debugger) == HIT else 0
    if debugger == "pydevd-pycharm" and wanted > 1:
        return stop_in_one_worker(running, ide)
    outcomes, stops = [], []
    for _ in range(launcher.workers):  # one after the other: each must find a worker that does not stand yet
        outcomes.append(running.trigger())
        stop = next_stop(ide, outcomes[-1], running)
        if stop is not None:
            stops.append(stop)
            check(stop, running)
    assert len(stops) == wanted, f"{len(stops)} stops\n{running.dump()}\n{ide.dump()}"
    assert len({stop.pid for stop in stops}) == len(stops)
    for stop in stops:
        stop.go_on()
    for outcome in outcomes:
        finish(outcome, running, ide)
    return len(stops)


def stop_in_one_worker(running: Running, ide: Ide) -> int:
    """PyCharm serves one process. The user's code runs in any, until it does in that one; the others run on."""
    stop, outcome = run_until_stop(running, ide)
    check(stop, running)
    for _ in tries():
        beside = running.trigger()
        again = next_stop(ide, beside, running)
        if again is None:
            break
        # Another thread of that worker has taken it (gunicorn's gthread).
        check(again, running)
        assert stop.pid == again.pid
        again.go_on()
        finish(beside, running, ide)
    assert again is None, f"each runs in that worker\n{running.dump()}"
    finish(beside, running, ide)
    stop.go_on()
    finish(outcome, running, ide)
    return 1


def run_until_stop(running: Running, ide: Ide) -> tuple[Stop, Future[str]]:
    """Have the user's code run, again and again where it runs in a worker that is not debugged."""
    for _ in tries():
        outcome = running.trigger()
        stop = next_stop(ide, outcome, running)
        if stop is not None:
            return stop, outcome
        finish(outcome, running, ide)
    raise AssertionError(f"no stop\n{running.dump()}\n{ide.dump()}")


def tries() -> Iterator[None]:
    """Again and again for a while, and `TRIES` times in any case: which worker runs the code is chance, and on a busy
    machine that while may be over after one run."""
    until = time.monotonic() + SOON / 2
    for done in itertools.count():
        if done >= TRIES and time.monotonic() > until:
            return
        yield


def edit_until_noticed(running: Running, ide: Ide) -> Stop | None:
    """Edit the file, until the edited code answers. The stop in it, if there is one; it goes on."""
    path = running.folder / running.launcher.edit
    text = path.read_text().replace("n = 21", "n = 22  # edited")
    until = again = time.monotonic()
    until += LIMIT
    while time.monotonic() < until:
        if time.monotonic() > again:  # once may be too early: some watchers have not looked yet
            path.write_text(text)
            text += "\n"
            again = time.monotonic() + 5
        outcome = running.trigger()
        try:
            stop = next_stop(ide, outcome, running)
            if stop is not None:
                stop.go_on()
            if "44" in outcome.result(LIMIT):
                return stop
        except (AssertionError, ConnectionError):  # the old process was just ended
            if running.program.process.poll() is not None:
                raise
    raise AssertionError(f"the old code answers still\n{running.dump()}")


def next_stop(ide: Ide, outcome: Future[str], running: Running) -> Stop | None:
    """The next stop; None when the user's code has run without one."""
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        over = outcome.done()
        try:
            return ide.stops.get(timeout=0.05)
        except queue.Empty:
            if over:
                outcome.result()  # raises what went wrong
                return None
    raise AssertionError(f"neither a stop nor an outcome\n{running.dump()}\n{ide.dump()}")


def check(stop: Stop, running: Running) -> None:
    """It is the user's line, with the user's variables, in the process that the session is of."""
    name, line = stop.place.split(":")
    assert any(Path(path).name == name and int(line) in lines for path, lines in running.breakpoints.items())
    assert stop.locals["n"] == "21"
    assert stop.session in (None, stop.pid)


def finish(outcome: Future[str], running: Running, ide: Ide) -> None:
    """The user's code goes on to its end, and what comes out is right."""
    try:
        assert "42" in outcome.result(LIMIT)
    except TimeoutError:
        raise AssertionError(f"no outcome\n{running.dump()}\n{ide.dump()}") from None


def end(running: Running, ide: Any) -> None:
    """The program ends as it is told to, and nothing is left of it and of its debugger."""
    running.end()
    ide.__exit__()
    running.wait_nothing_left()
