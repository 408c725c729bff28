"""`autoattach ps`: every attached process of this user, what is true of it now, and none that is not there."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import LIMIT, Program, line_of, needs, wait_until, write
from test_sessions import Ide
from test_slot import ARBITER, WORKER

from autoattach import _records
from autoattach._process import image
from autoattach._records import Record
from autoattach._session import Session
from autoattach.cli import ps
from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server

Run = Callable[..., Program]
Ps = Callable[..., Program]
Look = Callable[[], "list[dict[str, Any]]"]

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what the system tells of a process")

WAIT = """
    import os, sys, time
    until = time.monotonic() + 100
    while not os.path.exists("stop") and time.monotonic() < until:
        time.sleep(0.02)
"""


@pytest.fixture
def run_ps(tmp_path: Path) -> Iterator[Ps]:
    """Run `autoattach ps ...` where the test's programs leave their records."""
    programs = []

    def start(*arguments: object, **env: object) -> Program:
        programs.append(Program(tmp_path, "-m", "autoattach", "ps", *arguments, **env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def look(run_ps: Ps) -> Look:
    """What `autoattach ps --json` shows."""

    def look() -> list[dict[str, Any]]:
        program = run_ps("--json")
        assert program.wait() == 0, program.dump()
        found = json.loads(program.stdout)
        assert program.stderr == ("" if found else "no attached processes\n")
        return list(found)

    return look


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the records, also in this process."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(_records, "_mine", None)
    monkeypatch.setattr(_records, "_path", "")
    return Path(_records.folder())


def shows(look: Look, pid: int, **fields: object) -> Callable[[], bool]:
    """Whether the process is shown so."""
    return lambda: any(row["pid"] == pid and fields.items() <= row.items() for row in look())


def record(pid: int, **fields: object) -> Record:
    session = Session(id="a1", pid=pid, debugger="debugpy", mode="connect", host="127.0.0.1", port=9000, live=True)
    base = Record(
        pid=pid, session=session, role="leader", held=False, since=int(time.time()), image=image(pid), command="app.py"
    )
    changed: Record = base.replace(**fields)
    return changed


def put(folder: Path, one: Record) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / str(one.pid)).write_text(one.to_text())


@pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in ("debugpy", "ptvsd")])
def test_a_listening_process_is_waiting_then_running_and_connected_while_a_client_is(
    debugger: str, run: Run, look: Look, tmp_path: Path, port: int
) -> None:
    """Held it is waiting, with the address and the command; connected as long as a client is; running else."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", "one", DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    (row,) = look()
    assert (row["pid"], row["role"], row["state"]) == (program.pid, "leader", "waiting")
    assert (row["debugger"], row["address"], row["mode"]) == (debugger, f"127.0.0.1:{port}", "listen")
    assert row["command"].endswith("app.py one")
    since = row["since"]
    for _ in range(2):  # a second client, too
        client = Client.connect("127.0.0.1", port, LIMIT)
        client.attach({})
        wait_until(shows(look, program.pid, state="client connected"), "client")
        client.disconnect()
        client.close()
        wait_until(shows(look, program.pid, state="running", since=since), "row without a client")
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    assert look() == []


@needs("debugpy")
def test_a_hold_that_has_run_out_is_running(run: Run, look: Look, tmp_path: Path) -> None:
    """Nobody came in time: the program runs, and can be attached to."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_WAIT=0.1)
    program.wait_for("running on")
    assert [(row["pid"], row["state"]) for row in look()] == [(program.pid, "running")]


TREE = """
    import os, subprocess, sys, time
    open("up", "w").close()
    children = [
        subprocess.Popen([sys.executable, "child.py", "direct"]),
        subprocess.Popen([sys.executable, "-m", "child", "module"]),
        subprocess.Popen([sys.executable, "-c", "import child"]),
        subprocess.Popen(f"{sys.executable} child.py shell; true", shell=True),
    ]
    if not os.fork():
        import child
        os._exit(0)
    for child in children:
        child.wait()
    os.wait()
"""


