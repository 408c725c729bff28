"""Where the program's own files may be: what is loaded, where it imports from, and what lies in its folders."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from types import ModuleType
from typing import Any, Iterator, Mapping, Sequence

from autoattach._exclusions import what_runs
from autoattach._process import command_line
from autoattach.debuggers._paths import LIBRARIES, Candidate, is_windows, kind_of, parts

ENTRIES = 5000  # files and folders that are looked at in each of the program's folders
SECONDS = 0.25  # and how long in all
SKIPPED = (*LIBRARIES, "node_modules", "__pycache__")
STANDARD = os.path.dirname(os.__file__)
HASHES = {"MD5": hashlib.md5, "SHA1": hashlib.sha1, "SHA256": hashlib.sha256}


class Places:
    """The candidates for a file of the IDE's. The folders are walked once."""

    def __init__(self) -> None:
        self._walked: dict[tuple[str, ...], tuple[dict[str, list[Candidate]], bool]] = {}

    def candidates(self, path: str) -> tuple[list[Candidate], bool]:
        """The files here that have the name of this one, and whether none was overlooked. The best known come first."""
        name = parts(path)[-1]
        folders = tuple(roots())
        index, complete = self._walked.get(folders) or self._walked.setdefault(folders, walk(folders))
        found = [*loaded(name, is_windows(path)), *importable(path, folders), *index.get(name.lower(), ())]
        return found, complete


def roots() -> list[str]:
    """The folders of the program: its script's, as long as Python has not put it first in sys.path, and where it is."""
    script = what_runs(command_line())
    places = [sys.path[0] if sys.path else "", "" if script.startswith("-") else os.path.dirname(script), os.getcwd()]
    found = dict.fromkeys(os.path.abspath(place) for place in places)
    return [place for place in found if os.path.isdir(place) and not kind(place) and parts(place)]


def loaded(name: str, fold: bool) -> Iterator[Candidate]:
    """The files of modules that are loaded."""
    wanted = name.lower() if fold else name
    for module_name, module in list(sys.modules.items()):  # None, or anything else, may be among them
        if not issubclass(type(module), ModuleType):
            continue
        # Not getattr(): a module that loads itself when it is first used is left as it is
        names: dict[str, Any] = object.__getattribute__(module, "__dict__")
        file = names.get("__file__")
        if not isinstance(file, str):
            continue
        file = file[:-1] if file.endswith(".pyc") else file
        if (file.lower() if fold else file).endswith(wanted) and os.path.basename(file).lower() == name.lower():
            spec = names.get("__spec__")
            yield of_module(getattr(spec, "name", None) or module_name, os.path.abspath(file))


def of_module(module: str, file: str) -> Candidate:
    """The candidate that a module's file is."""
    levels = 1 + (0 if module == "__main__" else module.count(".")) + os.path.basename(file).startswith("__init__.")
    root = file
    for _ in range(levels):
        root = os.path.dirname(root)
    return Candidate(file, root, kind(file))


def importable(path: str, folders: tuple[str, ...]) -> Iterator[Candidate]:
    """The files that a tail of the path names in the places from which the program imports. Of what is installed, only
    for a file that is installed on the IDE's side as well."""
    names = parts(path)
    own = kind_of(path)
    for place in dict.fromkeys((*folders, *map(os.path.abspath, filter(None, sys.path)))):
        if kind(place) == own and os.path.isdir(place):
            for length in range(1, len(names)):
                file = os.path.join(place, *names[-length:])
                if os.path.isfile(file):
                    yield Candidate(file, place, own)


def walk(folders: tuple[str, ...]) -> tuple[dict[str, list[Candidate]], bool]:
    """All files in these folders by their name in lower case, and whether these are all: there is a limit to it."""
    index: dict[str, list[Candidate]] = {}
    until = time.monotonic() + SECONDS
    complete = True
    for number, root in enumerate(folders):
        if any(root.startswith(os.path.join(other, "")) for other in folders[:number]):
            continue
        left = ENTRIES
        waiting = [root]  # the upper folders first
        for folder in waiting:
            if left <= 0 or time.monotonic() > until:
                complete = False
                break
            try:
                entries = list(os.scandir(folder))
            except OSError:
                continue
            if folder != root and any(entry.name == "pyvenv.cfg" for entry in entries):
                continue
            left -= len(entries)
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SKIPPED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    index.setdefault(entry.name.lower(), []).append(Candidate(entry.path, root))
    return index, complete


def kind(path: str) -> str:
    """The `kind` of a file or folder of this machine."""
    by_name = kind_of(os.path.join(path, "x"))
    return by_name or ("std" if os.path.join(path, "").startswith(os.path.join(STANDARD, "")) else "")


def has_content(path: str, last_line: int, checksums: Sequence[Mapping[str, str]]) -> bool | None:
    """Whether a file can be the IDE's: by the DAP's checksums (`Source.checksums`: `algorithm`, `checksum`), else by
    whether it has as many lines as the last breakpoint says. None where neither says anything."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    for one in checksums:
        make: Any = HASHES.get(str(one.get("algorithm")))
        if make is not None:
            return bool(make(content).hexdigest() == str(one.get("checksum")).lower())
    return False if last_line > content.count(b"\n") + 1 else None
