"""The channel on which this process is asked, from outside, to attach or to detach: a Unix socket in a folder that only
this user can enter, beside the process's record.

Who waits for an IDE in a thread looks at it as well (`_network.beside`). Where nobody does, because a debugger is at
work or because nothing is open, it has the one sleeping thread, which is away during a fork. Where there are no Unix
sockets or no such folder there is no channel, and that harms nobody.
"""

import _socket
import _thread
import os
import sys
import time

from autoattach import _records
from autoattach._network import Place, beside, ready
from autoattach._settings import FOREVER
from autoattach._threads import start_thread
from autoattach._watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from autoattach._loading import Loader

LONGEST = 65536  # bytes of a request
PATIENCE = 2.0  # seconds that a request may take from its first byte to its last
# The longest path that fits into a socket's address on every system (macOS: 104 bytes with the last, a zero)
FITS = 103


class Channel(Place):
    """The socket, and who is let in."""

    def __init__(self, sock: _socket.socket, main: int) -> None:
        super().__init__(sock)
        self.pid = os.getpid()
        self.main = main
        """The identifier of the main thread."""
        self.number = self._number
        self.busy = False
        """Somebody has asked: the thread that waits here makes room, for it may be another kind that is needed."""

    def wait(self, until: float, greeting: object) -> None:
        """Wait here and nowhere else: until one has asked, the bell has rung, or the program has closed the socket."""
        while self.is_ours() and not self.busy:
            if ready([], self._bell, FOREVER) is None:
                return

    def answer(self) -> None:
        """Somebody stands there: let them in and serve them in a thread of their own, for it may take a while."""
        try:
            sock = _socket.socket(*self._kind, fileno=self._number)
            try:
                number, _ = sock._accept()  # type: ignore[attr-defined, unused-ignore]
            finally:
                sock.detach()
        except OSError:  # gone already; or there are no numbers left, and it stands there still
            time.sleep(0.05)
            return
        peer = _socket.socket(*self._kind, fileno=number)
        try:
            if user(peer) not in (None, os.geteuid()):
                peer.close()
                return
            from autoattach._outside import hidden_thread

            self.busy = True
            hidden_thread(self.main, self._serve, peer)
        except BaseException:  # no threads left, for one
            self.busy = False
            peer.close()

    def _serve(self, peer: _socket.socket) -> None:
        global _kept
        from autoattach._outside import perform

        try:
            peer.settimeout(PATIENCE)
            request = b""
            while not request.endswith(b"\n\n") and len(request) < LONGEST:
                part = peer.recv(4096)
                if not part:
                    return
                request += part
            _kept = True
            lines = request.decode("utf-8", "surrogateescape").splitlines()
            reply = perform([line for line in lines if line])
            peer.sendall(("\n".join(reply) + "\n\n").encode("utf-8", "surrogateescape"))
        except Exception:  # whoever asked has gone
            pass
        finally:
            peer.close()
            self.busy = False
            pause()  # the thread that made room may not have gone yet
            settle()

    def close(self) -> None:
        """Let go of it. A fork calls it, too: the parent's stays."""
        self._unhang()
        if self in beside:
            beside.remove(self)
        if self.is_ours():
            _socket.close(self._number)
        self._number = -1


def _nothing(*_: object) -> None:
    """Nobody has attached; nobody is served."""


_current: "Callable[[], Loader | None]" = _nothing
_mine: "Channel | None" = None
_kept = False  # it has been of use, and stays
_alone: "Watcher | None" = None
_turn = _thread.allocate_lock()


def prepare(main: int, current: "Callable[[], Loader | None]") -> None:
    """Have a channel from now on, if there can be one. Somebody has to look at it: `settle()`. Cannot fail.

    `main` is the identifier of the main thread; `current` says what the process has last tried to attach with.
    """
    global _mine, _current
    _current = current
    if _mine is not None and _mine.pid == os.getpid() and _mine.is_ours():
        return
    if _mine is not None:
        _mine.close()
    elif hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)
    try:
        _mine = _open(main)
    except Exception:  # a read-only disk, a folder that is not ours, a path that is too long
        _mine = None
    if _mine is not None:
        beside.append(_mine)


def is_open() -> bool:
    """Whether this process has one."""
    return _mine is not None and _mine.pid == os.getpid()


