"""Which file here is a file of the IDE's: from paths alone, and which folders that makes the same. Pure."""

from __future__ import annotations

from typing import Callable, Iterable, NamedTuple

LIBRARIES = ("site-packages", "dist-packages")
# Names that every package has: alone they say nothing.
GENERIC = ("__init__.py", "__main__.py")
SHOWN = 3  # files in one message
MANY = 20  # candidates that are as good as each other, and are not worth a look


class Candidate(NamedTuple):
    """A file of this machine, by its absolute path as the program has it."""

    path: str
    root: str
    """The folder from which the program imports it; `path` without that is the import's path."""
    kind: str = ""
    """"": the program's own; "site": installed; "std": the standard library's."""


class Answer(NamedTuple):
    """What was found."""

    here: str = ""
    """The file; empty where there is none, or none that is sure."""
    local: str = ""
    """The IDE's folder ..."""
    remote: str = ""
    """... and this machine's that is the same."""
    likely: tuple[tuple[str, str, str], ...] = ()
    """Where none is sure: each file that it may be, with its `local` and `remote`."""
    differs: bool = False
    """The likely ones have another content."""


def find(
    path: str,
    candidates: Iterable[Candidate],
    fits: Callable[[str], bool | None] = lambda here: None,
    complete: bool = True,
    real: Callable[[str], str] = lambda here: here,
) -> Answer:
    """The one file here that the IDE's `path` must be.

    The longest common tail of path parts decides. It is sure where it holds the whole path by which the program imports
    the file (`pkg/mod.py`), or, of the program's own files, at least a folder and the name, or where the content is
    known to be the same; and where no other file is as good.

    `fits` says whether a candidate's content is the IDE's: None for unknown. `complete`: no file was overlooked. `real`
    gives the same name to what is the same file.
    """
    fold = is_windows(path)
    own = kind_of(path)
    wanted = parts(path, fold)
    few = 2 if wanted[-1] in GENERIC else 1
    groups: dict[tuple[bool, int, bool], dict[str, Candidate]] = {}
    seen = set()
    for candidate in candidates:
        length = tail(wanted, parts(candidate.path, fold))
        if candidate.kind not in ((own,) if own else ("", "site")) or length < few:
            continue
        name = real(candidate.path)
        if name not in seen:  # else it is known by a better root
            seen.add(name)
            whole = length >= _depth(candidate)
            groups.setdefault((candidate.kind == own, length, whole), {})[name] = candidate
    doubtful = Answer()
    own_seen = False
    for (same_kind, length, whole), group in sorted(groups.items(), key=lambda item: item[0], reverse=True):
        if same_kind and own_seen:  # less alike
            continue
        own_seen = own_seen or same_kind
        if not same_kind and (length < 2 or not whole):  # of what is installed only a package
            continue
        best = list(group.values())
        verdicts = {one: fits(one.path) for one in best[:MANY]}
        equal = [one for one in best if verdicts.get(one)]
        left = equal or [one for one in best if verdicts.get(one) is not False]
        folders = [(one.path, *folders_of(path, one, length, whole)) for one in left or best]
        sure = bool(equal) or whole or (length > 1 and complete)
        if sure and len(left) == 1 and folders[0][1]:
            return Answer(*folders[0])
        if not doubtful.likely:
            likely = tuple(one for one in folders if one[1])
            doubtful = Answer(likely=likely, differs=not left)
    return doubtful


def folders_of(path: str, here: Candidate, length: int, whole: bool) -> tuple[str, str]:
    """The IDE's folder and this machine's that make `path` the same as `here`; empty where it would be a whole disk."""
    cut = length
    if whole:  # no more than the program's folder; of what is installed, the package alone
        cut = _depth(here)
        if here.kind == "site" and cut > 1 and kind_of(path) != "site":
            cut -= 1
    cut = min(cut, *(len(parts(one)) - (2 if is_windows(one) else 1) for one in (path, here.path)))
    return ("", "") if cut < 1 else (up(path, cut), up(here.path, cut))


def is_windows(path: str) -> bool:
    """Whether it is a path of Windows, with a drive or a server."""
    return (path[1:2] == ":" and path[2:3] in ("\\", "/")) or path.startswith("\\\\")


def parts(path: str, fold: bool = False) -> list[str]:
    """The parts of a path, in lower case with `fold`."""
    path = path.replace("\\", "/") if is_windows(path) else path
    return [part for part in (path.lower() if fold else path).split("/") if part]


def tail(one: list[str], other: list[str]) -> int:
    """How many parts at the end are the same."""
    length = 0
    for mine, its in zip(reversed(one), reversed(other)):
        if mine != its:
            break
        length += 1
    return length


def up(path: str, levels: int) -> str:
    """The folder that is so many levels above."""
    for _ in range(levels):
        path = path[: max(path.rfind("/"), path.rfind("\\") if is_windows(path) else -1)]
    return path


def below(folder: str, path: str) -> bool:
    """Whether the path is the folder's own, or in it."""
    fold = is_windows(path)
    outer = parts(folder, fold)
    return parts(path, fold)[: len(outer)] == outer and is_windows(folder) == fold


def kind_of(path: str) -> str:
    """The `kind` of a file by its path alone."""
    names = parts(path)
    if any(name in LIBRARIES for name in names):
        return "site"
    return "std" if any(a == "lib" and b.startswith("python3") for a, b in zip(names, names[1:])) else ""


def _depth(candidate: Candidate) -> int:
    return len(parts(candidate.path)) - len(parts(candidate.root))


def why_not(path: str, answer: Answer, mapped: str = "", rival: str = "") -> str:
    """Why a breakpoint in this file is not hit, and what to set."""
    likely = answer.likely or ((answer.here, answer.local, answer.remote),) if answer.here else answer.likely
    way = f"set {setting([likely[0][1:]])}" if likely else ""
    if mapped:
        return f"{path} is mapped to {mapped}, which is not here; {way or 'mend the path mapping'}"
    if rival:
        return f"{path} and {rival} may both be {answer.here or answer.remote}; {way} or for the other"
    if not likely:
        folder = up(path, 1)
        return f"no file here is like {path}; set {setting([(folder, 'ITS FOLDER HERE')])}"
    if answer.differs:
        return f"{path} is another version than {likely[0][0]} here; update one of them, or {way}"
    if len(likely) == 1:
        return f"{path} may be {likely[0][0]} here, but that is not sure; {way}"
    names = ", ".join(one[0] for one in likely[:SHOWN]) + (", ..." if len(likely) > SHOWN else "")
    return f"{path} may be any of {names} here; {way} or as it should be"


def setting(pairs: Iterable[tuple[str, str]]) -> str:
    """The variable that holds these mappings, for a shell."""
    value = ",".join(f"{local}={remote}" for local, remote in pairs)
    quote = "'" if any(letter in value for letter in "\\ $'\"&;()") else ""
    return f"DEBUGGER_PATH_MAPPINGS={quote}{value}{quote}"
