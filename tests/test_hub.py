"""A hub: attached to once, it shows whatever starts with START_DEBUGGER, and it is there again when it was killed."""

from __future__ import annotations

import json
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
from support import LIMIT, Program, environment, line_of, listeners, needs, wait_until, write
from test_sessions import Ide

from autoattach.cli._dap import Client

Run = Callable[..., Program]
Attach = Callable[..., Ide]

pytestmark = needs("debugpy")

JOB = """
    import os, sys
    mark = 1
    print("job", os.getpid(), flush=True)
"""
WORKER = """
    import os, time
    mark = 1
    print("ready", os.getpid(), flush=True)
    while not os.path.exists("stop"):
        time.sleep(0.02)
        looped = 1
"""
SERVER = """
    import os, signal, sys, time
    mark = 1
    def note(number, frame):
        os.write(1, f"got {signal.Signals(number).name}\\n".encode())  # print() would not take a signal within itself
        if number == signal.SIGTERM:
            sys.exit(7)
    for name in sys.argv[1:]:
        signal.signal(getattr(signal, name), note)
    os.write(1, f"ready {os.getpid()}\\n".encode())
    while True:
        time.sleep(0.02)
"""


@pytest.fixture
def hub(run: Run, port: int) -> Callable[..., Program]:
    """Start a hub on `port`."""

    def start(*options: object, up: str = "at any time", **env: object) -> Program:
        program = run("-m", "autoattach", "hub", "--port", port, *options, START_DEBUGGER=None, **env)
        program.wait_for(up)
        return program

    return start


@pytest.fixture
def ide(port: int) -> Iterator[Attach]:
    """Attach an IDE to the hub: it is there, and has set its breakpoints, when this returns."""
    ides = []

    def attach(breakpoints: dict[str, list[int]]) -> Ide:
        ides.append(Ide(port, breakpoints))
        ides[-1].root.wait_event("process", timeout=LIMIT)
        wait_until(lambda: ides[-1].sessions, "session")
        return ides[-1]

    yield attach
    for one in ides:
        one.close()


@pytest.fixture
def supervised(run: Run, port: int) -> Callable[..., Program]:
    """Start a command below a hub of its own."""

    def start(*words: object, options: tuple[object, ...] = ("--wait", "0"), **keywords: Any) -> Program:
        arguments = ["-m", "autoattach", "run", "--hub", *options, "--", *words]
        return run(*arguments, **{"START_DEBUGGER": None, **keywords})

    return start


def job(folder: Path, name: str = "job.py") -> dict[str, list[int]]:
    """A short program, and its breakpoint, at its first line."""
    return {str(write(folder, name, JOB)): [2]}


def ps(folder: Path) -> list[dict[str, Any]]:
    """What `autoattach ps` shows."""
    out = subprocess.run(
        [sys.executable, "-m", "autoattach", "ps", "--json"],
        env=environment(TMPDIR=folder),
        capture_output=True,
        timeout=LIMIT,
    )
    return list(json.loads(out.stdout))


def leader(folder: Path) -> int:
    """The process that leads the one session that is there; 0 for none, or more than one."""
    leaders = {row["leader"] for row in ps(folder)}
    return int(leaders.pop()) if len(leaders) == 1 else 0


def ready(program: Program) -> int:
    """The process id of a worker, once it runs."""
    program.wait_for("ready", "stdout")
    return int(program.stdout.split()[1])


# A hub


def test_with_nobody_there_a_process_starts_at_once(hub: Callable[..., Program], run: Run, tmp_path: Path) -> None:
    """With nobody attached a process is in the hub's session, and is not held, whatever DEBUGGER_WAIT says; nothing is
    loaded, in it or in the hub."""
    one = hub()
    code = "import sys; assert not {'debugpy', 'pydevd'} & set(sys.modules); print('ran')"
    program = run("-c", code, DEBUGGER_WAIT="forever")
    assert program.wait() == 0, program.dump()
    assert program.stdout == "ran\n"
    assert len(program.ours) == 1
    assert f"joins the session of pid {one.pid}" in program.ours[0]
    if os.path.exists("/proc/self/maps"):
        assert "debugpy" not in Path(f"/proc/{one.pid}/maps").read_text()
    assert [(row["pid"], row["role"], row["state"]) for row in ps(tmp_path)] == [(one.pid, "hub", "running")]


