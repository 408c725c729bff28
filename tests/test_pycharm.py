"""pydevd-pycharm: breakpoints are hit, whatever PyCharm does meanwhile, and the program runs as it would."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from support import Program, environment, line_of, needs, write

from autoattach.cli._pycharm import RUN, VERSION, Server, Session

pytestmark = needs("pydevd-pycharm")

Run = Callable[..., Program]
Play = Callable[..., "tuple[Program, Session]"]

APP = """
    first = 1
    import helper
    import sys, threading

    def work(n):
        total = n * 2
        return total

    def in_thread():
        answer = 42
        print("thread", answer)

    print("work", work(4))
    print("help", helper.help_me(5))
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    print("complaint", file=sys.stderr)
    print("done", flush=True)
    sys.exit(7)
"""
HELPER = """
    def help_me(n):
        helped = n + 1
        return helped
"""
OUT = "work 8\nhelp 6\nthread 42\ndone\n"


@pytest.fixture
def server(port: int) -> Iterator[Server]:
    """PyCharm, listening."""
    with Server(port=port) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path) -> Path:
    write(tmp_path, "helper.py", HELPER)
    return write(tmp_path, "app.py", APP)


@pytest.fixture
def play(run: Run, server: Server) -> Play:
    """Start a program, and PyCharm on it with breakpoints."""

    def start(
        *arguments: object,
        breakpoints: Dict[Path, List[int]] = {},  # noqa: B006
        **keywords: Any,
    ) -> tuple[Program, Session]:
        program = run(*arguments, **{"DEBUGGER_IDE": "pycharm", **keywords})
        session = server.accept()
        session.start({str(path): lines for path, lines in breakpoints.items()})
        return program, session

    return start


def stop_at(session: Session, path: Path, line: int) -> None:
    """The next stop is there; go on."""
    stop = session.wait_stopped()
    assert (Path(stop.file).name, stop.line) == (path.name, line)
    session.resume()


# --- where breakpoints are hit


def test_a_breakpoint_on_the_first_line_in_an_imported_module_and_in_a_thread(play: Play, app: Path) -> None:
    """A breakpoint is hit on the first line of app.py, in what it imports, and in a thread; variables can be seen."""
    helper = app.parent / "helper.py"
    first, work, thread = line_of(app, "first ="), line_of(app, "total ="), line_of(app, "answer =")
    program, session = play("app.py", breakpoints={app: [first, work, thread], helper: [2]})
    stop_at(session, app, first)
    stop = session.wait_stopped()
    assert (stop.line, stop.function) == (work, "work")
    assert session.locals()["n"] == "4"
    assert session.evaluate("n * 10 + 2") == "42"
    session.resume()
    stop_at(session, helper, 2)
    stop_at(session, app, thread)
    assert program.wait() == 7
    assert program.stdout == OUT


def test_output_appears_in_the_ide_and_in_the_terminal(play: Play, app: Path) -> None:
    """The program's output also appears in the IDE's console, and still in the terminal; nothing else does."""
    program, session = play("app.py")
    session.wait_closed()
    assert program.wait() == 7
    assert program.stdout == session.output() == OUT
    assert program.stderr == session.output("stderr") == "complaint\n"


def test_the_last_output_appears_in_the_ide(play: Play, tmp_path: Path) -> None:
    """Whatever the program has written by its end comes to the IDE's console, however much it is."""
    write(tmp_path, "app.py", "for n in range(3000):\n    print(n, 'x' * 60)\n")
    program, session = play("app.py")
    session.wait_closed()
    assert program.wait() == 0
    assert session.output() == program.stdout
    assert program.stderr == ""


def test_suspend_is_off(play: Play, app: Path) -> None:
    """The program runs on to the user's breakpoint and never stops elsewhere; with none it does not stop at all."""
    program, session = play("app.py")
    assert program.wait() == 7
    assert not [message for message in session.received if message[0] == 105]


