"""50 programs at once, each with a port of a range, and all in one session of one port: time and memory, beside bare."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

from benchmarks.environments import OURS, Environments
from benchmarks.programs import HOST, LIMIT, Program, difference, free_port, interleave
from benchmarks.report import Report
from benchmarks.tree import Ide

MANY = 50
STAYS = "print('there', flush=True); input()\n"


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Nobody there; then a client that attaches once."""
    if not Path("/proc/self/smaps_rollup").exists():
        return report.leave_out("many", "it is measured by what Linux tells")
    plain, ours = environments.python("debugpy"), environments.python("debugpy", OURS)
    (folder / "stays.py").write_text(STAYS)
    memory: dict[str, list[float]] = {}

    def together(name: str, python: str, **variables: object) -> float:
        with contextlib.ExitStack() as stack:
            began = time.monotonic()
            programs = _start(stack, python, folder, **variables)
            for program in programs:
                program.wait_for_output()
            took = time.monotonic() - began
            memory.setdefault(name, []).append(sum(_memory(program.process.pid) for program in programs))
            if name == each:
                assert len({_port(program) for program in programs}) == MANY
            _end(programs)
            return took

    each, one = f"{OURS}, a port of a range each", f"{OURS}, one port"
    report.heading(
        f"{MANY} programs at once, DEBUGGER_WAIT=0, nobody there: until all run, and the memory (PSS) of all"
    )
    times = interleave(
        report.rounds(5),
        {
            "bare": lambda: together("bare", plain),
            each: lambda: together(each, ours, START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_PORT=_range()),
            one: lambda: together(one, ours, START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_PORT=free_port()),
        },
    )
    for name, values in times.items():
        report.row(name, values, "s")
        report.row(f"{name}, memory", memory[name][1:], "MB")  # as of the times, the first is not counted
    for name in (each, one):
        report.bar(
            f"many: memory over bare, each ({name})", difference(memory[name], memory["bare"]) / MANY / 2**20, 2, "MB"
        )

    report.heading(f"{MANY} programs in one session, a client attaches once")
    port = free_port()
    with contextlib.ExitStack() as stack:
        programs = _start(stack, ours, folder, START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_PORT=port)
        for program in programs:
            program.wait_for_output()
        began = time.monotonic()
        ide = Ide(programs[0], port)
        stack.callback(ide.close)
        end = began + LIMIT
        while len(ide.children) < MANY - 1 and time.monotonic() < end:
            time.sleep(0.02)
        report.row("from the attach to the last of them", [time.monotonic() - began], "s")
        report.row(
            "memory (PSS), the debugger in all", [sum(_memory(program.process.pid) for program in programs)], "MB"
        )
        report.bar("many: attached to with one attach", MANY - 1 - len(ide.children), 0)
        _end(programs)


def _start(stack: contextlib.ExitStack, python: str, folder: Path, **variables: object) -> list[Program]:
    programs = []
    for number in range(MANY):
        place = folder / f"many-{number}"
        place.mkdir(exist_ok=True)
        programs.append(stack.enter_context(Program(python, folder / "stays.py", folder=place, **variables)))
    return programs


def _end(programs: list[Program]) -> None:
    """Each reads its line, and ends by itself."""
    for program in programs:
        assert program.process.stdin is not None
        program.process.stdin.write(b"\n")
        program.process.stdin.flush()
    for program in programs:
        program.wait()


def _range() -> str:
    first = min(free_port(), 65535 - 3 * MANY)
    return f"{first}-{first + 3 * MANY}"


def _port(program: Program) -> str:
    found = re.search(rf"attach at {re.escape(HOST)}:(\d+)", program.stderr)
    return found.group(1) if found else program.stderr


def _memory(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024.0
    return 0.0
