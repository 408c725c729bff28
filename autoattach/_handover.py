"""Leaving PyCharm's slot, and the connection to it, to the worker that runs the user's code.

The program is held in its first process, as ever. That loads no debugger: what it has got goes, as it is, to the first
worker, who need not wait.
"""

from __future__ import annotations

import _socket
import os
import sys

from autoattach import _records, _uwsgi
from autoattach._network import identity
from autoattach._notices import say
from autoattach._process import in_uwsgi
from autoattach._roles import BETWEEN, DAEMONS, RELOADS, WORKERS
from autoattach._slot import Slot
from autoattach._threads import start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable

    from autoattach._plan import Lead
    from autoattach._process import Process
    from autoattach._session import Session

ANSWER = 5.0  # seconds that a child waits for a parent that is there
DEEP = 12  # frames between the function that makes a worker and the fork, gevent's included


class Kept:
    """A socket of ours in a process that runs the program's own code: that may close, and use again, any number."""

    def __init__(self, sock: _socket.socket) -> None:
        self.socket = sock
        self._identity = identity(sock.fileno())

    @property
    def is_ours(self) -> bool:
        return identity(self.socket.fileno()) == self._identity

    def close(self) -> None:
        if self.is_ours:
            self.socket.close()
        else:
            self.socket.detach()


def only_in(which: str, one: str) -> str:
    """What is said where one of several workers is debugged; `one` as in `Role`."""
    return (
        f'breakpoints are hit in {which} only; have one worker ({one}), or use debugpy and PyCharm\'s "Attach to DAP"'
    )


class ToForks:
    """Leaves it to the first fork that is a worker, and to a next one when that has ended."""

    def __init__(
        self, lead: Lead, process: Process, inherit: Callable[[_socket.socket | None, Slot | None], None]
    ) -> None:
        """`inherit` is called in the fork, with the connection, if there is one, and the slot."""
        self._one = lead.role.one if lead.role is not None else ""
        self._redials = lead.redials
        self._process = process
        self._inherit = inherit
        self._slot = Slot(lead.host, lead.ports[0])
        self._has_slot = False
        self._kept: Kept | None = None
        self._between = "uwsgi" if in_uwsgi() else ""
        self._fork = self._between  # what the fork that is being made is
        self._told = self._ready = self._calls_on = False

    def start(self, slot: Slot | None, sock: _socket.socket | None, calls_on: bool = False) -> None:
        """From now on. Without a slot the first worker that finds it free takes it; with `calls_on` all the workers
        call, behind what they run, until one has it."""
        self._calls_on = calls_on
        self._has_slot = slot is not None
        self._slot = slot or self._slot
        self._kept = None if sock is None else Kept(sock)
        os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)
        _uwsgi.follow(self._in_uwsgi)

    def _before(self) -> None:
        frame = sys._getframe().f_back
        # uWSGI's own (--py-call-uwsgi-fork-hooks) is made by no function
        self._fork = "other" if frame is not None else self._between
        if frame is None or os.getpid() != self._process.pid:
            return
        makers = _makers(frame)
        if any(maker in makers for maker in DAEMONS):
            self._fork = "daemon"
        elif any(maker in makers for maker in WORKERS):
            self._fork = "worker"
            if not self._ready:
                # What runs in the child runs in the order in which it was entered: ours after threading's and others'.
                import threading  # noqa: F401

                os.register_at_fork(after_in_child=self._begin)
                self._ready = True
            self._has_slot = self._has_slot or self._slot.take(self._process)
            # Who has it is about to be ended: this one calls until then.
            replaces = self._redials and any(maker in makers for maker in RELOADS)
            if not (self._has_slot or self._calls_on or replaces):
                self._fork = "colleague"
                if self._one and not self._told:
                    self._told = True
                    say(only_in("one worker", self._one))
        elif any(maker in makers for maker in BETWEEN):  # a worker's fork has what made the one between above it, too
            self._fork = "between"

    def _in_parent(self) -> None:
        if self._fork in ("worker", "between"):  # it has them now
            self._close()
        self._fork = self._between

    def _in_child(self) -> None:
        if self._fork in ("daemon", "between"):
            self._process = self._process.replace(pid=os.getpid())
            _records.forked()
            if self._slot.number >= 0:
                self._slot.adopt(self._slot.number, self._process)
        elif self._fork not in ("worker", "uwsgi"):
            self._close()

    def _in_uwsgi(self) -> None:
        """In a worker of uWSGI's, whose master keeps what it has: the first worker takes it, and who replaces that."""
        if self._calls_on:
            self._has_slot = self._slot.take(self._process.replace(pid=os.getpid()))
        elif sys.modules["uwsgi"].worker_id() != 1:
            self._close()
            return
        elif self._one:
            say(only_in("this worker", self._one))
        self._hand_over()

    def _begin(self) -> None:
        if self._fork == "worker" and os.getpid() != self._process.pid:
            self._hand_over()

    def _hand_over(self) -> None:
        kept, self._kept = self._kept, None
        self._inherit(None if kept is None else kept.socket, self._slot if self._has_slot else None)

    def _close(self) -> None:
        self._has_slot = False
        self._slot.close()
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def _makers(frame: FrameType | None) -> list[tuple[str, str]]:
    """The functions that are making a fork, the innermost first."""
    makers: list[tuple[str, str]] = []
    while frame is not None and len(makers) < DEEP:
        spec = frame.f_globals.get("__spec__")  # what `python -m` runs is called `__main__`
        module = str(getattr(spec, "name", None) or frame.f_globals.get("__name__"))
        if module == "subprocess":  # with a preexec_fn: it is about to exec
            return []
        makers.append((module, frame.f_code.co_name))
        frame = frame.f_back
    return makers


