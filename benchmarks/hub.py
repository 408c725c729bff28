"""Many processes that can be debugged and do nothing, under one hub, beside as many that each listen by themselves."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.environments import OURS, Environments
from benchmarks.programs import HOST, LIMIT, Program, environment, free_port
from benchmarks.report import Report

SLEEPING = """\
import sys, time
{}
with open(sys.argv[1], "a") as file:
    file.write("x")
sys.stdin.read()
"""
LISTENING = f'import debugpy; debugpy.listen(("{HOST}", 0))'
AT_ONCE = 8  # that start at the same time: a machine has few processors


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Start and memory of all, the hub's and the adapters' included."""
    number = report.rounds(100)
    if not Path("/proc/self/smaps_rollup").exists():
        report.leave_out("hub", "only Linux tells the memory")
        return
    plain, ours = environments.python("debugpy"), environments.python("debugpy", OURS)
    bare, listening = folder / "sleeping.py", folder / "listening.py"
    bare.write_text(SLEEPING.format(""))
    listening.write_text(SLEEPING.format(LISTENING))
    port = free_port()
    hub = [ours, "-m", "autoattach", "hub", "--port", port]
    under = {"START_DEBUGGER": 1, "DEBUGGER_PORT": port, "DEBUGGER_IDE": "debugpy"}
    variants = {
        "bare": _all(number, [plain, bare], {}, folder),
        "under a hub": _all(number, [ours, bare], under, folder, hub),
        "debugpy.listen in each": _all(number, [plain, listening], {}, folder),
    }
    report.heading(f"{number} processes, nobody there: from the first start until all run")
    for name, (seconds, _) in variants.items():
        report.row(name, [seconds], "s")
    report.heading(f"{number} processes, nobody there: memory of all (PSS), the hub and adapters included")
    for name, (_, size) in variants.items():
        report.row(name, [size], "MB")
    seconds, size = (variants["under a hub"][at] / variants["debugpy.listen in each"][at] for at in (0, 1))
    report.bar(f"hub: start of {number} to those with debugpy.listen", seconds, 0.25)
    report.bar(f"hub: memory of {number} to those with debugpy.listen", size, 0.3)


def _all(
    number: int, command: list[object], env: dict[str, object], folder: Path, hub: list[object] | None = None
) -> tuple[float, float]:
    """Seconds until all run, and bytes of all."""
    mark = str(free_port())  # in the environment of each, and of what it starts
    here = folder / mark
    here.mkdir()
    running = here / "running"
    running.touch()
    env = {**env, "TMPDIR": here, "BENCHMARK": mark}
    with ExitStack() as stack:
        try:
            if hub is not None:
                one = stack.enter_context(Program(*hub, folder=here, **env))
                end = time.monotonic() + LIMIT
                while "at any time" not in one.stderr:
                    one.check(end)
                    time.sleep(0.01)
            began = time.monotonic()
            processes: list[subprocess.Popen[bytes]] = []
            while running.stat().st_size < number:
                if len(processes) < min(number, running.stat().st_size + AT_ONCE):
                    processes.append(stack.enter_context(_sleeper(command, running, env)))
                elif time.monotonic() > began + 10 * LIMIT:
                    raise TimeoutError(f"{running.stat().st_size} of {number} run")
                else:
                    time.sleep(0.002)
            return time.monotonic() - began, float(sum(map(_pss, _with(mark))))
        finally:
            for pid in _with(mark):
                try:
                    os.kill(pid, 9)
                except OSError:  # ended
                    pass


def _sleeper(command: list[object], running: Path, env: dict[str, object]) -> subprocess.Popen[bytes]:
    words = [*map(str, command), str(running)]
    null = subprocess.DEVNULL
    return subprocess.Popen(words, env=environment(**env), stdin=subprocess.PIPE, stdout=null, stderr=null)


def _with(mark: str) -> list[int]:
    """The processes of a variant: their environment has the mark."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"BENCHMARK={mark}".encode() in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(int(name))
        except OSError:  # another user's, or ended
            pass
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
