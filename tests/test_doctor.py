"""doctor: what it foretells is what start-up does; what it looks at it leaves as it was; what fails has something to type."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import LIMIT, Program, free_port, listeners, needs, write

from autoattach._errors import AttachError
from autoattach._process import in_container
from autoattach.cli import main
from autoattach.cli._command import resolve
from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server
from autoattach.debuggers import find

Run = Callable[..., Program]
Told = Callable[..., Any]

posix = pytest.mark.skipif(os.name == "nt", reason="a script's first line, and shells, are POSIX's")
proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="only /proc tells about a process")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may start another user's process"
)
debugpy, ptvsd, pycharm = needs("debugpy"), needs("ptvsd"), needs("pydevd-pycharm")


HOOK = (
    'import os; os.environ.get("START_DEBUGGER") and __import__("autoattach._bootstrap", None, None, ["run"]).run()\n'
)


class Report:
    """What doctor has said, as a program reads it."""

    def __init__(self, program: Program) -> None:
        self.status = program.wait()
        assert program.stderr == "", program.dump()
        self.text = program.stdout
        plain = json.loads(self.text)
        self.answer: str = plain["answer"]
        self.type: str = plain["type"]
        self.plain = plain

    def found(self, check: str, status: str | None = None) -> list[dict[str, str]]:
        """What was found by a check."""
        return [one for one in self.plain["checks"] if one["check"] == check and status in (None, one["status"])]

    def one(self, check: str, status: str) -> dict[str, str]:
        """The only such finding."""
        found = self.found(check, status)
        assert len(found) == 1, self.text
        return found[0]

    @property
    def wrong(self) -> list[str]:
        """Everything that is wrong."""
        return [one["what"] for one in self.plain["checks"] if one["status"] == "wrong"]


@pytest.fixture
def doctor(tmp_path: Path, port: int) -> Iterator[Run]:
    """Run `python -m autoattach doctor ...`, with debugpy and a free port unless told otherwise."""
    programs = []

    def start(*arguments: object, **env: Any) -> Program:
        env = {"DEBUGGER_IDE": "debugpy", "DEBUGGER_PORT": port, **env}
        program = Program(tmp_path, "-m", "autoattach", "doctor", *arguments, **env)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def told(doctor: Run) -> Told:
    """The report of `doctor --json ...`."""

    def tell(*arguments: object, **env: Any) -> Report:
        return Report(doctor("--json", *arguments, **env))

    return tell


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """An interpreter into which nothing is installed."""
    venv.EnvBuilder(symlinks=os.name != "nt").create(tmp_path / "bare")
    return tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def folder_of(python: Path) -> Path:
    """Where that interpreter looks for .pth files."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=LIMIT).stdout.strip())


# The answer


@debugpy
def test_the_first_line_is_the_answer(doctor: Run, port: int) -> None:
    """Would it attach, where, and for how long it holds: in the first line, with status 0 and nothing left behind."""
    program = doctor()
    assert program.wait() == 0, program.dump()
    first, *rest = program.stdout.splitlines()
    assert first == f"It would attach: debugpy listens at 127.0.0.1:{port} for VS Code and holds the program up to 60 s"
    assert f"ok 127.0.0.1:{port} is free" in rest
    assert any("START_DEBUGGER is unset" in line for line in rest)
    assert program.stderr == ""
    assert "\033" not in program.stdout
    assert not listeners(port)


@debugpy
@pytest.mark.parametrize(
    ("wait", "words"),
    [("0", "and lets the program run"), ("forever", "holds the program until it comes"), ("7.5", "up to 7.5 s")],
)
def test_the_hold_is_told(wait: str, words: str, told: Told) -> None:
    """What DEBUGGER_WAIT does to the program stands in the answer."""
    assert told(DEBUGGER_WAIT=wait).answer.endswith(words)


@debugpy
def test_the_json_is_one_object_with_the_same(told: Told, doctor: Run) -> None:
    """--json prints one object: the answer, what to type, and each line with its status."""
    report = told("python", "app.py", PATH=os.path.dirname(sys.executable))
    assert report.plain["attaches"] is True
    assert report.plain["well"] is True
    assert report.plain["command"] == ["python", "app.py"]
    assert set(report.plain) == {"attaches", "well", "answer", "type", "python", "command", "checks"}
    assert {one["status"] for one in report.plain["checks"]} <= {"ok", "warning", "wrong", "info"}
    text = doctor("python", "app.py", PATH=os.path.dirname(sys.executable))
    text.wait()
    assert all(one["what"] in text.stdout for one in report.plain["checks"]), text.dump()


