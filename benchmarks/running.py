"""A program that runs already: from a client's connect to its first stop."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from autoattach.cli._dap import Client
from benchmarks.environments import OURS, Environments
from benchmarks.programs import HOST, LIMIT, Program, free_port, interleave
from benchmarks.report import Report

APP = """\
import sys, time

ticks = 0

def tick():
    global ticks
    ticks += 1  # the breakpoint

print("running", flush=True)
while True:
    tick()
    if sys.argv[1] == "idle":
        time.sleep(0.02)
"""
LINE = next(number for number, line in enumerate(APP.splitlines(), 1) if "breakpoint" in line)
SETTLE = 0.3  # seconds that it runs before the client comes


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Idle and busy; with us, where nothing is loaded yet, and where debugpy has been listening all the time."""
    plain, ours = environments.python("debugpy"), environments.python("debugpy", OURS)
    app = folder / "running.py"
    app.write_text(APP)

    def stop(*command: object, **variables: object) -> float:
        port = free_port()
        words = [str(word).replace("PORT", str(port)) for word in command]
        if variables:
            variables["DEBUGGER_PORT"] = port
        with Program(*words, folder=folder, **variables) as program:
            program.wait_for_output()
            time.sleep(SETTLE)
            began = time.monotonic()
            client = Client(program.connect(port))
            try:
                client.attach({str(app): [LINE]})
                client.wait_stopped(LIMIT)
                took = time.monotonic() - began
                client.disconnect()
                return took
            finally:
                client.close()

    for kind, limit in (("idle", 1), ("busy", 2)):
        report.heading(f"On, a client comes to a program that is {kind}: from its connect to its first stop")
        times = interleave(
            report.rounds(15),
            {
                OURS: lambda k=kind: stop(ours, app, k, START_DEBUGGER=1, DEBUGGER_WAIT=0),
                "debugpy --listen": lambda k=kind: stop(plain, "-m", "debugpy", "--listen", f"{HOST}:PORT", app, k),
            },  # type: ignore[misc]
        )
        for name, values in times.items():
            report.row(name, values, "s", "loaded from the start" if name != OURS else "")
        report.bar(f"running: connect to first stop, {kind}", statistics.median(times[OURS]), limit, "s", strictly=True)
