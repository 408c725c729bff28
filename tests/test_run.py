"""`autoattach run`: the variables by options, the way to us for any Python, and never silent where nothing attaches."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import DEBUGGERS, LIMIT, Program, environment, line_of, needs, wait_until, write

from autoattach._settings import VARIABLES
from autoattach.cli import main
from autoattach.cli import run as command
from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server

Run = Callable[..., Program]

posix = pytest.mark.skipif(os.name == "nt", reason="there a command cannot take the place of this process")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as Linux does it")
TEMPLATE = Path(__file__).resolve().parents[1] / "sitecustomize_template" / "sitecustomize.py"

NOTHING = "nothing in '"
SHOW = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv, sys.path, sys.executable]))"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Run]:
    """Run `autoattach run ...`. What it starts has an id of its own in its environment, by which it is found again."""
    programs = []

    def start(*arguments: object, **keywords: Any) -> Program:
        programs.append(Program(tmp_path, "-m", "autoattach", "run", *arguments, **keywords))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment into which nothing is installed."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def site_packages(python: str) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=LIMIT).stdout.strip())


def shown(program: Program) -> tuple[dict[str, str], list[str], list[str], str]:
    """What `SHOW` has printed: environment, arguments, path, interpreter."""
    assert program.wait() == 0, program.dump()
    found: tuple[dict[str, str], list[str], list[str], str] = tuple(json.loads(program.stdout))  # type: ignore[assignment]
    return found


def witnesses(folder: Path) -> list[Path]:
    """The files at which one waits."""
    return list(folder.glob("autoattach-*/*.run"))


def alive_in(folder: Path) -> list[int]:
    """The processes whose environment names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"TMPDIR={folder}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone, or somebody else's
            pass
    return found


# --- options


OPTIONS = [
    (["--ide", "pycharm"], {"DEBUGGER_IDE": "pycharm"}),
    (["--host", "0.0.0.0"], {"DEBUGGER_HOST": "0.0.0.0"}),
    (["--port=9000-9010"], {"DEBUGGER_PORT": "9000-9010"}),
    (["--mode", "listen"], {"DEBUGGER_MODE": "listen"}),
    (["--wait", "0"], {"DEBUGGER_WAIT": "0"}),
    (["--only", "a,b", "--only", "c"], {"DEBUGGER_ONLY": "a,b,c"}),
    (["--skip", "*"], {"DEBUGGER_SKIP": "*"}),
    (["--no-subprocess"], {"DEBUGGER_SUBPROCESS": "0"}),
    (["--path-mapping", "/a=/b", "--path-mapping", "/c=/d"], {"DEBUGGER_PATH_MAPPINGS": "/a=/b,/c=/d"}),
    (["--strict"], {"DEBUGGER_STRICT": "1"}),
    (["--log", "here"], {"DEBUGGER_LOG": "here"}),
    (["--verbose"], {"DEBUGGER_VERBOSE": "1"}),
]


@pytest.mark.parametrize(("options", "variables"), OPTIONS, ids=lambda value: str(value))
def test_an_option_sets_its_variable_and_no_other(options: list[str], variables: dict[str, str], start: Run) -> None:
    """The command sees START_DEBUGGER=1 and the variable that the option stands for."""
    environ = shown(start(*options, "--", sys.executable, "-Ec", SHOW))[0]
    found = {name: value for name, value in environ.items() if name.startswith(("DEBUGGER_", "START_DEBUGGER"))}
    assert found == {"START_DEBUGGER": "1", **variables}


