"""One tree, one session: every Python below the leader is debugged through one port and one attach."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import LIMIT, Program, line_of, needs, wait_until, write

from autoattach.cli._dap import Client, DapError

Run = Callable[..., Program]

pytestmark = needs("debugpy")

CHILD = """
    import os, sys, time

    def child(n):
        doubled = n * 2
        print("child", os.getpid(), doubled, flush=True)

    if __name__ == "__main__":
        child(21)
"""


class Ide:
    """A client that follows every sub-session, as VS Code does, sets its breakpoints in each, and goes on at each stop."""

    def __init__(self, port: int, breakpoints: dict[str, list[int]]) -> None:
        self.breakpoints = breakpoints
        self.sessions: list[Client] = []
        self.stops: list[tuple[int, str, int]] = []
        """Of each stop: the process's id, file and line."""
        self.announced: list[int] = []
        """The process ids that the sub-sessions were announced with."""
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self.root = Client.connect("127.0.0.1", port, LIMIT)
        self._follow(self.root, lambda: self.root.attach(breakpoints=breakpoints))

    def _follow(self, client: Client, attach: Callable[[], Any]) -> None:
        def serve() -> None:
            try:
                attach()
                self.sessions.append(client)
                known = 0
                while not self._done.is_set():
                    events = client.events("debugpyAttach")
                    for event in events[known:]:
                        self.announced.append(event["subProcessId"])
                        self._start(event, client)
                    known = len(events)
                    try:
                        thread = client.wait_stopped(timeout=0.05)
                    except TimeoutError:
                        continue
                    frame = client.stack(thread)[0]
                    pid = int(client.evaluate("__import__('os').getpid()", frame["id"]))
                    self.stops.append((pid, os.path.basename(frame["source"]["path"]), frame["line"]))
                    client.continue_(thread)
            except (ConnectionError, TimeoutError, DapError):
                pass

        thread = threading.Thread(target=serve, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _start(self, event: dict[str, Any], parent: Client) -> None:
        def attach() -> None:
            pass

        def serve() -> None:
            try:
                client = parent.child(event, self.breakpoints)
            except (ConnectionError, TimeoutError, DapError):  # it has ended
                return
            self._follow(client, attach)

        thread = threading.Thread(target=serve, daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait_stops(self, count: int) -> list[tuple[int, str, int]]:
        """Until there were so many stops."""
        wait_until(lambda: len(self.stops) >= count, f"{count} stops; there were {self.stops}\n{self.root.dump()}")
        return self.stops

    def is_there(self) -> bool:
        """Whether the session that it has attached to goes on."""
        return self._threads[0].is_alive()

    def close(self) -> None:
        self._done.set()
        for client in [*self.sessions, self.root]:
            client.close()
        for thread in self._threads:
            thread.join(LIMIT)


@pytest.fixture
def ide(port: int) -> Iterator[Callable[..., Ide]]:
    """Attach an IDE to `port`."""
    ides = []

    def attach(breakpoints: dict[str, list[int]], at: int = port) -> Ide:
        ides.append(Ide(at, breakpoints))
        return ides[-1]

    yield attach
    for one in ides:
        one.close()


WAYS = {
    "a shell": "assert os.system(f'{sys.executable} child.py') == 0",
    "sh -c": "subprocess.run(['sh', '-c', f'{sys.executable} child.py; true'], check=True)",
    "shell=True": "subprocess.run(f'{sys.executable} child.py', shell=True, check=True)",
    "a console script": "subprocess.run(['./script'], check=True)",
    "env": "subprocess.run(['env', 'A=1', sys.executable, 'child.py'], check=True)",
    "nice": "subprocess.run(['nice', sys.executable, 'child.py'], check=True)",
    "a shell's child's shell": "subprocess.run(['sh', '-c', f'{sys.executable} middle.py; true'], check=True)",
    "subprocess": "subprocess.run([sys.executable, 'child.py'], check=True)",
    "posix_spawn": "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', f'{sys.executable} child.py; true'], os.environ), 0)",
    "multiprocessing fork": "run('fork')",
    "multiprocessing spawn": "run('spawn')",
    "multiprocessing forkserver": "run('forkserver')",
    "an executor": "run(None)",
    "os.fork": "pid = os.fork()\nif not pid:\n    import child; child.child(21); os._exit(0)\nos.waitpid(pid, 0)",
    "a fork's shell": "pid = os.fork()\nif not pid:\n    os.system(f'{sys.executable} child.py'); os._exit(0)\nos.waitpid(pid, 0)",
}


APP = """
import concurrent.futures, multiprocessing, os, subprocess, sys, time
import child

def run(method):
    if method is None:
        with concurrent.futures.ProcessPoolExecutor(1) as executor:
            return executor.submit(child.child, 21).result()
    process = multiprocessing.get_context(method).Process(target=child.child, args=(21,))
    process.start()
    process.join()
    assert process.exitcode == 0

if __name__ == "__main__":
    start = 1
"""


def tree(folder: Path, way: str) -> tuple[Path, dict[str, list[int]]]:
    child = write(folder, "child.py", CHILD)
    write(folder, "middle.py", f"import os; os.system({f'{sys.executable} child.py; true'!r})\n")
    script = write(folder, "script", f"#!/bin/sh\nexec {sys.executable} child.py\n")
    script.chmod(0o755)
    app = write(folder, "app.py", APP + textwrap.indent(WAYS[way], "    ") + "\n    print('end')\n")
    return app, {str(app): [line_of(app, "start = 1")], str(child): [line_of(child, "doubled =")]}


@pytest.mark.parametrize("way", WAYS)
def test_one_attach(run: Run, ide: Callable[..., Ide], tmp_path: Path, way: str) -> None:
    """With an IDE there from the beginning, a child is a sub-session of its one attach, stopped from its first line."""
    _, breakpoints = tree(tmp_path, way)
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    one = ide(breakpoints)
    assert program.wait() == 0, program.dump()
    stops = one.wait_stops(2)
    assert [stop[1:] for stop in stops] == [("app.py", line_of(tmp_path / "app.py", "start = 1")), ("child.py", 4)]
    pid = int(next(line for line in program.stdout.splitlines() if line.startswith("child")).split()[1])
    assert stops[1][0] == pid
    assert pid in one.announced
    assert len(set(one.announced)) == len(one.announced), "a process was announced twice"
    # Python 3.8's executors end so when their program is slow, under debugpy alone as well.
    assert not program.others or (sys.version_info < (3, 9) and way == "an executor")


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_comes_late(run: Run, ide: Callable[..., Ide], tmp_path: Path, way: str) -> None:
    """Nobody is there: a child starts at once, with nothing loaded. An IDE that comes then sees every process."""
    tree(tmp_path, way)
    child = write(
        tmp_path,
        "child.py",
        """
        import os, sys, time
        def child(n):
            assert not {"debugpy", "pydevd"} & set(sys.modules)
            open(f"up-{os.getpid()}", "w").close()
            while True:
                time.sleep(0.02)
                mark = 1
        if __name__ == "__main__":
            child(21)
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    pid = int(wait_until(lambda: list(tmp_path.glob("up-*")), "child")[0].name[3:])
    one = ide({str(child): [line_of(child, "mark = 1")]})
    stop = one.wait_stops(2)[0]
    assert stop == (pid, "child.py", line_of(child, "mark = 1"))
    assert pid in one.announced
    assert not program.others


LOOP = """
    import os, sys, time
    def loop():
        open(f"up-{os.getpid()}", "w").close()
        while not os.path.exists("stop"):
            time.sleep(0.02)
            mark = 1
    if __name__ == "__main__":
        loop()
"""


def wait_up(folder: Path, count: int = 1) -> list[int]:
    """The processes that are in their loop."""
    return [int(path.name[3:]) for path in wait_until(lambda: up(folder, count), f"{count} processes in the loop")]


def up(folder: Path, count: int) -> list[Path]:
    found = sorted(folder.glob("up-*"), key=lambda path: path.stat().st_mtime_ns)
    return found if len(found) >= count else []


@pytest.mark.parametrize(
    "gone",
    [
        "subprocess.Popen([sys.executable, 'loop.py'])",
        "subprocess.Popen(['sh', '-c', f'{sys.executable} loop.py; true'])",
        "os.fork() or (os.setsid(), os.fork() and os._exit(0), loop.loop())",
    ],
    ids=["a child", "a shell's child", "a daemon"],
)
@pytest.mark.parametrize("there", [True, False], ids=["an IDE is there", "nobody is there"])
def test_the_leader_ends(run: Run, ide: Callable[..., Ide], tmp_path: Path, gone: str, there: bool) -> None:
    """The session outlives its leader: who attaches to its port then has what is left."""
    loop = write(tmp_path, "loop.py", LOOP)
    app = write(
        tmp_path,
        "app.py",
        f"import os, subprocess, sys, time, loop\nstart = 1\n{gone}\nwhile not os.path.exists('go'): time.sleep(0.02)\n",
    )
    breakpoints = {str(app): [2], str(loop): [line_of(loop, "mark = 1")]}
    program = run("app.py", DEBUGGER_WAIT=LIMIT if there else 0)
    if there:
        first = ide(breakpoints)
        first.wait_stops(2)
        first.close()
    (pid,) = wait_up(tmp_path)
    (tmp_path / "go").touch()
    assert program.wait() == 0
    again = ide(breakpoints)
    assert again.wait_stops(1)[0] == (pid, "loop.py", line_of(loop, "mark = 1"))
    (tmp_path / "stop").touch()
    assert not program.others


def attach_again(ide: Callable[..., Ide], breakpoints: dict[str, list[int]], pids: set[int]) -> None:
    """Attach to the port, again where the session ends, until there was a stop in each process."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            one = ide(breakpoints)
        except ConnectionError:
            time.sleep(0.05)
            continue
        while one.is_there() and time.monotonic() < end:
            if pids <= {stop[0] for stop in one.stops}:
                return
            time.sleep(0.02)
        one.close()
    raise AssertionError(f"no stops in {pids}")


def test_the_leader_dies_as_an_ide_comes(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """While it loads the debugger: the others of the session can be attached to through the same port."""
    loop = write(tmp_path, "loop.py", LOOP)
    write(
        tmp_path,
        "app.py",
        """
        import os, subprocess, sys, time
        others = [subprocess.Popen(["sh", "-c", f"{sys.executable} loop.py; true"]) for _ in range(2)]
        while True: time.sleep(0.02)
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    pids = set(wait_up(tmp_path, 2))
    breakpoints = {str(loop): [line_of(loop, "mark = 1")]}
    first = ide(breakpoints)
    (record,) = tmp_path.glob(f"autoattach-*/{program.pid}")
    wait_until(lambda: record.read_text().split("\n")[0].endswith(",1"), "record of the IDE")
    os.kill(program.pid, 9)
    wait_until(lambda: pids <= {stop[0] for stop in first.stops} or not first.is_there(), "end of its session")
    first.close()
    attach_again(ide, breakpoints, pids)
    (tmp_path / "stop").touch()
    assert not program.others


def test_a_process_that_comes_with_the_ide(run: Run, ide: Callable[..., Ide], tmp_path: Path, port: int) -> None:
    """One that stands at the door as an IDE comes, and has not said yet who it is, is no client, but of the session."""
    import socket

    write(tmp_path, "loop.py", LOOP)
    program = run("loop.py", DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    (record,) = tmp_path.glob(f"autoattach-*/{program.pid}")
    with socket.create_connection(("127.0.0.1", port), LIMIT) as link:
        ide({})
        wait_up(tmp_path)
        link.sendall(f"autoattach {record.read_text().partition(',')[0]} {os.getpid()}\n".encode())
        host, _, pid = link.recv(100).decode().split()
        assert (host, int(pid)) == ("127.0.0.1", program.pid)
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    assert not program.others


@pytest.mark.parametrize("live", [0, 1], ids=["in its loop", "as it starts"])
def test_the_adapter_goes_as_a_member_comes(
    run: Run, ide: Callable[..., Ide], tmp_path: Path, port: int, live: int
) -> None:
    """A process is told of an IDE, and nobody is there any more when it has loaded the debugger: it is as before."""
    import socket

    from support import free_port

    loop = write(tmp_path, "loop.py", LOOP)
    with socket.socket() as leader:
        leader.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        leader.bind(("127.0.0.1", port))
        leader.listen()
        session = f"abc,{os.getpid()},debugpy,listen,127.0.0.1,{port},{live}"
        program = run("loop.py", DEBUGGER_WAIT=0, AUTOATTACH_SESSION=session)
        leader.settimeout(LIMIT)
        link, _ = leader.accept()
        assert link.recv(100).startswith(b"autoattach abc ")
        if not live:
            wait_up(tmp_path)
    with link:
        link.sendall(f"127.0.0.1 {free_port()} {os.getpid()}\n".encode())
        attach_again(ide, {str(loop): [line_of(loop, "mark = 1")]}, {program.pid})
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    assert not program.others


def test_what_starts_next_joins_what_is_left(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """The leader has ended and its child lives: what that one starts is in its session, through the same port."""
    loop = write(tmp_path, "loop.py", LOOP)
    write(
        tmp_path,
        "middle.py",
        """
        import os, sys, time
        open("middle", "w").close()
        while not os.path.exists("go"): time.sleep(0.02)
        os.system(f"{sys.executable} loop.py; true")
        """,
    )
    write(
        tmp_path,
        "app.py",
        """
        import os, subprocess, sys, time
        subprocess.Popen([sys.executable, "middle.py"])
        while not os.path.exists("middle"): time.sleep(0.02)
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    assert program.wait() == 0
    (tmp_path / "go").touch()
    (pid,) = wait_up(tmp_path)
    one = ide({str(loop): [line_of(loop, "mark = 1")]})
    assert one.wait_stops(1)[0][0] == pid
    assert len(program.ours) == 1
    (tmp_path / "stop").touch()


EXECS = {
    "exec": "os.execv(sys.executable, [sys.executable, 'loop.py'])",
    "a shell's exec": "os.execv('/bin/sh', ['sh', '-c', f'exec {sys.executable} loop.py'])",
    "a shell that stays": "os.execv('/bin/sh', ['sh', '-c', f'{sys.executable} loop.py; true'])",
}


@pytest.mark.parametrize("way", EXECS)
@pytest.mark.parametrize("who", ["the leader", "a child", "a carried child", "a -c child"])
@pytest.mark.parametrize("there", [True, False], ids=["an IDE is there", "nobody is there"])
def test_exec(run: Run, ide: Callable[..., Ide], tmp_path: Path, way: str, who: str, there: bool) -> None:
    """The new program runs, and is debugged: in the same session, or by attaching to the same port again."""
    loop = write(tmp_path, "loop.py", LOOP)
    name = "app.py" if who == "the leader" else "middle.py"
    exec_ = write(tmp_path, name, f"import os, sys\nstart = 1\n{EXECS[way]}\n")
    child = {
        "a child": f"os.system(f'{{sys.executable}} {name}; true')",
        "a carried child": f"subprocess.run([sys.executable, '{name}'], check=True)",
        "a -c child": "subprocess.run([sys.executable, '-c', 'import middle'], check=True)",
    }
    if who in child:
        write(tmp_path, "app.py", f"import os, subprocess, sys\n{child[who]}\n")
    breakpoints = {str(exec_): [2], str(loop): [line_of(loop, "mark = 1")]}
    program = run("app.py", DEBUGGER_WAIT=LIMIT if there else 0)
    if there:
        first = ide(breakpoints)
        assert first.wait_stops(1)[0][1:] == (name, 2)
        (pid,) = wait_up(tmp_path)
        try:
            wait_until(lambda: (pid, "loop.py") in [stop[:2] for stop in first.stops], "stop in it", 5)
        except AssertionError:
            first.close()
        else:
            return
    (pid,) = wait_up(tmp_path)
    again = ide(breakpoints)
    wait_until(lambda: (pid, "loop.py") in [stop[:2] for stop in again.stops], f"stop in {pid}: {again.stops}")
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    assert not program.others


def test_two_commands_on_one_port(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """The same user's second command joins the session of the first, says so, and does not hold."""
    loop = write(tmp_path, "loop.py", LOOP)
    line = line_of(loop, "mark = 1")
    first = run("loop.py", DEBUGGER_WAIT=0)
    wait_up(tmp_path)
    second = run("loop.py", DEBUGGER_WAIT=LIMIT)
    wait_up(tmp_path, 2)
    assert f"joins the session of pid {first.pid}" in second.ours[0]
    one = ide({str(loop): [line]})
    wait_until(lambda: {first.pid, second.pid} <= {stop[0] for stop in one.stops}, "stop in each")
    third = run("loop.py", DEBUGGER_WAIT=LIMIT)
    wait_until(lambda: third.pid in {stop[0] for stop in one.stops}, "stop in the third")
    (tmp_path / "stop").touch()
    assert [program.wait() for program in (first, second, third)] == [0, 0, 0]


def test_a_range_joins_nobody(run: Run, tmp_path: Path, port: int) -> None:
    """DEBUGGER_PORT=FIRST-LAST takes the first free port, and says which, whoever has the others."""
    write(tmp_path, "loop.py", LOOP)
    run("loop.py", DEBUGGER_WAIT=0)
    wait_up(tmp_path)
    other = run("loop.py", DEBUGGER_WAIT=0, DEBUGGER_PORT=f"{port}-{port + 20}")
    wait_up(tmp_path, 2)
    taken = int(other.ours[0].split("127.0.0.1:")[1].split()[0])
    assert port < taken <= port + 20


def test_somebody_elses_port(run: Run, tmp_path: Path, port: int) -> None:
    """Another program on the port: one line that names it, and the program runs on."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        program = run("-c", "print(1)")
        assert program.wait() == 0
    assert program.stdout == "1\n"
    assert len(program.ours) == 1
    assert f"pid {os.getpid()}" in program.ours[0]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can be another user")
def test_another_users_port(run: Run, tmp_path: Path, port: int) -> None:
    """Of another user's process the line names the user."""
    code = f"""
        import os, socket, time
        os.setuid(65534)
        sock = socket.socket()
        sock.bind(("127.0.0.1", {port}))
        sock.listen()
        print("there", flush=True)
        time.sleep(60)
    """
    write(tmp_path, "other.py", code)
    run("other.py", START_DEBUGGER=None).wait_for("there", "stdout")
    program = run("-c", "print(1)")
    assert program.wait() == 0
    assert program.stdout == "1\n"
    assert len(program.ours) == 1
    assert "of user" in program.ours[0]


@pytest.mark.parametrize("live", ["0", "1"])
@pytest.mark.parametrize("held_by", ["nobody", "a stranger", "another session"])
def test_a_stale_session(run: Run, tmp_path: Path, port: int, held_by: str, live: str) -> None:
    """A session in the environment that has gone does no harm, whoever has its port now."""
    import socket

    stale = f"abc,4194000,debugpy,listen,127.0.0.1,{port},{live}"
    sock = socket.socket()
    try:
        if held_by == "a stranger":
            sock.bind(("127.0.0.1", port))
            sock.listen()
        elif held_by == "another session":
            write(tmp_path, "loop.py", LOOP)
            run("loop.py", DEBUGGER_WAIT=0)
            wait_up(tmp_path)
        start = time.monotonic()
        program = run("-c", "print(1)", AUTOATTACH_SESSION=stale, DEBUGGER_WAIT=0)
        assert program.wait() == 0
        assert program.stdout == "1\n"
        assert not program.others
        assert time.monotonic() - start < 15
    finally:
        sock.close()


def test_the_adapter_is_killed(run: Run, ide: Callable[..., Ide], tmp_path: Path, port: int) -> None:
    """What starts or forks after the adapter was killed runs, and can be attached to through the same port."""
    from test_processes import adapter_of

    loop = write(tmp_path, "loop.py", LOOP)
    write(
        tmp_path,
        "app.py",
        """
        import os, sys, time, loop
        start = 1
        while not os.path.exists("go"): time.sleep(0.02)
        time.sleep(0.3)
        if not os.fork():
            loop.loop()
            os._exit(0)
        os.system(f"{sys.executable} loop.py; true")
        os.wait()
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    first = ide({str(tmp_path / "app.py"): [2]})
    first.wait_stops(1)
    os.kill(adapter_of(port), 9)
    program.wait_for("adapter has gone")
    (tmp_path / "go").touch()
    pids = wait_up(tmp_path, 2)
    one = ide({str(loop): [line_of(loop, "mark = 1")]})
    assert one.wait_stops(1)[0][0] in pids
    (tmp_path / "stop").touch()
    assert program.wait() == 0


def test_nothing_secret_in_a_command_line(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """What joins a child to the session stands in no command line, which everybody can read."""
    loop = write(tmp_path, "loop.py", LOOP)
    write(
        tmp_path,
        "app.py",
        "import subprocess, sys\nsubprocess.Popen([sys.executable, 'loop.py'])\n"
        "subprocess.run(['sh', '-c', f'{sys.executable} loop.py; true'])\n",
    )
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    ide({str(loop): [line_of(loop, "mark = 1")]})
    for pid in [*wait_up(tmp_path, 2), program.pid]:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        assert "--access-token" not in command
        assert not any(len(word) >= 16 and all(c in "0123456789abcdef" for c in word) for word in command)
    (tmp_path / "stop").touch()


@pytest.mark.parametrize("command", ["-m ensurepip --version", "-m venv --help"])
def test_tools_are_left_alone_as_children(run: Run, ide: Callable[..., Ide], tmp_path: Path, command: str) -> None:
    """What is never attached to is left alone also where debugpy would carry it."""
    app = write(
        tmp_path,
        "app.py",
        f"import subprocess, sys\nstart = 1\nsubprocess.run([sys.executable, *{command.split()!r}], check=True)\n",
    )
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    one = ide({str(app): [2]})
    one.wait_stops(1)
    assert program.wait() == 0
    assert not one.announced


def test_skipped_children(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """DEBUGGER_SKIP holds for children that debugpy would carry, too."""
    write(tmp_path, "child.py", CHILD)
    app = write(
        tmp_path,
        "app.py",
        "import subprocess, sys\nstart = 1\nsubprocess.run([sys.executable, 'child.py'], check=True)\n",
    )
    program = run("app.py", DEBUGGER_WAIT=LIMIT, DEBUGGER_SKIP="child.py")
    one = ide({str(app): [2]})
    one.wait_stops(1)
    assert program.wait() == 0
    assert not one.announced


def test_vscode_attaches_by_itself(run: Run, tmp_path: Path, port: int) -> None:
    """In a terminal of VS Code's that offers it, the endpoint is written where VS Code looks for it."""
    import json

    folder = tmp_path / "endpoints"
    folder.mkdir()
    program = run("-c", "print(1)", DEBUGGER_WAIT=0, VSCODE_DEBUGPY_ADAPTER_ENDPOINTS=folder / "endpoint-1.txt")
    assert program.wait() == 0
    (file,) = folder.iterdir()
    assert json.loads(file.read_text()) == {"client": {"host": "127.0.0.1", "port": port}}


@pytest.mark.parametrize("where", ["gone/endpoint.txt", "", "file/endpoint.txt"])
def test_a_stale_endpoint_file(run: Run, tmp_path: Path, where: str) -> None:
    """One that cannot be written does no harm."""
    (tmp_path / "file").touch()
    program = run("-c", "print(1)", DEBUGGER_WAIT=0, VSCODE_DEBUGPY_ADAPTER_ENDPOINTS=tmp_path / where)
    assert program.wait() == 0
    assert not program.others


def test_connected_to_the_ide(run: Run, tmp_path: Path, port: int) -> None:
    """DEBUGGER_MODE=connect: a shell's child is a sub-session of the one that VS Code listens for."""
    child = write(tmp_path, "child.py", CHILD)
    app = write(
        tmp_path, "app.py", "import os, sys\nstart = 1\nassert os.system(f'{sys.executable} child.py; true') == 0\n"
    )
    breakpoints = {str(app): [2], str(child): [line_of(child, "doubled =")]}
    with Client.listen(sys.executable, "127.0.0.1", port) as client:
        program = run("app.py", DEBUGGER_MODE="connect", DEBUGGER_WAIT=LIMIT)
        client.attach(breakpoints=breakpoints)
        client.continue_(client.wait_stopped())
        event = wait_until(lambda: client.events("debugpyAttach"), "sub-session", program=program)[0]
        with client.child(event, breakpoints) as sub:
            thread = sub.wait_stopped()
            assert sub.stack(thread)[0]["line"] == 4
            sub.continue_(thread)
            assert program.wait() == 0


def test_forks_while_the_ide_is_at_a_breakpoint(run: Run, tmp_path: Path, port: int) -> None:
    """A fork while another thread is stopped hangs neither of the two processes."""
    app = write(
        tmp_path,
        "app.py",
        """
        import _thread, os, sys, time

        def forks():
            while not os.path.exists("go"): time.sleep(0.02)
            pid = os.fork()
            if not pid:
                open("forked", "w").close()
                os._exit(0)
            os.waitpid(pid, 0)
            open("done", "w").close()

        _thread.start_new_thread(forks, ())
        stop = 1
        while not os.path.exists("done"): time.sleep(0.02)
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(app): [line_of(app, "stop = 1")]})
        thread = client.wait_stopped()
        (tmp_path / "go").touch()
        time.sleep(0.5)  # for the fork, which debugpy holds back until the stop is over, or does not
        client.continue_(thread)
        wait_until((tmp_path / "done").exists, "end of the fork", program=program)
        assert program.wait() == 0
    assert (tmp_path / "forked").exists()


def test_a_fork_as_the_debugger_comes(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """A fork that begins while the debugger is being loaded waits for that, and the child is debugged, too."""
    app = write(
        tmp_path,
        "app.py",
        """
        import os, sys, time

        def work():
            done = 1
            return done

        while "debugpy" not in sys.modules: time.sleep(0.001)
        pid = os.fork()
        if not pid:
            while not os.path.exists("stop"):
                work()
                time.sleep(0.01)
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("at any time")
    one = ide({str(app): [line_of(app, "done = 1")]})
    program.wait_for("\n", "stdout")
    child = int(program.stdout)
    wait_until(lambda: child in {stop[0] for stop in one.stops}, "stop in the child", program=program)
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    # Python 3.12 and 3.13 see the debugger's threads, which have come as it was about to fork.
    assert "Traceback" not in program.others


def test_a_fork_within_anothers(run: Run, tmp_path: Path, port: int) -> None:
    """Where a library has put a fork of its own around the debugger's, the child is attached once."""
    text = "import os\nreal = os.fork\nos.fork = lambda: real()\nif os.fork(): os.wait()\nelse: os._exit(0)\n"
    write(tmp_path, "app.py", text)
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach()
        assert program.wait() == 0, program.dump()
    assert [event["event"] for event in client.received if event.get("event") == "debugpyAttach"] == ["debugpyAttach"]


def test_a_held_leader_and_its_followers(run: Run, ide: Callable[..., Ide], tmp_path: Path) -> None:
    """Only the leader holds: who joins while it does runs at once, and is there when the IDE comes."""
    loop = write(tmp_path, "loop.py", LOOP)
    first = run("loop.py", DEBUGGER_WAIT=LIMIT)
    first.wait_for("waiting")
    second = run("loop.py", DEBUGGER_WAIT=LIMIT)
    assert wait_up(tmp_path) == [second.pid]
    one = ide({str(loop): [line_of(loop, "mark = 1")]})
    wait_until(lambda: {first.pid, second.pid} <= {stop[0] for stop in one.stops}, "stop in each")
    (tmp_path / "stop").touch()
    assert [program.wait() for program in (first, second)] == [0, 0]


def test_each_leader_holds(run: Run, tmp_path: Path) -> None:
    """In a script that runs two programs one after the other each holds, and says so."""
    write(tmp_path, "first.py", "print('first')\n")
    write(tmp_path, "second.py", "print('second')\n")
    script = f"{sys.executable} first.py; exec {sys.executable} second.py"
    program = run("-c", script, python="/bin/sh", DEBUGGER_WAIT=0.3)
    assert program.wait() == 0
    assert program.stdout == "first\nsecond\n"
    assert sum("waiting up to 0.3 s" in line for line in program.ours) == 2


@pytest.mark.parametrize(
    "start",
    [
        "assert os.system(f'{sys.executable} child.py; true') == 0",
        # Nothing of us is in it: debugpy alone carries it.
        "subprocess.run([sys.executable, 'child.py'], env={'PYDEVD_DISABLE_FILE_VALIDATION': '1'}, check=True)",
    ],
    ids=["behind a shell", "with an environment of its own"],
)
def test_a_client_without_sub_sessions(run: Run, tmp_path: Path, port: int, start: str) -> None:
    """A client that ignores `debugpyAttach` does not freeze a child that has joined."""
    write(tmp_path, "child.py", CHILD)
    app = write(tmp_path, "app.py", f"import os, subprocess, sys\nstart = 1\n{start}\n")
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(app): [2]})
        client.continue_(client.wait_stopped())
        assert program.wait() == 0
    assert program.stdout.startswith("child")
    assert not program.others


def test_without_sub_processes(run: Run, tmp_path: Path) -> None:
    """DEBUGGER_SUBPROCESS=0: what starts below, behind a shell too, is not told of the session, nor does it lead one."""
    write(tmp_path, "child.py", "import os; print(sorted(n for n in os.environ if n.startswith(('AUTO', 'START_'))))\n")
    write(tmp_path, "app.py", "import os, sys; os.system(f'{sys.executable} child.py; true')\n")
    program = run("app.py", DEBUGGER_WAIT=0, DEBUGGER_SUBPROCESS=0)
    assert program.wait() == 0
    assert program.stdout == "[]\n"
    assert len(program.ours) == 1
