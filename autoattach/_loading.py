"""Load the debugger into this process: before the program, or into it while it runs."""

import _thread
import os
import sys
import time

from autoattach import _channel, _records, debuggers
from autoattach._errors import AttachError, DebuggerError
from autoattach._exclusions import what_runs
from autoattach._ledger import Ledger
from autoattach._notices import say, say_once
from autoattach._session import SESSION, Session
from autoattach._settings import VARIABLES
from autoattach._threads import gevent_has_threads, import_threading, refuse_gevent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Sequence

    from autoattach._process import Process
    from autoattach._settings import Settings
    from autoattach._watcher import Watcher
    from autoattach.debuggers._debugger import Debugger, Task

BLOCKED = 2.0  # seconds after which a main thread that runs no Python code counts as blocked in a call


def _writable(folder: "str | None") -> "str | None":
    """The folder for logs, made where it is missing; None where there can be no logs, which is said."""
    if folder is None:
        return None
    try:
        os.makedirs(folder, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "not writable"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        say_once(f"DEBUGGER_LOG={folder} cannot be used ({reason}): there are no logs")
    return None if reason else folder


class Loader:
    """A debugger, as it comes into this process and goes out of it again."""

    def __init__(self, debugger: str, settings: "Settings", process: "Process") -> None:
        self.debugger = debugger
        self.settings = settings
        self.process = process
        self.ledger = Ledger()
        self.told = Ledger()
        self.over = False
        self.session: Session | None = None
        self.watcher: Watcher | None = None
        self.dialer: Watcher | None = None
        """Calls where nobody listens yet; until somebody does that is no session."""
        self._loaded = False
        self._main = _thread.get_ident() if not process.started else main_thread()

    def is_attached(self) -> bool:
        """Whether an IDE can reach this process, or has."""
        return not self.over and ((self.watcher is not None and self.watcher.is_watching()) or self.is_loaded())

    def is_loaded(self) -> bool:
        """Whether the debugger is at work in this process."""
        return self._loaded and debuggers.load(self.debugger).is_at_work()

    def is_client_connected(self) -> bool:
        """Whether an IDE is there, and has set its breakpoints."""
        return self.is_loaded() and debuggers.load(self.debugger).is_client_connected()

    def detach(self) -> None:
        """Take back every change, so that the program runs on as if it had never been attached to."""
        if self.watcher is not None:
            self.watcher.stop()
        self.over = True
        self.ledger.undo()
        self.told.undo()
        _records.erase()
        if self.process.started:
            _channel.close()
        _channel.pause()  # a thread that was hidden from the debugger is another kind than is needed now
        _channel.settle()

    def withdraw(self) -> bool:
        """Detach where nobody has come, and nobody else leads. Whether that is so."""
        if self.session is None or self.session.pid != os.getpid() or self.is_loaded():
            return False
        if self.watcher is not None:
            self.watcher.stop()  # with whom an IDE may stand just now
        if self.is_loaded():
            return False
        self.detach()
        return True

    def forked(self) -> None:
        """In a forked child: this thread is the main one."""
        self._main = _thread.get_ident()

    def tell_children(self, session: Session) -> None:
        """Put into the environment what a child needs to know, or take out what would make it attach."""
        global _current
        self.session, _current = session, self
        self.reachable()
        if self.settings.subprocess:
            for name, value in self.settings.given:
                self.told.environ(name, value)
            self.told.environ(SESSION, session.to_text())
        else:
            for name in [*(variable.name for variable in VARIABLES), SESSION]:
                self.told.environ(name, None)

    def in_main_thread(self) -> bool:
        """Whether it is the main thread that asks."""
        return _thread.get_ident() == self._main

    def main_frame(self) -> "FrameType | None":
        """What the main thread runs."""
        return sys._current_frames().get(self._main)

    def load(self, session: Session, held: bool, until: float = 0.0, **sockets: "Any") -> bool:
        """There is an IDE: load the debugger, and hand it the sockets (see `Task`).

        False where the IDE has not set its breakpoints by the end of the hold. Raises `AttachError`.
        """
        from autoattach._modules import StandardFirst, found, make_room

        if not held:
            refuse_gevent()
        warn_of_coverage(self.debugger, self.process)
        modules = set(sys.modules)
        _channel.pause()
        task = self._task(session, held, until, **sockets)
        live = session.replace(live=True)
        if session.mode == "listen":
            self.tell_children(live)
        _records.write(live, self.process.pid, held=held)
        self.ledger.enter("record", _records.erase)
        self._keep_file_names()
        try:
            self._loaded = True
            if task.early:
                attached = debuggers.load(self.debugger).attach(task)
            else:
                with StandardFirst():
                    attached = self._attach(debuggers.load(self.debugger), task)
        except AttachError:
            raise
        except BaseException as error:  # also SystemExit, which some releases raise
            raise DebuggerError(
                f"{self.debugger} failed ({type(error).__name__}: {error})", f"try another release of {self.debugger}"
            ) from None
        finally:
            make_room(set(sys.modules) - modules if task.early else found, self.process.command)
        _records.update(held=False)
        return attached is not False or self.over

    def _attach(self, debugger: "Debugger", task: "Task") -> bool:
        """In this thread or, where a call came from another one, in the main thread for a debugger that wants that."""
        if not (task.held and debugger.main_thread_only) or self.in_main_thread():
            return debugger.attach(task)
        from autoattach._modules import StandardFirst
        from autoattach._pending import call_in_main_thread, done_in_main_thread

        outcome: list[Any] = []

        def attach() -> None:
            try:
                with StandardFirst():
                    outcome.append(debugger.attach(task))
            except BaseException as error:
                outcome.append(error)

        if not done_in_main_thread(attach, BLOCKED):
            call_in_main_thread(debugger.take_thread)
            attached = debugger.attach(task)
            call_in_main_thread(debugger.take_thread)  # it may have been called too early
            return attached
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        debugger.take_thread()
        return bool(outcome[0])

    def _task(self, session: Session, held: bool, until: float, **sockets: "Any") -> "Task":
        from autoattach.debuggers._debugger import Task

        return Task(
            **{"listener": None, "visitors": [], "members": [], "entrance": None, **sockets},
            session=session,
            until=until,
            held=held,
            early=held and not self.process.started,
            ledger=self.ledger,
            log=_writable(self.settings.log),
            path_mappings=self.settings.path_mappings,
            subprocess=self.settings.subprocess,
            excluded=self._excluded,
            verbose=self.settings.verbose,
            lost=self.lost,
            followed=self.followed,
        )

    def _keep_file_names(self) -> None:
        from autoattach._shipped import keep_file_names

        keep_file_names(self.ledger)

    def followed(self) -> None:
        """In a fork that the debugger has followed."""
        _records.forked()
        self.forked()
        self.reachable()
        _channel.settle()

    def reachable(self) -> None:
        """This process can be asked from outside to attach and to detach, if that can be had."""
        _channel.prepare(self._main, current)

    def carried(self, seconds: float) -> None:
        """In a child that the debugger of its parent carries by itself: have it looked after."""
        global _current
        self.session = session = Session.from_text(self.settings.session or "")
        _current, self._loaded = self, True
        self._keep_file_names()
        task = self._task(session, True, 0.0) if session is not None else None
        if session is not None:
            _records.write(session, self.process.pid)
            self.ledger.enter("record", _records.erase)
            self.reachable()

        def look_after() -> None:
            debuggers.load(self.debugger).carried(task, seconds)
            _channel.settle()

        from autoattach._outside import hidden_thread

        hidden_thread(
            self._main, look_after
        )  # it imports, and would be stopped in that, with the others waiting for it

    def load_behind(self, load: "Callable[[], object]", open_ends: "Sequence[Any]") -> bool:
        """Call `load()` from a thread of ours, while the program runs, where the debugger wants to be loaded.

        Where that cannot even begin, `open_ends` are closed. Afterwards a bare thread calls nothing that is Python: the
        debugger would take it for a thread of the program's. Returns whether the session has ended just then: the
        process is as before, and may wait for an IDE again.
        """
        gone = False
        done, over = _thread.allocate_lock(), _thread.allocate_lock()
        done.acquire()
        over.acquire()

        def afterwards() -> None:
            over.acquire()
            _channel.settle(ended=not gone)

        def beside() -> None:
            hurry()
            if debugger.main_thread_only:  # it may have been called too early
                call_in_main_thread(debugger.take_thread)

        def hurry() -> None:
            nonlocal gone
            interval = sys.getswitchinterval()
            sys.setswitchinterval(1e-4)  # a busy program would leave us 5 ms in 10: 4 to 5 s from connect to stop
            try:
                load()
            except SessionGone:
                self.ledger.undo()
                gone = True
            except BaseException as error:
                self.give_up(error)
            finally:
                if sys.getswitchinterval() == 1e-4:
                    sys.setswitchinterval(interval)
                done.release()
                over.release()

        try:
            if gevent_has_threads():
                load()  # raises
            from autoattach._modules import StandardFirst

            with StandardFirst():
                from autoattach._network_errors import SessionGone
                from autoattach._outside import hidden_thread

                import_threading(self._main)
                debugger = debuggers.load(self.debugger)
                if debugger.main_thread_only:
                    from autoattach._pending import call_in_main_thread, done_in_main_thread
            # Not in the thread that we are in: the debugger is about to know that, and stops it with the others; and
            # who is stopped in an import keeps the others waiting for its lock.
            hidden_thread(self._main, afterwards)
            if debugger.main_thread_only:
                if done_in_main_thread(hurry, BLOCKED):
                    return gone
                call_in_main_thread(debugger.take_thread)
            # A thread that `threading` knows: debuggers ask for the current one. Here join() would ask, and the bare
            # thread that we are in would be known as a dummy from then on.
            hidden_thread(self._main, beside)
            done.acquire()
        except BaseException as error:  # no threads left, for one: in this thread it would be a traceback
            if over.locked():
                over.release()
            for end in open_ends:
                end.close()
            self.give_up(error)
        return gone

    def give_up(self, error: BaseException) -> None:
        """It does not work here: take back every change, and let the program run on."""
        self.ledger.undo()
        say(f"{str(error) or type(error).__name__}; running on without a debugger")

    def lost(self, what: str) -> None:
        """The debugger has lost what it needs: take back every change, and let the program run on.

        Not what the children are told: a child of a process that lives does not hold.
        """
        if self.over:
            return
        self.over = True
        say(f"{what}; running on without a debugger")
        self.ledger.undo()

    def _excluded(self, command: "tuple[str, ...]") -> bool:
        """Whether a child with this command line is one that is never attached to."""
        from autoattach._plan import excluded

        return excluded(self.settings, self.process.replace(command=command, debugger=""))


_current: "Loader | None" = None


def current() -> "Loader | None":
    """What this process has last tried to attach with, or been forked with."""
    return _current


def main_thread() -> int:
    """The identifier of the main thread of a program that runs."""
    import threading

    return threading.main_thread().ident or 0


def warn_of_coverage(debugger: str, process: "Process") -> None:
    """Say so where coverage and the debugger take the one trace function from each other (measured with coverage 7)."""
    if sys.version_info >= (3, 12) and debugger == "debugpy":  # sys.monitoring has room for both
        return
    runs = what_runs(process.command)
    advice = "debug without coverage, or on Python 3.12 and later with debugpy"
    if runs == "-m coverage" or runs.endswith("/coverage"):
        say(f"coverage and {debugger} displace each other: breakpoints in the main thread are not hit; {advice}")
    elif process.tracer == "coverage":
        say(f"coverage and {debugger} displace each other: what this process runs is not measured; {advice}")


def now() -> float:
    """The clock of every `until`, in seconds."""
    return time.monotonic()