def settle(ended: bool = False) -> None:
    """Have somebody look at it, and one only. Cannot fail.

    `ended`: the thread that waited for an IDE, and looked, is about to end.
    """
    global _alone
    try:
        with _turn:
            if _mine is None or _mine.pid != os.getpid() or _mine.busy:
                return
            mine: Any = _mine
            alone = _alone is not None and _alone.is_watching()
            loader = _current()
            watcher = loader.watcher if loader is not None else None
            if watcher is not None and watcher.is_watching() and not ended:
                if alone and _alone is not None:
                    _alone.pause()
            elif not alone:
                if _alone is None:
                    _alone = Watcher(mine, _nothing, _nothing, _find, _in_child, begin=_begin)
                _alone.start(mine)
    except Exception:  # no threads left
        pass


def pause() -> None:
    """Nobody is to look at it just now: a debugger that comes into the process would see a thread of the program's."""
    if _alone is not None and _alone.is_watching():
        _alone.pause()


def close() -> None:
    """The process is as if it had never been attached to, unless somebody has asked from outside, and may again."""
    global _mine
    if _mine is None or _kept or _mine.pid != os.getpid():
        return
    pause()
    channel, _mine = _mine, None
    channel.close()
    try:
        os.unlink(os.path.join(_records.folder(), f"{channel.pid}.ctl"))
    except OSError:
        pass


def _open(main: int) -> "Channel | None":
    folder = _records.prepare(os.getpid())
    if folder is None or not hasattr(_socket, "AF_UNIX"):
        return None
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        with Address(folder, os.getpid()) as path:
            try:
                os.unlink(path)  # of what this process ran before, or of one with the same id
            except OSError:
                pass
            sock.bind(path)
        sock.listen(8)
        sock.setblocking(False)
        return Channel(sock, main)
    except BaseException:
        sock.close()
        raise


class Address:
    """Within it, the path of a process's channel, by which a socket can be bound or connected however deep it lies."""

    def __init__(self, folder: str, pid: int) -> None:
        self._folder = folder
        self._name = f"{pid}.ctl"
        self._number = -1

    def __enter__(self) -> str:
        path = os.path.join(self._folder, self._name)
        if len(os.fsencode(path)) > FITS and sys.platform.startswith("linux"):
            self._number = os.open(self._folder, os.O_RDONLY)
            path = f"/proc/self/fd/{self._number}/{self._name}"
        return path

    def __exit__(self, *exception: object) -> None:
        if self._number >= 0:
            os.close(self._number)


def user(sock: _socket.socket) -> "int | None":
    """The user id of who is at the other end; None where the system does not tell: the folder's mode has to do.

    Source: unix(7) of Linux, `struct ucred`; unix(4) of macOS and FreeBSD, `struct xucred`.
    """
    try:
        if hasattr(_socket, "SO_PEERCRED"):
            return int.from_bytes(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)[4:8], sys.byteorder)
        if sys.platform == "darwin" or hasattr(_socket, "LOCAL_PEERCRED"):
            return int.from_bytes(sock.getsockopt(0, getattr(_socket, "LOCAL_PEERCRED", 1), 76)[4:8], sys.byteorder)
    except OSError:
        pass
    return None


def _begin(function: "Callable[[], object]") -> None:
    """Begin the thread that looks here alone. While pydevd is at work it takes a bare one for one of the program's."""
    assert _mine is not None
    if _is_loaded():
        from autoattach._outside import hidden_thread

        hidden_thread(_mine.main, function)
    else:
        start_thread(function)


def _is_loaded() -> bool:
    loader = _current()
    return loader is not None and not loader.over and loader.is_loaded()


def _find(lost: object) -> "Any":
    """Who waits alone has nowhere else to wait; in a fork, its own."""
    return _mine if lost is None else None


def _in_child() -> bool:
    """In the fork of a process in which nothing waits: whether it has a channel as well."""
    loader = _current()
    if _is_loaded() or (loader is not None and not loader.settings.subprocess):  # it is the debugger's, or left alone
        return False
    prepare(_thread.get_ident(), _current)
    return is_open()


def _forget() -> None:
    """In a forked child: the parent's is not ours."""
    global _turn
    _turn = _thread.allocate_lock()
    if _mine is not None and _mine.pid != os.getpid():
        _mine.close()
