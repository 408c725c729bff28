"""parse, gate and plan: pure, so tables of cases, with near misses."""

from __future__ import annotations

import os
from typing import Any

import pytest

from autoattach._errors import AttachError
from autoattach._exclusions import glob, matches, what_runs
from autoattach._network import greets_as_dap, greets_as_pydevd
from autoattach._plan import Arm, Installed, Join, Known, Lead, Skip, gate, plan
from autoattach._process import Process
from autoattach._session import Session
from autoattach._settings import FOREVER, Settings

DEBUGPY = Known(
    name="debugpy", ide="vscode", modes=("listen", "connect"), extra="vscode", installed=True, unsupported=""
)
PTVSD = DEBUGPY.replace(name="ptvsd", extra="ptvsd", modes=("listen",))
PYCHARM = DEBUGPY.replace(name="pydevd-pycharm", ide="pycharm", extra="pycharm", modes=("connect",))

SESSION = Session(id="a1", pid=7, debugger="debugpy", mode="listen", host="127.0.0.1", port=9000, live=False)


def settings(**environ: str) -> Settings:
    return Settings.from_environ({"START_DEBUGGER": "1", **environ})


def process(*command: str, **facts: Any) -> Process:
    plain = {
        "pid": 100, "command": command or ("python", "app.py"), "ignores_environment": False, "other_user": False,
        "subinterpreter": False, "debugger": "", "terminal": False, "prefix": "/usr", "tracer": "",
        "started": False,
    }  # fmt: skip
    return Process(**{**plain, **facts})


def installed(*names: str, disabled: str = "") -> Installed:
    rows = (DEBUGPY, PTVSD, PYCHARM)
    return Installed(
        debuggers=tuple(row.replace(installed=row.name in names) for row in rows), disabled=disabled, lack=None
    )


def decide(*names: str, session: Session | None = None, **environ: str) -> Any:
    return plan(settings(**environ), process(), installed(*names), session)


