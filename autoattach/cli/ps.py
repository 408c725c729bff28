"""`autoattach ps`: every attached process of this user."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from autoattach import _records
from autoattach._errors import AttachError
from autoattach._link import Link
from autoattach._network import spell
from autoattach._records import Record
from autoattach._session import Session

NAME = "ps"
HELP = "show every attached process of this user: who leads, where, and whether an IDE is there"
EPILOG = """\
A process is "waiting" while it is held for the IDE, "running" while that may still come, and "client connected" while
one is there. Those of one session stand below the process that leads it: one attach, at one address, reaches them all.

examples:
  autoattach ps                              what is there to attach to, and where
  autoattach ps --watch                      the same, always up to date; Ctrl-C ends it
  autoattach ps --json | jq '.[].address'    for a program"""

HEAD = ("PID", "ROLE", "DEBUGGER", "ADDRESS", "STATE", "SINCE", "COMMAND")
NOBODY = "no attached processes"
ANSWER = 1.0  # seconds that a session may take to say whether an IDE is there
PAUSE = 1.0  # seconds between two looks


class Row(NamedTuple):
    """A process, as it is shown."""

    pid: int
    role: str
    leader: int
    """The process of the session that it is shown below; its own where there is none."""
    debugger: str
    mode: str
    address: str
    state: str
    since: int
    command: str

    def to_json(self) -> Dict[str, Any]:
        """The same for a program: the time as ISO 8601."""
        return {**self._asdict(), "since": datetime.fromtimestamp(self.since).astimezone().isoformat()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `ps` takes on its command line."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="a list of objects, for a program")
    parser.add_argument("--watch", action="store_true", help="look again every second, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Show them. Returns 0."""
    try:
        if arguments.watch:
            watch(arguments.json)
        else:
            show(rows(), arguments.json)
    except KeyboardInterrupt:
        pass
    return 0


def show(found: List[Row], as_json: bool) -> None:
    """Print them: a table, or JSON."""
    text = json.dumps([row.to_json() for row in found], indent=2) if as_json else "\n".join(table(found, _width()))
    if text:
        print(text, flush=True)
    if not found:
        print(NOBODY, file=sys.stderr, flush=True)


def watch(as_json: bool) -> None:
    """Show them until Ctrl-C: a terminal is drawn anew each time, else what has changed is printed anew."""
    before: Optional[List[Row]] = None
    while True:
        found = rows()
        if sys.stdout.isatty() and not as_json:
            height = shutil.get_terminal_size().lines - 1
            print("\033[H\033[J" + "\n".join((table(found, _width()) or [NOBODY])[:height]), flush=True)
        elif found != before:
            show(found, as_json)
        before = found
        time.sleep(PAUSE)


def rows() -> List[Row]:
    """Every attached process of this user, each leader before the others of its session."""
    records = list(_records.read())
    live = ask([record.session for record in records])
    families: Dict[str, List[Record]] = {}
    for record in sorted(records, key=lambda record: (record.since, record.pid)):
        families.setdefault(record.session.id, []).append(record)
    found = []
    for family in families.values():
        first = [record for record in family if record.pid == record.session.pid]
        leader = first[-1].pid if first else 0
        for record in sorted(family, key=lambda record: record.pid != leader):
            found.append(_row(record, leader or record.pid, live.get(_key(record.session))))
    return found


def _row(record: Record, leader: int, connected: Optional[bool]) -> Row:
    session = record.session
    if connected is None:
        connected = session.live
    return Row(
        pid=record.pid,
        role=record.role,
        leader=leader,
        debugger=session.debugger,
        mode=session.mode,
        address=spell(session.host, session.port),
        state="client connected" if connected else "waiting" if record.held else "running",
        since=record.since,
        command=as_typed(record.command),
    )


def ask(sessions: List[Session]) -> Dict[Tuple[str, int], bool]:
    """Of the sessions that can be asked, at their port, those that have answered: whether an IDE is there."""
    distinct = {_key(session): session for session in sessions if not session.serves_one}
    if not distinct:
        return {}
    with ThreadPoolExecutor(min(len(distinct), 32)) as executor:
        answers = executor.map(is_live, distinct.values())
        return {key: answer for key, answer in zip(distinct, answers) if answer is not None}


def is_live(session: Session) -> Optional[bool]:
    """Whether an IDE is attached to a session; None where it does not say. It is asked as a member asks."""
    try:
        link = Link.open(session, os.getpid())
    except AttachError:  # nobody is there any more, nor is an IDE
        return False
    until = time.monotonic() + ANSWER
    try:
        entrance = link.wait(until)
        if entrance is None and time.monotonic() >= until:  # it is stopped, or very busy
            return None
        return entrance is not None  # told to wait; or sent away by who has the port now
    finally:
        link.close()


def _key(session: Session) -> Tuple[str, int]:
    return session.id, session.port


def as_typed(command: str) -> str:
    """A command line without what debugpy (1.6 to 1.8.22), and we, have put into it to carry that process."""
    ours = r"(\S+)(?: -Xfrozen_modules=off)?"
    options = re.match(ours + r"((?: .*?)?) \S*/pydevd\.py (.*?)--file (.*)", command)
    if options:
        return f"{options[1]}{options[2]} {'-m ' if '--module ' in options[3] else ''}{options[4]}"
    code = r"( .*?)import sys; sys\.path\.insert\(0, r'.*?'\); import pydevd; .*?settrace\(.*?\); "
    return re.sub(f"^{ours}{code}", r"\1\2", command)


def table(found: List[Row], width: Optional[int]) -> List[str]:
    """The lines of a table, each cut where the terminal ends; none where there is nobody."""
    lines = [HEAD, *(_cells(row) for row in found)] if found else []
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD) - 1)] if found else []
    cells = ([line[0].rjust(widths[0]), *map(str.ljust, line[1:-1], widths[1:]), line[-1]] for line in lines)
    return ["  ".join(cell)[:width].rstrip() for cell in cells]


def _cells(row: Row) -> Tuple[str, ...]:
    below = "" if row.pid == row.leader else "\\_ "
    program, space, rest = row.command.partition(" ")
    encoding = sys.stdout.encoding or "utf-8"
    command = f"{below}{os.path.basename(program)}{space}{rest}".encode(encoding, "replace").decode(encoding)
    return str(row.pid), row.role, row.debugger, row.address, row.state, _since(row.since), command


def _since(seconds: int) -> str:
    """The time of the last 24 hours, the day of an earlier one."""
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S" if time.time() - seconds < 86400 else "%Y-%m-%d")


def _width() -> Optional[int]:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
