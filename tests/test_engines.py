"""The breakpoint is hit in the function that an engine ships to its workers, with no line of the user's code changed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import pytest
import test_launchers
from launchers.engines import AIRFLOWS, ENGINES, FIFTY, FROM_THE_SCRIPT, NOT_REUSED, REUSED
from launchers.ides import VsCode
from launchers.launcher import CHANCE, Launcher
from support import LIMIT, Program, free_port, line_of, listeners, needs, wait_until, write
from test_launchers import Start, check, end, finish, next_stop, rows, start, stop_in_each_worker  # noqa: F401

Run = Callable[..., Program]

DEBUGGERS = ("debugpy", "pydevd-pycharm")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the engines write is left in folders of the test's: local-cluster keeps its executors' in SPARK_HOME, which
    is one of links here; and Ray's sockets need a short path."""
    spec = importlib.util.find_spec("pyspark")
    if spec is not None and spec.origin:
        (tmp_path / "spark").mkdir()
        for name in ("bin", "jars"):
            (tmp_path / "spark" / name).symlink_to(Path(spec.origin).parent / name)
    monkeypatch.setattr(test_launchers, "SOON", LIMIT)  # an engine takes its time to start
    short = tempfile.mkdtemp(prefix="r", dir="/tmp" if Path("/tmp").is_dir() else None)
    monkeypatch.setenv("RAY_TMPDIR", short)
    yield
    shutil.rmtree(short, ignore_errors=True)


@rows(debuggers=DEBUGGERS, table=ENGINES)
def test_hit(launcher: Launcher, debugger: str, start: Start) -> None:  # noqa: F811
    """The breakpoint is hit in the worker that runs the function; then all goes on to its end."""
    if launcher.expected(debugger) == CHANCE:
        pytest.skip("which worker runs the function is chance")
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    stop_in_each_worker(running, ide, debugger)
    end(running, ide)


@rows(debuggers=["debugpy"], table=FROM_THE_SCRIPT)
def test_hit_from_the_script(launcher: Launcher, debugger: str, start: Start) -> None:  # noqa: F811
    """With the variables before the script alone, one attach reaches the workers that come of it."""
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    stop_in_each_worker(running, ide, debugger)
    end(running, ide)


@rows(debuggers=["debugpy"], table=AIRFLOWS)
def test_hit_in_airflow(launcher: Launcher, debugger: str, start: Start) -> None:  # noqa: F811
    """The breakpoint is hit in a task that Airflow runs by itself. (PyCharm's debugger hits it, too, but is slow in
    Airflow's imports: 100 s and more, on a busy machine more than the limit.)"""
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    stop_in_each_worker(running, ide, debugger)
    end(running, ide)


@rows(debuggers=DEBUGGERS, table=[REUSED, NOT_REUSED])
def test_spark_reuses_its_workers_or_not(launcher: Launcher, debugger: str, start: Start) -> None:  # noqa: F811
    """With spark.python.worker.reuse the next job stops in the same worker, without it in the next one."""
    running, ide = start(launcher, debugger)
    ide.attach()
    ide.wait_attached()
    outcome = running.trigger()
    pids = []
    for _ in range(2):
        stop = next_stop(ide, outcome, running)
        assert stop is not None, running.dump()
        check(stop, running)
        pids.append(stop.pid)
        stop.go_on()
    finish(outcome, running, ide)
    assert (pids[0] == pids[1]) is (launcher is REUSED)
    end(running, ide)


# --- many at once

MANY = 50
WORKER = """
    import os, sys, time

    def work(n):
        return n * 2  # breakpoint

    until = time.monotonic() + 900
    while time.monotonic() < until and not os.path.exists("go"):
        if os.path.exists(f"go-{sys.argv[1]}"):
            work(21)
        time.sleep(0.1)
    print("over", flush=True)
"""


@pytest.mark.slow
@needs("debugpy")
def test_fifty_programs_with_a_range(run: Run, tmp_path: Path) -> None:
    """50 programs that start at once take a port of a range each, run, and end undisturbed."""
    write(tmp_path, "app.py", WORKER)
    first = min(free_port(), 65000)
    programs = [run("app.py", n, DEBUGGER_PORT=f"{first}-{first + 3 * MANY}", DEBUGGER_WAIT=0) for n in range(MANY)]
    for program in programs:
        program.wait_for("can attach at")
    (tmp_path / "go").touch()
    for program in programs:
        assert program.wait() == 0, program.dump()
        assert program.stdout == "over\n"
        assert not program.others
    ports = {port for program in programs for port in re.findall(r"attach at 127\.0\.0\.1:(\d+)", program.stderr)}
    assert len(ports) == MANY
    assert not any(listeners(int(port)) for port in ports)


@pytest.mark.slow
@needs("debugpy")
def test_fifty_programs_with_one_port(run: Run, tmp_path: Path, port: int) -> None:
    """50 programs with one port are one session: a client that attaches once stops in any of them, and when it has gone
    they run on to their end."""
    app = write(tmp_path, "app.py", WORKER)
    programs = [run("app.py", n, DEBUGGER_WAIT=0) for n in range(MANY)]
    for program in programs:
        wait_until(lambda program=program: program.ours, "line of ours", program=program)
    with VsCode(port, {str(app): [line_of(app, "# breakpoint")]}) as ide:
        ide.attach()
        for _ in programs:
            ide.wait_attached()
        for number in (37, 0, MANY - 1):
            (tmp_path / f"go-{number}").touch()
            stop = ide.stops.get(timeout=LIMIT)
            (tmp_path / f"go-{number}").unlink()
            assert (stop.pid, stop.locals["n"]) == (programs[number].pid, "21")
            stop.go_on()
    (tmp_path / "go").touch()
    for program in programs:
        assert program.wait() == 0, program.dump()
        assert program.stdout == "over\n"


@pytest.mark.slow
@rows(debuggers=["debugpy"], table=[FIFTY])
def test_fifty_workers(launcher: Launcher, debugger: str, start: Start) -> None:  # noqa: F811
    """An engine of 50 workers works while nobody is there, and after one attach the breakpoint is hit in any of them."""
    running, ide = start(launcher, debugger, wait=0)
    finish(running.trigger(), running, ide)
    assert len(running.processes()) > MANY
    ide.attach()
    for _ in range(MANY + 1):
        ide.wait_attached()
    outcome = running.trigger()
    stop = next_stop(ide, outcome, running)
    assert stop is not None, running.dump()
    check(stop, running)
    stop.go_on()
    finish(outcome, running, ide)
    end(running, ide)
