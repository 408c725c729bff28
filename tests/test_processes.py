"""Programs that fork, start Pythons or exec one run to their end under debugpy; the child is debugged where it can be."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Callable

import pytest
from support import LIMIT, Program, line_of, needs, wait_until, write

from autoattach.cli._dap import Client, DapError

Run = Callable[..., Program]

pytestmark = [needs("debugpy"), pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")]

CHILD = """
    def child(n):
        doubled = n * 2
        print("child", doubled, flush=True)

    if __name__ == "__main__":
        child(21)
"""
MAIN = """
    import sys, os, time
    from child import child

    def main():
        first = 1
        {body}
        print("end", flush=True)

    if __name__ == "__main__":
        main()
"""
WAYS = {
    "fork": "pid = os.fork()\n        if not pid:\n            child(21)\n            os._exit(0)\n        assert os.waitpid(pid, 0)[1] == 0",
    "multiprocessing fork": "import multiprocessing as m; p = m.get_context('fork').Process(target=child, args=(21,)); p.start(); p.join(); assert p.exitcode == 0",
    "multiprocessing spawn": "import multiprocessing as m; p = m.get_context('spawn').Process(target=child, args=(21,)); p.start(); p.join(); assert p.exitcode == 0",
    "multiprocessing forkserver": "import multiprocessing as m; p = m.get_context('forkserver').Process(target=child, args=(21,)); p.start(); p.join(); assert p.exitcode == 0",
    "pool": "import multiprocessing as m\n        with m.get_context('fork').Pool(2) as pool: pool.map(child, [21])",
    "subprocess": "import subprocess; subprocess.run([sys.executable, 'child.py'], check=True)",
    "subprocess -c": "import subprocess; subprocess.run([sys.executable, '-c', 'import child; child.child(21)'], check=True)",
    "subprocess -m": "import subprocess; subprocess.run([sys.executable, '-m', 'child'], check=True)",
    "own environment": "import subprocess; subprocess.run([sys.executable, 'child.py'], check=True, env={})",
    "shell": "assert os.system(sys.executable + ' child.py') == 0",
    "exec": "sys.stdout.flush(); os.execv(sys.executable, [sys.executable, '-c', 'import child; child.child(21); print(\"end\")'])",
    "exec script": "sys.stdout.flush(); os.execv(sys.executable, [sys.executable, 'last.py'])",
    "posix_spawn": "pid = os.posix_spawn(sys.executable, [sys.executable, 'child.py'], os.environ); assert os.waitpid(pid, 0)[1] == 0",
    "exec in a -c child": "import subprocess; subprocess.run([sys.executable, '-c', 'import os, sys; os.execv(sys.executable, [sys.executable, \"child.py\"])'], check=True)",
    "daemon": "pid = os.fork()\n        if not pid:\n            os.setsid()\n            if os.fork(): os._exit(0)\n            child(21)\n            open('done', 'w').close()\n            os._exit(0)\n        os.waitpid(pid, 0)\n        while not os.path.exists('done'): time.sleep(0.05)",
}
# What debugpy itself follows; the others run on undebugged.
FOLLOWED = set(WAYS) - {"shell", "exec in a -c child"}

# In the quick run only what differs in kind
QUICK = {"fork", "multiprocessing spawn", "subprocess", "subprocess -c", "own environment", "exec script", "daemon"}
MOST = [way if way in QUICK else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]


def program_of(folder: Path, way: str) -> Path:
    write(folder, "child.py", CHILD)
    write(folder, "last.py", "import child; child.child(21); print('end')\n")
    return write(folder, "app.py", MAIN.format(body=WAYS[way]))


def expect_end(program: Program) -> None:
    assert program.wait() == 0, program.dump()
    program.wait_for("child 42", "stdout", 10, alive=False)  # a daemon may end later
    assert sorted(program.stdout.split()) == ["42", "child", "end"], program.dump()
    assert program.others == ""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seconds", [0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_nobody_there(run: Run, tmp_path: Path, way: str, seconds: float) -> None:
    """With no client the program runs to its end: it forks as a single-threaded one, and execs what it wants."""
    program_of(tmp_path, way)
    expect_end(run("-W", "error", "app.py", DEBUGGER_WAIT=seconds, DEBUGGER_IDE="debugpy"))


@pytest.mark.parametrize("way", MOST)
@pytest.mark.parametrize(
    "breakpoint_in_child", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["with a breakpoint", "without"]
)
def test_client_there(run: Run, tmp_path: Path, port: int, way: str, breakpoint_in_child: bool) -> None:
    """With a client the program runs to its end too; a child that debugpy follows stops at its breakpoint."""
    main, child = program_of(tmp_path, way), tmp_path / "child.py"
    breakpoints = {str(main): [line_of(main, "first = 1")]}
    if breakpoint_in_child:
        breakpoints[str(child)] = [line_of(child, "print(")]
    program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints=breakpoints)
        client.continue_(client.wait_stopped())
        clients = []
        stops = 0
        end = time.monotonic() + LIMIT
        seen: list[tuple[Client, int]] = []
        while program.process.poll() is None and time.monotonic() < end:
            for parent in [client, *clients]:
                for index, event in enumerate(parent.events("debugpyAttach")):
                    if (parent, index) not in seen:
                        seen.append((parent, index))
                        try:
                            clients.append(parent.child(event, breakpoints))
                        except (ConnectionError, TimeoutError, DapError):  # it has ended, or is another image already
                            pass
            for session in [client, *clients]:
                try:
                    thread = session.wait_stopped(timeout=0.05)
                except (TimeoutError, ConnectionError):
                    continue
                frame = session.stack(thread)[0]
                assert session.locals(frame["id"])["doubled"] == "42"
                stops += 1
                session.continue_(thread)
        expect_end(program)
        if breakpoint_in_child and way in FOLLOWED:
            assert stops == 1, client.dump() + "".join(session.dump() for session in clients)
        for session in clients:
            session.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "subprocess", "subprocess -c", "multiprocessing spawn", "pool", "exec script"])
def test_a_client_that_knows_no_sub_sessions(run: Run, tmp_path: Path, port: int, way: str) -> None:
    """A client that ignores `debugpyAttach` does not freeze the children for ever."""
    main = program_of(tmp_path, way)
    program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(main): [line_of(main, "first = 1")]})
        client.continue_(client.wait_stopped())
        expect_end(program)


@pytest.mark.parametrize("way", MOST)
@pytest.mark.parametrize("goes", ["the adapter", "the client"])
def test_it_goes_meanwhile(run: Run, tmp_path: Path, port: int, way: str, goes: str) -> None:
    """The adapter is killed, or the client leaves, while the program runs: what it forks, starts or execs later runs."""
    program_of(tmp_path, way)
    write(
        tmp_path,
        "app.py",
        MAIN.format(
            body=f"while not os.path.exists('go'): time.sleep(0.02)\n        time.sleep(0.3)\n        {WAYS[way]}"
        ),
    )
    main = tmp_path / "app.py"
    program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach(breakpoints={str(main): [line_of(main, "first = 1")]})
    client.continue_(client.wait_stopped())
    if goes == "the adapter":
        os.kill(adapter_of(port), signal.SIGKILL)
    else:
        client.disconnect()
    (tmp_path / "go").touch()
    expect_end(program)
    client.close()
    if goes == "the adapter" and not way.startswith("exec"):  # which may be quicker than the line
        assert any("adapter has gone" in line for line in program.ours)


@pytest.mark.parametrize("way", MOST)
@pytest.mark.parametrize("goes", ["the adapter", "the client"])
def test_it_goes_meanwhile_from_a_child(run: Run, tmp_path: Path, port: int, way: str, goes: str) -> None:
    """The same in a child that debugpy carries by itself: what it forks, starts or execs later runs."""
    program_of(tmp_path, way)
    body = f"while not os.path.exists('go'): time.sleep(0.02)\n        time.sleep(0.3)\n        {WAYS[way]}"
    main = write(tmp_path, "app.py", MAIN.format(body=body))
    write(tmp_path, "parent.py", "import subprocess, sys\nsys.exit(subprocess.call([sys.executable, 'app.py']))\n")
    program = run("parent.py", DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach()
    child = client.child(breakpoints={str(main): [line_of(main, "first = 1")]})
    child.continue_(child.wait_stopped())
    if goes == "the adapter":
        os.kill(adapter_of(port), signal.SIGKILL)
    else:
        child.disconnect()
        client.disconnect()
    (tmp_path / "go").touch()
    expect_end(program)
    child.close()
    client.close()


def adapter_of(port: int) -> int:
    """The process that listens on the port, as the system records it."""
    from autoattach._network import holder

    return int(wait_until(lambda: holder(port), "adapter").split("pid ")[1].split(" ")[0])


def test_after_forks_the_door_is_open(run: Run, tmp_path: Path, port: int) -> None:
    """A program that has forked can be attached to as before."""
    path = write(
        tmp_path,
        "app.py",
        """
        import os, time
        for _ in range(50):
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        print("forked", flush=True)
        while True:
            time.sleep(0.01)
            mark = 1
        """,
    )
    program = run("-W", "error", "app.py", DEBUGGER_WAIT=0, DEBUGGER_IDE="debugpy")
    program.wait_for("forked", "stdout")
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(path): [line_of(path, "mark = 1")]})
        client.wait_stopped()
    assert program.others == ""


def test_threads_that_fork_at_the_same_time(run: Run, tmp_path: Path, port: int) -> None:
    """Several threads may fork at once: all go on, their children end, and an IDE can attach as before."""
    path = write(
        tmp_path,
        "app.py",
        """
        import os, threading, time

        def forks():
            for _ in range(25):
                pid = os.fork()
                if not pid:
                    os._exit(0)
                os.waitpid(pid, 0)

        threads = [threading.Thread(target=forks) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("forked", flush=True)
        while True:
            time.sleep(0.01)
            mark = 1
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    program.wait_for("forked", "stdout")
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(path): [line_of(path, "mark = 1")]})
        client.wait_stopped()


