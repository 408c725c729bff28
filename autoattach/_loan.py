"""A debugger for a Python that has none: what `autoattach run` brings along from its own environment, or a bundle's.

It is found last, so that what the program has of its own wins; and nothing else of that environment can be imported.
"""

from __future__ import annotations

import os
import sys

from autoattach import _bundle, debuggers
from autoattach._errors import DebuggerError
from autoattach.debuggers import ROWS, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from autoattach._bundle import Bundle, Here, Row
    from autoattach._plan import Installed

# What the modules of each begin with: debugpy and ptvsd carry their pydevd inside themselves
MODULES = {"debugpy": ("debugpy",), "ptvsd": ("ptvsd",), "pydevd-pycharm": ("pydev", "_pydev")}


class Lender:
    """Finds the debuggers' modules, and no others, in folders that are not on the path."""

    def __init__(self, folders: Sequence[str], beginnings: tuple[str, ...]) -> None:
        self._folders = list(folders)
        self._beginnings = beginnings

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        """As Python asks each finder; `path` is None for a module that is in no package."""
        if path is not None or not name.startswith(self._beginnings):
            return None
        from _frozen_importlib_external import PathFinder  # importlib.machinery's, which would cost an import

        return PathFinder.find_spec(name, self._folders)


def borrow_from(bundle: Bundle, there: Installed, ide: str | None) -> Installed:
    """`borrow()`, of what a bundle has for this Python; where that is not what is wanted, `lack` says so."""
    here = _bundle.here()
    pydevd = find("pydevd")
    rows = lent(bundle, here, there, ide, pydevd)
    if rows:
        _lend([bundle.path(row) for row in rows.values()], list(rows))
        there = debuggers.installed()
    return there.replace(lack=lack(bundle, here, ide, pydevd))  # type: ignore[no-any-return]


def lent(bundle: Bundle, here: Here, there: Installed, ide: str | None, pydevd: str | None) -> dict[str, Row]:
    """What a bundle lends an interpreter in which these are installed: nothing where it has one of its own.

    `pydevd` is the interpreter's own module of that name, which stays the one that is imported.
    """
    names = wanted(ide)
    rows = bundle.serving(here)
    if there.disabled or _has_own(there, names):
        return {}
    if ide == "pycharm" and "pydevd-pycharm" not in rows:
        names = ["debugpy"]  # PyCharm 2025.3 and later attach to it
    if pydevd is not None:  # pydevd-pycharm would get hold of that one
        rows.pop("pydevd-pycharm", None)
    return {name: row for name, row in rows.items() if name in names}


def lack(bundle: Bundle, here: Here, ide: str | None, pydevd: str | None) -> DebuggerError:
    """What to say where a bundle has not what is wanted for such an interpreter."""
    if pydevd is not None and "pydevd-pycharm" in bundle.serving(here):
        return DebuggerError(
            f"the program's own {pydevd} leaves no room for the pydevd-pycharm of {bundle.place}",
            "DEBUGGER_IDE=vscode, with debugpy in the bundle, or no pydevd of its own",
        )
    return bundle.lacks(here, wanted(ide)[0] if ide else "")


def wanted(ide: str | None) -> list[str]:
    """The debuggers for an IDE, the best first; all of them, with None."""
    return [row[0] for row in ROWS if ide in (None, row[0], row[1])]


def borrow(there: Installed, folders: Sequence[str], ide: str | None) -> Installed:
    """Where no debugger for the IDE is installed (none at all, with None), have it found in those folders, too.

    What is there then is returned; what has no release for this Python is `unsupported`.
    """
    names = wanted(ide)
    if there.disabled or _has_own(there, names):
        return there
    _lend(folders, names)
    now = debuggers.installed()
    return there.replace(  # type: ignore[no-any-return]
        debuggers=tuple(
            known.replace(unsupported=known.unsupported or _unfit(known.name)) if known.name in names else known
            for known in now.debuggers
        )
    )


def _has_own(there: Installed, names: Sequence[str]) -> bool:
    return any(known.installed and not known.unsupported and known.name in names for known in there.debuggers)


def _lend(folders: Sequence[str], names: Sequence[str]) -> None:
    lender: Any = Lender(folders, tuple(beginning for name in names for beginning in MODULES[name]))
    sys.meta_path.append(lender)


def _unfit(name: str) -> str:
    """Why it cannot work on this Python, or an empty string; as its metadata has it, for it would fail only later."""
    module = name.replace("-", "_")
    origin = find(module)
    if origin is None:
        return ""
    folder = os.path.dirname(origin)
    if os.path.basename(folder) == module:
        folder = os.path.dirname(folder)
    try:
        for entry in os.listdir(folder):
            if entry.startswith(f"{module}-") and entry.endswith(".dist-info"):
                with open(os.path.join(folder, entry, "METADATA"), encoding="utf-8", errors="replace") as file:
                    for line in file:
                        if line.startswith("Requires-Python:"):
                            return _too_old(f"the {name} of {folder}", line.partition(":")[2])
                        if not line.strip():
                            break
    except OSError:
        pass
    return ""


def _too_old(what: str, requires: str) -> str:
    for part in requires.split(","):
        version = part.strip()[2:].strip()
        if part.strip().startswith(">=") and version.replace(".", "").isdigit():
            least = tuple(map(int, version.split(".")))
            if sys.version_info < least:
                here = f"{sys.version_info[0]}.{sys.version_info[1]}"
                return f"{what} is for Python {version} and later, and this is {here}"
    return ""