@forks
@needs("debugpy")
@pytest.mark.parametrize("attached", [False, True], ids=["nobody there", "a client there"])
def test_every_process_of_a_tree_is_shown_below_its_leader(
    attached: bool, run: Run, look: Look, run_ps: Ps, tmp_path: Path, port: int
) -> None:
    """Children, those behind a shell, forks, and those that debugpy carries, each as it was typed; all vanish with their end."""
    write(tmp_path, "app.py", TREE)
    write(tmp_path, "child.py", WAIT)
    program = run("app.py", DEBUGGER_WAIT=LIMIT if attached else 0)
    ide = Ide(port, {}) if attached else None
    try:
        wait_until(lambda: len(look()) == 6, "six processes", program=program)
        rows = look()
        assert rows[0]["pid"] == program.pid
        assert [row["role"] for row in rows] == ["leader"] + ["member"] * 5
        assert {row["leader"] for row in rows} == {program.pid}
        assert {row["state"] for row in rows} == {"client connected" if attached else "running"}
        commands = sorted(row["command"].partition(" ")[2] for row in rows)
        assert commands == sorted(
            ["app.py", "app.py", "child.py direct", "-m child module", "-c import child", "child.py shell"]
        )
        table = run_ps()
        assert table.wait() == 0
        assert sum("\\_ " in line for line in table.stdout.splitlines()) == 5
        (tmp_path / "stop").touch()
        assert program.wait() == 0, program.dump()
        assert look() == []
    finally:
        (tmp_path / "stop").touch()
        if ide is not None:
            ide.close()


@needs("debugpy")
def test_whoever_leads_next_is_shown_so(run: Run, look: Look, tmp_path: Path) -> None:
    """A member that outlives its leader leads, and is shown so, also as a leader of the others."""
    write(tmp_path, "child.py", WAIT)
    write(
        tmp_path,
        "app.py",
        "import subprocess, sys\nfor _ in range(2): print(subprocess.Popen([sys.executable, 'child.py']).pid, flush=True)\n"
        + WAIT.replace("    ", "", 1).replace("\n    ", "\n").replace('"stop"', '"stop first"'),
    )
    program = run("app.py", DEBUGGER_WAIT=0)
    wait_until(lambda: len(look()) == 3, "three processes", program=program)
    (tmp_path / "stop first").touch()
    assert program.wait() == 0, program.dump()
    wait_until(lambda: sorted(row["role"] for row in look()) == ["leader", "member"], "another leader")
    first, second = look()
    assert (first["role"], first["leader"], second["leader"]) == ("leader", first["pid"], first["pid"])
    (tmp_path / "stop").touch()


@needs("pydevd-pycharm")
def test_pycharm_is_waited_for_connected_and_gone(run: Run, look: Look, tmp_path: Path, port: int) -> None:
    """Waiting before PyCharm listens, connected from then on; when PyCharm has gone the program lives, and is not shown."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=LIMIT)
    wait_until(shows(look, program.pid, state="waiting", debugger="pydevd-pycharm", mode="connect"), "row", LIMIT)
    with Server(port=port) as server:
        session = server.accept()
        session.start()
        wait_until(shows(look, program.pid, state="client connected", role="leader"), "PyCharm")
        session.close()
    program.wait_for("PyCharm has gone")
    assert look() == []
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()


@needs("pydevd-pycharm")
def test_a_session_that_could_not_be_had_is_not_shown(run: Run, look: Look, tmp_path: Path) -> None:
    """A hold that has run out where the program connects, and a port that is taken, leave nothing to show."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0.1)
    program.wait_for("running on without")
    assert look() == []