def test_every_variable_has_an_option_and_help_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The options are the table of variables, but for the token, a secret; each has its meaning; help has examples."""
    table = [variable for variable in VARIABLES if variable.field not in ("on", "token")]
    assert {name for _, variables in OPTIONS for name in variables} == {variable.name for variable in table}
    with pytest.raises(SystemExit) as end:
        main(["run", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for variable in table:
        assert re.search(rf"{command.option(variable)}\b.*\({variable.name}\b", text)
        assert re.sub(r"^\d: ", "", variable.meaning) in text
    assert "TOKEN" not in text
    assert text.count("autoattach run") >= 4


def test_variables_that_are_set_already_stay(start: Run) -> None:
    """What the user has exported holds, but for what an option says otherwise."""
    program = start(
        "--port", "1", sys.executable, "-Ec", SHOW, START_DEBUGGER="yes", DEBUGGER_PORT="2", DEBUGGER_WAIT="3"
    )
    environ = shown(program)[0]
    assert (environ["START_DEBUGGER"], environ["DEBUGGER_PORT"], environ["DEBUGGER_WAIT"]) == ("yes", "1", "3")
    assert shown(start(sys.executable, "-Ec", SHOW, START_DEBUGGER="off"))[0]["START_DEBUGGER"] == "1"


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--ide", "emacs", "vscode, pycharm, debugpy, ptvsd or pydevd-pycharm"),
        ("--port", "70000", "0 to 65535"),
        ("--port", "9010-9000", "9000-9010"),
        ("--mode", "both", "listen or connect"),
        ("--wait", "-1", "forever"),
        ("--host", "a b", "127.0.0.1"),
        ("--path-mapping", "/a", "LOCAL=REMOTE"),
    ],
)
def test_a_bad_value_is_a_usage_error(
    option: str, value: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the option, the value and what is allowed, with status 2, and nothing is run."""
    with pytest.raises(SystemExit) as end:
        main(["run", f"{option}={value}", "true"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {option}: {value!r} is not understood" in error
    assert allowed in error


@pytest.mark.parametrize("words", [[], ["--"], ["--wait", "0"], ["--wait", "0", "--"]])
def test_no_command_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and an example."""
    assert main(["run", *words]) == 2
    assert capsys.readouterr().err == "autoattach run: no COMMAND to run, as in: autoattach run app.py\n"


# --- the command


def test_a_command_that_is_not_found(start: Run) -> None:
    """One line and status 127, as of a shell."""
    program = start("no-such-command", "--port", "x")
    assert (program.wait(), program.stderr) == (127, "autoattach run: no-such-command is not found\n")


@posix
def test_a_command_that_is_not_executable(start: Run, tmp_path: Path) -> None:
    """One line that says what to type, and status 126; a folder as well, and a program that the system cannot run."""
    write(tmp_path, "tool", "#!/no/such/interpreter\n")
    program = start("./tool")
    assert (program.wait(), program.stderr.count("\n")) == (126, 1)
    assert "chmod +x ./tool" in program.stderr
    assert start("./").wait() == 126
    (tmp_path / "tool").chmod(0o755)
    program = start("./tool")
    assert (program.wait(), program.stderr) == (
        126,
        "autoattach run: ./tool cannot be run (No such file or directory)\n",
    )
    assert not witnesses(tmp_path)


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_its_arguments_are_its_own(separator: list[str], start: Run) -> None:
    """Options after the command, a `--` among them and empty words belong to the command."""
    words = ["--help", "--", "--port", "x", "", "a b", "-h"]
    argv = shown(start("--wait=0", *separator, sys.executable, "-Ec", SHOW, *words))[1]
    assert argv == ["-c", *words]


def test_a_python_file_is_run_by_this_python(start: Run, tmp_path: Path) -> None:
    """`autoattach run app.py`: no interpreter has to be named."""
    write(tmp_path, "app.py", SHOW)
    _, argv, _, python = shown(start("--skip=*", "app.py", "--help"))
    assert argv == ["app.py", "--help"]
    assert os.path.realpath(python) == os.path.realpath(sys.executable)


@posix
def test_an_executable_file_is_run_as_it_says(start: Run, tmp_path: Path, bare: str) -> None:
    """A "#!" line holds, also of app.py here; without one a file is a shell's script, and app.py Python's."""
    write(tmp_path, "app.py", f"#!{bare}\n{SHOW}").chmod(0o755)
    assert shown(start("--skip=*", "app.py"))[3] == bare
    write(tmp_path, "app.py", SHOW).chmod(0o755)
    assert os.path.realpath(shown(start("--skip=*", "./app.py"))[3]) == os.path.realpath(sys.executable)
    write(tmp_path, "tool", 'echo "$0 $1"\n').chmod(0o755)
    program = start("./tool", "a")
    assert (program.wait(), program.stdout) == (0, "./tool a\n")


@posix
def test_process_streams_status_and_signals_are_the_commands_own(start: Run, tmp_path: Path) -> None:
    """It has the process id that was started, stdin, its exit status, its death by a signal; none is ignored."""
    program = start("sh", "-c", "echo $$; cat; exit 7", stdin="typed")
    assert program.wait() == 7
    assert program.stdout == f"{program.pid}\ntyped"
    program = start("sh", "-c", "echo up; sleep 100")
    program.wait_for("up", "stdout")
    program.send(signal.SIGTERM)
    assert program.wait() == -signal.SIGTERM
    program = start("sh", "-c", "kill -PIPE $$")
    assert program.wait() == -signal.SIGPIPE


@linux
def test_it_has_no_open_files_and_no_children_that_it_did_not_make(start: Run, tmp_path: Path, bare: str) -> None:
    """A command that waits for any child has none; also one that is given orphans, as pid 1 is."""
    look = "import os; print(sorted(os.listdir('/proc/self/fd'))); os.wait()"
    program = start("--skip=*", bare, "-c", look)
    assert program.wait() == 1
    assert "ChildProcessError" in program.stderr
    assert program.stdout == "['0', '1', '2', '3']\n"  # 3 is of the look itself
    wait_until(lambda: not witnesses(tmp_path), "end of the witness")
    write(
        tmp_path,
        "init.py",
        f"""
        import ctypes, os, sys
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # from now on orphans are this process's
        os.execv(sys.executable, [sys.executable, "-m", "autoattach", "run", "--skip=*", {bare!r}, "-c", {look!r}])
        """,
    )
    program = Program(tmp_path, "init.py")
    try:
        assert program.wait() == 1
        assert "ChildProcessError" in program.stderr
        assert not witnesses(tmp_path)
    finally:
        program.close()


@posix
def test_a_terminals_job_is_the_command_alone(start: Run) -> None:
    """Ctrl-C reaches the command, which is the one process of its group."""
    program = start("sh", "-c", "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.1; done")
    program.wait_for("up", "stdout")
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait() == 3
    program.wait_for(NOTHING, alive=False)


# --- any Python


APP = """
    def work(n):
        total = n * 2
        return total

    print(work(4), flush=True)
"""


@pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in DEBUGGERS])
def test_a_python_with_nothing_of_ours_is_attached_to(
    debugger: str, start: Run, tmp_path: Path, bare: str, port: int
) -> None:
    """autoattach and the debugger are found here, behind a shell too; a breakpoint is hit."""
    app = write(tmp_path, "app.py", APP)
    line = line_of(app, "return total")
    behind = ["sh", "-c", f"{bare} app.py; exit $?"] if os.name == "posix" else [bare, "app.py"]
    options = ["--ide", debugger, "--port", port, "--wait", LIMIT]
    if debugger == "pydevd-pycharm":
        with Server(port=port) as server:
            program = start(*options, "--", *behind)
            session = server.accept()
            session.start({str(app): [line]})
            assert session.wait_stopped().line == line
            session.resume()
            assert program.wait() == 0, program.dump()
    else:
        program = start(*options, "--", *behind)
        program.wait_for("waiting")
        client = Client.connect("127.0.0.1", port, LIMIT)
        client.attach({str(app): [line]})
        thread = client.wait_stopped()
        assert client.stack(thread)[0]["line"] == line
        client.continue_(thread)
        assert program.wait() == 0, program.dump()
        client.close()
    assert program.stdout == "8\n"
    assert not program.others
    assert NOTHING not in program.stderr


@needs("debugpy")
def test_the_rest_of_this_environment_stays_out(start: Run, tmp_path: Path, bare: str) -> None:
    """The program can import nothing of our environment but the debugger, and of its path one folder alone is ours."""
    write(
        tmp_path,
        "app.py",
        """
        import json, sys, importlib.util
        names = ["pytest", "pip", "setuptools", "debugpy", "autoattach", "xdist"]
        print(json.dumps([[name for name in names if importlib.util.find_spec(name)], sys.path]))
        """,
    )
    found, path = json.loads(_ran(start("--ide=debugpy", "--wait=0", "--port=0", bare, "app.py")).stdout)
    _, before = json.loads(_ran(Program(tmp_path, "app.py", python=bare)).stdout)
    assert set(found) - {"pip", "setuptools"} == {"debugpy", "autoattach"}
    assert [entry for entry in path if entry not in before] == [command.door()]


def _ran(program: Program) -> Program:
    try:
        assert program.wait() == 0, program.dump()
        return program
    finally:
        program.close()


def test_a_debugger_of_its_own_wins(start: Run, tmp_path: Path, bare: str) -> None:
    """Where the program's environment has a debugger for the IDE, none of ours is found there."""
    own = tmp_path / "own"
    write(own, "debugpy/__init__.py", "")
    code = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('debugpy', 'ptvsd', 'pydevd_pycharm')])"
    program = _ran(start("--ide=vscode", "--wait=0", "--port=0", bare, "-c", code, PYTHONPATH=own))
    assert program.stdout == "[True, False, False]\n"
    assert "(debugpy" in program.stderr


