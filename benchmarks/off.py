"""START_DEBUGGER unset: what the hook costs every start of Python, beside hooks that many have already."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.environments import OURS, Environments, Missing
from benchmarks.programs import (
    NO_VALGRIND,
    Program,
    can_count_instructions,
    count_instructions,
    difference,
    interleave,
)
from benchmarks.report import Report

PEERS = ("coverage", "setuptools", "manhole", "hunter")
MODULES = "import sys; print(*sorted(sys.modules))"


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """`python -c pass`, with each hook and with none."""
    report.heading("Off: python -c pass")
    pythons = {"bare": environments.python(), OURS: environments.python(OURS)}
    for peer in PEERS:
        try:
            pythons[peer] = environments.python(peer)
        except Missing as error:
            report.leave_out(f"{peer}'s hook", str(error).splitlines()[-1])
            continue
        if not environments.hooks(peer):
            report.leave_out(f"{peer}'s hook", "its release for this Python has none")
            del pythons[peer]

    # Of ours: what Python itself imports to read a .pth file (a codec), it imports for any.
    modules = [name for name in _modules(pythons[OURS], folder) if name.partition(".")[0] == OURS]
    report.bar("off: modules of ours that are imported", len(modules), 0)

    _instructions(report, pythons, folder)

    def starts(python: str) -> float:
        began = time.monotonic()
        with Program(python, "-c", "pass", folder=folder) as program:
            program.wait()
        return time.monotonic() - began

    times = interleave(report.rounds(100), {name: lambda p=p: starts(p) for name, p in pythons.items()})  # type: ignore[misc]
    for name, values in times.items():
        over = difference(values, times["bare"]) * 1e3
        report.row(f"time, {name}", values, "ms", "" if name == "bare" else f"{over:+.2f} ms over bare")


def _modules(python: str, folder: Path) -> set[str]:
    with Program(python, "-c", MODULES, folder=folder) as program:
        program.wait()
        return set(program.stdout.split())


def _instructions(report: Report, pythons: dict[str, str], folder: Path) -> None:
    if not can_count_instructions():
        return report.leave_out("off: instructions", NO_VALGRIND)
    counts: dict[str, list[float]] = {name: [] for name in pythons}
    for number in range(report.rounds(5) + 1):
        for name, python in pythons.items():
            count = count_instructions(python, "-c", "pass", folder=folder)
            if number:  # the first writes bytecode
                counts[name].append(count)
    bare = statistics.median(counts["bare"])
    hooks = {name: statistics.median(values) - bare for name, values in counts.items() if name != "bare"}
    for name, values in counts.items():
        note = "" if name == "bare" else f"the hook: {hooks[name] / 1e6:.2f} M"
        report.row(f"instructions, {name}", values, "M", note)
    ours = hooks.pop(OURS)
    if hooks:
        least = min(hooks, key=lambda name: hooks[name])
        report.bar(
            f"off: our hook's instructions to the cheapest peer's ({least})", ours / hooks[least], 1, strictly=True
        )

    (folder / "pip").write_text("pass\n")
    tool = {"bare": [], "START_DEBUGGER=1": []}  # type: dict[str, list[float]]
    for number in range(report.rounds(5) + 1):
        for name, values in tool.items():
            variables = {} if name == "bare" else {"START_DEBUGGER": 1}
            count = count_instructions(pythons[OURS], "pip", folder=folder, **variables)
            if number:
                values.append(count)
    report.heading("On, a tool that is never attached to: python pip")
    for name, values in tool.items():
        report.row(f"instructions, {name}", values, "M")
    over = statistics.median(tool["START_DEBUGGER=1"]) - statistics.median(tool["bare"])
    report.bar("off: a tool's way past us to a bare start", over / bare, 0.25, strictly=True)
