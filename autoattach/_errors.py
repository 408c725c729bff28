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