class ToChild:
    """Leaves it to the first child that asks, over a socket in the folder that only this user can enter."""

    def __init__(self, listener: _socket.socket, path: str) -> None:
        self._listener = Kept(listener)
        self._path = path
        self._kept: Kept | None = None

    @classmethod
    def open(cls, pid: int) -> ToChild | None:
        """None where a connection cannot be handed to another process."""
        path = _path(pid)
        if path is None or not hasattr(_socket.socket, "sendmsg"):
            return None
        listener = None
        try:
            listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            _unlink(path)
            listener.bind(path)
            listener.listen(4)
        except OSError:  # a path that is too long, for one
            if listener is not None:
                listener.close()
            return None
        return cls(listener, path)

    def start(self, slot: Slot, sock: _socket.socket, note: str) -> None:
        """From now on; `note` is what the child is to say besides."""
        self._slot, self._kept, self._note = slot, Kept(sock), note
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.close)
        start_thread(self._serve)

    def cancel(self) -> None:
        """There is nothing to leave."""
        _unlink(self._path)
        self.close()

    def close(self) -> None:
        """Let go of everything. What a child has got stays open there."""
        self._listener.close()
        if self._kept is not None:
            self._kept.close()
            self._slot.close()

    def _serve(self) -> None:
        try:
            asking, _ = self._listener.socket._accept()  # type: ignore[attr-defined]
            visitor = _socket.socket(fileno=asking)
            _unlink(self._path)
            number = self._slot.number
            if self._kept is not None and self._kept.is_ours:
                numbers = [self._kept.socket.fileno()] + ([number] if number >= 0 else [])
                rights = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
                visitor.sendmsg([b"." + self._note.encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
            visitor.close()
        except OSError:  # the program has closed what it did not open
            pass
        self.close()


def receive(session: Session) -> tuple[_socket.socket, int, str] | None:
    """The connection, the number of the slot's file (or -1) and the note, from the parent; None where it has none."""
    path = _path(session.pid)
    if path is None or not hasattr(_socket.socket, "recvmsg"):
        return None
    asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        asking.settimeout(ANSWER)
        asking.connect(path)
        note, rights, _, _ = asking.recvmsg(1000, _socket.CMSG_SPACE(8))
    except OSError:
        return None
    finally:
        asking.close()
    data = b"".join(piece for level, kind, piece in rights if kind == _socket.SCM_RIGHTS)
    numbers = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data) - 3, 4)]
    for number in numbers:
        os.set_inheritable(number, False)
    if not numbers or identity(numbers[0]) is None:
        return None
    return _socket.socket(fileno=numbers[0]), (numbers[1:] or [-1])[0], note[1:].decode("utf-8", "replace")


def _path(pid: int) -> str | None:
    folder = _records.prepare(os.getpid()) if hasattr(_socket, "AF_UNIX") else None
    return None if folder is None else os.path.join(folder, f"{pid}.slot")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