@pytest.mark.parametrize(
    ("value", "on"),
    [
        ("1", 1),
        ("yes", 1),
        ("0", 0),
        ("", 0),
        ("False", 0),
        ("no", 0),
        ("OFF", 0),
        ("00", 1),
        ("offline", 1),
        ("none", 1),
    ],
)
def test_on(value: str, on: int) -> None:
    """START_DEBUGGER is off for the empty value, 0, false, no and off, in any case, and for nothing else."""
    assert Settings.from_environ({"START_DEBUGGER": value}).on == bool(on)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("START_DEBUGGER", "1", "words", ()),
        ("START_DEBUGGER", "exceptional", "words", ()),
        ("START_DEBUGGER", "Exception", "words", ("exception",)),
        ("START_DEBUGGER", "breakpoint, request,", "words", ("breakpoint", "request")),
        ("DEBUGGER_PORT", "", "ports", None),
        ("DEBUGGER_PORT", "9001", "ports", (9001, 9001)),
        ("DEBUGGER_PORT", "9000-9010", "ports", (9000, 9010)),
        ("DEBUGGER_PORT", "0", "ports", (0, 0)),
        ("DEBUGGER_PORT", "65535", "ports", (65535, 65535)),
        ("DEBUGGER_PORT", "tcp://10.0.0.1:9000", "ports", None),
        ("DEBUGGER_HOST", "", "host", None),
        ("DEBUGGER_HOST", "[::1]", "host", "::1"),
        ("DEBUGGER_WAIT", "0", "wait", 0.0),
        ("DEBUGGER_WAIT", "2.5", "wait", 2.5),
        ("DEBUGGER_WAIT", "Forever", "wait", FOREVER),
        ("DEBUGGER_IDE", "PyCharm", "ide", "pycharm"),
        ("DEBUGGER_IDE", "pydevd_pycharm", "ide", "pydevd-pycharm"),
        ("DEBUGGER_SUBPROCESS", "", "subprocess", True),
        ("DEBUGGER_SUBPROCESS", "0", "subprocess", False),
        ("DEBUGGER_ONLY", " a*, ,b ", "only", ("a*", "b")),
        ("DEBUGGER_PATH_MAPPINGS", "/a=/b, C:\\x=/y", "path_mappings", (("/a", "/b"), ("C:\\x", "/y"))),
    ],
)
def test_values(name: str, value: str, field: str, expected: object) -> None:
    """Each good value is parsed."""
    parsed = settings(**{name: value})
    assert parsed.problems == ()
    assert getattr(parsed, field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUGGER_PORT", "65536"), ("DEBUGGER_PORT", "9o00"), ("DEBUGGER_PORT", "-1"), ("DEBUGGER_PORT", "9-8"),
        ("DEBUGGER_PORT", "0-10"), ("DEBUGGER_PORT", "٣"), ("DEBUGGER_PORT", "9000,9001"), ("DEBUGGER_WAIT", "inf"),
        ("DEBUGGER_WAIT", "1e999"), ("DEBUGGER_WAIT", "-0.1"), ("DEBUGGER_IDE", "vs code"), ("DEBUGGER_MODE", "both"),
        ("DEBUGGER_HOST", "http://x"), ("DEBUGGER_PATH_MAPPINGS", "=/x"), ("START_DEBUGGER", "exception,1"),
        ("START_DEBUGGER", "exception:ValueError"), ("START_DEBUGGER", "signal:KILL"), ("START_DEBUGGER", "signal:nope"),
    ],
)  # fmt: skip
def test_bad_values(name: str, value: str) -> None:
    """Each bad value becomes a problem that names the variable, and nothing raises."""
    (problem,) = settings(**{name: value}).problems
    assert name in str(problem)
    assert repr(value) in str(problem)
    assert decide("debugpy", **{name: value}).error is problem or isinstance(decide("debugpy", **{name: value}), Skip)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("python app.py", "./app.py"),
        ("python -m pip install x", "-m pip"),
        ("python -mpip", "-m pip"),
        ("python -Bm pip", "-m pip"),
        ("python -W ignore -X dev a/b.py -m pip", "a/b.py"),
        ("python -Wignore app.py", "./app.py"),
        ("python -c pass -m pip", "-c pass"),
        ("python -", "-"),
        ("python", "-"),
        ("python --check-hash-based-pycs always app.py", "./app.py"),
        ("python C:\\tools\\pip.exe", "C:/tools/pip"),
    ],
)
def test_what_runs(command: str, runs: str) -> None:
    """What a command line runs is told from its options."""
    assert what_runs(tuple(command.split(" "))) == runs


@pytest.mark.parametrize(
    ("command", "skipped"),
    [
        ("python app.py", False),
        ("python -m pip install x", True),
        ("python -m pipeline", False),
        ("/venv/bin/python /venv/bin/pip install x", True),
        ("python pip_helper.py", False),
        ("python ./pip", True),
        ("python /venv/bin/pip3", True),
        ("python /venv/bin/pip3.11 install x", True),
        ("python pip.py", False),
        ("python pip3_report.py", False),
        ("python /home/me/pip3/app.py", False),
        ("python /home/me/pip3d/app.py", False),
        ("python /home/me/pip/app.py", False),
        ("python completion.py", False),
        ("python -m argcomplete._check_module app", True),
        ("python -m poetry install", True),
        ("python -m poetry_tools", False),
        ("python /opt/pycharm-2024.1/plugins/python-ce/helpers/packaging_tool.py list", True),
        ("python /opt/pycharm-2024.1/plugins/python/helpers/generator3/__main__.py", True),
        ("python /home/me/.local/share/JetBrains/IntelliJIdea2024.1/python/helpers/packaging_tool.py", True),
        ("python /opt/.pycharm_helpers/pycharm/django_manage.py", True),
        ("python /home/me/pycharm-projects/shop/helpers/load.py", False),
        ("python /home/me/PycharmProjects/shop/helpers/load.py", False),
        ("python /srv/app/plugins/python_tools/helpers/load.py", False),
        ("python /home/me/.vscode-server/extensions/ms-python.python-2026.1/python_files/x.py", True),
        ("python /venv/lib/python3.11/site-packages/jedi/inference/compiled/subprocess/__main__.py /x 3.11.7", True),
        ("python -m venv x", True),
        ("python -m venvy", False),
        ("python /x/debugpy/adapter --for-server 1", True),
        ("python /x/adapter/debugpy.py", False),
        ("python -m debugpy --listen 1 app.py", True),
        ("python -m debugpy_tests", False),
        ("python /x/pydevd.py --port 1 --file a.py", True),
        ("python -m autoattach demo", True),
        ("python -m autoattach_demo", False),
        ("python -m pytest", False),
    ],
)
def test_never_attached_to(command: str, skipped: bool) -> None:
    """Helpers and tools are turned away, and not what merely looks like them."""
    assert (gate(settings(), process(*command.split())) is not None) == skipped


