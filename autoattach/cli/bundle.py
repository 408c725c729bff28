"""`autoattach bundle`: a folder that brings us and debuggers along, for containers in which nothing is installed."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
from typing import Any, Iterable, NamedTuple, Sequence

import autoattach
from autoattach import _bundle
from autoattach._bundle import ANY, CONTENTS, FOLDER, LIBCS, Row
from autoattach._errors import AttachError
from autoattach.cli import _builds, _wheels
from autoattach.cli.run import door
from autoattach.debuggers import ROWS

NAME = "bundle"
HELP = "write a folder with autoattach and debuggers in it, for containers in which nothing is installed"
EPILOG = """\
Mount the folder, read-only if you like, put it on PYTHONPATH, and each Python of those versions in there attaches: it
needs no pip, no compiler, no network, and no place to write to. What the program has of its own comes first: its
packages, its debugger, its sitecustomize.

examples:
  autoattach bundle debug                             for this Python's version
  autoattach bundle debug --python 3.9,3.11,3.12      for others; they need not be on this machine
  autoattach bundle debug --ide pycharm --build PY-263.7307.50
  docker run -v "$PWD/debug:/debug:ro" -e PYTHONPATH=/debug -e START_DEBUGGER=1 \\
      -e DEBUGGER_HOST=0.0.0.0 -p 127.0.0.1:9000:9000 IMAGE

--platform says what to bring that is compiled, which is faster. Beside it there is pure Python, which works with any
libc and on any machine. The same releases make the same files, on whatever Python. --ide takes several, as the
versions and the platforms do."""

OLDEST = (3, 8)
IDES = {"vscode": "debugpy", "pycharm": "pydevd-pycharm", **{row[0]: row[0] for row in ROWS}}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # what wheels call them
UNTIL = {row[0]: row[5] for row in ROWS}
DOOR = '_autoattach_bundle = ""'

HEAD = """\
# Made by `autoattach bundle`. Read where START_DEBUGGER is set, from the top: the first line that fits is taken.
# Python, platform, debugger, release, folder
"""
README = """\
Debuggers for Python programs that have none, made by `autoattach bundle` (autoattach {version}).

Put this folder on PYTHONPATH, set START_DEBUGGER=1, and each Python of the versions in {folder}/{contents}
attaches. It can be read-only. With START_DEBUGGER unset nothing in here runs but a few lines of sitecustomize.py.

    docker run -v "$PWD:/debug:ro" -e PYTHONPATH=/debug -e START_DEBUGGER=1 \\
        -e DEBUGGER_HOST=0.0.0.0 -p 127.0.0.1:9000:9000 IMAGE

With the folder on PYTHONPATH, `python -m autoattach doctor` says whether a program would attach, and if not, why.
"""


class Order(NamedTuple):
    """What is to be in the bundle."""

    pythons: Sequence[str]
    debuggers: Sequence[str]
    platforms: Sequence[tuple[str, str]]
    """Kind and machine, such as ("manylinux", "x86_64")."""
    build: tuple[int, ...]
    """PyCharm's; empty for the newest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `bundle` takes on its command line."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(parser=parser)
    parser.add_argument("folder", metavar="DIR", help="the folder to write; a bundle that is there is replaced")
    kind = here()[0]
    for name, parse, default, metavar, what in (
        ("--python", _pythons, _bundle.here().python, "VERSION,...", "Pythons to serve, as 3.9,3.11"),
        ("--ide", _debuggers, "vscode", "IDE,...", f"{', '.join(IDES)}"),
        ("--platform", _platforms, kind, "PLATFORM,...", "manylinux, musllinux; for another machine manylinux-aarch64"),
    ):
        parser.add_argument(
            name, type=parse, action="append", metavar=metavar, help=f"{what} (default: {default})", default=None
        )
    parser.add_argument("--build", type=_build, default=(), help="PyCharm's build, as Help | About shows it")


def here() -> tuple[str, str]:
    """This system as containers that it runs will be: `manylinux` or `musllinux`, and the machine."""
    one = _bundle.here()
    kind = next((kind for kind, libc in LIBCS.items() if libc == one.libc), "manylinux")
    machine = one.machine or platform.machine().lower()
    return kind, MACHINES.get(machine, machine)


def _words(text: str, known: Iterable[str], what: str) -> list[str]:
    found = [word.strip().lower().replace("_", "-") for word in text.split(",") if word.strip()]
    for word in found:
        if word not in known:
            raise argparse.ArgumentTypeError(f"{word!r} is no {what}; it can be {', '.join(known)}")
    return found


