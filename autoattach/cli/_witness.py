"""A witness that stays behind `autoattach run`, which has become its command, to say that nothing has attached.

It is a process that nobody sees: no child of the command's, in no terminal's group, with nothing open but stderr. It
ends as soon as something attaches, or says why it does not; at the latest with the command. The news reaches it over a
file that whoever attaches removes, and to which others add why they do not.
"""

from __future__ import annotations

import os
import select
import shlex
import stat
import time
from typing import Any, List, Optional

from autoattach import _records
from autoattach._process import alive, image

NO_PYTHON = "no Python was started that autoattach could reach (-I, -E and -S keep it out)"
EVERY = 0.5  # seconds between two looks


class Witness:
    """The file that is waited at, and who waits."""

    def __init__(self, path: str, typed: List[str]) -> None:
        self.path = path
        self._typed = typed

    def dismiss(self) -> None:
        """There is nothing to wait for."""
        try:
            os.unlink(self.path)
        except OSError:  # somebody was quicker
            pass

    def testify(self, pid: int) -> None:
        """The command, whose process this was, has ended: say that nothing has attached, if that is so."""
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                reasons = list(dict.fromkeys(file.read().splitlines()))
        except OSError:  # somebody has attached, or said why not
            return
        self.dismiss()
        what = reasons[0] if reasons else NO_PYTHON
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        typed = " ".join(map(shlex.quote, self._typed))
        shown, whole = (typed, typed) if len(typed) <= 60 else (f"{typed[:57]}...", "COMMAND")
        line = nothing_attached(shown, what + more, whole)
        try:
            os.write(2, f"autoattach[{pid}]: {line}\n".encode("utf-8", "backslashreplace"))
        except OSError:  # nobody reads it
            pass


def nothing_attached(shown: str, why: str, whole: str) -> str:
    """What is said of such a command."""
    return f"nothing in '{shown}' attached: {why}; autoattach doctor {whole} says more"


def call(typed: List[str], stays: bool = False) -> Optional[Witness]:
    """A witness for what this process is about to become; None where there can be none. With `stays` this process waits
    for the command to end, and has the witness testify."""
    here = _records.prepare(os.getpid())
    if here is None:
        return None
    if stays or not hasattr(os, "fork"):
        return _open(here, typed)
    command = os.getpid()
    try:
        os.fstat(2)
        ear, mouth = os.pipe()
        try:
            middle = os.fork()
            if middle == 0:
                _leave(here, typed, command, mouth)
        finally:
            os.close(mouth)
        with open(ear, "rb") as news:
            os.waitpid(middle, 0)
            pid = int(news.read() or b"0")
    except OSError:  # no stderr, or no processes left: then nobody says it
        return None
    if pid < 0:
        try:
            os.waitpid(-pid, 0)
        except ChildProcessError:
            pass
    return Witness(os.path.join(here, f"{pid}.run"), typed) if pid > 0 else None


def _open(here: str, typed: List[str]) -> Optional[Witness]:
    path = os.path.join(here, f"{os.getpid()}.run")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    except OSError:
        return None
    return Witness(path, typed)


def _leave(here: str, typed: List[str], command: int, mouth: int) -> None:
    """In the first child: have a second one, which is nobody's, wait. Does not return."""
    try:
        middle = os.getpid()
        os.setsid()  # no terminal's signal reaches it
        if os.fork() != 0:
            os._exit(0)
        while os.getppid() == middle:
            time.sleep(0.0005)
        # A command that is pid 1, or gets orphans otherwise, must not find this one among its children.
        witness = None if os.getppid() == command else _open(here, typed)
        end = End(command)
        os.write(mouth, str(os.getpid() if witness is not None else -os.getpid()).encode())
        os.chdir("/")
        _close_all_but(2, end.number)
        if witness is not None:
            _wait(witness, end)
    finally:
        os._exit(0)


def _wait(witness: Witness, end: End) -> None:
    while not end.wait(EVERY):
        if not os.path.exists(witness.path):  # somebody has attached, or said why not
            return
        if not _still_open(end.pid):
            witness.dismiss()
            return
    witness.testify(end.pid)


def _still_open(pid: int) -> bool:
    """Whether the process still writes to where our stderr goes, if that is a pipe: its reader waits for the end."""
    if not stat.S_ISFIFO(os.fstat(2).st_mode):
        return True
    try:
        ours = os.readlink("/proc/self/fd/2")
        return any(os.readlink(f"/proc/{pid}/fd/{number}") == ours for number in os.listdir(f"/proc/{pid}/fd"))
    except OSError:  # not on this system; or it has just ended
        return True


def _close_all_but(*numbers: int) -> None:
    """No pipe of the command's is to be held open."""
    try:
        there = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        there = list(range(256))
    for number in set(there).difference(numbers):
        try:
            os.close(number)
        except OSError:
            pass


class End:
    """The end of a process that is no child of ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.number = -1
        """Of the open file that tells it, where there is one."""
        self._image = image(pid)
        open_process: Any = getattr(os, "pidfd_open", None)
        if open_process is not None:  # Linux, from Python 3.9 on
            try:
                self.number = open_process(pid)
            except OSError:  # not this one
                pass

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within that time."""
        if self.number >= 0:
            return bool(select.select([self.number], [], [], seconds)[0])
        time.sleep(seconds)
        if not alive(self.pid):
            return True
        # After an exec it is the same process: what tells is when it has started
        return image(self.pid).partition(".")[0] != self._image.partition(".")[0]
