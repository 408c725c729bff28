"""The demo: a breakpoint is hit over the real protocol, for a person to see; a failure says what to type."""

from __future__ import annotations

import os
import signal
import sys
import venv
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import DEBUGGERS, Program, has, listeners, needs, wait_until

from autoattach._errors import AttachError
from autoattach._plan import Known
from autoattach._settings import Settings
from autoattach.cli import demo, main
from autoattach.debuggers import find

Run = Callable[..., Program]

each_debugger = pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in DEBUGGERS])
any_debugger = pytest.mark.skipif(not any(map(has, DEBUGGERS)), reason="no debugger is installed")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo makes its temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def run_demo(tmp_path: Path, temporary: Path) -> Iterator[Run]:
    """Run `python -m autoattach demo ...`."""
    programs = []

    def start(*arguments: object, python: str | None = None, **env: object) -> Program:
        variables: dict[str, Any] = {"TMPDIR": temporary, **env}
        program = Program(tmp_path, "-m", "autoattach", "demo", *arguments, python=python, **variables)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """An interpreter into which nothing is installed; autoattach and what is named reach it over PYTHONPATH."""

    def make(*modules: str) -> dict[str, str]:
        builder = venv.EnvBuilder(symlinks=True)
        builder.create(tmp_path / "venv")
        path = tmp_path / "path"
        path.mkdir()
        for module in ("autoattach", *modules):
            origin = find(module)
            assert origin is not None
            (path / module).symlink_to(os.path.dirname(origin))
        return {"python": str(tmp_path / "venv" / "bin" / "python"), "PYTHONPATH": str(path)}

    return make


def port_of(program: Program) -> int:
    """The port that the demo has shown."""
    return int(program.stdout.partition("DEBUGGER_PORT=")[2].split()[0])


def assert_nothing_left(program: Program, temporary: Path) -> None:
    """No file in the temporary folder, nobody on the port, no process of its environment."""
    assert not list(temporary.iterdir())
    if "DEBUGGER_PORT=" in program.stdout:
        wait_until(lambda: not listeners(port_of(program)), "free port")
    wait_until(lambda: not relatives(temporary), "end of its processes")


def relatives(temporary: Path) -> list[int]:
    """The processes whose environment names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"TMPDIR={temporary}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone, or somebody else's
            pass
    return found


@each_debugger
def test_the_demo_stops_at_the_breakpoint_and_shows_what_an_ide_shows(
    debugger: str, run_demo: Run, temporary: Path
) -> None:
    """Place, source, variables, an expression, the program's output and end, and what to press in the IDE: status 0."""
    program = run_demo(DEBUGGER_IDE=debugger)
    assert program.wait() == 0, program.dump()
    shown = program.stdout
    for text in (
        f"debugged by {debugger}",
        "app.py, line 8, in price()",
        "->   8      return due",
        "amounts = [30, 50, 20]",
        "due = 75.0",
        "due / len(amounts) = 25.0",
        "to pay: 75.0",
        "exit status 0",
        "Python Debug Server" if debugger == "pydevd-pycharm" else "launch.json",
    ):
        assert text in shown, program.dump()
    assert program.stderr == ""
    assert_nothing_left(program, temporary)


@pytest.mark.parametrize(
    ("ide", "debugger"),
    [
        pytest.param("vscode", "debugpy", marks=needs("debugpy")),
        pytest.param("pycharm", "pydevd-pycharm", marks=needs("pydevd-pycharm")),
    ],
)
def test_ide_chooses_the_debugger_whatever_the_environment_says(ide: str, debugger: str, run_demo: Run) -> None:
    """--ide wins over DEBUGGER_IDE, and the user's other variables do not steer the demo."""
    other = "vscode" if ide == "pycharm" else "pycharm"
    program = run_demo("--ide", ide, DEBUGGER_IDE=other, DEBUGGER_PORT="none", DEBUGGER_WAIT="x", DEBUGGER_ONLY="x")
    assert program.wait() == 0, program.dump()
    assert f"debugged by {debugger}" in program.stdout


@any_debugger
def test_without_arguments_it_plays_whichever_is_installed(run_demo: Run) -> None:
    """No option and no variable is needed, also where more than one debugger is there."""
    program = run_demo()
    assert program.wait() == 0, program.dump()


@any_debugger
def test_no_colour_where_nobody_sees_it(run_demo: Run) -> None:
    """Through a pipe or into a file there is not one escape sequence."""
    program = run_demo()
    program.wait()
    assert "\033" not in program.stdout


