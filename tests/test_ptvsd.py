"""ptvsd 4.3.2, the real one, in real programs; a DAP client plays VS Code."""

from __future__ import annotations

import re
import socket
import sys
import time
import zipapp
from pathlib import Path
from typing import Any, Callable

import pytest
from support import LIMIT, Program, line_of, listeners, needs, wait_until, write

from autoattach.cli._dap import Client

RunPtvsd = Callable[..., Program]

BEFORE_312 = sys.version_info < (3, 12)


@pytest.fixture
def start(run: Callable[..., Program]) -> Callable[..., Program]:
    """Start a program that is held for a client of ptvsd."""

    def start(*arguments: object, **env: object) -> Program:
        return run(*arguments, **{"DEBUGGER_IDE": "ptvsd", "DEBUGGER_WAIT": 30, **env})

    return start


def attach(port: int, *breakpoints: tuple[Path, str], **more: Any) -> Client:
    """Connect, set breakpoints on the lines that hold the texts, and let the program go on."""
    client = Client.connect("127.0.0.1", port)
    lines: dict[str, list[int]] = {}
    for path, text in breakpoints:
        lines.setdefault(str(path), []).append(line_of(path, text))
    client.attach(lines, **more)
    return client


def stop(client: Client, timeout: float = 20) -> tuple[int, dict[str, Any]]:
    """The thread and its innermost frame at the next stop."""
    thread = client.wait_stopped(timeout)
    return thread, client.stack(thread)[0]


def go_on(client: Client, *paths: Path) -> None:
    """Stop, take the breakpoints of these files away, and go on."""
    thread, _ = stop(client)
    for path in paths:
        client.set_breakpoints(str(path), [])
    client.continue_(thread)


APP = """
    first = 1
    import threading
    import module
    def in_thread(n):
        doubled = n * 2
        return doubled
    thread = threading.Thread(target=in_thread, args=(21,))
    thread.start()
    thread.join()
    print(module.answer(), flush=True)
    """

MODULE = """
    def answer():
        value = {"a": 42}
        return value["a"]
    """

LOOP = """
    import sys, time, os
    def tick(n):
        square = n * n
        return square
    n = 0
    end = time.monotonic() + 60
    print("running", flush=True)
    while time.monotonic() < end and not os.path.exists("enough"):
        n += 1
        tick(n)
        time.sleep(0.005)
        marker = n
    print("end", flush=True)
    """


