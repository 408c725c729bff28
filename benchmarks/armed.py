"""START_DEBUGGER=WORD before its moment: the program beside the same one where START_DEBUGGER is unset."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.environments import OURS, Environments
from benchmarks.idle import CALLS, SLEEPING, _memory
from benchmarks.programs import FIRST_LINE, Program, difference, interleave
from benchmarks.report import Report

WORDS = ("exception", "signal", "breakpoint", "request")

# Each makes what Python audits: a hook of ours there would be met at every one.
IO = """\
import os, socket, tempfile, time

left, right = socket.socketpair()
name = os.path.join(tempfile.mkdtemp(dir="."), "file")

def work():
    for number in range(100):
        with open(name, "w") as file:
            file.write("x" * 1000)
        with open(name) as file:
            file.read()
        os.listdir(os.path.dirname(name))
        left.send(b"x" * 100)
        right.recv(100)
        os.stat(name)

def best():
    times = []
    for _ in range(25):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)

print(best(), flush=True)
os.unlink(name)
os.rmdir(os.path.dirname(name))
"""


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Start, memory and speed."""
    python = environments.python("debugpy", OURS)
    programs = {"first": FIRST_LINE, "sleeping": SLEEPING, "calls": CALLS, "io": IO}
    for name, text in programs.items():
        (folder / f"armed_{name}.py").write_text(text)
    words = [word for word in WORDS if word != "signal" or os.name != "nt"]
    variants: dict[str, dict[str, object]] = {"unarmed": {}}
    variants.update({word: {"START_DEBUGGER": word, "DEBUGGER_PORT": 0} for word in words})

    def each(program: str, rounds: int, take) -> dict[str, list[float]]:  # type: ignore[no-untyped-def]
        def run(name: str) -> float:
            with Program(python, folder / f"armed_{program}.py", folder=folder, **variants[name]) as process:
                return float(take(process))

        return interleave(report.rounds(rounds), {name: lambda name=name: run(name) for name in variants})  # type: ignore[misc]

    def first_line(process: Program) -> float:
        process.wait()
        return process.first_line_after()

    report.heading("Armed: from exec to the program's first line")
    times = each("first", 40, first_line)
    for name in variants:
        report.row(name, times[name], "ms")
    for word in words:
        report.bar(f"armed, {word}: start over unarmed", difference(times[word], times["unarmed"]) * 1e3, 3, "ms")

    if Path("/proc/self/smaps_rollup").exists():

        def memory(process: Program) -> float:
            process.wait_for_output()
            return _memory(process.process.pid, "Rss")

        report.heading("Armed: memory (RSS)")
        sizes = each("sleeping", 10, memory)
        for name in variants:
            report.row(name, sizes[name], "MB")
        for word in words:
            over = difference(sizes[word], sizes["unarmed"]) / 2**20
            report.bar(f"armed, {word}: RSS over unarmed", over, 1, "MB")
    else:
        report.leave_out("armed: memory", "only Linux tells")

    def speed(process: Program) -> float:
        process.wait()
        return float(process.stdout)

    for program, what in (("calls", "100 000 calls of a Python function"), ("io", "files and sockets")):
        report.heading(f"Armed: {what}")
        loops = each(program, 30, speed)
        for name in variants:
            report.row(name, loops[name], "ms", f"x {min(loops[name]) / min(loops['unarmed']):.3f}")
        for word in words:
            rate = min(loops[word]) / min(loops["unarmed"])
            report.bar(f"armed, {word}: {what}, to unarmed (the least of all runs)", rate, 1.01)
