"""For the program it is as if we were not there: a run with us against one without."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from support import LIMIT, Program, needs, write

from autoattach.cli._dap import Client

Run = Callable[..., Program]

REPORT = """
    import sys
    def report():
        import atexit, gc, json, os, signal, threading, warnings
        return {
            "argv": sys.argv,
            "path": sys.path,
            "main": [sys.modules["__main__"] is sys.modules[__name__], __name__, globals().get("__file__"), __package__, __doc__],
            "main names": sorted(n for n in vars(sys.modules["__main__"]) if n != "report"),
            "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGSEGV)],
            "wakeup": signal.set_wakeup_fd(-1),
            "filters": [str(f) for f in warnings.filters],
            "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
            "unraisable": sys.unraisablehook is sys.__unraisablehook__,
            "breakpointhook": sys.breakpointhook is sys.__breakpointhook__,
            "streams": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
            "trace": [str(sys.gettrace()), str(sys.getprofile()), str(threading._trace_hook)],
            "threads": threading.active_count(),
            "switch interval": sys.getswitchinterval(),
            "recursion limit": sys.getrecursionlimit(),
            "gc": [gc.isenabled(), gc.get_threshold()],
            "cwd": os.getcwd(),
            "atexit": atexit._ncallbacks(),
            "environ": sorted(n for n in os.environ),
            "dont_write_bytecode": sys.dont_write_bytecode,
            "meta_path": [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path],
            "path_hooks": len(sys.path_hooks),
            "fork": os.fork.__module__ if hasattr(os, "fork") else None,
            "queue": __import__("queue").__file__,
        }
    import json
    print(json.dumps(report()))
"""
# What a debugger that is at work must change, and why.
CHANGED_BY_DEBUGPY = {
    "trace": "it traces (up to Python 3.11), and sees new threads",
    "threads": "its own: reader, writer, commands",
    "atexit": "it says goodbye to the IDE",
    "fork": "it follows children",
    "breakpointhook": "breakpoint() stops in the IDE",
    "environ": "the variables for pydevd, which children need too",
    "switch interval": "",
    "meta_path": "it notices when matplotlib or django is imported",
    "unraisable": "",
    "hooks": "it shows an uncaught exception",
    "streams": "the output appears in the IDE's console too",
}
OURS = {"AUTOATTACH_SESSION", "DEBUGGER_IDE", "DEBUGGER_PORT", "DEBUGGER_WAIT", "START_DEBUGGER"}


def report(program: Program) -> dict[str, Any]:
    assert program.wait() == 0, program.dump()
    assert program.others == ""
    result = json.loads(program.stdout)
    result["environ"] = [name for name in result["environ"] if name not in OURS]
    return result


def ways(folder: Path) -> dict[str, list[str]]:
    app = write(folder, "app.py", REPORT)
    write(folder, "pkg/__init__.py", "")
    write(folder, "pkg/__main__.py", app.read_text())
    return {
        "script": ["app.py", "a", "-b"],
        "-m": ["-m", "pkg", "a"],
        "-c": ["-c", app.read_text(), "a"],
        "path": [str(app)],
    }


@needs("debugpy")
@pytest.mark.parametrize("way", ["script", "-m", "-c", "path"])
@pytest.mark.parametrize("seconds", [0, 0.3])
def test_nobody_there(run: Run, tmp_path: Path, way: str, seconds: float) -> None:
    """Not held, and held without a client: nothing at all differs but our own variables."""
    arguments = ways(tmp_path)[way]
    without = report(run(*arguments, START_DEBUGGER=None))
    assert report(run(*arguments, DEBUGGER_WAIT=seconds)) == without


@needs("debugpy")
@pytest.mark.parametrize("way", ["script", "-m", "-c", "path"])
def test_with_a_client(run: Run, tmp_path: Path, port: int, way: str) -> None:
    """With a client only what the debugger itself must change differs."""
    arguments = ways(tmp_path)[way]
    without = report(run(*arguments, START_DEBUGGER=None))
    program = run(*arguments, DEBUGGER_WAIT=60)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach()
        with_us = report(program)
    assert {name for name in without if without[name] != with_us[name]} <= set(CHANGED_BY_DEBUGPY)


@needs("debugpy")
def test_own_modules_are_not_hidden(run: Run, tmp_path: Path, port: int) -> None:
    """A module beside the script that has a standard library's name is the program's own, also with a client: a debugger
    at start-up imports the standard library's first."""
    for name in ("queue", "selectors", "bisect"):
        write(
            tmp_path,
            f"{name}.py",
            "mine = True\n" if name != "queue" else "mine = True\nclass Queue: pass\nclass Empty(Exception): pass\n",
        )
    write(tmp_path, "app.py", "import bisect\nprint(bisect.__file__)\n")
    for name in ("queue", "selectors"):
        os.unlink(tmp_path / f"{name}.py")
    path = str(tmp_path / "bisect.py")
    assert run("app.py", START_DEBUGGER=None).wait() == 0
    program = run("app.py", DEBUGGER_WAIT=60)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach()
        assert program.wait() == 0
    assert program.stdout.strip() == path