def test_attached_once_it_shows_what_comes_and_goes(
    hub: Callable[..., Program],
    run: Run,
    ide: Attach,
    tmp_path: Path,
) -> None:
    """One attach, and each job is stopped at its first line as it comes; the hub itself is never stopped."""
    one = hub()
    breakpoints = {**job(tmp_path, "first.py"), **job(tmp_path, "second.py")}
    client = ide(breakpoints)
    wait_until(lambda: ps(tmp_path)[0]["state"] == "client connected", "client")
    pids = []
    for number, name in enumerate(["first.py", "second.py", "first.py"], 1):
        program = run(name, DEBUGGER_WAIT=0)
        assert program.wait() == 0, program.dump()
        stops = client.wait_stops(number)
        pids.append(program.pid)
        assert stops[-1] == (program.pid, name, 2)
        assert not program.others, program.dump()
    assert client.announced == pids
    for thread in client.root.request("threads")["threads"]:
        client.root.request("pause", {"threadId": thread["id"]})  # it runs nothing that could be stopped
    assert run("second.py").wait() == 0
    assert [stop[0] for stop in client.wait_stops(4)][:3] == pids
    assert one.pid not in [stop[0] for stop in client.stops]
    assert client.root.events("stopped") == []
    one.send(signal.SIGTERM)
    assert one.wait() == -signal.SIGTERM
    assert not one.others, one.dump()


def test_a_word_under_a_hub(hub: Callable[..., Program], run: Run, ide: Attach, tmp_path: Path) -> None:
    """A process that attaches when it matters comes into the session that the hub holds, and is shown at once."""
    hub()
    client = ide({})
    path = write(tmp_path, "fails.py", "def fail(n):\n    raise KeyError(n)  # raised\n\n\nfail(7)\n")
    for number in (1, 2):
        program = run("fails.py", START_DEBUGGER="exception", DEBUGGER_WAIT=LIMIT)
        assert program.wait() == 1, program.dump()
        assert client.wait_stops(number)[-1] == (program.pid, "fails.py", line_of(path, "# raised"))


def test_a_child_of_a_job_is_in_it_too(
    hub: Callable[..., Program],
    run: Run,
    ide: Attach,
    tmp_path: Path,
) -> None:
    """DEBUGGER_SUBPROCESS=0 keeps a job's children out, and not the job itself."""
    hub()
    breakpoints = job(tmp_path)
    write(tmp_path, "parent.py", "import subprocess, sys\nsubprocess.check_call([sys.executable, 'job.py'])\n")
    breakpoints[str(tmp_path / "parent.py")] = [1]
    client = ide(breakpoints)
    assert run("parent.py", DEBUGGER_SUBPROCESS=0).wait() == 0
    assert [stop[1] for stop in client.wait_stops(1)] == ["parent.py"]
    assert run("parent.py").wait() == 0
    assert [stop[1] for stop in client.wait_stops(3)] == ["parent.py", "parent.py", "job.py"]


def test_a_killed_process_is_missed_by_nobody(hub: Callable[..., Program], run: Run, port: int, tmp_path: Path) -> None:
    """kill -9 of a process that is stopped at a breakpoint: the next one appears all the same."""
    hub()
    breakpoints = job(tmp_path)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.timeout = LIMIT
        client.attach(breakpoints)
        killed = run("job.py")
        with client.child(client.wait_event("debugpyAttach"), breakpoints) as child:
            child.wait_stopped(LIMIT)
            killed.send(signal.SIGKILL)
            killed.wait()
            child.wait_event("terminated", timeout=LIMIT)
        program = run("job.py")
        with client.child(client.wait_event("debugpyAttach"), breakpoints) as child:
            child.continue_(child.wait_stopped(LIMIT))
            assert program.wait() == 0


