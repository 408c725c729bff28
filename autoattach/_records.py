"""What this user's processes leave for each other to find: a file for each, in a folder that only the user can enter.

A session that did not come by the environment is found here by its port, and `autoattach ps` shows them all. What is
found is believed only as far as the process is still the one that wrote it, and its other end, asked, knows the same.
"""

import os
import sys
import time

from autoattach._process import alive, brief, command_line, image, same_image
from autoattach._session import Session
from autoattach._settings import RUN, Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

LONGEST = 4096  # bytes of a record
COMMAND = 2000  # characters of a command line, as far as it is kept

LEADER, MEMBER, HUB = "leader", "member", "hub"  # a hub is one whether it leads or not yet
HAS, LEAVES, WAITS = "has the slot", "leaves the slot", "waits for the slot"  # PyCharm's


class Record(Frozen):
    """A process that is attached, or can be."""

    __slots__ = ("pid", "session", "role", "held", "since", "image", "command")
    pid: int
    session: Session
    """Its `live`: an IDE was there when this was written. Where the port can be asked that is more certain."""
    role: str
    held: bool
    """The program waits for the IDE."""
    since: int
    """Seconds of `time.time()`."""
    image: str
    command: str

    def to_text(self) -> str:
        """A line for the session, as children are told of it, then a line for each of the others."""
        rest = (f"{name}={getattr(self, name)}" for name in ("role", "since", "image", "command"))
        return "\n".join([self.session.to_text(), f"held={+self.held}", *rest]) + "\n"

    @classmethod
    def from_text(cls, pid: int, text: str) -> "Record | None":
        """The record that a file holds; None where it holds none."""
        first, *lines = text.splitlines()[:6] or [""]
        session = Session.from_text(first)
        found = {name: value for name, _, value in (line.partition("=") for line in lines)}
        if session is None or not found.get("since", "").isdigit():
            return None
        fields = {name: found.get(name, "") for name in ("role", "image", "command")}
        return cls(pid=pid, session=session, held=found.get("held") == "1", since=int(found["since"]), **fields)


_mine: "Record | None" = None
_path = ""  # where it is


def folder() -> str:
    """The folder; it need not be there. The same for a login shell and for cron, which has no XDG_RUNTIME_DIR."""
    base = os.environ.get("TEMP" if os.name == "nt" else "TMPDIR") or ("." if os.name == "nt" else "/tmp")  # noqa: S108 - in it, a folder that is looked at with care
    return os.path.join(base, f"autoattach-{os.geteuid()}" if hasattr(os, "geteuid") else "autoattach")


def write(session: Session, pid: int, held: bool = False, role: str = "") -> None:
    """Record that the process belongs to a session; those of processes that have ended vanish. Cannot fail."""
    global _mine, _path
    report()
    before = _mine if _mine is not None and _mine.pid == pid else None
    _mine = Record(
        pid=pid,
        session=session,
        role=role or (HUB if before and before.role == HUB else LEADER if session.pid == pid else MEMBER),
        held=held,
        since=before.since if before is not None else int(time.time()),
        image=before.image if before is not None else image(),
        command=before.command if before is not None else " ".join(" ".join(command_line()).split())[:COMMAND],
    )
    here = prepare(pid)
    _path = "" if here is None else os.path.join(here, str(pid))
    _put()


def update(**fields: object) -> None:
    """Change the record of this process, if it has one. Cannot fail."""
    global _mine
    if _mine is not None and _mine.pid == os.getpid():
        new = _mine.replace(**fields)
        if new != _mine:
            _mine = new
            _put()


def forked() -> None:
    """This process, a fork, is in the session of its parent. Cannot fail."""
    if _mine is not None and _mine.pid != os.getpid():
        write(_mine.session, os.getpid(), role="" if _mine.role == LEADER else _mine.role)


def erase(pid: int = 0) -> None:
    """This process belongs to no session any more."""
    global _mine
    pid = pid or os.getpid()
    _unlink(_path if _path and _mine is not None and _mine.pid == pid else os.path.join(folder(), str(pid)))
    _mine = None


def _put() -> None:
    if _mine is None or not _path:
        return
    text = _mine.to_text().encode("utf-8", "backslashreplace")[:LONGEST]
    try:
        # In place: to put another file there by renaming has taken ext4 up to 6 ms, this takes 0.01. What a longer text
        # has left below the last line is not read.
        number = os.open(_path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(number, text)
            os.ftruncate(number, len(text))
        finally:
            os.close(number)
    except (OSError, ValueError):  # a full or read-only disk: then nobody finds this one
        pass


def prepare(pid: int) -> "str | None":
    """The folder, made where it is missing, and without what ended processes have left; None if not to be had."""
    try:
        here = folder()
        if not _is_ours(here):
            try:
                os.mkdir(here, 0o700)
            except FileExistsError:  # another process has been faster; or it is somebody else's
                pass
            if not _is_ours(here):
                return None
        for name in os.listdir(here):
            owner = name.partition(".")[0]  # PID, PID.slot, PID.run
            if owner.isdigit() and int(owner) != pid and not alive(int(owner)):
                _unlink(os.path.join(here, name))
    except OSError:
        return None
    return here


def read() -> "Iterator[Record]":
    """The records of the processes that are there: of those that have ended, or run something else now, none."""
    try:
        here = folder()
        names = sorted(os.listdir(here)) if _is_ours(here) else []
    except OSError:
        return
    for name in names:
        try:
            if not name.isdigit() or not alive(int(name)):
                continue
            with open(os.path.join(here, name), "rb") as file:
                record = Record.from_text(int(name), file.read(LONGEST).decode("utf-8", "replace"))
        except OSError:  # gone meanwhile
            continue
        if record is not None and same_image(record.image, image(record.pid)):
            yield record


def find(port: int) -> "Session | None":
    """The session of this user's on a port, the leader's own record first."""
    found = None
    for record in read():
        session = record.session
        if session.port == port and session.mode == "listen":
            if session.pid == record.pid:
                return session
            found = session
    return found


def report(reason: str = "") -> None:
    """Tell `autoattach run`, if it has started this process, that it has attached, or said why not; or why it is
    silent. Cannot fail."""
    path = os.environ.get(RUN, "")
    if not (path.endswith(".run") and os.path.basename(path)[:-4].isdigit()):
        return
    if not reason:
        _unlink(path)
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            line = " ".join(f"{brief(command_line())}: {reason}".split())
            os.write(number, f"{line}\n".encode("utf-8", "backslashreplace"))
        finally:
            os.close(number)
    except OSError:  # somebody has attached
        pass


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # another process was quicker
        pass


def _is_ours(path: str) -> bool:
    """A folder of this user's, that nobody else can enter."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if sys.platform == "win32":  # the user's own folder for temporary files is closed to others
        return True
    return status.st_mode & 0o170077 == 0o040000 and status.st_uid == os.geteuid()
