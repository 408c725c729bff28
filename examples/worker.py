"""A long-running worker that is debugged for one job, and runs at its own speed before and after.

    python worker.py 3

attaches for job number 3: it waits until you press F5 (with PyCharm, which is to listen before, it connects), and stops
below. Which debugger and where is as the variables say, DEBUGGER_IDE and DEBUGGER_PORT for one.
"""

import sys

import autoattach


def run(job):
    result = job * 2
    return result  # breakpoint


def main(wanted):
    for job in range(5):
        if job == wanted:
            try:
                autoattach.attach(wait=60)
            except autoattach.AttachError as error:
                print(f"not debugged: {error}", file=sys.stderr)
        print("job", job, run(job), flush=True)
        autoattach.detach()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else None)
