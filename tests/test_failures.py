"""What can go wrong: one line on stderr with what to type next; the program runs on, status and stdout its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from support import LIMIT, Program, free_port, has, needs, write

Run = Callable[..., Program]

APP = """
    import sys
    print("ran", sys.argv[1:])
    sys.exit(7)
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write(tmp_path, "app.py", APP)


def expect(program: Program, *texts: str) -> str:
    """The one line of ours; the program has run, with its own output and status."""
    assert program.wait() == 7, program.dump()
    assert program.stdout == "ran ['x']\n"
    assert program.others == ""
    assert len(program.ours) == 1, program.dump()
    for text in texts:
        assert text in program.ours[0]
    return program.ours[0]


BAD_VALUES = [
    ({"DEBUGGER_IDE": "emacs"}, "DEBUGGER_IDE='emacs'", "vscode"),
    ({"DEBUGGER_MODE": "reverse"}, "DEBUGGER_MODE='reverse'", "listen or connect"),
    ({"DEBUGGER_PORT": "http"}, "DEBUGGER_PORT='http'", "65535"),
    ({"DEBUGGER_PORT": "-1"}, "DEBUGGER_PORT='-1'", "65535"),
    ({"DEBUGGER_PORT": "65536"}, "DEBUGGER_PORT='65536'", "65535"),
    ({"DEBUGGER_PORT": "9010-9000"}, "DEBUGGER_PORT='9010-9000'", "9000-9010"),
    ({"DEBUGGER_PORT": "9000-"}, "DEBUGGER_PORT='9000-'", "9000-9010"),
    ({"DEBUGGER_PORT": "__import__('os')._exit(3)"}, "DEBUGGER_PORT", "65535"),
    ({"DEBUGGER_WAIT": "soon"}, "DEBUGGER_WAIT='soon'", "forever"),
    ({"DEBUGGER_WAIT": "-1"}, "DEBUGGER_WAIT='-1'", "forever"),
    ({"DEBUGGER_WAIT": "nan"}, "DEBUGGER_WAIT='nan'", "forever"),
    ({"DEBUGGER_PATH_MAPPINGS": "/a"}, "DEBUGGER_PATH_MAPPINGS='/a'", "LOCAL=REMOTE"),
    ({"DEBUGGER_HOST": "no host"}, "DEBUGGER_HOST='no host'", "127.0.0.1"),
]


