"""Bare threads, which `threading` does not know; and `threading`, imported in another thread than the main one."""

import _thread
import os
import sys

from autoattach._errors import DebuggerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


# Where it calls pthread_exit(), up to 3.8, a thread that ends loads libgcc_s; and where that cannot be had any more, as
# after a chroot, the C library aborts the program. So one ends at once.
_loads_when_it_ends = sys.version_info < (3, 9) and sys.platform == "linux"


def start_thread(function: "Callable[..., object]", *arguments: object) -> None:
    """Have a bare thread call `function(*arguments)`; return when it runs.

    A program may end sooner than a thread begins, and up to Python 3.12 one that begins after the end crashes it
    (measured on 3.9: 23 of 9600 on a busy machine).
    """
    global _loads_when_it_ends
    began = _thread.allocate_lock()
    began.acquire()
    if _loads_when_it_ends:
        _loads_when_it_ends = False
        _thread.start_new_thread(began.release, ())
        began.acquire()

    def run() -> None:
        began.release()
        function(*arguments)

    _thread.start_new_thread(run, ())
    began.acquire()


def gevent_has_threads() -> bool:
    """Whether `threading` is gevent's by now."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def refuse_gevent() -> None:
    """Raises `DebuggerError` where gevent has changed a program that runs.

    debugpy and its kin would fail, by "child watchers are only available on the default loop" and others, and the
    program would never end (gevent 26.9).
    """
    if gevent_has_threads():
        raise DebuggerError(
            "gevent has changed the threads of this program, and no debugger can be loaded into it as it runs",
            "set DEBUGGER_WAIT=60, and attach before it begins",
        )


def forgive_a_fork(alone: "Callable[[], bool]") -> None:
    """Keep Python 3.12 and later from warning of a fork where the program's thread is alone but for ours.

    "This process is multi-threaded, use of fork() may lead to deadlocks in the child" comes in the parent, before the
    hooks that run there (3.12.1) or after (3.13.0), and would end a program for which warnings are errors. `alone` is
    asked before each fork.
    """

    class OneWarning:
        """In the place of a filter's regular expression. Its filter goes when it has done its work."""

        filters: "Any" = ()

        def put(self) -> None:
            entry = ("ignore", self, DeprecationWarning, None, 0)
            warnings: Any = sys.modules.get("warnings")  # imported by us it would cost the start, or be a user's own
            if hasattr(warnings, "filterwarnings"):
                warnings.filterwarnings("ignore", "This process ", DeprecationWarning)  # also empties Python's caches
                self.filters = warnings.filters
                self.filters[0] = entry
            else:  # Python goes by these then
                self.filters = __import__("_warnings").filters
                self.filters.insert(0, entry)

        def match(self, text: str) -> bool:
            matches = text.startswith("This process ") and "multi-threaded" in text
            if matches:
                self.remove()
            return matches

        def remove(self) -> None:
            filters, self.filters = self.filters, ()
            if filters:
                filters[:] = [entry for entry in filters if entry[1] is not self]

    one = OneWarning()

    def before() -> None:
        one.remove()
        if alone():
            one.put()

    if sys.version_info >= (3, 12) and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_child=one.remove)


def import_threading(main: int) -> None:
    """Import `threading`, and have it know the main thread, whose identifier (`_thread.get_ident()`) is `main`.

    Imported at start-up it would cost 4 ms of the 8 that we may take. Up to Python 3.12 it takes the thread that first
    imports it for the main thread: pydevd then ends its session a moment later, and the interpreter's end waits for
    the wrong one. Where it is gevent's, which gives threads identifiers of its own, it is left as it is.
    """
    import threading

    if gevent_has_threads():
        return

    module: Any = threading
    known = module._main_thread
    if sys.version_info >= (3, 13) or known._ident == main:
        return
    lock = _thread.allocate_lock()
    lock.acquire()
    with module._active_limbo_lock:
        module._active.pop(known._ident, None)
        known._ident = main
        known._native_id = None
        module._active[main] = known
    # What threading._shutdown() takes for the sign that the main thread is still there
    with module._shutdown_locks_lock:
        module._shutdown_locks.discard(known._tstate_lock)
        module._shutdown_locks.add(lock)
    known._tstate_lock = lock