def test_an_exception_breakpoint_stops_in_the_users_code_only(run: Run, server: Server, tmp_path: Path) -> None:
    """With PyCharm told to stop on any exception raised, the first stop is in the program, not in ours or site's."""
    app = write(tmp_path, "app.py", "try:\n    {}['missing']\nexcept KeyError:\n    print('caught')\n")
    program = run("app.py", DEBUGGER_IDE="pycharm")
    session = server.accept()
    # name, condition, expression, notify on raise, on terminate, ignore libraries
    session.send(122, "python-BaseException\tNone\tNone\t2\t0\t0")
    session.start()
    stop_at(session, app, 2)
    session.close()  # it may stop in the standard library as well, where the program calls that
    assert program.wait() == 0
    assert program.stdout == "caught\n"


def test_python_m(play: Play, tmp_path: Path) -> None:
    """A breakpoint is hit in `python -m pkg`, and the program's arguments are its own."""
    write(tmp_path, "pkg/__init__.py", "")
    main = write(tmp_path, "pkg/__main__.py", "import sys\nvalue = 5\nprint(value, sys.argv[1:], __name__)\n")
    program, session = play("-m", "pkg", "--flag", breakpoints={main: [2]})
    stop_at(session, main, 2)
    assert program.wait() == 0
    assert program.stdout == "5 ['--flag'] __main__\n"


def test_console_script(play: Play, tmp_path: Path) -> None:
    """A breakpoint is hit in a module that a console script runs."""
    module = write(tmp_path, "tool.py", "def main():\n    value = 5\n    print(value)\n    return 3\n")
    script = write(tmp_path, "bin/tool", "#!/usr/bin/env python\nimport sys\nfrom tool import main\nsys.exit(main())\n")
    program, session = play(script, breakpoints={module: [2]}, PYTHONPATH=tmp_path)
    stop_at(session, module, 2)
    assert program.wait() == 3


@pytest.mark.parametrize("kind", ["-c", "stdin"])
def test_module_imported_by_a_program_without_a_file(play: Play, app: Path, kind: str) -> None:
    """A breakpoint is hit in a module imported by `python -c` and by a program read from standard input."""
    code = "import helper; print(helper.help_me(1))"
    helper = app.parent / "helper.py"
    arguments, stdin = (("-c", code), None) if kind == "-c" else (("-",), code)
    program, session = play(*arguments, stdin=stdin, breakpoints={helper: [2]})
    stop_at(session, helper, 2)
    assert program.wait() == 0
    assert program.stdout == "2\n"


def test_module_in_a_zipapp(play: Play, tmp_path: Path) -> None:
    """A breakpoint is hit in a module inside a zipapp."""
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("__main__.py", "import inner\nprint(inner.value())\n")
        made.writestr("inner.py", "def value():\n    answer = 42\n    return answer\n")
    program, session = play("app.pyz", breakpoints={archive / "inner.py": [2]})
    stop_at(session, archive / "inner.py", 2)
    assert program.wait() == 0
    assert program.stdout == "42\n"


def test_standard_input_is_the_programs(play: Play, tmp_path: Path) -> None:
    """What is piped into the program is read by it, all of it, by read(), by iteration and by input()."""
    write(tmp_path, "app.py", "import sys\nprint(input(), next(iter(sys.stdin)), sys.stdin.read())\n")
    program, _ = play("app.py", stdin="a\nb\nc\nd\n")
    assert program.wait() == 0
    assert program.stdout == "a b\n c\nd\n\n"


# --- either order; whatever comes


def test_the_program_first_and_then_the_ide(run: Run, port: int, app: Path) -> None:
    """While held the connection is tried again and again: program and IDE start in either order."""
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT="forever")
    program.wait_for("nobody listens")
    with Server(port=port) as server:
        session = server.accept()
        session.start({str(app): [line_of(app, "first =")]})
        stop_at(session, app, line_of(app, "first ="))
        assert program.wait() == 7


