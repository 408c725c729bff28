"""The one sleeping thread behind a running program: it waits until an IDE comes, at the door or to another member."""

from __future__ import annotations

import _thread
import os
import sys
import time

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
        place: Place,
        greeting: Greeting,
        serve: Callable[[Place, Any], None],
        find: Callable[[Place | None], Place | None],
        in_child: Callable[[], bool],
        ended: Callable[[], object] = lambda: None,
        begin: Callable[[Callable[[], object]], object] = start_thread,
    ) -> None:
        """`serve` is called in the thread, once, with the place and what its `wait()` has returned; `find` when the
        place is lost, with it, or in a forked child; `in_child` there, to say whether the child waits as well. `ended`
        is called in the thread as it ends, but for a fork, or where it has served; `begin` begins it."""
        self._place: Place | None = place
        self._greeting = greeting
        self._serve = serve
        self._find = find
        self._in_child = in_child
        self._ended = ended
        self._begin = begin
        self._registered = False
        self._forking = False
        self._idle = _thread.allocate_lock()  # held while the thread is there
        self._ring: Callable[[], None] = lambda: None
        self._thread_id = 0
        self._away = False  # the thread is to go away
        self._interrupted = False  # it went
        self._pid = os.getpid()
        self._arrived: Any = None

    def start(self, place: Place | None = None) -> None:
        """Begin to watch; again, with a place, after `pause()`."""
        self._place = place or self._place
        self._arrived = None
        if hasattr(os, "register_at_fork") and not self._registered:
            self._registered = True
            if COUNTS_LATE:
                forgive_a_fork(self._is_alone)
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_in_parent, after_in_child=self._after_in_child
            )
        self._run()

    def is_watching(self) -> bool:
        """Whether this process waits for an IDE."""
        return self._idle.locked() and os.getpid() == self._pid

    def stop(self) -> None:
        """Watch no more, and let go of the place; a debugger that is just being loaded is waited for."""
        if not self.is_watching() or not self._send_away(LOADING):
            return
        if self._place is not None:
            self._place.close()
            self._place = None

    def pause(self) -> None:
        """Watch no more, until `start()`; the place stays."""
        if self.is_watching():
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
        self._away = False
        if self._place is not None:
            self._ring = self._place.interruptible()
        self._idle.acquire()
        try:
            self._begin(self._watch)
        except BaseException:  # no threads left
            self._idle.release()
            raise

    def _watch(self) -> None:
        try:
            self._thread_id = _thread.get_native_id() if hasattr(_thread, "get_native_id") else 0
            while not self._away:
                if self._place is None:
                    self._place = place = self._find(None)
                    if place is None:
                        return
                    self._ring = place.interruptible()
                    continue
                self._arrived = self._place.wait(FOREVER, self._greeting)
                if self._arrived:
                    return self._serve(self._place, self._arrived)
                if not self._away:
                    lost, self._place = self._place, None
                    self._place = place = self._find(lost)
                    if place is None:
                        return
                    self._ring = place.interruptible()
        finally:
            if not (self._arrived or self._forking):
                self._ended()
            self._idle.release()

    def _before_fork(self) -> None:
        self._interrupted = False
        if not self._idle.locked() or os.getpid() != self._pid:
            return
        self._forking = True
        gone = self._send_away(LOADING)
        self._forking = False
        if gone:  # a debugger being loaded holds locks that a child would inherit
            self._interrupted = not self._arrived
            task = f"/proc/self/task/{self._thread_id}"
            until = time.monotonic() + 2.0
            while self._thread_id and os.path.exists(task) and time.monotonic() < until:
                time.sleep(0)

    def _after_in_parent(self) -> None:
        if self._interrupted:
            self._run()

    def _is_alone(self) -> bool:
        """Asked before a fork, when our thread has gone."""
        try:
            return self._interrupted and len(os.listdir("/proc/self/task")) == 1
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
        # A fork that Python learns of afterwards (uWSGI's) has not been prepared: its thread is not there.
        if self._idle.locked() and not self._arrived:
            self._idle, self._interrupted = _thread.allocate_lock(), True
        if self._interrupted and self._in_child():
            self._pid = os.getpid()
            self._run()