def test_a_path_and_a_sitecustomize_of_the_users_stay_in_force(start: Run, tmp_path: Path, bare: str) -> None:
    """PYTHONPATH keeps what was in it, and the sitecustomize that stands there runs."""
    write(tmp_path, "own/sitecustomize.py", "print('mine')")
    write(tmp_path, "own/tool.py", "print('tool')")
    program = _ran(start("--skip=*", bare, "-c", "import tool", PYTHONPATH=tmp_path / "own"))
    assert program.stdout == "mine\ntool\n"
    again = [sys.executable, "-m", "autoattach", "run", "--skip=*", sys.executable, "-c", SHOW]
    environ = shown(start("--skip=*", "--", *again, PYTHONPATH=""))[0]
    assert environ["PYTHONPATH"] == command.door()  # once, however often


@pytest.mark.parametrize(
    ("requires", "line"),
    [
        (">=3.99", "the debugpy of {folder} is for Python 3.99 and later, and this is {version}; pip install"),
        (">=2.7,!=3.0.*", None),
        (None, None),
    ],
)
def test_a_debugger_that_is_not_for_that_python_is_told_at_once(
    requires: str | None, line: str | None, start: Run, tmp_path: Path, bare: str
) -> None:
    """One line says which, for which Python and what to type, before anybody waits; the program runs."""
    lender = tmp_path / "lender"
    write(lender, "debugpy/__init__.py", "")
    text = (
        "Metadata-Version: 2.1\n" + (f"Requires-Python: {requires}\n" if requires else "") + "\nRequires-Python: >=9\n"
    )
    write(lender, "debugpy-1.0.dist-info/METADATA", text)
    program = Program(
        tmp_path, "-c", "print('ran')", python=bare, PYTHONPATH=TEMPLATE.parent, START_DEBUGGER=1, DEBUGGER_WAIT=0,
        DEBUGGER_PORT=0, AUTOATTACH_LENT=lender,
    )  # fmt: skip
    _ran(program)
    assert program.stdout == "ran\n"
    (said,) = program.ours
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert said.startswith((line or "VS Code can attach").format(folder=lender, version=version))


