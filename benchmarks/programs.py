"""Run programs, each with a time limit and ended by its own id, and take their times."""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

LIMIT = 60.0
"""Seconds that any program may take, and any wait for one."""

HOST = "127.0.0.1"

FIRST_LINE = "import time; print(time.monotonic_ns(), flush=True)\n"
"""A program's first line that tells when it ran, on a clock which all processes share."""


class Program:
    """A process in a folder. Its output goes to files: a debugger's helper may hold a pipe open."""

    def __init__(self, *command: object, folder: Path, **variables: object) -> None:
        self._files = [folder / "stdout.txt", folder / "stderr.txt"]
        with open(self._files[0], "wb") as out, open(self._files[1], "wb") as err:
            self.started = time.monotonic_ns()
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=str(folder),
                env=environment(**variables),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self.stderr:
            print(f"{self.process.args} has written:\n{self.stderr}", file=sys.stderr)
        self.process.kill()
        self.process.wait(LIMIT)
        if self.process.stdin:
            self.process.stdin.close()

    @property
    def stdout(self) -> str:
        """What it has written by now."""
        return self._files[0].read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written by now."""
        return self._files[1].read_text(errors="replace")

    def wait(self) -> None:
        """Until it ends. Raises RuntimeError where that is not with status 0."""
        status = self.process.wait(LIMIT)
        if status:
            raise RuntimeError(f"{self.process.args} ended with status {status}\n{self.stdout}\n{self.stderr}")

    def wait_for_output(self) -> str:
        """Until it has written its first line; the line."""
        end = time.monotonic() + LIMIT
        while "\n" not in self.stdout:
            self.check(end)
            time.sleep(0.002)
        return self.stdout.partition("\n")[0]

    def check(self, end: float) -> None:
        """Raises RuntimeError when it has ended, and TimeoutError when it is later than `end`."""
        if self.process.poll() is not None and "\n" not in self.stdout:
            raise RuntimeError(f"{self.process.args} ended too early\n{self.stderr}")
        if time.monotonic() > end:
            raise TimeoutError(f"{self.process.args} is not there in time\n{self.stderr}")

    def connect(self, port: int) -> socket.socket:
        """Connect to its port as soon as it is open."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                return socket.create_connection((HOST, port), 5)
            except ConnectionRefusedError:
                self.check(end)
                time.sleep(0.001)

    def memory(self, kind: str) -> float:
        """Bytes of this process now: `Rss` or `Pss`, as Linux tells them."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024.0
        raise RuntimeError(f"/proc/{self.process.pid}/smaps_rollup has no {kind}")

    def first_line_after(self) -> float:
        """Seconds from the start of the process to the first line of the program."""
        return (int(self.wait_for_output()) - self.started) / 1e9


def environment(**variables: object) -> dict[str, str]:
    """This process's environment without what steers Python, a debugger or a hook; then the variables given."""
    foreign = re.compile(
        r"START_DEBUGGER|AUTOATTACH_|DEBUGGER_|DEBUGPY_|PYDEVD_|VSCODE_|PYCHARM|PYTHON|COV|VIRTUAL_ENV"
    )
    env = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    env["PYTHONHASHSEED"] = "0"  # the same work each time
    env.update({name: str(value) for name, value in variables.items()})
    return env


NO_VALGRIND = "install valgrind to count them"


def can_count_instructions() -> bool:
    """Whether valgrind is here."""
    return shutil.which("valgrind") is not None


def count_instructions(*command: object, folder: Path, **variables: object) -> float:
    """What a whole process executes, by valgrind's count: other work on the machine does not disturb it."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *map(str, command)],
        cwd=str(folder),
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=LIMIT,
    )
    found = re.search(rb"Collected : (\d+)", done.stderr)
    if found is None:
        raise RuntimeError(f"valgrind says: {done.stderr.decode(errors='replace')[-500:]}")
    return float(found.group(1))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def interleave(rounds: int, variants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Call every variant once a round, so that what disturbs one disturbs all, and who is first changes.

    One round more is made first, and not counted: it writes bytecode and fills caches.
    """
    values: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = variants[name]()
            if number:
                values[name].append(value)
    return values


def ratio(values: list[float], others: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(value / other for value, other in zip(values, others))


def difference(values: list[float], others: list[float]) -> float:
    """The median of the differences within each round."""
    return statistics.median(value - other for value, other in zip(values, others))
