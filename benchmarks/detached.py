"""A program that was attached to and detached, by calls or from outside, beside itself before: in the main thread, in
another, and once more."""

from __future__ import annotations

import socket
import statistics
import time
from pathlib import Path

from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server
from benchmarks.environments import OURS, Environments, Missing
from benchmarks.programs import HOST, LIMIT, Program, free_port
from benchmarks.report import Report

# Each turn the loops of before and after stand side by side but for the session between them; of each the best of many,
# for a machine that does something else makes a loop slower, never faster.
APP = """\
import os, statistics, subprocess, sys, threading, time
import autoattach

def helper(n):
    return n + 1

def loop():
    best = 1e9
    for turn in range(40):
        start = time.thread_time()
        for n in range(20000):
            helper(n)
        best = min(best, time.thread_time() - start)
    return best

class Other(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.asked, self.answered = threading.Event(), threading.Event()
        self.start()
    def run(self):
        while self.asked.wait():
            self.asked.clear()
            self.answer = loop()
            self.answered.set()
    def loop(self):
        self.asked.set()
        self.answered.wait()
        self.answered.clear()
        return self.answer

def command(name, *options):
    words = [sys.executable, "-m", "autoattach", name, *options, str(os.getpid())]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while process.poll() is None:  # in Python, for some debuggers are loaded by this thread
        time.sleep(0.01)
    assert process.returncode == 0

def attach(port, how):
    if how == "calls":
        return autoattach.attach(port=port, wait=60)
    command("attach", "--port", str(port))
    autoattach.wait_for_client(60)

def detach(how):
    autoattach.detach() if how == "calls" else command("detach")

other = Other()
for turn in range(int(sys.argv[2])):
    before, before_in_other = loop(), other.loop()
    attach(int(sys.argv[1]), sys.argv[3])
    during = loop() if not turn else 0
    detach(sys.argv[3])
    time.sleep(1)  # the debugger's helper ends meanwhile
    print(during / before, loop() / before, other.loop() / before_in_other, flush=True)
"""


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """Each debugger in turn."""
    app = folder / "app.py"
    app.write_text(APP)
    for how in ("calls", "commands"):
        report.heading(f"Attached and detached by {how}: a call-heavy loop, to the same before")
        for debugger in ("debugpy", "ptvsd", "pydevd-pycharm"):
            try:
                python = environments.python(debugger, OURS)
                ratios = _ratios(python, app, debugger, how, report.rounds(10), folder)
            except (Missing, RuntimeError) as error:  # ptvsd cannot work on 3.13 and later
                report.leave_out(f"detached: {debugger}, by {how}", str(error).strip().splitlines()[-1])
                continue
            report.row(f"{debugger}: while attached", [ratios[0][0]], "x")
            for number, where in ((1, "main thread"), (2, "another thread")):
                values = [ratio[number] for ratio in ratios]
                report.row(f"{debugger}: {where}", values, "x")
                report.bar(f"detached: {debugger}, by {how}, {where}", statistics.median(values), 1.05)


def _ratios(python: str, app: Path, debugger: str, how: str, turns: int, folder: Path) -> list[list[float]]:
    variables = {"DEBUGGER_IDE": debugger}
    if debugger == "pydevd-pycharm":
        with Server(HOST) as server, Program(
            python, app, server.port, turns, how, folder=folder, **variables
        ) as program:
            for _ in range(turns):
                session = server.accept(LIMIT)
                session.start({})
                session.wait_closed(LIMIT)
                session.close()
            program.wait()
            return _numbers(program)
    port = free_port()
    with Program(python, app, port, turns, how, folder=folder, **variables) as program:
        end = time.monotonic() + turns * LIMIT
        while program.process.poll() is None:
            program.check(end)
            try:
                client = Client(socket.create_connection((HOST, port), 5))
            except OSError:  # it is not attached just now
                time.sleep(0.01)
                continue
            try:
                client.attach()
                client.wait_event("terminated", timeout=LIMIT)
            except ConnectionError:  # as ptvsd hangs up; and what is left of a session may still have had the port
                pass
            finally:
                client.close()
        program.wait()
        return _numbers(program)


def _numbers(program: Program) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in program.stdout.splitlines()]