@debugpy
@pytest.mark.parametrize(
    ("options", "env"),
    [
        ([], {"DEBUGGER_SKIP": "*app.py"}),
        ([], {"DEBUGGER_ONLY": "other*"}),
        ([], {"DEBUGGER_PORT": "9o00"}),
        ([], {"DEBUGGER_IDE": "emacs"}),
        ([], {"DEBUGGER_MODE": "connect", "DEBUGGER_PORT": "9000-9010"}),
        ([], {"DEBUGGER_HOST": "203.0.113.1"}),
        ([], {"DEBUGGER_HOST": "no.such.host.invalid"}),
        (["-I"], {}),
        (["-E", "-s"], {}),
    ],
)
def test_it_foretells_what_start_up_says(options: list[str], env: dict[str, str], told: Told, run: Run) -> None:
    """Where start-up would not attach, doctor gives the very reason that start-up gives, and status 1."""
    program = run(*options, "app.py", DEBUGGER_VERBOSE=1, DEBUGGER_WAIT=0, **env)
    program.wait()
    reason = program.ours[0].replace("not attached: ", "").replace("; running on without a debugger", "")
    report = told(sys.executable, *options, "app.py", DEBUGGER_WAIT=0, **env)
    assert report.status == 1
    assert report.plain["attaches"] is False
    what = report.answer.partition(": ")[2]
    assert report.answer.startswith("It would not attach: ")
    assert reason == (f"{what}; {report.type}" if report.type else what)


@pycharm
@debugpy
def test_two_ides_and_no_choice(told: Told) -> None:
    """With the debuggers of two IDEs and no DEBUGGER_IDE it would not attach, and what to set is said."""
    report = told(DEBUGGER_IDE=None)
    assert report.status == 1
    assert "DEBUGGER_IDE=vscode or DEBUGGER_IDE=pycharm" in report.type
    assert "DEBUGGER_IDE=vscode" in report.one("conflict", "wrong")["type"]
    assert told(DEBUGGER_IDE=None, TERM_PROGRAM="vscode").status == 0


@debugpy
def test_switched_off(told: Told) -> None:
    """START_DEBUGGER=0 is told apart from an unset one: off is off."""
    report = told(START_DEBUGGER="0")
    assert (report.status, report.answer) == (1, "It would not attach: START_DEBUGGER is off")
    assert report.one("START_DEBUGGER", "wrong")["type"] == "START_DEBUGGER=1"
    assert "off; what stands here is as if it were 1" in told(START_DEBUGGER="").one("START_DEBUGGER", "info")["what"]


# The variables


def test_all_bad_values_are_told_at_once(told: Told) -> None:
    """Each bad value is named with its variable and what is allowed, whichever start-up would have met first."""
    bad = {
        "DEBUGGER_IDE": "emacs",
        "DEBUGGER_PORT": "99999",
        "DEBUGGER_WAIT": "soon",
        "DEBUGGER_MODE": "both",
        "DEBUGGER_HOST": "http://x",
        "DEBUGGER_PATH_MAPPINGS": "/x",
        "START_DEBUGGER": "signal:KILL",
    }
    report = told(**bad)
    assert report.status == 1
    for name, value in bad.items():
        finding = report.one(name, "wrong")
        assert f"{name}={value!r}" in finding["what"]
        assert finding["type"].startswith(f"set {name} to ")


@debugpy
def test_every_variable_has_a_line(told: Told) -> None:
    """Set, a variable stands there with its value; unset, with what holds then."""
    report = told(DEBUGGER_WAIT="5", DEBUGGER_PORT=None, DEBUGGER_STRICT=1)
    assert report.one("DEBUGGER_WAIT", "ok")["what"] == "DEBUGGER_WAIT=5"
    assert report.one("DEBUGGER_STRICT", "ok")["what"] == "DEBUGGER_STRICT=1"
    assert report.one("DEBUGGER_PORT", "info")["what"] == "DEBUGGER_PORT is unset: 9000"
    assert report.one("DEBUGGER_HOST", "info")["what"] == "DEBUGGER_HOST is unset: 127.0.0.1"
    for name in ("START_DEBUGGER", "DEBUGGER_IDE", "DEBUGGER_MODE", "DEBUGGER_ONLY", "DEBUGGER_SKIP", "DEBUGGER_LOG"):
        assert len(report.found(name)) == 1
    kubernetes = told(DEBUGGER_PORT="tcp://10.0.0.1:9000", DEBUGGER_SERVICE_HOST="10.0.0.1")
    assert "counts as unset: 9000" in kubernetes.one("DEBUGGER_PORT", "ok")["what"]
    assert not kubernetes.found("DEBUGGER_SERVICE_HOST")


@debugpy
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DEBUGER_PORT", "DEBUGGER_PORT"),
        ("DEBUGGER_PROT", "DEBUGGER_PORT"),
        ("STARTDEBUGGER", "START_DEBUGGER"),
        ("debugger_wait", "DEBUGGER_WAIT"),
        ("DEBUGGER_MAPPINGS", "DEBUGGER_PATH_MAPPINGS"),
    ],
)
def test_a_misspelt_variable_is_named(name: str, meant: str, told: Told) -> None:
    """A name that is nearly one of ours is told, with the one that is meant; others' names are not."""
    report = told(**{name: "7", "DEBUG": "1", "DATABASE_PORT": "1", "PORT": "1", "LOGGER_PORT": "2"})
    assert report.one(name, "warning")["type"].startswith(f"{meant}=7")
    assert report.status == 0
    assert len([one for one in report.plain["checks"] if "no variable" in one["what"]]) == 1


