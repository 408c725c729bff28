"""The table in the documentation, from what a run of the tests has seen: pytest's hooks for `--launchers-table FILE`."""

from __future__ import annotations

import platform
import textwrap
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support import DEBUGGERS

from launchers.launcher import Launcher

HEAD = """\
Launchers
=========

What is hit with ``START_DEBUGGER=1`` in the environment of what is started here, or in the file that names it
(supervisor, cron). Nothing else is changed in the programs.

*hit* says that a debugger stopped there in the process that runs the code, and that everything then went on to its end.
*in 2 of 2 workers*: both stood at the breakpoint at the same time. PyCharm's debug server and ptvsd serve one process
at a time; the others run on, undebugged and unharmed.

The tests have written this page (``python -m pytest test_launchers.py --launchers-table ../docs/launchers.rst``), with
{versions}.

.. list-table::
   :header-rows: 1
   :widths: 16 24 16 12 16 16

   * - Launcher
     - Started by
     - debugpy
     - ptvsd
     - pydevd-pycharm
     - To know
"""
ROW = "   * - "
CELL = "     - "
SHOWN = {"{python}": "python", "{bin}/": "", "{folder}/": "./", "{folder}": ".", "{http}": "8000", "{prefix}": ".venv"}

_seen: dict[tuple[str, str], list[str]] = {}
"""What was seen by launcher and debugger."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--launchers-table", metavar="FILE", help="write what test_launchers.py has seen into FILE")


def pytest_runtest_logreport(report: Any) -> None:
    properties = dict(report.user_properties)
    if report.when != "call" or "launchers-row" not in properties:
        return
    saw = "FAILED" if report.failed else properties.get("launchers-saw")
    if saw:
        _seen.setdefault(tuple(properties["launchers-row"]), []).append(saw)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--launchers-table")
    if path and not hasattr(session.config, "workerinput"):  # else one of xdist's workers, which sees a part
        from launchers import LAUNCHERS

        text = HEAD.format(versions=_versions(LAUNCHERS)) + "".join(map(_row, LAUNCHERS.values()))
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text)


def rows_of(text: str) -> list[str]:
    """The launchers that stand in a table, by their ids."""
    return [line[len(ROW) :].strip("`") for line in text.splitlines() if line.startswith(ROW)][1:]


def _row(launcher: Launcher) -> str:
    command = " ".join(f"'{word}'" if " " in word else word for word in launcher.command)
    for name, shown in SHOWN.items():
        command = command.replace(name, shown)
    cells = [f"``{launcher.shown or command}``"]
    for debugger in DEBUGGERS:
        # first what test_hit saw, which says of how many workers
        seen = sorted(_seen.get((launcher.id, debugger), ["not tried"]), key=lambda saw: saw.startswith("also"))
        cells.append("; ".join(seen))
    return ROW + f"``{launcher.id}``\n" + "".join((CELL + cell).rstrip() + "\n" for cell in [*cells, launcher.note])


def _versions(launchers: dict[str, Launcher]) -> str:
    names = [*DEBUGGERS, *(name for launcher in launchers.values() for name in launcher.needs)]
    found = [f"CPython {platform.python_version()}"]
    for name in dict.fromkeys(names):
        try:
            found.append(f"{name} {metadata.version({'xdist': 'pytest-xdist'}.get(name, name))}")
        except metadata.PackageNotFoundError:  # a program of the system's
            pass
    return textwrap.fill(", ".join(found), 120, break_on_hyphens=False)
