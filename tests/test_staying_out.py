"""Where we stay out, and what switches us off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from support import LIMIT, Program, environment, needs, wait_until, write

Run = Callable[..., Program]
PROBE = "import sys; print(sorted(m for m in sys.modules if m.partition('.')[0] == 'autoattach'))"

pytestmark = needs("debugpy")


def expect_silence(program: Program, stdout: str | None = None) -> None:
    assert program.wait() == 0, program.dump()
    assert program.stderr == ""
    if stdout is not None:
        assert program.stdout == stdout


def test_off_imports_nothing(run: Run) -> None:
    """Unset, or empty, nothing of ours is imported."""
    expect_silence(run("-c", PROBE, START_DEBUGGER=None), "[]\n")
    expect_silence(run("-c", PROBE, START_DEBUGGER=""), "[]\n")


@pytest.mark.parametrize("option", ["-I", "-E", "-S", "-IS"])
def test_isolated(run: Run, option: str) -> None:
    """Stay out under -I, -E and -S."""
    expect_silence(run(option, "-c", "print(1)"), "1\n")


def test_disabled_file(tmp_path: Path) -> None:
    """A file `autoattach.disabled` in sys.prefix switches it off, whatever the environment says."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=LIMIT, env=environment())
    site = next(venv.glob("lib/python*/site-packages")) if os.name != "nt" else venv / "Lib" / "site-packages"
    here = Path(
        subprocess.check_output(
            [sys.executable, "-c", "import autoattach; print(autoattach.__file__)"], cwd=tmp_path, text=True
        ).strip()
    )
    site.joinpath("paths.pth").write_text(
        f"{here.parents[1]}\nimport autoattach._bootstrap; autoattach._bootstrap.run()\n"
    )
    python = str(next(venv.glob("bin/python")))
    env: dict[str, Any] = {
        "START_DEBUGGER": 1,
        "DEBUGGER_IDE": "debugpy",
        "DEBUGGER_PORT": "nonsense",
        "python": python,
    }
    with Program(tmp_path, "-c", "print(1)", **env) as program:
        assert program.wait() == 0
        assert "nonsense" in program.stderr
    (venv / "autoattach.disabled").touch()
    with Program(tmp_path, "-c", "print(1)", DEBUGGER_STRICT=1, **env) as program:
        expect_silence(program, "1\n")
    with Program(tmp_path, "-c", "print(1)", DEBUGGER_VERBOSE=1, **env) as program:
        assert program.wait() == 0
        assert "autoattach.disabled switches it off" in program.ours[0]


@pytest.mark.skipif(not hasattr(os, "setresuid") or os.getuid() != 0, reason="needs root")
def test_another_users_rights(run: Run) -> None:
    """Stay out where uid and effective uid differ, as under setuid."""
    code = "import os; os.setresuid(65534, 0, 0); import autoattach._bootstrap as b; b._ran = False;"
    code += " os.environ['START_DEBUGGER'] = '1'; b.run(); print(1)"
    expect_silence(run("-c", code, START_DEBUGGER=None), "1\n")


def test_sub_interpreter(run: Run) -> None:
    """Stay out of a sub-interpreter, whose `site` runs our line too."""
    code = """
try:
    import _interpreters as i
except ImportError:
    import _xxsubinterpreters as i
id = i.create()
i.run_string(id, "import autoattach._bootstrap as b; b.run(); print('sub', b._ran)")
i.destroy(id)
"""
    program = run("-c", code, DEBUGGER_WAIT=0)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "sub True\n"
    assert len(program.ours) == 1


@pytest.mark.parametrize(
    "setup",
    [
        "import pydevd",
        "import debugpy",
        "import bdb; d = bdb.Bdb(); d.set_trace()",
        "import sys; sys.monitoring.use_tool_id(0, 'x')",
    ],
)
def test_already_debugged(run: Run, setup: str, tmp_path: Path) -> None:
    """Stay out where a debugger is already at work."""
    if "monitoring" in setup and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring came with 3.12")
    if setup == "import pydevd":
        write(tmp_path, "pydevd.py", "")
    code = f"import os\n{setup}\nimport autoattach._bootstrap as b\nb._ran = False\nos.environ['START_DEBUGGER'] = '1'\nb.run()\nimport sys; sys.settrace(None)\nprint(1)"
    expect_silence(run("-c", code, START_DEBUGGER=None, PYDEVD_DISABLE_FILE_VALIDATION=1), "1\n")


def test_under_debugpy(run: Run, tmp_path: Path, port: int) -> None:
    """`python -m debugpy` debugs it already: nothing of ours, no second adapter, no fork bomb."""
    write(tmp_path, "app.py", "print(1)\n")
    expect_silence(run("-m", "debugpy", "--listen", str(port), "app.py", PYDEVD_DISABLE_FILE_VALIDATION=1), "1\n")
    expect_silence(
        run(
            "-c",
            "import debugpy, sys; debugpy.listen(0); print(1)",
            DEBUGGER_SKIP="-c",
            PYDEVD_DISABLE_FILE_VALIDATION=1,
        ),
        "1\n",
    )


def test_once_per_process(run: Run) -> None:
    """The hook runs once although `site` runs a .pth line twice in a virtual environment, and whatever calls it again."""
    program = run("-c", "import autoattach._bootstrap as b; b.run(); b.run()", DEBUGGER_WAIT=0)
    assert program.wait() == 0
    assert len(program.ours) == 1


