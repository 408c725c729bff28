"""`autoattach attach PID` and `autoattach detach PID`: a debugger for a program that runs, and out of it again."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import LIMIT, PACE, SLOWER, Program, environment, has, line_of, listeners, needs, wait_until, write

from autoattach import _channel
from autoattach._errors import AttachError
from autoattach.cli import _inject, _remote
from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server
from autoattach.cli._running import READY
from autoattach.cli.attach import as_options

Run = Callable[..., Program]
Call = Callable[..., "tuple[int, list[dict[str, Any]], Program]"]

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what the system tells of a process")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
REMOTE_EXEC = sys.version_info >= (3, 14)

LOOP = """
    import os, sys
    from pace import pace

    def helper(n):
        return n + 1

    def count(turn):
        return turn + 1  # breakpoint

    print("up", flush=True)
    turn = 0
    while not os.path.exists("stop"):
        figure = pace(helper)
        turn = count(turn)  # running
        with open("pace.new", "w") as file:
            file.write(f"{turn} {figure}")
        os.replace("pace.new", "pace")
"""
BLOCKED = """
    import sys
    print("up", flush=True)
    with open("fifo") as file:  # until somebody opens it to write
        text = file.read()
    print("hit", text)  # breakpoint
"""
IDLE = """
    import os, time
    print("up", flush=True)
    while not os.path.exists("stop"):
        time.sleep(0.02)
