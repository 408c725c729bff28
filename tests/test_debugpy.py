"""debugpy: breakpoints are hit wherever a Python program can start, held or not."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable

import pytest
from support import DEBUGGERS, LIMIT, Program, free_port, line_of, listeners, needs, wait_until, write

from autoattach.cli._dap import Client

pytestmark = needs("debugpy")

Run = Callable[..., Program]

APP = """
    start = 1
    import helper
    import threading

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
    print("done")
"""
HELPER = """
    def help_me(n):
        helped = n + 1
        return helped
"""
LOOP = """
    import sys, threading, time
    stop = False

    def spin(n):
        x = 0
        for i in range(n):
            x += i
        return x

    def other():
        while not stop:
            seen = spin(10)
            time.sleep(0.01)

    threading.Thread(target=other, daemon=True).start()
    print("started", flush=True)
    while not stop:
        {body}
        mark = 1
    print("stopped", flush=True)
"""


def app(folder: Path) -> Path:
    write(folder, "helper.py", HELPER)
    return write(folder, "app.py", APP)


def attach(port: int, breakpoints: dict[Path, list[int]], **more: Any) -> Client:
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach(breakpoints={str(path): lines for path, lines in breakpoints.items()}, **more)
    return client


def stop(client: Client) -> tuple[int, dict[str, Any]]:
    thread = client.wait_stopped()
    return thread, client.stack(thread)[0]


def place(frame: dict[str, Any]) -> tuple[str, int]:
    return Path(frame["source"]["path"]).name, frame["line"]


@pytest.mark.parametrize("debugger_wait", ["60", "forever"])
def test_held(run: Run, tmp_path: Path, port: int, debugger_wait: str) -> None:
    """A breakpoint set before the program goes on is hit on its first line, in a function, in an imported module and in
    a thread; variables and evaluation work; output and status are the program's own."""
    path = app(tmp_path)
    work, helped, answer = line_of(path, "return total"), 3, line_of(path, 'print("thread"')
    program = run("app.py", DEBUGGER_WAIT=debugger_wait)
    with attach(port, {path: [1, work, answer], tmp_path / "helper.py": [helped]}) as client:
        seen = []
        for _ in range(4):
            thread, frame = stop(client)
            seen.append(place(frame))
            if seen[-1] == ("app.py", work):
                assert client.locals(frame["id"])["total"] == "8"
                assert client.evaluate("n * 100 + total", frame["id"]) == "408"
            client.continue_(thread)
        assert seen == [("app.py", 1), ("app.py", work), ("helper.py", helped), ("app.py", answer)]
        assert program.wait() == 0
    assert program.stdout.split("\n") == ["work 8", "help 6", "thread 42", "done", ""]
    assert len(program.ours) == 1
    assert program.others == ""


@pytest.mark.parametrize("how", ["-m", "console script", "-c", "stdin", "zipapp"])
def test_ways_to_start(run: Run, tmp_path: Path, port: int, how: str) -> None:
    """A module imported by any kind of program stops at its breakpoint."""
    helper = write(tmp_path, "helper.py", HELPER)
    code = "import helper; print(helper.help_me(1))"
    arguments: list[str] = ["-c", code]
    stdin = None
    expected = [("helper.py", 3)]
    breakpoints = {helper: [3]}
    if how == "-m":
        write(tmp_path, "pkg/__init__.py", "")
        main = write(tmp_path, "pkg/__main__.py", f"first = 1\n{code}\n")
        arguments, breakpoints, expected = (
            ["-m", "pkg"],
            {main: [1], helper: [3]},
            [("__main__.py", 1), ("helper.py", 3)],
        )
    elif how == "console script":
        script = write(tmp_path, "bin/tool", f"#!{sys.executable}\nimport sys; sys.path.insert(0, '.')\n{code}\n")
        script.chmod(0o755)
        arguments = [str(script)]
    elif how == "stdin":
        arguments, stdin = ["-"], code + "\n"
    elif how == "zipapp":
        with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
            archive.writestr("__main__.py", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}\n")
        arguments = ["app.pyz"]
    program = run(*arguments, stdin=stdin, DEBUGGER_WAIT=60)
    with attach(port, breakpoints) as client:
        seen = []
        for _ in expected:
            thread, frame = stop(client)
            seen.append(place(frame))
            client.continue_(thread)
        assert seen == expected
        assert program.wait() == 0
    assert program.stdout == "2\n"


