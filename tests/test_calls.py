"""The calls for code that decides by itself: attach, detach, and what one may ask in between."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from launchers.ides import IDES, Ide, Stop
from support import (
    DEBUGGERS,
    LIMIT,
    PACE,
    SLOWER,
    Program,
    environment,
    has,
    line_of,
    listeners,
    needs,
    wait_until,
    write,
)

import autoattach

Run = Callable[..., Program]
Play = Callable[..., Any]

EACH = pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in DEBUGGERS])

HEAD = """
    import os, subprocess, sys, threading, time
    import autoattach

    port = int(os.environ["PORT"])

    def work(n):
        n = n + 1
        return n  # breakpoint

    def tell(*words):
        print(*words, flush=True)

"""
AGAIN = """
    from pace import pace

    def helper(n):
        return n + 1

    def in_other():
        asked.set()
        assert answered.wait(60)
        answered.clear()
        return answers[-1]

    def other():
        while True:
            asked.wait()
            asked.clear()
            answers.append(pace(helper))
            answered.set()

    def left_on():  # of debugpy's events most cost nothing: each place that has no breakpoint is left out
        monitoring = getattr(sys, "monitoring", None)
        return [sys.gettrace(), monitoring and monitoring.get_tool(0) and monitoring.get_events(0) or None]

    asked, answered, answers = threading.Event(), threading.Event(), []
    threading.Thread(target=other, daemon=True).start()
    before, other_before = pace(helper), in_other()
    for turn in range(3):
        session = autoattach.attach(port=port, wait=60)
        tell("attached", session.debugger, session.address == ("127.0.0.1", port), session.pid == os.getpid())
        tell(autoattach.is_attached(), autoattach.is_client_connected(), autoattach.wait_for_client(1))
        assert autoattach.attach(port=1) == session
        work(turn)
        tell(autoattach.detach(), autoattach.is_attached(), autoattach.is_client_connected(), autoattach.detach())
        tell("left on", *left_on())
        tell("slower", pace(helper) / before, in_other() / other_before)
    tell({name for name in os.environ if name.startswith(("START_", "AUTOATTACH_"))})
    sys.exit(7)
