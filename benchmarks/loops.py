"""Small programs in the manner of pyperformance: one that calls much, one that computes, one that reads and writes.

Each prints the best time of many short turns, its own and not the machine's: what else runs disturbs few of them.
"""

from __future__ import annotations

_TIMED = """
import time

def best(turns):
    times = []
    for _ in range(turns):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)

print(best({turns}), flush=True)
"""

_CALLS = """\
def add(a, b):
    return a + b

def work():
    total = 0
    for number in range(100_000):
        total = add(total, number)
"""

# After pyperformance's nbody: floating point, lists and tuples, and few calls
_NUMBERS = """\
BODIES = [([0.1 * n, 0.2 * n, 0.3 * n], [0.0, 0.01, 0.02], 1.0 + n) for n in range(5)]
PAIRS = [(a, b) for at, a in enumerate(BODIES) for b in BODIES[at + 1:]]

def work():
    for _ in range(800):
        for ((x1, y1, z1), v1, m1), ((x2, y2, z2), v2, m2) in PAIRS:
            dx, dy, dz = x1 - x2, y1 - y2, z1 - z2
            force = 0.001 * ((dx * dx + dy * dy + dz * dz) ** -1.5)
            v1[0] -= dx * m2 * force
            v2[1] += dy * m1 * force
        for place, (vx, vy, vz), _ in BODIES:
            place[0] += 0.001 * vx
            place[1] += 0.001 * vy
            place[2] += 0.001 * vz
"""

# Each makes what Python audits: a hook of ours there would be met at every one.
_FILES = """\
import os, socket, tempfile

left, right = socket.socketpair()
folder = tempfile.TemporaryDirectory(dir=".")
name = os.path.join(folder.name, "file")

def work():
    for number in range(100):
        with open(name, "w") as file:
            file.write("x" * 1000)
        with open(name) as file:
            file.read()
        os.listdir(folder.name)
        left.send(b"x" * 100)
        right.recv(100)
        os.stat(name)
"""

LOOPS = {"100 000 calls of a function": _CALLS, "numbers": _NUMBERS, "files and sockets": _FILES}
CALLS = "100 000 calls of a function"


def program(loop: str, turns: int = 25) -> str:
    """A program that does one of `LOOPS` so often, and prints the seconds of the best turn."""
    return LOOPS[loop] + _TIMED.format(turns=turns)