"""


def may_inject() -> str:
    """Why a process that never had a hook cannot be made to run a script here, or an empty string."""
    if not REMOTE_EXEC and shutil.which("gdb") is None:
        return "no gdb, and no sys.remote_exec before 3.14"
    try:
        with open(_inject.YAMA) as file:
            scope = file.read().strip()
    except OSError:
        scope = "0"
    if scope != "0" and os.geteuid() != 0:
        return f"kernel.yama.ptrace_scope={scope}"
    probe = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "ptrace"):
            return "no ptrace here"
        seized = libc.ptrace(0x4206, probe.pid, None, None)  # PTRACE_SEIZE, which does not stop it
        return "" if seized == 0 else f"ptrace: {os.strerror(ctypes.get_errno())}"
    finally:
        probe.kill()
        probe.communicate()


WHY_NOT = may_inject() if sys.platform.startswith("linux") else "tried on Linux"
injects = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Run]:
    """Run `autoattach COMMAND ...`."""
    programs = []

    def start(*arguments: object, **env: object) -> Program:
        programs.append(Program(tmp_path, "-m", "autoattach", *arguments, **env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def call(command: Run) -> Call:
    """Run it with --json: its exit status, what it says of each process, and the process that it was."""

    def call(name: str, *arguments: object, **env: object) -> tuple[int, list[dict[str, Any]], Program]:
        done = command(name, "--json", *arguments, **env)
        status = done.wait()
        return status, json.loads(done.stdout) if done.stdout else [], done

    return call


def plain(run: Run, tmp_path: Path, text: str, **env: Any) -> Program:
    """A program that never had a hook."""
    write(tmp_path, "pace.py", PACE)
    write(tmp_path, "app.py", text)
    program = run("app.py", **{"START_DEBUGGER": None, "DEBUGGER_PORT": None, "DEBUGGER_IDE": None, **env})
    program.wait_for("up", "stdout")
    return program


def pace(tmp_path: Path) -> float:
    """That of the loop, measured from now on: the better of two turns."""
    found: dict[int, float] = {}

    def look() -> bool:
        try:
            turn, _, figure = (tmp_path / "pace").read_text().partition(" ")
        except OSError:
            return False
        found[int(turn)] = float(figure)
        return len(found) > 3

    wait_until(look, "measurement")
    return min(figure for turn, figure in found.items() if turn > min(found) + 1)


def stop_and_go(port: int, path: Path, line: str = "# breakpoint") -> Client:
    """A client that has seen the program stop at the line; it has let it go on, without the breakpoint."""
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({str(path): [line_of(path, line)]})
    thread = client.wait_stopped(LIMIT)
    assert client.stack(thread)[0]["line"] == line_of(path, line)
    client.set_breakpoints(str(path), [])
    client.continue_(thread)
    return client


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


# --- a program that never had a hook


@injects
@pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in ("debugpy", "ptvsd")])
def test_a_program_without_a_hook_is_attached_to_detached_from_and_attached_to_again(
    run: Run, call: Call, command: Run, tmp_path: Path, port: int, debugger: str
) -> None:
    """Its breakpoints are hit; detached it is as fast as before; and so again, then on its own channel."""
    program = plain(run, tmp_path, LOOP)
    before = pace(tmp_path)
    for turn in range(2):
        status, (row,), done = call("attach", "--ide", debugger, "--port", port, program.pid)
        assert status == 0, done.dump()
        assert row["how"] == ("channel" if turn else "remote_exec" if REMOTE_EXEC else "gdb")
        assert (row["pid"], row["leader"], row["debugger"], row["port"]) == (program.pid, program.pid, debugger, port)
        table = command("ps")
        assert table.wait() == 0
        assert f"{program.pid}  leader" in table.stdout
        if sys.platform.startswith("linux") and not (turn and debugger == "ptvsd"):  # whose threads stay
            assert threads(program.pid) == 2  # the one that waits
        client = stop_and_go(port, tmp_path / "app.py", "# breakpoint" if turn else "# running")
        status, (row,), done = call("detach", program.pid)
        assert (status, row["detached"]) == (0, True), done.dump()
        client.close()
        assert pace(tmp_path) < SLOWER * before
        table = command("ps")
        assert (table.wait(), table.stdout) == (0, "")
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    assert program.stdout == "up\n"


@injects
def test_two_who_attach_at_once(run: Run, command: Run, tmp_path: Path, port: int) -> None:
    """One after the other has its turn, for a process has room for one gdb; both are told of the one session."""
    program = plain(run, tmp_path, IDLE)
    both = [command("attach", "--ide", "debugpy", "--port", port, program.pid) for _ in range(2)]
    assert [done.wait() for done in both] == [0, 0], "".join(done.dump() for done in both)
    assert all(f"VS Code can attach at 127.0.0.1:{port}" in done.stdout for done in both)


@pytest.mark.skipif(sys.version_info >= (3, 10), reason="Python counts traced threads no more")
@pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in ("debugpy", "pydevd-pycharm")])
def test_no_thread_counts_as_traced_after_a_detach(
    run: Run, call: Call, tmp_path: Path, port: int, debugger: str
) -> None:
    """Else Python 3.8 and 3.9 run the program a quarter more slowly than before; threads may have come and gone."""
    text = """
        import os, threading, time
        from autoattach.debuggers import _traced
        def step(n):
            return n + 1  # breakpoint
        def stay():
            while not os.path.exists("stop"):
                time.sleep(0.01)
                step(1)
        threading.Thread(target=stay).start()
        while not os.path.exists("stop"):
            if not os.path.exists("detached"):
                thread = threading.Thread(target=step, args=(1,))
                thread.start()
                thread.join()
            print(_traced._count.value, flush=True)
            time.sleep(0.01)
    """
    path = write(tmp_path, "app.py", text)
    breakpoints = {str(path): [line_of(path, "# breakpoint")]}
    with Server(port=port) if debugger == "pydevd-pycharm" else nullcontext() as server:
        program = run("app.py", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
        if server is not None:
            session = server.accept(LIMIT)
            session.start(breakpoints)
        else:
            session = Client.connect("127.0.0.1", port, LIMIT)
            session.attach(breakpoints)
        session.wait_stopped(LIMIT)
        status, _, done = call("detach", program.pid)
        assert status == 0, done.dump()
        (tmp_path / "detached").touch()
        session.close()
        assert program.stdout.split()[0] != "0"
        wait_until(lambda: program.stdout.endswith("\n0\n0\n0\n"), "count", program=program)
        (tmp_path / "stop").touch()
        assert program.wait() == 0, program.dump()


@injects
@needs("debugpy")
def test_a_program_that_is_blocked_in_a_call(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """It is attached to while its main thread sleeps in the kernel, and stops once that has returned."""
    if REMOTE_EXEC and shutil.which("gdb") is None:
        pytest.skip("no gdb, which alone wakes a main thread")
    os.mkfifo(tmp_path / "fifo")
    program = plain(run, tmp_path, BLOCKED)
    status, _, done = call("attach", "--ide", "debugpy", "--port", port, program.pid)
    assert status == 0, done.dump()
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({str(tmp_path / "app.py"): [line_of(tmp_path / "app.py", "# breakpoint")]})
    (tmp_path / "fifo").write_text("text")
    client.continue_(client.wait_stopped(LIMIT))
    assert program.wait() == 0, program.dump()
    assert program.stdout == "up\nhit text\n"
    client.close()


@injects
@needs("debugpy")
@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb")
def test_gdb_that_waits_in_vain(run: Run, tmp_path: Path, port: int) -> None:
    """A C extension keeps Python's lock for longer than gdb may take: the line says so, and it attaches afterwards."""
    os.mkfifo(tmp_path / "fifo")
    keep = """
        import ctypes, threading, time
        threading.Thread(target=lambda: (time.sleep(0.5), ctypes.PyDLL(None).sleep(35))).start()
    """
    text = textwrap.dedent(keep) + textwrap.dedent(BLOCKED)
    program = plain(run, tmp_path, text, PYTHON_DISABLE_REMOTE_DEBUG="1")
    time.sleep(1)
    code = (
        "import sys; from autoattach.cli import _inject, main; _inject.PATIENCE = 10;"
        f"sys.exit(main(['attach', '--ide', 'debugpy', '--port', '{port}', '{program.pid}']))"
    )
    done = run("-c", code, START_DEBUGGER=None)
    assert done.wait() == 1
    assert "was asked, but an extension keeps Python's lock for more than 10 s" in done.stderr
    program.wait_for(f"can attach at 127.0.0.1:{port}")
    (tmp_path / "fifo").write_text("text")
    assert program.wait() == 0, program.dump()
    assert program.stdout == "up\nhit text\n"


