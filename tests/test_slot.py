"""PyCharm serves one process at a time: it is the one that runs the user's code, and no other ever waits for it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from support import LIMIT, Program, free_port, line_of, needs, wait_until, write

from autoattach import _records, _slot
from autoattach._process import Process
from autoattach._roles import is_reloaded, role
from autoattach.cli._pycharm import Server, Session

pytestmark = needs("pydevd-pycharm")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

Run = Callable[..., Program]

SLOT = "has PyCharm's slot"
ONLY = "have one worker"
UNHURRIED = ("--timeout-worker-healthcheck", 3600)  # without it, one line more


@pytest.fixture
def server(port: int) -> Iterator[Server]:
    """PyCharm, listening; it serves the next process when the one before has gone."""
    with Server(port=port) as server:
        yield server


@pytest.fixture
def start(run: Run) -> Run:
    """Start a program for PyCharm; a file `stop` beside it ends what the test has written."""

    def start(*arguments: object, **keywords: Any) -> Program:
        env = {"DEBUGGER_IDE": "pycharm", "DEBUGGER_WAIT": 30, "GUNICORN_CMD_ARGS": "--timeout 0"}
        return run(*arguments, **{**env, **keywords})

    return start


def serve(server: Server, breakpoints: Dict[Path, List[int]]) -> Session:
    """PyCharm takes the next process that lives to be greeted: a reloader may have seen an edit twice."""
    for _ in range(10):
        session = server.accept()
        try:
            session.start({str(path): lines for path, lines in breakpoints.items()})
            return session
        except ConnectionError as error:
            gone = error
    raise gone


def stop_in(session: Session, path: Path, text: str, last: bool = False) -> int:
    """The process stops at that line, and goes on, with `last` without the breakpoint; its id."""
    stop = session.wait_stopped()
    assert (Path(stop.file).name, stop.line) == (path.name, line_of(path, text))
    pid = int(session.evaluate("__import__('os').getpid()"))
    if last:
        session.send(112, f"python-line\t{path}\t{line_of(path, text)}")
    session.resume()
    return pid


def pids(program: Program, word: str) -> list[int]:
    """The processes that have said the word, in their order."""
    return [int(pid) for pid in re.findall(rf"^{word} (\d+)$", program.stdout, re.MULTILINE)]


def said(program: Program, text: str) -> list[int]:
    """The processes that have said this, of our lines."""
    return [
        int(pid) for pid in re.findall(rf"^autoattach\[(\d+)\]: [^\n]*{re.escape(text)}", program.stderr, re.MULTILINE)
    ]


def dump_of(program: Program) -> str:
    return program.dump()


# --- masters that fork, imitated


WORKER = """
    import os, sys, time

    def serve():
        booted = os.getpid()
        print("worker", booted, flush=True)
        until = time.monotonic() + 100
        while not os.path.exists("stop") and time.monotonic() < until:
            turn()
            time.sleep(0.02)
        print("over", booted, flush=True)

    def turn():
        here = os.getpid()
        return here
"""
ARBITER = """
    import os, sys

    def spawn_worker():
        pid = os.fork()
        if pid == 0:
            import worker
            worker.serve()
            sys.stdout.flush()
            sys.exit()

    def run(workers):
        for _ in range(workers):
            spawn_worker()
        print("master", os.getpid(), "pydevd" in sys.modules, flush=True)
        while workers:
            _, status = os.wait()
            if status & 127 not in (0, 9, 15):
                print("died of", status, flush=True)
            if os.path.exists("stop"):
                workers -= 1
            else:
                spawn_worker()
        print("end", flush=True)
"""
RELOAD = """
    import signal
    children = []

    def spawn_worker():
        pid = os.fork()
        if pid == 0:
            import worker
            worker.serve()
            sys.exit()
        children.append(pid)

    def reload():
        spawn_worker()
        os.kill(children.pop(0), signal.SIGTERM)

    def run(workers):
        spawn_worker()
        while not os.path.exists("stop"):
            signal.sigtimedwait([], 0.05)
        for pid in children:
            os.waitpid(pid, 0)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A master that forks workers, under the name of one that is known, and the workers' code."""
    write(tmp_path, "gunicorn/__init__.py", "")
    write(tmp_path, "gunicorn/arbiter.py", ARBITER)
    write(tmp_path, "gunicorn/__main__.py", "import sys\nfrom gunicorn import arbiter\narbiter.run(int(sys.argv[1]))\n")
    return write(tmp_path, "worker.py", WORKER)


def end(program: Program) -> None:
    """The program runs to its own end."""
    (program.folder / "stop").touch()
    assert program.wait() == 0, program.dump()


@forks
def test_the_first_worker_of_a_prefork_server(start: Run, server: Server, worker: Path) -> None:
    """Of a prefork server the first worker is debugged, from its first line; the master has no debugger, the others run
    on. One line says who has the slot, and one that breakpoints are hit there only, and what to do."""
    program = start("-m", "gunicorn", 3)
    session = serve(server, {worker: [line_of(worker, "booted =")]})
    pid = stop_in(session, worker, "booted =")
    wait_until(lambda: len(pids(program, "worker")) == 3, "workers", program=program)
    end(program)
    assert f"master {program.pid} False" in program.stdout
    assert said(program, SLOT) == [pid] != [program.pid]
    assert len(said(program, ONLY)) == 1
    assert "-w 1" in program.stderr
    assert len(program.ours) == 2
    assert not program.others


@forks
def test_one_worker_needs_no_advice(start: Run, server: Server, worker: Path) -> None:
    """With one worker nothing is said of others."""
    program = start("-m", "gunicorn", 1)
    session = serve(server, {worker: [line_of(worker, "booted =")]})
    stop_in(session, worker, "booted =")
    end(program)
    assert len(program.ours) == 1


@forks
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_worker_that_replaces_the_one_that_died(start: Run, server: Server, worker: Path, number: int) -> None:
    """When the worker that has the slot dies, however, the one that is forked in its place has it."""
    program = start("-m", "gunicorn", 2)
    first = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    wait_until(lambda: len(pids(program, "worker")) == 2, "workers", program=program)
    os.kill(first, number)
    second = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    end(program)
    assert said(program, SLOT) == [first, second]
    assert len(said(program, ONLY)) == 1