FILTERED = "import sys; sys.path[:] = [p for p in sys.path if p != '']; import "


@pytest.mark.parametrize(
    ("code", "skipped"),
    [
        # as virtualenv 21.15, pipx, pyright and Neovim write it
        (FILTERED + "runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)", True),
        (FILTERED + "os, runpy, venv; runpy.run_module('venv', run_name='__main__', alter_sys=True)", True),
        ("import sys\nspec = importlib.util.spec_from_file_location('virtualenv', sys.argv[1])\n", True),
        ("from pip._internal.cli.main import main", True),
        ("import os, os.path, sys; normalize = lambda p: os.path.normcase(os.path.normpath(p)); cwd = 1", True),
        ('import sys; sys.path = [p for p in sys.path if p != ""]; import neovim; neovim.start_host()', True),
        ("import runpy; runpy.run_module('pipeline')", False),
        ("import os, os.path, sys; print(1)", False),
        ("from pipeline import main; main()", False),
    ],
)
def test_never_attached_to_by_its_code(code: str, skipped: bool) -> None:
    """The same for what is run by `-c`."""
    assert (gate(settings(), process("python", "-c", code)) is not None) == skipped


@pytest.mark.parametrize(
    "facts", [{"ignores_environment": True}, {"other_user": True}, {"subinterpreter": True}, {"debugger": "pydevd"}]
)
def test_gate(facts: dict[str, Any]) -> None:
    """Each reason to stay out turns a process away, silently."""
    answer = gate(settings(), process(**facts))
    assert answer is not None
    assert answer.error is None


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [("*", "", 1), ("a*c", "abbc", 1), ("a*c", "abbd", 0), ("?", "", 0), ("a?c", "abc", 1), ("*a*b*", "xxaxxbxx", 1),
     ("**a", "ba", 1), ("", "", 1), ("", "a", 0), ("[a]", "a", 0)],
)  # fmt: skip
def test_glob(pattern: str, text: str, expected: int) -> None:
    """`*` and `?`, and nothing else, are special; the whole text must match."""
    assert glob(pattern, text) == bool(expected)


def test_matches() -> None:
    """A user's pattern is tried on the whole command line, on each argument, and on the last part of each path."""
    command = ("/usr/bin/python3", "/srv/app/worker.py", "--queue", "mail")
    assert all(
        matches(pattern, command) for pattern in ("worker.py", "*mail", "*worker*", "/srv/app/*", "python3", "mail")
    )
    assert not any(matches(pattern, command) for pattern in ("worker", "app", "mai", "*.pyc"))