def runs(python: str | None) -> bool:
    """Whether it is a Python: some names on the path only say which one is to be installed."""
    return python is not None and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


OLD = list(filter(runs, map(shutil.which, ("python2.7", "python3.6", "python3.7"))))


@pytest.mark.parametrize("python", [*OLD, None])
def test_a_python_that_is_too_old_says_so_in_one_line(python: str | None, start: Run, tmp_path: Path) -> None:
    """It runs on, and the sitecustomize that is hidden runs, too."""
    write(tmp_path, "own/sitecustomize.py", "print('mine')")
    if python is not None:
        program = start("--wait=0", python, "-c", "print('ran')", PYTHONPATH=tmp_path / "own")
        assert program.wait() == 0
        assert program.stdout == "mine\nran\n"
    else:  # none is here: what it would read is run by this one, which says that it is one
        door = write(
            tmp_path, "door/sitecustomize.py", f"import sys\nsys.version_info = (3, 7)\n{TEMPLATE.read_text()}"
        )
        program = Program(tmp_path, "-c", "print('ran')", PYTHONPATH=door.parent, START_DEBUGGER=1, DEBUGGER_SKIP="*")
        _ran(program)
        assert program.stdout == "ran\n"
    (line,) = program.ours
    assert re.match(r"START_DEBUGGER is set, but this is Python \d\.\d \(.*\), and autoattach needs 3.8 or later", line)
    assert not program.others
    assert not witnesses(tmp_path)