def test_nobody_listens(run: Run, app: Path) -> None:
    """DEBUGGER_WAIT=0 and nobody there: one line, over at once, nothing loaded, the program's own status."""
    start = time.monotonic()
    code = "import sys; print('pydevd' in sys.modules); sys.exit(4)"
    program = run("-c", code, DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    assert program.wait() == 4
    assert time.monotonic() - start < 5
    assert program.stdout == "False\n"
    assert len(program.ours) == 1
    assert "nobody listens" in program.ours[0]
    assert not program.others


class Peer:
    """Somebody on the port who is not PyCharm, or a PyCharm that fails."""

    def __init__(self, port: int, behave: Callable[[socket.socket], object]) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._behave = behave
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                self._kept.append(connection)
                self._behave(connection)
            except OSError:
                return

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._kept:
            connection.close()


GREETING = f"{VERSION}\t1\t0.1\tUNIX\n".encode()


def say_version_and_leave(connection: socket.socket) -> None:
    connection.sendall(GREETING)
    connection.recv(100)
    connection.close()


def say_version_and_reset(connection: socket.socket) -> None:
    connection.sendall(GREETING)
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


FAILURES = {
    "mute": (lambda connection: None, "says nothing"),
    "closes": (lambda connection: connection.close(), "closed it"),
    "http": (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks something else"),
    "greets": (lambda connection: connection.sendall(GREETING), "then said nothing"),
    "greets_and_leaves": (say_version_and_leave, "went away"),
    "greets_and_resets": (say_version_and_reset, "went away"),
    "half_a_greeting": (lambda connection: connection.sendall(b"50"), "says nothing"),
}


@pytest.mark.parametrize("wait", [0, 3])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_peer_that_fails_in_the_handshake(run: Run, port: int, app: Path, failure: str, wait: int) -> None:
    """However the peer behaves, the hold is bounded and is one line; the program then runs as if we were not there."""
    behave, words = FAILURES[failure]
    write(app.parent, "main.py", f"import sys, threading\n{CHECK}\nimport app\n")
    with Peer(port, behave):
        start = time.monotonic()
        program = run("main.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=wait)
        assert program.wait() == 7, program.dump()
        assert time.monotonic() - start < 8
    assert program.stdout == "clean\n" + OUT
    assert words in program.ours[-1], program.stderr
    assert "running on" in program.ours[-1]
    assert len(program.ours) <= (1 if wait == 0 else 3)
    assert program.others == "complaint\n"


def test_a_hold_that_ends_while_the_debugger_loads(run: Run, port: int, app: Path) -> None:
    """The limit holds as well when it is reached before the debugger has begun to wait."""
    with Peer(port, lambda connection: connection.sendall(GREETING)):
        program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0.1)
        assert program.wait(10) == 7
    assert program.stdout == OUT
    assert "then said nothing" in program.ours[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_handshake(run: Run, port: int, app: Path, number: int) -> None:
    """Ctrl-C and SIGTERM in the hold and while the debugger loads end the process as they end a program."""
    greeted = threading.Event()

    def greet(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        connection.recv(100)
        greeted.set()

    with Peer(port, greet):
        program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT="forever")
        assert greeted.wait(20)
        program.send(number)
        assert program.wait() == -number
    assert not program.stdout
    assert not program.others


CHECK = """
import _thread, builtins, atexit
unclean = [
    what
    for what, bad in {
        "trace": sys.gettrace(),
        "trace of threads": threading.__dict__["_trace_hook"],
        "settrace": sys.settrace.__class__.__name__ != "builtin_function_or_method",
        "stdout": sys.stdout is not sys.__stdout__,
        "stderr": sys.stderr is not sys.__stderr__,
        "stdin": sys.stdin is not sys.__stdin__,
        "excepthook": sys.excepthook is not sys.__excepthook__,
        "breakpointhook": sys.breakpointhook is not sys.__breakpointhook__,
        "start_new_thread": _thread.start_new_thread.__class__.__name__ != "builtin_function_or_method",
        "attributes": [name for name in vars(sys) if "pydevd" in name or name.endswith("_original")],
        "monitoring": sys.version_info >= (3, 12) and sys.monitoring.get_tool(0),
    }.items()
    if bad
]
print(*unclean or ["clean"], flush=True)
"""


def test_greetings_that_come_in_pieces(run: Run, port: int, app: Path) -> None:
    """A greeting that arrives byte by byte is one."""
    done = threading.Event()

    def dribble(connection: socket.socket) -> None:
        for byte in GREETING + f"{RUN}\t3\t\n".encode():
            connection.sendall(bytes([byte]))
            time.sleep(0.01)
        while connection.recv(1000):
            pass
        done.set()

    with Peer(port, dribble):
        program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=10)
        assert program.wait() == 7
        assert done.wait(10)
    assert program.stdout == OUT
    assert program.stderr == "complaint\n"


@pytest.mark.parametrize("how", ["import", "exit", "settrace"])
def test_a_release_that_does_not_work(run: Run, server: Server, app: Path, tmp_path: Path, how: str) -> None:
    """A debugger that raises, or raises SystemExit, on import or on attach: one line with the releases to try."""
    broken = tmp_path / "broken"
    source = {
        "import": "import sys\nprint('noise')\nraise ImportError('no _pydevd_bundle.tables')\n",
        "exit": "raise SystemExit(1)\n",
        "settrace": "import pydevd\n\ndef settrace(*_, **__):\n    raise SystemExit(1)\n\npydevd.settrace = settrace\n",
    }[how]
    write(broken, "pydevd_pycharm.py", source)
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=3, PYTHONPATH=broken)
    server.accept()
    assert program.wait() == 7
    assert program.stdout == OUT
    (line,) = program.ours
    assert "does not work on Python" in line
    assert "pip install pydevd-pycharm~=" in line
    assert program.others == "complaint\n"


# --- the IDE goes


LOOP = """
    import sys, threading, time
    counts = {"other": 0}

    def other():
        while counts["other"] >= 0:
            counts["other"] += 1
            time.sleep(0.01)

    def turn(n):
        here = n
        return here

    threading.Thread(target=other, daemon=True).start()
    n = 0
    print("ready", flush=True)
    until = time.monotonic() + 30
    while True:
        assert time.monotonic() < until, "still traced"
        n = turn(n + 1)
        if n % 100 == 0 and not sys.gettrace() and sys.stdout is sys.__stdout__:
            break
        time.sleep(0.001)
    before = counts["other"]
    time.sleep(0.3)
    print("other", counts["other"] > before)
    print("bye", flush=True)
    sys.exit(5)
"""


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_the_ide_goes_away(play: Play, tmp_path: Path, stopped: bool, reset: bool) -> None:
    """After the IDE disconnects or vanishes, at a stop or not, the program goes on to its own end, with nothing of a
    debugger in it."""
    app = write(tmp_path, "app.py", LOOP)
    program, session = play("app.py", breakpoints={app: [line_of(app, "here =")] if stopped else []})
    if stopped:
        session.wait_stopped()
    else:
        program.wait_for("ready", "stdout")
    if reset:
        session._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    session.close()
    assert program.wait() == 5
    assert program.stdout == "ready\nother True\nbye\n"
    assert program.ours == ["PyCharm has gone; running on without a debugger"]
    assert not program.others


def test_the_end_of_the_program_is_not_the_ides_going(play: Play, app: Path) -> None:
    """A program that ends while PyCharm is there says nothing about it."""
    for _ in range(3):
        program, session = play("app.py")
        session.wait_closed()
        assert program.wait() == 7
        assert program.stderr == "complaint\n"


def test_ctrl_c(play: Play, tmp_path: Path) -> None:
    """Ctrl-C reaches the program as ever: KeyboardInterrupt, its own traceback, death by the signal."""
    app = write(tmp_path, "app.py", "import time\nprint('ready', flush=True)\ntime.sleep(30)\n")
    program, session = play("app.py", breakpoints={app: [1]})
    stop_at(session, app, 1)
    program.wait_for("ready", "stdout")
    time.sleep(0.2)
    program.send(signal.SIGINT)
    assert program.wait() == -signal.SIGINT
    assert program.stderr.startswith("Traceback (most recent call last):\n")
    assert "line 3, in <module>" in program.stderr
    assert program.stderr.endswith("\nKeyboardInterrupt\n")
    assert program.stderr.count("File") == 1


def test_a_breakpoint_set_while_a_loop_runs(play: Play, tmp_path: Path) -> None:
    """A breakpoint that is set or removed while the program runs does not disturb it, and is hit."""
    app = write(
        tmp_path,
        "app.py",
        """
        import time
        def turn(n):
            here = n
            return here
        n = 0
        until = time.monotonic() + 2
        while time.monotonic() < until:
            n += 1
            m = n * 2
            if n % 1000 == 0:
                turn(n)
        print("done")
        """,
    )
    program, session = play("app.py")
    line = line_of(app, "here =")
    for _ in range(3):
        session.set_breakpoints({str(app): [line]})
        session.wait_stopped()
        session.send(112, f"python-line\t{app}\t{line}")  # remove it
        session.resume()
    assert program.wait() == 0
    assert program.stdout == "done\n"
    assert not program.stderr


# --- forks and children


FORKS = {
    "os.fork": """
        import os, sys
        def child():
            inside = os.getpid()
            print("child", flush=True)
        pid = os.fork()
        if pid == 0:
            child()
            print("child's complaint", file=sys.stderr, flush=True)
            os._exit(3)
        print(os.waitpid(pid, 0)[1] >> 8, flush=True)
    """,
    "os.fork and sys.exit": """
        import os, sys, atexit
        def child():
            inside = os.getpid()
            print("child", flush=True)
        pid = os.fork()
        if pid == 0:
            child()
            sys.exit(3)
        print(os.waitpid(pid, 0)[1] >> 8, flush=True)
    """,
    "a thread forks": """
        import os, sys, threading
        def child():
            inside = os.getpid()
            print("child", flush=True)
        def fork():
            pid = os.fork()
            if pid == 0:
                child()
                os._exit(3)
            print(os.waitpid(pid, 0)[1] >> 8, flush=True)
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    """,
    "subprocess": """
        import subprocess, sys
        def child():
            inside = 1
            print("child", flush=True)
        if __name__ == "__main__":
            code = "import app; app.child(); raise SystemExit(3)"
            print(subprocess.run([sys.executable, "-c", code]).returncode, flush=True)
    """,
    "preexec_fn": """
        import subprocess, sys
        def child():
            inside = 1
            print("child", flush=True)
        print(subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], preexec_fn=child).returncode, flush=True)
    """,
    **{
        f"multiprocessing {method}": f"""
            import multiprocessing, sys
            def child():
                inside = 1
                print("child", flush=True)
                sys.exit(3)
            if __name__ == "__main__":
                process = multiprocessing.get_context("{method}").Process(target=child)
                process.start()
                process.join()
                print(process.exitcode, flush=True)
        """
        for method in ("fork", "spawn", "forkserver")
    },
    "a pool": """
        import multiprocessing
        def child(n):
            inside = 1
            return n + inside
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print("child", flush=True)
                print(pool.map(child, [1, 2])[-1], flush=True)
    """,
}


def without_fork_warnings(text: str) -> str:
    """Without Python's warning of a fork beside threads (3.12 and later), in programs that have some."""
    return re.sub(r".*DeprecationWarning: .* is multi-threaded, use of fork.*\n.*fork\(.*\n", "", text)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("client", ["attached", "attached, with a breakpoint", "left", "nobody"])
@pytest.mark.parametrize("kind", FORKS)
def test_forks_and_children_run_to_their_end(run: Run, server: Server, tmp_path: Path, kind: str, client: str) -> None:
    """A program that forks or starts Pythons runs to its end, with the client attached, after it left and with nobody,
    with a breakpoint in the child's code and without; the child's output reaches the terminal."""
    app = write(tmp_path, "app.py", FORKS[kind])
    before = "import sys, time\n"
    if client == "left":
        before += "if __name__ == '__main__': print('here', flush=True)\nwhile sys.gettrace(): time.sleep(0.01)\n"
    app.write_text(before + app.read_text() + "if __name__ == '__main__': print('end', flush=True)\n")
    if client == "nobody":
        server.close()
        program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0)
    else:
        program = run("app.py", DEBUGGER_IDE="pycharm")
        session = server.accept()
        session.start({str(app): [line_of(app, "inside =")] if "breakpoint" in client else []})
        if client == "left":
            session.wait_output("here")
            session.close()
    assert program.wait() == 0, program.dump()
    assert program.stdout.replace("here\n", "") == "child\n3\nend\n"
    others = without_fork_warnings(program.others) if "thread" in kind else program.others
    assert others == ("child's complaint\n" if kind == "os.fork" else "")
    if client.startswith("attached"):
        session.wait_closed()
        assert session.output().endswith("3\nend\n")  # to the last line: no child has closed the connection
        assert not program.ours


