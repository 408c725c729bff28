"""START_DEBUGGER=WORD: attached when it matters, and until then a program like any other."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from launchers.ides import IDES, Ide, Stop
from support import DEBUGGERS, LIMIT, Program, free_port, line_of, listeners, needs, wait_until, write

from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server

Run = Callable[..., Program]
Play = Callable[..., Any]

EACH = pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in DEBUGGERS])
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
signals = pytest.mark.skipif(os.name == "nt", reason="there are no such signals here")

FAILS = """
    import sys

    def inner(n):
        secret = n * 2
        raise ValueError("bad", secret)  # raised

    def main():
        inner(21)

    print("began", flush=True)
    main()
"""
# What is needed to wait for the IDE without holding
UNTIL = """
    import os, signal, sys, time
    import autoattach

    def work(n):
        n = n + 1
        return n  # breakpoint

    def until_attached():
        end = time.monotonic() + 60
        while not autoattach.is_client_connected() and time.monotonic() < end:
            time.sleep(0.01)
        return autoattach.is_client_connected()

"""


@pytest.fixture
def ide(port: int) -> Iterator[Play]:
    """An IDE that attaches as soon as it can."""
    ides = []

    def attach(debugger: str = "debugpy", *paths: Path) -> Ide:
        ides.append(IDES[debugger](port, {str(path): [line_of(path, "# breakpoint")] for path in paths}))
        ides[-1].attach()
        return ides[-1]

    yield attach
    for one in ides:
        one.__exit__()


def stop_of(ide: Ide, program: Program) -> Stop:
    """The next stop."""
    try:
        return ide.stops.get(timeout=LIMIT)
    except queue.Empty:
        raise AssertionError(f"no stop\n{program.dump()}\n{ide.dump()}") from None


def bare(tmp_path: Path, *arguments: object) -> tuple[int, str, str]:
    """What a program does without us."""
    with Program(tmp_path, *arguments) as program:
        return program.wait(), program.stdout, program.stderr


@pytest.mark.parametrize("word", ["exception", "breakpoint", "request", "exception,breakpoint,request"])
@needs("debugpy")
def test_until_then(run: Run, tmp_path: Path, port: int, word: str) -> None:
    """Until its moment nothing is said, listened on, loaded, or changed in what a program looks at."""
    text = """
        import os, sys
        print(sys.excepthook is sys.__excepthook__, sorted(name for name in sys.modules if name in (
            "threading", "socket", "re", "typing", "signal", "pydevd", "debugpy", "asyncio", "flask", "enum")))
        import threading, asyncio, signal, multiprocessing.process
        print(threading.excepthook.__module__, signal.getsignal(signal.SIGINT))
        print([type(one).__name__ for one in sys.meta_path if "autoattach" in type(one).__module__] == %r)
    """
    write(tmp_path, "app.py", text % ([] if word == "breakpoint" else ["Finder"]))
    expected = bare(tmp_path, "app.py")
    program = run("app.py", START_DEBUGGER=word)
    assert program.wait() == 0, program.dump()
    assert (program.stdout.replace("False\n", "True\n"), program.stderr) == (
        expected[1].replace("False\n", "True\n"),
        "",
    )
    assert "True\n" in program.stdout.splitlines(True)[-1]


@EACH
def test_an_exception_that_ends_the_program(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """The IDE shows the frame that raised it, with its locals; then the program ends as it would have: its traceback
    is the same, byte for byte, and so is its status."""
    write(tmp_path, "app.py", FAILS)
    expected = bare(tmp_path, "app.py")
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    stop = stop_of(ide(debugger), program)
    assert stop.place == f"app.py:{line_of(tmp_path / 'app.py', '# raised')}"
    assert stop.locals["secret"] == "42"
    assert stop.pid == program.pid
    assert program.others == expected[2]
    stop.go_on()
    assert (program.wait(), program.stdout, program.others) == expected
    assert program.ours[0] == f"uncaught ValueError at {stop.place}: attach to see it where it was raised"


@needs("debugpy")
def test_the_ide_is_told_of_an_exception(run: Run, ide: Play, tmp_path: Path) -> None:
    """VS Code is told that it is an exception, and which."""
    write(tmp_path, "app.py", FAILS)
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_WAIT=LIMIT)
    vscode = ide()
    stop = stop_of(vscode, program)
    event = vscode.sessions[0].events("stopped")[0]
    assert event["reason"] == "exception"
    assert event["text"].startswith("ValueError")
    assert event["description"] == "('bad', 42)"
    stop.go_on()
    assert program.wait() == 1


@EACH
@pytest.mark.parametrize("kind", ["thread", "asyncio", "uvloop"])
def test_an_exception_that_does_not_end_it(run: Run, ide: Play, tmp_path: Path, kind: str, debugger: str) -> None:
    """So it is in another thread, and for what asyncio reports of a task that nobody waits for. The program's own hooks
    are called, at once, whenever they were set; it runs on."""
    texts = {
        "thread": """
            import sys, threading
            threading.excepthook = lambda args: print("hook", args.exc_type.__name__, file=sys.stderr, flush=True)
            def fail(n):
                n += 1
                raise KeyError(n)  # raised
            thread = threading.Thread(target=fail, args=(6,))
            thread.start()
            thread.join()
            print("end", flush=True)
        """,
        "asyncio": """
            import asyncio, gc, sys
            async def fail(n):
                n += 1
                raise KeyError(n)  # raised
            async def main():
                hook = lambda loop, context: print("hook KeyError", file=sys.stderr, flush=True)
                asyncio.get_running_loop().set_exception_handler(hook)
                task = asyncio.ensure_future(fail(6))
                await asyncio.sleep(0.01)
                del task
                gc.collect()
                print("end", flush=True)
            asyncio.run(main())
        """,
    }
    if kind == "uvloop":
        pytest.importorskip("uvloop")
        texts[kind] = (
            texts["asyncio"].replace("asyncio.run(", "uvloop.run(").replace("import asyncio", "import uvloop, asyncio")
        )
    path = write(tmp_path, "app.py", texts[kind])
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    program.wait_for("uncaught KeyError")
    assert program.others == "hook KeyError\n"
    stop = stop_of(ide(debugger), program)
    assert stop.place == f"app.py:{line_of(path, '# raised')}"
    assert stop.locals["n"] == "7"
    assert program.stdout == ""
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "end\n"


@pytest.mark.parametrize(
    ("debugger", "method"),
    [
        pytest.param("debugpy", "spawn", marks=needs("debugpy")),
        *(pytest.param(name, "fork", marks=[forks, needs(name)]) for name in DEBUGGERS),
    ],
)
def test_an_exception_in_a_process(run: Run, ide: Play, tmp_path: Path, debugger: str, method: str) -> None:
    """So it is in a process of multiprocessing's, once that has reported it; then the process ends as it would have."""
    text = f"""
        import multiprocessing
        def fail(n):
            n += 1
            raise KeyError(n)  # raised
        if __name__ == "__main__":
            process = multiprocessing.get_context("{method}").Process(target=fail, args=(6,), name="P")
            process.start()
            process.join()
            print(process.exitcode)
    """
    path = write(tmp_path, "app.py", text)
    expected = bare(tmp_path, "app.py")
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    program.wait_for("uncaught KeyError at app.py")
    assert program.others == expected[2]
    stop = stop_of(ide(debugger), program)
    assert stop.place == f"app.py:{line_of(path, '# raised')}"
    assert stop.locals["n"] == "7"
    stop.go_on()
    assert (program.wait(), program.stdout, program.others) == expected


