"""A program that is edited while it runs: see README.rst."""

import time


def work(n):
    twice = n * 2
    return twice  # breakpoint


while True:
    print(work(21), flush=True)
    time.sleep(0.5)