@forks
@needs("pydevd-pycharm")
def test_the_worker_that_has_pycharms_slot_is_shown_below_the_process_that_left_it(
    run: Run, look: Look, tmp_path: Path, port: int
) -> None:
    """The master leaves the slot, the worker has it; a worker without it is not attached, and not shown."""
    write(tmp_path, "gunicorn/__init__.py", "")
    write(tmp_path, "gunicorn/arbiter.py", ARBITER)
    write(tmp_path, "gunicorn/__main__.py", "from gunicorn import arbiter\narbiter.run(2)\n")
    write(tmp_path, "worker.py", WORKER)
    with Server(port=port) as server:
        program = run("-m", "gunicorn", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=LIMIT)
        session = server.accept()
        session.start()
        wait_until(lambda: len(look()) == 2, "master and worker", program=program)
        master, worker = look()
        assert (master["pid"], master["role"], master["state"]) == (program.pid, "leaves the slot", "running")
        assert (worker["role"], worker["state"]) == ("has the slot", "client connected")
        assert worker["leader"] == program.pid != worker["pid"]
        (tmp_path / "stop").touch()
        assert program.wait() == 0, program.dump()
    assert look() == []


@needs("pydevd-pycharm")
def test_a_reloaders_child_has_the_slot_below_its_parent(run: Run, look: Look, tmp_path: Path, port: int) -> None:
    """A script that reloads itself leaves PyCharm's slot to the child that serves, and is shown so."""
    write(
        tmp_path,
        "app.py",
        """
        import os, subprocess, sys
        if "WERKZEUG_RUN_MAIN" not in os.environ:
            sys.exit(subprocess.call([sys.executable, "app.py"], env={**os.environ, "WERKZEUG_RUN_MAIN": "true"}))
        """
        + WAIT.replace("\n", "\n    "),
    )
    with Server(port=port) as server:
        program = run("app.py", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=LIMIT)
        server.accept().start()
        server.accept().start()
        wait_until(lambda: len(look()) == 2, "parent and child", program=program)
        parent, child = look()
        assert (parent["pid"], parent["role"]) == (program.pid, "leaves the slot")
        assert (child["role"], child["state"], child["leader"]) == ("has the slot", "client connected", program.pid)
        (tmp_path / "stop").touch()
        assert program.wait() == 0, program.dump()


@linux
@needs("debugpy")
def test_a_killed_process_vanishes_also_as_a_zombie(run: Run, look: Look, tmp_path: Path) -> None:
    """What has no time to tidy up is not shown, even where its parent has not asked after it."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_WAIT=0)
    wait_until(shows(look, program.pid), "row")
    program.send(signal.SIGKILL)
    wait_until(lambda: image(program.pid) == "ended", "zombie")
    assert look() == []


@linux
@needs("debugpy")
def test_a_process_that_runs_something_else_now_vanishes(run: Run, look: Look, tmp_path: Path) -> None:
    """After an exec of what is no Python nobody is attached there."""
    write(tmp_path, "app.py", WAIT + "    os.execvp('sleep', ['sleep', '100'])\n")
    program = run("app.py", DEBUGGER_WAIT=0)
    wait_until(shows(look, program.pid), "row")
    (tmp_path / "stop").touch()
    wait_until(lambda: look() == [], "end")
    assert program.process.poll() is None


@linux
def test_an_id_that_another_process_has_now_is_not_mistaken(records: Path) -> None:
    """A record whose process has another start, or runs another program, is neither shown nor joined."""
    mine = record(os.getpid())
    listening = mine.replace(session=mine.session.replace(mode="listen"))
    put(records, listening)
    assert [one.pid for one in _records.read()] == [os.getpid()]
    assert _records.find(9000) == listening.session
    start, _, stack = image().partition(".")
    for other in (f"{int(start) + 1}.{stack}", f"{start}.{int(stack) + 16}"):
        put(records, listening.replace(image=other))
        assert list(_records.read()) == []
        assert _records.find(9000) is None


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "a1,0,debugpy,listen,h,9,0\nsince=1", "a1,5,debugpy,listen,h,9,0", "\0" * 9]
)
def test_what_is_no_record_is_passed_over(text: str, records: Path, run_ps: Ps) -> None:
    """Half a file, or something else in the folder, is as if it were not there."""
    records.mkdir(mode=0o700)
    (records / str(os.getpid())).write_text(text)
    (records / "other").write_text("what")
    program = run_ps()
    assert (program.wait(), program.stdout, program.stderr) == (0, "", "no attached processes\n")


def test_records_of_a_folder_that_others_can_enter_are_not_believed(records: Path) -> None:
    """Only what nobody else could have written is read."""
    put(records, record(os.getpid()))
    records.chmod(0o755)
    assert list(_records.read()) == []


@needs("debugpy")
def test_a_folder_that_another_process_makes_first(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs that start at once, the first ever, both have a record, and both find PyCharm's slot."""
    mkdir = os.mkdir

    def too_late(path: str, mode: int) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", too_late)
    assert _records.prepare(os.getpid()) == str(records)