def test_clients_come_and_go(
    hub: Callable[..., Program],
    run: Run,
    ide: Attach,
    tmp_path: Path,
) -> None:
    """A client that comes when another has left sees what runs and what starts; in between nothing is held."""
    hub()
    worker = write(tmp_path, "worker.py", WORKER)
    breakpoints = job(tmp_path)
    client = ide(breakpoints)
    pid = ready(run("worker.py"))
    wait_until(lambda: len(client.sessions) == 2, "sub-session")
    client.close()
    wait_until(lambda: {row["state"] for row in ps(tmp_path)} == {"running"}, "end of the client's session")
    assert run("job.py").wait() == 0
    again = ide({**breakpoints, str(worker): [line_of(worker, "looped =")]})
    assert again.wait_stops(1)[0][:2] == (pid, "worker.py")
    last = run("job.py")
    assert last.wait() == 0
    wait_until(lambda: (last.pid, "job.py", 2) in again.stops, "stop in the new job")
    (tmp_path / "stop").touch()


def test_it_comes_back_to_processes_that_wait(
    hub: Callable[..., Program],
    run: Run,
    ide: Attach,
    tmp_path: Path,
) -> None:
    """Killed with nobody attached, another process leads; started again, it has the lead back, and all are in it."""
    first = hub()
    worker = write(tmp_path, "worker.py", WORKER)
    workers = [run("worker.py") for _ in range(3)]
    pids = sorted(map(ready, workers))
    first.send(signal.SIGKILL)
    first.wait()
    wait_until(lambda: leader(tmp_path) in pids and len(ps(tmp_path)) == 3, "leader among the workers")
    second = hub(up="leads the session")
    wait_until(lambda: leader(tmp_path) == second.pid, "hub in the lead")
    assert {row["pid"] for row in ps(tmp_path)} == {second.pid, *pids}
    client = ide({**job(tmp_path), str(worker): [line_of(worker, "looped =")]})
    wait_until(lambda: {stop[0] for stop in client.stops} == set(pids), "stop in each worker")
    program = run("job.py")
    assert program.wait() == 0
    wait_until(lambda: (program.pid, "job.py", 2) in client.stops, "stop in the job")
    (tmp_path / "stop").touch()
    assert [one.wait() for one in workers] == [0, 0, 0]
    assert [one.others for one in workers] == ["", "", ""]


def test_it_comes_back_to_processes_that_are_debugged(
    hub: Callable[..., Program],
    run: Run,
    ide: Attach,
    port: int,
    tmp_path: Path,
) -> None:
    """Killed with an IDE attached, it disturbs no process that is debugged. Started again, the next attach is to it: it
    shows what runs and what starts, and stays when those have ended."""
    first = hub()
    worker = write(tmp_path, "worker.py", WORKER)
    breakpoints = job(tmp_path)
    client = ide(breakpoints)
    program = run("worker.py")
    pid = ready(program)
    wait_until(lambda: len(client.sessions) == 2, "sub-session")
    first.send(signal.SIGKILL)
    first.wait()
    client.root.wait_event("terminated", timeout=LIMIT)
    client.close()
    second = hub(up="its hub from now on")
    again = ide({**breakpoints, str(worker): [line_of(worker, "looped =")]})
    assert again.root.events("process")[0]["systemProcessId"] == second.pid
    wait_until(lambda: (pid, "worker.py", line_of(worker, "looped =")) in again.stops, "stop in the worker")
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    last = run("job.py")
    assert last.wait() == 0
    wait_until(lambda: (last.pid, "job.py", 2) in again.stops, "stop in the job")
    assert leader(tmp_path) == second.pid
    assert not second.others
    assert not program.others


