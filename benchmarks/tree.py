"""A tree of 20 short children, behind a shell and not, with a client attached and without."""

from __future__ import annotations

import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from autoattach.cli._dap import Client, DapError
from benchmarks.environments import OURS, Environments
from benchmarks.programs import HOST, LIMIT, Program, difference, free_port, interleave
from benchmarks.report import Report

CHILDREN = 20
CHILD = """\
with open("/proc/self/status") as status:
    resident = next(line for line in status if line.startswith("VmRSS")).split()[1]
with open("resident.txt", "a") as file:
    file.write(resident + "\\n")
"""
ROOT = """\
import json, subprocess, sys, time
command = json.loads(sys.argv[1])
times = []
for _ in range(20):
    began = time.monotonic()
    subprocess.run(command, check=True)
    times.append(time.monotonic() - began)
print(json.dumps(times), flush=True)
"""
TOGETHER = """\
import json, subprocess, sys
command = json.loads(sys.argv[1])
children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(20)]
for child in children:
    child.stdout.readline()
print("all there", flush=True)
sys.stdin.read()
for child in children:
    child.communicate()
"""
STAYS = "print('there', flush=True); input()\n"


class Ide:
    """A client that attaches to every sub-session, sets nothing, and lets it run."""

    def __init__(self, program: Program, port: int) -> None:
        self.root = Client(program.connect(port))
        self.root.attach()
        self.done = threading.Event()
        self.children: list[Client] = []
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def follow(self) -> None:
        seen = 0
        while not self.done.wait(0.001):
            events = self.root.events("debugpyAttach")
            for event in events[seen:]:
                threading.Thread(target=self.attach, args=(event,), daemon=True).start()
            seen = len(events)

    def attach(self, event: dict[str, Any]) -> None:
        try:
            self.children.append(self.root.child(event, {}))
        except (ConnectionError, TimeoutError, DapError):  # it has ended
            pass

    def close(self) -> None:
        self.done.set()
        self.thread.join(LIMIT)
        for client in [*self.children, self.root]:
            client.close()


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Per child: its time, its memory, and that of the whole tree."""
    if not Path("/proc/self/smaps_rollup").exists():
        return report.leave_out("tree", "it is measured by what Linux tells")
    plain, ours = environments.python("debugpy"), environments.python("debugpy", OURS)
    for name, text in (("child.py", CHILD), ("root.py", ROOT), ("together.py", TOGETHER), ("stays.py", STAYS)):
        (folder / name).write_text(text)
    memory = folder / "resident.txt"

    def alone(python: str, **variables: object) -> tuple[float, float]:
        memory.write_text("")
        with Program(python, "root.py", _shell(python, "child.py"), folder=folder, **variables) as program:
            program.wait()
            times = json.loads(program.stdout)
        return statistics.median(times), statistics.median(float(line) for line in memory.read_text().split()) * 1024

    def debugged(behind_a_shell: bool, by_us: bool) -> list[float]:
        port = free_port()
        python = ours if by_us else plain
        command = _shell(python, "child.py") if behind_a_shell else json.dumps([python, "child.py"])
        words = [python, *([] if by_us else ["-m", "debugpy", "--listen", f"{HOST}:{port}", "--wait-for-client"])]
        variables = {"START_DEBUGGER": 1, "DEBUGGER_PORT": port, "DEBUGGER_WAIT": LIMIT} if by_us else {}
        with Program(*words, "root.py", command, folder=folder, **variables) as program:
            ide = Ide(program, port)
            try:
                program.wait()
            finally:
                ide.close()
            assert len(ide.root.events("debugpyAttach")) == CHILDREN
            return list(json.loads(program.stdout))

    report.heading(f"A tree of {CHILDREN} short children behind sh -c, nobody there: per child")
    results: dict[str, list[float]] = {}

    def keep(name: str, *result: float) -> float:
        results.setdefault(name, []).append(result[1])
        return result[0]

    times = interleave(
        report.rounds(10),
        {
            "bare": lambda: keep("bare", *alone(plain)),
            OURS: lambda: keep(OURS, *alone(ours, START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_PORT=0)),
        },
    )
    for name, values in times.items():
        report.row(name, values, "ms")
        report.row(f"{name}, memory", results[name], "MB")
    report.bar("tree: a child over bare, nobody there", difference(times[OURS], times["bare"]) * 1e3, 10, "ms")
    report.bar("tree: its memory over bare", difference(results[OURS], results["bare"]) / 2**20, 2, "MB")

    report.heading(f"A tree of {CHILDREN} short children, a client attached to each: per child")
    own, joined, carried = "debugpy's own", f"{OURS}, behind sh -c", f"{OURS}, carried by debugpy"
    each: dict[str, list[float]] = {own: [], joined: [], carried: []}

    def run(name: str, *arguments: bool) -> float:
        values = debugged(*arguments)
        each[name].append(max(values))
        return statistics.median(values)

    times = interleave(
        report.rounds(10),
        {
            own: lambda: run(own, False, False),
            joined: lambda: run(joined, True, True),
            carried: lambda: run(carried, False, True),
        },
    )
    for name, values in times.items():
        report.row(name, values, "s")
        report.row(f"{name}, the slowest of {CHILDREN}", each[name], "s")
    for name in (joined, carried):
        value = statistics.median(values / others for values, others in zip(times[name], times[own]))
        report.bar(f"tree: a child to debugpy's own ({name})", value, 1.1)
        value = statistics.median(values / others for values, others in zip(each[name], each[own]))
        report.bar(f"tree: the slowest child to debugpy's own ({name})", value, 1.1)

    report.heading(f"A tree of {CHILDREN} children at once, a client attached to each")
    port = free_port()
    words = [ours, "together.py", _shell(ours, "stays.py")]
    with Program(*words, folder=folder, START_DEBUGGER=1, DEBUGGER_PORT=port, DEBUGGER_WAIT=LIMIT) as program:
        ide = Ide(program, port)
        try:
            program.wait_for_output()
            end = time.monotonic() + LIMIT
            while len(ide.children) < CHILDREN and time.monotonic() < end:
                time.sleep(0.05)
            processes = _all(folder)
            program.process.communicate(timeout=LIMIT)
        finally:
            ide.close()
    report.row("memory (PSS), the tree and its adapter", [sum(size for _, size in processes)], "MB")
    report.bar("tree: adapters", sum("adapter" in command.partition("debug")[2] for command, _ in processes), 1)


def _shell(python: str, script: str) -> str:
    return json.dumps(["sh", "-c", f"{python} {script}; true"])


def _all(folder: Path) -> list[tuple[str, float]]:
    """The command line and the memory of each process that works in the folder: of the tree, and its adapters."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").resolve() != folder:
                continue
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            for line in (path / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found.append((command, int(line.split()[1]) * 1024.0))
        except OSError:  # gone
            continue
    return found