@needs("debugpy")
@pytest.mark.parametrize("threading", ["", "import threading"])
def test_the_programs_own_hook(run: Run, tmp_path: Path, threading: str) -> None:
    """sys.excepthook is the program's: it is called before the hold, so that whoever it tells is told at once."""
    text = f"""
        import sys
        {threading}
        sys.excepthook = lambda *exception: print("hook", exception[1], file=sys.stderr, flush=True)
        raise OSError("disk")
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_WAIT=0.3)
    assert program.wait() == 1
    assert program.others == "hook disk\n"
    assert program.stderr.startswith("hook disk\n")
    assert [line.split(" ")[0] for line in program.ours] == ["uncaught", "waiting", "nobody"]


@needs("debugpy")
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("raise SystemExit(3)", 3),
        ("import threading; t = threading.Thread(target=lambda: exit(1)); t.start(); t.join()", 0),
        ("import signal; signal.signal(2, signal.SIG_DFL) and 0; raise KeyboardInterrupt", -2),
        # What pytest does with a test that fails
        (
            "import sys\ndef f():\n try: 1/0\n except Exception as e: sys.last_value = sys.last_exc = e\n"
            "f()\ndef g():\n try: f()\n finally: pass\ng()\nsys.exit(4)",
            4,
        ),
    ],
)
def test_what_is_no_failure(run: Run, tmp_path: Path, text: str, status: int) -> None:
    """SystemExit, KeyboardInterrupt and what somebody has caught do not hold the program."""
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="exception")
    assert program.wait() in (status, status % 256, 1 if status == -2 else status), program.dump()
    assert program.ours == []


@needs("debugpy")
def test_the_hold_for_an_exception(run: Run, tmp_path: Path, port: int) -> None:
    """It is an hour, unless DEBUGGER_WAIT says otherwise; Ctrl-C ends it, and the program ends as it would have."""
    write(tmp_path, "app.py", FAILS)
    program = run("app.py", START_DEBUGGER="exception")
    program.wait_for("waiting up to 3600 s for VS Code")
    assert listeners(port)
    if os.name != "nt":
        program.send(2)
        assert program.wait() == 1, program.dump()
        assert "KeyboardInterrupt" not in program.stderr
        assert program.others == bare(tmp_path, "app.py")[2]


@needs("debugpy")
def test_an_ide_that_leaves_at_an_exception(run: Run, ide: Play, tmp_path: Path) -> None:
    """When the IDE disconnects, or vanishes, the program ends as it would have."""
    write(tmp_path, "app.py", FAILS)
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_WAIT=LIMIT)
    vscode = ide()
    stop_of(vscode, program)
    vscode.hang_up()
    assert program.wait() == 1, program.dump()
    assert program.others == bare(tmp_path, "app.py")[2]


@EACH
def test_exceptions_at_once(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """What else fails while the process is held is shown as well, one after the other."""
    text = """
        import threading
        together = threading.Barrier(2)
        def fail(n):
            together.wait()
            raise KeyError(n)  # raised
        threads = [threading.Thread(target=fail, args=(n,)) for n in (1, 2)]
        for thread in threads:
            thread.start()
    """
    path = write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    wait_until(lambda: program.others.count("KeyError: ") == 2, "both reports", program=program)
    there = ide(debugger)
    seen = []
    for _ in range(2):
        stop = stop_of(there, program)
        assert stop.place == f"app.py:{line_of(path, '# raised')}"
        assert there.stops.empty()
        seen.append(stop.locals["n"])
        stop.go_on()
    assert sorted(seen) == ["1", "2"]
    assert program.wait() == 0, program.dump()


@needs("debugpy")
def test_an_exception_that_was_never_raised(run: Run, tmp_path: Path) -> None:
    """What is reported to asyncio and was never raised has no place to show: it does not hold the program."""
    text = """
        import asyncio
        async def main():
            context = {"message": "lost", "exception": ValueError("never raised")}
            asyncio.get_running_loop().call_exception_handler(context)
            print("end")
        asyncio.run(main())
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="exception")
    assert (program.wait(), program.stdout, program.stderr) == bare(tmp_path, "app.py")


