"""A bundle in real roots: another system's own Python, as it is in a container, with nothing of ours installed.

Debian's, made by debootstrap, entered in its own pid, mount and network namespaces: the program is pid 1 of a user that
has no name and no home, and nothing can be written anywhere. The IDE comes over the network.

`AUTOATTACH_TEST_ROOTS` names a folder in which the roots are kept from one run to the next.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import LIMIT, Program, environment, line_of, write

from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server

TOOLS = ("debootstrap", "unshare", "chroot", "ip", "mount")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs root on Linux"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]

# Each with its Python: 3.11 with glibc 2.36; 3.9 with glibc 2.31, for which debugpy has nothing compiled, and 2.7
SUITES = {"bookworm": "python3", "bullseye": "python3,python2.7"}
USER = 54321

ENTER = """
    set -e
    root=$1 bundle=$2 app=$3
    shift 3
    mount --make-rprivate /
    for pair in "$root:" "$bundle:/mnt" "$app:/srv"; do
        mount --bind "${pair%%:*}" "$root${pair##*:}"
    done
    mount -t proc proc "$root/proc"
    for place in /mnt /srv ""; do
        mount -o remount,bind,ro "$root$place"
    done
    exec chroot --userspec=%d:%d "$root" /usr/bin/env -i PATH=/usr/bin PYTHONPATH=/mnt "$@"
"""

APP = """
    import os, sys, threading

    def work(n):
        total = n * 2
        return total

    def writable():
        try:
            open("/tmp/file", "w").close()
        except OSError:
            return False
        return True

    print("work", work(4), "pid", os.getpid(), "writable", writable(), "python", sys.version_info[:2])
