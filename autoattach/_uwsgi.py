"""uWSGI forks its workers without telling Python, unless run with --py-call-osafterfork or --py-call-uwsgi-fork-hooks:
it is told here."""

from __future__ import annotations

import os
import sys
import time

from autoattach._process import in_uwsgi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

UNDISTURBED = 1.0  # seconds for which nobody takes Python's lock from a thread that is about to sleep
PATIENCE = 5.0  # seconds that it may take until it sleeps

_afterwards: list[Callable[[], object]] = []
_told: list[int] = []  # the forks that Python knows of


def follow(function: Callable[[], object] | None = None) -> None:
    """In a process of uWSGI's, have each worker do what Python does after a fork, and then call the function.

    It is done in the hook that uWSGI calls in a worker. Its module is there only once it begins to load the program,
    which shows by nothing but that Python code runs: a profile function waits for that, once.
    """
    if not in_uwsgi() or not hasattr(os, "register_at_fork"):
        return
    if function is not None:
        _afterwards.append(function)
    if not _told:
        _told.append(os.getpid())
        os.register_at_fork(after_in_child=lambda: _told.append(os.getpid()))
        if sys.getprofile() is None:
            sys.setprofile(_look)


def _look(*event: object) -> None:
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    sys.setprofile(None)
    before = getattr(uwsgi, "post_fork_hook", None)

    def hook() -> None:
        forked()
        if before is not None:
            before()

    uwsgi.post_fork_hook = hook


def wait_until(sleeps: Callable[[], bool]) -> None:
    """In a process of uWSGI's, wait until a thread of ours, which has just begun, sleeps; `sleeps` says so, maybe a few
    instructions too early.

    uWSGI forks without having Python's lock (2.0.31, without --py-call-uwsgi-fork-hooks). Where another thread has it
    just then, the worker waits for ever to get it: https://github.com/unbit/uwsgi/issues/2387
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(UNDISTURBED)
    try:
        until = time.monotonic() + PATIENCE
        while not sleeps() and time.monotonic() < until:
            time.sleep(0.001)
    finally:
        sys.setswitchinterval(interval)


def forked() -> None:
    """In a worker; and in the first process, where that is the only one."""
    pid = os.getpid()
    if pid == _told[0]:
        return
    if pid not in _told:
        import ctypes

        if sys.version_info >= (3, 13):  # what follows gives back the import lock, which is fatal where it is not held
            __import__("_imp").acquire_lock()
        ctypes.pythonapi.PyOS_AfterFork_Child()
    for function in _afterwards:
        function()