@forks
def test_another_worker_dies(start: Run, server: Server, worker: Path) -> None:
    """When a worker dies that has not the slot, its replacement leaves it to the one that has."""
    program = start("-m", "gunicorn", 2)
    session = serve(server, {})
    wait_until(lambda: len(pids(program, "worker")) == 2 and said(program, SLOT), "workers", program=program)
    (first,) = said(program, SLOT)
    os.kill(next(pid for pid in pids(program, "worker") if pid != first), signal.SIGKILL)
    wait_until(lambda: len(pids(program, "worker")) == 3, "a third worker", program=program)
    session.set_breakpoints({str(worker): [line_of(worker, "here =")]})
    assert stop_in(session, worker, "here =", last=True) == first
    end(program)
    assert said(program, SLOT) == [first]


@forks
def test_a_prefork_server_is_held_as_a_whole(start: Run, port: int, worker: Path) -> None:
    """A prefork server is held before it starts, as any program, with the line that says for how long: its workers are
    not, so that no master takes one for dead. Then the first has the slot."""
    program = start("-m", "gunicorn", 2, DEBUGGER_WAIT="forever")
    program.wait_for("nobody listens")
    assert not program.stdout
    with Server(port=port) as server:
        pid = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
        wait_until(lambda: len(pids(program, "worker")) == 2, "workers", program=program)
        end(program)
    assert said(program, "waiting without limit") == [program.pid]
    assert said(program, SLOT) == [pid]


@forks
def test_a_prefork_servers_hold_runs_out(start: Run, worker: Path) -> None:
    """Nobody comes: one line says so when the time is up, and the workers run with no further word and no wait."""
    program = start("-m", "gunicorn", 2, DEBUGGER_WAIT=0.5)
    wait_until(lambda: len(pids(program, "worker")) == 2, "workers", program=program)
    end(program)
    assert "gave up after 0.5 s" in program.ours[-1]
    assert len(program.ours) == 2
    assert not program.others


@forks
def test_a_master_that_reloads(start: Run, server: Server, worker: Path) -> None:
    """A master that forks new workers before it ends the old ones, as gunicorn does at SIGHUP: the slot goes on to a new
    one, and nothing is said of several workers."""
    gunicorn = worker.parent / "gunicorn"
    write(gunicorn, "arbiter.py", "import os, sys\n" + __import__("textwrap").dedent(RELOAD))
    main = (
        "import signal, sys\nfrom gunicorn import arbiter\nsignal.signal(signal.SIGHUP, lambda *_: arbiter.reload())\n"
    )
    write(gunicorn, "__main__.py", main + "arbiter.run(int(sys.argv[1]))\n")
    program = start("-m", "gunicorn", 1)
    seen = [stop_in(serve(server, {worker: [line_of(worker, "here =")]}), worker, "here =", last=True)]
    for _ in range(2):
        program.send(signal.SIGHUP)
        seen.append(stop_in(serve(server, {worker: [line_of(worker, "here =")]}), worker, "here =", last=True))
    end(program)
    assert len(set(seen)) == 3
    assert said(program, SLOT) == seen
    assert len(program.ours) == 3, program.dump()


@forks
def test_pycharm_goes_and_comes_again(start: Run, server: Server, worker: Path) -> None:
    """PyCharm hangs up: the worker runs on. One that is forked later connects, if PyCharm is there."""
    program = start("-m", "gunicorn", 1)
    session = serve(server, {})
    program.wait_for(SLOT)
    (first,) = said(program, SLOT)
    session.close()
    program.wait_for("PyCharm has gone")
    os.kill(first, signal.SIGTERM)
    second = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    end(program)
    assert said(program, SLOT) == [first, second]


@forks
def test_pycharm_is_gone_for_good(start: Run, server: Server, worker: Path) -> None:
    """A worker that is forked with nobody listening any more starts at once, without a word."""
    program = start("-m", "gunicorn", 1)
    session = serve(server, {})
    program.wait_for(SLOT)
    (first,) = said(program, SLOT)
    session.close()
    server.close()
    program.wait_for("PyCharm has gone")
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: len(pids(program, "worker")) == 2, "another worker", program=program)
    end(program)
    assert len(program.ours) == 2, program.dump()


@forks
def test_a_mute_pycharm_does_not_hold_a_worker(start: Run, server: Server, worker: Path) -> None:
    """A worker that is forked while PyCharm accepts and says nothing is held for a few seconds, not for the hold's."""
    program = start("-m", "gunicorn", 1, DEBUGGER_WAIT="forever")
    session = serve(server, {})
    program.wait_for(SLOT)
    (first,) = said(program, SLOT)
    session.close()
    program.wait_for("PyCharm has gone")
    began = time.monotonic()
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: len(pids(program, "worker")) == 2, "another worker", program=program)
    assert time.monotonic() - began < 10
    end(program)
    assert "says nothing" in program.ours[-1]


@forks
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_worker_is_ended_before_it_has_begun(start: Run, server: Server, worker: Path, number: int) -> None:
    """A worker that is told to end while its debugger is being loaded ends at once: its master's handler, which it has
    inherited, does not swallow that."""
    gunicorn = worker.parent / "gunicorn"
    handler = f"import signal\nsignal.signal({int(number)}, lambda *_: None)\n"
    write(gunicorn, "__main__.py", handler + (gunicorn / "__main__.py").read_text())
    write(
        gunicorn,
        "arbiter.py",
        ARBITER.replace("if pid == 0:", "print('forked', pid, flush=True)\n        if pid == 0:"),
    )
    program = start("-m", "gunicorn", 1)
    session = server.accept()  # greets, and does not go on
    first = wait_until(lambda: pids(program, "forked"), "worker", program=program)[0]
    wait_until(lambda: session.received, "debugger in the worker", program=program)
    os.kill(first, number)
    second = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    end(program)
    assert second != first
    assert pids(program, "worker") == [second]
    assert said(program, SLOT) == [second]


OTHER_FORKS = {
    "os.fork": "os.fork() == 0 and (print('other', os.getpid(), flush=True), time.sleep(100), os._exit(0))",
    "preexec_fn": """subprocess.Popen([sys.executable, "-c", "import os, time; print('other', os.getpid(), flush=True); time.sleep(100)"], preexec_fn=os.getpid)""",
    "subprocess": """subprocess.Popen([sys.executable, "-c", "import os, time; print('other', os.getpid(), flush=True); time.sleep(100)"])""",
}


@forks
@pytest.mark.parametrize("kind", OTHER_FORKS)
def test_a_masters_other_forks(start: Run, server: Server, worker: Path, kind: str) -> None:
    """What a master forks or starts for other ends has neither the slot nor the connection, and does not keep them: the
    worker has them, and after its death the next one."""
    main = worker.parent / "gunicorn" / "__main__.py"
    main.write_text(f"import os, subprocess, sys, time\n{OTHER_FORKS[kind]}\n{main.read_text()}")
    program = start("-m", "gunicorn", 1)
    first = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    wait_until(lambda: pids(program, "other"), "the other process", program=program)
    (other,) = pids(program, "other")
    os.kill(first, signal.SIGKILL)
    second = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    os.kill(other, signal.SIGKILL)
    os.kill(program.pid, signal.SIGTERM)
    assert said(program, SLOT) == [first, second]