"""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The root of a suite, made when it is asked for first."""
    kept = os.environ.get("AUTOATTACH_TEST_ROOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("roots")

    def root(suite: str) -> Path:
        path = folder / suite
        if not (path / "done").exists():
            shutil.rmtree(path, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={SUITES[suite]}", suite, str(path)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=800, stdin=subprocess.DEVNULL)
            except subprocess.TimeoutExpired:
                pytest.skip(f"debootstrap {suite} takes too long here")
            if done.returncode:
                pytest.skip(f"debootstrap {suite} does not work here: {(done.stdout + done.stderr).strip()[-200:]}")
            (path / "done").touch()
        return path

    return root


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A real bundle, from the package index, made when it is asked for first."""
    folder = tmp_path_factory.mktemp("bundles")

    def bundle(*arguments: str) -> Path:
        path = folder / "-".join(arguments).replace(",", "-")
        if not path.exists():
            done = subprocess.run(
                [sys.executable, "-m", "autoattach", "bundle", str(path), *arguments],
                env=environment(),
                capture_output=True,
                text=True,
                timeout=600,
            )
            if "cannot be reached" in done.stderr:
                pytest.skip(done.stderr.strip())
            assert done.returncode == 0, done.stderr
        return path

    return bundle


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[str, str, str]]:
    """A network namespace: its name, the address in there, and that of this side."""
    number = os.getpid()
    name, this, that = f"autoattach-{number}", f"aa{number}h", f"aa{number}c"
    net = f"198.18.{number >> 6 & 255}.{{}}"  # for measuring: nobody's
    here, there = net.format((number & 63) * 4 + 1), net.format((number & 63) * 4 + 2)

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=LIMIT)

    try:
        try:
            ip("netns", "add", name)
            ip("link", "add", this, "type", "veth", "peer", "name", that, "netns", name)
            ip("addr", "add", f"{here}/30", "dev", this)
            ip("link", "set", this, "up")
            ip("-n", name, "addr", "add", f"{there}/30", "dev", that)
            ip("-n", name, "link", "set", that, "up")
            ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield name, there, here
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def enter(tmp_path: Path, network: tuple[str, str, str]) -> Iterator[Callable[..., Program]]:
    """Run a command in a root, with a bundle at /mnt and `APP` in /srv/app.py."""
    script = write(tmp_path, "enter.sh", ENTER % (USER, USER))
    app = write(tmp_path, "app/app.py", APP).parent
    app.chmod(0o755)
    programs = []

    def start(root: Path, bundle: Path, *words: str, **env: object) -> Program:
        assigned = [f"{name}={value}" for name, value in env.items()]
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = ["netns", "exec", network[0], *namespaces, "sh", script, root, bundle, app, *assigned, *words]
        program = Program(tmp_path, *command, python=shutil.which("ip"))
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.close()


@pytest.mark.parametrize(
    ("suite", "version", "library"),
    [("bookworm", (3, 11), "cp311-manylinux_2_34_x86_64/"), ("bullseye", (3, 9), "-any/")],
)
def test_a_container_stops_at_the_breakpoint(
    suite: str,
    version: tuple[int, int],
    library: str,
    roots: Any,
    bundles: Any,
    network: Any,
    enter: Any,
    tmp_path: Path,
) -> None:
    """As pid 1 of a user without a name, with nothing to write to: attached over the network; compiled where it fits."""
    bundle = bundles("--python", "3.9,3.11")
    program = enter(roots(suite), bundle, "python3", "/srv/app.py", START_DEBUGGER=1, DEBUGGER_HOST="0.0.0.0")
    program.wait_for("waiting")
    with Client.connect(network[1], 9000) as client:
        client.attach({"/srv/app.py": [line_of(tmp_path / "app/app.py", "return total")]})
        thread = client.wait_stopped(LIMIT)
        frame = client.stack(thread)[0]["id"]
        assert client.locals(frame)["total"] == "8"
        where = client.evaluate("__import__('debugpy').__file__", frame)
        if os.uname().machine == "x86_64":
            assert library in where
        assert where.startswith("'/mnt/autoattach-bundle/debugpy-")
        assert client.evaluate("os.getuid()", frame) == str(USER)
        client.continue_(thread)
        assert program.wait() == 0, program.dump()
    assert program.stdout == f"work 8 pid 1 writable False python {version}\n"
    assert program.others == ""
    assert [line for line in program.ours if not line.startswith(("waiting", "warning"))] == []


def test_a_container_goes_to_pycharm(roots: Any, bundles: Any, network: Any, enter: Any, tmp_path: Path) -> None:
    """pydevd-pycharm of the bundle, as pure Python, connects to PyCharm on another machine and stops there."""
    bundle = bundles("--ide", "pycharm", "--python", "3.9,3.11")
    with Server(network[2]) as server:
        program = enter(
            roots("bookworm"), bundle, "python3", "/srv/app.py",
            START_DEBUGGER=1, DEBUGGER_HOST=network[2], DEBUGGER_PORT=server.port,
        )  # fmt: skip
        with server.accept(LIMIT) as session:
            session.start({"/srv/app.py": [line_of(tmp_path / "app/app.py", "return total")]})
            session.wait_stopped()
            assert session.locals()["total"] == "8"
            session.resume()
            assert program.wait() == 0, program.dump()
    assert program.others == ""


def test_sigterm_in_the_wait_ends_pid_1_at_once(roots: Any, bundles: Any, enter: Any) -> None:
    """What `docker stop` sends ends the program that waits, though it is pid 1: no ten seconds, no SIGKILL."""
    program = enter(
        roots("bookworm"),
        bundles("--python", "3.9,3.11"),
        "python3",
        "/srv/app.py",
        START_DEBUGGER=1,
        DEBUGGER_WAIT="forever",
    )
    program.wait_for("waiting")
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    start = time.monotonic()
    os.kill(int(children[0]), signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM, program.dump()
    assert time.monotonic() - start < 9, "docker would have killed it"
    assert program.stdout == ""
    assert program.others == ""


def test_not_held_it_runs_and_ends_as_ever(roots: Any, bundles: Any, enter: Any) -> None:
    """DEBUGGER_WAIT=0, every convenience asked for: the program runs to its end, with its own status."""
    program = enter(
        roots("bullseye"), bundles("--python", "3.9,3.11"), "python3", "-c", "import sys; print('ran'); sys.exit(3)",
        START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_LOG="/tmp/logs", DEBUGGER_VERBOSE=1,
    )  # fmt: skip
    assert (program.wait(), program.stdout) == (3, "ran\n"), program.dump()
    assert program.others == ""


@pytest.mark.parametrize("on", ["1", "0"])
def test_what_it_does_not_serve_runs(on: str, roots: Any, bundles: Any, enter: Any) -> None:
    """Python 2.7, and a version that was not asked for: one line where it is on, nothing where it is off."""
    for suite, python, code in (("bullseye", "python2.7", "print('ran')"), ("bookworm", "python3", "print('ran')")):
        program = enter(roots(suite), bundles("--python", "3.8"), python, "-c", code, START_DEBUGGER=on)
        assert (program.wait(), program.stdout) == (0, "ran\n"), program.dump()
        assert len(program.ours) == int(on), program.dump()
        assert program.others == ""


def test_the_commands_work_in_there(roots: Any, bundles: Any, enter: Any) -> None:
    """`python -m autoattach` doctor, ps and run, START_DEBUGGER unset; demo, which needs a place to write, says so."""
    root, bundle = roots("bookworm"), bundles("--python", "3.9,3.11")
    program = enter(root, bundle, "python3", "-m", "autoattach", "doctor")
    program.wait()
    assert program.stdout.startswith("It would attach: debugpy listens at 127.0.0.1:9000"), program.dump()
    assert enter(root, bundle, "python3", "-m", "autoattach", "ps").wait() == 0
    program = enter(root, bundle, "python3", "-m", "autoattach", "run", "--wait", "0", "/srv/app.py")
    assert program.wait() == 0, program.dump()
    assert "VS Code can attach" in program.stderr
    program = enter(root, bundle, "python3", "-m", "autoattach", "demo")
    assert program.wait() == 1
    assert program.stderr.startswith("autoattach demo: there is no place for the demo's program"), program.dump()


def test_off_nothing_of_it_is_read(roots: Any, bundles: Any, enter: Any) -> None:
    """START_DEBUGGER unset: no module of ours, and of the bundle's files none but sitecustomize.py is open or loaded."""
    code = "import sys; print([n for n, m in sys.modules.items() if '/mnt' in str(getattr(m, '__file__', ''))])"
    program = enter(roots("bullseye"), bundles("--python", "3.9,3.11"), "python3", "-c", code)
    assert program.wait() == 0, program.dump()
    assert program.stdout in ("[]\n", "['sitecustomize']\n")
    assert program.stderr == ""
