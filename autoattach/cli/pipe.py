"""`python -m autoattach pipe`: the far end of `autoattach tunnel`, which starts it.

Standard input and output are the tunnel's. The first thing said is a line that no banner says, then frames.
"""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
import time
from functools import partial

from autoattach._network import holder
from autoattach._settings import Settings
from autoattach.cli import _relay
from autoattach.cli._relay import HELLO, VERSION, Relay

NAME = "pipe"
HELP = "the far end of autoattach tunnel, which starts it: connections over standard input and output"

PORT = 9000
SILENCE = 300.0  # seconds after which a tunnel that says nothing has gone: its beat is 15 s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `pipe` takes on its command line."""
    parser.add_argument("--port", type=int, help="where the program listens here (DEBUGGER_PORT, else 9000)")
    parser.add_argument("--listen", action="store_true", help="listen there: the program connects (tunnel --reverse)")


def run(arguments: argparse.Namespace) -> int:
    """Carry connections until standard input ends. Returns 0; 1 where it cannot listen; 2 for usage."""
    if sys.stdin is None or sys.stdin.isatty():
        print("autoattach pipe: autoattach tunnel starts it; nothing is typed here", file=sys.stderr)
        return 2
    sink = _take_stdout()
    port = arguments.port or default_port()
    listener: socket.socket | None = None
    if arguments.listen:
        try:
            listener = _relay.listen(port)
        except OSError as error:
            taken = error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE))
            _hello(sink, f"!taken{holder(port)}" if taken else f"!{error.strerror or error}", port)
            return 1
    _hello(sink, "", port)
    try:
        source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - it stays open to the end
        relay = Relay(source, sink, partial(_relay.dial, port), lambda reason: None)
        relay.start()
        if listener is not None:
            _relay.spawn(partial(_accept, listener, relay))
        while not relay.ended.wait(5) and relay.silent() < SILENCE:
            pass
    except KeyboardInterrupt:  # of a terminal that we share with the tunnel, which ends, too
        return 130
    return 0


def default_port() -> int:
    """The port that a program with this environment would listen on."""
    ports = Settings.from_environ(os.environ).ports
    return ports[0] if ports and ports[0] else PORT


def _take_stdout() -> _relay.Raw:
    """Standard output for us alone: what anybody else here prints goes to stderr."""
    number = os.dup(1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(0, os.O_BINARY)
        msvcrt.setmode(number, os.O_BINARY)
    else:
        os.set_blocking(0, True)
        os.set_blocking(number, True)
    os.dup2(2, 1)
    return open(number, "wb", buffering=0)


def _hello(sink: _relay.Raw, problem: str, port: int) -> None:
    line = memoryview(HELLO + " ".join(f"{VERSION} {port} {problem}".split()).encode() + b"\n")
    while line:
        line = line[sink.write(line) or 0 :]


def _accept(listener: socket.socket, relay: Relay) -> None:
    while not relay.ended.is_set():
        try:
            relay.carry(listener.accept()[0])
        except OSError:  # it left in the queue, or there are no more files to open for now
            time.sleep(0.1)