def test_output_of_a_logger_made_before_the_fork(play: Play, tmp_path: Path) -> None:
    """A child writes to the terminal, not into its parent's connection, through whatever holds the stream."""
    write(
        tmp_path,
        "app.py",
        """
        import logging, os
        logging.basicConfig(format="%(message)s")
        if os.fork() == 0:
            logging.warning("from the child")
            os._exit(0)
        os.wait()
        logging.warning("from the parent")
        """,
    )
    program, session = play("app.py")
    session.wait_closed()
    assert program.wait() == 0
    assert program.stderr == "from the child\nfrom the parent\n"
    assert session.output("stderr") == "from the parent\n"


def test_many_forks_beside_a_busy_thread(play: Play, tmp_path: Path) -> None:
    """No fork of an attached process hangs, however busy the debugger's threads are."""
    app = write(
        tmp_path,
        "app.py",
        """
        import os, threading, time
        over = False
        def busy():  # the debugger tells its client of every thread
            while not over:
                thread = threading.Thread(target=len, args=("",))
                thread.start()
                thread.join()
        def child():
            inside = 1
            print("child", flush=True)
        thread = threading.Thread(target=busy)
        thread.start()
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                child()
                os._exit(0)
            os.waitpid(pid, 0)
        over = True
        thread.join()
        print("end", flush=True)
        """,
    )
    program, session = play("app.py", breakpoints={app: [line_of(app, "inside =")]})
    assert program.wait() == 0
    assert program.stdout == "child\n" * 40 + "end\n"
    assert not without_fork_warnings(program.stderr)
    session.wait_output("end")