@forks
def test_a_master_that_becomes_a_daemon(start: Run, server: Server, worker: Path) -> None:
    """A master that forks itself into the background takes the slot with it; its worker is debugged."""
    write(
        worker.parent,
        "gunicorn/util.py",
        """
        import os
        def daemonize():
            for _ in range(2):
                if os.fork():
                    os._exit(0)
        """,
    )
    main = worker.parent / "gunicorn" / "__main__.py"
    main.write_text(main.read_text().replace("arbiter.run", "from gunicorn import util\nutil.daemonize()\narbiter.run"))
    program = start("-m", "gunicorn", 1)
    pid = stop_in(serve(server, {worker: [line_of(worker, "booted =")]}), worker, "booted =")
    assert program.wait() == 0
    (worker.parent / "stop").touch()
    program.wait_for("end", "stdout", alive=False)
    assert said(program, SLOT) == [pid]


@forks
def test_processes_between_the_first_one_and_the_workers(start: Run, server: Server, worker: Path) -> None:
    """Airflow's LocalExecutor: the processes between get the slot, the connection and no debugger; of what they fork one
    task after the other has it, whichever of them runs it."""
    write(worker.parent, "airflow/__init__.py", "")
    write(worker.parent, "airflow/sdk/__init__.py", "")
    write(worker.parent, "airflow/sdk/execution_time/__init__.py", "")
    write(worker.parent, "airflow/executors/__init__.py", "")
    write(
        worker.parent,
        "airflow/sdk/execution_time/supervisor.py",
        """
        import os, sys, worker
        def start():
            print("between", os.getpid(), "pydevd" in sys.modules, flush=True)
            if os.fork() == 0:
                worker.turn()
                os._exit(0)
            os.wait()
        """,
    )
    write(
        worker.parent,
        "airflow/executors/local_executor.py",
        """
        import os
        from airflow.sdk.execution_time import supervisor
        def _spawn_worker(tasks):
            if os.fork() == 0:
                for _ in range(tasks):
                    supervisor.start()
                os._exit(0)
        """,
    )
    main = """
        import os
        from airflow.executors.local_executor import _spawn_worker
        for tasks in 2, 1:
            _spawn_worker(tasks)
            os.wait()
        print("end", flush=True)
    """
    write(worker.parent, "airflow/__main__.py", main)
    program = start("-m", "airflow", "scheduler")
    tasks = [stop_in(serve(server, {worker: [line_of(worker, "here =")]}), worker, "here =") for _ in range(3)]
    end(program)
    between = re.findall(r"^between (\d+) (\w+)$", program.stdout, re.MULTILINE)
    assert [debugged for _, debugged in between] == ["False"] * 3
    assert between[0] == between[1] != between[2]
    assert said(program, "Airflow's task has PyCharm's slot") == tasks
    assert len(set(tasks)) == len(program.ours) == 3


@forks
def test_a_worker_forks_and_starts_processes(start: Run, server: Server, worker: Path) -> None:
    """What the worker with the slot forks and starts itself runs to its end, undebugged and without a word."""
    code = worker.read_text().replace(
        'print("over"',
        'import subprocess\n    subprocess.run([sys.executable, "-c", "print(\'child\')"])\n'
        '    os.fork() == 0 and (turn(), print("fork"), sys.stdout.flush(), os._exit(0))\n    os.wait()\n    print("over"',
    )
    worker.write_text(code)
    program = start("-m", "gunicorn", 1)
    session = serve(server, {worker: [line_of(worker, "booted =")]})
    stop_in(session, worker, "booted =")
    end(program)
    assert "child\n" in program.stdout
    assert "fork\n" in program.stdout
    assert len(program.ours) == 1
    session.wait_output("over")


@forks
def test_children_stay_out_of_a_prefork_server(start: Run, server: Server, worker: Path) -> None:
    """DEBUGGER_SUBPROCESS=0: no worker is debugged, for workers are children; the master itself is."""
    program = start("-m", "gunicorn", 2, DEBUGGER_SUBPROCESS=0)
    main = worker.parent / "gunicorn" / "arbiter.py"
    session = serve(server, {main: [line_of(main, "for _ in")], worker: [line_of(worker, "booted =")]})
    assert stop_in(session, main, "for _ in", last=True) == program.pid
    wait_until(lambda: len(pids(program, "worker")) == 2, "workers", program=program)
    end(program)
    assert not program.ours


# --- reload pairs, imitated


PAIR = """
    import os, subprocess, sys, time
    import inner

    value = os.getpid()
    print("first line", value, flush=True)

    def reloader():
        while not os.path.exists("stop"):
            status = subprocess.call([sys.executable, *sys.argv], env={**os.environ, MARK: "true"}, close_fds=False)
            print("again", status, flush=True)
        print("end", "pydevd" in sys.modules and bool(sys.gettrace()), flush=True)

    if os.environ.get(MARK) != "true":
        reloader()
    else:
        inner.serve()
"""
INNER = """
    import os, subprocess, sys, time

    def serve():
        here = os.getpid()
        print("serving", here, flush=True)
        subprocess.run([sys.executable, "-c", "print('grandchild')"])
        until = time.monotonic() + 100
        while not (os.path.exists("stop") or os.path.exists("edited")) and time.monotonic() < until:
            time.sleep(0.02)
        if os.path.exists("edited"):
            os.unlink("edited")
        sys.exit(3)
"""


@pytest.fixture(params=["WERKZEUG_RUN_MAIN", "RUN_MAIN"])
def pair(request: Any, tmp_path: Path) -> Path:
    """A program that runs itself again as a child, as `app.run(debug=True)` does; its code is in inner.py."""
    write(tmp_path, "app.py", f"MARK = {request.param!r}\n" + __import__("textwrap").dedent(PAIR))
    return write(tmp_path, "inner.py", INNER)