# --- where nothing attaches


def test_where_no_python_was_started_a_line_says_so(start: Run, tmp_path: Path) -> None:
    """At the end, on stderr, with the command and what says more; the status is the command's. Nothing is left."""
    program = (
        start("--wait=0", "--", "git", "--version") if os.name == "nt" else start("--wait=0", "sh", "-c", "exit 5")
    )
    assert program.wait() == (0 if os.name == "nt" else 5)
    program.wait_for(NOTHING, alive=False)
    assert re.match(
        rf"autoattach\[{program.pid}\]: nothing in '.*' attached: no Python was started that autoattach could reach "
        r"\(-I, -E and -S keep it out\); autoattach doctor .* says more\n\Z",
        program.stderr,
    )
    wait_until(lambda: not witnesses(tmp_path), "end")
    if sys.platform.startswith("linux"):
        wait_until(lambda: not alive_in(tmp_path), "end of the witness")


@posix
@pytest.mark.parametrize(
    ("options", "inner", "reason"),
    [
        (["--only", "other.py"], "{python} app.py", "python app.py: no pattern of DEBUGGER_ONLY matches its command line"),
        ([], "{python} -I app.py", "python -I app.py: python -I and -E ignore the environment"),
        ([], "{python} -m pip --version", "python -m pip --version: pip (DEBUGGER_ONLY=-m pip attaches to it all the same)"),
    ],
)  # fmt: skip
def test_a_python_that_was_left_alone_is_named_with_the_reason(
    options: list[str], inner: str, reason: str, start: Run, tmp_path: Path
) -> None:
    """What started and was not attached to is in the line, with why."""
    write(tmp_path, "app.py", "print('ran')")
    python = os.path.join(os.path.dirname(sys.executable), "python")
    program = start("--wait=0", "--port=0", *options, "sh", "-c", f"{inner.format(python=python)}; true")
    assert program.wait() == 0
    program.wait_for(NOTHING, alive=False)
    assert f"attached: {reason}; " in program.stderr


@pytest.mark.parametrize("how", ["-I", "-E", "-S", "-BS", "-W ignore -I", "#!"])
def test_a_python_that_is_told_to_keep_us_out_is_named_at_once(how: str, start: Run, tmp_path: Path) -> None:
    """Before it runs: it would not even read our variables."""
    app = write(tmp_path, "app", f"#!{sys.executable} -I\nprint('ran')")
    app.chmod(0o755)
    if how == "#!" and os.name == "nt":
        pytest.skip("no such line there")
    words = ["./app"] if how == "#!" else [sys.executable, *how.split(), "app"]
    program = start("--wait=0", *words)
    assert (program.wait(), program.stdout) == (0, "ran\n")
    assert re.match(r"autoattach run: .* does not attach: python -[IES] .*\n\Z", program.stderr)


@pytest.mark.parametrize(
    "words", [["-c", "x -I"], ["-W", "I", "-X", "E", "app.py", "-I"], ["-BE"[:2], "-", "-I"], ["-m", "-I"]]
)
def test_what_only_looks_like_it_does_not(words: list[str]) -> None:
    """Options of the program are not python's."""
    assert command.shut_out([sys.executable, *words]) == ""


