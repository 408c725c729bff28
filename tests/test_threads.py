"""Threads of our own."""

from __future__ import annotations

import _thread
import time
from typing import Any, Callable

import pytest

from autoattach._threads import start_thread


def test_start_thread_returns_when_the_thread_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the system lets the thread begin: up to 3.12 one that begins after the program's end crashes it."""
    start = _thread.start_new_thread

    def start_late(function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
        def late() -> None:
            time.sleep(0.2)
            function(*arguments)

        return start(late, ())

    monkeypatch.setattr(_thread, "start_new_thread", start_late)
    before = time.monotonic()
    start_thread(time.sleep, 0)
    assert time.monotonic() - before >= 0.2