@forks
@needs("debugpy")
def test_a_fork_of_a_held_process(run: Run, tmp_path: Path) -> None:
    """A fork that is made while another thread is held has its own moment."""
    text = """
        import os, threading, time
        threading.Thread(target=lambda: [][0]).start()
        while not os.path.exists("go"):
            time.sleep(0.01)
        if not os.fork():
            raise KeyError("child")
        time.sleep(100)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting up to")
    (tmp_path / "go").touch()
    program.wait_for("uncaught KeyError")


@needs("debugpy")
@pytest.mark.parametrize("where", ["a cycle", "__main__"])
def test_an_exception_that_the_interpreters_end_finds(run: Run, tmp_path: Path, where: str) -> None:
    """A failed task that is only collected as the interpreter ends holds nothing: no debugger could come any more."""
    text = """
        import asyncio, sys
        async def fail():
            raise KeyError(6)
        class Owner:
            pass
        async def main():
            global task
            owner = Owner()
            owner.itself = owner
            owner.task = asyncio.ensure_future(fail())
            if sys.argv[1] == "__main__":
                task = owner.task
            await asyncio.sleep(0.01)
        import gc
        gc.disable()
        asyncio.run(main())
    """
    write(tmp_path, "app.py", text)
    expected = bare(tmp_path, "app.py", where)
    program = run("app.py", where, START_DEBUGGER="exception", DEBUGGER_WAIT=1)
    assert program.wait() == expected[0], program.dump()
    assert (program.stdout, program.ours) == ("", [])
    assert program.others.count("KeyError: 6") == expected[2].count("KeyError: 6")
    assert "Exception ignored" not in program.others.replace(expected[2], "")


@signals
@needs("debugpy")
@pytest.mark.parametrize("where", ["thread", "asyncio", "loop", "one", "handler"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_ends_the_hold_for_an_exception(run: Run, tmp_path: Path, where: str, number: int) -> None:
    """Also where another thread is held, below asyncio, and where the program has handlers of its own, which are
    called: they may only set a flag."""
    texts = {
        "thread": """
            import threading
            thread = threading.Thread(target=lambda: [][0])
            thread.start()
            thread.join()
        """,
        "asyncio": """
            import asyncio, signal
            async def main():
                loop, ended = asyncio.get_running_loop(), asyncio.Event()
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, ended.set)
                loop.call_soon(lambda: [][0])
                await ended.wait()
            asyncio.run(main())
        """,
        "loop": """
            import asyncio
            loop = asyncio.new_event_loop()
            loop.call_soon(lambda: [][0])
            loop.run_forever()
        """,
        "one": f"""
            import asyncio, signal
            loop = asyncio.new_event_loop()
            loop.add_signal_handler({int(number)}, loop.stop)
            loop.call_soon(lambda: [][0])
            loop.run_forever()
        """,
        "handler": """
            import signal
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, frame: print("handled", number, flush=True))
            [][0]
        """,
    }
    status = {"thread": -number, "asyncio": 0, "loop": -number, "one": 0, "handler": 1}[where]
    write(tmp_path, "app.py", texts[where])
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting up to")
    program.send(number)
    assert program.wait(LIMIT / 2) == status, program.dump()
    assert program.stdout == (f"handled {int(number)}\n" if where == "handler" else "")


@EACH
def test_breakpoint(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """The first breakpoint() attaches, and the IDE stands at it, or at the next line; so it does at each later one."""
    text = """
        def f(n):
            breakpoint()
            n += 1
            return n

        print([f(n) for n in range(3)], flush=True)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="breakpoint", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    running = ide(debugger)
    for turn in range(3):
        stop = stop_of(running, program)
        assert stop.place in ("app.py:2", "app.py:3")
        assert stop.locals["n"] == str(turn)
        stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "[1, 2, 3]\n"


