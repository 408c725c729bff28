"""`autoattach detach PID`: take the debugger out of a process that runs."""

from __future__ import annotations

import argparse
import json
from typing import Any, Dict, List

from autoattach._errors import AttachError
from autoattach._outside import DETACH, DETACHED
from autoattach.cli._remote import Target, ask, has_channel
from autoattach.cli._targets import add_arguments as add_targets
from autoattach.cli._targets import at, chosen, complain, title

NAME = "detach"
HELP = "take the debugger out of processes that run on: they are as fast as before, and can be attached to again"
EPILOG = """\
Its children and forks keep their sessions. The exit status is 0 where each was attached and is no more, else 1.

examples:
  autoattach detach 4711
  autoattach detach --all       every process that `autoattach ps` shows"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `detach` takes on its command line."""
    add_targets(parser)
    parser.epilog = EPILOG
    parser.usage = "autoattach detach [OPTION ...] PID ..."


def run(arguments: argparse.Namespace) -> int:
    """Detach. Returns 0 where each of them was attached, else 1."""
    try:
        targets, failed = chosen(arguments, "detach")
    except AttachError as error:
        complain(NAME, error)
        return 1
    rows: List[Dict[str, Any]] = [_row(pid, error) for pid, error in failed.items()]
    for problem in failed.values():
        complain(NAME, problem)
    for target in targets:
        at(target)
        if arguments.all and target.record is None:  # it is known by its channel alone
            continue
        try:
            detach(target)
        except AttachError as error:
            rows.append(_row(target.pid, error))
            complain(NAME, f"{title(target)}: {error}")
        else:
            rows.append(_row(target.pid))
            if not arguments.json:
                print(f"{title(target)}: detached", flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    return 1 if any(row["error"] for row in rows) else 0


def detach(target: Target) -> None:
    """Raises `AttachError` where it is not attached, or cannot be asked."""
    if target.record is None and not has_channel(target.pid):
        raise AttachError("autoattach is not attached to it", "autoattach ps shows where it is")
    if target.record is not None and target.record.held:
        raise AttachError("it is held for the IDE", f"attach the IDE, or end it: kill {target.pid}")
    _, reply = ask(target, [DETACH])
    if reply[:1] != [DETACHED]:
        raise AttachError("autoattach is not attached to it", "autoattach ps shows where it is")


def _row(pid: int, error: AttachError | None = None) -> Dict[str, Any]:
    what, advice = (error.what, error.advice) if error is not None else ("", "")
    return {"pid": pid, "detached": error is None, "error": what, "type": advice}