def test_exec(play: Play, server: Server, tmp_path: Path) -> None:
    """A program that execs a Python is debugged in the new image as well: it connects anew."""
    app = write(tmp_path, "app.py", "import os, sys\nos.execv(sys.executable, [sys.executable, 'next.py'])\n")
    following = write(tmp_path, "next.py", "value = 1\nprint('next', flush=True)\n")
    program, session = play("app.py", breakpoints={app: [2]})
    stop_at(session, app, 2)
    session = server.accept()
    session.start({str(following): [2]})
    stop_at(session, following, 2)
    assert program.wait() == 0
    assert program.stdout == "next\n"
    assert not program.stderr


def test_exec_after_the_client_left(play: Play, server: Server, tmp_path: Path) -> None:
    """An exec with nobody attached any more runs."""
    write(
        tmp_path,
        "app.py",
        """
        import os, sys, time
        while sys.gettrace(): time.sleep(0.01)
        os.execv(sys.executable, [sys.executable, "-c", "print('next')"])
        """,
    )
    program, session = play("app.py", DEBUGGER_WAIT=3)
    session.close()
    server.close()
    assert program.wait() == 0
    assert program.stdout == "next\n"
    assert not program.others


# --- as without us


STATE = """
    import atexit, json, os, signal, sys, warnings
    atexit.register(print, "at exit")
    print(json.dumps({
        "names": [sys.argv, sys.path, sys.modules["__main__"].__file__, __file__, __name__],
        "signals": [str(signal.getsignal(n)) for n in (2, 15, 10, 13, 17)],
        "filters": [str(f) for f in warnings.filters],
        "import": [str(type(f)) for f in sys.meta_path if not any(n in str(f) for n in ("importlib_metadata", "autoattach."))],
        "interpreter": [sys.getswitchinterval(), sys.getrecursionlimit(), str(sys.flags)],
        "out": [sys.stdout.encoding, sys.stdout.errors, sys.stdout.isatty(), sys.stdout.fileno()],
        "settrace": str(type(sys.settrace)),
        "environ": sorted(n for n in os.environ if not n.startswith(("AUTOATTACH", "START_DEB", "DEBUGGER_"))),
    }), flush=True)

    def fail():
        raise LookupError("mine")

    fail()
"""