@needs("debugpy")
def test_breakpoints_at_once(run: Run, tmp_path: Path) -> None:
    """The breakpoint() of another thread meanwhile waits for the IDE as well: it is not passed by."""
    text = """
        import sys, threading
        together = threading.Barrier(2)
        def f():
            together.wait()
            breakpoint()
            print("passed", file=sys.stderr)
        threads = [threading.Thread(target=f) for n in (1, 2)]
        for thread in threads:
            thread.start()
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="breakpoint", DEBUGGER_WAIT=1)
    assert program.wait() == 0, program.dump()
    assert program.others == "passed\n" * 2
    assert program.stderr.index("nobody attached in 1 s") < program.stderr.index("passed")


@needs("debugpy")
def test_breakpoint_and_nobody_there(run: Run, tmp_path: Path, port: int) -> None:
    """breakpoint() holds the program once, as DEBUGGER_WAIT says; PYTHONBREAKPOINT=0 switches it off."""
    write(tmp_path, "app.py", "for n in range(3):\n    breakpoint()\nprint('end')\n")
    program = run("app.py", START_DEBUGGER="breakpoint", DEBUGGER_WAIT=0.3)
    assert program.wait() == 0
    assert program.stdout == "end\n"
    assert [line.split(" ")[0] for line in program.ours] == ["waiting", "nobody"]
    program = run("app.py", START_DEBUGGER="breakpoint", PYTHONBREAKPOINT=0)
    assert program.wait() == 0
    assert (program.stdout, program.stderr) == ("end\n", "")


@signals
@EACH
@pytest.mark.parametrize("word", ["signal", "signal:USR2"])
def test_a_signal(run: Run, ide: Play, tmp_path: Path, debugger: str, word: str) -> None:
    """The program runs on when the signal comes, which does not end it, and an IDE attaches; breakpoints are hit."""
    path = write(
        tmp_path, "app.py", UNTIL + '    print("began", flush=True)\n    print(until_attached(), work(1), flush=True)\n'
    )
    program = run("app.py", START_DEBUGGER=word, DEBUGGER_IDE=debugger)
    program.wait_for("began", "stdout")
    assert program.stderr == ""
    running = ide(debugger, path)
    program.send(signal.SIGUSR2 if "2" in word else signal.SIGUSR1)
    stop = stop_of(running, program)
    assert stop.locals["n"] == "2"
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "began\nTrue 2\n"


@signals
@needs("debugpy")
@pytest.mark.parametrize("module", ["_threads", "_notices", "_loading"])
def test_a_signal_amid_an_import_of_ours(run: Run, ide: Play, tmp_path: Path, module: str) -> None:
    """Whichever module of ours is just being imported when the signal comes, the program meets no error."""
    amid = f"""
    def profile(frame, event, argument):
        if event == "call" and os.path.join("autoattach", "{module}.py") in frame.f_code.co_filename:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGUSR1)
    sys.setprofile(profile)
    import autoattach.{module}
    sys.setprofile(None)
    if "{module}" == "_threads":  # which is there since the start
        os.kill(os.getpid(), signal.SIGUSR1)
    print(until_attached(), work(1), flush=True)
"""
    path = write(tmp_path, "app.py", UNTIL + amid)
    running = ide("debugpy", path)
    program = run("app.py", START_DEBUGGER="signal")
    stop_of(running, program).go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True 2\n"
    assert not program.others


# What finds them is the last of its list, so that whoever passes over one does not find them.
IMPORTS = """
    import importlib.machinery
    class Slow:
        def find_spec(self, name, path=None, target=None):
            time.sleep(0.0002)
    class Last:
        def find_spec(self, name, path=None, target=None):
            return importlib.machinery.ModuleSpec(name, self) if name.startswith("later") else None
        def create_module(self, spec):
            return None
        def exec_module(self, module):
            pass
    def import_on_and_on():
        number = 0
        while not autoattach.is_client_connected():
            number += 1
            __import__(f"later{number}")
        print(True, work(1), flush=True)
"""

GOES_ON = {
    "a C extension that keeps the GIL": """
    import ctypes
    ctypes.PyDLL(None).sleep(3)
    print(until_attached(), work(1), flush=True)
""",
    "an event loop": """
    import asyncio
    async def main():
        while not autoattach.is_client_connected():
            await asyncio.sleep(0.01)
        return work(1)
    print(True, asyncio.run(main()), flush=True)
""",
    "dataclasses": """
    import dataclasses
    def make():
        @dataclasses.dataclass
        class Point:
            x: int
    while not autoattach.is_client_connected():
        make()
    print(True, work(1), flush=True)
""",
    "imports, by finders": IMPORTS
    + """
    sys.meta_path += [Slow(), Last()]
    import_on_and_on()
""",
    "imports, by folders": IMPORTS
    + """
    sys.path += ["slow", "last"]
    sys.path_importer_cache.update(slow=Slow(), last=Last())
    import_on_and_on()
