"""A command below a hub of its own: signals go through, the exit status comes back, and orphans are reaped.

The command stays in this process's group, as if it ran in its place: what the terminal sends to the group reaches it by
itself, what is sent to this process is passed on. The rules are those of tini and dumb-init
(https://github.com/krallin/tini, https://github.com/Yelp/dumb-init).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from _thread import allocate_lock, get_ident
from typing import Any, Dict, List, Set

from autoattach._notices import say
from autoattach._session import SESSION
from autoattach._threads import start_thread
from autoattach.cli._keeper import Hub

# What is not passed on: it cannot be, or is about this process itself.
OURS = frozenset(
    f"SIG{name}"
    for name in (
        *("KILL", "STOP", "CHLD", "TTIN", "TTOU", "PIPE", "ABRT", "SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS"),
        *("XCPU", "XFSZ", "PROF", "VTALRM", "EMT", "INFO"),
    )
)
BY_TERMINAL = ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGWINCH")  # which it sends to the group
EVERY = 1.0  # seconds between two looks at whether the session is still there


class Relay:
    """Takes this process's signals, in a thread of its own, from now on: before there is a command they do what they
    always do, and then they go to it."""

    def __init__(self) -> None:
        self.command = 0
        self.turn = allocate_lock()
        """Whoever has it starts the command, or does what a signal does while there is none."""
        self.ended = False
        self.mask: Set[Any] = set()
        """The signals that were blocked before: the command's."""
        self._signals: Set[Any] = set()
        self._by_terminal = {getattr(signal, name) for name in BY_TERMINAL if hasattr(signal, name)}

    def start(self) -> None:
        """Begin, before there is any other thread: each inherits what is blocked."""
        if not hasattr(signal, "pthread_sigmask"):  # Windows, where Ctrl-C reaches the command by itself
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, nobody would learn the command's status
        self._signals = {n for n in signal.valid_signals() if getattr(n, "name", "") not in OURS}
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        start_thread(self._run)

    def stop(self) -> None:
        """Give the signals back to this thread, which is about to become the command."""
        if self._signals:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def _run(self) -> None:
        while True:
            # Where the system tells who has sent it (not on macOS): a positive code is the kernel's.
            if hasattr(signal, "sigwaitinfo"):
                info = signal.sigwaitinfo(self._signals)
                number, by_terminal = info.si_signo, info.si_code > 0
            else:
                number = int(signal.sigwait(self._signals))
                by_terminal = in_foreground()
            with self.turn:
                if not self.command:
                    act_as_usual(number)
                    continue
            if not self.ended and not (by_terminal and number in self._by_terminal):
                try:
                    os.kill(self.command, number)
                except OSError:  # it has just ended
                    pass


def act_as_usual(number: int) -> None:
    """Have a signal do to this process what it does by default; process 1, which it would not end, exits."""
    # Sent first and let in then: of two that would stop it, one does, for going on takes the other away.
    signal.pthread_kill(get_ident(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    if os.getpid() == 1 and number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os._exit(128 + number)


def in_foreground() -> bool:
    """Whether the terminal, if there is one, sends its signals to the group of this process."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def supervise(hub: Hub, relay: Relay, program: str, words: List[str], environ: Dict[str, str]) -> int:
    """Run it below the hub, which is open. Returns the exit status, as a shell gives it: 128 and more for a signal.

    Raises OSError where it cannot be run.
    """
    session = hub.session
    # `live`: each process of the command asks whether an IDE is there, for one may have come since
    environ = {**environ, SESSION: session.replace(live=True).to_text(), "DEBUGGER_PORT": str(session.port)}
    start_thread(keep, hub)
    if not hasattr(os, "posix_spawn"):
        return wait_for(subprocess.Popen(words, env=environ))
    with relay.turn:
        relay.command = spawn(program, words, environ, relay.mask)
    try:
        return reap(relay.command)
    finally:
        relay.ended = True


def keep(hub: Hub) -> None:
    """Look after the hub, as long as this process runs."""
    while True:
        time.sleep(EVERY)
        try:
            hub.check()
        except Exception as error:  # in a thread of ours it would be a traceback
            say(f"{error}; trying again")


def spawn(program: str, words: List[str], environ: Dict[str, str], mask: Set[Any]) -> int:
    """Start it, with the signals as they were for us. Python ignores two that a command does not expect ignored."""
    keywords: Dict[str, Any] = {
        "setsigmask": mask,
        "setsigdef": [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)],
    }
    try:
        return os.posix_spawn(program, words, environ, **keywords)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # No "#!" line: a shell does the same
        return os.posix_spawn("/bin/sh", ["/bin/sh", program, *words[1:]], environ, **keywords)


def reap(command: int) -> int:
    """Until the command has ended; whatever else ends is reaped, for process 1 gets every orphan. The status."""
    while True:
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if pid != command:
            continue
        if os.WIFSTOPPED(status):
            stop_too()
        elif os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
        else:
            return os.WEXITSTATUS(status)


def stop_too() -> None:
    """The command was stopped by its terminal: a shell that has started us wants to see us stop. It then has us
    continue, and passes that on to the whole group."""
    if in_foreground():
        act_as_usual(signal.SIGTSTP)


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """On Windows: until it has ended. Ctrl-C reaches it by itself."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