@debugpy
def test_mappings_that_point_nowhere(told: Told, tmp_path: Path) -> None:
    """A mapping whose folder here is not there is told; the wrong way round is mended; one that is there is well."""
    report = told(DEBUGGER_PATH_MAPPINGS=f"{tmp_path}=/no/such/folder")
    finding = report.one("DEBUGGER_PATH_MAPPINGS", "warning")
    assert "/no/such/folder is not on this machine" in finding["what"]
    assert finding["type"] == f"DEBUGGER_PATH_MAPPINGS=/no/such/folder={tmp_path}"
    assert not told(DEBUGGER_PATH_MAPPINGS=f"/no/such/folder={tmp_path}").found("DEBUGGER_PATH_MAPPINGS", "warning")


@debugpy
def test_an_address_that_others_reach(told: Told) -> None:
    """An address beyond loopback is told with its danger; loopback's own spellings are not."""
    assert "runs code as this user" in told(DEBUGGER_HOST="0.0.0.0").one("address", "warning")["what"]
    assert not told(DEBUGGER_HOST="localhost").found("address")


# The network


@debugpy
def test_a_port_that_a_stranger_holds(told: Told) -> None:
    """It would not attach: who holds the port is said, and what to do."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        report = told(DEBUGGER_PORT=sock.getsockname()[1])
        of_range = told(DEBUGGER_PORT=f"{sock.getsockname()[1]}-{sock.getsockname()[1] + 20}")
    assert report.status == 1
    finding = report.one("port", "wrong")
    assert f"pid {os.getpid()} " in finding["what"]
    assert "set DEBUGGER_PORT" in finding["type"]
    assert finding["what"] in report.answer
    assert of_range.status == 0
    assert "the first free one of" in of_range.one("port", "ok")["what"]


@debugpy
def test_a_port_that_a_session_of_ours_holds(told: Told, run: Run, tmp_path: Path, port: int) -> None:
    """It would join; the session that is asked about is not disturbed, and is attached to as before."""
    path = write(tmp_path, "app.py", "x = 1\nprint('ran')\n")
    program = run(path, DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    report = told(sys.executable, "other.py")
    assert report.status == 0
    assert report.answer.startswith(f"It would attach: it joins the session of pid {program.pid} (debugpy at ")
    assert "a session of yours" in report.one("port", "ok")["what"]
    alone = told(sys.executable, "other.py", DEBUGGER_IDE="ptvsd")
    assert alone.status == 1
    assert len(program.ours) == 1, program.dump()
    with Client.connect("127.0.0.1", port) as client:
        client.attach(breakpoints={str(path): [2]})
        client.continue_(client.wait_stopped())
        assert program.wait() == 0


@debugpy
def test_the_environment_of_a_session(told: Told, run: Run, tmp_path: Path) -> None:
    """In the environment of an attached program it says what a child would do."""
    program = run(
        "-c", "import os; print(os.environ['AUTOATTACH_SESSION'], flush=True); input()", DEBUGGER_WAIT=0, stdin=""
    )
    program.wait()
    session = program.stdout.strip()
    gone = told(AUTOATTACH_SESSION=session)
    assert gone.status == 0
    assert gone.one("session", "warning")["what"].endswith("has ended")
    listening = run(
        "-c", "import os, time; print(os.environ['AUTOATTACH_SESSION'], flush=True); time.sleep(600)", DEBUGGER_WAIT=0
    )
    listening.wait_for("\n", "stdout")
    report = told(AUTOATTACH_SESSION=listening.stdout.strip())
    assert f"it joins the session of pid {listening.pid}" in report.answer
    off = told(AUTOATTACH_SESSION=listening.stdout.strip(), DEBUGGER_SUBPROCESS=0)
    assert off.answer == "It would not attach: DEBUGGER_SUBPROCESS=0, and it is a child"


def serve(sock: socket.socket, behaviour: str, kept: list[socket.socket]) -> None:
    """Accept, and behave, until the socket is closed."""
    while True:
        try:
            peer, _ = sock.accept()
        except OSError:
            return
        kept.append(peer)
        if behaviour == "speaks":
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        if behaviour == "closes":
            peer.close()


@pytest.fixture
def peer() -> Iterator[Callable[[str], int]]:
    """Somebody who listens and is no IDE: the port."""
    sock, kept, threads = socket.socket(), [], []

    def start(behaviour: str) -> int:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        thread = threading.Thread(target=serve, args=(sock, behaviour, kept))
        thread.start()
        threads.append(thread)
        return int(sock.getsockname()[1])

    yield start
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()
    for one in kept:
        one.close()
    for thread in threads:
        thread.join(LIMIT)


@pycharm
@pytest.mark.parametrize(
    ("behaviour", "words", "advice"),
    [
        ("closes", "accepted the connection and closed it", "start PyCharm's debug server first"),
        ("silent", "accepted the connection and says nothing", "serves nobody else"),
        ("speaks", "speaks something else (b'HTTP/1.1 400 Bad')", "point DEBUGGER_PORT at"),
    ],
)
def test_what_answers_and_is_no_ide(
    behaviour: str, words: str, advice: str, told: Told, peer: Callable[[str], int]
) -> None:
    """A port forward with nobody behind it, a busy PyCharm, and something else are told apart."""
    report = told(DEBUGGER_IDE="pycharm", DEBUGGER_PORT=peer(behaviour))
    assert report.status == 1
    finding = report.one("ide", "wrong")
    assert words in finding["what"]
    assert advice in finding["type"]
    assert finding["what"] in report.answer


@pytest.mark.parametrize(
    ("ide", "mode"),
    [pytest.param("pycharm", None, marks=pycharm), pytest.param("debugpy", "connect", marks=debugpy)],
)
@pytest.mark.parametrize(
    ("host", "words"),
    [("no.such.host.invalid", "cannot be resolved"), ("127.0.0.1", "nobody listens on 127.0.0.1:")],
)
def test_no_such_host_and_nobody_there(ide: str, mode: str | None, host: str, words: str, told: Told) -> None:
    """A name that is not known and a port that refuses are told apart, and how long the program would wait."""
    report = told(DEBUGGER_IDE=ide, DEBUGGER_MODE=mode, DEBUGGER_HOST=host, DEBUGGER_WAIT=9)
    assert report.status == 1
    assert words in report.one("ide", "wrong")["what"]
    assert "it would try again and hold the program up to 9 s" in report.answer


@pycharm
def test_no_answer(told: Told) -> None:
    """A host that lets packets drop is told within seconds, apart from one that refuses."""
    with socket.socket() as sock:  # a queue that is full: further connections hear nothing
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        filling = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(sock.getsockname())
            filling.append(one)
        report = told(DEBUGGER_IDE="pycharm", DEBUGGER_PORT=sock.getsockname()[1])
        for one in filling:
            one.close()
    assert "does not answer" in report.one("ide", "wrong")["what"]


@pycharm
def test_pycharm_answers(told: Told, run: Run, tmp_path: Path) -> None:
    """PyCharm's debug server sees a program that came, said its release, and went; then it serves the next."""
    with Server() as server:
        versions = []

        def play() -> None:
            session = server.accept(LIMIT)
            versions.append(session.start({}, LIMIT))
            session.wait_closed(LIMIT)

        thread = threading.Thread(target=play)
        thread.start()
        report = told(DEBUGGER_IDE="pycharm", DEBUGGER_PORT=server.port)
        thread.join(LIMIT)
        assert report.status == 0
        assert report.answer == (
            f"It would attach: pydevd-pycharm connects to PyCharm's debug server at 127.0.0.1:{server.port}"
        )
        assert "answers at" in report.one("ide", "ok")["what"]
        assert "came and went" in report.one("ide", "info")["what"]
        build = report.one("build", "info")["what"]
        assert versions[0] in build
        path = write(tmp_path, "app.py", "x = 1\nprint('ran')\n")
        program = run(path, DEBUGGER_IDE="pycharm", DEBUGGER_PORT=server.port, DEBUGGER_WAIT=LIMIT)
        session = server.accept(LIMIT)
        session.start({str(path): [2]})
        assert session.wait_stopped().line == 2
        session.resume()
        assert program.wait() == 0