def _pythons(text: str) -> list[str]:
    found = [word.strip() for word in text.split(",") if word.strip()]
    for word in found:
        version = re.fullmatch(r"(3)\.(\d{1,2})", word)
        if not version:
            raise argparse.ArgumentTypeError(f"{word!r} is no version of Python such as 3.11")
        if (int(version[1]), int(version[2])) < OLDEST:
            raise argparse.ArgumentTypeError(f"Python {word} is too old: autoattach needs 3.8 or later")
    return found


def _debuggers(text: str) -> list[str]:
    return [IDES[word] for word in _words(text, IDES, "IDE")]


def _platforms(text: str) -> list[tuple[str, str]]:
    found = []
    for word in text.split(","):
        kind, dash, machine = word.strip().lower().partition("-")
        _words(kind, LIBCS, "platform")
        if dash and not re.fullmatch(r"\w+", machine):
            raise argparse.ArgumentTypeError(f"{word!r} names no machine, as manylinux-aarch64 does")
        found.append((kind, MACHINES.get(machine, machine) or here()[1]))
    return found


def _build(text: str) -> tuple[int, ...]:
    try:
        return _builds.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Make it. Returns 0, or 1 where that cannot be done: then all is as it was; 130 after Ctrl-C."""

    def several(found: list[list[Any]] | None, default: Any) -> list[Any]:
        flat = [one for more in found or [] for one in more] or [default]
        return list(dict.fromkeys(flat))

    order = Order(
        sorted(several(arguments.python, _bundle.here().python), key=_version),
        sorted(several(arguments.ide, "debugpy")),
        several(arguments.platform, here()),
        arguments.build,
    )
    for debugger in order.debuggers:
        until = UNTIL[debugger]
        late = [one for one in order.pythons if until and _version(one) >= until]
        if late:
            arguments.parser.error(f"{debugger} cannot work on Python {late[0]}; type --ide vscode, for debugpy")
    before = signal.signal(signal.SIGTERM, _end)
    try:
        write(arguments.folder, order)
    except AttachError as error:
        print(f"autoattach bundle: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"autoattach bundle: {error.filename or arguments.folder}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("autoattach bundle: stopped; nothing was changed", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # so that the folder in the making goes, too


def _version(python: str) -> tuple[int, ...]:
    return tuple(map(int, python.split(".")))


def write(folder: str, order: Order) -> None:
    """Make a bundle beside the folder, then put it in its place. Raises `AttachError` or `OSError`."""
    target = os.path.realpath(folder)
    check(folder, target)
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=f".{os.path.basename(target)}-", dir=parent)
    try:
        new = os.path.join(temporary, "new")
        rows = fill(new, order, temporary)
        open_up(new)
        replace(target, new, os.path.join(temporary, "old"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    tell(target, order, rows)


def check(folder: str, target: str) -> None:
    """Raises `AttachError` where something else is in the way."""
    if os.path.ismount(target):
        raise AttachError(f"{folder} is a mount point", f"name a folder in it: {os.path.join(folder, 'debug')}")
    if not os.path.lexists(target):
        return
    if not os.path.isdir(target) or (os.listdir(target) and _bundle.read(os.path.join(target, FOLDER)) is None):
        raise AttachError(f"{folder} is there already, and is no bundle", "name another folder")


def fill(new: str, order: Order, temporary: str) -> list[Row]:
    """All that belongs into a bundle. Returns what its contents say. Raises `AttachError`."""
    inside = os.path.join(new, FOLDER)
    os.makedirs(inside)
    package = os.path.dirname(os.path.abspath(autoattach.__file__))
    show(f"autoattach {autoattach.__version__}, from {package}")
    shutil.copytree(
        package,
        os.path.join(inside, "autoattach"),
        ignore=shutil.ignore_patterns("__pycache__", "*.py[co]", "_sitecustomize", "*.so"),
    )
    with open(os.path.join(door(), "sitecustomize.py"), encoding="utf-8") as file:
        text = file.read()
    put(os.path.join(inside, "autoattach", "_sitecustomize", "sitecustomize.py"), text)  # for `autoattach run`
    before, found, after = text.partition(DOOR)
    if not found:  # of another release
        raise AttachError(f"{door()} is not of this release", "pip install --force-reinstall autoattach")
    put(os.path.join(new, "sitecustomize.py"), f"{before}{DOOR[:-1]}{FOLDER}{DOOR[-1]}{after}")
    put(
        os.path.join(new, "README.txt"),
        README.format(version=autoattach.__version__, folder=FOLDER, contents=CONTENTS),
    )
    downloads = os.path.join(temporary, "pip")
    os.mkdir(downloads)
    kitchen = Kitchen(_wheels.Pip(downloads), inside)
    rows = [row for debugger in order.debuggers for row in kitchen.rows(debugger, order)]
    rows.sort(key=lambda row: (_version(row.python), row.debugger, row.platform == ANY, row.platform))
    put(os.path.join(inside, CONTENTS), HEAD + "".join(f"{row.to_line()}\n" for row in rows))
    return rows


class Kitchen:
    """Has each debugger once, for however many Pythons."""

    def __init__(self, pip: _wheels.Pip, inside: str) -> None:
        self._pip = pip
        self._inside = inside
        self._pure: dict[str, _wheels.Wheel] = {}

    def rows(self, debugger: str, order: Order) -> list[Row]:
        """Of one debugger, what there is for each Python. Raises `AttachError`."""
        if debugger == "pydevd-pycharm":
            wheel = self._pip.build(_builds.requirement(order.build) if order.build else debugger)
            return self._add(debugger, wheel, order.pythons)
        rows = []
        for python in order.pythons:
            release = ""
            for kind, machine in order.platforms:
                wanted = f"{debugger}=={release}" if release else _requirement(debugger)
                wheel = self._pip.download(wanted, python, _wheels.platforms(kind, machine))
                release = wheel.release
                if wheel.platform != ANY:
                    rows += self._add(debugger, wheel, [python])
                else:
                    self._pure[release] = wheel
                    show(f"{debugger} {release} for Python {python}: nothing compiled for {kind} on {machine}")
            try:
                pure = self._pure.get(release) or self._pip.download(f"{debugger}=={release}", python, [ANY])
            except AttachError:
                show(f"{debugger} {release} for Python {python}: no pure Python of it, so for that platform alone")
                continue
            self._pure[release] = pure
            rows += self._add(debugger, pure, [python])
        self._pure.clear()
        return rows

    def _add(self, debugger: str, wheel: _wheels.Wheel, pythons: Sequence[str]) -> list[Row]:
        """Unpack it, unless it is there; a line for each Python."""
        for_one = "" if wheel.platform == ANY else f"cp{pythons[0].replace('.', '')}-"
        folder = f"{debugger}-{wheel.release}-{for_one}{wheel.platform}"
        path = os.path.join(self._inside, folder)
        if not os.path.isdir(path):
            _wheels.unpack(wheel, path)
        what = "pure Python, for any system" if wheel.platform == ANY else f"compiled, for {wheel.platform}"
        show(f"{debugger} {wheel.release} for Python {', '.join(pythons)}: {what}")
        return [
            Row(python=python, platform=wheel.platform, debugger=debugger, release=wheel.release, folder=folder)
            for python in pythons
        ]


def _requirement(debugger: str) -> str:
    return "ptvsd==4.3.2" if debugger == "ptvsd" else debugger


def put(path: str, text: str) -> None:
    """Write a file, with the same bytes on every system."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def open_up(folder: str) -> None:
    """Whoever runs in the container may read it, whatever the umask is here."""
    for place, _, names in os.walk(folder):
        os.chmod(place, 0o755)  # noqa: S103 - what is to be read by others
        for name in names:
            os.chmod(os.path.join(place, name), 0o644)


def replace(target: str, new: str, old: str) -> None:
    """Put the new folder in the old one's place; where that fails, the old one stays."""
    try:
        if os.path.isdir(target):
            os.rename(target, old)
        os.rename(new, target)
    except BaseException:
        if os.path.isdir(old) and not os.path.lexists(target):
            os.rename(old, target)
        raise


def tell(target: str, order: Order, rows: Sequence[Row]) -> None:
    """What there is now, and how to use it."""
    size = sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(target) for name in names)
    releases = dict.fromkeys(f"{row.debugger} {row.release}" for row in rows)
    show(f"\n{target}: {', '.join(releases)}, for Python {', '.join(order.pythons)}; {size / 1e6:.0f} MB. Use it:")
    show(f'    docker run -v "{target}:/debug:ro" -e PYTHONPATH=/debug -e START_DEBUGGER=1 \\')
    if order.debuggers == ["pydevd-pycharm"]:
        show("        -e DEBUGGER_HOST=host.docker.internal --add-host host.docker.internal:host-gateway IMAGE")
    else:
        show("        -e DEBUGGER_HOST=0.0.0.0 -p 127.0.0.1:9000:9000 IMAGE")


def show(text: str) -> None:
    """A line on stdout, at once."""
    print(text, flush=True)
