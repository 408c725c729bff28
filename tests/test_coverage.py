"""Under coverage both are told apart; where they displace each other, one line says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from support import LIMIT, Program, environment, needs, write

from autoattach.cli._dap import Client

pytest.importorskip("coverage")
pytestmark = needs("debugpy")
Run = Callable[..., Program]


@pytest.mark.parametrize("how", ["coverage run", "COVERAGE_PROCESS_START"])
def test_coverage(run: Run, tmp_path: Path, port: int, how: str) -> None:
    """We attach beside coverage, by `coverage run` and by its subprocess hook. From Python 3.12 on the breakpoint is hit
    and the file is measured; before, one of the two, and a line says which."""
    path = write(tmp_path, "app.py", "a = 1\nb = 2\nc = 3\n")
    write(tmp_path, "rc", f"[run]\ndata_file = {tmp_path / 'data'}\ninclude = {path}\n")
    arguments = ["-m", "coverage", "run", "--rcfile=rc"] if how == "coverage run" else []
    start = None if arguments else str(tmp_path / "rc")
    hook = subprocess.run(
        [sys.executable, "-c", "import sys; print('coverage' in sys.modules)"],
        env=environment(COVERAGE_PROCESS_START=tmp_path / "rc"), capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    if not arguments and hook.stdout.strip() != "True":
        pytest.skip("this release of coverage installs no hook for subprocesses")
    program = run(*arguments, "app.py", DEBUGGER_WAIT=60, COVERAGE_PROCESS_START=start, COVERAGE_PROCESS_CONFIG=None)
    together = sys.version_info >= (3, 12)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(path): [2]})
        if together or not arguments:
            client.continue_(client.wait_stopped())
        assert program.wait() == 0
    assert len([line for line in program.ours if "displace each other" in line]) == (not together)
    assert "PYDEV" not in program.others
    measured = subprocess.run(
        [sys.executable, "-m", "coverage", "report", "--rcfile=rc"], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=LIMIT,
    ).stdout  # fmt: skip
    assert ("app.py" in measured) == (together or bool(arguments))