@pycharm
def test_the_slot_of_pycharm_is_taken(told: Told, run: Run, tmp_path: Path) -> None:
    """Where a process of ours has PyCharm's slot, that one is named, and PyCharm is not asked."""
    with Server() as server:
        path = write(tmp_path, "app.py", "x = 1\nprint('ran')\n")
        program = run(path, DEBUGGER_IDE="pycharm", DEBUGGER_PORT=server.port, DEBUGGER_WAIT=LIMIT)
        session = server.accept(LIMIT)
        session.start({str(path): [2]})
        session.wait_stopped()
        report = told(DEBUGGER_IDE="pycharm", DEBUGGER_PORT=server.port)
        assert report.status == 1
        assert f"pid {program.pid} (" in report.one("ide", "wrong")["what"]
        session.resume()
        assert program.wait() == 0
        with pytest.raises(TimeoutError):
            server.accept(0.2)


@debugpy
def test_vscode_listens(told: Told, run: Run, tmp_path: Path) -> None:
    """VS Code's "listen" configuration is found, goes on listening, and the program then connects to it."""
    path = write(tmp_path, "app.py", "x = 1\nprint('ran')\n")
    port = free_port()
    with Client.listen(sys.executable, "127.0.0.1", port) as client:
        report = told(DEBUGGER_MODE="connect", DEBUGGER_PORT=port)
        assert report.status == 0, report.text
        assert "answers at" in report.one("ide", "ok")["what"]
        program = run(path, DEBUGGER_MODE="connect", DEBUGGER_PORT=port, DEBUGGER_WAIT=LIMIT)
        client.attach(breakpoints={str(path): [2]})
        client.continue_(client.wait_stopped())
        assert program.wait() == 0