@injects
@needs("debugpy")
def test_a_python_that_has_neither_autoattach_nor_a_debugger(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """Both are lent to it: they are found by it alone, and its path is as it was."""
    bare = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    there = subprocess.run([bare, "-c", "import autoattach"], env=environment(), capture_output=True, cwd=tmp_path)
    if there.returncode == 0:
        pytest.skip(f"autoattach is installed in {bare}")
    text = IDLE.replace("import os, time", "import os, sys, time; before = list(sys.path)")
    text += "    assert sys.path == before, sys.path\n    print('same path')  # breakpoint\n"
    program = plain(run, tmp_path, text, python=str(bare))
    status, (row,), done = call("attach", "--ide", "debugpy", "--port", port, program.pid)
    assert (status, row["debugger"]) == (0, "debugpy"), done.dump()
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({str(tmp_path / "app.py"): [line_of(tmp_path / "app.py", "# breakpoint")]})
    (tmp_path / "stop").touch()
    client.continue_(client.wait_stopped(LIMIT))
    assert program.wait() == 0, program.dump()
    assert program.stdout == "up\nsame path\n"
    client.close()


@injects
@needs("pydevd-pycharm")
def test_pycharm(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """It connects to PyCharm's debug server, and its breakpoints are hit; where nobody listens, one line says so."""
    program = plain(run, tmp_path, LOOP)
    status, (row,), done = call("attach", "--ide", "pycharm", "--port", port, program.pid)
    assert (status, row["how"]) == (1, ""), done.dump()
    assert f"127.0.0.1:{port}" in done.stderr
    before = pace(tmp_path)
    app = tmp_path / "app.py"
    with Server(port=port) as server:
        attaching = Program(tmp_path, "-m", "autoattach", "attach", "--ide", "pycharm", "--port", port, program.pid)
        try:
            session = server.accept(LIMIT)
            session.start({str(app): [line_of(app, "# breakpoint")]})
            try:
                assert session.wait_stopped(LIMIT).line == line_of(app, "# breakpoint")
            except Exception as error:
                raise AssertionError(f"{error}\n{attaching.dump()}\n{program.dump()}") from None
            session.set_breakpoints({str(app): []})
            session.resume()
            assert attaching.wait() == 0, attaching.dump()
            assert f"127.0.0.1:{port}" in attaching.stdout
            status, _, done = call("detach", program.pid)
            assert status == 0, done.dump()
            assert pace(tmp_path) < SLOWER * before
            session.close()
        finally:
            attaching.close()
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()


@injects
@needs("debugpy")
def test_a_pattern_attaches_to_many_in_one_session(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """Every process whose command line matches, and none else: the first leads, the others are in its session."""
    write(tmp_path, "one_worker.py", IDLE)
    programs = [plain(run, tmp_path, IDLE)]
    programs += [run("one_worker.py", START_DEBUGGER=None, DEBUGGER_PORT=None, DEBUGGER_IDE=None) for _ in range(2)]
    for program in programs:
        program.wait_for("up", "stdout")
    pattern = "*one_w?rker.py"
    _, rows, done = call("attach", "--ide", "debugpy", "--port", port, pattern)
    # Tests that run beside this one may have such programs, too
    ours = [row for row in rows if row["pid"] in {program.pid for program in programs}]
    assert [row["pid"] for row in ours] == [program.pid for program in programs[1:]], done.dump()
    assert len({row["leader"] for row in ours}) == 1
    _, rows, done = call("detach", "--all")
    assert {row["pid"] for row in rows} >= {program.pid for program in programs[1:]}, done.dump()
    _, rows, done = call("attach", "--all", "--ide", "debugpy", "--port", port)
    ours = [row for row in rows if row["pid"] in {program.pid for program in programs}]
    assert [row["how"] for row in ours] == ["channel", "channel"], done.dump()
    assert len({row["leader"] for row in ours}) == 1
    (tmp_path / "stop").touch()
    for program in programs:
        assert program.wait() == 0, program.dump()


@injects
@needs("debugpy")
@pytest.mark.skipif(not REMOTE_EXEC, reason="sys.remote_exec is there from Python 3.14 on")
@pytest.mark.parametrize("how", ["variable", "option"])
def test_remote_exec_that_is_disabled(run: Run, call: Call, tmp_path: Path, port: int, how: str) -> None:
    """gdb does it instead; without gdb the line says what disables it."""
    write(tmp_path, "app.py", IDLE)
    env: dict[str, Any] = {"START_DEBUGGER": None, "DEBUGGER_PORT": None, "DEBUGGER_IDE": None}
    if how == "variable":
        env["PYTHON_DISABLE_REMOTE_DEBUG"] = "1"
    options = ["-X", "disable-remote-debug"] if how == "option" else []
    program = run(*options, "app.py", **env)
    program.wait_for("up", "stdout")
    status, (row,), done = call("attach", program.pid, PATH="/nowhere")
    assert status == 1
    named = "PYTHON_DISABLE_REMOTE_DEBUG" if how == "variable" else "-X disable-remote-debug"
    assert named in row["error"], done.dump()
    assert "gdb" in row["type"]
    if shutil.which("gdb"):
        status, (row,), done = call("attach", "--ide", "debugpy", "--port", port, program.pid)
        assert (status, row["how"]) == (0, "gdb"), done.dump()


# --- one of ours


@needs("debugpy")
def test_a_process_at_the_door_says_where(run: Run, call: Call, command: Run, tmp_path: Path, port: int) -> None:
    """Held or running, what is open already is said, and nothing is done to the process; held, it is not detached from."""
    write(tmp_path, "app.py", IDLE)
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    status, (row,), done = call("attach", program.pid)
    assert (status, row["how"], row["port"], row["leader"]) == (0, "open", port, program.pid), done.dump()
    status, (row,), done = call("detach", program.pid)
    assert (status, row["detached"]) == (1, False)
    assert "held" in row["error"]
    said = command("attach", program.pid)
    assert said.wait() == 0
    assert f"pid {program.pid} " in said.stdout
    assert f"VS Code can attach at 127.0.0.1:{port} (debugpy)" in said.stdout
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({})
    program.wait_for("up", "stdout")
    client.close()


@linux
@needs("debugpy")
def test_there_is_one_sleeping_thread_and_no_file_for_others(run: Run, call: Call, tmp_path: Path) -> None:
    """At the door and after a detach there is one thread beside the program's, and the channel is the user's alone."""
    write(tmp_path, "app.py", IDLE)
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("up", "stdout")
    folder = tmp_path / f"autoattach-{os.geteuid()}"
    assert (folder / f"{program.pid}.ctl").is_socket()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert threads(program.pid) == 2
    assert call("detach", program.pid)[0] == 0
    wait_until(lambda: threads(program.pid) == 2, "single thread")
    status, (row,), _ = call("detach", program.pid)
    assert (status, row["detached"]) == (1, False)
    assert "not attached" in row["error"]
    status, (row,), done = call("attach", "--port", 0, program.pid)
    assert (status, row["how"]) == (0, "channel"), done.dump()
    wait_until(lambda: threads(program.pid) == 2, "single thread")


@needs("debugpy")
def test_a_process_that_could_not_attach(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """PyCharm was not there: the program runs with nothing open, and attaches when it is asked to."""
    write(tmp_path, "pace.py", PACE)
    write(tmp_path, "app.py", LOOP)
    program = run("app.py", DEBUGGER_IDE="debugpy", DEBUGGER_MODE="connect", DEBUGGER_WAIT=0.2)
    program.wait_for("up", "stdout")
    status, (row,), done = call("attach", "--mode", "listen", "--port", port, program.pid)
    assert (status, row["how"]) == (0, "channel"), done.dump()
    stop_and_go(port, tmp_path / "app.py").close()
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()


@linux
@needs("debugpy")
def test_a_fork_has_a_channel_of_its_own(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """A fork is detached from and attached to by itself, its parent's session stays; a detached process forks well."""
    text = """
        import os, time
        fork = os.fork()
        with open(f"{'child' if not fork else 'parent'}.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(file.name, file.name[:-4])
        while not os.path.exists("stop"):
            time.sleep(0.02)
        if fork:
            assert os.waitpid(fork, 0)[1] == 0
            second = os.fork()
            if not second:
                os._exit(0)
            assert os.waitpid(second, 0)[1] == 0
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", DEBUGGER_WAIT=0)
    child = int(wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text(), "child"))
    wait_until(lambda: (tmp_path / "parent").exists(), "parent")
    status, _, done = call("detach", child)
    assert status == 0, done.dump()
    status, rows, done = call("attach", program.pid, child)
    assert [row["how"] for row in rows] == ["open", "channel"], done.dump()
    assert {row["leader"] for row in rows} == {program.pid}
    assert call("detach", program.pid)[0] == 0
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()


@linux
@needs("debugpy")
def test_a_program_that_closes_all_files(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """A daemon's way: its own files are its own, whatever number they have, and it runs on."""
    text = """
        import os, time
        os.closerange(3, 100)
        files = [open("app.py") for _ in range(20)]
        print("up", flush=True)
        while not os.path.exists("stop"):
            for file in files:
                file.seek(0)
                assert file.read(1) == "i"
            time.sleep(0.02)
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("up", "stdout")
    if not WHY_NOT:
        status, (row,), done = call("attach", "--port", port, program.pid)
        assert (status, row["port"]) == (0, port), done.dump()
        client = Client.connect("127.0.0.1", port, LIMIT)
        client.attach({})
        client.disconnect()
        client.close()
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()


@needs("debugpy")
def test_detaching_while_it_stands_at_a_breakpoint(run: Run, call: Call, tmp_path: Path, port: int) -> None:
    """The program runs on."""
    write(tmp_path, "pace.py", PACE)
    write(tmp_path, "app.py", LOOP)
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    app = tmp_path / "app.py"
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({str(app): [line_of(app, "# breakpoint")]})
    client.wait_stopped(LIMIT)
    status, _, done = call("detach", program.pid)
    assert status == 0, done.dump()
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    client.close()


@linux
@needs("debugpy")
def test_a_deep_folder(run: Run, call: Call, tmp_path: Path) -> None:
    """A path that is too long for a socket's address is no obstacle."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    write(tmp_path, "app.py", IDLE)
    program = run("app.py", DEBUGGER_WAIT=0, TMPDIR=deep)
    program.wait_for("up", "stdout")
    for name in ("detach", "attach"):
        status, (row,), done = call(name, program.pid, DEBUGGER_PORT=0)
        assert status == 0, done.dump()
    assert row["how"] == "channel"


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    """No channel, and no word of it: the program is attached to as ever."""
    write(tmp_path, "app.py", "print('ran')\n")
    (tmp_path / "file").touch()
    program = run("app.py", DEBUGGER_WAIT=0, TMPDIR=tmp_path / "file")
    assert program.wait() == 0
    assert program.stdout == "ran\n"
    assert "Traceback" not in program.stderr


def test_after_its_own_detach_a_program_is_as_before(run: Run, tmp_path: Path) -> None:
    """autoattach.detach() leaves no thread, no file and no socket."""
    if not has("debugpy") or not sys.platform.startswith("linux"):
        pytest.skip("needs debugpy and /proc")
    text = """
        import os, time, autoattach
        def state():
            return len(os.listdir("/proc/self/task")), sum("socket" in os.readlink(f"/proc/self/fd/{n}") for n in "3456789" if os.path.exists(f"/proc/self/fd/{n}"))
        before = state()
        autoattach.attach("debugpy", port=0, wait=0)
        assert autoattach.detach()
        until = time.monotonic() + 30
        while state() != before and time.monotonic() < until:  # a thread takes a moment to end
            time.sleep(0.01)
        print(state() == before, os.listdir(os.path.join(os.environ["TMPDIR"], f"autoattach-{os.geteuid()}")))
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER=None, DEBUGGER_PORT=None)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "True []\n"


@linux
def test_the_peer_is_known(tmp_path: Path) -> None:
    """Who is at the other end of a channel is told by the system."""
    one, other = socket.socketpair()
    with one, other:
        assert _channel.user(one) == os.geteuid()  # type: ignore[arg-type]


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
@needs("debugpy")
def test_another_user_is_not_let_in(run: Run, tmp_path: Path) -> None:
    """Even with the folder open to all, who is not this user is turned away."""
    write(tmp_path, "app.py", IDLE)
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("up", "stdout")
    folder = tmp_path / f"autoattach-{os.geteuid()}"
    number = os.open(folder, os.O_RDONLY)
    code = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "sock.settimeout(20)\n"
        f"sock.connect('/proc/self/fd/{number}/{program.pid}.ctl')\n"
        "sock.sendall(b'detach\\n\\n')\n"
        "sys.exit(sock.recv(100) != b'')\n"
    )
    try:
        folder.chmod(0o777)
        (folder / f"{program.pid}.ctl").chmod(0o777)
        done = subprocess.run([sys.executable, "-S", "-c", code], pass_fds=[number], capture_output=True, timeout=LIMIT)
        refused = done.returncode == 0 or b"ConnectionReset" in done.stderr or b"BrokenPipe" in done.stderr
        assert refused, done.stderr
    finally:
        folder.chmod(0o700)
        os.close(number)


# --- what cannot be


@linux
def test_what_cannot_be_attached_to(command: Run, run: Run, tmp_path: Path) -> None:
    """No such process, no Python, no match, nothing named: one line each that says what to type, and status 1 or 2."""
    sleep = subprocess.Popen(["sleep", "60"])
    try:
        for arguments, status, text in (
            (["4194303"], 1, "there is no process with the id 4194303"),
            ([sleep.pid], 1, "which is no Python"),
            (["*no-such-program-here*"], 1, "no Python of yours has a command line that matches"),
            (["--all"], 1, "autoattach knows of no process of yours"),
            ([], 2, "which process"),
            (["--port", "x", "1"], 2, "not understood"),
        ):
            for name in ("attach", "detach"):
                if name == "detach" and "--port" in arguments:
                    continue
                done = command(name, *arguments)
                assert done.wait() == status, done.dump()
                assert text in done.stderr
                assert "Traceback" not in done.stderr
    finally:
        sleep.kill()
        sleep.wait()


@linux
def test_a_process_that_is_stopped_or_traced(run: Run, command: Run, tmp_path: Path) -> None:
    """It is said at once, with what has it run on."""
    program = plain(run, tmp_path, IDLE)
    program.send(signal.SIGSTOP)
    wait_until(lambda: _remote._state(program.pid)[0] == "T", "stop")
    done = command("attach", program.pid)
    assert done.wait() == 1
    assert f"kill -CONT {program.pid}" in done.stderr
    program.send(signal.SIGCONT)


@linux
@pytest.mark.skipif(REMOTE_EXEC, reason="needs no gdb")
def test_no_gdb(run: Run, command: Run, tmp_path: Path) -> None:
    """Before 3.14, without gdb and lldb, the line says what to install."""
    program = plain(run, tmp_path, IDLE)
    done = command("attach", program.pid, PATH="/nowhere")
    assert done.wait() == 1
    assert "neither gdb nor lldb is installed" in done.stderr
    assert "apt install gdb" in done.stderr


@injects
@needs("debugpy")
def test_a_program_that_gevent_has_changed(run: Run, command: Run, tmp_path: Path, port: int) -> None:
    """No debugger can be loaded into it: the line says so, and it runs on."""
    pytest.importorskip("gevent")
    program = plain(run, tmp_path, "from gevent import monkey\nmonkey.patch_all()\n" + textwrap.dedent(IDLE))
    done = command("attach", "--ide", "debugpy", "--port", port, program.pid)
    assert done.wait() == 1
    assert "no debugger can be loaded into it as it runs" in done.stderr
    assert not listeners(port)
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    assert (program.stdout, program.stderr) == ("up\n", "")


@linux
@needs("debugpy")
def test_armed_for_a_signal(run: Run, command: Run, call: Call, tmp_path: Path, port: int) -> None:
    """Where nobody may look into a process that waits for a signal, the line says to send that, and so it attaches."""
    env = {"START_DEBUGGER": "signal:USR2", "DEBUGGER_IDE": "debugpy", "PYTHON_DISABLE_REMOTE_DEBUG": "1"}
    program = plain(run, tmp_path, IDLE, **{**env, "DEBUGGER_PORT": port})
    done = command("attach", program.pid, PATH="/nowhere")
    assert done.wait() == 1
    assert f"; kill -USR2 {program.pid}, for which it has START_DEBUGGER" in done.stderr
    program.send(signal.SIGUSR2)
    program.wait_for(f"can attach at 127.0.0.1:{port}")
    status, (row,), _ = call("attach", program.pid, PATH="/nowhere")
    assert (status, row["how"], row["port"]) == (0, "open", port)


@linux
def test_what_only_looks_armed(run: Run, command: Run, tmp_path: Path) -> None:
    """Nobody is told to send a signal to a process that has no handler for it, and would die."""
    env = {"START_DEBUGGER": "signal:USR2", "DEBUGGER_SKIP": "*", "PYTHON_DISABLE_REMOTE_DEBUG": "1"}
    program = plain(run, tmp_path, IDLE, **env)
    done = command("attach", program.pid, PATH="/nowhere")
    assert done.wait() == 1
    assert "neither gdb nor lldb is installed" in done.stderr
    assert "kill" not in done.stderr


@linux
@needs("debugpy")
@pytest.mark.parametrize("ready", [True, False])
def test_one_that_lets_nobody_look_into_it(run: Run, tmp_path: Path, port: int, ready: bool) -> None:
    """Nor root without that capability. It is asked on its channel; without one the line says what makes it one."""
    env = (
        {"START_DEBUGGER": "1", "DEBUGGER_WAIT": "0", "DEBUGGER_PORT": port, "DEBUGGER_IDE": "debugpy"} if ready else {}
    )
    text = IDLE.replace("import os, time", "import ctypes, os, time; ctypes.CDLL(None).prctl(4, 0)")  # PR_SET_DUMPABLE
    program = plain(run, tmp_path, text, **env)
    code = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 19, 0, 0, 0);"  # PR_CAPBSET_DROP, CAP_SYS_PTRACE
        f"os.execv(sys.executable, [sys.executable, '-m', 'autoattach', 'attach', '{program.pid}'])"
    )
    done = run("-c", code, START_DEBUGGER=None)
    assert done.wait() == (0 if ready else 1)
    if ready:
        assert f"VS Code can attach at 127.0.0.1:{port}" in done.stdout
    else:
        assert f"pid {program.pid} is not permitted to be looked into: it has other rights" in done.stderr
        assert READY in done.stderr


@linux
def test_another_users_process(run: Run, command: Run, tmp_path: Path) -> None:
    """It is left alone, and the line says as whom to ask."""
    if os.geteuid() != 0:
        pytest.skip("only root can start one")
    code = "import os, time; os.setuid(65534); print('up', flush=True); time.sleep(100)"
    program = run("-c", code, START_DEBUGGER=None)
    program.wait_for("up", "stdout")
    done = command("attach", program.pid)
    assert done.wait() == 1
    assert f"autoattach attach {program.pid}" in done.stderr
    assert "sudo -u" in done.stderr


@pytest.mark.parametrize("scope", ["1", "2", "3", "0"])
def test_what_the_system_forbids(scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that is in the way is named, with what can be done about it."""
    monkeypatch.setattr(_inject, "in_container", lambda: False)
    error = _inject.forbidden(4711, scope)
    assert isinstance(error, AttachError)
    assert (f"ptrace_scope={scope}" in error.what) == (scope != "0")
    assert "4711" in error.what
    assert "START_DEBUGGER=1" in error.advice
    monkeypatch.setattr(_inject, "in_container", lambda: True)
    assert ("SYS_PTRACE" in _inject.forbidden(4711, scope).advice) == (scope == "0")


def test_advice_names_options() -> None:
    """What a process says of its variables is said as options."""
    assert as_options("set DEBUGGER_IDE=vscode or DEBUGGER_IDE=pycharm") == "--ide vscode or --ide pycharm"
    assert as_options("set DEBUGGER_PORT to another port") == "set --port to another port"
    assert as_options("pip install autoattach[vscode]") == "pip install autoattach[vscode]"
    assert as_options(READY) == READY  # of variables that are for another command
    assert as_options("set DEBUGGER_WAIT=60") == "set DEBUGGER_WAIT=60"
