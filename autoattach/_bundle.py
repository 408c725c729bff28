"""A bundle: a folder on PYTHONPATH that lends us, and debuggers for several Pythons. `autoattach bundle` makes it.

::

    DIR/sitecustomize.py                               the door; has `import autoattach` find the one below
    DIR/autoattach-bundle/autoattach/                  us: not beside the door, where PYTHONPATH would find it first
    DIR/autoattach-bundle/contents.txt                 what is there for which Python
    DIR/autoattach-bundle/debugpy-1.8.22-any/debugpy/  a debugger; each in a folder of its own, never on the path
"""

from __future__ import annotations

import os
import sys

from autoattach._errors import DebuggerError
from autoattach._settings import BUNDLE, Frozen

FOLDER = BUNDLE
CONTENTS = "contents.txt"
ANY = "any"  # the platform of what is pure Python
LIBCS = {"manylinux": "glibc", "musllinux": "musl"}


class Row(Frozen):
    """One debugger for one Python: a line of the contents."""

    __slots__ = ("python", "platform", "debugger", "release", "folder")
    python: str
    """Such as `3.11`."""
    platform: str
    """As in a wheel's name, such as `manylinux_2_34_x86_64`; or `any`."""
    debugger: str
    release: str
    folder: str
    """In the bundle's; it goes into no path."""

    def to_line(self) -> str:
        """As the contents have it."""
        return " ".join(getattr(self, name) for name in self.__slots__)


class Here(Frozen):
    """What matters of an interpreter and its system."""

    __slots__ = ("python", "libc", "release", "machine")
    python: str
    libc: str
    """`glibc`, `musl`, or an empty string."""
    release: tuple[int, ...]
    """glibc's, such as (2, 36)."""
    machine: str
    """Such as `x86_64`; empty where compiled modules for Linux do not fit."""

    @property
    def words(self) -> str:
        """For a message."""
        libc = " ".join(filter(None, [self.libc, ".".join(map(str, self.release))]))
        system = ", ".join(filter(None, [self.machine, libc]))
        return f"Python {self.python}{f' ({system})' if system else ''}"


class Bundle(Frozen):
    """What was found."""

    __slots__ = ("folder", "rows")
    folder: str
    rows: tuple[Row, ...]

    @property
    def place(self) -> str:
        """The folder that a user knows."""
        return os.path.dirname(self.folder)

    def serving(self, here: Here) -> dict[str, Row]:
        """For each debugger that there is for such an interpreter, the row that fits best."""
        found: dict[str, Row] = {}
        for row in self.rows:  # what is compiled stands before what is pure
            if row.python == here.python and fits(row.platform, here):
                found.setdefault(row.debugger, row)
        return found

    def path(self, row: Row) -> str:
        """The folder in which that debugger's modules lie."""
        return os.path.join(self.folder, row.folder)

    def lacks(self, here: Here, wanted: str) -> DebuggerError:
        """What to say, and what to type, where it has not what is wanted (empty: any debugger)."""
        pythons: dict[str, object] = dict.fromkeys(row.python for row in self.rows)
        served = []
        for debugger in dict.fromkeys(row.debugger for row in self.rows):
            rows = [row for row in self.rows if row.debugger == debugger]
            platforms = dict.fromkeys(row.platform for row in rows)
            on = "" if ANY in platforms else f" on {', '.join(platforms)}"
            served.append(f"{debugger} for {', '.join(dict.fromkeys(row.python for row in rows))}{on}")
        pythons[here.python] = None
        wanted_too = f" --ide {wanted}" if wanted else ""
        there = "; ".join(served) or "none"
        return DebuggerError(
            f"the bundle in {self.place} has no {wanted or 'debugger'} for {here.words}: it has {there}",
            f"where it was made: autoattach bundle DIR --python {','.join(pythons)}{wanted_too}",
        )


def fits(platform: str, here: Here) -> bool:
    """Whether what is compiled for a platform, by a wheel's name for it, can be loaded there."""
    if platform == ANY:
        return True
    kind, *rest = platform.split("_", 3)
    if len(rest) != 3 or not (rest[0].isdigit() and rest[1].isdigit()):
        return False
    if LIBCS.get(kind) != here.libc or rest[2] != here.machine:
        return False
    return here.libc == "musl" or (int(rest[0]), int(rest[1])) <= here.release


def here() -> Here:
    """This interpreter, by what it says of itself: a 64-bit kernel may run a 32-bit Python."""
    import _imp

    version = sys.version_info[:2]
    # Such as ".cpython-311-x86_64-linux-gnu.so"; "313t" without the GIL, for which nothing here is compiled
    words = _imp.extension_suffixes()[:1] or [""]
    parts = words[0].split("-")
    ours = len(parts) > 3 and parts[3] == "linux" and parts[1] == f"{version[0]}{version[1]}"
    try:
        libc, _, number = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):  # another system, or another libc
        libc, number = "musl" if sys.platform == "linux" else "", ""
    release = tuple(int(part) for part in number.split(".") if part.isdigit())
    return Here(python=f"{version[0]}.{version[1]}", libc=libc, release=release, machine=parts[2] if ours else "")


def find() -> Bundle | None:
    """The bundle that this process was given: the one that we lie in, or the first on the path."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [own] if os.path.basename(own) == FOLDER else []
    for folder in [*folders, *(os.path.join(entry, FOLDER) for entry in sys.path)]:
        found = read(folder)
        if found is not None:
            return found
    return None


def read(folder: str) -> Bundle | None:
    """The bundle that is there; None where there is none. Lines that are not understood are passed over."""
    try:
        with open(os.path.join(folder, CONTENTS), encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if not line.startswith("#")]
    except (OSError, ValueError):
        return None
    rows = (line for line in lines if len(line) == len(Row.__slots__))
    return Bundle(folder=folder, rows=tuple(Row(**dict(zip(Row.__slots__, line))) for line in rows))