@pytest.mark.parametrize(
    ("ide", "option"), [pytest.param("debugpy", "-L", marks=debugpy), pytest.param("pycharm", "-R", marks=pycharm)]
)
def test_the_ssh_line(ide: str, option: str, told: Told, port: int) -> None:
    """The line to forward the port with has the direction of who connects, the port, and this machine as ssh came."""
    line = told(DEBUGGER_IDE=ide, SSH_CONNECTION="10.0.0.1 5 10.0.0.2 22").one("ssh", "info")["type"]
    assert line.startswith(f"ssh {option} {port}:127.0.0.1:{port} ")
    assert line.endswith("@10.0.0.2")
    assert " -p 2222 " in told(DEBUGGER_IDE=ide, SSH_CONNECTION="10.0.0.1 5 10.0.0.2 2222").one("ssh", "info")["type"]


@debugpy
def test_in_a_container(told: Told, port: int) -> None:
    """In a container, and only there, what makes the port reachable is said."""
    found = told().found("container")
    assert bool(found) == in_container()
    assert not found or f"-p 127.0.0.1:{port}:{port}" in found[0]["type"]


# The hook, and what is installed


def test_nothing_installed(told: Told, bare: Path) -> None:
    """An interpreter without autoattach would not attach: what is missing, and pip's command for that interpreter."""
    report = told(bare, "app.py")
    assert report.status == 1
    assert report.answer == f"It would not attach: autoattach cannot be imported by {bare}"
    assert report.type == f"{bare} -m pip install 'autoattach[vscode]'"
    assert "autoattach.pth is not in " in report.one("hook", "wrong")["what"]
    assert len(report.found("debugger", "info")) == 3


def test_a_half_removed_installation(told: Told, bare: Path) -> None:
    """With the package gone and autoattach.pth left, both ways out are said, and Python's own error is shown."""
    hook = folder_of(bare) / "autoattach.pth"
    hook.write_text(HOOK)
    report = told(bare, "app.py")
    assert report.status == 1
    finding = report.one("hook", "wrong")
    assert finding["what"].startswith(f"{hook} is left of an installation")
    assert finding["type"].endswith(str(hook))
    assert "No module named 'autoattach'" in report.one("start", "wrong")["what"]


def test_two_installations(told: Told, tmp_path: Path) -> None:
    """A second installation, as one of --user beside that of the environment, is named."""
    builder = venv.EnvBuilder(symlinks=os.name != "nt", system_site_packages=True)
    builder.create(tmp_path / "both")
    python = tmp_path / "both" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    env = {"PYTHONUSERBASE": str(tmp_path / "user"), "PYTHONPATH": str(Path(find("autoattach") or "").parents[1])}
    code = "import site; print(site.getusersitepackages())"
    done = subprocess.run(
        [python, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=LIMIT
    )
    for folder in (folder_of(python), Path(done.stdout.strip())):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "autoattach.pth").write_text(HOOK)
    report = told(python, "app.py", **env)
    assert str(folder) in report.one("hook", "warning")["what"]
    assert "uninstall autoattach" in report.one("hook", "warning")["type"]
    assert report.found("start", "ok"), report.text


@pytest.fixture
def other_door(tmp_path: Path) -> dict[str, str]:
    """The sitecustomize door, with the package, on PYTHONPATH."""
    origin = find("autoattach")
    assert origin is not None
    template = Path(__file__).parents[1] / "sitecustomize_template" / "sitecustomize.py"
    path = tmp_path / "door"
    path.mkdir()
    shutil.copy(template, path)
    (path / "autoattach").symlink_to(os.path.dirname(origin))
    return {"PYTHONPATH": str(path)}


@posix
def test_the_other_door(told: Told, bare: Path, other_door: dict[str, str], tmp_path: Path) -> None:
    """Without autoattach.pth the sitecustomize on PYTHONPATH does its work; one that hides it is named."""
    report = told(bare, "app.py", **other_door)
    assert report.found("start", "ok"), report.text
    assert "does its work" in report.one("hook", "info")["what"]
    assert other_door["PYTHONPATH"] in report.one("sitecustomize", "ok")["what"]
    assert "debugpy is not installed here" in report.answer
    first = write(tmp_path, "first/sitecustomize.py", "")
    hidden = told(bare, "app.py", PYTHONPATH=f"{first.parent}{os.pathsep}{other_door['PYTHONPATH']}")
    assert hidden.status == 1
    assert str(first) in hidden.one("sitecustomize", "wrong")["what"]


