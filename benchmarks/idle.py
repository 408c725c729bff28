"""START_DEBUGGER=1 DEBUGGER_WAIT=0, and no IDE comes: the program beside a bare one, and one where debugpy listens."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environments import OURS, Environments
from benchmarks.loops import CALLS, program
from benchmarks.programs import FIRST_LINE, HOST, Program, difference, free_port, interleave, ratio
from benchmarks.report import Report

SLEEPING = FIRST_LINE + "import sys; sys.stdin.read()\n"


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Start, memory and speed."""
    plain, ours = environments.python("debugpy"), environments.python("debugpy", OURS)
    first, sleeping, calls = folder / "first.py", folder / "sleeping.py", folder / "calls.py"
    first.write_text(FIRST_LINE)
    sleeping.write_text(SLEEPING)
    calls.write_text(program(CALLS))

    def variants(file: Path) -> dict[str, tuple[list[object], dict[str, object]]]:
        listen = f"{HOST}:{free_port()}"
        return {
            "bare": ([plain, file], {}),
            OURS: ([ours, file], {"START_DEBUGGER": 1, "DEBUGGER_WAIT": 0, "DEBUGGER_PORT": 0}),
            "debugpy --listen": ([plain, "-m", "debugpy", "--listen", listen, file], {}),
        }

    names = list(variants(first))

    def each(function, rounds: int) -> dict[str, list[float]]:  # type: ignore[no-untyped-def]
        return interleave(report.rounds(rounds), {name: lambda n=name: function(n) for name in names})  # type: ignore[misc]

    def start(name: str) -> float:
        command, env = variants(first)[name]
        with Program(*command, folder=folder, **env) as process:
            process.wait()
            return process.first_line_after()

    report.heading("On, nobody there: from exec to the program's first line")
    times = each(start, 40)
    for name in names:
        report.row(name, times[name], "ms")
    report.bar("idle: start over bare", difference(times[OURS], times["bare"]) * 1e3, 8, "ms")
    report.bar("idle: start to that of debugpy --listen", ratio(times[OURS], times[names[2]]), 0.1, strictly=True)

    for kind in ("Rss", "Pss"):

        def memory(name: str, kind: str = kind) -> float:
            command, env = variants(sleeping)[name]
            with Program(*command, folder=folder, **env) as process:
                process.wait_for_output()
                return process.memory(kind)

        if not Path("/proc/self/smaps_rollup").exists():
            report.leave_out("idle: memory", "only Linux tells")
            break
        report.heading(f"On, nobody there: memory ({kind.upper()}, the process alone)")
        sizes = each(memory, 10)
        for name in names:
            report.row(name, sizes[name], "MB", "and its adapter" if name == names[2] else "")
        report.bar(f"idle: {kind.upper()} over bare", difference(sizes[OURS], sizes["bare"]) / 2**20, 2, "MB")

    def speed(name: str) -> float:
        command, env = variants(calls)[name]
        with Program(*command, folder=folder, **env) as process:
            process.wait()
            return float(process.stdout)

    report.heading(f"On, nobody there: {CALLS}")
    loops = each(speed, 30)
    for name in names:
        note = f"x {min(loops[name]) / min(loops['bare']):.2f}"
        report.row(name, loops[name], "ms", note)
    report.bar("idle: a call-heavy loop to bare (the least of all runs)", min(loops[OURS]) / min(loops["bare"]), 1.02)