def test_it_begins_anew_when_the_adapter_is_killed(
    hub: Callable[..., Program],
    run: Run,
    ide: Attach,
    port: int,
    tmp_path: Path,
) -> None:
    """Where debugpy's adapter has died, the hub opens the port again: attach anew."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("only Linux tells which process has the port")
    one = hub()
    ide(job(tmp_path))
    os.kill(listener(port), signal.SIGKILL)
    one.wait_for("the debug adapter has gone")
    wait_until(lambda: one.stderr.count("at any time") == 2, "new beginning", program=one)
    again = ide(job(tmp_path))
    program = run("job.py")
    assert program.wait() == 0
    assert again.wait_stops(1) == [(program.pid, "job.py", 2)]


def listener(port: int) -> int:
    """The process that listens on a port."""
    from autoattach._network import holder

    return int(wait_until(lambda: holder(port), "listener").split("pid ")[1].split()[0])


def test_one_per_port(hub: Callable[..., Program], run: Run, port: int, tmp_path: Path) -> None:
    """A second hub on the port says who is the first; with --daemon that is what was wanted."""
    one = hub()
    for options, status in (([], 1), (["--daemon"], 0)):
        second = run("-m", "autoattach", "hub", "--port", port, *options)
        assert second.wait() == status, second.dump()
        assert f"pid {one.pid} is the hub at 127.0.0.1:{port} already" in second.stderr
        assert len(second.stderr.splitlines()) == 1


def test_another_program_on_the_port(run: Run, port: int) -> None:
    """Another program on the port is named, in one line."""
    code = (
        f"import socket, time\nsock = socket.socket()\nsock.bind(('127.0.0.1', {port}))\nsock.listen()\ntime.sleep(99)"
    )
    other = run("-c", code, START_DEBUGGER=None)
    wait_until(lambda: listeners(port), "listener", program=other)
    program = run("-m", "autoattach", "hub", "--port", port)
    assert program.wait() == 1
    assert len(program.stderr.splitlines()) == 1
    assert f"port 127.0.0.1:{port} is taken" in program.stderr
    if os.path.isdir("/proc/self/fd"):
        assert f"pid {other.pid}" in program.stderr


def test_a_hub_for_another_debugger(run: Run, port: int) -> None:
    """A hub is debugpy's; for another debugger it says so."""
    program = run("-m", "autoattach", "hub", "--port", port, "--ide", "ptvsd")
    assert program.wait() == 1
    assert "a hub is for debugpy, and not for ptvsd" in program.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(hub: Callable[..., Program], port: int, number: int) -> None:
    """SIGTERM and Ctrl-C end it at once, without a traceback, and free the port."""
    one = hub()
    one.send(number)
    assert one.wait() == -number
    assert not one.others
    assert not listeners(port)