def test_detach_in_a_fork(run: Run, tmp_path: Path, port: int) -> None:
    """What the debugger has followed into a fork can be detached from there, and forks on."""
    path = write(
        tmp_path,
        "app.py",
        """
        import os
        start = 1
        pid = os.fork()
        if not pid:
            import autoattach
            print("detached", autoattach.detach(), flush=True)
            pid = os.fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        """,
    )
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(path): [line_of(path, "start = 1")]})
        client.continue_(client.wait_stopped())
        event = wait_until(lambda: client.events("debugpyAttach"), "sub-session", program=program)[0]
        with client.child(event, {}):
            assert program.wait() == 0
    assert program.stdout == "detached True\n"


def test_one_line_per_process_tree(run: Run, tmp_path: Path) -> None:
    """A child of a session says nothing, and does not hold."""
    program_of(tmp_path, "shell")
    program = run("app.py", DEBUGGER_WAIT=0, DEBUGGER_IDE="debugpy")
    expect_end(program)
    assert len(program.ours) == 1


def test_subprocess_off(run: Run, tmp_path: Path, port: int) -> None:
    """DEBUGGER_SUBPROCESS=0: the variables leave the children's environment, and no child is debugged."""
    write(
        tmp_path,
        "app.py",
        "import os, subprocess, sys\nprint(sorted(n for n in os.environ if 'DEBUGGER' in n or 'AUTOATTACH' in n))\n",
    )
    program = run("app.py", DEBUGGER_WAIT=0, DEBUGGER_IDE="debugpy", DEBUGGER_SUBPROCESS=0)
    assert program.wait() == 0
    assert program.stdout == "[]\n"


def test_adapter_environment(run: Run, tmp_path: Path, port: int) -> None:
    """The adapter does not see the trigger, and no secret stands in its command line."""
    path = write(tmp_path, "app.py", "import time\ntime.sleep(0.5)\nprint('end')\n")
    program = run("app.py", DEBUGGER_WAIT=60, DEBUGGER_IDE="debugpy")
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach(breakpoints={str(path): [3]})
        client.wait_stopped()
        pid = adapter_of(port)
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"START_DEBUGGER" not in environ
        assert b"token" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        client.disconnect()
    assert program.wait() == 0


def test_multiprocessings_fork_server_leads_no_session(run: Run, tmp_path: Path) -> None:
    """It runs nothing of the program's: it is not held, where the process that starts it is in no session."""
    text = """
        import multiprocessing, os
        if __name__ == "__main__":
            os.environ["START_DEBUGGER"] = "1"
            process = multiprocessing.get_context("forkserver").Process(target=print, args=("child",))
            process.start()
            process.join()
    """
    write(tmp_path, "app.py", text)
    program = run("app.py", START_DEBUGGER=None, DEBUGGER_WAIT=LIMIT)
    assert (program.wait(LIMIT / 2), program.stdout, program.stderr) == (0, "child\n", "")