@needs("debugpy")
@pytest.mark.parametrize("arguments", [["app.py"], ["sh", "-c", "{python} app.py; true"]], ids=["known", "unknown"])
def test_where_something_attaches_nothing_more_is_said(arguments: list[str], start: Run, tmp_path: Path) -> None:
    """An attached process is enough; from then on nobody waits for the end, and nothing is left."""
    if arguments[0] == "sh" and os.name == "nt":
        pytest.skip("no shell")
    write(tmp_path, "app.py", "import os, time\nwhile not os.path.exists('stop'): time.sleep(0.02)")
    words = [word.format(python=sys.executable) for word in arguments]
    program = start("--ide=debugpy", "--wait=0", "--port=0", *words)
    program.wait_for("can attach")
    assert not witnesses(tmp_path)
    if sys.platform.startswith("linux"):  # what was started, and nobody else
        count = 1 if words[0] == "app.py" else 2
        wait_until(lambda: len(alive_in(tmp_path)) == count, "end of the witness")
    (tmp_path / "stop").touch()
    assert program.wait() == 0
    time.sleep(0.2)  # for what must not come
    assert len(program.stderr.splitlines()) == 1


def test_what_could_not_attach_has_said_so_itself(start: Run, bare: str, port: int) -> None:
    """An error of its own is the one line."""
    program = start("--wait=0", "--ide=pycharm", "--port", port, bare, "-c", "print('ran')")
    assert program.wait() == 0
    time.sleep(0.2)  # for what must not come
    assert len(program.stderr.splitlines()) == 1
    assert "running on without a debugger" in program.stderr


@posix
def test_the_streams_of_the_command_are_not_held_open(tmp_path: Path) -> None:
    """What reads its output sees the end when the command closes it, though that runs on; also where both are one."""
    environ = environment(TMPDIR=tmp_path)
    words = [sys.executable, "-m", "autoattach", "run", "sh", "-c", "echo out; exec >&- 2>&-; sleep 100"]
    for stderr in (subprocess.PIPE, subprocess.STDOUT):
        process = subprocess.Popen(words, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None
            assert process.stdout.read() == b"out\n"
            if process.stderr is not None:
                assert process.stderr.read() == b""
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@posix
def test_a_pipe_gets_the_line_too(tmp_path: Path) -> None:
    """Captured output holds it: the pipe's end comes after it."""
    words = [sys.executable, "-m", "autoattach", "run", "sh", "-c", "echo out"]
    environ = environment(TMPDIR=tmp_path)
    done = subprocess.run(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
    assert done.stdout.startswith(b"out\nautoattach[")
    assert b"nothing in 'sh -c 'echo out'' attached" in done.stdout


@linux
def test_a_killed_command_ends_the_witness(start: Run, tmp_path: Path) -> None:
    """However it ends, nobody stays."""
    program = start("sh", "-c", "echo up; exec sleep 100")
    program.wait_for("up", "stdout")
    assert len(alive_in(tmp_path)) == 2
    program.send(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    program.wait_for(NOTHING, alive=False)
    wait_until(lambda: not alive_in(tmp_path), "end of the witness")
    assert not witnesses(tmp_path)


@posix
def test_one_inside_another_says_it_once(start: Run) -> None:
    """The outer one knows of both."""
    inner = [sys.executable, "-m", "autoattach", "run", "--", "sh", "-c", "true"]
    program = start("--", "sh", "-c", '"$@"; true', "sh", *inner)
    assert program.wait() == 0
    program.wait_for(NOTHING, alive=False)
    time.sleep(0.2)  # for what must not come
    assert program.stderr.count(NOTHING) == 1


@posix
def test_where_nothing_can_be_written_the_command_runs(start: Run, tmp_path: Path) -> None:
    """No place for our files, no stderr: the command runs as ever."""
    program = start("sh", "-c", "exit 4", TMPDIR=tmp_path / "nowhere")
    assert (program.wait(), program.stderr) == (4, "")
    words = [sys.executable, "-m", "autoattach", "run", "sh", "-c", "exit 4"]
    script = 'exec "$@" 2>&-'
    done = subprocess.run(["sh", "-c", script, "sh", *words], env=environment(TMPDIR=tmp_path), timeout=LIMIT)
    assert done.returncode == 4
    assert not witnesses(tmp_path)