def test_it_comes_back_to_the_ide(hub: Callable[..., Program], run: Run, ide: Attach, tmp_path: Path) -> None:
    """Killed while the IDE has a process of its session, and started again, it is back in the IDE with no click, and so
    is what starts."""
    first = hub()
    write(tmp_path, "worker.py", WORKER)
    client = ide(job(tmp_path))
    worker = run("worker.py")
    ready(worker)
    wait_until(lambda: len(client.sessions) == 2, "sub-session")
    first.send(signal.SIGKILL)
    first.wait()
    client.root.wait_event("terminated", timeout=LIMIT)
    second = hub(up="its hub from now on")
    wait_until(lambda: second.pid in client.announced, "hub in the IDE")
    (tmp_path / "stop").touch()
    assert worker.wait() == 0
    program = run("job.py")
    assert program.wait() == 0
    assert client.wait_stops(1) == [(program.pid, "job.py", 2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_in_the_background(run: Run, port: int, tmp_path: Path) -> None:
    """--daemon returns when the port is open, and leaves a hub in a session of its own that holds no pipe open; --stop
    ends it."""
    command = [sys.executable, "-m", "autoattach", "hub"]
    env = environment(TMPDIR=tmp_path, DEBUGGER_PORT=port)
    pid = 0
    try:
        started = subprocess.run([*command, "--daemon"], env=env, capture_output=True, text=True, timeout=LIMIT)
        assert started.returncode == 0, started.stderr
        assert "at any time" in started.stderr
        assert listeners(port)
        pid = leader(tmp_path)
        assert os.getsid(pid) not in (0, os.getsid(0))
        assert run("-c", "1").wait() == 0
    finally:
        stopped = subprocess.run([*command, "--stop"], env=env, capture_output=True, text=True, timeout=LIMIT)
    assert (stopped.returncode, str(pid) in stopped.stdout) == (0, True), stopped
    assert not listeners(port)
    stopped = subprocess.run([*command, "--stop"], env=env, capture_output=True, text=True, timeout=LIMIT)
    assert stopped.returncode == 1
    assert f"no hub of this user's runs on port {port}" in stopped.stderr


def test_systemd_is_told(hub: Callable[..., Program], tmp_path: Path) -> None:
    """With NOTIFY_SOCKET set (Type=notify) it says READY=1 when the port is open."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no Unix sockets")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        sock.settimeout(LIMIT)
        hub(NOTIFY_SOCKET=tmp_path / "n")
        assert sock.recv(100) == b"READY=1"


# run --hub

needs_signals = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="no signals to pass on, on this system")


@needs_signals
def test_one_attach_outlives_an_entry_point(
    supervised: Callable[..., Program],
    ide: Attach,
    tmp_path: Path,
) -> None:
    """run --hub holds before the command starts; one attach shows `migrate`, then `exec serve` in the shell's place."""
    breakpoints = job(tmp_path, "migrate.py")
    serve = write(tmp_path, "serve.py", SERVER)
    breakpoints[str(serve)] = [2]
    write(tmp_path, "entry.sh", f"echo started\n{sys.executable} migrate.py\nexec {sys.executable} serve.py SIGTERM\n")
    program = supervised("sh", "entry.sh", options=("--wait", LIMIT))
    program.wait_for("waiting up to")
    assert program.stdout == ""
    client = ide(breakpoints)
    assert [stop[1:] for stop in client.wait_stops(2)] == [("migrate.py", 2), ("serve.py", 2)]
    program.wait_for("ready", "stdout")
    program.send(signal.SIGTERM)
    assert program.wait() == 7, program.dump()
    assert not program.others, program.dump()
    assert client.root.events("stopped") == []


@needs_signals
def test_one_that_attaches_later(
    supervised: Callable[..., Program],
    ide: Attach,
    tmp_path: Path,
) -> None:
    """The IDE comes while the shell runs: what that starts from then on is stopped at its first line."""
    breakpoints = job(tmp_path)
    script = f"{sys.executable} job.py; while [ ! -e go ]; do sleep 0.05; done; exec {sys.executable} job.py"
    program = supervised("sh", "-c", script)
    program.wait_for("job", "stdout")
    client = ide(breakpoints)
    (tmp_path / "go").touch()
    assert program.wait() == 0, program.dump()
    assert [stop[1:] for stop in client.wait_stops(1)] == [("job.py", 2)]
    assert [line for line in program.ours if "joins" in line] == []


@needs_signals
def test_signals_go_through(supervised: Callable[..., Program], tmp_path: Path) -> None:
    """INT, TERM, HUP, QUIT, USR1, USR2, WINCH and CONT reach the command, once, and its status is the command's."""
    names = ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT", "SIGTERM"]
    write(tmp_path, "serve.py", SERVER)
    program = supervised(sys.executable, "serve.py", *names)
    assert ready(program) != program.pid
    for name in names:
        program.send(getattr(signal, name))
        program.wait_for(f"got {name}\n", "stdout", alive=False)
    assert program.wait() == 7, program.dump()
    assert program.stdout.splitlines()[1:] == [f"got {name}" for name in names]
    assert not program.others


@needs_signals
@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("kill -USR1 $$", 128 + 10)]
)
def test_the_status_is_the_commands(supervised: Callable[..., Program], script: str, status: int) -> None:
    """The exit status is the command's, 128 and the signal's number where one has killed it."""
    if "USR1" in script:
        status = 128 + signal.SIGUSR1
    program = supervised("sh", "-c", script)
    assert program.wait() == status, program.dump()


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_hold(supervised: Callable[..., Program], number: int) -> None:
    """In the hold a signal ends it, as it ends any program, and the command never starts."""
    program = supervised("echo", "started", options=("--wait", LIMIT))
    program.wait_for("waiting")
    program.send(number)
    assert program.wait() == -number
    assert program.stdout == ""
    assert not program.others


