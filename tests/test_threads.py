"""Threads of our own."""

from __future__ import annotations

import _thread
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable

import pytest
from support import LIMIT, Program, needs, write

from autoattach._pending import _is_importing
from autoattach._threads import start_thread
from autoattach.cli._dap import Client


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


def test_no_debugger_comes_amid_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is called in the main thread while that is at a module's lock: a second import there breaks the first, up
    to Python 3.11. While a module of the program's runs, it may be."""
    write(tmp_path, "fresh_module.py", "inside = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importing: dict[str, set[bool]] = {}

    def look(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            name = f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}"
            importing.setdefault(name, set()).add(_is_importing(frame))

    sys.setprofile(look)
    try:
        __import__("fresh_module")
    finally:
        sys.setprofile(None)
    assert importing["<frozen importlib._bootstrap> acquire"] == {True}
    assert importing["<frozen importlib._bootstrap> release"] == {True}
    assert importing["fresh_module.py <module>"] == {False}


@needs("debugpy")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited otherwise elsewhere")
def test_no_threads_are_left(run: Callable[..., Program], tmp_path: Path, port: int) -> None:
    """Where the system gives no further thread, a client is let go, one line says why, and the program runs on."""
    write(
        tmp_path,
        "app.py",
        """
        import _thread, os, resource, time
        pages = int(open("/proc/self/statm").read().split()[0])
        size = pages * resource.getpagesize() + (32 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        _thread.stack_size(64 << 20)
        print("started", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.02)
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        print("end")
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("started", "stdout")
    with pytest.raises(ConnectionError), Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach()
    program.wait_for("running on without a debugger")
    write(tmp_path, "go", "")
    assert program.wait() == 0, program.dump()
    assert program.stdout == "started\nend\n"
    assert len(program.ours) == 2
    assert program.others == ""