def test_a_reloading_program_hands_the_slot_to_its_child(start: Run, server: Server, pair: Path) -> None:
    """A program that turns out to reload itself is debugged until it starts its child; then the child is, and after
    each edit the next one. What the child starts runs on. One line of each child says so."""
    app = pair.parent / "app.py"
    program = start("app.py")
    session = serve(server, {app: [line_of(app, "value =")], pair: [line_of(pair, "here =")]})
    assert stop_in(session, app, "value =") == program.pid
    children = []
    for _ in range(3):
        session = serve(server, {pair: [line_of(pair, "here =")]})
        children.append(stop_in(session, pair, "here ="))
        wait_until(lambda: program.stdout.count("grandchild") == len(children), "a grandchild", program=program)
        (pair.parent / "edited").touch()
    session.wait_closed()
    end(program)
    assert program.pid not in children
    assert len(set(children)) == 3
    assert said(program, SLOT)[:3] == children
    assert "end False" in program.stdout
    assert not [line for line in program.ours if SLOT not in line and "nobody listens" not in line], program.dump()
    assert not program.others


def test_a_reloading_program_and_nobody_there(start: Run, pair: Path) -> None:
    """Nobody listens: one line for the pair, which runs as ever."""
    program = start("app.py", DEBUGGER_WAIT=0)
    program.wait_for("grandchild", "stdout")
    end(program)
    assert len(program.ours) == 1


def test_children_of_a_reloading_program_stay_out(start: Run, server: Server, pair: Path) -> None:
    """DEBUGGER_SUBPROCESS=0: the parent keeps the slot."""
    app = pair.parent / "app.py"
    program = start("app.py", DEBUGGER_SUBPROCESS=0)
    session = serve(server, {app: [line_of(app, 'print("again"')], pair: [line_of(pair, "here =")]})
    program.wait_for("grandchild", "stdout")
    (pair.parent / "edited").touch()
    assert stop_in(session, app, 'print("again"', last=True) == program.pid
    end(program)
    assert not program.ours


@pytest.fixture
def manage(tmp_path: Path) -> Path:
    """The same under the name of one that is known to reload."""
    write(tmp_path, "manage.py", "MARK = 'RUN_MAIN'\n" + __import__("textwrap").dedent(PAIR))
    return write(tmp_path, "inner.py", INNER)


def test_a_known_reloader_never_has_the_slot(start: Run, server: Server, manage: Path) -> None:
    """Of a reload pair that is known by its command the child is debugged, after each edit the next one; the parent
    never loads a debugger."""
    app = manage.parent / "manage.py"
    program = start("manage.py", "runserver")
    children = []
    for _ in range(2):
        session = serve(server, {app: [line_of(app, "value =")], manage: [line_of(manage, "here =")]})
        children.append(stop_in(session, app, "value ="))
        assert stop_in(session, manage, "here =") == children[-1]
        wait_until(lambda: program.stdout.count("grandchild") == len(children), "a grandchild", program=program)
        (manage.parent / "edited").touch()
    session.wait_closed()
    end(program)
    assert program.pid not in children
    assert said(program, SLOT)[:2] == children
    assert not program.others


def test_a_known_reloader_is_held_before_it_starts(start: Run, port: int, manage: Path) -> None:
    """The pair is held in its first process, once, with the one line; the child finds PyCharm's connection made."""
    program = start("manage.py", "runserver", DEBUGGER_WAIT="forever")
    program.wait_for("nobody listens")
    with Server(port=port) as server:
        pid = stop_in(serve(server, {manage: [line_of(manage, "here =")]}), manage, "here =")
        end(program)
    assert said(program, "waiting") == [program.pid]
    assert said(program, SLOT) == [pid]


def test_a_known_reloader_without_its_reloader(start: Run, server: Server, manage: Path) -> None:
    """Told not to reload it is a program like any other: it has the slot itself."""
    app = manage.parent / "manage.py"
    app.write_text(app.read_text().replace('os.environ.get(MARK) != "true"', "False"))
    program = start("manage.py", "runserver", "--noreload")
    assert stop_in(serve(server, {app: [line_of(app, "value =")]}), app, "value =") == program.pid
    (app.parent / "stop").touch()
    assert program.wait() == 3


# --- servers that spawn, imitated


SPAWNER = """
    import multiprocessing, os, sys
    import worker

    def main():
        context = multiprocessing.get_context("spawn")
        count = int(sys.argv[sys.argv.index("--workers") + 1])
        processes = [context.Process(target=worker.serve) for _ in range(count)]
        for process in processes:
            process.start()
        print("master", os.getpid(), "pydevd" in sys.modules, flush=True)
        while not os.path.exists("stop"):
            for process in list(processes):
                process.join(0.05)
                if not process.is_alive() and not os.path.exists("stop"):
                    processes.remove(process)
                    processes.append(context.Process(target=worker.serve))
                    processes[-1].start()
        for process in processes:
            process.join()

    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def spawned(tmp_path: Path) -> Path:
    write(tmp_path, "uvicorn/__init__.py", "")
    write(tmp_path, "uvicorn/__main__.py", SPAWNER)
    return write(tmp_path, "worker.py", WORKER)


def test_the_first_worker_of_a_server_that_spawns(start: Run, server: Server, spawned: Path) -> None:
    """Of workers that are spawned one is debugged, the others and the main process are not; one line says which, that
    breakpoints are hit there only, and what to do. When it dies its replacement has the slot."""
    program = start("-m", "uvicorn", "--workers", 3, *UNHURRIED)
    first = stop_in(serve(server, {spawned: [line_of(spawned, "booted =")]}), spawned, "booted =")
    wait_until(lambda: len(pids(program, "worker")) == 3, "workers", program=program)
    (line,) = program.ours
    assert SLOT in line
    assert ONLY in line
    os.kill(first, signal.SIGTERM)
    second = stop_in(serve(server, {spawned: [line_of(spawned, "booted =")]}), spawned, "booted =")
    end(program)
    assert f"master {program.pid} False" in program.stdout
    assert said(program, SLOT) == [first, second]
    assert len(program.ours) == 2
    assert not program.others


def test_a_server_that_spawns_is_held_as_a_whole(start: Run, port: int, spawned: Path) -> None:
    """It is held in its main process, before there are workers: none of them is."""
    program = start("-m", "uvicorn", "--workers", 2, *UNHURRIED, DEBUGGER_WAIT="forever")
    program.wait_for("nobody listens")
    assert not program.stdout
    with Server(port=port) as server:
        pid = stop_in(serve(server, {spawned: [line_of(spawned, "booted =")]}), spawned, "booted =")
        end(program)
    assert said(program, "waiting") == [program.pid]
    assert said(program, SLOT) == [pid]


def test_a_server_that_spawns_and_nobody_there(start: Run, spawned: Path) -> None:
    """Nobody listens: one line for the tree."""
    program = start("-m", "uvicorn", "--workers", 2, *UNHURRIED, DEBUGGER_WAIT=0)
    wait_until(lambda: len(pids(program, "worker")) == 2, "workers", program=program)
    end(program)
    assert len(program.ours) == 1
    assert not program.others


@forks
@pytest.mark.parametrize("command", ["-m gunicorn 2", "-m uvicorn --workers 2"])
def test_pycharm_comes_to_workers_that_run(start: Run, port: int, worker: Path, spawned: Path, command: str) -> None:
    """Started before PyCharm, the workers call behind what they run. When it comes one of them has it, and another when
    that has died; a line says which, that breakpoints are hit there only, and what to do."""
    program = start(*command.split(), DEBUGGER_WAIT=0)
    wait_until(lambda: len(pids(program, "worker")) == 2, "workers", program=program)
    with Server(port=port) as server:
        breakpoints = {worker: [line_of(worker, "here =")]}
        first = stop_in(serve(server, breakpoints), worker, "here =", last=True)
        wait_until(lambda: said(program, ONLY), "line", program=program)
        os.kill(first, signal.SIGKILL)
        second = stop_in(serve(server, breakpoints), worker, "here =", last=True)
        end(program)
    assert len(said(program, "trying again in the background")) == 1
    assert said(program, ONLY)[0] == first != second
    assert said(program, SLOT) == [first, second]
    assert f"master {program.pid} False" in program.stdout
    assert not program.others


@pytest.mark.parametrize("command", ["app.py", "manage.py runserver"])
def test_pycharm_comes_to_a_reload_pair(start: Run, port: int, tmp_path: Path, command: str) -> None:
    """Started before PyCharm, a reloader's child calls behind what it runs, and not its parent, be it known to reload
    or not; after an edit the next child has it."""
    write(tmp_path, command.split()[0], "MARK = 'RUN_MAIN'\n" + __import__("textwrap").dedent(PAIR))
    turn = "    def turn():\n        now = os.getpid()\n        time.sleep(0.02 if now else 0)\n"
    inner = write(tmp_path, "inner.py", INNER.replace("time.sleep(0.02)", "turn()") + turn)
    program = start(*command.split(), DEBUGGER_WAIT=0)
    program.wait_for("grandchild", "stdout")
    with Server(port=port) as server:
        first = stop_in(serve(server, {inner: [line_of(inner, "now =")]}), inner, "now =", last=True)
        (tmp_path / "edited").touch()
        second = stop_in(serve(server, {inner: [line_of(inner, "here =")]}), inner, "here =")
        end(program)
    assert program.pid not in (first, second)
    assert said(program, "trying again in the background") == [program.pid]
    assert said(program, SLOT) == [first, second]
    assert len(program.ours) == 3
    assert not program.others


SUPERVISOR = """
    import multiprocessing, os, sys

    def run(target):
        while not os.path.exists("stop"):
            process = multiprocessing.get_context("spawn").Process(target=target)
            process.start()
            process.join()
        print("end", "pydevd" in sys.modules and bool(sys.gettrace()), flush=True)