@pytest.mark.parametrize("wait", [0, 60], ids=["not held", "held"])
def test_modules_with_the_standard_librarys_names(run: Run, tmp_path: Path, port: int, wait: int) -> None:
    """A program whose own modules have names of the standard library's is attached to; none of them runs but by its own
    import, and that finds it."""
    write(tmp_path, "code.py", "print('code runs')\n")
    write(tmp_path, "queue.py", "mine = 1\n")
    path = write(
        tmp_path,
        "app.py",
        """
        import sys, time
        print("started", flush=True)
        stop = False
        while not stop:
            time.sleep(0.01)
            mark = 1
        import queue
        print(queue.mine)
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=wait)
    if not wait:
        program.wait_for("started", "stdout")
    with attach(port, {path: [line_of(path, "mark = 1")]}) as client:
        thread, frame = stop(client)
        client.evaluate("exec('stop = True', globals())", frame["id"], "repl")
        client.continue_(thread)
        assert program.wait() == 0
    assert program.stdout == "started\n1\n"
    assert program.others == ""


@pytest.mark.parametrize("body", ["spin(10_000)", "time.sleep(0.01)"], ids=["busy", "idle"])
@pytest.mark.parametrize("leaves", ["disconnects", "vanishes"])
def test_not_held(run: Run, tmp_path: Path, port: int, body: str, leaves: str) -> None:
    """With DEBUGGER_WAIT=0 the program runs at once with nothing loaded; a client that comes later stops it in functions
    entered later, in the running frame, in the main thread and in another; when it leaves the program goes on, and the
    next client is let in."""
    path = write(tmp_path, "app.py", LOOP.format(body=body))
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("started", "stdout")
    in_spin, in_frame, in_thread = (
        line_of(path, "return x"),
        line_of(path, "mark = 1"),
        line_of(path, "time.sleep(0.01)"),
    )
    lines = [in_frame, in_thread] + ([in_spin] if "spin" in body else [])
    for turn in range(2):
        client = attach(port, {})
        for line in lines:  # one after the other: debugpy may lose count of threads that stop at the same instant
            client.set_breakpoints(str(path), [line])
            thread, frame = stop(client)
            assert frame["line"] == line
            client.set_breakpoints(str(path), [])
            client.continue_(thread)
        if leaves == "vanishes" and turn == 0:
            client.close()
        else:
            client.disconnect()
            client.close()
    with attach(port, {path: [in_frame]}) as client:
        thread, frame = stop(client)
        client.evaluate("globals().__setitem__('stop', True)", frame["id"], context="repl")
        client.disconnect()
        assert program.wait() == 0
    assert program.stdout == "started\nstopped\n"
    assert program.others == ""


def test_after_the_hold(run: Run, tmp_path: Path, port: int) -> None:
    """A hold that ran out leaves the door open."""
    path = write(tmp_path, "app.py", LOOP.format(body="time.sleep(0.01)"))
    program = run("app.py", DEBUGGER_WAIT=0.5)
    program.wait_for("started", "stdout")
    with attach(port, {path: [line_of(path, "mark = 1")]}) as client:
        stop(client)
    assert len(program.ours) == 2
    assert "at any time" in program.ours[1]


def test_a_blocked_main_thread(run: Run, tmp_path: Path, port: int) -> None:
    """A client is let in although the main thread sits in a call that does not return."""
    path = write(
        tmp_path,
        "app.py",
        """
        import queue, threading, time
        def worker():
            while True:
                tick = 1
                time.sleep(0.05)
        threading.Thread(target=worker, daemon=True).start()
        print("started", flush=True)
        queue.Queue().get()
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("started", "stdout")
    with attach(port, {path: [line_of(path, "time.sleep")]}) as client:
        _, frame = stop(client)
        assert frame["name"] == "worker"


def test_nothing_is_loaded_for_nobody(run: Run, tmp_path: Path, port: int) -> None:
    """With nobody there no debugger is in the process, held or not, and `threading` knows of no thread of ours."""
    write(
        tmp_path,
        "app.py",
        """
        import sys, threading
        print(sorted(name for name in sys.modules if "pydev" in name or name.partition(".")[0] in ("debugpy", "ptvsd")))
        print(threading.active_count(), sys.gettrace(), threading.main_thread() is threading.current_thread())
        """,
    )
    for seconds in (0, 0.3):
        program = run("app.py", DEBUGGER_WAIT=seconds)
        assert program.wait() == 0
        assert program.stdout == "[]\n1 None True\n"


def test_connect(run: Run, tmp_path: Path) -> None:
    """DEBUGGER_MODE=connect: VS Code listens, the program connects to it, in either order of starting."""
    path = app(tmp_path)
    work = line_of(path, "return total")
    port = free_port()
    program = run("app.py", DEBUGGER_MODE="connect", DEBUGGER_PORT=port, DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
    program.wait_for("waiting")
    with Client.listen(sys.executable, "127.0.0.1", port) as client:
        client.attach(breakpoints={str(path): [1, work]})
        thread, frame = stop(client)
        assert place(frame) == ("app.py", 1)
        client.continue_(thread)
        thread, frame = stop(client)
        assert client.locals(frame["id"])["total"] == "8"
        client.continue_(thread)
        assert program.wait() == 0
    assert program.stdout.endswith("done\n")
    with Client.listen(sys.executable, "127.0.0.1", port) as client:
        program = run("app.py", DEBUGGER_MODE="connect", DEBUGGER_PORT=port, DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
        client.attach(breakpoints={str(path): [1]})
        thread, _ = stop(client)
        client.close()  # VS Code is closed at a stop
        assert program.wait() == 0
    assert program.stdout.endswith("done\n")


def test_pipes_end_with_the_program(run: Run, tmp_path: Path, port: int) -> None:
    """`out=$(START_DEBUGGER=1 python app.py)` has its end of file when the program ends, though a client stays on."""
    path = app(tmp_path)
    env = {
        **os.environ,
        "START_DEBUGGER": "1",
        "DEBUGGER_PORT": str(port),
        "DEBUGGER_WAIT": "60",
        "DEBUGGER_IDE": "debugpy",
    }
    shell = subprocess.Popen(
        ["sh", "-c", f'out=$({sys.executable} app.py); echo "$out"; date +%s.%N'],
        cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with attach(port, {path: [1]}) as client:
            thread, _ = stop(client)
            client.continue_(thread)
            out, _ = shell.communicate(timeout=LIMIT)
            lines = out.decode().splitlines()
            assert lines[-2] == "done"
    finally:
        shell.kill()
        shell.wait()


def test_the_adapter_ends_with_the_program(run: Run, tmp_path: Path, port: int) -> None:
    """When program and client are gone nobody listens on the port any more, and no process of ours is left."""
    path = app(tmp_path)
    program = run("app.py", DEBUGGER_WAIT=60)
    with attach(port, {path: [1]}) as client:
        thread, _ = stop(client)
        client.continue_(thread)
        assert program.wait() == 0
    wait_until(lambda: not listeners(port), "free port")


@pytest.mark.parametrize("held", [True, False], ids=["held", "not held"])
@pytest.mark.parametrize("what", ["leaves", "half a message", "http"])
def test_strangers_at_the_door(run: Run, tmp_path: Path, port: int, what: str, held: bool) -> None:
    """A port scanner, a health check, a client that goes away in the handshake: the door stays open, nothing is loaded
    for them, and the IDE that comes next is let in."""
    path = write(tmp_path, "app.py", LOOP.format(body="time.sleep(0.01)"))
    program = run("app.py", DEBUGGER_WAIT=60 if held else 0)
    program.wait_for("at 127.0.0.1")
    for _ in range(3):
        stranger = socket.create_connection(("127.0.0.1", port), LIMIT)
        if what == "http":
            stranger.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stranger.recv(100) == b""
        elif what == "half a message":
            stranger.sendall(b"Content-Le")
        stranger.close()
    crowd = [socket.create_connection(("127.0.0.1", port), LIMIT) for _ in range(40)]  # more than are kept
    for mute in crowd[::2]:
        mute.sendall(b"Content-Le")
    with attach(port, {path: [line_of(path, "mark = 1")]}) as client:
        stop(client)
    for mute in crowd:
        mute.close()
    assert len([line for line in program.ours if "speaks something else" in line]) == (what == "http")


@pytest.mark.skipif(os.name != "posix", reason="a system without sh")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stream_is_closed(run: Run, tmp_path: Path, port: int, number: int) -> None:
    """A program that is started with stdin, stdout or stderr closed is attached to, and its children find it closed."""
    path = write(
        tmp_path,
        "app.py",
        f"""
        import os
        if os.system(": 9<&{number}"):
            open("closed", "w").close()
        """,
    )
    program = run("-c", f'exec "$PYTHON" app.py {number}<&-', python="/bin/sh", PYTHON=sys.executable, DEBUGGER_WAIT=60)
    with attach(port, {path: [2]}) as client:
        thread, frame = stop(client)
        assert place(frame) == ("app.py", 2)
        client.continue_(thread)
        assert program.wait() == 0, program.dump()
    assert (tmp_path / "closed").exists()


def test_leaves_in_the_handshake(run: Run, tmp_path: Path, port: int) -> None:
    """A client that has said `initialize` and goes away costs the hold nothing: the next one is let in."""
    path = app(tmp_path)
    program = run("app.py", DEBUGGER_WAIT=60)
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.request("initialize", {"adapterID": "test"})
    client.close()
    time.sleep(0.5)
    with attach(port, {path: [1]}) as client:
        thread, frame = stop(client)
        assert place(frame) == ("app.py", 1)
        client.continue_(thread)
        assert program.wait() == 0


def test_vanishes_in_the_handshake(run: Run, tmp_path: Path, port: int) -> None:
    """A client that is killed before its last request is answered ends nobody's session but its own."""
    path = write(tmp_path, "app.py", LOOP.format(body="time.sleep(0.01)"))
    program = run("app.py", DEBUGGER_WAIT=0)
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.request("initialize", {"adapterID": "test"})
    client.send("attach", {"justMyCode": False})
    client.wait_event("initialized")
    program.send(signal.SIGSTOP)  # it answers later
    assert client._socket is not None
    number = client._socket.getsockname()[1]
    client.send("configurationDone")
    wait_until(lambda: unread(port, number) == 0, "adapter that has read it")
    client.close()
    program.send(signal.SIGCONT)
    with attach(port, {path: [line_of(path, "mark = 1")]}) as client:
        stop(client)
    assert len(program.ours) == 1


def unread(port: int, peer: int) -> int:
    """How many bytes wait for who has the port, on the connection from another port."""
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if [int(fields[at].rpartition(":")[2], 16) for at in (1, 2)] == [port, peer]:
                return int(fields[4].rpartition(":")[2], 16)
    raise AssertionError("no connection")


@pytest.mark.parametrize("says", [b"", b"Content-Length: 1000\r\n\r\n{", "initialize"])
def test_the_hold_is_bounded(run: Run, tmp_path: Path, port: int, says: bytes | str) -> None:
    """DEBUGGER_WAIT=3 lets the program go after three seconds, however the client behaves."""
    app(tmp_path)
    program = run("app.py", DEBUGGER_WAIT=3)
    program.wait_for("waiting")
    start = time.monotonic()
    client = Client.connect("127.0.0.1", port, LIMIT)
    if isinstance(says, str):
        client.send(says, {"adapterID": "test"})
    else:
        client._write(says)
    assert program.wait() == 0
    assert 2 < time.monotonic() - start < 12
    client.close()
    assert program.stdout.endswith("done\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["hold", "loading", "handshake"])
def test_signals_end_a_hold(run: Run, tmp_path: Path, port: int, number: int, moment: str) -> None:
    """Ctrl-C and SIGTERM in a hold, and while the debugger loads, end the process by the signal, without a traceback."""
    app(tmp_path)
    program = run("app.py", DEBUGGER_WAIT=60)
    program.wait_for("waiting")
    if moment != "hold":
        client = Client.connect("127.0.0.1", port, LIMIT)
        client.send("initialize", {"adapterID": "test"})
        time.sleep(0.15 if moment == "loading" else 2)
    program.send(number)
    assert program.wait() == -number
    assert program.stdout == ""
    assert program.others == ""


def test_two_listens(run: Run, tmp_path: Path, port: int) -> None:
    """A program that calls debugpy.listen() itself gets an error instead of a hang once our session is there."""
    path = write(
        tmp_path,
        "app.py",
        "import debugpy\ntry:\n    debugpy.listen(0)\nexcept RuntimeError as e:\n    print('refused')\n",
    )
    program = run("app.py", DEBUGGER_WAIT=60)
    with attach(port, {path: [1]}) as client:
        thread, _ = stop(client)
        client.continue_(thread)
        assert program.wait() == 0
    assert program.stdout == "refused\n"


def test_path_mappings(run: Run, tmp_path: Path, port: int) -> None:
    """DEBUGGER_PATH_MAPPINGS maps the IDE's folder to this machine's, both ways; what the IDE itself sends wins."""
    path = app(tmp_path)
    line = line_of(path, "return total")
    for mappings, sent in (("/ide=" + str(tmp_path), None), ("/wrong=" + str(tmp_path), {"/ide": str(tmp_path)})):
        program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_PATH_MAPPINGS=mappings)
        with Client.connect("127.0.0.1", port, LIMIT) as client:
            client.attach(breakpoints={"/ide/app.py": [line]}, path_mappings=sent)
            thread, frame = stop(client)
            assert frame["source"]["path"] == "/ide/app.py"
            client.continue_(thread)
            assert program.wait() == 0
        wait_until(lambda: not listeners(port), "free port")


def test_log(run: Run, tmp_path: Path, port: int) -> None:
    """DEBUGGER_LOG is a folder, made if need be, for the debugger's own logs."""
    app(tmp_path)
    program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_LOG=tmp_path / "logs" / "of today")
    with attach(port, {}):
        assert program.wait() == 0
    names = [path.name for path in (tmp_path / "logs" / "of today").iterdir()]
    assert any("adapter" in name for name in names)
    assert any("server" in name for name in names)


def test_the_other_debugger_is_never_loaded(run: Run, tmp_path: Path, port: int) -> None:
    """With several debuggers in one environment the chosen one works, the others are never loaded, and the message names
    the choice and the variable."""
    code = "import sys\nprint(sorted({'debugpy', 'ptvsd', 'pydevd_pycharm'} & set(sys.modules)))\nprint(sys.modules['pydevd'].__file__)\n"
    path = write(tmp_path, "app.py", code)
    several = sum(importlib.util.find_spec(name) is not None for name in DEBUGGERS.values()) > 1
    program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_IDE="vscode")
    with attach(port, {path: [2]}) as client:
        thread, _ = stop(client)
        client.continue_(thread)
        assert program.wait() == 0
    assert program.stdout.startswith("['debugpy']\n")
    assert "debugpy" in program.stdout.splitlines()[1]
    assert ("debugpy, chosen by DEBUGGER_IDE" in program.ours[0]) == several


@pytest.mark.parametrize("body", ["time.sleep(0.01)", "sum(range(1000))"], ids=["idle", "busy"])
@pytest.mark.parametrize(
    "later", ["", "import threading; assert threading.main_thread() is threading.current_thread()"]
)
def test_a_program_without_threading(run: Run, tmp_path: Path, port: int, body: str, later: str) -> None:
    """`threading`, which comes with the debugger, knows the main thread of a program that has not imported it, and the
    program ends as ever."""
    path = write(
        tmp_path,
        "app.py",
        f"""
        import sys, time
        print("threading" in sys.modules, flush=True)
        stop = False
        while not stop:
            {body}
            mark = 1
        {later}
        import os
        if hasattr(os, "fork"):
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        print("end")
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("False", "stdout")
    with attach(port, {path: [line_of(path, "mark = 1")]}) as client:
        _, frame = stop(client)
        assert frame["line"] == line_of(path, "mark = 1")
        client.evaluate("globals().__setitem__('stop', True)", frame["id"], context="repl")
        client.disconnect()
        assert program.wait() == 0
    assert program.stdout == "False\nend\n"
    assert program.others == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there it cannot be removed")
def test_no_working_directory(run: Run, tmp_path: Path, port: int) -> None:
    """Where the program's working directory has been removed debugpy cannot work: one line, and it runs on."""
    text = """
        import os, time
        os.mkdir("d")
        os.chdir("d")
        os.rmdir("../d")
        print("up", flush=True)
        while not os.path.exists(os.environ["STOP"]):
            time.sleep(0.02)
        print("end")
    """
    program = run(write(tmp_path, "app.py", text), DEBUGGER_WAIT=0, STOP=tmp_path / "stop")
    program.wait_for("up", "stdout")
    with Client.connect("127.0.0.1", port, LIMIT) as client, pytest.raises(ConnectionError):
        client.attach({})
    program.wait_for("the working directory of this program has been removed")
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "up\nend\n"
    assert program.others == ""
