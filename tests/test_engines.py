"""The breakpoint is hit in the function that an engine ships to its workers, with no line of the user's code changed."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from launchers.engines import ENGINES, NOT_REUSED, REUSED
from launchers.launcher import Launcher
from support import LIMIT
from test_launchers import Start, check, end, finish, next_stop, rows, start, stop_in_each_worker  # noqa: F401

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
    short = tempfile.mkdtemp(prefix="r", dir="/tmp" if Path("/tmp").is_dir() else None)
    monkeypatch.setenv("RAY_TMPDIR", short)
    yield
    shutil.rmtree(short, ignore_errors=True)


@rows(debuggers=DEBUGGERS, table=ENGINES)
def test_hit(launcher: Launcher, debugger: str, start: Start) -> None:  # noqa: F811
    """The breakpoint is hit in the worker that runs the function; then all goes on to its end."""
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
