"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from launchers.table import pytest_addoption, pytest_runtest_logreport, pytest_sessionfinish  # noqa: F401
from support import Program, free_port

# Commands, and what else stands by itself: marked `more`, so that the rest is quick to run.
MORE = {
    "test_attach_pid",
    "test_bundle",
    "test_config",
    "test_doctor",
    "test_engines",
    "test_hub",
    "test_later",
    "test_launchers",
    "test_paths",
    "test_ps",
    "test_recipes",
    "test_run",
    "test_tunnel",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before `-m` chooses."""
    for item in items:
        if item.path.stem in MORE:
            item.add_marker(pytest.mark.more)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that has failed shows what its programs have written."""
    report = (yield).get_result()  # type: ignore[misc, attr-defined, unused-ignore]
    if call.when == "setup":
        Program.started.clear()
    elif call.when == "call" and report.failed:
        for program in Program.started:
            status = program.process.poll()
            state = "runs" if status is None else f"ended with status {status}"
            report.sections.append((f"pid {program.pid} ({program.process.args}) {state}", program.dump()))


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the user's processes leave for each other to find is left in a folder that pytest clears away."""
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("t"))


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Programs of the tests get the signals that end them, also where a shell or nohup has the tests ignore those."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT"):
        if signal.getsignal(getattr(signal, name, signal.SIGTERM)) == signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture
def port() -> int:
    """A free port."""
    return free_port()


@pytest.fixture
def run(tmp_path: Path, port: int) -> Iterator[Callable[..., Program]]:
    """Start programs with START_DEBUGGER=1 on `port`, with debugpy unless told otherwise; they are ended after the test, however it goes."""
    programs = []

    def start(*arguments: object, **keywords: Any) -> Program:
        env = {"START_DEBUGGER": 1, "DEBUGGER_PORT": port, "DEBUGGER_IDE": "debugpy", **keywords}
        program = Program(tmp_path, *arguments, **env)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.close()
