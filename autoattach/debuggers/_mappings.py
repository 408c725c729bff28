"""pydevd's path mappings, and those that are inferred for files of the IDE's that nothing maps."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Callable

from autoattach._notices import say_once
from autoattach.debuggers._latecomers import Latecomers
from autoattach.debuggers._paths import Answer, below, find, is_windows, setting, why_not
from autoattach.debuggers._places import Places, has_content

if TYPE_CHECKING:
    from typing import Mapping, Sequence

    from autoattach._ledger import Ledger
    from autoattach.debuggers._paths import Candidate

    Checksums = Sequence[Mapping[str, str]]


class Mappings:
    """What pydevd maps: first what it was told, then what was inferred.

    It has the names `map_file_to_server` (debugpy 1.6 to 1.8.22) or `norm_file_to_server` (ptvsd 4.3.2, pydevd-pycharm
    203 to 263), and makes the functions of these names anew in `setup_client_server_paths()`.
    """

    def __init__(self, ledger: Ledger, withdraw: Callable[[str], object], again: Callable[[str, str], object]) -> None:
        """`withdraw` is called with a path of the IDE's that is about to lose its mapping; `again` with one that has
        got or lost one since its breakpoints were set, and why."""
        import pydevd_file_utils

        self._utils: Any = pydevd_file_utils
        self._withdraw = withdraw
        self._again = again
        self._places = Places()
        self._told: list[tuple[str, str]] = list(self._utils._last_client_server_paths_set)
        self._inferred: list[tuple[str, str]] = []
        self._contested: dict[str, set[str]] = {}  # folders here, and those of the IDE's that each may be
        self._claims: dict[str, str] = {}  # files here, and whose they are
        self._exact: dict[str, str] = {}  # where a folder's mapping does not do: another case
        self._missing: dict[str, tuple[int, Checksums]] = {}
        self._latecomers = Latecomers(self._came)
        self._name = "map_file_to_server"
        if not hasattr(self._utils, self._name):
            self._name = "norm_file_to_server"
        self._setup = self._utils.setup_client_server_paths
        ledger.enter("pydevd's path mappings", self._end)
        ledger.set(self._utils, "setup_client_server_paths", self._tell)
        if hasattr(self._utils, "error_once"):  # it says on stderr what the breakpoint says in the IDE
            ledger.set(self._utils, "error_once", lambda *message: None)
        self._install()

    def look(self, path: str, last_line: int = 0, checksums: Checksums = ()) -> str:
        """Have a file of the IDE's mapped if it can be; else the reason why its breakpoints are not hit, in a line.

        `last_line` is that of its last breakpoint, `checksums` what the IDE says of its content.
        """
        if is_windows(path) and os.name != "nt" and self._utils._ide_os != "WINDOWS":
            self._utils.set_ide_os("WINDOWS")  # the IDE has not said so
        self._missing.pop(path, None)
        here = self._here(path)
        if self._utils.exists(here):
            owner = self._claims.setdefault(os.path.realpath(here), path)
            pair = next((one for one in self._inferred if below(one[0], path)), None)
            if pair is None or _key(owner) == _key(path) or os.path.exists(path) or self._is_told(path):
                return ""
            answer = Answer(here, *pair)
        else:
            candidates, complete = self._places.candidates(path)
            fits = functools.partial(has_content, last_line=last_line, checksums=checksums)
            answer = find(path, candidates, fits, complete, os.path.realpath)
        return self._judge(path, answer, last_line, checksums)

    def _judge(self, path: str, answer: Answer, last_line: int, checksums: Checksums) -> str:
        if self._is_told(path):
            return why_not(path, answer, mapped=self._here(path))
        if answer.here and os.path.isdir(answer.local):  # the IDE's project is here: a file that was moved, or deleted
            answer = Answer(likely=((answer.here, answer.local, answer.remote),))
        if not answer.here:
            self._missing[path] = last_line, checksums
            self._latecomers.want(path)
            return why_not(path, answer)
        rival = self._rival(path, answer)
        if rival:
            return why_not(path, answer, rival=rival)
        self._claims[os.path.realpath(answer.here)] = path
        self._add(path, answer)
        return ""

    def _is_told(self, path: str) -> bool:
        return any(below(local, path) for local, _ in self._told)

    def _add(self, path: str, answer: Answer) -> None:
        pair = answer.local, answer.remote
        if pair not in self._inferred:
            self._inferred.append(pair)
            self._inferred.sort(key=lambda one: len(one[0]), reverse=True)
            self._install()
        if os.path.realpath(self._here(path)) != os.path.realpath(answer.here):
            self._exact[_key(path)] = answer.here
        by = answer.here[len(answer.remote) :].lstrip("/\\")
        say_once(
            f"the IDE's {answer.local} is {answer.remote} here, going by {by}; to make it so for good: "
            f"{setting([*self._told, *self._inferred])}"
        )

    def _rival(self, path: str, answer: Answer) -> str:
        """Another file or folder of the IDE's that may be this one here. Then it is neither's.

        A folder in the other is none: what builds an image may have put the files of both in one place.
        """
        rivals = self._contested.setdefault(answer.remote, set())
        owner = self._claims.get(os.path.realpath(answer.here), path)
        for local, remote in self._inferred:
            apart = not below(local, answer.local) and not below(answer.local, local)
            if remote == answer.remote and (apart or _key(owner) != _key(path)):
                rivals |= {local, answer.local}
        if rivals:
            rivals.add(answer.local)
            self._give_up(answer)
        return min(rivals - {answer.local}, default=owner if rivals else "")

    def _give_up(self, rival: Answer) -> None:
        remote = rival.remote
        lost = [pair for pair in self._inferred if pair[1] == remote]
        claims = {path: here for here, path in self._claims.items() if any(below(local, path) for local, _ in lost)}
        for path in claims:
            self._withdraw(path)
            self._exact.pop(_key(path), None)
        self._claims = {here: path for here, path in self._claims.items() if path not in claims}
        self._inferred = [pair for pair in self._inferred if pair not in lost]
        if lost:
            self._install()
        for local, _ in lost:
            say_once(
                f"the IDE's {local} may not be {remote} here after all, for it has another file that may be the same; "
                f"say so if it is: {setting([(local, remote)])}"
            )
        for path, here in claims.items():
            local = next(one for one, _ in lost if below(one, path))
            self._again(path, why_not(path, Answer(here, local, remote), rival=rival.local))

    def _came(self, candidate: Candidate) -> None:
        """A module is about to be loaded from this file."""
        for path, (last_line, checksums) in list(self._missing.items()):
            fits = functools.partial(has_content, last_line=last_line, checksums=checksums)
            answer = find(path, [candidate], fits, real=os.path.realpath)
            if answer.here and not self._judge(path, answer, last_line, checksums):
                self._missing.pop(path, None)
                self._again(path, "")
        if not self._missing:
            self._latecomers.end()

    def _here(self, path: str) -> str:
        return str(getattr(self._utils, self._name)(path))

    def _tell(self, pairs: Any) -> None:
        """What pydevd does for the mappings that the IDE sends, and once more where the IDE's system gets known."""
        if pairs is not self._utils._last_client_server_paths_set:
            # VS Code maps its folder to itself where launch.json has no mapping and the host is localhost
            # (vscode-python-debugger's fixUpPathMappings, which also puts the drive into lower case)
            useful = [pair for pair in pairs if _key(pair[0]) != _key(pair[1]) or os.path.isdir(pair[1])]
            if useful:
                self._told = useful
                self._inferred = []
                self._claims.clear()
                self._contested.clear()
                self._exact.clear()
        self._install()

    def _install(self) -> None:
        # ptvsd and pydevd-pycharm show a file by the path to which links lead
        led_to = [(local, os.path.realpath(remote)) for local, remote in self._inferred]
        self._setup([*self._told, *self._inferred, *(pair for pair in led_to if pair not in self._inferred)])
        if not self._inferred:
            return
        mapped = getattr(self._utils, self._name)
        as_it_is = getattr(self._utils, "_original_file_to_server", str)

        def to_server(path: str) -> Any:
            if _key(path) in self._exact:
                return as_it_is(self._exact[_key(path)])
            # What is here is not mapped by what was inferred. (For pydevd-pycharm 203 to 263 /a/b-c is in /a/b.)
            if os.path.exists(path) and not self._is_told(path):
                return as_it_is(path)
            return mapped(path)

        setattr(self._utils, self._name, to_server)

    def _end(self) -> None:
        self._latecomers.end()
        self._setup(list(self._told))


def _key(path: str) -> str:
    return path.lower() if is_windows(path) else path