@pytest.mark.parametrize(
    ("names", "environ", "expected"),
    [
        (["debugpy"], {}, "debugpy"),
        (["ptvsd"], {}, "ptvsd"),
        (["pydevd-pycharm"], {}, "pydevd-pycharm"),
        (["debugpy", "ptvsd"], {}, "debugpy"),
        (["debugpy", "pydevd-pycharm"], {"DEBUGGER_IDE": "vscode"}, "debugpy"),
        (["debugpy", "pydevd-pycharm"], {"DEBUGGER_IDE": "pycharm"}, "pydevd-pycharm"),
        (["debugpy"], {"DEBUGGER_IDE": "pycharm"}, "debugpy"),
        (["debugpy"], {"DEBUGGER_IDE": "debugpy", "DEBUGGER_MODE": "connect", "PYCHARM_HOSTED": "1"}, "debugpy"),
        (["debugpy", "ptvsd"], {"DEBUGGER_IDE": "ptvsd"}, "ptvsd"),
        (["debugpy", "pydevd-pycharm"], {"TERM_PROGRAM": "vscode"}, "debugpy"),
        (["debugpy", "pydevd-pycharm"], {"VSCODE_GIT_IPC_HANDLE": "x"}, "debugpy"),
        (["debugpy", "pydevd-pycharm"], {"TERMINAL_EMULATOR": "JetBrains-JediTerm"}, "pydevd-pycharm"),
        (["debugpy", "pydevd-pycharm"], {"PYCHARM_HOSTED": "1"}, "pydevd-pycharm"),
    ],
)
def test_choice(names: list[str], environ: dict[str, str], expected: str) -> None:
    """The debugger: DEBUGGER_IDE, else the only IDE's, else the terminal's."""
    answer = decide(*names, **environ)
    assert isinstance(answer, Lead)
    assert answer.debugger == expected


@pytest.mark.parametrize(
    ("names", "environ", "text"),
    [
        (["debugpy", "pydevd-pycharm"], {}, "set DEBUGGER_IDE"),
        ([], {}, "pip install"),
        (["pydevd-pycharm"], {"DEBUGGER_IDE": "vscode"}, "pip install autoattach[vscode]"),
        (["ptvsd"], {"DEBUGGER_IDE": "pycharm"}, "pip install autoattach[pycharm]"),
        (["ptvsd"], {"DEBUGGER_MODE": "connect"}, "DEBUGGER_MODE"),
        (["debugpy"], {"DEBUGGER_IDE": "pycharm", "DEBUGGER_MODE": "connect"}, "pip install autoattach[pycharm]"),
    ],
)
def test_no_choice(names: list[str], environ: dict[str, str], text: str) -> None:
    """Where there is no answer the line says what to set or to install."""
    answer = decide(*names, **environ)
    assert isinstance(answer, Skip)
    assert isinstance(answer.error, AttachError)
    assert text in str(answer.error)


def test_hold() -> None:
    """Held for ever on a terminal, for 60 s elsewhere, as DEBUGGER_WAIT says; and once for a tree."""
    assert decide("debugpy").wait == 60
    assert plan(settings(), process(terminal=True), installed("debugpy"), None).wait == FOREVER  # type: ignore[union-attr]
    assert decide("debugpy", DEBUGGER_WAIT="5").wait == 5
    parent = SESSION.replace(mode="gone", port=9007)
    assert (decide("debugpy", session=parent).wait, decide("debugpy", session=parent).ports) == (0, (9007, 9007))


@pytest.mark.parametrize(
    ("environ", "joins"),
    [
        ({}, True),
        ({"DEBUGGER_PORT": "9000"}, True),
        ({"DEBUGGER_PORT": "8990-9010"}, True),
        ({"DEBUGGER_PORT": "0"}, True),
        ({"DEBUGGER_PORT": "9001", "DEBUGGER_IDE": "debugpy"}, False),
        ({"DEBUGGER_IDE": "vscode"}, True),
        ({"DEBUGGER_IDE": "pycharm"}, True),
        ({"DEBUGGER_IDE": "debugpy"}, True),
        ({"DEBUGGER_IDE": "ptvsd"}, False),
        ({"DEBUGGER_IDE": "pydevd-pycharm"}, False),
    ],
)
def test_join(environ: dict[str, str], joins: bool) -> None:
    """A child joins its parent's session, unless it was given another port or another debugger."""
    answer = decide("debugpy", "ptvsd", "pydevd-pycharm", session=SESSION, **environ)
    assert isinstance(answer, Join if joins else Lead)


