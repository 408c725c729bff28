"""pydevd-pycharm, 203 and later: PyCharm's Python Debug Server."""

from __future__ import annotations

import atexit
import inspect
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from autoattach import _records, _slot
from autoattach._errors import AttachError
from autoattach._ledger import Ledger
from autoattach._network_errors import PeerError
from autoattach._notices import say
from autoattach._roles import supervises
from autoattach._settings import RELOADED, SESSION
from autoattach.debuggers import _pydevd as common
from autoattach.debuggers._debugger import Debugger
from autoattach.debuggers._pycharm_patches import (
    Instead,
    apply_patches,
    import_before_gevent,
    import_pydevd,
    leave_alone_what_is_not_the_programs,
    remember,
    unfit,
    unwrap,
)

if TYPE_CHECKING:
    from autoattach.debuggers._debugger import Task

# What tells of a child that is about to be started, with its environment as the last argument
STARTS = ("subprocess.Popen", "os.posix_spawn", "os.spawn")
# multiprocessing tells of nothing, but imports one of these as it starts the first child
SPAWNS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_spawn_win32")

BURIAL = 3.0  # seconds that pydevd may take to be taken out
FAREWELL = 3.0  # seconds that one of its last messages may take


class PydevdPycharm(Debugger):
    """pydevd in this process, on a connection that PyCharm has greeted us on. It serves this one process."""

    main_thread_only = True  # in another thread it gets no hits on 3.12 and later

    def attach(self, task: Task) -> bool:
        self._session = session = Session(task)
        task.ledger.enter("pydevd-pycharm", session.end)
        try:
            session.begin()
        except BaseException:
            session.end()
            raise
        return True

    def is_at_work(self) -> bool:
        session = getattr(self, "_session", None)
        return session is not None and session.pid == os.getpid() and not session.over

    def is_client_connected(self) -> bool:
        return self._session.attached

    def take_thread(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None:
            session.take_thread()

    def prepare(self, ledger: Ledger) -> None:
        import_before_gevent(ledger)


DEBUGGER = PydevdPycharm()


class Session:
    """PyCharm at work on this process, from its greeting until it goes or the program ends."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.pid = os.getpid()
        self.ledger = Ledger()
        self.line = Line(task.visitors[0], self.hung_up)
        self.waiting = True  # for PyCharm to let the program run
        self.attached = False
        self.over = False
        self.hands_over = False
        self.burying = False  # PyCharm has gone, and pydevd is being taken out
        self.failure: PeerError | None = None
        self.debugger: Any = None  # pydevd's object for this process

    def begin(self) -> None:
        """Load pydevd, and wait until PyCharm has set its breakpoints. Raises `AttachError`."""
        task = self.task
        note_changes = remember(self.ledger)
        try:
            self.pydevd = import_pydevd(task, self.ledger)
            atexit.register(self._farewell)  # before pydevd's own, for it is to run after that
            apply_patches(self.pydevd, task, self.ledger)
            common.stop_only_where(lambda: os.getpid() == self.pid and not self.over, self.ledger)
            common.set_path_mappings(task.path_mappings)
            common.tell_sessions_apart(self.pydevd, self.ledger)
            common.give_client_socket(self.pydevd, self.line, self.ledger)
            self._settrace()
        except AttachError:
            raise
        except BaseException as error:  # also SystemExit, which some releases raise
            raise unfit(error) from None
        finally:
            self.waiting = False
            note_changes()
        self.debugger = common.global_debugger() or self.debugger
        if self.failure is not None:
            raise self.failure
        self.attached = True
        if not task.early:
            common.trace_others(self.debugger, self.ledger)
        leave_alone_what_is_not_the_programs(self.debugger)
        # Before pydevd's own, which runs later: what ends from here on is not PyCharm's doing
        atexit.register(self._ending)
        common.forgive_forks()
        self.hands_over = task.subprocess and not any(mark in os.environ for mark in RELOADED)
        hook_once(self.hands_over)

    def _settrace(self) -> None:
        """pydevd.settrace(), within the time there is. It waits for ever (203 to 263) until PyCharm says to run."""
        left = self.task.until - time.monotonic()
        timer = threading.Timer(max(0.0, min(left, threading.TIMEOUT_MAX)), self._too_late)
        timer.daemon = True
        common.hide(timer)
        timer.start()
        # stdoutToServer up to 252.16512, stdout_to_server from 252.28539 on
        keywords = {
            name: True
            for name in inspect.signature(self.pydevd.settrace).parameters
            if name.replace("_", "").lower() in ("stdouttoserver", "stderrtoserver")
        }
        me = threading.get_ident()

        def sleep(seconds: float) -> None:
            time.sleep(min(seconds, 0.01) if threading.get_ident() == me else seconds)

        # It looks every 0.1 s whether the word has come (203 to 263): that would be most of our part of the start.
        its_time, self.pydevd.time = self.pydevd.time, Instead(time, sleep=sleep)
        try:
            self.pydevd.settrace(
                self.task.session.host,
                port=self.task.session.port,
                suspend=False,
                patch_multiprocessing=False,
                **keywords,
            )
        finally:
            self.pydevd.time = its_time
            timer.cancel()

    def take_thread(self) -> None:
        """Trace this thread, too, if it is not: up to 3.11 pydevd does not always reach those that run already."""
        if self.over or common.is_pydevds(sys.gettrace()):
            return
        try:
            self.debugger.enable_tracing()
        except Exception:  # it is being taken out
            pass

    def _too_late(self) -> None:
        self._give_up(PeerError("PyCharm greeted and then said nothing", "start its debug session again"))

    def hung_up(self) -> None:
        """The connection has ended. Called by pydevd's own threads, maybe by each."""
        if self.over or os.getpid() != self.pid:
            return
        if not self.attached:
            self._give_up(PeerError("PyCharm went away before it let the program run", "start its debug session again"))
            return
        if not self._ends_itself():
            self.burying, self.attached = True, False
            undertaker = threading.Thread(target=self._bury, name="autoattach", daemon=True)
            common.hide(undertaker)
            try:
                undertaker.start()
            except RuntimeError:  # no threads left
                self._bury()

    def _ends_itself(self) -> bool:
        """pydevd has seen the program end, and hangs up."""
        thread = threading.current_thread()
        flags = (
            getattr(self.debugger, "pydb_disposed", False),  # from 252.28539 on
            getattr(thread, "_kill_received", False),
            getattr(thread, "killReceived", False),  # before
        )
        return any(flags)

    def _give_up(self, failure: PeerError) -> None:
        """Let settrace() return."""
        if self.failure is not None:
            return
        self.failure = failure
        while self.waiting:
            self.debugger = common.global_debugger()
            if self.debugger is not None:
                self.debugger.ready_to_run = True
                break
            time.sleep(0.01)  # it has not come to that yet

    def _bury(self) -> None:
        try:
            self.end()
            say("PyCharm has gone; running on without a debugger")
        finally:
            self.burying = False

    def end(self) -> None:
        """Take pydevd out of this process, from whichever thread."""
        if self.over:
            return
        self.over = True
        pydevd = getattr(self, "pydevd", None)
        if pydevd is not None:
            try:
                pydevd.stoptrace()
            except Exception:  # half set up
                pass
            for thread in threading.enumerate():  # it leaves those that were started after the other side had left
                if hasattr(thread, "do_kill_pydev_thread"):
                    thread.do_kill_pydev_thread()
            self._forget()
        self._farewell()
        self.ledger.undo()
        _records.erase()
        _slot.release()

    def _starting(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by the audit hook: it does little, and after the session next to nothing.

        A child that runs the user's code in place of this process is about to be started, of a reload pair
        (`app.run(debug=True)`) or by a server (`uvicorn.run(..., reload=True)`): it gets the slot. It does not exist
        yet, so that PyCharm is free when it comes.
        """
        if (
            self.over
            or not self.hands_over
            or (event not in STARTS and (event != "import" or arguments[0] not in SPAWNS))
        ):
            return
        try:
            given = arguments[-1] if event in STARTS else None
            names = {name if isinstance(name, str) else os.fsdecode(name) for name in given or ()}
            if os.getpid() == self.pid and (not names.isdisjoint(RELOADED) or supervises(sys._getframe(1))):
                os.environ[SESSION] = self.task.session.replace(mode="leave").to_text()
                self.end()
                left = self.task.session.replace(mode="leave", live=False)
                _records.write(left, self.pid, role=_records.LEAVES)
        except Exception:  # it would keep the program from starting the child
            pass

    def _forget(self) -> None:
        """What stoptrace() leaves, or cannot do from this thread."""
        pydevd = self.pydevd
        pydevd.connected = False
        # Its command thread, in its last turn, would put the streams in place that are about to be taken back.
        pydevd.buffer_stdout_to_server = pydevd.buffer_stderr_to_server = False
        atexit.unregister(pydevd.stoptrace)
        atexit.unregister(self._ending)
        atexit.unregister(self._farewell)
        debugger = self.debugger
        if debugger is not None:
            debugger.pydb_disposed = debugger._finish_debugging_session = True  # new, old: nothing stops any more
        if getattr(pydevd, "USE_LOW_IMPACT_MONITORING", False):  # sys.monitoring, with a variable of that name
            try:
                pydevd.disable_pep669_monitoring(all_threads=True)
            except ValueError:  # done
                pass
        unwrap(sys.stdout)
        unwrap(sys.stderr)
        common.untrace(DEBUGGER.is_at_work)

    def _ending(self) -> None:
        """The program has run. Nothing stops from here on: PyCharm may go, and nobody would let it go on."""
        until = time.monotonic() + BURIAL
        while self.burying and time.monotonic() < until:  # in another thread, which the interpreter's end would crash
            time.sleep(0.005)
        self.over = True

    def _farewell(self) -> None:
        """pydevd has been told to end: hang up when its last words, the program's among them, have been sent.

        It waits half a second for that (252 to 263), or not at all (203), and its reader hangs up meanwhile.
        """
        writer = getattr(self.debugger, "writer", None)
        self.line.sent = time.monotonic()
        while writer is not None and writer.is_alive() and time.monotonic() < self.line.sent + FAREWELL:
            writer.join(0.05)
        self.line.leave()

    def _forked(self) -> None:
        """In a forked child: no pydevd, and PyCharm's connection is the parent's. Waits for no lock and no thread."""
        if os.getpid() == self.pid or not hasattr(self, "pydevd"):
            return
        self.over = True
        number = self.line.detach()
        if number >= 0:  # not shut down: that would end it for the parent as well
            os.close(number)
        _slot.release()
        self._forget()
        sys.modules["_pydevd_bundle.pydevd_constants"].GlobalDebuggerHolder.global_dbg = None
        self.ledger.undo()


_hooked: set[str] = set()


def hook_once(starts: bool) -> None:
    """Hear of forks and, with `starts`, of children about to be started.

    Nothing takes such a hook out again: it is made once, however often the program attaches.
    """
    if "forks" not in _hooked and hasattr(os, "register_at_fork"):
        _hooked.add("forks")
        os.register_at_fork(after_in_child=lambda: DEBUGGER._session._forked())
    if starts and "starts" not in _hooked:
        _hooked.add("starts")
        sys.addaudithook(lambda event, arguments: DEBUGGER._session._starting(event, arguments))


class Line(socket.socket):
    """The connection. Its end is told to us, and is no error for pydevd's threads, which would print it."""

    def __init__(self, raw: Any, ended: Callable[[], None]) -> None:
        super().__init__(raw.family, raw.type, raw.proto, fileno=raw.detach())
        self.setblocking(True)
        common.keep_alive(self)
        self._ended = ended
        self.sent = 0.0
        """When the last message went, by `time.monotonic()`."""

    def close(self) -> None:
        """pydevd's reader does so while its writer still has something to send (252 to 263): see `leave()`."""

    def leave(self) -> None:
        """Hang up."""
        try:  # closed while a thread waits for it, it would live on as long as that waits
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        super().close()

    def recv(self, *arguments: Any) -> bytes:
        try:
            data = super().recv(*arguments)
        except OSError:
            data = b""
        if not data:
            self._ended()
        return data

    def sendall(self, *arguments: Any) -> None:
        try:
            super().sendall(*arguments)
            self.sent = time.monotonic()
        except OSError:
            self._ended()