@pytest.mark.parametrize(("variables", "names", "advice"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_bad_values(run: Run, app: Path, variables: dict[str, str], names: str, advice: str) -> None:
    """A bad value: the line names the variable, the value, and what is allowed."""
    expect(run(app, "x", **variables), names, advice, "running on without a debugger")


def test_bad_value_strict(run: Run, app: Path) -> None:
    """DEBUGGER_STRICT=1: status 1 and the same line, no traceback, and the program does not run."""
    program = run(app, "x", DEBUGGER_PORT="http", DEBUGGER_STRICT=1)
    assert program.wait() == 1
    assert program.stdout == ""
    assert program.others == ""
    assert len(program.ours) == 1
    assert "DEBUGGER_PORT='http'" in program.ours[0]


@needs("debugpy")
@pytest.mark.parametrize("ports", ["9000-9010", "0"])
def test_ports_for_connecting(run: Run, app: Path, ports: str) -> None:
    """A range, or 0, is nothing to connect to."""
    expect(
        run(app, "x", DEBUGGER_MODE="connect", DEBUGGER_IDE="debugpy", DEBUGGER_PORT=ports),
        "DEBUGGER_PORT",
        "the one on which",
    )


@pytest.mark.skipif(not has("pydevd-pycharm"), reason="pydevd-pycharm is not there")
def test_a_mode_that_it_has_not(run: Run, app: Path) -> None:
    """A mode that the debugger has not is named."""
    expect(run(app, "x", DEBUGGER_IDE="pycharm", DEBUGGER_MODE="listen"), "DEBUGGER_MODE='listen'", "connect")


@needs("debugpy")
def test_port_taken(run: Run, app: Path, port: int) -> None:
    """A port taken by another program: the line names the program."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        start = time.monotonic()
        line = expect(run(app, "x", DEBUGGER_WAIT=60), f"port 127.0.0.1:{port} is taken", "DEBUGGER_PORT")
        assert time.monotonic() - start < 30
        if sys.platform == "linux":
            assert f"pid {os.getpid()}" in line


@needs("debugpy")
def test_port_that_is_let_go(run: Run, app: Path, port: int) -> None:
    """A port that is let go a moment later is had."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        program = run(app, "x", DEBUGGER_WAIT=0)
        time.sleep(1)
    expect(program, "at any time")


@needs("debugpy")
def test_range(run: Run, app: Path) -> None:
    """Of a range the first free port is taken, and said; of a range that is taken throughout the line says so."""
    with socket.socket() as sock:
        port = free_port()
        sock.bind(("127.0.0.1", port))
        sock.listen()
        line = expect(run(app, "x", DEBUGGER_PORT=f"{port}-{port + 20}", DEBUGGER_WAIT=0), "at any time")
        assert f":{port} " not in line
        expect(run(app, "x", DEBUGGER_PORT=f"{port}-{port}", DEBUGGER_WAIT=0), "taken")
    expect(run(app, "x", DEBUGGER_PORT="0", DEBUGGER_WAIT=0), "at 127.0.0.1:")


@needs("debugpy")
@pytest.mark.parametrize("name", ["no-such-host.invalid", "300.1.1.1"])
@pytest.mark.parametrize("mode", ["listen", "connect"])
def test_host_unknown(run: Run, app: Path, name: str, mode: str) -> None:
    """A bad host name is named."""
    expect(
        run(app, "x", DEBUGGER_HOST=name, DEBUGGER_IDE="debugpy", DEBUGGER_MODE=mode, DEBUGGER_WAIT=0),
        name,
        "DEBUGGER_HOST",
    )


@needs("debugpy")
def test_address_of_another_machine(run: Run, app: Path) -> None:
    """An address that this machine has not cannot be listened on."""
    program = run(app, "x", DEBUGGER_HOST="203.0.113.1", DEBUGGER_IDE="debugpy", DEBUGGER_WAIT=0)
    expect(program, "cannot listen on 203.0.113.1", "DEBUGGER_HOST")


@needs("debugpy")
@pytest.mark.parametrize("seconds", [0, 2])
def test_nobody_listens(run: Run, app: Path, port: int, seconds: int) -> None:
    """Connecting to where nobody listens: bounded, and with DEBUGGER_STRICT=1 a failure."""
    keywords: dict[str, Any] = {"DEBUGGER_IDE": "debugpy", "DEBUGGER_MODE": "connect", "DEBUGGER_WAIT": seconds}
    start = time.monotonic()
    program = run(app, "x", **keywords)
    assert program.wait() == 7
    assert seconds - 0.5 <= time.monotonic() - start < seconds + 15
    assert program.stdout == "ran ['x']\n"
    assert "nobody listens" in program.ours[-1]
    assert len(program.ours) == (2 if seconds else 1)  # held: first that it waits
    assert run(app, "x", DEBUGGER_STRICT=1, **keywords).wait() == 1


@needs("debugpy")
@pytest.mark.parametrize("behaves", ["mute", "closes", "http", "half"])
@pytest.mark.parametrize("seconds", [0, 3])
def test_peers_that_are_no_ide(run: Run, app: Path, behaves: str, seconds: int) -> None:
    """A peer that accepts and never speaks, accepts and closes, or speaks something else: bounded, one line, and the
    program runs on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.settimeout(0.1)
        start = time.monotonic()
        program = run(
            app,
            "x",
            DEBUGGER_IDE="debugpy",
            DEBUGGER_MODE="connect",
            DEBUGGER_WAIT=seconds,
            DEBUGGER_PORT=sock.getsockname()[1],
        )
        kept = []
        while program.process.poll() is None and time.monotonic() < start + LIMIT:
            try:
                peer, _ = sock.accept()
            except OSError:
                continue
            if behaves == "http":
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            if behaves == "half":
                peer.sendall(b"Content-Length: 9000\r\n\r\n{")
            kept.append(peer)
            if behaves == "closes":
                peer.close()
        for peer in kept:
            peer.close()
    assert program.wait() == 7
    assert time.monotonic() - start < seconds + 5 + 5  # the second 5: a busy machine starts the interpreter
    assert program.stdout == "ran ['x']\n"
    assert program.others == ""
    assert program.ours
    assert "running on" in program.ours[-1] or "runs on" in program.ours[-1]


def fake(folder: Path, name: str, code: str) -> dict[str, str]:
    """A debugger of this name that does what `code` says when it is imported; first on the path."""
    write(folder, f"fake/{name}/__init__.py", code)
    return {"PYTHONPATH": str(folder / "fake")}


@pytest.mark.parametrize(
    "code", ["raise RuntimeError('broken')", "raise SystemExit(3)", "import sys; sys.exit('no')", "1/0"]
)
def test_a_debugger_that_breaks(run: Run, app: Path, port: int, tmp_path: Path, code: str) -> None:
    """A debugger that raises, or raises SystemExit, on import."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        program = run(app, "x", DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=30, **fake(tmp_path, "pydevd_pycharm", code))
        sock.settimeout(LIMIT)
        peer, _ = sock.accept()
        peer.sendall(b"501\t1\t0.1\tUNIX\tID\n")
        expect(program, "pydevd-pycharm")
        peer.close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="ptvsd works on this Python")
def test_a_python_it_does_not_support(run: Run, app: Path, tmp_path: Path) -> None:
    """ptvsd on Python 3.13 and later: one line that says so and names debugpy."""
    expect(
        run(app, "x", DEBUGGER_IDE="ptvsd", **fake(tmp_path, "ptvsd", "1/0")), "ptvsd", "3.13", "debugpy", "pip install"
    )


def with_only(folder: Path, *packages: str) -> tuple[list[str], dict[str, Any]]:
    """Arguments for a Python in whose site-packages nothing is but our package and these."""
    site = folder / "site"
    site.mkdir()
    for name in ("autoattach", *packages):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        os.symlink(os.path.dirname(spec.origin), site / name)
    code = f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [{str(site)!r}]; "
    code += "import autoattach._bootstrap as b; b.run(); print('ran', ['x']); sys.exit(7)"
    return ["-S", "-c", code], {"python": getattr(sys, "_base_executable", sys.executable)}


def test_no_debugger(run: Run, tmp_path: Path) -> None:
    """None installed: the line says what to install. A named one that is missing likewise."""
    arguments, bare = with_only(tmp_path)
    expect(run(*arguments, DEBUGGER_IDE=None, **bare), "no debugger is installed", "pip install autoattach[vscode]")
    for name, extra in (
        ("debugpy", "vscode"),
        ("ptvsd", "ptvsd"),
        ("pydevd-pycharm", "pycharm"),
        ("vscode", "vscode"),
        ("pycharm", "pycharm"),
    ):
        missing = f"DEBUGGER_IDE={name}", f"pip install autoattach[{extra}]"
        expect(run(*arguments, DEBUGGER_IDE=name, **bare), *missing)


@needs("debugpy")
def test_pycharm_with_debugpy_alone(run: Run, tmp_path: Path) -> None:
    """For PyCharm where only debugpy is installed, the line names what in PyCharm can attach to that."""
    arguments, bare = with_only(tmp_path, "debugpy")
    expect(run(*arguments, DEBUGGER_IDE="pycharm", DEBUGGER_WAIT=0, **bare), "Attach to DAP", "debugpy")


@pytest.mark.parametrize("value", ["0", "false", "No", "OFF", " off ", None])
def test_off_is_silent(run: Run, app: Path, value: str | None) -> None:
    """START_DEBUGGER=0 and its kin, and an unset one: nothing is said, whatever the other variables are."""
    program = run(app, "x", START_DEBUGGER=value, DEBUGGER_PORT="nonsense", DEBUGGER_STRICT=1, DEBUGGER_VERBOSE=1)
    assert program.wait() == 7
    assert program.stderr == ""


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_stderr_that_is_not_there(app: Path, tmp_path: Path, redirect: str) -> None:
    """A closed or full stderr breaks nothing."""
    program = Program(
        tmp_path,
        "-c",
        f"exec {sys.executable} {app} x {redirect}",
        python="/bin/sh",
        START_DEBUGGER=1,
        DEBUGGER_PORT="nonsense",
    )
    with program:
        assert program.wait() == 7
        assert program.stdout == "ran ['x']\n"


@needs("debugpy")
@pytest.mark.skipif(shutil.which("setpriv") is None or os.getuid() != 0, reason="needs root, and setpriv to give it up")
def test_a_port_without_the_right(run: Run, app: Path) -> None:
    """A port below 1024 without the right: the line says so."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as limit:
        if int(limit.read()) <= 81:
            pytest.skip("every port is free to all here")
    without = ["--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service", sys.executable]
    program = run(
        *without, app, "x", python=shutil.which("setpriv"), DEBUGGER_PORT=81, DEBUGGER_IDE="debugpy", DEBUGGER_WAIT=0
    )
    expect(program, "cannot listen", "1024")


@needs("debugpy")
def test_one_line_for_a_tree(run: Run, tmp_path: Path, port: int) -> None:
    """Where the first process of a tree could not attach, its children neither try, hold nor say it again."""
    write(
        tmp_path,
        "tree.py",
        "import subprocess, sys\nfor _ in range(3): subprocess.run([sys.executable, '-c', 'print(1)'], check=True)\n",
    )
    start = time.monotonic()
    program = run("tree.py", DEBUGGER_MODE="connect", DEBUGGER_WAIT=2)
    assert program.wait() == 0
    assert time.monotonic() - start < 12
    assert program.stdout == "1\n1\n1\n"
    assert len(program.ours) == 2
    program = run("tree.py", DEBUGGER_PORT="nonsense")
    assert program.wait() == 0
    assert len(program.ours) == 1
