"""How fast Python runs, whatever the machine does meanwhile. Programs of the tests import it: `support.PACE`."""

from __future__ import annotations

import operator
import time
from typing import Callable

NUMBERS = range(1000, 3000)


def pace(work: Callable[[int], object]) -> float:
    """How long calls of `work` take in this thread, in units of a piece of work in C, which no trace function and no
    event of `sys.monitoring` sees.

    Processor time alone will not do: it grows as the machine's clock goes down, and as others use the same core. Here
    the two take turns that are short beside such changes; what disturbs a turn of either is no matter, and what disturbs
    one kind of work more than the other for a while is none either.
    """
    return min(_middle(work) for _ in range(4))


def _middle(work: Callable[[int], object]) -> float:
    ratios = []
    for _ in range(75):
        start = time.thread_time()
        sum(map(operator.add, NUMBERS, NUMBERS))
        between = time.thread_time()
        for n in range(1000):
            work(n)
        ratios.append((time.thread_time() - between) / (between - start))
    return sorted(ratios)[len(ratios) // 2]
