"""START_DEBUGGER=WORD before its moment: the program beside the same one where START_DEBUGGER is unset."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.environments import OURS, Environments
from benchmarks.idle import SLEEPING
from benchmarks.loops import LOOPS, program
from benchmarks.programs import (
    FIRST_LINE,
    NO_VALGRIND,
    Program,
    can_count_instructions,
    count_instructions,
    difference,
    interleave,
    ratio,
)
from benchmarks.report import Report

WORDS = ("exception", "signal", "breakpoint", "request")


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Start, memory and speed."""
    python = environments.python("debugpy", OURS)
    words = [word for word in WORDS if word != "signal" or os.name != "nt"]
    variants: dict[str, dict[str, object]] = {"unarmed": {}}
    variants.update({word: {"START_DEBUGGER": word, "DEBUGGER_PORT": 0} for word in words})

    def each(text: str, rounds: int, take) -> dict[str, list[float]]:  # type: ignore[no-untyped-def]
        file = folder / "armed.py"
        file.write_text(text)

        def run(name: str) -> float:
            with Program(python, file, folder=folder, **variants[name]) as process:
                return float(take(process))

        return interleave(report.rounds(rounds), {name: lambda name=name: run(name) for name in variants})  # type: ignore[misc]

    def instructions(text: str) -> dict[str, float]:
        file = folder / "counted.py"
        file.write_text(text)
        return {
            name: min(count_instructions(python, file, folder=folder, **env) for _ in range(report.rounds(5)))
            for name, env in variants.items()
        }

    def first_line(process: Program) -> float:
        process.wait()
        return process.first_line_after()

    report.heading("Armed: from exec to the program's first line")
    times = each(FIRST_LINE, 200, first_line)
    for name in variants:
        report.row(name, times[name], "ms")
    for word in words:
        report.bar(f"armed, {word}: start over unarmed", difference(times[word], times["unarmed"]) * 1e3, 3, "ms")

    if Path("/proc/self/smaps_rollup").exists():

        def memory(process: Program) -> float:
            process.wait_for_output()
            return process.memory("Rss")

        report.heading("Armed: memory (RSS)")
        sizes = each(SLEEPING, 20, memory)
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

    for loop in LOOPS:
        report.heading(f"Armed: {loop}")
        seconds = each(program(loop, turns=10), 200, speed)
        for name in variants:
            report.row(name, seconds[name], "ms", f"x {ratio(seconds[name], seconds['unarmed']):.3f}")
        for word in words:
            report.bar(f"armed, {word}: {loop}, to unarmed", ratio(seconds[word], seconds["unarmed"]), 1.01)
        if not can_count_instructions():
            report.leave_out(f"armed: {loop}, instructions", NO_VALGRIND)
            continue
        # What each turn costs more than none: less the start
        few, many = instructions(program(loop, turns=1)), instructions(program(loop, turns=4))
        turns = {name: many[name] - few[name] for name in variants}
        for name in variants:
            report.row(f"three turns, {name}", [turns[name]], "M")
        for word in words:
            report.bar(f"armed, {word}: {loop}, instructions to unarmed", turns[word] / turns["unarmed"], 1.01)