"""


@pytest.fixture
def call(run: Run, tmp_path: Path, port: int) -> Run:
    """Start a program that makes the calls; START_DEBUGGER is not set."""

    def start(text: str, **env: Any) -> Program:
        write(tmp_path, "app.py", textwrap.dedent(HEAD) + textwrap.dedent(text))
        return run("app.py", **{"START_DEBUGGER": None, "DEBUGGER_PORT": None, "PORT": port, **env})

    return start


@pytest.fixture
def ide(port: int, tmp_path: Path) -> Iterator[Play]:
    """An IDE with a breakpoint in `work()`."""
    ides = []

    def attach(debugger: str = "debugpy", name: str = "app.py", text: str = "# breakpoint") -> Ide:
        path = tmp_path / name
        ides.append(IDES[debugger](port, {str(path): [line_of(path, text)]}))
        ides[-1].attach()
        return ides[-1]

    yield attach
    for one in ides:
        one.__exit__()


def stop_of(ide: Ide, program: Program) -> Stop:
    """The next stop; it goes on."""
    try:
        stop = ide.stops.get(timeout=LIMIT)
    except Exception:
        raise AssertionError(f"no stop\n{program.dump()}\n{ide.dump()}") from None
    stop.go_on()
    return stop


@EACH
def test_attach_detach_and_again(call: Run, ide: Play, debugger: str, tmp_path: Path) -> None:
    """attach() holds until the breakpoints are set, and says where; a second call returns the same session. After
    detach() the program runs at its own speed, in each thread, and attach() works again, logs included. Nothing stays
    behind."""
    write(tmp_path, "pace.py", PACE)
    program = call(AGAIN, DEBUGGER_IDE=debugger, DEBUGGER_LOG=tmp_path / "logs")
    running = ide(debugger)
    for turn in range(3):
        stop = stop_of(running, program)
        assert stop.locals["n"] == str(turn + 1)
        assert stop.pid == program.pid
        if debugger != "pydevd-pycharm" and turn < 2:
            running.attach()
    assert program.wait() == 7, program.dump()
    lines = program.stdout.splitlines()
    assert lines[-1] == "set()"
    for turn in range(3):
        attached, state, detached, left_on, slower = lines[turn * 5 : turn * 5 + 5]
        assert attached == f"attached {debugger} True True"
        assert state == "True True True"
        assert detached == "True False False False"
        assert left_on == "left on None None"
        assert [float(ratio) < SLOWER for ratio in slower.split()[1:]] == [True, True], program.stdout
    assert program.others == ""
    assert os.listdir(tmp_path / "logs")


@EACH
def test_attach_in_another_thread(call: Run, ide: Play, debugger: str) -> None:
    """It works in any thread; the breakpoint is hit in the main one all the same."""
    program = call(
        """
        done = threading.Event()
        def attach():
            autoattach.attach(port=port, wait=60)
            done.set()
        threading.Thread(target=attach).start()
        while not done.is_set():
            time.sleep(0.01)
        work(1)
        autoattach.detach()
        tell("end")
        """,
        DEBUGGER_IDE=debugger,
    )
    stop_of(ide(debugger), program)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "end\n"
    assert program.others == ""


@needs("debugpy")
def test_nobody_there_and_somebody_later(call: Run, ide: Play) -> None:
    """With wait=0 it returns at once, with nothing loaded; wait_for_client() waits as long as it is told to."""
    program = call(
        """
        session = autoattach.attach(ide="vscode", port=port, wait=0)
        tell(session.debugger, autoattach.is_attached(), autoattach.is_client_connected(), "pydevd" in sys.modules)
        tell(autoattach.wait_for_client(0.1))
        tell(autoattach.wait_for_client(60), autoattach.is_client_connected())
        work(1)
        """
    )
    program.wait_for("False\n", "stdout")
    stop_of(ide(), program)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "debugpy True False False\nFalse\nTrue True\n"


@needs("debugpy")
def test_detach_before_anybody_came(call: Run, port: int) -> None:
    """It lets go of the port, and of what it has told the children; the next attach has the port again."""
    program = call(
        """
        for turn in range(2):
            autoattach.attach(port=port, wait=0)
            tell("attached")
            sys.stdin.readline()
            tell(autoattach.detach(), [name for name in os.environ if name.startswith("AUTOATTACH_")])
            tell("detached")
            sys.stdin.readline()
        """,
        stdin=None,
        DEBUGGER_IDE="debugpy",
    )
    # stdin is empty: both turns follow each other at once
    assert program.wait() == 0, program.dump()
    assert program.stdout == "attached\nTrue []\ndetached\n" * 2
    assert not listeners(port)
    assert program.stderr.count(f"VS Code can attach at 127.0.0.1:{port} at any time") == 2


@needs("debugpy")
def test_detach_where_there_is_no_poll(call: Run, port: int) -> None:
    """As on Windows, and where eventlet has taken it away: whoever waits in the background is let go all the same."""
    text = """
        import select, time
        del select.poll
        import autoattach
        for turn in range(2):
            autoattach.attach(port=port, wait=0)
            began = time.monotonic()
            tell(autoattach.detach(), time.monotonic() - began < 5)
    """
    program = call(text, DEBUGGER_IDE="debugpy")
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True True\n" * 2, program.dump()


@needs("debugpy")
def test_attached_since_the_start(run: Run, ide: Play, tmp_path: Path, port: int) -> None:
    """With START_DEBUGGER=1 attach() returns the session that is there; detach() ends it, and children start without."""
    write(
        tmp_path,
        "app.py",
        HEAD
        + """
    session = autoattach.attach(port=1)
    tell(session.address == ("127.0.0.1", port), autoattach.is_client_connected())
    work(1)
    tell(autoattach.detach())
    subprocess.run(["sh", "-c", f'"{sys.executable}" -c "import sys; print(\\'pydevd\\' in sys.modules)"; true'], check=True)
    """,
    )
    program = run("app.py", PORT=port, DEBUGGER_WAIT=60, DEBUGGER_SKIP="-c")
    stop_of(ide(), program)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True True\nTrue\nFalse\n"


CHILD = """
    import time
    def child(n):
        n = n * 2
        return n  # in the child

    if __name__ == "__main__":
        while True:
            child(21)
            time.sleep(0.05)