ENDS = {
    "status": ("import sys; sys.exit(3)", 3),
    "uncaught": ("def f(): raise ValueError('no')\nf()", 1),
    "SystemExit text": ("raise SystemExit('bye')", 1),
    "signal": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
    "os._exit": ("import os; os._exit(5)", 5),
    "interrupt": ("import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(9)", -2),
    "syntax error": ("def f(:\n", 1),
    "atexit": ("import atexit; atexit.register(print, 'bye'); print('hi')", 0),
}


@needs("debugpy")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("moment", ["not held", "held", "client"])
def test_ends(run: Run, tmp_path: Path, port: int, end: str, moment: str) -> None:
    """Exit status, death by a signal, output and traceback are the program's own; no frame of ours in the traceback."""
    code, status = ENDS[end]
    write(tmp_path, "app.py", code + "\n")
    without = run("app.py", START_DEBUGGER=None)
    assert without.wait() == status
    program = run("app.py", DEBUGGER_WAIT={"not held": 0, "held": 0.2, "client": 60}[moment])
    if moment == "client":
        with Client.connect("127.0.0.1", port, LIMIT) as client:
            client.attach()
            assert program.wait() == status
    assert program.wait() == status
    assert program.stdout == without.stdout
    assert program.others == without.stderr


@needs("debugpy")
def test_stdin_is_the_programs(run: Run, tmp_path: Path, port: int) -> None:
    """The program reads its standard input, not the adapter."""
    write(tmp_path, "app.py", "import sys\nprint(sys.stdin.read())\n")
    program = run("app.py", stdin="hello", DEBUGGER_WAIT=60)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach()
        assert program.wait() == 0
    assert program.stdout == "hello\n"


@needs("debugpy")
def test_descriptors(run: Run, tmp_path: Path) -> None:
    """A program that closes every descriptor, and opens its own in their place, is not hurt, nor are they."""
    path = write(
        tmp_path,
        "app.py",
        """
        import os, time
        os.closerange(3, 256)
        files = [os.open("data", os.O_CREAT | os.O_RDWR) for _ in range(8)]
        for number in files:
            os.write(number, b"x")
        time.sleep(0.3)
        if hasattr(os, "fork"):
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        for number in files:
            os.fstat(number)
            os.close(number)
        print("fine")
        """,
    )
    assert path.exists()
    program = run("app.py", DEBUGGER_WAIT=0)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "fine\n"
    assert program.others == ""
    assert (tmp_path / "data").read_bytes() == b"x"


@needs("debugpy")
@pytest.mark.skipif(not hasattr(os, "chroot") or os.getuid() != 0, reason="needs root")
def test_another_root(run: Run, tmp_path: Path) -> None:
    """A daemon that forks, and closes every descriptor, in another root, where there is no Python, hears nothing of us."""
    (tmp_path / "root").mkdir()
    text = """
        import os, time
        os.chroot("root")
        os.chdir("/")
        if not os.fork():
            os._exit(0)
        os.wait()
        os.closerange(3, 256)
        time.sleep(0.5)
        print("fine")
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", DEBUGGER_WAIT=0)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "fine\n"
    assert program.others == ""


@needs("debugpy")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
@pytest.mark.parametrize("own", [True, False], ids=["its own warnings", "no warnings"])
def test_a_fork(run: Run, tmp_path: Path, own: bool) -> None:
    """A fork imports nothing into the program, least of all what is beside it, and nothing is said of our thread."""
    if own:
        write(tmp_path, "warnings.py", 'print("not asked for")\n')
    text = """
        import os, sys
        before = set(sys.modules)
        if os.fork():
            os.wait()
        print([name for name in set(sys.modules) - before if "autoattach" not in name], flush=True)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", DEBUGGER_WAIT=0)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "[]\n" * 2
    assert program.others == ""
