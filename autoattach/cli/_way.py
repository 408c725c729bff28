"""The ways in of `autoattach tunnel`: which command runs another one over there, and what it means when that fails."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import List, NamedTuple
from urllib.parse import unquote, urlsplit

from autoattach._errors import AttachError

FORMS = "ssh://user@host[:port], docker://container or kubectl://namespace/pod[/container]"
# No terminal: it would change bytes. No forwards of the user's own configuration: they would want port 9000, too.
SSH = ("ssh", "-T", "-x", "-o", "ClearAllForwardings=yes")


class Way(NamedTuple):
    """How to run something over there."""

    place: str
    """What is there, for a sentence."""
    command: List[str] | str
    """What runs the words that follow; a text where the system starts programs by a text (Windows)."""
    quoted: bool = False
    """A shell over there reads the words."""

    def starting(self, words: List[str]) -> List[str] | str:
        """The whole command."""
        if isinstance(self.command, str):
            return f"{self.command} {subprocess.list2cmdline(words)}"
        return [*self.command, *(map(shlex.quote, words) if self.quoted else words)]

    @property
    def program(self) -> str:
        """What is started here."""
        return (self.command.split() if isinstance(self.command, str) else self.command)[0]


def to(where: str) -> Way:
    """The way to a URL. Raises `AttachError`."""
    try:
        url = urlsplit(where)
        port = url.port
    except ValueError as error:
        raise AttachError(f"{where} is not understood ({error})", f"it can be {FORMS}") from None
    # A host's letters are not changed: a container's name has capitals. Nothing of it may be taken for an option.
    user, _, _ = url.netloc.rpartition("@")
    host = unquote(url.netloc.rpartition("@")[2])
    path = [unquote(part) for part in url.path.strip("/").split("/") if part]
    words = [unquote(user), host, *path]
    sound = not any(word.startswith("-") or re.search(r"[\s\0]", word) for word in words)
    if sound and host and not url.query and not url.fragment:
        if url.scheme == "ssh" and not path and url.hostname and ":" not in user:
            name = host.rpartition("]")[0].lstrip("[") or host.partition(":")[0]
            at = f"{unquote(user)}@{name}" if user else name
            return Way(f"{at} (ssh)", [*SSH, *(["-p", str(port)] if port else []), "--", at], quoted=True)
        if url.scheme == "docker" and not path and not user and ":" not in host:
            return Way(f"container {host}", ["docker", "exec", "-i", host])
        if url.scheme == "kubectl" and len(path) in (1, 2) and not user and ":" not in host:
            container = ["-c", path[1]] if path[1:] else []
            command = ["kubectl", "exec", "-i", "-n", host, path[0], *container, "--"]
            return Way(f"pod {'/'.join([host, *path])}", command)
    raise AttachError(f"{where} is not understood", f"it can be {FORMS}; --command takes any other way in")


def by(command: str) -> Way:
    """The way that a command is. Raises `AttachError`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise AttachError(f"--command {command!r} is not understood ({error})", "quote it as for a shell") from None
    if not words:
        raise AttachError("--command is empty", 'as in --command "podman exec -i web"')
    return Way(f"'{command}'", command if os.name == "nt" else words)


def failure(way: Way, python: str, status: int | None, said: str) -> AttachError:
    """What it means that the command ended before our other end spoke. `said`: its stderr."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = ""

    def tells(pattern: str) -> bool:
        nonlocal found
        found = next((line for line in reversed(lines) if re.search(pattern, line, re.IGNORECASE)), "")
        return bool(found)

    there = f"with {python} in there"
    if tells(r"No module named '?autoattach"):
        return AttachError(
            f"{way.place}: {python} has no autoattach", "install it there, or name a Python that has it with --python"
        )
    if tells(r"invalid choice: '?pipe"):
        return AttachError(f"{way.place}: the autoattach {there} is too old", "have the same release on both sides")
    if tells(r"no such container|container \S+ is (not running|paused|restarting)|\(NotFound\)|is not valid for pod"):
        return AttachError(f"{way.place} is not there, or does not run ({found})", "is it the right name?")
    if tells(
        r"could not resolve|no route to host|unreachable|timed out|cannot connect to the docker|docker daemon running"
    ):
        return AttachError(f"{way.place} cannot be reached ({found})", "see that this works by itself: " + by_hand(way))
    if tells(r"unable to connect to the server|connection to the server|connection refused|connection closed by"):
        return AttachError(f"{way.place} cannot be reached ({found})", "see that this works by itself: " + by_hand(way))
    if status in (126, 127) or tells(r"executable file not found|command not found|not recognized as"):
        reason = found or (lines[-1] if lines else f"status {status}")
        return AttachError(f"{way.place}: no {python} can be run ({reason})", "name the Python there with --python")
    if tells(r"permission denied|\(Forbidden\)|\(Unauthorized\)|must be logged in|verification failed|authenticat"):
        return AttachError(f"{way.place} does not let you in ({found})", "see that this works: " + by_hand(way))
    if tells(r"password is required|operation not permitted|is not in the sudoers|not allowed"):
        return AttachError(f"{way.place} does not let you in ({found})", "see that this works: " + by_hand(way))
    reason = lines[-1] if lines else "it said nothing"
    return AttachError(f"{way.program} ended with status {status} ({reason})", "see that this works: " + by_hand(way))


def by_hand(way: Way) -> str:
    """The command with `true`, to be tried by hand."""
    whole = way.starting(["true"])
    return whole if isinstance(whole, str) else " ".join(map(shlex.quote, whole))