@needs_signals
def test_the_command_starts_as_without_us(supervised: Callable[..., Program], tmp_path: Path) -> None:
    """No signal is blocked or ignored for the command that would not be, and no file of ours is open in it."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc")
    what = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l"

    def as_seen(output: str) -> list[int]:
        blocked, ignored, files = output.split()[1::2] + output.split()[-1:]
        # The C library ignores two of its own (32 and 33) in whatever posix_spawn() starts.
        return [int(blocked, 16), int(ignored, 16) & ~(3 << 31), int(files)]

    program = supervised("sh", "-c", what)
    assert program.wait() == 0
    bare = subprocess.run(
        ["sh", "-c", what], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=LIMIT
    )
    assert as_seen(program.stdout) == as_seen(bare.stdout)


@needs_signals
def test_the_terminals_keys_reach_the_command_once(tmp_path: Path, port: int) -> None:
    """Ctrl-C reaches the command once; Ctrl-Z stops it and the hub, and `fg` has both go on."""
    if not os.path.exists("/dev/ptmx"):
        pytest.skip("no terminals")
    write(tmp_path, "serve.py", SERVER)
    keys = write(
        tmp_path,
        "keys.py",
        """
        import fcntl, os, signal, sys, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            words = ["-m", "autoattach", "run", "--hub", "--wait", "0", "--", sys.executable, "serve.py"]
            os.execv(sys.executable, [sys.executable, *words, "SIGINT", "SIGTERM"])
        _, status = os.waitpid(pid, os.WUNTRACED)
        print("stopped", os.WIFSTOPPED(status), flush=True)
        os.tcsetpgrp(0, pid)
        os.kill(-pid, signal.SIGCONT)
        _, status = os.waitpid(pid, 0)
        print("ended", os.WEXITSTATUS(status), flush=True)
        """,
    )
    env = environment(TMPDIR=tmp_path, DEBUGGER_PORT=port, DEBUGGER_IDE="debugpy")
    terminal, other = os.openpty()
    shell = subprocess.Popen(
        [sys.executable, keys], cwd=tmp_path, env=env, stdin=other, stdout=other, stderr=other, start_new_session=True
    )
    os.close(other)
    seen = b""

    def until(text: str, times: int = 1) -> None:
        nonlocal seen
        while seen.count(text.encode()) < times:
            try:
                seen += os.read(terminal, 1000)
            except OSError:  # everybody has closed it
                break
        assert seen.count(text.encode()) == times, seen.decode()

    alarm = signal.signal(signal.SIGALRM, lambda *_: shell.kill())  # ends the read
    signal.alarm(int(LIMIT))
    try:
        until("ready")
        os.write(terminal, b"\x03")
        until("got SIGINT")
        os.write(terminal, b"\x1a")
        until("stopped True")
        child = int(seen.decode().split("ready ")[1].split()[0])
        os.write(terminal, b"\x03")
        until("got SIGINT", 2)
        os.kill(child, signal.SIGTERM)
        until("ended 7")
        assert seen.count(b"^C") == 2
        assert b"Traceback" not in seen
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, alarm)
        shell.kill()
        os.close(terminal)
        shell.wait()


@needs_signals
@pytest.mark.skipif(sys.platform != "linux", reason="process namespaces are Linux's")
def test_as_process_1(run: Run, port: int, tmp_path: Path) -> None:
    """As process 1 of a container it reaps orphans, passes TERM on, and TERM ends it in the hold."""
    unshare = shutil.which("unshare")
    space = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not unshare or subprocess.run([*space, "true"], stderr=subprocess.DEVNULL, timeout=LIMIT).returncode:
        pytest.skip("no process namespaces for this user")
    write(tmp_path, "serve.py", SERVER)
    script = textwrap.dedent(
        f"""
        (sh -c 'sleep 0.2' & ) ; (sleep 0.2 &) ; sleep 1
        echo zombies $(cat /proc/[0-9]*/stat | grep -c ') Z ')
        exec {sys.executable} serve.py SIGTERM
        """
    )
    words = ["-m", "autoattach", "run", "--hub", "--wait", "0", "--", "sh", "-c", script]
    program = run(*space[1:], sys.executable, *words, python=unshare, START_DEBUGGER=None)
    program.wait_for("ready", "stdout")
    assert "zombies 0" in program.stdout
    first = wait_until(lambda: children(program.pid), "process 1")[0]
    os.kill(first, signal.SIGTERM)
    assert program.wait() == 7, program.dump()
    words[5] = str(LIMIT)
    program = run(*space[1:], sys.executable, *words, python=unshare, START_DEBUGGER=None)
    program.wait_for("waiting")
    os.kill(children(program.pid)[0], signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM, program.dump()


def children(pid: int) -> list[int]:
    """The child processes of a process. (Linux)"""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@needs_signals
def test_where_there_is_a_hub_already(
    hub: Callable[..., Program], supervised: Callable[..., Program], tmp_path: Path
) -> None:
    """run --hub on the port of a hub: the command is in that one's session."""
    one = hub()
    write(tmp_path, "serve.py", SERVER)
    program = supervised(sys.executable, "serve.py", "SIGTERM")
    pid = ready(program)
    assert pid == program.pid
    assert f"pid {one.pid} is the hub at" in program.ours[0]
    assert f"joins the session of pid {one.pid}" in program.ours[1]