"""


@needs("debugpy")
def test_children_of_a_call(call: Run, ide: Play, tmp_path: Path) -> None:
    """Children belong to the session, behind a shell too, though START_DEBUGGER is not set; they keep it when their
    parent detaches."""
    write(tmp_path, "child.py", CHILD)
    program = call(
        """
        autoattach.attach(port=port, wait=60)
        child = subprocess.Popen(["sh", "-c", f'"{sys.executable}" child.py; true'])
        sys.stdin.read()
        while not os.path.exists("detach"):
            time.sleep(0.02)
        tell(autoattach.detach())
        while not os.path.exists("stop"):
            work(1)
            time.sleep(0.02)
        """,
        DEBUGGER_IDE="debugpy",
    )
    running = ide("debugpy", "child.py", "# in the child")
    first = stop_of(running, program)
    assert first.pid != program.pid
    (tmp_path / "detach").touch()
    program.wait_for("True", "stdout")
    while not running.stops.empty():
        running.stops.get().go_on()
    for _ in range(3):
        assert stop_of(running, program).pid == first.pid
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    os.kill(first.pid, signal.SIGKILL)


@needs("debugpy")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_fork_detaches_for_itself(call: Run, ide: Play) -> None:
    """detach() in a fork leaves its parent attached."""
    program = call(
        """
        autoattach.attach(port=port, wait=60)
        pid = os.fork()
        if not pid:
            tell("fork", autoattach.is_attached(), autoattach.detach(), autoattach.is_attached())
            os._exit(work(1) - 2)
        status = os.waitpid(pid, 0)[1]
        tell("parent", status, autoattach.is_attached(), autoattach.is_client_connected())
        work(1)
        """,
        DEBUGGER_IDE="debugpy",
    )
    running = ide()
    assert stop_of(running, program).pid == program.pid
    assert program.wait() == 0, program.dump()
    assert program.stdout == "fork True True False\nparent 0 True True\n"


@needs("debugpy")
def test_interrupted(call: Run, port: int, tmp_path: Path) -> None:
    """Ctrl-C in the wait is a KeyboardInterrupt in the call; there is no session then, and nothing listens."""
    program = call(
        """
        try:
            autoattach.attach(port=port, wait="forever")
        except KeyboardInterrupt:
            tell("interrupted", autoattach.is_attached(), "AUTOATTACH_SESSION" in os.environ)
        while not os.path.exists("stop"):
            time.sleep(0.02)
        """,
        DEBUGGER_IDE="debugpy",
    )
    program.wait_for("waiting without limit")
    program.send(signal.SIGINT)
    program.wait_for("interrupted False False\n", "stdout")
    assert not listeners(port)
    (tmp_path / "stop").touch()
    assert program.wait() == 0


@needs("debugpy")
def test_threads_that_call_at_once(call: Run) -> None:
    """They get the one session."""
    program = call(
        """
        sessions = []
        threads = [threading.Thread(target=lambda: sessions.append(autoattach.attach(port=port, wait=0))) for _ in range(9)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        tell(len(sessions), len(set(sessions)))
        """,
        DEBUGGER_IDE="debugpy",
    )
    assert program.wait() == 0, program.dump()
    assert program.stdout == "9 1\n"


ERRORS = {
    "a port that is none": ("attach(port=99999)", "SettingError port='99999' is not understood; set port to a port"),
    "a variable that is wrong": ("attach()", "SettingError DEBUGGER_WAIT='soon'", {"DEBUGGER_WAIT": "soon"}),
    "no such IDE": ("attach(ide='emacs')", "SettingError ide='emacs'"),
    "skipped": ("attach(skip=['app.py'])", "AttachError not attached: DEBUGGER_SKIP: app.py"),
    "not the one": ("attach(only=['worker.py'])", "AttachError not attached: no pattern of DEBUGGER_ONLY"),
    "no session": ("wait_for_client()", "AttachError there is no session to wait in; call autoattach.attach() first"),
    "nobody listens": (
        "attach(mode='connect', port=port, wait=0.3)",
        "AddressError gave up after 0.3 s: nobody listens on",
    ),
    "no such host": ("attach(host='no.such.host.invalid')", "AddressError DEBUGGER_HOST=no.such.host.invalid cannot"),
}


@needs("debugpy")
@pytest.mark.parametrize("case", ERRORS)
def test_errors(call: Run, case: str) -> None:
    """What cannot be done is raised, for the caller asked, as the errors that the docstring names; the program goes on."""
    code, wanted, *more = ERRORS[case]
    program = call(
        f"""
        try:
            autoattach.{code}
        except autoattach.AttachError as error:
            tell(type(error).__name__, error)
        tell(autoattach.is_attached(), autoattach.detach())
        """,
        **{"DEBUGGER_IDE": "debugpy", **(more[0] if more else {})},
    )
    assert program.wait() == 0, program.dump()
    raised, state = program.stdout.splitlines()
    assert raised.startswith(wanted)
    assert state == "False False"


@needs("debugpy")
def test_a_debugger_at_work(call: Run) -> None:
    """A program that has had debugpy listen by itself is left to it."""
    program = call(
        """
        import debugpy
        debugpy.listen(port)
        try:
            autoattach.attach(port=port, wait=0)
        except autoattach.AttachError as error:
            tell(error)
        """
    )
    assert program.wait() == 0, program.dump()
    assert program.stdout == "not attached: debugpy is at work in it already\n"


@needs("debugpy")
def test_a_taken_port(call: Run, port: int) -> None:
    """A stranger's port is an error that names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        program = call(
            """
            try:
                autoattach.attach(port=port, wait=0)
            except autoattach.AddressError as error:
                tell(error)
            """,
            DEBUGGER_IDE="debugpy",
        )
        assert program.wait() == 0, program.dump()
        assert f"127.0.0.1:{port} is taken" in program.stdout