"""


def test_a_script_that_runs_a_supervisor(start: Run, server: Server, tmp_path: Path) -> None:
    """A script that turns out to be a reloading server's main process is debugged until that starts the child; then the
    child is, and after each edit the next one."""
    write(tmp_path, "uvicorn/__init__.py", "")
    write(tmp_path, "uvicorn/supervisors/__init__.py", SUPERVISOR)
    inner = write(tmp_path, "inner.py", INNER)
    app = write(
        tmp_path,
        "app.py",
        "import inner\nfrom uvicorn import supervisors\nif __name__ == '__main__':\n    supervisors.run(inner.serve)\n",
    )
    program = start("app.py")
    session = serve(server, {app: [4], inner: [line_of(inner, "here =")]})
    assert stop_in(session, app, "supervisors.run") == program.pid
    children = []
    for _ in range(2):
        session = serve(server, {inner: [line_of(inner, "here =")]})
        children.append(stop_in(session, inner, "here ="))
        wait_until(lambda: program.stdout.count("grandchild") == len(children), "a grandchild", program=program)
        (tmp_path / "edited").touch()
    session.wait_closed()
    end(program)
    assert program.pid not in children
    assert said(program, SLOT)[:2] == children
    assert "end False" in program.stdout
    assert not program.others


def test_pycharm_comes_to_a_script_that_runs_a_supervisor(start: Run, port: int, tmp_path: Path) -> None:
    """PyCharm comes after the script has started its child: it is for the next child, after an edit, and not for the
    script, in which none of the user's code runs any more."""
    write(tmp_path, "uvicorn/__init__.py", "")
    write(tmp_path, "uvicorn/supervisors/__init__.py", SUPERVISOR)
    inner = write(tmp_path, "inner.py", INNER)
    text = (
        "import inner\nfrom uvicorn import supervisors\nif __name__ == '__main__':\n    supervisors.run(inner.serve)\n"
    )
    program = start(write(tmp_path, "app.py", text), DEBUGGER_WAIT=0)
    program.wait_for("grandchild", "stdout")
    with Server(port=port) as server:
        with pytest.raises(TimeoutError):
            server.accept(3)
        (tmp_path / "edited").touch()
        pid = stop_in(serve(server, {inner: [line_of(inner, "here =")]}), inner, "here =")
        end(program)
    assert said(program, SLOT) == [pid] != [program.pid]
    assert len(program.ours) == 2
    assert not program.others


# --- a script with children; two programs


CHILDREN = {
    "subprocess": "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'])\n",
    "spawn": "import multiprocessing, child\nif __name__ == '__main__':\n"
    "    process = multiprocessing.get_context('spawn').Process(target=child.run)\n    process.start()\n    process.join()\n",
}


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_script_keeps_the_slot(start: Run, server: Server, tmp_path: Path, kind: str) -> None:
    """A plain script that starts children is debugged itself, to its last line; they run on without a word or a wait."""
    write(tmp_path, "child.py", "def run():\n    print('child')\nif __name__ == '__main__':\n    run()\n")
    app = write(tmp_path, "app.py", CHILDREN[kind] + "if __name__ == '__main__':\n    last = 1\n")
    program = start("app.py")
    session = serve(server, {app: [line_of(app, "last =")]})
    assert stop_in(session, app, "last =") == program.pid
    assert program.wait() == 0
    assert program.stdout == "child\n"
    assert not program.stderr


WAITING = "import os, time\nhere = 1\nwhile not os.path.exists('stop'): time.sleep(0.02)\n"


