"""`autoattach hub`: one session on the port for as long as it runs, for whatever starts with START_DEBUGGER."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from typing import Optional

from autoattach._errors import AttachError
from autoattach._network import spell
from autoattach._network_errors import HubTaken
from autoattach._process import Process, alive
from autoattach._settings import Settings
from autoattach._signals import EndingSignals
from autoattach.cli._keeper import Hub, find
from autoattach.cli.run import add_options, given

NAME = "hub"
HELP = "hold a session open on the port: attach once, and see every process that starts with START_DEBUGGER=1"
EPILOG = """\
The hub runs no code of yours. Attach VS Code to it once (F5), and stay: a cron job, a worker that restarts, "migrate"
and then "serve" appear as they start, stop at their breakpoints from the first line on, and leave as they end. With
nobody attached they run as they would without it. For debugpy; PyCharm's debug server does this by nature.

examples:
  autoattach hub                             until Ctrl-C, or as a service
  autoattach hub --daemon                    in the background; autoattach hub --stop ends it
  autoattach run --hub -- ./entrypoint.sh    a hub for the life of one command"""

OPTIONS = ("ide", "host", "ports", "log", "verbose")
EVERY = 1.0  # seconds between two looks at whether the session is still there
ENDS = 10.0  # seconds that a hub may take to end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `hub` takes on its command line."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_options(parser, OPTIONS)
    parser.add_argument("--daemon", action="store_true", help="in the background; returns when the port is open")
    parser.add_argument("--stop", action="store_true", help="end the hub that runs")


def run(arguments: argparse.Namespace) -> int:
    """Be a hub until a signal ends it. Returns 0, and 1 where that cannot be; with `--daemon` a hub that is there is
    what was wanted."""
    settings = Settings.from_environ({**os.environ, **given(arguments), "DEBUGGER_WAIT": "0"})
    if arguments.stop:
        return stop(settings.ports[0] if settings.ports else None)
    if arguments.daemon and not hasattr(os, "fork"):
        print("autoattach hub: there is no --daemon on this system; start it as a service", file=sys.stderr)
        return 1
    if settings.log:
        settings = settings.replace(log=os.path.abspath(settings.log))
    mouth = -1
    if arguments.daemon:
        status, mouth = leave()
        if status is not None:
            return status
    with EndingSignals(started=False):
        try:
            hub = Hub(settings, Process.current(started=True))
            hub.open()
        except HubTaken as error:
            print(f"autoattach hub: {error}", file=sys.stderr, flush=True)
            return report(mouth, 0 if arguments.daemon else 1)
        except AttachError as error:
            print(f"autoattach hub: {error}", file=sys.stderr, flush=True)
            return report(mouth, 1)
        if arguments.daemon:
            report(mouth, 0)
            quiet()
        notify("READY=1")
        while True:
            time.sleep(EVERY)
            hub.check()


def stop(port: Optional[int]) -> int:
    """End the hub on a port, by default the one that there is. Returns 0 when it has ended, 1 where there is none."""
    record = find(port)
    if record is None:
        where = f"on port {port}" if port else "here"
        print(f"autoattach hub: no hub of this user's runs {where}; autoattach ps shows what does", file=sys.stderr)
        return 1
    os.kill(record.pid, signal.SIGTERM)
    until = time.monotonic() + ENDS
    while find(record.session.port) == record and alive(record.pid):
        if time.monotonic() > until:
            print(f"autoattach hub: pid {record.pid} does not end; kill -9 {record.pid}", file=sys.stderr)
            return 1
        time.sleep(0.02)
    print(f"the hub at {spell(*record.session.address)} (pid {record.pid}) has ended")
    return 0


def leave() -> tuple[Optional[int], int]:
    """Go into the background. In the process that was called: the exit status, when the one behind is ready; there:
    None, and what to tell the status to."""
    sys.stdout.flush()
    ear, mouth = os.pipe()
    middle = os.fork()
    if middle:
        os.close(mouth)
        with open(ear, "rb") as news:
            os.waitpid(middle, 0)
            word = news.read()
        return int(word or b"1"), -1
    os.close(ear)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    return None, mouth


def report(mouth: int, status: int) -> int:
    """Tell who waits in `leave()`."""
    if mouth >= 0:
        os.write(mouth, str(status).encode())
        os.close(mouth)
    return status


def quiet() -> None:
    """From now on nobody reads what is said."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    if null > 2:
        os.close(null)


def notify(state: str) -> None:
    """Tell systemd, where it wants to know (Type=notify; see sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)
    except OSError:  # nobody is there
        pass