@pytest.mark.skipif(not (has("debugpy") and has("ptvsd")), reason="needs two debuggers")
def test_one_debugger_keeps_out_another(call: Run) -> None:
    """A program that has imported one cannot have another: the error says so. Not told which, it has that one."""
    program = call(
        """
        import ptvsd
        try:
            autoattach.attach(ide="debugpy", port=port, wait=0)
        except autoattach.DebuggerError as error:
            tell(error)
        tell(autoattach.attach(port=port, wait=0).debugger)
        """,
        DEBUGGER_IDE=None,
    )
    assert program.wait() == 0, program.dump()
    assert program.stdout.splitlines() == [
        "ptvsd is in this process already, and leaves no room for debugpy; choose ptvsd, or start the program anew",
        "ptvsd",
    ]


@needs("debugpy")
def test_switched_off(call: Run, tmp_path: Path) -> None:
    """A file `autoattach.disabled` is stronger than a call."""
    prefix = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True, timeout=LIMIT)
    (prefix / "autoattach.disabled").touch()
    home = str(Path(autoattach.__file__).parents[1])  # an editable install has it on no path
    paths = os.pathsep.join([*filter(None, sys.path), home])
    program = call(
        """
        try:
            autoattach.attach(port=port, wait=0)
        except autoattach.AttachError as error:
            tell(error)
        """,
        python=str(prefix / ("Scripts" if os.name == "nt" else "bin") / "python"),
        PYTHONPATH=paths,
    )
    assert program.wait() == 0, program.dump()
    assert "autoattach.disabled switches it off" in program.stdout