def test_the_program_sees_what_it_would_see_without_us(run: Run, play: Play, tmp_path: Path) -> None:
    """sys.argv, sys.path, __main__, __file__, status, traceback, atexit, signal handlers and warnings filters are, with
    PyCharm attached, as they would be without us. (A finder of ours waits for cloudpickle.)"""
    write(tmp_path, "app.py", STATE)
    bare = run("app.py", "argument", START_DEBUGGER=None)
    bare.wait()
    program, session = play("app.py", "argument")
    session.wait_closed()
    assert program.wait() == bare.process.returncode == 1
    assert program.stdout == bare.stdout
    assert program.stderr == bare.stderr


def test_the_programs_own_tracer(play: Play, tmp_path: Path) -> None:
    """A program that sets a trace function of its own has it, without a word from the debugger."""
    write(
        tmp_path,
        "app.py",
        """
        import sys
        seen = []
        sys.settrace(lambda *_: seen.append(1))
        (lambda: 0)()
        sys.settrace(None)
        print(bool(seen))
        """,
    )
    program, _ = play("app.py")
    assert program.wait() == 0
    assert program.stdout == "True\n"
    assert not program.stderr


def test_the_end_of_file_comes_with_the_programs_end(tmp_path: Path, server: Server) -> None:
    """`out=$(START_DEBUGGER=1 python app.py)` ends when the program ends, whatever the client does."""
    process = subprocess.Popen(
        [sys.executable, "-c", "print(1)"],
        env=environment(START_DEBUGGER=1, DEBUGGER_IDE="pycharm", DEBUGGER_PORT=server.port),
        stdout=subprocess.PIPE,
    )
    try:
        server.accept().start()
        assert process.communicate(timeout=20)[0] == b"1\n"
    finally:
        process.kill()
        process.wait()


def test_logs(play: Play, app: Path, tmp_path: Path) -> None:
    """DEBUGGER_LOG is a folder that the debugger's own log appears in, and nowhere else."""
    program, _ = play("app.py", DEBUGGER_LOG=tmp_path / "logs")
    assert program.wait() == 7
    (log,) = (tmp_path / "logs").iterdir()
    assert "command" in log.read_text().lower()
    assert program.stdout == OUT
    assert program.stderr == "complaint\n"


def test_path_mappings(play: Play, app: Path, tmp_path: Path) -> None:
    """DEBUGGER_PATH_MAPPINGS: a breakpoint in the IDE's folder is one in this machine's."""
    program, session = play(
        "app.py", breakpoints={Path("/ide/project/app.py"): [1]}, DEBUGGER_PATH_MAPPINGS=f"/ide/project={tmp_path}"
    )
    stop = session.wait_stopped()
    assert (stop.file, stop.line) == ("/ide/project/app.py", 1)
    session.resume()
    assert program.wait() == 7
