"""How many threads are traced: Python 3.8 and 3.9 count them, and run every program more slowly while that is not 0.

`sys.settrace()` counts. pydevd (1.6 to 1.8.21, ptvsd's, pydevd-pycharm's) gives other threads their tracers without it,
and a thread that ends is not taken off the count: after a detach a program was a quarter slower than before.
"""

from __future__ import annotations

import sys
from typing import Any

FIELDS = 300  # integers of the structure that are looked at


def _nothing(*event: object) -> None:
    """A trace function."""


def _is_it(fields: Any, number: int) -> bool:
    before = fields[number]
    sys.settrace(_nothing)
    during = fields[number]
    sys.settrace(None)
    return (during, fields[number]) == (before + 1, before)


def _find() -> Any:
    """The count, if it is where it should be: behind the recursion limit, and one more while this thread is traced.

    Source: Include/internal/pycore_runtime.h of 3.8, pycore_interp.h of 3.9 (`struct _ceval_state`).
    """
    if sys.implementation.name != "cpython" or not (3, 8) <= sys.version_info < (3, 10) or sys.gettrace() is not None:
        return None
    try:
        import ctypes

        if sys.version_info < (3, 9):
            place = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
        else:
            place = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyInterpreterState_Get", ctypes.pythonapi))()
        fields = (ctypes.c_int * FIELDS).from_address(place)
        limit = sys.getrecursionlimit()
        for number in range(1, FIELDS):
            if fields[number - 1] == limit and _is_it(fields, number):
                return ctypes.c_int.from_address(place + number * ctypes.sizeof(ctypes.c_int))
    except Exception:  # no ctypes here, or another build: then it stays as it is
        pass
    return None


_count = _find()
_before = _count.value if _count is not None else 0
_restored = False


def begin() -> None:
    """Tracers are about to be taken away."""
    global _restored
    _restored = False


def restore() -> None:
    """To be called in the main thread, when it has none any more: the count is as it was before the debugger."""
    global _restored
    if _count is not None and sys.gettrace() is None:
        _count.value, _restored = _before, True


def took_off() -> None:
    """The same when another thread has none any more, which has been subtracted."""
    if _restored:
        _count.value = _before
