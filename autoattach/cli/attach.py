"""`autoattach attach PID`: a debugger for a process that runs already."""

from __future__ import annotations

import argparse
import json
import os
import re
from typing import Any, Dict, List, Mapping, Optional

from autoattach._errors import AttachError
from autoattach._leader import IDES
from autoattach._network import spell
from autoattach._outside import ATTACH
from autoattach._records import LEAVES
from autoattach._session import Session
from autoattach._settings import LENT, VARIABLES, Settings
from autoattach.cli import run as run_command
from autoattach.cli._remote import Target, ask, open_session
from autoattach.cli._targets import add_arguments as add_targets
from autoattach.cli._targets import at, chosen, complain, title

NAME = "attach"
HELP = "attach to processes that run already, and say where the IDE finds them"
EPILOG = """\
A process that was started with START_DEBUGGER=1 is asked on a channel of its own. Any other Python of yours is made to
run a few lines: by sys.remote_exec from Python 3.14 on, before by gdb (or lldb), where the system allows it. It is not
held, needs no autoattach and no debugger of its own, and is an ordinary process until the IDE comes.
The exit status is 0 where all of them are attached to, else 1.

examples:
  autoattach attach 4711                     then attach the IDE to where it says
  autoattach attach --port 0 4711            on any free port
  autoattach attach --ide pycharm 4711       it connects to PyCharm's debug server
  autoattach attach '*worker.py*'            those with such a command line, in one session
  autoattach detach 4711                     and it runs at its own speed again"""
FIELDS = {
    "ide": "ide",
    "host": "host",
    "ports": "port",
    "mode": "mode",
    "path_mappings": "path_mappings",
    "subprocess": "subprocess",
    "log": "log",
    "verbose": "verbose",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `attach` takes on its command line: some of `run`'s options, for they mean the same."""
    add_targets(parser)
    parser.epilog = EPILOG
    parser.usage = "autoattach attach [OPTION ...] PID ..."
    run_command.add_options(parser, list(FIELDS))


def run(arguments: argparse.Namespace) -> int:
    """Attach. Returns 0 where all of them are attached to, else 1."""
    try:
        targets, failed = chosen(arguments, "attach")
        given, lent = _given(arguments, os.environ), run_command.environment({}, {})[LENT]
    except AttachError as error:
        complain(NAME, error)
        return 1
    rows: List[Dict[str, Any]] = [_row(pid, error=error) for pid, error in failed.items()]
    for problem in failed.values():
        complain(NAME, problem)
    for target in targets:
        at(target)
        try:
            how, session = attach(target, [ATTACH, *(f"{name}={value}" for name, value in given.items())], lent)
        except AttachError as error:
            better = AttachError(error.what, as_options(error.advice))
            rows.append(_row(target.pid, target, error=better))
            complain(NAME, f"{title(target)}: {better}")
        else:
            rows.append(_row(target.pid, target, how, session))
            if not arguments.json:
                print(f"{title(target)}: {_where(target, session)}", flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    return 1 if any(row["error"] for row in rows) else 0


def attach(target: Target, request: List[str], lent: str) -> tuple[str, Session]:
    """How it was attached to, `open` where it was before, and the session. Raises `AttachError`."""
    session = open_session(target)
    if session is not None:
        return "open", session
    how, reply = ask(target, request, lent)
    session = Session.from_text(reply[1]) if reply[1:] else None
    if session is None:
        raise AttachError("its answer is not understood", "the autoattach in it is another release: use that one")
    return how, session


def _given(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Dict[str, str]:
    """The arguments of the call that the process is to make: options, and variables in the environment.

    Raises `AttachError` where a variable is not understood.
    """
    found = {}
    settings = Settings.from_environ(environ)
    for variable in VARIABLES:
        if variable.field not in FIELDS:
            continue
        value = getattr(arguments, variable.name, None) or environ.get(variable.name, "").strip()
        if value:
            found[FIELDS[variable.field]] = ",".join(value) if isinstance(value, list) else value
    for problem in settings.problems:
        if getattr(arguments, problem.name, None) is None:
            raise problem
    if settings.terminal_ide:
        found.setdefault("ide", settings.terminal_ide)
    return found


def as_options(advice: str) -> str:
    """An advice that names variables, for who types options; what is no option here is for who starts the process."""
    names = "DEBUGGER_(IDE|HOST|PORT|MODE|LOG)"
    advice = re.sub(rf"^set (?={names}=)", "", advice)
    return re.sub(rf"{names}(=?)", lambda found: f"--{found[1].lower()}{' ' if found[2] else ''}", advice)


def _where(target: Target, session: Session) -> str:
    """What the user does now, in a line."""
    where = spell(*session.address)
    who = IDES.get(("pycharm" if session.debugger == "pydevd-pycharm" else "vscode", session.mode), "the IDE")
    if target.record is not None and target.record.role == LEAVES:
        return f"it leaves the one slot of {who} at {where} to its worker"
    if session.mode != "listen":
        held = target.record is not None and target.record.held
        return f"it {'waits for' if held else 'is connected to'} {who} at {where} ({session.debugger})"
    if session.pid != target.pid:
        return f"in the session of pid {session.pid}: {who} can attach at {where} ({session.debugger})"
    return f"{who} can attach at {where} ({session.debugger})"


def _row(
    pid: int,
    target: Optional[Target] = None,
    how: str = "",
    session: Optional[Session] = None,
    error: Optional[AttachError] = None,
) -> Dict[str, Any]:
    """The same for a program. `how`: `open`, it was before; `channel`, `remote_exec`, `gdb` or `debugpy`."""
    return {
        "pid": pid,
        "command": list(target.command) if target is not None else [],
        "how": how,
        "leader": session.pid if session is not None else None,
        "debugger": session.debugger if session is not None else None,
        "mode": session.mode if session is not None else None,
        "host": session.host if session is not None else None,
        "port": session.port if session is not None else None,
        "error": error.what if error is not None else "",
        "type": error.advice if error is not None else "",
    }
