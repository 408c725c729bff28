"""The commands: `autoattach COMMAND ...`. One module each."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import Sequence

from autoattach import __version__

COMMANDS = ("demo", "doctor", "config", "run", "hub", "ps", "attach", "detach", "tunnel", "pipe", "bundle")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 1 for "not well", 2 for usage, 130 for Ctrl-C."""
    try:
        return _main(argv)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:  # before the command has begun, which sees to it from then on
        return 130


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="autoattach",
        description="Stop a Python program at a breakpoint in VS Code or PyCharm: START_DEBUGGER=1 python app.py",
    )
    parser.add_argument("--version", action="version", version=f"autoattach {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    for name in COMMANDS:
        command = import_module(f"autoattach.cli.{name}")
        of_command = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(of_command)
        of_command.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    # A command line or a path may have anything in it. (It flushes, and `run` is not to write what a hook has printed.)
    if hasattr(sys.stdout, "reconfigure") and arguments.command != "run":
        sys.stdout.reconfigure(errors="backslashreplace")
    status: int = arguments.run(arguments)
    return status