@needs_signals
def test_where_there_can_be_none(supervised: Callable[..., Program], port: int) -> None:
    """Without the port the command runs on without a hub; with DEBUGGER_STRICT it does not run."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        program = supervised("echo", "ran")
        assert program.wait() == 0
        assert program.stdout == "ran\n"
        assert "is taken" in program.ours[0]
        program = supervised("echo", "ran", options=("--strict",))
        assert program.wait() == 1
        assert program.stdout == ""
        assert "is taken" in program.stderr


@needs_signals
def test_a_command_that_cannot_be_run(supervised: Callable[..., Program], tmp_path: Path) -> None:
    """One that is not there has the status 127, one that cannot be run 126, with one line; a file without "#!" is a
    shell's."""
    program = supervised("not-there")
    assert program.wait() == 127
    bad = write(tmp_path, "bad", "#!/not/there\n")
    plain = write(tmp_path, "plain", "exit 5\n")
    for path in (bad, plain):
        path.chmod(0o755)
    program = supervised("./bad")
    assert program.wait() == 126, program.dump()
    assert "cannot be run" in program.stderr
    assert supervised("./plain").wait() == 5


@needs_signals
def test_nothing_attached(supervised: Callable[..., Program]) -> None:
    """A command in which nothing has attached: a line at the end says so."""
    program = supervised("sh", "-c", "exit 4")
    assert program.wait() == 4
    assert "nothing in 'sh -c 'exit 4'' attached" in program.stderr.replace('"\'"', "'"), program.dump()
