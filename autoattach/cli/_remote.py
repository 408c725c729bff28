"""Ask a running process to attach or to detach: on its own channel or, where it has none, by a script of ours."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import time
from typing import List, NamedTuple, Optional, Sequence, Tuple

import autoattach
from autoattach import _records
from autoattach._channel import Address
from autoattach._errors import AttachError
from autoattach._link import Link
from autoattach._outside import ATTACH, FAILED
from autoattach._process import alive
from autoattach._records import Record
from autoattach._session import Session
from autoattach._settings import LENT, SIGNAL, Settings
from autoattach.cli import _running
from autoattach.cli._inject import CALL, Forbidden, Unable, by_debugpy, by_gdb, by_remote_exec
from autoattach.cli._interpreter import ask as ask_interpreter
from autoattach.cli._running import Running, Unreadable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ANSWER = 30.0  # seconds that an answer may take, in a busy program
SOON = 2.0  # seconds after which a main thread that has not begun counts as blocked in a call
REMOTE_EXEC = (3, 14)
# What the process runs. It must not raise, nor leave a name behind; it may be run twice. The work is done in a thread,
# for the main one may be anywhere.
SCRIPT = """\
def start():
    import sys
    if getattr(sys, "_autoattach_asked", "") == {token!r}:
        return
    sys._autoattach_asked = {token!r}
    import _thread
    import os
    try:
        os.unlink({script!r})
    except OSError:
        pass
    main = _thread.get_ident()
    def answer(reply):
        if sys.getswitchinterval() == 1e-4:
            sys.setswitchinterval(interval)
        try:
            number = os.open({reply!r} + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(number, "\\n".join(reply).encode("utf-8", "surrogateescape"))
            os.close(number)
            os.rename({reply!r} + ".new", {reply!r})
        except OSError:
            pass
    interval = sys.getswitchinterval()
    def work():
        sys.setswitchinterval(1e-4)
        try:
            lent = {root!r} not in sys.path
            if lent:
                sys.path.append({root!r})
            try:
                from autoattach._outside import perform_in_thread
            finally:
                if lent:
                    sys.path.remove({root!r})
            perform_in_thread({request!r}, main, answer)
        except BaseException as error:
            answer(["failed", " ".join(("%s: %s" % (type(error).__name__, error)).split()), ""])
    _thread.start_new_thread(work, ())
try:
    start()
except BaseException:
    pass
"""


class Target(NamedTuple):
    """A process that runs."""

    pid: int
    command: Tuple[str, ...]
    """Its command line, as far as it is known."""
    running: Optional[Running]
    """What the system tells of it; None where it does not."""
    record: Optional[Record]
    """What it has left for us to find: it is attached, or can be."""


class Turn:
    """Within it nobody else of this user's has a script run by the process: one gdb only can be at work in it.

    A turn that does not come within `ANSWER` seconds, or where there are no such locks, is not waited for.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._number = -1

    def __enter__(self) -> None:
        folder = _records.prepare(os.getpid())
        if folder is None or fcntl is None:
            return
        try:
            self._number = os.open(os.path.join(folder, f"{self._pid}.turn"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return
        until = time.monotonic() + ANSWER
        while time.monotonic() < until:
            try:
                return fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.02)

    def __exit__(self, *exception: object) -> None:
        if self._number >= 0:
            os.close(self._number)


def look(pid: int, verb: str) -> Target:
    """What there is to know of a process. `verb`: what is asked for. Raises `AttachError` where it cannot be asked."""
    running = None
    if os.path.isdir("/proc/self"):
        try:
            running = _running.read(pid, verb)
        except Unreadable:
            if not has_channel(pid):  # on which it can be asked all the same
                raise
        state, tracer = _state(pid)
        if tracer:
            with Turn(pid):  # it may be the gdb of another one of us
                state, tracer = _state(pid)
        if state == "T":
            raise AttachError(f"pid {pid} is stopped", f"kill -CONT {pid} has it run on")
        if state in ("Z", "X"):
            raise AttachError(f"pid {pid} has ended", "ps -e | grep python")
        if tracer:
            raise AttachError(f"pid {pid} is traced by pid {tracer}, a gdb or strace", _about(tracer))
    elif not alive(pid):
        raise AttachError(f"there is no process with the id {pid}", "ps -e | grep python")
    record = next((record for record in _records.read() if record.pid == pid), None)
    command = running.command.line if running is not None else (record.command,) if record is not None else ()
    return Target(pid, command, running, record)


def _about(tracer: int) -> str:
    """What is to be done about it."""
    try:
        with open(f"/proc/{tracer}/cmdline", "rb") as file:
            is_ours = CALL.encode() in file.read()
    except OSError:
        is_ours = False
    return f"pid {tracer} is ours, and waits for Python's lock: leave it" if is_ours else f"end pid {tracer} first"


def open_session(target: Target) -> Optional[Session]:
    """The session that a process is in, if an IDE can really go there."""
    if target.record is None:
        return None
    session = target.record.session
    if session.serves_one:
        return session if session.mode == "listen" or session.live or target.record.held else None
    try:
        link = Link.open(session, os.getpid())
    except AttachError:  # the program has closed the door
        return None
    try:
        # Told to wait, or where debuggees go; or sent away, for a door that was closed is there until somebody comes
        return session if link.wait(time.monotonic() + SOON) or link.is_ours() else None
    finally:
        link.close()


def has_channel(pid: int) -> bool:
    """Whether the process can be asked on a channel of its own."""
    return os.path.exists(os.path.join(_records.folder(), f"{pid}.ctl"))


def ask(target: Target, request: Sequence[str], lent: str = "") -> Tuple[str, List[str]]:
    """How it was asked, and its answer: see `_outside`. Raises `AttachError`."""
    lines = [*request, f"{LENT}={lent}"] if lent else list(request)
    if any("\n" in line for line in lines):
        raise AttachError("a line's end has no place in an argument")
    reply = _on_channel(target.pid, lines)
    how = "channel"
    if reply is None:
        with Turn(target.pid):
            reply = _on_channel(target.pid, lines)  # whoever had the turn before has made one
            if reply is None:
                try:
                    how, reply = _by_script(target, lines)
                except (Forbidden, Unable) as error:
                    raise AttachError(error.what, _by_signal(target, lines) or error.advice) from None
    if reply[:1] == [FAILED]:
        raise AttachError(*reply[1:3])
    return how, reply


def _by_signal(target: Target, lines: List[str]) -> str:
    """What has a process attach that waits for a signal, and so needs nobody's leave; or an empty string."""
    words = Settings.from_environ(target.running.command.environ).words if target.running is not None else ()
    for word, _, name in (word.partition(":") for word in words if ATTACH in lines):
        # One that has no handler for it was not armed, whatever its environment says, and would die of it.
        if word == SIGNAL and _catches(target.pid, getattr(signal, f"SIG{name}")):
            return f"kill -{name} {target.pid}, for which it has START_DEBUGGER"
    return ""


def _catches(pid: int, number: int) -> bool:
    try:
        return bool(int(_running.status(pid)["SigCgt"], 16) >> (number - 1) & 1)
    except (OSError, KeyError):
        return False


def _on_channel(pid: int, lines: List[str]) -> Optional[List[str]]:
    """None where there is no channel, or nobody at it any more."""
    if not hasattr(socket, "AF_UNIX") or not has_channel(pid):
        return None
    with socket.socket(socket.AF_UNIX) as sock, Address(_records.folder(), pid) as path:
        sock.settimeout(ANSWER)
        try:
            sock.connect(path)
            if hasattr(socket, "SO_PEERCRED"):
                peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                if int.from_bytes(peer[:4], sys.byteorder) != pid:
                    return None
        except OSError:
            return None
        try:
            sock.sendall(("\n".join(lines) + "\n\n").encode("utf-8", "surrogateescape"))
            answer = b""
            while not answer.endswith(b"\n\n"):  # the end of file may not come: a fork of it has the socket, too
                part = sock.recv(65536)
                if not part:
                    break
                answer += part
        except socket.timeout:
            raise AttachError(
                f"pid {pid} does not answer within {ANSWER:g} s", "try again when it is not so busy"
            ) from None
        except OSError:
            return None
    return answer.decode("utf-8", "surrogateescape").splitlines()[:3] or None


def _by_script(target: Target, lines: List[str]) -> Tuple[str, List[str]]:
    folder = _records.prepare(os.getpid())
    if folder is None:
        raise AttachError(f"{_records.folder()} is not to be had, for the script and the answer", "make room there")
    token = secrets.token_hex(8)
    # By the name's first part they are swept away when that process has ended.
    script = os.path.join(folder, f"{target.pid}.{token}.py")
    reply = os.path.join(folder, f"{os.getpid()}.{token}.reply")
    root = os.path.dirname(os.path.dirname(os.path.abspath(autoattach.__file__)))
    source = SCRIPT.format(token=token, script=script, root=root, request=lines, reply=reply)
    text = f"exec({source!r}, {{}})\n\0"  # of which no name is left; the zero is the string's end, for gdb
    answered = _Answer(reply)
    try:
        how = _inject(target, script, text, answered)
        answer = answered.wait(ANSWER)
    finally:
        for path in (reply, reply + ".new"):
            _remove(path)
        if answered.lines is not None or not answered.pending:
            _remove(script)
    if answer is None:
        raise AttachError(
            f"pid {target.pid} was asked, and has not answered within {ANSWER:g} s",
            "it does so when its main thread comes to run Python code: autoattach ps shows it then",
        )
    return how, answer


class _Answer:
    """The file in which the other process answers."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: Optional[List[str]] = None
        self.pending = False
        """The script has to stay: Python reads it when it comes to it."""

    def wait(self, seconds: float) -> Optional[List[str]]:
        until = time.monotonic() + seconds
        while self.lines is None:
            try:
                with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
                    self.lines = file.read().split("\n")
            except OSError:
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
        return self.lines


def _inject(target: Target, script: str, text: str, answered: _Answer) -> str:
    """Have it run the script, in the way that can be had here; which it was is returned."""
    pid, running = target.pid, target.running
    version: Tuple[int, ...] = sys.version_info[:3]
    why = ""
    if running is not None:
        version = ask_interpreter(
            running.command.python, running.command.options, running.command.environ, running.command.cwd
        ).version
        why = disabled(running)
    if version[:2] >= REMOTE_EXEC and not why:
        _write(script, text.rstrip("\0"))
        python, environ = [sys.executable], None
        if running is not None:
            python = [running.command.python]
            environ = {n: v for n, v in running.command.environ.items() if n != "START_DEBUGGER"}
        try:
            by_remote_exec(pid, python, environ, script)
            answered.pending = True
            until = time.monotonic() + SOON
            while time.monotonic() < until and os.path.exists(script):
                time.sleep(0.02)
            if not os.path.exists(script):
                return "remote_exec"
            why = f"pid {pid} was asked, but its main thread is blocked in a call"
        except Unable as error:
            why = error.what
    try:
        if sys.platform.startswith("linux"):
            try:
                _write(f"{script}.gdb", text)
                by_gdb(pid, f"{script}.gdb", blocked=bool(why and answered.pending) or _is_blocked(pid))
                return "gdb"
            except Unable as error:
                if error.what != "gdb is not installed":
                    raise
            finally:
                _remove(f"{script}.gdb")
        _write(script, text.rstrip("\0"))
        by_debugpy(pid, script)
        return "debugpy"
    except Unable as error:
        if answered.pending:
            return "remote_exec"
        raise Unable(f"{why}, and {error.what}" if why else error.what, error.advice) from None


def disabled(running: Running) -> str:
    """What keeps `sys.remote_exec` out of a process, or an empty string."""
    if running.command.environ.get("PYTHON_DISABLE_REMOTE_DEBUG"):
        return "PYTHON_DISABLE_REMOTE_DEBUG is in its environment"
    words = [word.replace("_", "-") for word in running.command.options]
    if "-Xdisable-remote-debug" in words or "disable-remote-debug" in words:
        return "it runs with -X disable-remote-debug"
    return ""


def _state(pid: int) -> Tuple[str, int]:
    """The state's letter, and who traces it."""
    try:
        status = _running.status(pid)
        return status["State"][:1], int(status["TracerPid"])
    except (OSError, KeyError):
        return "", 0


def _is_blocked(pid: int) -> bool:
    """Whether its main thread sleeps in a call, at each of several looks."""
    for _ in range(10):
        if _state(pid)[0] not in ("S", "D"):
            return False
        time.sleep(0.01)
    return True


def _write(path: str, text: str) -> None:
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(number, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise AttachError(f"{path} cannot be written ({error.strerror})", "make room there") from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
