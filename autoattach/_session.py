"""What a session is, and how it is handed to children: one variable of the environment."""

import os

from autoattach._settings import SESSION, Frozen

__all__ = ["HELLO", "HUB", "SESSION", "WAIT", "Session"]

# What members say where the session's clients connect (`_link`), and what they are told
HELLO = b"autoattach "  # then the session's id and this process's, and a newline
HUB = "hub"  # after the ids: one that wants to lead; and the word for the others that it will, then its process id
WAIT = b"wait\n"  # the answer while nobody is there; else where debuggees go: host, port and the leader's pid


class Session(Frozen):
    """The process that leads, and where. In the mode `failed` it has tried, and said why it could not; in the mode
    `leave` it leaves PyCharm's slot to a child."""

    __slots__ = ("id", "pid", "debugger", "mode", "host", "port", "live")
    id: str
    """What tells it from another session on the same port; who knows it may join."""
    pid: int
    debugger: str
    mode: str
    host: str
    port: int
    live: bool
    """An IDE was there when this was written: a child asks, and waits for the answer."""

    @property
    def address(self) -> "tuple[str, int]":
        """Where the IDE attaches or, with the mode `connect`, listens: host and port."""
        return self.host, self.port

    @property
    def serves_one(self) -> bool:
        """Nobody can join it: it ends with its leader."""
        return self.mode != "listen" or self.debugger == "ptvsd"

    def to_text(self) -> str:
        """The value of the variable `SESSION`. It is for this user's eyes, as an environment is."""
        return ",".join((self.id, str(self.pid), self.debugger, self.mode, self.host, str(self.port), str(+self.live)))

    @classmethod
    def from_text(cls, text: str) -> "Session | None":
        """The session that a value describes; None where it does not describe one."""
        try:
            name, pid, debugger, mode, host, port, live = text.split(",")
            session = cls(
                id=name, pid=int(pid), debugger=debugger, mode=mode, host=host, port=int(port), live=live == "1"
            )
        except ValueError:
            return None
        known = mode in ("listen", "connect", "failed", "leave") and live in ("0", "1")
        return session if session.pid > 0 and 0 < session.port < 65536 and name.isalnum() and known else None


def new_id() -> str:
    """An id that no other session has, and nobody guesses."""
    return os.urandom(12).hex()