""",
    "a handler that Python does not know": """
    import ctypes
    handler = ctypes.pythonapi.PyOS_getsig
    handler.restype = ctypes.c_void_p
    ctypes.CDLL(None).signal(signal.SIGINT, ctypes.CDLL(None)._exit)
    before = handler(signal.SIGINT)
    print(until_attached() and handler(signal.SIGINT) == before, work(1), flush=True)
""",
    "a thread": """
    import threading
    thread = threading.Thread(target=lambda: print(until_attached(), work(1), flush=True))
    thread.start()
    thread.join()
""",
    "forks": """
    while not autoattach.is_client_connected():
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    print(True, work(1), flush=True)
""",
    "job control": """
    print(until_attached(), work(1), flush=True)
""",
}


def test_what_the_program_does_to_its_path_stays(run: Run, tmp_path: Path) -> None:
    """As a debugger is being loaded, a folder that another thread adds is kept; the debugger's is seen by none but it."""
    write(
        tmp_path,
        "app.py",
        """
        import sys, threading
        from autoattach._modules import StandardFirst
        def other():
            seen.extend(sys.path)
            sys.path.insert(0, "the program's")
        seen, path, before = [], sys.path, list(sys.path)
        with StandardFirst():
            sys.path.insert(0, "the debugger's")
            assert next(iter(sys.path)) == "the debugger's"
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            sys.path.remove("the debugger's")
        assert seen == before
        assert sys.path is path and path == ["the program's", *before]
        """,
    )
    program = run("app.py", START_DEBUGGER=None)
    assert program.wait() == 0, program.dump()


