"""Real programs in real processes, with a time limit each, killed by their own pid, leaving nothing behind."""

from __future__ import annotations

import collections
import importlib.util
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Callable, ClassVar

import pytest

LIMIT = float(os.environ.get("AUTOATTACH_TEST_LIMIT", "60"))
"""Seconds that any one wait may take: long, for the machine may be busy; what is quick ends early."""

PACE = Path(__file__).with_name("pace.py").read_text()
"""For the folder of a program that measures its own speed."""
SLOWER = 1.7
"""A pace that has become so many times slower is that of a program that is still traced: 2 to 200 times slower. That of
one that is not changes by a third at most, on a busy machine and with where its memory happens to lie."""

DEBUGGERS = {"debugpy": "debugpy", "ptvsd": "ptvsd", "pydevd-pycharm": "pydevd_pycharm"}


def has(debugger: str) -> bool:
    """Whether a debugger is installed here, and can work on this Python."""
    if debugger == "ptvsd" and sys.version_info >= (3, 13):
        return False
    return importlib.util.find_spec(DEBUGGERS[debugger]) is not None


def needs(debugger: str) -> Any:
    """A mark: skip where the debugger is not there."""
    return pytest.mark.skipif(not has(debugger), reason=f"{debugger} is not there, or cannot work on this Python")


# Below those that systems give to outgoing connections, and other ones for each of pytest-xdist's workers: a port that is
# free as a test chooses it is not taken by another before its program listens.
_ports = itertools.count(random.randrange(1800))
# Another run of the tests on this machine chooses from the same ones: who has the number for UDP has the port.
_claims: collections.deque[socket.socket] = collections.deque()


def free_port() -> int:
    """A port that nobody listens on now, and that no other run of the tests is given for a while."""
    first = 12000 + 2000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10)
    for number in _ports:
        address = "127.0.0.1", first + number % 1800
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as sock:
            try:
                sock.bind(address)
                claim.bind(address)
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        if len(_claims) > 64:
            _claims.popleft().close()
        return address[1]
    raise AssertionError


def environment(**variables: object) -> dict[str, str]:
    """This process's environment without what steers Python, a debugger or an IDE; then the variables given."""
    foreign = re.compile(
        r"START_DEBUGGER|AUTOATTACH_|DEBUGGER_|DEBUGPY_|PYDEVD_|VSCODE_|PYCHARM|PYTHON|COVERAGE_|TERM|NO_COLOR"
    )
    env = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):  # a measured run measures these processes too
        if name in os.environ:
            env[name] = os.environ[name]
    env.update({name: str(value) for name, value in variables.items() if value is not None})
    return env


class Program:
    """A process that is run for a test. Its output goes to files, so that it never blocks on a pipe."""

    started: ClassVar[list[Program]] = []
    """Those of this test: where it fails, it shows what each has written (conftest.py)."""

    def __init__(
        self, folder: Path, *arguments: object, stdin: str | None = None, python: str | None = None, **env: object
    ):
        """`env` goes into the environment. Without START_DEBUGGER in it the program runs without us."""
        self.folder = folder
        self._out = folder / f"out-{time.monotonic_ns()}.txt"
        self._err = folder / f"err-{time.monotonic_ns()}.txt"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [python or sys.executable, *map(str, arguments)],
                cwd=folder,
                env=environment(**{"TMPDIR": folder, **env}),
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.started.append(self)
        if stdin is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(stdin.encode())
            self.process.stdin.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def ours(self) -> list[str]:
        """Our lines on stderr, without their `autoattach[PID]: `."""
        return [line.partition("]: ")[2] for line in self.stderr.splitlines() if line.startswith("autoattach[")]

    @property
    def others(self) -> str:
        """What is on stderr and not ours."""
        return "".join(line for line in self.stderr.splitlines(True) if not line.startswith("autoattach["))

    def wait(self, timeout: float = LIMIT) -> int:
        """The exit status; the whole output in the failure when it does not end."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s\n{self.dump()}") from None

    def wait_for(self, text: str, stream: str = "stderr", timeout: float = LIMIT, alive: bool = True) -> None:
        """Until the text stands in the output; with `alive`, at the latest until the program has ended."""
        try:
            wait_until(lambda: text in getattr(self, stream), f"{text!r} on {stream}", timeout, self if alive else None)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.dump()}") from None

    def dump(self) -> str:
        """All that a user would see."""
        return f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        """Kill it and whatever of its session is left, by their ids, and reap it."""
        if hasattr(os, "killpg"):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.kill()
        self.process.wait(LIMIT)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_until(condition: Callable[[], Any], what: str, timeout: float = LIMIT, program: Program | None = None) -> Any:
    """The first true value of the condition."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end or (program is not None and program.process.poll() is not None and not condition()):
            raise AssertionError(f"no {what}")
        time.sleep(0.02)


def write(folder: Path, name: str, text: str) -> Path:
    """A source file, dedented; its folders are made."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def line_of(path: Path, text: str) -> int:
    """The number of the line that holds the text."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def listeners(port: int) -> bool:
    """Whether somebody listens on the port, asked without connecting (a connection would count as a client)."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name) as table:
            for line in list(table)[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False