@debugpy
def test_both_doors(told: Told, other_door: dict[str, str]) -> None:
    """Both doors together are well."""
    report = told(**other_door)
    assert report.status == 0, report.text
    assert "one attach" in report.one("sitecustomize", "ok")["what"]


def test_site_is_switched_off(told: Told) -> None:
    """python -S reads no hook: that is the reason."""
    report = told(sys.executable, "-S", "app.py")
    assert report.status == 1
    assert "python -S" in report.one("hook", "wrong")["what"] or "cannot be imported" in report.answer
    assert report.one("start", "wrong")["type"] == "leave -S out"


@debugpy
def test_the_switch_of_the_environment(told: Told, bare: Path, other_door: dict[str, str]) -> None:
    """The file autoattach.disabled is named as what keeps it from attaching."""
    (bare.parents[1] / "autoattach.disabled").touch()
    report = told(bare, "app.py", **other_door)
    assert report.answer == f"It would not attach: {bare.parents[1]}/autoattach.disabled switches it off"
    assert report.one("switch", "wrong")["type"] == f"remove {bare.parents[1]}/autoattach.disabled"


@debugpy
def test_a_file_of_the_users_that_hides_the_debugger(told: Told, tmp_path: Path) -> None:
    """debugpy.py on PYTHONPATH, and one beside the program, are named."""
    write(tmp_path, "lib/debugpy.py", "")
    report = told(PYTHONPATH=tmp_path / "lib")
    assert f"{tmp_path}/lib/debugpy.py hides" in report.one("conflict", "wrong")["what"]
    write(tmp_path, "project/pydevd.py", "")
    report = told(sys.executable, "project/app.py")
    assert f"{tmp_path}/project/pydevd.py, beside the program, hides" in report.one("conflict", "warning")["what"]


@ptvsd
def test_each_debugger_has_its_release(told: Told) -> None:
    """The debuggers that are there are named with their release and their file; the one that is used, as used."""
    found = told(DEBUGGER_IDE="ptvsd").found("debugger", "ok")
    used = [one["what"] for one in found if one["what"].endswith("it is used")]
    assert [one.split()[:2] for one in used] == [["ptvsd", "4.3.2,"]]


# The command


@pytest.mark.parametrize("words", [["no-such-command"], ["/no/such/program"]])
def test_no_such_command(words: list[str], told: Told) -> None:
    """A command that is not there is told by name."""
    report = told(*words)
    assert (report.status, report.answer) == (1, f"It would not attach: there is no command {words[0]} here")


@posix
def test_what_is_no_python(told: Told) -> None:
    """A program of another kind is said to be none; it is not started."""
    report = told("env", "ls", "/no/such/folder")
    assert report.status == 1
    assert "is a program of its own, not a Python" in report.answer


@posix
def test_what_cannot_be_told(told: Told, tmp_path: Path) -> None:
    """A shell's script may start any Python: that is said, and what has each of them say a line."""
    write(tmp_path, "serve.sh", "#!/bin/sh\nexec gunicorn\n").chmod(0o755)
    report = told("./serve.sh")
    assert report.status == 1
    assert report.answer.startswith("It cannot be told: ")
    assert "DEBUGGER_VERBOSE=1" in report.type


@posix
def test_a_python_that_is_none(told: Told, tmp_path: Path) -> None:
    """What is called python and is none, or an old one, is told with what it said."""
    fake = write(tmp_path, "python3", "#!/bin/sh\necho not today >&2\nexit 3\n")
    fake.chmod(0o755)
    assert told("./python3", "app.py").answer.endswith("is no Python that answers (status 3: not today)")
    old = write(
        tmp_path,
        "python2",
        '#!/bin/sh\necho \'autoattach-facts: {"version": [2, 7, 18], "executable": "", "prefix": ""}\'\n',
    )
    old.chmod(0o755)
    assert told("./python2", "app.py").answer.endswith("is Python 2.7.18, and autoattach needs 3.8 or later")


@posix
@debugpy
def test_the_interpreter_of_a_command(told: Told, bare: Path, tmp_path: Path) -> None:
    """The Python that a script's first line, or what stands before it, leads to is the one that is asked."""
    script = write(tmp_path, "tool", f"#!{bare} -u\n")
    script.chmod(0o755)
    report = told("nice", "-n", "5", "./tool", "x")
    assert report.plain["python"] == str(bare)
    assert report.plain["command"] == [str(bare), "-u", "./tool", "x"]
    well = told("sh", "-c", f"cd /; DEBUGGER_WAIT=3 exec {shlex.quote(sys.executable)} app.py")
    assert well.status == 0
    assert well.one("DEBUGGER_WAIT", "ok")["what"] == "DEBUGGER_WAIT=3 (by the command line)"
    assert well.answer.endswith("up to 3 s")