def test_switch() -> None:
    """The file `autoattach.disabled` goes before everything else, bad values included."""
    answer = plan(
        settings(DEBUGGER_PORT="x"), process(), installed("debugpy", disabled="/etc/autoattach.disabled"), None
    )
    assert isinstance(answer, Skip)
    assert answer.error is None


def test_session_text() -> None:
    """A session survives the environment; anything else there is no session."""
    session = SESSION.replace(host="::1")
    assert Session.from_text(session.to_text()) == session
    for text in (
        "",
        "7",
        "a,x,debugpy,listen,h,1,0",
        "a,7,debugpy,listen,h,70000,0",
        "a,-1,debugpy,listen,h,1,0",
        "1,2,3,4,5,6,7",
        "a b,7,debugpy,listen,h,1,0",
    ):
        assert Session.from_text(text) is None


MESSAGE = b"Content-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [(MESSAGE, True), (MESSAGE + b"more", True), (MESSAGE.lower(), True), (b"C", None), (MESSAGE[:-1], None), (b"", None),
     (b"GET / HTTP/1.1\r\n", False), (b"Content-Type: x\r\n\r\n", False), (b"\x16\x03\x01", False),
     (b"Content-Length: x\r\n\r\n{}", False), (b"Content-Length: 2\r\n\r\nhi", False), (b"Content-Length: " + b"1" * 5000, False)],
)  # fmt: skip
def test_greets_as_dap(data: bytes, expected: bool | None) -> None:
    """Only a whole first message of the protocol is an IDE."""
    assert greets_as_dap(data) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"501\t1\t0.1\tUNIX\n", True),
        (b"5", None),
        (b"501\t", True),
        (b"HTTP/1.1 400", False),
        (b"\t", False),
        (b"x\t", False),
    ],
)
def test_greets_as_pydevd(data: bytes, expected: bool | None) -> None:
    """A command's number and a tab are PyCharm."""
    assert greets_as_pydevd(data) is expected


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("value", ["signal", "signal:USR1", "SIGNAL:sigusr1", "signal,signal:usr1"])
def test_signals(value: str) -> None:
    """A signal is named with or without SIG, in any case; without a name it is USR1."""
    parsed = settings(START_DEBUGGER=value)
    assert parsed.problems == ()
    assert parsed.words == ("signal:USR1",)


def test_a_bad_signal_names_the_good_ones() -> None:
    """What cannot be waited for is answered by what can."""
    (problem,) = settings(START_DEBUGGER="signal:KILL").problems
    assert "signal:" in problem.advice
    assert "KILL" not in problem.advice


def test_later() -> None:
    """With a word the answer is to wait for its moment; in that moment, and for a child of a session, it is as ever."""
    later = decide("debugpy", START_DEBUGGER="exception,breakpoint")
    assert isinstance(later, Arm)
    assert later.words == ("exception", "breakpoint")
    assert later.lead == decide("debugpy")
    now = plan(settings(START_DEBUGGER="breakpoint"), process(started=True), installed("debugpy"), None)
    assert isinstance(now, Lead)
    assert isinstance(decide("debugpy", session=SESSION, START_DEBUGGER="breakpoint"), Join)
    slot = SESSION.replace(debugger="pydevd-pycharm", mode="connect")
    assert isinstance(decide("pydevd-pycharm", session=slot, START_DEBUGGER="breakpoint"), Arm)
    assert isinstance(decide("pydevd-pycharm", session=slot), Skip)
    assert isinstance(decide(START_DEBUGGER="exception"), Skip)
    assert isinstance(decide("debugpy", session=SESSION, START_DEBUGGER="exception", DEBUGGER_SUBPROCESS="0"), Skip)
