"""Which processes are meant: by their ids, by patterns that match their command lines, or all that can be asked."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Dict, Iterator, List, Tuple

from autoattach import _records
from autoattach._errors import AttachError
from autoattach._exclusions import HELPERS, matches, row, what_runs
from autoattach._process import alive, brief
from autoattach.cli import _command
from autoattach.cli._remote import Target, look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What tells the processes, and how the answer is given."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(parser=parser)
    parser.add_argument("words", metavar="PID", nargs="*", help="a process's id, or a pattern such as '*worker.py*'")
    parser.add_argument("--all", action="store_true", help="all processes of yours that autoattach knows of")
    parser.add_argument("--json", action="store_true", help="a list of objects, one for each process, for a program")


def chosen(arguments: argparse.Namespace, verb: str) -> Tuple[List[Target], Dict[int, AttachError]]:
    """The processes, and what keeps others from being asked. Raises `AttachError` where a pattern matches none."""
    if not arguments.words and not arguments.all:
        arguments.parser.error("which process? Its PID, a pattern, or --all")
    pids: List[int] = list(_known()) if arguments.all else []
    if arguments.all and not pids:
        raise AttachError("autoattach knows of no process of yours", "give the PID, or a pattern, of one that runs")
    for word in arguments.words:
        if word.isascii() and word.isdigit() and int(word) > 0:
            pids.append(int(word))
            continue
        found = [pid for pid, command in _pythons() if matches(word, command)]
        if not found:
            raise AttachError(f"no Python of yours has a command line that matches {word!r}", "ps -ef | grep python")
        pids += found
    targets, failed = [], {}
    before = os.environ.get("TMPDIR")
    for pid in dict.fromkeys(pids):
        try:
            targets.append(look(pid, verb))
        except AttachError as error:
            failed[pid] = error
        finally:
            _records_at(before)
    return targets, failed


def at(target: Target) -> None:
    """Have records looked for where this process leaves them."""
    if target.running is not None:
        from autoattach.cli._running import records_of

        records_of(target.running.command.environ)


def title(target: Target) -> str:
    """A process, in a line."""
    return f"pid {target.pid}{f' ({brief(target.command)})' if target.command else ''}"


def _records_at(folder: str | None) -> None:
    if folder is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = folder


def _known() -> Iterator[int]:
    """Those that have left a record, or a channel."""
    try:
        names = os.listdir(_records.folder())
    except OSError:
        return
    for pid in sorted({int(name.partition(".")[0]) for name in names if name.partition(".")[0].isdigit()}):
        if pid != os.getpid() and alive(pid) and any(f"{pid}{end}" in names for end in ("", ".ctl")):
            yield pid


def _pythons() -> Iterator[Tuple[int, Tuple[str, ...]]]:
    """The Pythons of this user, with their command lines; without us, our parents and the debuggers' own helpers."""
    if not os.path.isdir("/proc/self"):
        for record in _records.read():
            yield record.pid, tuple(record.command.split())
        return
    ours = _family()
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if pid in ours or os.stat(f"/proc/{pid}").st_uid != os.geteuid():
                continue
            if not _command.is_python(os.readlink(f"/proc/{pid}/exe")):
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = tuple(os.fsdecode(word) for word in file.read().split(b"\0")[:-1])
        except OSError:  # gone, or not ours to look at
            continue
        if command and not row(HELPERS, what_runs(command)):
            yield pid, command


def _family() -> List[int]:
    found, pid = [], os.getpid()
    while pid > 0 and pid not in found:
        found.append(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return found


def complain(command: str, what: object) -> None:
    """A line on stderr."""
    print(f"autoattach {command}: {what}", file=sys.stderr, flush=True)
