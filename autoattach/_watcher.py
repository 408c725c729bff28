"""The one sleeping thread behind a running program: it waits until an IDE comes, at the door or to another member."""

import _thread
import os
import sys
import time

from autoattach._process import in_uwsgi
from autoattach._settings import FOREVER
from autoattach._threads import forgive_a_fork, start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Union

    from autoattach._door import Door
    from autoattach._link import Link
    from autoattach._network import Greeting
    from autoattach._redial import Redial

    Place = Union[Door, Link, Redial]

# Python 3.12 and 3.13 count the threads for "This process is multi-threaded, use of fork() may lead to deadlocks" only
# after the hooks that run in the parent, when ours is back.
COUNTS_LATE = (3, 12) <= sys.version_info < (3, 14)
LOADING = 10.0  # seconds that a fork waits for a debugger that is just being loaded


class Watcher:
    """Waits at a place: the door, or the link to who has it. The thread is a bare one, so that `threading` never sees
    it (a program may count its threads), and it is away during a fork, so that the program forks as the single-threaded
    one it may be. A forked child waits at a place of its own."""

    def __init__(
        self,
        place: "Place",
        greeting: "Greeting",
        serve: "Callable[[Place, Any], Place | None]",
        find: "Callable[[Place | None], Place | None]",
        in_child: "Callable[[], bool]",
        ended: "Callable[[], object]" = lambda: None,
        begin: "Callable[[Callable[[], object]], object]" = start_thread,
    ) -> None:
        """`serve` is called in the thread, with the place and what its `wait()` has returned; what it returns is waited
        at from then on. `find` is called when the place is lost, with it, or in a forked child; `in_child` there, to
        say whether the child waits as well. `ended` is called in the thread as it ends, but for a fork, or where it has
        served; `begin` begins it."""
        self._place: Place | None = place
        self._greeting = greeting
        self._serve = serve
        self._find = find
        self._in_child = in_child
        self._ended = ended
        self._begin = begin
        self._in_uwsgi = in_uwsgi()  # asked now: its processes may have other names later
        self._registered = False
        self._turn = _thread.RLock()  # held where it is decided whether the thread is to begin
        self._forks = 0  # that are being made just now: threads of a program may fork at the same time
        self._wanted = False  # the thread is to be there, but for the time of a fork
        self._idle = _thread.allocate_lock()  # held while the thread is there
        self._ring: Callable[[], None] = lambda: None
        self._thread_id = 0
        self._away = False  # the thread is to go away
        self._pid = os.getpid()
        self._arrived: Any = None

    def start(self, place: "Place | None" = None) -> None:
        """Begin to watch; again, with a place, after `pause()`."""
        self._after_in_child()  # of another hook of a fork, which may come before this one's
        self._place = place or self._place
        self._arrived = None
        if hasattr(os, "register_at_fork") and not self._registered:
            self._registered = True
            if COUNTS_LATE:
                forgive_a_fork(self._is_alone)
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_in_parent, after_in_child=self._after_in_child
            )
        self._wanted = True
        try:
            self._run()
        except BaseException:
            self._wanted = False
            raise

    def is_watching(self) -> bool:
        """Whether this process waits for an IDE."""
        return (self._wanted or self._idle.locked()) and os.getpid() == self._pid

    def stop(self) -> None:
        """Watch no more, and let go of the place; a debugger that is just being loaded is waited for."""
        if not self.is_watching():
            return
        self._wanted = False
        if self._send_away(LOADING) and self._place is not None:
            self._place.close()
            self._place = None

    def pause(self) -> None:
        """Watch no more, until `start()`; the place stays."""
        if self.is_watching():
            self._wanted = False
            self._send_away(LOADING)

    def _send_away(self, patience: float) -> bool:
        """Whether the thread has gone within these seconds."""
        self._away = True
        self._ring()
        until = time.monotonic() + patience
        while not self._idle.acquire(timeout=0.05):  # not in one go: it may be for this thread to load the debugger
            if time.monotonic() > until:
                return False
            self._ring()  # it may have been between two places
        self._idle.release()
        return True

    def _run(self) -> None:
        """Begin the thread, where it is to be there and is not."""
        with self._turn:
            if self._forks or not self._wanted or not self._idle.acquire(False):
                return
            try:
                self._away = False
                place = self._place
                if place is not None:
                    self._ring = place.interruptible()
                self._begin(self._watch)
            except BaseException:
                self._idle.release()
                raise
        if place is not None and self._in_uwsgi:
            from autoattach import _uwsgi

            _uwsgi.wait_until(lambda: place.is_waiting() or place is not self._place or not self._idle.locked())

    def _watch(self) -> None:
        try:
            self._thread_id = _thread.get_native_id() if hasattr(_thread, "get_native_id") else 0
            while not self._away:
                if self._place is None:
                    self._place = place = self._find(None)
                    if place is None:
                        self._wanted = False
                        return
                    self._ring = place.interruptible()
                    continue
                self._arrived = self._place.wait(FOREVER, self._greeting)
                if self._arrived:
                    self._wanted = False
                    self._place = place = self._serve(self._place, self._arrived)
                    if place is None:
                        return
                    self._arrived, self._wanted = None, True
                    self._ring = place.interruptible()
                elif not self._away:
                    lost, self._place = self._place, None
                    self._place = place = self._find(lost)
                    if place is None:
                        self._wanted = False
                        return
                    self._ring = place.interruptible()
        finally:
            if not (self._arrived or self._wanted):
                self._ended()
            self._idle.release()

    def _before_fork(self) -> None:
        if os.getpid() != self._pid:
            return
        with self._turn:
            self._forks += 1
        if not self._idle.locked():
            return
        if self._send_away(LOADING):  # a debugger being loaded holds locks that a child would inherit
            task = f"/proc/self/task/{self._thread_id}"
            until = time.monotonic() + 2.0
            while self._thread_id and os.path.exists(task) and time.monotonic() < until:
                time.sleep(0)

    def _after_in_parent(self) -> None:
        if os.getpid() != self._pid:
            return
        with self._turn:
            self._forks = max(0, self._forks - 1)  # of one that had begun before our hooks were there, only the end
            try:
                self._run()
            except Exception:  # no threads or no numbers for files left: the next fork's end tries again
                pass

    def _is_alone(self) -> bool:
        """Asked before a fork, when our thread has gone."""
        try:
            return not self._idle.locked() and self._wanted and len(os.listdir("/proc/self/task")) == 1
        except OSError:  # there Python counts what `threading` knows, and ours it does not
            return False

    def _after_in_child(self) -> None:
        if os.getpid() == self._pid:
            return
        if self._place is not None:
            self._place.close()  # the parent's stays
            self._place = None
        if isinstance(self._arrived, list):
            for visitor in self._arrived:
                visitor.close()
        # The thread is not there, also where a fork has not been prepared (uWSGI's, of which Python learns afterwards).
        self._turn, self._idle, self._forks, self._pid = _thread.RLock(), _thread.allocate_lock(), 0, os.getpid()
        self._wanted = self._wanted and self._in_child()
        try:
            self._run()
        except Exception:  # as above
            self._wanted = False