HERE = os.path.dirname(sys.executable)
PYTHON = os.path.basename(sys.executable)


@posix
@pytest.mark.parametrize(
    ("words", "line", "options", "given"),
    [
        ("PY app.py -I", "PY app.py -I", "", {}),
        ("PY -I -X dev -Wignore app.py", "PY -I -X dev -Wignore app.py", "-I -X dev -Wignore", {}),
        ("PY -Im http.server", "PY -Im http.server", "-I", {}),
        ("PY -c pass -I", "PY -c pass -I", "", {}),
        ("env A=1 -- PY", None, "", {}),
        ("env -u HOME A=1 PY x", "PY x", "", {"A": "1", "HOME": None}),
        ("env -i PY x", None, "", {}),
        ("env -S 'PY -u' x", "PY -u x", "-u", {}),
        ("nice -n 5 PY x", "PY x", "", {}),
        ("nice -5 PY x", "PY x", "", {}),
        ("nohup setsid stdbuf -o L timeout -k 5 9 PY x", "PY x", "", {}),
        ("sh -c 'PY x'", "PY x", "", {}),
        ("bash -lc 'A=1 PY x; echo'", "PY x", "", {"A": "1"}),
        ("sh -ec 'export B=2; true && $TOOL \"a b\" > out 2>&1'", "PY a b", "", {"B": "2"}),
        ("sudo -E -u me PY x", "PY x", "", {"HOME": "/h"}),
        ("sudo -u me A=1 PY x", "PY x", "", {"HOME": None, "A": "1"}),
        ("sh -c 'env nice sh -c \"PY x\"'", "PY x", "", {}),
    ],
)
def test_command_lines(words: str, line: str | None, options: str, given: dict[str, str | None]) -> None:
    """What starts a command is looked through: what it sets, what it takes away, and the interpreter's own options."""
    environ = {"PATH": f"{HERE}:/usr/bin:/bin", "HOME": "/h", "TOOL": PYTHON}
    parts = shlex.split(words.replace("PY", PYTHON))
    if line is None:
        with pytest.raises(AttachError):
            resolve(parts, {"PATH": "/nowhere"}, "/")
        return
    found = resolve(parts, environ, "/")
    assert found.python == os.path.join(HERE, PYTHON)
    assert " ".join(found.line) == line.replace("PY", PYTHON)
    assert " ".join(found.options) == options
    for name, value in given.items():
        assert found.environ.get(name) == value


@posix
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho\n", "is a script of sh, and what that starts cannot be told"),
        ("#!\n", "names no interpreter"),
        ("#!./tool\n", "without end"),
        ("echo\n", "is a program of its own"),
    ],
)
def test_scripts_that_are_no_pythons(text: str, words: str, tmp_path: Path) -> None:
    """A shell's script, a broken first line and a script that is its own interpreter end in a sentence."""
    write(tmp_path, "tool", text).chmod(0o755)
    with pytest.raises(AttachError) as error:
        resolve(["./tool"], {}, str(tmp_path))
    assert words in error.value.what


@posix
def test_console_scripts_of_long_paths(tmp_path: Path) -> None:
    """The first lines that pip and uv write for a path that no kernel takes lead to the Python, too."""
    text = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"
    write(tmp_path, "tool", text).chmod(0o755)
    assert resolve(["./tool", "x"], {}, str(tmp_path)).line == (sys.executable, "./tool", "x")


@posix
def test_what_is_not_executable(tmp_path: Path) -> None:
    """A script that may not be executed is told, with chmod and python."""
    write(tmp_path, "app.py", "")
    with pytest.raises(AttachError) as error:
        resolve(["./app.py"], {}, str(tmp_path))
    assert str(error.value) == "./app.py is not executable; chmod +x ./app.py, or python ./app.py"


@debugpy
def test_sudo_takes_the_variables_away(told: Told) -> None:
    """Behind sudo START_DEBUGGER is gone: that is the reason, and sudo -E what to type."""
    report = told("sudo", sys.executable, "app.py")
    assert report.answer == "It would not attach: START_DEBUGGER is off"
    assert "sudo -E" in report.one("START_DEBUGGER", "wrong")["type"]


# A process that runs