def test_a_record_is_small_and_closed_to_others(run: Run, look: Look, tmp_path: Path) -> None:
    """A file of mode 0600 in a folder of mode 0700, below 4 kB whatever the command line; lines that a person can read."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", "x" * 9000, "a\nb\udc80", DEBUGGER_WAIT=0)
    wait_until(shows(look, program.pid), "row")
    (folder,) = tmp_path.glob("autoattach-*")
    file = folder / str(program.pid)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert len(text) < 4096
    assert [line.partition("=")[0] for line in text.splitlines()[1:]] == ["held", "role", "since", "image", "command"]


@needs("debugpy")
def test_where_nothing_can_be_recorded_the_program_is_attached_to_all_the_same(
    run: Run, run_ps: Ps, tmp_path: Path, port: int
) -> None:
    """A place that is not there costs nothing but the record."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_WAIT=LIMIT, TMPDIR=tmp_path / "nowhere")
    program.wait_for("waiting")
    nobody = run_ps(TMPDIR=tmp_path / "nowhere")
    assert (nobody.wait(), nobody.stderr) == (0, "no attached processes\n")
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({})
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    assert program.others == ""


@needs("debugpy")
def test_to_be_asked_again_and_again_disturbs_nobody(run: Run, look: Look, tmp_path: Path, port: int) -> None:
    """However often it is looked at, a hold goes on and a client's session as well."""
    app = write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    for _ in range(5):
        assert [row["state"] for row in look()] == ["waiting"]
    client = Client.connect("127.0.0.1", port, LIMIT)
    client.attach({str(app): [line_of(app, "time.sleep")]})
    thread = client.wait_stopped()
    for _ in range(5):
        assert [row["state"] for row in look()] == ["client connected"]
    assert client.evaluate("6 * 7", client.stack(thread)[0]["id"]) == "42"
    client.disconnect()
    client.close()
    (tmp_path / "stop").touch()
    assert program.wait() == 0, program.dump()
    assert "speaks something else" not in program.stderr


@linux
@needs("debugpy")
def test_a_stopped_process_is_shown_as_it_was_last(run: Run, look: Look, tmp_path: Path) -> None:
    """What cannot answer does not keep `ps` waiting."""
    write(tmp_path, "app.py", WAIT)
    program = run("app.py", DEBUGGER_WAIT=0)
    wait_until(shows(look, program.pid), "row")
    program.send(signal.SIGSTOP)
    assert [(row["pid"], row["state"]) for row in look()] == [(program.pid, "running")]
    program.send(signal.SIGCONT)