def test_no_debugger(call: Run, tmp_path: Path) -> None:
    """With none installed the error says what to install, and not that START_DEBUGGER is set."""
    prefix, alone = tmp_path / "venv", tmp_path / "alone"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True, timeout=LIMIT)
    shutil.copytree(Path(autoattach.__file__).parent, alone / "autoattach")
    program = call(
        """
        try:
            autoattach.attach(port=port, wait=0)
        except autoattach.DebuggerError as error:
            tell(error)
        """,
        python=str(prefix / ("Scripts" if os.name == "nt" else "bin") / "python"),
        PYTHONPATH=alone,
        DEBUGGER_IDE=None,
    )
    assert program.wait() == 0, program.dump()
    assert program.stdout.startswith("no debugger is installed here; pip install autoattach[vscode]")


@needs("debugpy")
def test_a_session_that_nobody_came_to_makes_way(run: Run, ide: Play, tmp_path: Path, port: int) -> None:
    """With START_DEBUGGER=1 and nobody there attach_vscode() makes the program's own call, on the same port."""
    write(
        tmp_path,
        "app.py",
        HEAD
        + """
    def configure(host, port):
        import debugpy
        tell("configure", host)
        debugpy.listen((host, port))

    autoattach.attach_vscode(configure)
    work(1)
    """,
    )
    program = run("app.py", PORT=port, DEBUGGER_WAIT=0)
    program.wait_for("waiting for VS Code to attach")
    stop_of(ide(), program)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "configure 127.0.0.1\n"


def test_importing_imports_nothing() -> None:
    """`import autoattach` brings in no other module; the names are there all the same."""
    code = (
        "import sys; before = set(sys.modules); import autoattach; print(set(sys.modules) - before);"
        "print(sorted(set(autoattach.__all__) - set(dir(autoattach))), [hasattr(autoattach, n) for n in autoattach.__all__])"
    )
    out = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=LIMIT)
    first, second = out.stdout.splitlines()
    assert eval(first) - {"__future__"} == {"autoattach"}
    assert "False" not in second


@needs("debugpy")
def test_connect(call: Run, tmp_path: Path) -> None:
    """With mode="connect" VS Code listens; detach() and attach() work as ever."""
    from autoattach.cli._dap import Client

    program = call(
        """
        for turn in "01":
            while not os.path.exists(turn):
                time.sleep(0.02)
            autoattach.attach(mode="connect", port=int(open(turn).read()), wait=60)
            work(int(turn))
            tell(autoattach.detach())
        """,
        DEBUGGER_IDE="debugpy",
    )
    app = tmp_path / "app.py"
    for turn in range(2):
        with Client.listen(sys.executable) as client:
            (tmp_path / "new").write_text(str(client.address[1]))
            (tmp_path / "new").rename(tmp_path / str(turn))
            client.attach({str(app): [line_of(app, "# breakpoint")]})
            thread = client.wait_stopped()
            assert client.locals(client.stack(thread)[0]["id"])["n"] == str(turn + 1)
            client.continue_(thread)
            client.wait_event("terminated")
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True\n" * 2


@needs("debugpy")
def test_two_processes_that_call(run: Run, call: Run, ide: Play, tmp_path: Path, port: int) -> None:
    """The second of the same user joins the first's session; one attach shows both."""
    text = """
        autoattach.attach(port=port, wait=0)
        tell("attached")
        while not os.path.exists("stop"):
            work(1)
            time.sleep(0.05)
    """
    first = call(text, DEBUGGER_IDE="debugpy")
    first.wait_for("attached", "stdout")
    second = run("app.py", START_DEBUGGER=None, DEBUGGER_PORT=None, PORT=port)
    second.wait_for("attached", "stdout")
    assert any("joins the session" in line for line in second.ours)
    running = ide()
    seen: set[int] = set()
    wait_until(
        lambda: seen.add(stop_of(running, first).pid) or seen == {first.pid, second.pid}, "stop in each of the two"
    )
    (tmp_path / "stop").touch()
    for program in (first, second):
        while program.process.poll() is None:
            try:
                running.stops.get(timeout=0.1).go_on()
            except Exception:  # none: it ends
                pass
        assert program.wait() == 0, program.dump()
