"""``python -m benchmarks``: measure, print, write a file, and exit with 1 when a bar is missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks import armed, attached, detached, hub, idle, many, off, running, tree
from benchmarks.environments import Environments
from benchmarks.report import Report

GROUPS = {
    "off": off,
    "armed": armed,
    "idle": idle,
    "attached": attached,
    "running": running,
    "tree": tree,
    "detached": detached,
    "many": many,
    "hub": hub,
}


def main() -> int:
    """Run the groups that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition(":")[2].strip())
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)} (all)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the runs: to see that it works")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON file (in benchmarks/results)")
    arguments = parser.parse_args()
    unknown = set(arguments.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    name = f"{platform.python_implementation()}-{platform.python_version()}-{sys.platform}-{platform.machine()}.json"
    output = arguments.output or Path(__file__).parent / "results" / name.lower()

    report = Report(quick=arguments.quick)
    with tempfile.TemporaryDirectory(prefix="autoattach-benchmarks-") as temporary:
        folder = Path(os.path.realpath(temporary))
        environments = Environments(folder)
        for group in arguments.groups or GROUPS:
            try:
                GROUPS[group].measure(report, environments, folder)
            except Exception as error:  # the other groups are measured all the same
                report.broken(group, error)
    report.versions = environments.versions
    report.finish(output)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