@needs("ptvsd")
class TestHeld:
    """The program waits at the door until the client has set its breakpoints."""

    def test_breakpoints_everywhere(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A breakpoint is hit on the first line of app.py, in a function run in a thread, and in an imported module."""
        app, module = write(tmp_path, "app.py", APP), write(tmp_path, "module.py", MODULE)
        program = start(app.name)
        with attach(port, (app, "first = 1"), (app, "doubled ="), (module, "return value")) as client:
            for name in ("<module>", "in_thread", "answer"):
                thread, frame = stop(client)
                assert frame["name"] == name, program.dump()
                client.continue_(thread)
            assert program.wait() == 0
        assert program.stdout == "42\n"
        assert program.others == ""

    def test_variables(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """At a stop the local variables are shown and expressions are evaluated."""
        write(tmp_path, "app.py", APP)
        module = write(tmp_path, "module.py", MODULE)
        program = start("app.py")
        with attach(port, (module, "return value")) as client:
            thread, frame = stop(client)
            assert client.locals(frame["id"]) == {"value": "{'a': 42}"}
            assert client.evaluate("value['a'] + 1", frame["id"]) == "43"
            client.evaluate("value.update(a=7)", frame["id"], "repl")
            client.continue_(thread)
            assert program.wait() == 0
        assert program.stdout == "7\n"

    @pytest.mark.parametrize("how", ["-m", "-c", "stdin", "zipapp"])
    def test_ways_to_start(self, start: RunPtvsd, tmp_path: Path, port: int, how: str) -> None:
        """A breakpoint is hit in `python -m pkg`, and in a module imported by a -c, a stdin or a zipapp program."""
        module = write(tmp_path, "module.py", MODULE)
        text = "import sys; sys.path.insert(0, '.'); import module; print(module.answer())"
        where, line = module, "return value"
        if how == "-m":
            where = write(tmp_path, "pkg/__main__.py", f"{text}\nlast = 1\n")
            line = "last = 1"
            program = start("-m", "pkg")
        elif how == "-c":
            program = start("-c", text)
        elif how == "stdin":
            program = start("-", stdin=text)
        else:
            write(tmp_path, "z/__main__.py", text)
            zipapp.create_archive(tmp_path / "z", tmp_path / "z.pyz")
            program = start("z.pyz")
        with attach(port, (where, line)) as client:
            thread, frame = stop(client)
            assert frame["source"]["path"] == str(where)
            client.continue_(thread)
            assert program.wait() == 0
        assert program.stdout == "42\n"
        assert program.others == ""

    def test_output(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """The program's output appears in the IDE's console, and still in the terminal."""
        write(tmp_path, "app.py", "import sys; print('to stdout'); print('to stderr', file=sys.stderr); input()")
        program = start("app.py", stdin="line\n")
        with attach(port, redirectOutput=None) as client:
            assert program.wait() == 0
            assert "to stdout" in client.output("stdout")
            assert "to stderr" in client.output("stderr")
        assert program.stdout == "to stdout\n"
        assert program.others == "to stderr\n"

    def test_output_switched_off(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """`"redirectOutput": false` in launch.json is honoured."""
        write(tmp_path, "app.py", "import sys; print(type(sys.stdout).__name__)")
        program = start("app.py")
        with attach(port, redirectOutput=False) as client:
            assert program.wait() == 0
            assert client.output("stdout") == ""
        assert program.stdout == "TextIOWrapper\n"

    def test_path_mappings_of_the_ide(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """The path mappings that the IDE sends are used."""
        app = write(tmp_path, "app.py", APP)
        write(tmp_path, "module.py", MODULE)
        start(app.name)
        with Client.connect("127.0.0.1", port) as client:
            client.attach({"/ide/app.py": [line_of(app, "first = 1")]}, path_mappings={"/ide": str(tmp_path)})
            thread, frame = stop(client)
            assert frame["source"]["path"] == "/ide/app.py"
            client.continue_(thread)

    def test_path_mappings_of_the_environment(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """DEBUGGER_PATH_MAPPINGS are used where the IDE sends none."""
        app = write(tmp_path, "app.py", APP)
        write(tmp_path, "module.py", MODULE)
        start(app.name, DEBUGGER_PATH_MAPPINGS=f"/ide={tmp_path}")
        with Client.connect("127.0.0.1", port) as client:
            client.attach({"/ide/app.py": [line_of(app, "first = 1")]})
            _, frame = stop(client)
            assert frame["source"]["path"] == "/ide/app.py"

    def test_log(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """DEBUGGER_LOG is the folder for ptvsd's own log."""
        write(tmp_path, "app.py", "pass")
        program = start("app.py", DEBUGGER_LOG=tmp_path / "logs")
        with attach(port):
            assert program.wait() == 0
        assert (tmp_path / "logs" / f"ptvsd-{program.pid}.log").stat().st_size > 0

    def test_ipv6(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """An IPv6 address can be listened on, although ptvsd itself cannot."""
        app = write(tmp_path, "app.py", "first = 1")
        start("app.py", DEBUGGER_HOST="::1")
        with Client.connect("::1", port) as client:
            client.attach({str(app): [1]})
            _, frame = stop(client)
            assert frame["line"] == 1


@needs("ptvsd")
class TestHoldEnds:
    """No hold outlasts DEBUGGER_WAIT, whatever the peer does."""

    @pytest.mark.parametrize("words", [b"", b"Content-Length: 100\r\n\r\n{", b"Content-", b"GET / HTTP/1.1\r\n\r\n"])
    def test_peer_that_says_half_a_message(self, start: RunPtvsd, tmp_path: Path, port: int, words: bytes) -> None:
        """A client that connects and says half a message, or nothing, or something else, does not hold it longer."""
        write(tmp_path, "app.py", "print('ran')")
        began = time.monotonic()
        program = start("app.py", DEBUGGER_WAIT=3)
        program.wait_for("waiting")
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(words)
            assert program.wait() == 0
        assert time.monotonic() - began < 15
        assert program.stdout == "ran\n"
        assert program.others == ""

    def test_client_that_leaves_in_the_handshake(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """When a client goes away in the handshake the hold goes on, and a second one attaches."""
        app = write(tmp_path, "app.py", "first = 1")
        program = start("app.py")
        with Client.connect("127.0.0.1", port) as client:
            client.request("initialize", {"adapterID": "python"})
        with Client.connect("127.0.0.1", port) as client:
            client.send("initialize", {"adapterID": "python"})
            client.send("disconnect")
        assert program.stdout == ""
        with attach(port, (app, "first = 1")) as client:
            thread, frame = stop(client)
            assert frame["line"] == 1
            client.continue_(thread)
            assert program.wait() == 0
        assert program.others == ""

    def test_half_a_message_does_not_take_the_place(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """While a client that has said half a message stands there, an IDE is served."""
        write(tmp_path, "app.py", LOOP)
        app = tmp_path / "app.py"
        program = start("app.py", DEBUGGER_WAIT=0)
        program.wait_for("running", "stdout")
        with attach(port, (app, "square =")) as client:
            go_on(client, app)
            client.disconnect()
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(b"Content-Length: 100\r\n\r\n{")
            with attach(port, (app, "square =")) as client:
                stop(client)


@needs("ptvsd")
class TestNotHeld:
    """With DEBUGGER_WAIT=0 the program runs at once, and a client may come at any time."""

    @pytest.mark.parametrize("line", ["square =", "marker ="])
    def test_main_thread(self, start: RunPtvsd, tmp_path: Path, port: int, line: str) -> None:
        """Breakpoints are hit in functions entered later and in the frame that is running."""
        app = write(tmp_path, "app.py", LOOP)
        program = start("app.py", DEBUGGER_WAIT=0)
        program.wait_for("running", "stdout")
        with attach(port, (app, line)) as client:
            _, frame = stop(client)
            assert frame["line"] == line_of(app, line)
            assert int(client.evaluate("n", frame["id"])) > 0
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.others == ""

    def test_busy(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """The same in a program that never pauses."""
        app = write(tmp_path, "app.py", LOOP.replace("time.sleep(0.005)", "pass"))
        program = start("app.py", DEBUGGER_WAIT=0)
        program.wait_for("running", "stdout")
        with attach(port, (app, "marker =")) as client:
            stop(client)

    def test_blocked_main_thread(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """While the main thread is blocked in a call, threads that start later are debugged; then the main thread is.

        From 3.12 on threads that run already are, too.
        """
        app = write(
            tmp_path,
            "app.py",
            """
            import threading, time, os
            def background():
                while not os.path.exists("enough"):
                    time.sleep(0.05)
                    inside = 1
                    thread = threading.Thread(target=fresh)
                    thread.start()
                    thread.join()
            def fresh():
                new = 1
            def woken():
                awake = 1
            busy = threading.Thread(target=background)
            busy.start()
            lock = threading.Lock()
            lock.acquire()
            print("running", flush=True)
            lock.acquire(timeout=9)
            while not os.path.exists("enough"):
                time.sleep(0.01)
                woken()
            busy.join()
            """,
        )
        program = start("app.py", DEBUGGER_WAIT=0)
        program.wait_for("running", "stdout")
        with attach(port, (app, "new = 1")) as client:
            thread, _ = stop(client)
            client.set_breakpoints(str(app), [] if BEFORE_312 else [line_of(app, "inside = 1")])
            client.continue_(thread)
            if not BEFORE_312:
                thread, frame = stop(client)
                assert frame["name"] == "background"
                client.set_breakpoints(str(app), [])
                client.continue_(thread)
            client.set_breakpoints(str(app), [line_of(app, "awake = 1")])
            _, frame = stop(client)
            assert frame["name"] == "woken"
            client.disconnect()
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.others == ""

    def test_client_that_is_there_at_once(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A client that comes while the program is importing what ptvsd imports, too, breaks neither."""
        app = write(
            tmp_path,
            "app.py",
            """
            import asyncio, xmlrpc.client, json, logging, traceback, unittest.mock, multiprocessing, http.server
            import time, os
            while not os.path.exists("enough"):
                time.sleep(0.01)
                inside = 1
            print("end")
            """,
        )
        for _ in range(4):
            program = start("app.py", DEBUGGER_WAIT=0)
            with attach(port, (app, "inside =")) as client:
                go_on(client, app)
                (tmp_path / "enough").touch()
                assert program.wait() == 0, program.dump()
            assert program.stdout == "end\n"
            assert program.others == ""
            (tmp_path / "enough").unlink()

    def test_nothing_loaded(self, start: RunPtvsd, tmp_path: Path) -> None:
        """Until a client comes, nothing of ptvsd's is in the process."""
        write(tmp_path, "app.py", "import sys; print([m for m in sys.modules if 'ptvsd' in m or 'pydev' in m])")
        program = start("app.py", DEBUGGER_WAIT=0)
        assert program.wait() == 0
        assert program.stdout == "[]\n"


@needs("ptvsd")
class TestLeaving:
    """When a client goes, the program goes on, and the door is open for another."""

    def test_second_client(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """After a client has disconnected, others can attach on the same port."""
        app = write(tmp_path, "app.py", LOOP)
        program = start("app.py")
        for _ in range(3):
            with attach(port, (app, "square =")) as client:
                stop(client)
                client.disconnect()
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.stdout == "running\nend\n"
        assert program.others == ""

    def test_client_that_vanishes(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A client that vanishes, also at a stop, leaves the program running and the door open."""
        app = write(tmp_path, "app.py", LOOP)
        program = start("app.py")
        for _ in range(3):
            client = attach(port, (app, "square ="))
            stop(client)
            client.close()
        with attach(port):
            pass
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.others == ""

    def test_breakpoint_call_after_the_client(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """breakpoint() stops in the IDE, and does nothing once the IDE has vanished."""
        app = write(tmp_path, "app.py", "for n in range(2):\n    breakpoint()\n    after = n\nprint('end')\n")
        program = start("app.py")
        with attach(port) as client:
            stop(client)
        assert program.wait() == 0
        assert program.stdout == "end\n"
        assert program.others == ""
        assert app.exists()

    def test_client_that_speaks_nonsense(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A client that begins well and then sends what is no DAP is let go, and another can attach."""
        app = write(tmp_path, "app.py", LOOP)
        program = start("app.py")
        with attach(port, (app, "square =")) as client:
            stop(client)
            assert client._socket is not None
            client._socket.sendall(b"nonsense\r\nmore: of: it\r\n\r\n")
            client.wait_closed()
        with attach(port, (app, "square =")) as client:
            stop(client)
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.others == ""

    def test_program_that_closes_the_port(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A program that closes all it finds open, as a daemon does, runs on; one line says that the port is closed."""
        app = write(
            tmp_path,
            "app.py",
            """
            import os, time
            os.closerange(3, 256)
            files = [open(f"file{n}", "w+") for n in range(60)]
            while not os.path.exists("enough"):
                time.sleep(0.01)
                inside = 1
            for file in files:
                file.write("!")
                file.close()
            print([os.path.getsize(f"file{n}") for n in range(60)] == [1] * 60)
            """,
        )
        program = start("app.py")
        with attach(port, (app, "import os")) as client:
            go_on(client)
            time.sleep(0.5)
        program.wait_for("has closed the debug port")
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.stdout == "True\n"
        assert program.others == ""


CHILDREN = {
    "os.fork": """
        import os, sys
        def inside():
            stopped_here = 1
        pid = os.fork()
        if pid == 0:
            inside()
            print("child", flush=True)
            sys.exit(3)
        print(os.waitpid(pid, 0)[1] >> 8)
        """,
    "multiprocessing": """
        import multiprocessing, sys
        def inside(n=1):
            stopped_here = n * 2
            return stopped_here
        if __name__ == "__main__":
            for method in "fork", "spawn", "forkserver":
                context = multiprocessing.get_context(method)
                child = context.Process(target=inside)
                child.start()
                child.join()
                print(method, child.exitcode)
                with context.Pool(2) as pool:
                    print(pool.map(inside, [1, 2, 3]))
        """,
    "subprocess": """
        import subprocess, sys
        if sys.argv[1:]:
            stopped_here = 1
            print("child", flush=True)
            sys.exit(3)
        print(subprocess.call([sys.executable, __file__, "child"]))
        print(subprocess.call([sys.executable, __file__, "child"], preexec_fn=lambda: None))
        """,
    "thread forks": """
        import os, threading
        def inside():
            stopped_here = 1
        def work():
            pid = os.fork()
            if pid == 0:
                inside()
                thread = threading.Thread(target=inside)
                thread.start()
                thread.join()
                os._exit(4)
            print(os.waitpid(pid, 0)[1] >> 8)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
}


@needs("ptvsd")
class TestChildren:
    """A program with children runs to its end as it would without us; the children are not debugged, and quiet."""

    @pytest.mark.parametrize("client", ["none", "breakpoint", "no breakpoint"])
    @pytest.mark.parametrize("what", list(CHILDREN))
    def test_runs_to_its_end(self, start: RunPtvsd, tmp_path: Path, port: int, what: str, client: str) -> None:
        """Forks, multiprocessing and subprocesses end as without us, with a client and without."""
        app = write(tmp_path, "app.py", CHILDREN[what])
        with Program(tmp_path, "app.py") as bare:
            expected = bare.wait(), bare.stdout, bare.stderr
        program = start("app.py", DEBUGGER_WAIT=0 if client == "none" else 30)
        if client == "none":
            assert program.wait() == expected[0], program.dump()
        else:
            with attach(port, *([(app, "stopped_here =")] if client == "breakpoint" else [])) as ide:
                assert program.wait() == expected[0], program.dump()
                assert ide.events("stopped") == []
        assert program.stdout == expected[1]
        assert re.sub(r"pid=\d+", "", program.others) == re.sub(r"pid=\d+", "", expected[2])

    @pytest.mark.parametrize("with_client", [True, False])
    def test_exec(self, start: RunPtvsd, tmp_path: Path, port: int, with_client: bool) -> None:
        """A program that executes a Python in its place runs to its end; the new one listens on the same port."""
        write(tmp_path, "next.py", "import os, sys; print('next', len(sys.argv))")
        write(tmp_path, "app.py", "import os, sys; os.execv(sys.executable, [sys.executable, 'next.py'])")
        program = start("app.py", DEBUGGER_WAIT=2 if with_client else 0)
        if with_client:
            with attach(port):
                assert program.wait() == 0
        else:
            assert program.wait() == 0
        assert program.stdout == "next 1\n"
        assert program.others == ""

    def test_child_that_outlives_the_parent(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A forked child holds neither the port nor the client's connection."""
        app = write(
            tmp_path,
            "app.py",
            """
            import os, time
            here = 1
            if os.fork() == 0:
                print("child", flush=True)
                time.sleep(30)
                os._exit(0)
            time.sleep(0.5)
            """,
        )
        program = start("app.py")
        with attach(port, (app, "here = 1")) as client:
            go_on(client)
            assert program.wait() == 0
            client.wait_closed(10)
        assert program.stdout == "child\n"
        assert not listeners(port)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))

    def test_child_does_not_end_the_session(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A forked child passes breakpoint() by, and when it ends does not tell the IDE that the program has ended."""
        app = write(
            tmp_path,
            "app.py",
            """
            import os, sys
            pid = os.fork()
            if pid == 0:
                breakpoint()
                print("child")
                sys.exit(0)
            os.waitpid(pid, 0)
            after = 1
            """,
        )
        program = start("app.py")
        with attach(port, (app, "after = 1")) as client:
            thread, _ = stop(client)
            assert client.events("terminated") == client.events("exited") == []
            client.continue_(thread)
            assert program.wait() == 0
        assert program.stdout == "child\n"


FACTS = """
    import atexit, os, signal, sys, threading, warnings, json
    main = sys.modules["__main__"]
    atexit.register(print, "atexit")
    print(json.dumps(dict(
        argv=sys.argv, path=sys.path, file=__file__, name=__name__, main=sorted(vars(main)), doc=main.__doc__,
        signals=[str(signal.getsignal(n)) for n in range(1, signal.NSIG) if n not in (32, 33)],
        filters=[str(f) for f in warnings.filters], settrace=str(sys.settrace), fork=str(os.fork.__name__),
        excepthook=sys.excepthook.__module__, hook=str(threading.excepthook.__module__),
        environ=sorted(n for n in os.environ if not n.startswith(("START_", "DEBUGGER_", "AUTOATTACH_"))),
        stdin=type(sys.stdin).__name__, interval=sys.getswitchinterval(), limit=sys.getrecursionlimit(),
    ), indent=1))
    def fail():
        raise ValueError("on purpose")
    fail()
    """


@needs("ptvsd")
class TestProgram:
    """The program is as it would be without us."""

    def test_as_without_us(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """argv, path, __main__, signals, warnings filters, environment, traceback and status: with a client, too."""
        write(tmp_path, "app.py", FACTS)
        with Program(tmp_path, "app.py", "argument") as bare:
            expected = bare.wait(), bare.stdout, bare.stderr
        program = start("app.py", "argument")
        with attach(port):
            assert (program.wait(), program.stdout, program.others) == expected

    @pytest.mark.parametrize("text", ["import sys; sys.exit(7)", "import os; os._exit(8)", "raise SystemExit('why')"])
    def test_exit_status(self, start: RunPtvsd, tmp_path: Path, port: int, text: str) -> None:
        """The process ends when the program ends, with its own status, though a client is attached."""
        write(tmp_path, "app.py", text)
        with Program(tmp_path, "app.py") as bare:
            expected = bare.wait(), bare.stdout, bare.stderr
        program = start("app.py")
        with attach(port):
            assert (program.wait(15), program.stdout, program.others) == expected

    def test_hangup(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """SIGHUP ends the program as it would without ptvsd, which makes it an end with status 0."""
        import signal

        app = write(tmp_path, "app.py", LOOP)
        program = start("app.py")
        with attach(port, (app, "square =")) as client:
            go_on(client, app)
            program.send(signal.SIGHUP)
            assert program.wait() == -signal.SIGHUP

    @pytest.mark.parametrize("warnings", ["always", "error"])
    @pytest.mark.parametrize("held", [True, False])
    def test_noise(self, start: RunPtvsd, tmp_path: Path, port: int, held: bool, warnings: str) -> None:
        """Nothing of ptvsd's reaches stdout or stderr, even where its source is compiled anew with all warnings on."""
        app = write(tmp_path, "app.py", LOOP)
        quiet = {"PYTHONPYCACHEPREFIX": tmp_path / "cache", "PYTHONWARNINGS": warnings}
        program = start("app.py", DEBUGGER_WAIT=30 if held else 0, **quiet)
        if not held:
            program.wait_for("running", "stdout")
        with attach(port, (app, "square =")) as client:
            go_on(client, app)
            client.disconnect()
        (tmp_path / "enough").touch()
        assert program.wait() == 0
        assert program.stdout == "running\nend\n"
        assert program.others == ""

    def test_failing_attach(self, start: RunPtvsd, tmp_path: Path, port: int) -> None:
        """A ptvsd that breaks becomes one line, everything is taken back, and the program runs."""
        write(tmp_path, "fake/ptvsd.py", "raise SystemExit(5)")
        write(tmp_path, "app.py", FACTS)
        with Program(tmp_path, "app.py", PYTHONPATH=tmp_path / "fake") as bare:
            expected = bare.wait(), bare.stdout, bare.stderr
        program = start("app.py", PYTHONPATH=tmp_path / "fake")
        client = Client.connect("127.0.0.1", port)
        client.send("initialize")
        assert (program.wait(), program.stdout, program.others) == expected
        assert len(program.ours) == 2
        assert "ptvsd failed (SystemExit: 5)" in program.ours[1]
        client.close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="ptvsd works here")
def test_too_new_a_python(start: RunPtvsd, tmp_path: Path) -> None:
    """On Python 3.13 and later, where ptvsd cannot work, one line says so and names debugpy; the program runs."""
    write(tmp_path, "ptvsd/__init__.py", "raise SystemExit('imported')")
    write(tmp_path, "app.py", "print('ran')")
    program = start("app.py", PYTHONPATH=tmp_path)
    assert program.wait() == 0
    assert program.stdout == "ran\n"
    assert program.others == ""
    (line,) = program.ours
    assert "ptvsd cannot work on Python 3.13" in line
    assert "debugpy" in line


TREE = """
    import os, subprocess, sys, time
    {start}
    {child}
    while not os.path.exists("stop"):
        time.sleep(0.02)
        mark = 1
"""
WAYS = {
    "a shell's child": "os.environ.get('CHILD') or subprocess.Popen(['sh', '-c', f'CHILD=1 {sys.executable} app.py; true'])",
    "a fork": "os.fork()",
}


@needs("ptvsd")
@pytest.mark.parametrize("child", WAYS)
def test_children_say_that_they_cannot_join(run: Callable[..., Program], tmp_path: Path, child: str) -> None:
    """With one port, a line says that children run undebugged, and what to do; they run."""
    write(tmp_path, "app.py", TREE.format(start="", child=WAYS[child]))
    program = run("app.py", DEBUGGER_IDE="ptvsd", DEBUGGER_WAIT=0)
    program.wait_for("debugpy follows them all")
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    assert len(program.ours) == 2
    assert not program.others


@needs("ptvsd")
@pytest.mark.parametrize("child", WAYS)
def test_children_take_the_next_port_of_a_range(
    run: Callable[..., Program], tmp_path: Path, port: int, child: str
) -> None:
    """With a range, a child has the next free port of it, without a hold, and can be attached to there."""
    app = write(tmp_path, "app.py", TREE.format(start="", child=WAYS[child]))
    program = run("app.py", DEBUGGER_IDE="ptvsd", DEBUGGER_WAIT=0, DEBUGGER_PORT=f"{port}-{port + 30}")
    wait_until(lambda: sum("can attach at" in line for line in program.ours) == 2, "second port", program=program)
    ports = [int(line.split("127.0.0.1:")[1].split()[0]) for line in program.ours if "can attach at" in line]
    assert ports[0] < ports[1]
    for number in ports:
        with Client.connect("127.0.0.1", number, LIMIT) as client:
            client.attach(breakpoints={str(app): [line_of(app, "mark = 1")]})
            client.continue_(client.wait_stopped())
            client.disconnect()
    (tmp_path / "stop").touch()
    assert program.wait() == 0