@needs("debugpy")
def test_watch_prints_anew_on_change_until_ctrl_c(run: Run, run_ps: Ps, tmp_path: Path) -> None:
    """Into a file each change is printed once; Ctrl-C ends it with status 0 and without a traceback."""
    write(tmp_path, "app.py", WAIT)
    watch = run_ps("--watch")
    watch.wait_for("no attached processes")
    program = run("app.py", DEBUGGER_WAIT=0)
    watch.wait_for("running", "stdout")
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    wait_until(lambda: watch.stderr.count("no attached processes") == 2, "end of it")
    watch.send(signal.SIGINT)
    assert watch.wait() == 0, watch.dump()
    assert watch.stdout.count("COMMAND") == 1, watch.dump()
    assert watch.stderr == "no attached processes\n" * 2


@forks
@pytest.mark.parametrize("option", [[], ["--watch"]])
def test_a_terminal_is_not_overrun(option: list[str], records: Path) -> None:
    """On a terminal each line is cut where it ends; with --watch the screen is drawn anew."""
    import pty

    put(records, record(os.getpid(), command="python " + "x" * 300))
    terminal, end = pty.openpty()
    environ = {**os.environ, "COLUMNS": "120", "LINES": "10"}
    command = [sys.executable, "-m", "autoattach", "ps", *option]
    process = subprocess.Popen(command, env=environ, stdin=end, stdout=end, stderr=end)
    os.close(end)
    shown = b""
    try:
        while shown.count(b"x\r\n") < (2 if option else 1) and select.select([terminal], [], [], LIMIT)[0]:
            try:
                shown += os.read(terminal, 1000)
            except OSError:  # the end, on Linux
                break
        if option:
            process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    lines = shown.decode().replace("\033[H\033[J", "").splitlines()
    assert max(map(len, lines)) == 120
    assert (b"\033[H\033[J" in shown) == bool(option)


def test_the_table_is_aligned() -> None:
    """Each column begins where its heading does; the command comes last."""
    row = ps.Row(
        pid=7, role="leader", leader=7, debugger="debugpy", mode="listen", address="[::1]:9000", state="waiting",
        since=int(time.time()), command="/usr/bin/python app.py",
    )  # fmt: skip
    head, first, second = ps.table([row, row._replace(pid=12345, role="member", debugger="ptvsd")], None)
    for name, one, other in [
        ("ROLE", "leader", "member"),
        ("DEBUGGER", "debugpy", "ptvsd"),
        ("STATE", "waiting", "waiting"),
        ("COMMAND", "python", "\\_ python"),
    ]:
        assert (first.index(one), second.index(other)) == (head.index(name), head.index(name))


@pytest.mark.parametrize(
    ("rewritten", "typed"),
    [
        ("python app.py --file x", "python app.py --file x"),
        ("py /v/pydevd.py --port 1 --multiprocess --file child.py a b", "py child.py a b"),
        ("py -B /v/pydevd.py --port 1 --module --file pkg.x a", "py -B -m pkg.x a"),
        ("py -c import sys; sys.path.insert(0, r'/v'); import pydevd; pydevd.settrace(port=1, a={'b': 1}); f(1); g()", "py -c f(1); g()"),
        ("py /v/mypydevd.py --file x", "py /v/mypydevd.py --file x"),
    ],
)  # fmt: skip
def test_a_command_line_is_shown_as_it_was_typed(rewritten: str, typed: str) -> None:
    """What debugpy puts into the command line of a child that it carries is not shown."""
    assert ps.as_typed(rewritten) == typed


def test_ctrl_c_as_a_command_begins(run: Run) -> None:
    """Ctrl-C while a command is still being imported ends it by 130 and without a word."""
    at_import = """
        import os, signal, sys
        def hook(event, arguments):
            if event == "import" and arguments[0] == "datetime":  # by ps, and maybe by others
                os.kill(os.getpid(), signal.SIGINT)
        sys.addaudithook(hook)
        from autoattach.cli import main
        sys.exit(main(["ps"]))
    """
    program = run("-c", textwrap.dedent(at_import), START_DEBUGGER=None)
    assert program.wait() == 130, program.dump()
    assert program.stdout + program.stderr == ""