def test_colour_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours; NO_COLOR and a dumb terminal do not."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert demo.Style().bold("x") == "\033[1mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert demo.Style().bold("x") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert demo.Style().marked("x") == "x"


def test_no_debugger_says_what_to_install(run_demo: Run, elsewhere: Any, temporary: Path) -> None:
    """Where none is installed: status 1 and one line with pip's command, nothing on stdout."""
    program = run_demo(**elsewhere())
    assert program.wait() == 1, program.dump()
    assert program.stderr == (
        "autoattach demo: no debugger is installed here; pip install autoattach[vscode] or autoattach[pycharm]\n"
    )
    assert program.stdout == ""
    assert_nothing_left(program, temporary)


@pytest.mark.parametrize(
    ("arguments", "variable", "missing", "extra"),
    [
        (["--ide", "pycharm"], None, "pydevd-pycharm", "pycharm"),
        (["--ide", "vscode"], None, "debugpy", "vscode"),
        ([], "ptvsd", "ptvsd", "ptvsd"),
        ([], "pycharm", "pydevd-pycharm", "pycharm"),
    ],
)
def test_the_missing_debugger_is_named(
    arguments: list[str], variable: str | None, missing: str, extra: str, run_demo: Run, elsewhere: Any
) -> None:
    """A debugger that is asked for and not installed: status 1, its name, this interpreter and pip's command."""
    place = elsewhere()
    program = run_demo(*arguments, DEBUGGER_IDE=variable, **place)
    assert program.wait() == 1, program.dump()
    assert program.stderr == (
        f"autoattach demo: {missing} is not installed in {place['python']}; pip install autoattach[{extra}]\n"
    )


def test_a_bad_debugger_ide_is_told(run_demo: Run) -> None:
    """An unknown DEBUGGER_IDE is a line with the variable, the value and what is allowed, and status 1."""
    program = run_demo(DEBUGGER_IDE="emacs")
    assert program.wait() == 1
    assert program.stderr.startswith("autoattach demo: DEBUGGER_IDE='emacs' is not understood; set DEBUGGER_IDE to ")
    assert program.stderr.count("\n") == 1


@needs("debugpy")
def test_a_missing_hook_is_told(run_demo: Run, elsewhere: Any, temporary: Path) -> None:
    """Where autoattach.pth is not installed the program never stops: status 1, the reason, and what to type."""
    program = run_demo("--ide", "vscode", **elsewhere("debugpy"))
    assert program.wait() == 1, program.dump()
    assert "the start-up hook autoattach.pth is not there" in program.stderr
    assert "-m pip install" in program.stderr
    assert "to pay" not in program.stderr
    assert_nothing_left(program, temporary)


@any_debugger
def test_it_is_over_when_the_time_is(run_demo: Run, temporary: Path) -> None:
    """--timeout bounds it: status 1, and the line says how to give it longer."""
    program = run_demo("--timeout", "0.01")
    assert program.wait(20) == 1, program.dump()
    assert "not done after 0.01 s; --timeout 0.02 gives it longer" in program.stderr
    assert_nothing_left(program, temporary)


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_a_bad_timeout_is_a_usage_error(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no number of seconds is refused by name, with status 2."""
    with pytest.raises(SystemExit) as end:
        main(["demo", f"--timeout={value}"])
    assert end.value.code == 2
    assert f"{value!r} is no number of seconds" in capsys.readouterr().err


@any_debugger
@pytest.mark.parametrize("number", [signal.SIGINT])
def test_ctrl_c_leaves_nothing_behind(number: int, run_demo: Run, temporary: Path) -> None:
    """Ctrl-C in the middle: status 130, no traceback, the program and the folder are gone."""
    program = run_demo()
    program.wait_for("DEBUGGER_PORT=", "stdout")
    program.send(number)
    assert program.wait(20) == 130, program.dump()
    assert "Traceback" not in program.stderr
    assert_nothing_left(program, temporary)


def known(name: str, ide: str, installed: bool = True, unsupported: str = "") -> Known:
    return Known(name=name, ide=ide, modes=("listen",), extra=ide, installed=installed, unsupported=unsupported)


ALL = (known("debugpy", "vscode"), known("ptvsd", "vscode"), known("pydevd-pycharm", "pycharm"))


@pytest.mark.parametrize(
    ("ide", "environ", "there", "expected"),
    [
        (None, {}, ALL, "debugpy"),
        ("pycharm", {}, ALL, "pydevd-pycharm"),
        ("vscode", {"DEBUGGER_IDE": "pycharm"}, ALL, "debugpy"),
        (None, {"DEBUGGER_IDE": "ptvsd"}, ALL, "ptvsd"),
        (None, {"DEBUGGER_IDE": "pycharm"}, ALL, "pydevd-pycharm"),
        (None, {"TERMINAL_EMULATOR": "JetBrains-JediTerm"}, ALL, "pydevd-pycharm"),
        (None, {"TERM_PROGRAM": "vscode"}, ALL, "debugpy"),
        (None, {}, (known("debugpy", "vscode", False), *ALL[1:]), "ptvsd"),
        (None, {}, (known("debugpy", "vscode", False), known("ptvsd", "vscode", True, "no"), ALL[2]), "pydevd-pycharm"),
    ],
)
def test_the_choice(ide: str | None, environ: dict[str, str], there: tuple[Known, ...], expected: str) -> None:
    """--ide, else DEBUGGER_IDE, else the terminal's, else the first that is installed and can work here."""
    assert demo.choose(ide, Settings.from_environ(environ), there).name == expected


def test_one_that_cannot_work_here_is_told() -> None:
    """Only ptvsd on a Python where it cannot work: the reason, and debugpy to install."""
    there = (known("debugpy", "vscode", False), known("ptvsd", "vscode", True, "ptvsd cannot work here"))
    with pytest.raises(AttachError) as error:
        demo.choose("vscode", Settings.from_environ({}), there)
    assert str(error.value) == "ptvsd cannot work here; pip install autoattach[vscode]"
