"""The debuggers: what each can do, and which are there.

Each has a module of its own, imported only when there is an IDE for it. They do not import each other.
"""

import os
import sys

from autoattach._plan import Installed, Known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from autoattach.debuggers._debugger import Debugger

ROWS = (
    # name, IDE, module to look for, extra, modes, first Python that it cannot work on, our module
    ("debugpy", "vscode", "debugpy", "vscode", ("listen", "connect"), None, "debugpy"),
    ("ptvsd", "vscode", "ptvsd", "ptvsd", ("listen",), (3, 13), "ptvsd"),
    ("pydevd-pycharm", "pycharm", "pydevd_pycharm", "pycharm", ("connect",), None, "pycharm"),
)


def load(name: str) -> "Debugger":
    """The debugger of this name."""
    module = next(row[6] for row in ROWS if row[0] == name)
    debugger: Debugger = __import__(f"autoattach.debuggers.{module}", fromlist=["DEBUGGER"]).DEBUGGER
    return debugger


def installed(
    disabled: str = "", look: "Callable[[str], str | None] | None" = None, version: "tuple[int, ...] | None" = None
) -> Installed:
    """What is there, found by looking: importing one debugger spoils the process for the others.

    For another interpreter `look` says where it finds a module, and `version` which Python it is.
    """
    look = look or find
    release = version or tuple(sys.version_info[:3])
    return Installed(
        debuggers=tuple(
            Known(
                name=name,
                ide=ide,
                modes=modes,
                extra=extra,
                installed=look(module) is not None,
                unsupported=_unsupported(name, until, release),
            )
            for name, ide, module, extra, modes, until, _ in ROWS
        ),
        disabled=disabled,
        lack=None,
    )


def _unsupported(name: str, until: "tuple[int, int] | None", version: "tuple[int, ...]") -> str:
    if until is None or version < until:
        return ""
    return f"{name} cannot work on Python {until[0]}.{until[1]} and later: use debugpy"


def find(module: str) -> "str | None":
    """The path of a top-level module's file, or None. (`importlib.util.find_spec` would import `importlib.util`.)"""
    places = None
    library = getattr(os, "__file__", None)
    if library and not getattr(sys, "frozen", False):  # a program made into one file has all in one place
        # None is among Python's own modules, which to look through takes longest.
        own = os.path.dirname(library) + os.sep
        places = [entry for entry in map(str, sys.path) if "-packages" in entry or not (entry + os.sep).startswith(own)]
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        try:
            is_paths = getattr(finder, "__name__", "") == "PathFinder"
            spec = find_spec(module, places if is_paths else None) if find_spec else None
        except Exception:  # somebody else's finder
            continue
        if spec is not None and spec.origin:
            return str(spec.origin)
    return None
