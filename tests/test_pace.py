"""pace.py, by which other tests know that a program is not traced any longer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable

import pytest
from support import PACE, SLOWER, Program, write

HEAD = """
    import sys
    from pace import pace

    def helper(n):
        return n + 1

    before = pace(helper)
"""
TRACE = """
    sys.settrace(lambda frame, event, argument: None)
"""
MONITORING = """
    tool, events = sys.monitoring.DEBUGGER_ID, sys.monitoring.events
    sys.monitoring.use_tool_id(tool, "it")
    for event in (events.PY_START, events.PY_RETURN):
        sys.monitoring.register_callback(tool, event, lambda *arguments: None)
    sys.monitoring.set_events(tool, events.PY_START | events.PY_RETURN)
"""


@pytest.mark.parametrize(
    ("left_on", "slower"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param(TRACE, True, id="trace"),
        pytest.param(
            MONITORING,
            True,
            id="monitoring",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring before 3.12"),
        ),
    ],
)
def test_pace(run: Callable[..., Program], tmp_path: Path, left_on: str, slower: bool) -> None:
    """What is left on shows, be it a function that wants to know of calls and of nothing in them; else nothing does."""
    write(tmp_path, "pace.py", PACE)
    write(tmp_path, "app.py", HEAD + left_on + "    print(pace(helper) / before)\n")
    program = run("app.py", START_DEBUGGER=None)
    assert program.wait() == 0, program.dump()
    assert (float(program.stdout) > SLOWER) is slower, program.stdout