def test_two_programs(start: Run, server: Server, tmp_path: Path) -> None:
    """A second program started apart says in one line who has the slot, and runs on at once, without a connection; when
    the first has ended the slot is free."""
    app = write(tmp_path, "app.py", WAITING)
    first = start("app.py")
    session = serve(server, {app: [2]})
    stop_in(session, app, "here =")
    second = start("-c", "print('ran')", DEBUGGER_WAIT="forever")
    assert second.wait() == 0
    assert second.stdout == "ran\n"
    (line,) = second.ours
    assert f"pid {first.pid} (" in line
    assert "app.py) has it" in line
    assert "running on" in line
    end(first)
    third = start("app.py")
    stop_in(serve(server, {app: [2]}), app, "here =")
    end(third)
    assert not third.ours


def test_two_programs_wait(start: Run, port: int, tmp_path: Path) -> None:
    """While the first waits for PyCharm to come, it is as with PyCharm there."""
    app = write(tmp_path, "app.py", WAITING)
    first = start("app.py", DEBUGGER_WAIT="forever")
    first.wait_for("nobody listens")
    second = start("-c", "", DEBUGGER_WAIT="forever")
    assert second.wait() == 0
    assert f"pid {first.pid} (" in second.ours[0]
    with Server(port=port) as server:
        stop_in(serve(server, {app: [2]}), app, "here =")
        end(first)


def test_two_programs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has just locked the file in which an ended process stands, and is about to write its own, has the slot."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(_slot, "BRIEFLY", LIMIT)
    ended = start_and_end(tmp_path)
    process = Process.current(started=True)
    slot = _slot.Slot("127.0.0.1", 9000)
    assert slot.take(process.replace(pid=ended))
    slot.close()
    (path,) = Path(_records.folder()).glob("slot*")
    assert path.read_text().startswith(f"{ended} ")
    with path.open("r+") as other, ThreadPoolExecutor() as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        taken = pool.submit(_slot.Slot("127.0.0.1", 9000).take, process)
        time.sleep(0.1)
        assert not taken.done()
        other.write(f"{os.getpid()} app.py")
        other.flush()
        assert taken.result(LIMIT) is False


def start_and_end(folder: Path) -> int:
    """The id of a process that has ended."""
    with Program(folder, "-c", "") as program:
        assert program.wait() == 0
        return program.pid


def test_strict_and_the_slot_is_taken(start: Run, server: Server, tmp_path: Path) -> None:
    """DEBUGGER_STRICT: a program that finds the slot taken exits with status 1 and one line."""
    write(tmp_path, "app.py", WAITING)
    first = start("app.py")
    serve(server, {})
    second = start("-c", "print('ran')", DEBUGGER_STRICT=1)
    assert second.wait() == 1
    assert not second.stdout
    assert len(second.ours) == 1
    end(first)


def test_a_killed_holder(start: Run, server: Server, tmp_path: Path) -> None:
    """A program that is killed, or whose PyCharm has hung up while it runs on, has the slot no longer."""
    app = write(tmp_path, "app.py", WAITING)
    killed = start("app.py")
    stop_in(serve(server, {app: [2]}), app, "here =")
    killed.send(signal.SIGKILL)
    killed.wait()
    left = start("app.py")
    session = serve(server, {app: [2]})
    stop_in(session, app, "here =")
    session.close()
    left.wait_for("PyCharm has gone")
    third = start("app.py")
    stop_in(serve(server, {app: [2]}), app, "here =")
    end(third)
    assert left.wait() == 0
    assert not third.ours


@forks
def test_a_fork_that_outlives_the_holder(start: Run, server: Server, tmp_path: Path) -> None:
    """A fork of the program that had the slot does not keep it."""
    write(
        tmp_path,
        "fork.py",
        f"import os\nif os.fork() == 0:\n    print('other', os.getpid(), flush=True)\n    {WAITING.splitlines()[0]}\n    {WAITING.splitlines()[2]}\n    os._exit(0)\n",
    )
    app = write(tmp_path, "app.py", WAITING)
    first = start("fork.py")
    serve(server, {})
    assert first.wait() == 0
    second = start("app.py")
    stop_in(serve(server, {app: [2]}), app, "here =")
    end(second)
    assert not second.ours


def test_no_folder_for_the_lock(start: Run, server: Server, tmp_path: Path) -> None:
    """Where nothing can be written the slot counts as free: the program is debugged, and a server's worker is."""
    app = write(tmp_path, "app.py", WAITING)
    program = start("app.py", TMPDIR=tmp_path / "missing", TEMP=tmp_path / "missing")
    stop_in(serve(server, {app: [2]}), app, "here =")
    end(program)
    assert not program.ours


def test_no_folder_for_the_lock_of_a_server_that_spawns(start: Run, server: Server, spawned: Path) -> None:
    """There the first worker connects for itself."""
    program = start("-m", "uvicorn", "--workers", 1, "--reload", TMPDIR=spawned / "missing", TEMP=spawned / "missing")
    stop_in(serve(server, {spawned: [line_of(spawned, "booted =")]}), spawned, "booted =")
    end(program)


# --- whose role is which


ROLES = [
    ("gunicorn app:app", "forks"),
    ("gunicorn -c gunicorn.conf.py -w 4 app:app", "forks"),
    ("-m gunicorn app:app", "forks"),
    ("my_gunicorn app:app", "own"),
    ("gunicorn.py", "own"),
    ("celery -A app worker", "forks"),
    ("-m celery -A app worker --pool=prefork", "forks"),
    ("celery -A app worker -P solo", "own"),
    ("celery -A app worker -Pthreads", "own"),
    ("celery -A app worker --pool gevent", "own"),
    ("celery -A app worker --pool=eventlet", "own"),
    ("celery -A worker beat", "own"),
    ("celery -A app inspect active", "own"),
    ("celery --app worker report", "own"),
    ("celery -A app worker --detach", "own"),
    ("celery", "own"),
    ("airflow scheduler", "forks"),
    ("-m airflow scheduler --skip-serve-logs", "forks"),
    ("airflow dag-processor", "forks"),
    ("airflow triggerer", "forks"),
    ("airflow dags test scheduler", "own"),
    ("airflow tasks test my_dag work", "own"),
    ("airflow api-server", "own"),
    ("airflow standalone", "own"),
    ("airflow", "own"),
    ("-m pyspark.daemon pyspark.worker", "forks"),
    ("-m pyspark.worker pyspark.worker", "own"),
    ("dask worker tcp://127.0.0.1:8786", "starts"),
    ("-m dask worker tcp://127.0.0.1:8786 --nworkers 2", "starts"),
    ("dask worker --no-nanny tcp://127.0.0.1:8786", "own"),
    ("dask scheduler", "own"),
    ("dask", "own"),
    ("/venv/bin/dask-worker tcp://127.0.0.1:8786", "starts"),
    ("uvicorn app:app", "own"),
    ("uvicorn app:app --workers 1", "own"),
    ("uvicorn app:app --workers 2", "starts"),
    ("uvicorn --workers=2 app:app", "starts"),
    ("-m uvicorn app:app --reload", "starts"),
    ("uvicorn app:app --reload-dir src", "own"),
    ("hypercorn app:app", "starts"),
    ("hypercorn -w 0 app:app", "own"),
    ("fastapi dev main.py", "starts"),
    ("fastapi dev --no-reload main.py", "own"),
    ("fastapi run main.py", "own"),
    ("fastapi run --workers 4 main.py", "starts"),
    ("flask run", "own"),
    ("flask run --debug", "starts"),
    ("flask --app run shell --debug", "own"),
    ("-m flask --app hello --debug run", "starts"),
    ("flask run --debug --no-reload", "own"),
    ("flask run --reload", "starts"),
    ("manage.py runserver", "starts"),
    ("./manage.py runserver 8001", "starts"),
    ("manage.py runserver --noreload", "own"),
    ("manage.py test runserver", "own"),
    ("manage.py migrate", "own"),
    ("-m django runserver", "starts"),
    ("watchfiles 'python app.py' src", "starts"),
    ("pytest", "own"),
    ("pytest -n 2", "starts"),
    ("-m pytest -nauto tests", "starts"),
    ("pytest -n 0 -x", "own"),
    ("-m pytest --numprocesses=4", "starts"),
    ("uwsgi --ini app.ini", "own"),
    ("uwsgi --master --http :8000", "forks"),
    ("uwsgi -p 2", "forks"),
    ("app.py", "own"),
    ("-c 'gunicorn'", "own"),
    ("", "own"),
]