def test_audit_event(run: Run, tmp_path: Path) -> None:
    """Each attach raises an audit event, before anything is done."""
    write(
        tmp_path,
        "sitecustomize.py",
        "import sys\nsys.addaudithook(lambda event, args: event.startswith('autoattach') and print(event, args))\n",
    )
    code = "import os, autoattach._bootstrap as b; b._ran = False; os.environ['START_DEBUGGER'] = '1'; b.run()"
    program = run("-c", code, START_DEBUGGER=None, DEBUGGER_WAIT=0, PYTHONPATH=tmp_path, DEBUGGER_PORT=0)
    assert program.wait() == 0
    assert program.stdout == "autoattach.attach ('debugpy', 'listen', '127.0.0.1', (0, 0))\n"


def test_only_and_skip(run: Run) -> None:
    """DEBUGGER_ONLY and DEBUGGER_SKIP match the command line as the user typed it."""
    for variables, attaches in (
        ({"DEBUGGER_ONLY": "*celery*, other.py"}, False),
        ({"DEBUGGER_ONLY": "*print(1)*"}, True),
        ({"DEBUGGER_SKIP": "*print(?)*"}, False),
        ({"DEBUGGER_SKIP": "*print(2)*"}, True),
        ({"DEBUGGER_SKIP": "-c", "DEBUGGER_ONLY": "-c"}, False),
    ):
        program = run("-c", "print(1)", DEBUGGER_WAIT=0, **variables)
        assert program.wait() == 0
        assert bool(program.ours) == attaches, variables


def test_pip_is_left_alone(run: Run, tmp_path: Path) -> None:
    """Tools that run Pythons are left alone, in silence, unless DEBUGGER_ONLY names them."""
    write(tmp_path, "pip.py", "print(1)\n")
    expect_silence(run("-m", "pip", DEBUGGER_PORT="nonsense"), "1\n")
    assert run("-m", "pip", DEBUGGER_PORT="nonsense", DEBUGGER_STRICT=1, DEBUGGER_ONLY="pip").wait() == 1


@pytest.mark.parametrize("name", ["_ARGCOMPLETE", "_FLASK_COMPLETE", "PIP_AUTO_COMPLETE", "DJANGO_AUTO_COMPLETE"])
def test_completion_is_left_alone(run: Run, name: str) -> None:
    """A shell that asks a program for a completion is neither held nor told anything; DEBUGGER_ONLY attaches to it."""
    asked = {name: "1", "COMP_WORDS": "app ru", "COMP_CWORD": "1"}
    expect_silence(run("-c", "print(1)", **asked), "1\n")
    named = run("-c", "print(1)", DEBUGGER_ONLY="-c", DEBUGGER_WAIT=0, **asked)
    assert named.wait() == 0
    assert named.ours


def test_a_setting_is_no_completion(run: Run) -> None:
    """A user's own setting with such a name, and no shell that asks, keeps nobody out."""
    program = run("-c", "print(1)", EDITOR_AUTO_COMPLETE=1, DEBUGGER_WAIT=0)
    assert program.wait() == 0
    assert program.ours


def test_verbose(run: Run) -> None:
    """DEBUGGER_VERBOSE=1: one line for every decision, skips included."""
    program = run("-c", "print(1)", DEBUGGER_VERBOSE=1, DEBUGGER_SKIP="-c")
    assert program.wait() == 0
    assert program.ours == ["not attached: DEBUGGER_SKIP: -c"]


def test_warning_about_other_addresses(run: Run) -> None:
    """A non-loopback address is honoured, with one warning line."""
    program = run("-c", "print(1)", DEBUGGER_HOST="0.0.0.0", DEBUGGER_WAIT=0)
    assert program.wait() == 0
    assert "warning" in program.ours[0]
    assert "0.0.0.0" in program.ours[1]


def test_ipv6(run: Run, tmp_path: Path, port: int) -> None:
    """`::1` works as any address."""
    import socket

    from autoattach.cli._dap import Client

    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    path = write(tmp_path, "app.py", "a = 1\nb = 2\n")
    for host in ("::1", "[::1]", "localhost"):
        program = run("app.py", DEBUGGER_HOST=host, DEBUGGER_WAIT=60)
        program.wait_for("waiting")
        with Client.connect("::1" if "::" in host else "127.0.0.1", port, LIMIT) as client:
            client.attach(breakpoints={str(path): [2]})
            client.continue_(client.wait_stopped())
            assert program.wait() == 0
        wait_until(lambda: port_is_free(port), "free port")


def port_is_free(port: int) -> bool:
    from support import listeners

    return not listeners(port)


@pytest.mark.skipif(shutil.which("unshare") is None or os.getuid() != 0, reason="needs root and unshare")
@pytest.mark.parametrize("number", [2, 15])
def test_signals_as_pid_1(run: Run, tmp_path: Path, number: int, port: int) -> None:
    """Ctrl-C and SIGTERM end a hold also as process 1, where the default action of both is to do nothing."""
    write(tmp_path, "app.py", "print(1)\n")
    try:
        subprocess.run(["unshare", "--pid", "--fork", "true"], check=True, timeout=LIMIT, stderr=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        pytest.skip("this container may not make a namespace")
    program = run(
        "--pid", "--fork", "--kill-child", sys.executable, "app.py", python=shutil.which("unshare"), DEBUGGER_WAIT=60
    )
    program.wait_for("autoattach[1]: waiting")
    child = int(Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text())
    os.kill(child, number)
    assert program.wait() == 128 + number
    assert program.others == ""
    assert program.stdout == ""
