"""Breakpoints in files that nothing maps: how pydevd-pycharm (203 to 263) is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from autoattach._notices import say_once
from autoattach.debuggers._mappings import Mappings

if TYPE_CHECKING:
    from autoattach._ledger import Ledger

SET, REMOVE = 111, 112
KINDS = ("python-line", "django-line", "jinja2-line")


def infer_paths(ledger: Ledger) -> None:
    """Look for the file whenever PyCharm sets a breakpoint. Its protocol has no answer to that: why one is not hit is
    said on stderr and, as pydevd does with a breakpoint that logs, in PyCharm's console.

    The thread that reads its commands has `process_command(command, sequence, text)`, which calls its attribute
    `process_net_command` with pydevd's object before the same.
    """
    from _pydevd_bundle.pydevd_comm import ReaderThread

    commands = Commands(ledger)
    as_it_is = ReaderThread.process_command

    def process_command(reader: Any, command: int, sequence: int, text: str) -> None:
        if command in (SET, REMOVE):
            commands.look(reader, command, text, as_it_is)
        as_it_is(reader, command, sequence, text)

    ledger.set(ReaderThread, "process_command", process_command)


class Commands:
    """The commands by which PyCharm has set breakpoints, and what obeys them."""

    def __init__(self, ledger: Ledger) -> None:
        self._mappings = Mappings(ledger, self._withdraw, self._again)
        self._obey: Callable[[int, str], object] = lambda number, words: None
        self._told: set[str] = set()
        self._set: dict[str, dict[str, tuple[str, str]]] = {}  # path, id: how it is set, and how removed

    def look(self, reader: Any, command: int, text: str, process: Any) -> None:
        """Have the file mapped if it can be. Never raises."""
        try:
            self._obey = lambda number, words: process(reader, number, 0, words)
            fields = text.split("\t")
            if command == REMOVE:
                self._set.get(fields[1], {}).pop(fields[2], None)
                return
            at = 0 if fields[0] in KINDS else 1  # an id may stand first; else the line is it
            if fields[at] not in KINDS:
                return
            path, line = fields[at + 1 : at + 3]
            name = fields[0] if at else line
            known = self._set.setdefault(path, {})
            reason = self._mappings.look(path, int(line))
            known[name] = text, "\t".join((fields[at], path, name))
            self._tell(reason)
        except Exception:  # another release: then as without us
            pass

    def _tell(self, reason: str) -> None:
        if not reason or reason in self._told:
            return
        self._told.add(reason)
        say_once(reason)
        from _pydevd_bundle.pydevd_constants import get_global_debugger

        debugger = get_global_debugger()
        if debugger is not None and debugger.writer is not None:
            debugger.writer.add_command(debugger.cmd_factory.make_io_message(f"autoattach: {reason}\n", "2"))

    def _withdraw(self, path: str) -> None:
        for _, remove in list(self._set.get(path, {}).values()):
            self._obey(REMOVE, remove)

    def _again(self, path: str, reason: str) -> None:
        self._tell(reason)
        for text, _ in list(self._set.get(path, {}).values()):
            self._obey(SET, text)
