"""What can go wrong. Each error says what happened and, in `advice`, what to type next."""


class AttachError(Exception):
    """A session could not be opened. `str()` is the one line that a user reads."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what, advice)
        self.what = what
        self.advice = advice
        self.outcome = "running on without a debugger"
        """What becomes of the program, to be said after it."""

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}" if self.advice else self.what


class SettingError(AttachError):
    """A variable holds a value that is not allowed."""

    def __init__(self, name: str, value: str, allowed: str, problem: str = "is not understood") -> None:
        super().__init__(f"{name}={value!r} {problem}", f"set {name} to {allowed}")
        self.name = name
        self.allowed = allowed


class DebuggerError(AttachError):
    """The debugger is missing, does not fit, or broke."""


class AddressError(AttachError):
    """The address cannot be listened on or connected to."""


class PortTaken(AddressError):
    """Somebody else listens on the port; `port` is None where it was one of a range."""

    def __init__(self, what: str, advice: str = "", port: "int | None" = None) -> None:
        super().__init__(what, advice)
        self.port = port


class HubTaken(AttachError):
    """This user has a hub on the port already."""


class PeerError(AttachError):
    """Whoever is at the other end is not an IDE, or left, or says nothing."""


class SessionGone(AttachError):
    """Nobody of the session is there any more."""


class SlotTaken(AttachError):
    """Another process of this user has the one slot of PyCharm's debug server."""