@proc
@debugpy
def test_a_process_that_is_attached(told: Told, run: Run) -> None:
    """A program that waits for the IDE is attached: as what, where, and with status 0."""
    program = run("-c", "pass", DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    report = told("--pid", program.pid, DEBUGGER_PORT=1, TMPDIR="/nowhere")
    assert report.status == 0, report.text
    assert report.answer.startswith("It is attached: debugpy at 127.0.0.1:")
    assert report.answer.endswith("it leads the session")
    assert len(program.ours) == 1


SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@proc
@debugpy
def test_a_process_without_the_variables(told: Told, run: Run, doctor: Run) -> None:
    """What is set here is not in its environment: that is said, and the line that would start it with the variable."""
    program = run("-c", SLEEP, START_DEBUGGER=None, DEBUGGER_IDE="debugpy")
    program.wait_for("up", "stdout")
    report = told("--pid", program.pid, START_DEBUGGER=1)
    assert report.status == 1
    assert report.plain["attaches"] is False
    assert report.answer.startswith("It is not attached: START_DEBUGGER is not in its environment")
    assert shlex.split(report.type)[:3] == ["START_DEBUGGER=1", sys.executable, "-c"]
    assert report.one("START_DEBUGGER", "info")


@proc
@debugpy
def test_a_process_that_cron_has_started(told: Told, tmp_path: Path) -> None:
    """What cron starts is given cron's environment: the crontab is where the variable goes."""
    cron = tmp_path / "cron"
    shutil.copy(os.path.realpath("/bin/sh"), cron)
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    script = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}; true"
    with Program(tmp_path, "-c", script, python=str(cron)) as program:
        program.wait_for("\n", "stdout")
        report = told("--pid", program.stdout.strip())
    assert report.type == "crontab -e, and START_DEBUGGER=1 before its command"


@proc
@debugpy
def test_a_process_that_was_turned_away(told: Told, run: Run) -> None:
    """With the variable and not attached: the reason, from its own environment and command line."""
    program = run("-c", SLEEP, DEBUGGER_SKIP="*600*")
    program.wait_for("up", "stdout")
    report = told("--pid", program.pid)
    assert (report.status, report.answer) == (1, "It is not attached: DEBUGGER_SKIP: *600*")


@proc
def test_a_process_that_is_no_python(told: Told) -> None:
    """It is said what runs there."""
    with subprocess.Popen(["sleep", "600"]) as sleeping:
        try:
            report = told("--pid", sleeping.pid)
        finally:
            sleeping.kill()
    assert report.status == 1
    assert report.answer.startswith(f"Nothing is known of pid {sleeping.pid}: pid {sleeping.pid} runs ")
    assert "which is no Python" in report.answer
    gone = told("--pid", sleeping.pid)
    assert gone.answer.endswith(f"there is no process with the id {sleeping.pid}")


@proc
@root
def test_a_process_of_another_user(told: Told) -> None:
    """Somebody else's process is not looked into, and its Python not started, be it that root asks."""
    with subprocess.Popen(["sleep", "600"], preexec_fn=lambda: os.setuid(65534)) as sleeping:
        try:
            report = told("--pid", sleeping.pid)
        finally:
            sleeping.kill()
    assert report.status == 1
    assert "not permitted" in report.answer
    assert report.type.startswith("sudo -u ")
    assert report.type.endswith(f"autoattach doctor --pid {sleeping.pid}")


# The command line of doctor itself


@debugpy
def test_live_shows_it(doctor: Run, told: Told) -> None:
    """--live runs the demo after the checks, and its failure is doctor's."""
    program = doctor("--live")
    assert program.wait() == 0, program.dump()
    assert "Stopped at the breakpoint" in program.stdout.partition("It would attach")[2]
    report = told("--live")
    assert report.plain["live"]["status"] == 0
    assert "Stopped at the breakpoint" in report.plain["live"]["output"]


@pytest.mark.parametrize(
    "arguments", [["--pid", "x"], ["--pid", "0"], ["--pid", "-1"], ["--pid", "1", "python"], ["--x"]]
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is no usage is refused with status 2."""
    with pytest.raises(SystemExit) as end:
        main(["doctor", *arguments])
    assert end.value.code == 2
    assert "usage: autoattach" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """--help has examples to type, and says what the marks and the status mean."""
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--help"])
    assert not end.value.code
    text = capsys.readouterr().out
    for part in ("autoattach doctor python app.py", "--pid 4711", "exit status", "!!"):
        assert part in text


@posix
@debugpy
def test_colour_on_a_terminal_and_never_with_no_color(tmp_path: Path, port: int) -> None:
    """A terminal gets colours; with NO_COLOR it does not."""
    for no_color, coloured in ((None, True), ("1", False)):
        ours, theirs = os.openpty()
        env: dict[str, Any] = {"TERM": "xterm", "NO_COLOR": no_color, "DEBUGGER_IDE": "debugpy", "DEBUGGER_PORT": port}
        shell = f"{shlex.quote(sys.executable)} -m autoattach doctor >{os.ttyname(theirs)}"
        with Program(tmp_path, "-c", f"import os; os.system({shell!r})", **env) as program:
            seen = b""
            os.set_blocking(ours, False)

            end = time.monotonic() + LIMIT
            ended = False
            while not ended and time.monotonic() < end:
                ended = program.process.poll() is not None
                try:
                    seen += os.read(ours, 65536)
                except BlockingIOError:
                    time.sleep(0.02)
            assert program.wait() == 0, program.dump()
        os.close(ours)
        os.close(theirs)
        assert b"It would attach" in seen
        assert (b"\033[" in seen) == coloured