@EACH
def test_imports_on_and_on(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """A debugger that is to be loaded in the main thread is loaded beside it, where that is never out of an import."""
    if debugger == "ptvsd":
        pytest.skip("it goes through sys.modules, and gives up where that grows meanwhile: one line")
    path = write(
        tmp_path,
        "app.py",
        UNTIL
        + IMPORTS.replace("print(True, work(1), flush=True)", "while not os.path.exists('stop'): work(1)")
        + """
    print("began", flush=True)
    sys.path += ["slow", "last"]
    sys.path_importer_cache.update(slow=Slow(), last=Last())
    import_on_and_on()
""",
    )
    program = run("app.py", DEBUGGER_WAIT=0, DEBUGGER_IDE=debugger)
    program.wait_for("began", "stdout")
    running = ide(debugger, path)
    stop = stop_of(running, program)
    write(tmp_path, "stop", "")
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert (program.stdout, program.others) == ("began\n", "")


@signals
@EACH
@pytest.mark.parametrize("word", ["1", "signal"])
@pytest.mark.parametrize("way", GOES_ON)
def test_whatever_goes_on(run: Run, ide: Play, tmp_path: Path, port: int, way: str, word: str, debugger: str) -> None:
    """Whatever a program does when the IDE comes, or the signal: it attaches, breakpoints are hit, and nothing of the
    program is lost."""
    if debugger != "debugpy" and way.startswith("imports"):
        pytest.skip("to be loaded in the main thread it waits for the end of an import")
    if (debugger, way) == ("ptvsd", "a thread") and sys.version_info < (3, 12):
        pytest.skip("ptvsd has no way into a thread that runs already: see the README")
    path = write(tmp_path, "app.py", UNTIL + '    print("began", flush=True)' + GOES_ON[way])
    program = run("app.py", START_DEBUGGER=word, DEBUGGER_WAIT=0, DEBUGGER_IDE=debugger)
    program.wait_for("began", "stdout")
    if way == "job control":
        program.send(signal.SIGSTOP)
    if word == "signal":
        program.send(signal.SIGUSR1)
    elif debugger != "pydevd-pycharm":
        wait_until(lambda: listeners(port), "door")
    running = ide(debugger, path)
    if way == "job control":
        program.send(signal.SIGCONT)
    stop = stop_of(running, program)
    assert stop.locals["n"] == "2"
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "began\nTrue 2\n"


@signals
@needs("debugpy")
@pytest.mark.parametrize("word", ["1", "signal"])
def test_gevent(run: Run, ide: Play, tmp_path: Path, port: int, word: str) -> None:
    """A program that gevent has changed can be attached to while it is held. Later one line says that it cannot, and it
    runs to its end."""
    pytest.importorskip("gevent")
    text = """
        from gevent import monkey
        monkey.patch_all()
        import gevent, os
        def work(n):
            return n * 2  # breakpoint
        def greenlet():
            while HELD < 0 and not os.path.exists("end"):
                gevent.sleep(0.01)
            print(work(21))
        print("began", flush=True)
        gevent.spawn(greenlet).join()
    """
    if word == "1":
        held = write(tmp_path, "held.py", text.replace("HELD", "1"))
        program = run("held.py", DEBUGGER_WAIT=60)
        stop = stop_of(ide("debugpy", held), program)
        assert stop.locals["n"] == "21"
        stop.go_on()
        assert program.wait() == 0, program.dump()
        wait_until(lambda: not listeners(port), "end of the adapter")
    write(tmp_path, "app.py", text.replace("HELD", "-1"))
    program = run("app.py", START_DEBUGGER=word, DEBUGGER_WAIT=0)
    program.wait_for("began", "stdout")
    if word == "signal":
        program.send(signal.SIGUSR1)
    else:
        client = Client.connect("127.0.0.1", port, LIMIT)
        client.send("initialize", {"adapterID": "test"})
    program.wait_for("no debugger can be loaded into it as it runs; set DEBUGGER_WAIT=60")
    write(tmp_path, "end", "")
    assert program.wait() == 0, program.dump()
    assert (program.stdout, program.others) == ("began\n42\n", "")
    if word != "signal":
        client.close()


@signals
@needs("debugpy")
@pytest.mark.parametrize("way", ["exception", "thread", "breakpoint", "call"])
def test_gevent_at_a_moment(run: Run, tmp_path: Path, way: str) -> None:
    """So it does at an exception, at breakpoint() and where the program asks for a debugger, and is not held."""
    pytest.importorskip("gevent")
    text = """
        from gevent import monkey
        monkey.patch_all()
        import sys, threading
        def fail():
            raise ValueError
        if sys.argv[1] == "exception":
            fail()
        elif sys.argv[1] == "thread":
            threading.excepthook = lambda failure: print(failure.exc_type, file=sys.stderr)
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
        elif sys.argv[1] == "breakpoint":
            breakpoint()
        elif "START_DEBUGGER" in __import__("os").environ:
            import autoattach
            try:
                autoattach.attach()
            except autoattach.DebuggerError as error:
                print("autoattach[]:", error, file=sys.stderr)
        print("end")
    """
    write(tmp_path, "app.py", text)
    with Program(tmp_path, "app.py", way, PYTHONBREAKPOINT=0) as alone:
        expected = alone.wait(), alone.stdout, alone.stderr
    word = {"thread": "exception", "call": "breakpoint"}.get(way, way)
    program = run("app.py", way, START_DEBUGGER=word)
    assert (program.wait(LIMIT / 2), program.stdout, program.others) == expected, program.dump()
    assert "gevent has changed the threads of this program" in program.ours[-1]


@signals
@needs("debugpy")
@pytest.mark.parametrize("before", [True, False])
def test_the_programs_own_handler(run: Run, ide: Play, tmp_path: Path, before: bool) -> None:
    """A handler that the program sets for the signal is called, and is what the program is told that there is; asyncio's
    are as well, and so is one that is set when an IDE is there."""
    text = """
    import asyncio
    import signal as module

    seen = []
    print(signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, end=" ")
    def handle(number, frame):
        seen.append(number)
    print(signal.signal(signal.SIGUSR1, handle) == signal.SIG_DFL, signal.getsignal(signal.SIGUSR1) is handle, end=" ")
    os.kill(os.getpid(), signal.SIGUSR1)
    print(until_attached(), len(seen), end=" ")
    async def main():
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(came.wait(), 30)
        return loop.remove_signal_handler(signal.SIGUSR1)
    print(asyncio.run(main()), len(seen), signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, end=" ")
    print(signal.signal(signal.SIGUSR1, signal.SIG_IGN) == signal.SIG_DFL, end=" ")
    os.kill(os.getpid(), signal.SIGUSR1)
    for bad in (None, "x"):
        try:
            signal.signal(signal.SIGUSR1, bad)
        except TypeError:
            print("bad", end=" ")
    print(signal.signal(signal.SIGUSR2, handle) == signal.SIG_DFL, signal.getsignal(signal.SIGUSR2) is handle)
    """
    path = write(tmp_path, "app.py", UNTIL + text.replace("\n    ", "\n    "))
    python = ["-c", "import signal, runpy; runpy.run_path('app.py', run_name='__main__')"] if before else ["app.py"]
    program = run(*python, START_DEBUGGER="signal")
    ide("debugpy", path)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True True True True 1 True 1 True True bad bad True True\n"


@signals
@forks
@needs("debugpy")
def test_a_fork_is_armed(run: Run, ide: Play, tmp_path: Path, port: int) -> None:
    """A fork, and a child, have their moment by themselves; with DEBUGGER_SUBPROCESS=0 they have none."""
    text = """
    pid = os.fork()
    if not pid:
        os.kill(os.getpid(), signal.SIGUSR1)
        if sys.argv[1:] != ["alone"]:
            print("fork", until_attached(), work(1), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print("parent", autoattach.is_attached(), os.environ.get("START_DEBUGGER"), flush=True)
    """
    path = write(tmp_path, "app.py", UNTIL + text)
    program = run("app.py", START_DEBUGGER="signal")
    stop = stop_of(ide("debugpy", path), program)
    assert stop.pid != program.pid
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "fork True 2\nparent False signal\n"
    program = run("app.py", "alone", START_DEBUGGER="signal", DEBUGGER_SUBPROCESS=0)
    assert program.wait() == 0, program.dump()
    assert (program.stdout, program.stderr) == ("parent False None\n", "")


@EACH
def test_a_child_is_armed(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """A child has its moment by itself, whatever stands between."""
    write(tmp_path, "job.py", FAILS)
    text = """
        import subprocess, sys
        print(subprocess.run([sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))",
                              sys.executable, "job.py"]).returncode, flush=True)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="exception", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    program.wait_for("uncaught ValueError at job.py")
    stop = stop_of(ide(debugger), program)
    assert stop.place == f"job.py:{line_of(tmp_path / 'job.py', '# raised')}"
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "began\n1\n"


@forks
@EACH
def test_a_prefork_servers_worker_is_armed(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """The master has armed, and its worker, a fork, has the moment."""
    pytest.importorskip("gunicorn")
    text = """
        def application(environ, start_response):
            secret = 42
            breakpoint()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(secret).encode()]
    """
    write(tmp_path, "app.py", text)
    http = free_port()
    command = ["-m", "gunicorn", "app", "-b", f"127.0.0.1:{http}", "--workers", 2, "--timeout", 0]
    program = run(*command, START_DEBUGGER="breakpoint", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    wait_until(lambda: listeners(http), "server", program=program)
    with socket.create_connection(("127.0.0.1", http), LIMIT) as browser:
        browser.sendall(b"GET / HTTP/1.0\r\n\r\n")
        stop = stop_of(ide(debugger), program)
        assert stop.locals["secret"] == "42"
        assert stop.pid != program.pid
        stop.go_on()
        answer = b""
        while not answer.endswith(b"42"):
            part = browser.recv(4096)
            assert part, program.dump()
            answer += part
    program.send(signal.SIGTERM)
    assert program.wait() == 0, program.dump()


@signals
@forks
@needs("debugpy")
def test_a_fork_of_multiprocessings_server_is_armed(run: Run, tmp_path: Path) -> None:
    """The command line that it has is its server's, which is never attached to."""
    text = """
        import multiprocessing, os, signal
        def work():
            os.kill(os.getpid(), signal.SIGUSR1)
            while not os.path.exists("stop"):
                pass
        if __name__ == "__main__":
            process = multiprocessing.get_context("forkserver").Process(target=work)
            process.start()
            process.join()
            print("exit", process.exitcode)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER="signal")
    program.wait_for("VS Code can attach at")
    (tmp_path / "stop").touch()
    assert (program.wait(), program.stdout) == (0, "exit 0\n"), program.dump()


@signals
@needs("debugpy")
def test_words_combine(run: Run, ide: Play, tmp_path: Path) -> None:
    """Several words are several moments; the session that the first has opened is there for the next."""
    text = """
    os.kill(os.getpid(), signal.SIGUSR1)
    while not autoattach.is_attached():
        time.sleep(0.01)
    breakpoint()
    print("went on", flush=True)
    1 / 0
    """
    write(tmp_path, "app.py", UNTIL + text)
    program = run("app.py", START_DEBUGGER="exception,signal,breakpoint", DEBUGGER_WAIT=LIMIT)
    program.wait_for("breakpoint() waits up to")
    vscode = ide()
    stop_of(vscode, program).go_on()
    assert program.wait() == 1, program.dump()


@needs("pydevd-pycharm")
def test_pycharm_comes_later(run: Run, ide: Play, tmp_path: Path, port: int) -> None:
    """With DEBUGGER_WAIT=0 a PyCharm whose debug server starts later has the program, which has run meanwhile."""
    text = '    print("began", flush=True)\n    print(until_attached(), work(1), flush=True)\n'
    path = write(tmp_path, "app.py", UNTIL + text)
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    program.wait_for("running on without a debugger, and trying again in the background")
    program.wait_for("began", "stdout")
    pycharm = ide("pydevd-pycharm", path)
    stop = stop_of(pycharm, program)
    assert stop.locals["n"] == "2"
    stop.go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "began\nTrue 2\n"
    assert len(pycharm.sessions) == 1
    assert program.ours[-1].startswith("PyCharm's debug server has come at ")


@needs("pydevd-pycharm")
def test_pycharm_comes_after_the_hold(run: Run, ide: Play, tmp_path: Path, port: int) -> None:
    """So it does when the hold has run out."""
    path = write(tmp_path, "app.py", UNTIL + "    print(until_attached(), work(1), flush=True)\n")
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0.3)
    program.wait_for("gave up after 0.3 s")
    stop_of(ide("pydevd-pycharm", path), program).go_on()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True 2\n"


@needs("pydevd-pycharm")
def test_pycharm_is_called_ever_more_slowly(run: Run, tmp_path: Path, port: int) -> None:
    """Each pause is twice the one before: who answers the first calls with nothing but the end meets few of them."""
    write(tmp_path, "app.py", UNTIL + "    until_attached()\n")
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    program.wait_for("trying again in the background")
    calls = []
    with socket.create_server(("127.0.0.1", port)) as server:
        for _ in range(4):
            server.settimeout(LIMIT)
            server.accept()[0].close()
            calls.append(time.monotonic())
    pauses = [after - before for before, after in zip(calls, calls[1:])]
    assert 1.5 * pauses[0] < pauses[2], pauses  # 2 and 8 s; how long a busy machine takes in between is another thing
    assert 1.2 * pauses[1] < pauses[2], pauses


@needs("pydevd-pycharm")
def test_pycharm_never_meets_a_dead_session(run: Run, tmp_path: Path, port: int) -> None:
    """A PyCharm that serves somebody else has one connection in its queue, which is answered when its turn comes."""
    path = write(tmp_path, "app.py", UNTIL + "    print(until_attached(), work(1), flush=True)\n")
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    program.wait_for("trying again in the background")
    with Server(port=port) as server, socket.create_connection(("127.0.0.1", port)) as somebody:
        server.accept(LIMIT)  # greets who came first, and serves it
        wait_until(lambda: connections(port) == 4, "connection in the queue", program=program)
        time.sleep(3)  # two more attempts, if it made them
        assert connections(port) == 4
        somebody.close()
        session = server.accept(LIMIT)
        session.start({str(path): [line_of(path, "# breakpoint")]})
        assert session.wait_stopped(LIMIT).line == line_of(path, "# breakpoint")
        session.resume()
        assert program.wait() == 0, program.dump()
        with pytest.raises(TimeoutError):
            server.accept(0.5)


@needs("pydevd-pycharm")
def test_a_program_that_closes_what_is_not_its_own(run: Run, tmp_path: Path, port: int) -> None:
    """While a call stands in PyCharm's queue, the program may close all numbers, and use them for files of its own."""
    text = """
        import os, time
        print("up", flush=True)
        while not os.path.exists("close"):
            time.sleep(0.01)
        os.closerange(3, 60)
        files = [open(f"own{n}", "w") for n in range(20)]
        time.sleep(1)
        if hasattr(os, "fork"):
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        for file in files:
            file.write("kept")
            file.close()
        print("end", flush=True)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    program.wait_for("trying again in the background")
    with Server(port=port) as server, socket.create_connection(("127.0.0.1", port)):
        server.accept(LIMIT)
        wait_until(lambda: connections(port) == 4, "connection in the queue", program=program)
        write(tmp_path, "close", "")
        assert program.wait() == 0, program.dump()
    assert (program.stdout, program.others) == ("up\nend\n", "")
    assert {path.read_text() for path in tmp_path.glob("own*")} == {"kept"}


def connections(port: int) -> int:
    """The ends of established connections to the port that there are."""
    if not sys.platform.startswith("linux"):
        pytest.skip("counted as Linux does it")
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in list(table)[1:]]
    ports = f":{port:04X}"
    return sum(row[3] == "01" and (row[1].endswith(ports) or row[2].endswith(ports)) for row in rows)


@needs("pydevd-pycharm")
def test_nobody_comes(run: Run, tmp_path: Path) -> None:
    """Trying again in the background neither holds the program nor its end, and a fork is an ordinary one."""
    text = """
        import os, sys, threading, time
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            if hasattr(os, "fork"):
                pid = os.fork()
                if not pid:
                    os._exit(0)
                os.waitpid(pid, 0)
            time.sleep(0.01)
        print(threading.active_count(), "pydevd" in sys.modules, flush=True)
        sys.exit(7)
    """
    write(tmp_path, "app.py", text)
    program = run("-W", "error", "app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    assert program.wait() == 7, program.dump()
    assert program.stdout == "1 False\n"
    assert len(program.ours) == 1
    assert program.others == ""


@EACH
def test_the_programs_own_hook_beside_a_debugger(run: Run, ide: Play, tmp_path: Path, debugger: str) -> None:
    """An attached program's own sys.excepthook is called as ever, whenever it was set."""
    text = """
        import sys
        {0}
        import autoattach
        autoattach.attach(wait=60)
        {1}
        raise OSError("disk")
    """
    hook = 'sys.excepthook = lambda *exception: print("hook", exception[1], flush=True)'
    for lines in ((hook, ""), ("", hook)):
        write(tmp_path, "app.py", text.format(*lines))
        program = run("app.py", START_DEBUGGER=None, DEBUGGER_IDE=debugger)
        running = ide(debugger)
        assert program.wait() == 1, program.dump()
        assert program.stdout == "hook disk\n"
        assert "Traceback" not in program.stderr
        running.__exit__()


@needs("debugpy")
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("exception", "it waits for an uncaught exception; then debugpy listens at"),
        ("breakpoint,request", "it waits for the first breakpoint() or a request that asks for it; then debugpy"),
        pytest.param("signal:USR2", "it waits for SIGUSR2; then debugpy listens at", marks=signals),
    ],
)
def test_doctor(run: Run, port: int, word: str, says: str) -> None:
    """`autoattach doctor` says what is waited for, and what is done then."""
    program = run("-m", "autoattach", "doctor", START_DEBUGGER=word)
    assert program.wait() == 0, program.dump()
    first = program.stdout.splitlines()[0]
    assert says in first
    hold = {"exception": "holds the program up to 3600 s", "signal:USR2": "lets the program run"}
    assert first.endswith(hold.get(word, "holds the program up to 60 s"))


@needs("pydevd-pycharm")
def test_doctor_and_pycharm(run: Run) -> None:
    """A PyCharm that is not there yet is nothing wrong where it is called later."""
    program = run("-m", "autoattach", "doctor", START_DEBUGGER="exception", DEBUGGER_IDE="pycharm")
    assert program.wait() == 0, program.dump()
