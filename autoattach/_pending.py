"""Have the main thread of a running program call something, between two of its bytecodes."""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable

_signal: Any = __import__("_signal")  # typeshed knows none

# What Python's import runs to have a module's lock, and to let go of it
LOCKING = ("acquire", "release", "__enter__", "__exit__", "_get_module_lock", "_lock_unlock_module")

_calls: list[tuple[int, Callable[[], object]]] = []  # each with the process that it is for


def call_in_main_thread(function: Callable[[], object]) -> None:
    """Ask for `function()`, which must not raise, to be called soon in the main thread.

    "Soon" is when the main thread next runs Python code: not while it is blocked in a call. Raises `OSError` where the
    queue of such calls (https://docs.python.org/3/c-api/threads.html, Py_AddPendingCall) is full.
    """
    call = (os.getpid(), function)
    _calls.append(call)
    if ctypes.pythonapi.Py_AddPendingCall(_call_next, None) != 0:
        _calls.remove(call)
        raise OSError("too many pending calls")


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)  # type: ignore[untyped-decorator, unused-ignore]
def _call_next(_: Any) -> int:
    # One callback for all calls: it must not be collected before it has returned.
    pid, function = _calls.pop(0)
    if os.getpid() == pid:  # a fork may have come between, and its child has inherited the queue
        function()
    return 0


def done_in_main_thread(function: Callable[[], object], patience: float) -> bool:
    """Have `function()`, which may import, called in the main thread, and wait for its end.

    A Ctrl-C that comes meanwhile reaches the program afterwards. False, and it is not called, when the main thread does
    not come to it within `patience` seconds.
    """
    taken, ended, later = _thread.allocate_lock(), _thread.allocate_lock(), _thread.allocate_lock()
    ended.acquire()

    def call() -> None:
        if _is_importing(sys._getframe()):
            later.release()
        elif taken.acquire(False):
            try:
                _without_interrupts(function)
            finally:
                ended.release()

    until = time.monotonic() + patience
    while time.monotonic() < until:
        later.acquire()
        call_in_main_thread(call)
        while time.monotonic() < until and later.locked():
            if ended.acquire(timeout=0.02):
                return True
    return not taken.acquire(False) and ended.acquire()


def _is_importing(frame: FrameType | None) -> bool:
    """Whether the thread that runs this frame is at a module's lock, or importing something of the standard library.

    A debugger that imports it, too, finds half of it, or has the import that it interrupted find it half there. And
    who imports at a lock leaves the import that it interrupted with a KeyError, up to 3.11
    (https://github.com/python/cpython/issues/91351).
    """
    library = os.path.dirname(os.__file__)
    while frame is not None:
        # Python's own import is in Python there (3.8 to 3.15)
        if frame.f_code.co_filename != "<frozen importlib._bootstrap>":
            pass
        elif frame.f_code.co_name in LOCKING:
            return True
        elif frame.f_code.co_name == "_find_and_load":
            module = sys.modules.get(frame.f_locals.get("name", ""))
            origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
            if not os.path.isabs(origin) or (origin.startswith(library) and "site-packages" not in origin):
                return True
        frame = frame.f_back
    return False


def _without_interrupts(function: Callable[[], object]) -> None:
    seen: list[int] = []
    handler = _signal.getsignal(_signal.SIGINT)
    python = callable(handler)
    if python:
        # An extension, or what embeds Python (uWSGI), may have set one that Python knows nothing of.
        native = ctypes.create_string_buffer(1024)  # a `struct sigaction` of some 150 bytes
        sigaction = getattr(ctypes.pythonapi, "sigaction", None)
        if sigaction:
            sigaction(_signal.SIGINT, None, native)
        _signal.signal(_signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        function()
    finally:
        if python:
            _signal.signal(_signal.SIGINT, handler)
            if sigaction:
                sigaction(_signal.SIGINT, native, None)
    if seen:
        _signal.raise_signal(_signal.SIGINT)
