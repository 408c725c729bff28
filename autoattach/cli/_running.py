"""A process that runs already: its command line, its environment, whether it is attached. Linux's /proc tells."""

from __future__ import annotations

import os
from typing import Dict, Mapping, NamedTuple

from autoattach import _records
from autoattach._errors import AttachError
from autoattach._session import Session
from autoattach.cli._command import Command, is_python, resolve

SERVICE = ".service"
READY = "START_DEBUGGER=1 DEBUGGER_WAIT=0 before its command makes it one that needs no such right"


class Unreadable(AttachError):
    """A process of ours that the system does not let us look into."""


class Running(NamedTuple):
    """What the system tells of a process."""

    pid: int
    command: Command
    terminal: bool
    """Its stderr is one."""
    session: Session | None
    """The session that it is in, by its record."""
    service: str
    """The systemd service that it belongs to, `cron` where that has started it, or an empty string."""


def read(pid: int, verb: str = "doctor --pid") -> Running:
    """Raises `AttachError` where the process is not there, somebody else's, or no Python.

    `verb` is what is to be typed as somebody else, or somewhere else, where that is the remedy.
    """
    if not os.path.isdir("/proc/self"):
        raise AttachError(
            "this system does not tell about a running process (it has no /proc)",
            "autoattach doctor COMMAND, with its command line",
        )
    try:
        line = [os.fsdecode(word) for word in _bytes(pid, "cmdline").split(b"\0")[:-1]]
        _check_owner(pid, verb)
        environ = dict(_pairs(_bytes(pid, "environ")))
        exe, cwd = os.readlink(f"/proc/{pid}/exe"), os.readlink(f"/proc/{pid}/cwd")
        apart = os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    except PermissionError:
        # One of ours: root is no remedy, for another user's process it leaves alone.
        raise Unreadable(
            f"pid {pid} is not permitted to be looked into: it has other rights than you have, or forbids it itself",
            "autoattach doctor COMMAND, with its command line" if verb.startswith("doctor") else READY,
        ) from None
    except OSError:
        raise AttachError(f"there is no process with the id {pid}", "ps -e | grep python") from None
    if apart:
        raise AttachError(
            f"pid {pid} runs in a container, with files of its own",
            f"docker exec CONTAINER python -m autoattach {verb} {_inner(pid)}",
        )
    return Running(pid, _command(pid, line, environ, exe, cwd), _terminal(pid), _session(pid, environ), _service(pid))


def records_of(environ: Mapping[str, str]) -> None:
    """Have records looked for where a process of this environment leaves them."""
    name = "TEMP" if os.name == "nt" else "TMPDIR"
    if environ.get(name):
        os.environ[name] = environ[name]
    else:
        os.environ.pop(name, None)


def _check_owner(pid: int, verb: str) -> None:
    # Not that of /proc/PID, which is root's where a process forbids to be looked into
    owner = int(status(pid)["Uid"].split()[1])
    if owner != os.geteuid():  # not for root either, who would start another user's Python
        user = _user(owner)
        what = f"pid {pid} is {user}'s, and not permitted to be looked into"
        raise AttachError(what, f"sudo -u {user} autoattach {verb} {pid}")


def _user(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"#{number}"


def status(pid: int) -> Dict[str, str]:
    """What everybody may know of it. Raises `OSError`."""
    pairs = (line.partition(":") for line in _bytes(pid, "status").decode("utf-8", "replace").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _bytes(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _pairs(environ: bytes) -> list[tuple[str, str]]:
    entries = (os.fsdecode(entry).partition("=") for entry in environ.split(b"\0") if b"=" in entry)
    return [(name, value) for name, _, value in entries]


def _command(pid: int, line: list[str], environ: Mapping[str, str], exe: str, cwd: str) -> Command:
    """The Python by the name under which it was started, for by that it knows its virtual environment."""
    try:
        found = resolve(line, environ, cwd)
        if os.path.realpath(found.python) == os.path.realpath(exe):
            return found
    except AttachError:  # it has given itself another title
        pass
    if not is_python(exe):
        raise AttachError(f"pid {pid} runs {exe}, which is no Python", "give the id of a Python: ps -e | grep python")
    return Command(exe, (), tuple(line), environ, cwd)


def _session(pid: int, environ: Mapping[str, str]) -> Session | None:
    records_of(environ)
    try:
        with open(os.path.join(_records.folder(), str(pid)), encoding="utf-8", errors="replace") as file:
            return Session.from_text(file.readline().strip())
    except OSError:
        return None


def _terminal(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/2").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False


def _service(pid: int) -> str:
    try:
        for part in reversed(_bytes(pid, "cgroup").decode().replace("\n", "/").split("/")):
            if part.endswith(SERVICE) and not part.startswith("user@"):
                return "cron" if part.startswith("cron") else part
        for _ in range(5):
            fields = _bytes(pid, "stat").decode("utf-8", "replace").rpartition(")")
            if fields[0].partition("(")[2] in ("cron", "crond", "anacron"):
                return "cron"
            pid = int(fields[2].split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return ""


def _inner(pid: int) -> str:
    """Its id inside of its container."""
    return status(pid).get("NSpid", "PID").split()[-1]