@pytest.mark.parametrize(("command", "kind"), ROLES)
def test_roles(command: str, kind: str) -> None:
    """Who runs none of the user's code leaves the slot to who does; the near misses have it themselves."""
    name, *rest = command.split() or [""]
    path = f"/venv/bin/{name}" if name.isalpha() else name
    assert role(("python", "-X", "dev", path, *rest) if path else ("python",), {}).kind == kind


@pytest.mark.parametrize(
    ("command", "hints", "kind"),
    [
        ("/bin/uvicorn app:app", {"UVICORN_RELOAD": "1"}, "starts"),
        ("/bin/uvicorn app:app", {"WEB_CONCURRENCY": "4"}, "starts"),
        ("/bin/uvicorn app:app --workers 1", {"WEB_CONCURRENCY": "4"}, "own"),
        ("/bin/flask run", {"FLASK_DEBUG": "1"}, "starts"),
        ("/bin/flask run", {"FLASK_DEBUG": "0"}, "own"),
        ("/bin/flask run --no-debug", {"FLASK_DEBUG": "1"}, "own"),
    ],
)
def test_roles_by_the_environment(command: str, hints: Dict[str, str], kind: str) -> None:
    """What launchers read from the environment counts as well."""
    assert role(("python", *command.split()), hints).kind == kind


def test_heirs() -> None:
    """Of a reload pair the child has one of the reloaders' marks."""
    assert is_reloaded({"WERKZEUG_RUN_MAIN": "true"})
    assert is_reloaded({"RUN_MAIN": "true"})
    assert not is_reloaded({"RUN_MAIN": "false"})
    assert not is_reloaded({"FLASK_DEBUG": "1"})


# --- the real ones


def real(*names: str) -> Any:
    """A mark: skip where one of these is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed here")


def script(name: str) -> Path:
    """A console script of this environment."""
    return Path(sys.executable).parent / name


def get(port: int) -> str:
    """What the web server answers; it may not be there yet."""

    def attempt() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    return str(wait_until(attempt, "answer"))


def get_and_stop(server: Server, session: Session, port: int, path: Path) -> int:
    """Ask until the process that PyCharm serves is the one that answers, and stops; its id."""
    from concurrent.futures import ThreadPoolExecutor

    def stopped() -> bool:
        return any(message[0] == 105 for message in session.received)

    with ThreadPoolExecutor(1) as pool:
        for _ in range(200):
            answer = pool.submit(get, port)
            wait_until(lambda answer=answer: answer.done() or stopped(), "answer or stop")
            if stopped():
                pid = stop_in(session, path, "value =")
                assert answer.result() == str(pid)
                return pid
        raise AssertionError(f"no stop in 200 requests{session.dump()}")


def edit(path: Path, session: Session) -> None:
    """Change a file, again and again until the process has ended for it: a reloader may not have looked at it yet."""

    def ended() -> bool:
        path.write_text(path.read_text() + "# edited\n")
        try:
            session.wait_closed(2)
        except TimeoutError:
            return False
        return True

    wait_until(ended, "reload")


FLASK = """
    import os
    from flask import Flask
    app = Flask(__name__)

    @app.route("/")
    def index():
        value = os.getpid()
        return str(value)

    if __name__ == "__main__":
        app.run(debug=True, port=int(os.environ["WEB_PORT"]))
