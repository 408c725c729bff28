"""PyCharm's one slot among this user's processes: who has locked its file has it.

PyCharm's debug server serves one process at a time. A second connection is accepted by the kernel and hears nothing, so
that it cannot be told from a PyCharm that is busy: it is not made.

The lock belongs to the open file: it is gone when the last process that has it open has ended, or has exec'd. A fork
that is to have it keeps it as its parent closes its own; every other fork closes it.
"""

from __future__ import annotations

import os
import time

from autoattach import _records
from autoattach._errors import AttachError
from autoattach._network import identity, resolve
from autoattach._network_errors import SlotTaken
from autoattach._process import alive, brief

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._process import Process

LONGEST = 300  # bytes of the file
BRIEFLY = 0.5  # seconds from the lock to the holder's word in the file
FAR = 1 << 20  # Windows locks bytes, and nobody can read a locked one


class Slot:
    """The slot of the debug server at an address. Where no lock can be had it counts as free."""

    def __init__(self, host: str, port: int) -> None:
        try:
            host = str(resolve(host, port)[1][0])
        except AttachError:  # connecting will say so
            pass
        self._name = f"slot-{''.join(c if c.isalnum() or c == '.' else '_' for c in host)}-{port}"
        self._number = -1
        self._identity: tuple[int, int] | None = None

    def take(self, process: Process) -> bool:
        """Whether this process has it from now on."""
        path = self._path()
        if path is None:
            return True
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return True
        until = time.monotonic() + BRIEFLY
        while _lock(number) is False:
            holder = _read(number)
            if holder is None or alive(holder[0]):
                os.close(number)
                return False
            if time.monotonic() > until:
                # It has ended, and has left its lock to a fork that was made without Python's knowledge.
                os.close(number)
                return True
            time.sleep(0.01)  # or it had it earlier, and who has it now is about to write so
        self.adopt(number, process)
        return True

    def is_taken(self) -> bool:
        """Whether another process has it, asked without taking it."""
        path = os.path.join(_records.folder(), self._name)
        try:
            number = os.open(path, os.O_RDWR)
        except OSError:
            return False
        try:
            holder = _read(number)
            return _lock(number) is False and (holder is None or alive(holder[0]))
        finally:
            os.close(number)

    def adopt(self, number: int, process: Process) -> None:
        """This process has it, and whoever finds it taken reads so. `number` is that of the file, locked."""
        global _mine
        self._number, self._identity = number, identity(number)
        _mine = self
        try:
            os.lseek(number, 0, 0)
            os.ftruncate(number, 0)
            os.write(number, f"{process.pid} {brief(process.command)}".encode()[:LONGEST])
        except OSError:  # a full disk: then nobody learns who it is
            pass

    def taken(self, where: str) -> SlotTaken:
        """What to say where take() has failed."""
        who = "another process"
        path = self._path()
        try:
            number = os.open(path or "", os.O_RDONLY)
            try:
                holder = _read(number)
            finally:
                os.close(number)
            if holder is not None:
                who = f"pid {holder[0]} ({holder[1]})"
        except OSError:
            pass
        return SlotTaken(
            f"PyCharm's debug server at {where} serves one process at a time, and {who} has it",
            "end that one first, or set DEBUGGER_PORT to the port of a second debug server",
        )

    @property
    def number(self) -> int:
        """The number of the open file; -1 where there is no lock, or somebody has closed it."""
        return self._number if self._identity == identity(self._number) else -1

    def close(self) -> None:
        """Let go of it; a process that it was handed over to keeps it."""
        number, self._number = self.number, -1
        if number >= 0:
            os.close(number)

    def _path(self) -> str | None:
        folder = _records.prepare(os.getpid())
        return None if folder is None else os.path.join(folder, self._name)


_mine: Slot | None = None


def release() -> None:
    """This process has the slot no longer, if it had it. A fork calls it, too: what its parent has, that keeps."""
    if _mine is not None:
        _mine.close()


def _lock(number: int) -> bool | None:
    """False where somebody has locked it, None where no lock can be had."""
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(number)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that has none
        return None
    return True


def _lock_on_windows(number: int) -> bool | None:
    try:
        import msvcrt
    except ImportError:
        return None
    locking, how = getattr(msvcrt, "locking", None), getattr(msvcrt, "LK_NBLCK", None)
    if locking is None or how is None:
        return None
    try:
        os.lseek(number, FAR, 0)
        locking(number, how, 1)
    except OSError:
        return False
    return True


def _read(number: int) -> tuple[int, str] | None:
    try:
        os.lseek(number, 0, 0)
        pid, _, command = os.read(number, LONGEST).decode("utf-8", "replace").partition(" ")
    except OSError:
        return None
    return (int(pid), command) if pid.isdigit() else None