"""


@pytest.fixture
def flask(tmp_path: Path) -> Path:
    return write(tmp_path, "web.py", FLASK)


@real("flask")
def test_app_run_debug(start: Run, server: Server, flask: Path) -> None:
    """`app.run(debug=True)`: a breakpoint in a view is hit in the child, and after an edit in the next one."""
    web = free_port()
    program = start("web.py", WEB_PORT=web)
    serve(server, {})
    lines = {flask: [line_of(flask, "value =")]}
    session = serve(server, lines)
    first = get_and_stop(server, session, web, flask)
    edit(flask, session)
    second = get_and_stop(server, serve(server, lines), web, flask)
    assert len({first, second, program.pid}) == 3
    assert said(program, SLOT) == [first, second]


@real("flask")
def test_flask_run_debug(start: Run, server: Server, flask: Path) -> None:
    """`flask run --debug`: the child."""
    web = free_port()
    program = start("-m", "flask", "--app", "web", "run", "--debug", "-p", web)
    pid = get_and_stop(server, serve(server, {flask: [line_of(flask, "value =")]}), web, flask)
    assert said(program, SLOT) == [pid] != [program.pid]


@pytest.fixture
def django(tmp_path: Path) -> Path:
    write(
        tmp_path,
        "manage.py",
        """
        import os, sys
        from django.core.management import execute_from_command_line
        os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
        execute_from_command_line(sys.argv)
        """,
    )
    write(tmp_path, "settings.py", "SECRET_KEY = 'x'\nDEBUG = True\nROOT_URLCONF = 'urls'\nALLOWED_HOSTS = ['*']\n")
    return write(
        tmp_path,
        "urls.py",
        """
        import os
        from django.http import HttpResponse
        from django.urls import path

        def index(request):
            value = os.getpid()
            return HttpResponse(str(value))

        urlpatterns = [path("", index)]
        """,
    )


@real("django")
def test_django_runserver(start: Run, server: Server, django: Path) -> None:
    """`manage.py runserver`: the child, and after an edit the next one."""
    web = free_port()
    program = start("manage.py", "runserver", web)
    lines = {django: [line_of(django, "value =")]}
    session = serve(server, lines)
    first = get_and_stop(server, session, web, django)
    edit(django, session)
    second = get_and_stop(server, serve(server, lines), web, django)
    assert len({first, second, program.pid}) == 3
    assert said(program, SLOT) == [first, second]


@real("uvicorn")
@pytest.mark.parametrize("options", ["reload=True", "workers=2"])
def test_uvicorn_run(start: Run, server: Server, asgi: Path, options: str) -> None:
    """`uvicorn.run(..., reload=True)` in a script: the worker."""
    web = free_port()
    code = f"import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('web:app', port={web}, {options})\n"
    write(asgi.parent, "app.py", code)
    program = start("app.py")
    serve(server, {})
    pid = get_and_stop(server, serve(server, {asgi: [line_of(asgi, "value =")]}), web, asgi)
    assert said(program, SLOT) == [pid] != [program.pid]


@forks
@real("gunicorn", "flask")
@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_gunicorn(start: Run, server: Server, flask: Path, preload: List[str]) -> None:
    """gunicorn, with and without --preload: one worker; when it is killed, the next."""
    web = free_port()
    program = start(script("gunicorn"), "-w", 2, *preload, "-b", f"127.0.0.1:{web}", "web:app", PYTHONPATH=flask.parent)
    lines = {flask: [line_of(flask, "value =")]}
    first = get_and_stop(server, serve(server, lines), web, flask)
    os.kill(first, signal.SIGKILL)
    second = get_and_stop(server, serve(server, lines), web, flask)
    assert len({first, second, program.pid}) == 3
    assert said(program, SLOT) == [first, second]
    assert len(said(program, ONLY)) == 1


@pytest.fixture
def asgi(tmp_path: Path) -> Path:
    return write(
        tmp_path,
        "web.py",
        """
        import os

        async def app(scope, receive, send):
            if scope["type"] == "http":
                value = str(os.getpid()).encode()
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": value})
        """,
    )


@real("uvicorn")
@pytest.mark.parametrize("options", [["--reload"], ["--workers", 2], []], ids=str)
def test_uvicorn(start: Run, server: Server, asgi: Path, options: List[object]) -> None:
    """uvicorn with --reload or --workers: one worker; without, the process itself."""
    web = free_port()
    program = start("-m", "uvicorn", "web:app", *options, "--port", web)
    pid = get_and_stop(server, serve(server, {asgi: [line_of(asgi, "value =")]}), web, asgi)
    assert (pid == program.pid) is (not options)
    assert said(program, SLOT) == ([pid] if options else [])
    assert len(said(program, ONLY)) == ("--workers" in options)


@real("celery")
@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_celery(start: Run, server: Server, tmp_path: Path, pool: str) -> None:
    """celery: the first worker of a prefork pool; with the other pools the process itself."""
    tasks = write(
        tmp_path,
        "tasks.py",
        """
        import os
        from celery import Celery
        app = Celery("tasks", broker="filesystem://", broker_transport_options={
            "data_folder_in": "queue", "data_folder_out": "queue", "store_processed": False})
        os.makedirs("queue", exist_ok=True)

        @app.task
        def add():
            value = os.getpid()
            print("task", value, flush=True)
            return value
        """,
    )
    program = start(
        "-m", "celery", "-A", "tasks", "worker", "-P", pool, "-c", 2, "--without-gossip", "--without-mingle"
    )
    session = serve(server, {tasks: [line_of(tasks, "value =")]})
    sending = """
        import os, tasks
        os.mkdir("sent")  # not where the worker would read the half of one
        tasks.app.conf.broker_transport_options["data_folder_out"] = "sent"
        for _ in range(20):
            tasks.add.delay()
        for name in os.listdir("sent"):
            os.rename(os.path.join("sent", name), os.path.join("queue", name))
    """
    send = start(write(tmp_path, "send.py", sending), START_DEBUGGER=None)
    assert send.wait() == 0, send.dump()
    pid = stop_in(session, tasks, "value =", last=True)
    assert (pid == program.pid) is (pool != "prefork")
    if pool == "prefork":
        assert said(program, SLOT) == [pid]
        assert len(said(program, ONLY)) == 1


@real("xdist")
def test_pytest_with_workers(start: Run, server: Server, tmp_path: Path) -> None:
    """`pytest -n 2`: a worker, for the first process runs no tests."""
    tests = write(tmp_path, "test_it.py", "import os\ndef test_one():\n    value = os.getpid()\n    assert value\n")
    program = start("-m", "pytest", "-n", 1, "-p", "no:cacheprovider", tests)
    pid = stop_in(serve(server, {tests: [line_of(tests, "value =")]}), tests, "value =")
    assert program.wait() == 0, program.dump()
    assert said(program, SLOT) == [pid] != [program.pid]


@real("watchfiles")
def test_watchfiles(start: Run, server: Server, tmp_path: Path) -> None:
    """`watchfiles COMMAND`: what it starts, and after an edit what it starts then."""
    app = write(tmp_path, "app.py", WAITING)
    program = start("-m", "watchfiles", f"{sys.executable} app.py", app)
    lines = {app: [2]}
    first = stop_in(session := serve(server, lines), app, "here =")
    edit(app, session)
    second = stop_in(serve(server, lines), app, "here =")
    assert said(program, SLOT)[:2] == [first, second]


@real("watchfiles")
@pytest.mark.parametrize("target", ["inner.serve", "f'{sys.executable} inner.py'"])
def test_watchfiles_in_a_script(start: Run, server: Server, tmp_path: Path, target: str) -> None:
    """`watchfiles.run_process()` in a script: the function or the command that it runs."""
    inner = write(tmp_path, "inner.py", INNER + "    if __name__ == '__main__':\n        serve()\n")
    watched = write(tmp_path, "watched/data.txt", "").parent  # not the folder that our output goes to
    code = f"import inner, sys, watchfiles\nif __name__ == '__main__':\n    watchfiles.run_process({str(watched)!r}, "
    code += f"target={target})\n"
    write(tmp_path, "app.py", code)
    program = start("app.py")
    serve(server, {})
    pid = stop_in(serve(server, {inner: [line_of(inner, "here =")]}), inner, "here =")
    assert said(program, SLOT) == [pid] != [program.pid]
