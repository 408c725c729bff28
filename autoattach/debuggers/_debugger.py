"""What every debugger must be able to do, and what it is given for it."""

from __future__ import annotations

from autoattach._settings import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from types import FrameType
    from typing import Callable

    from autoattach._ledger import Ledger
    from autoattach._session import Session


class Task(Frozen):
    """What a debugger is given: the sockets, and what it needs to know of the settings."""

    __slots__ = (
        "listener", "visitors", "members", "entrance", "session", "until", "held", "early", "ledger", "log",
        "path_mappings", "subprocess", "excluded", "verbose", "lost", "followed",
    )  # fmt: skip
    listener: _socket.socket | None
    """The listening socket, when listening."""
    visitors: list[_socket.socket]
    """The connections that stand there, the IDE's first. None of their bytes has been read."""
    members: list[_socket.socket]
    """The connections of other processes of the session, who wait to be told where debuggees go."""
    entrance: tuple[str, int] | None
    """Where debuggees go, when joining."""
    session: Session
    until: float
    """When the hold ends, in seconds of `time.monotonic()`."""
    held: bool
    """The thread that loads it waits for the IDE's breakpoints; else the program runs."""
    early: bool
    """The program has not begun: nothing else runs."""
    ledger: Ledger
    log: str | None
    path_mappings: tuple[tuple[str, str], ...]
    subprocess: bool
    excluded: Callable[[tuple[str, ...]], bool]
    """Whether a child with this command line is to be left alone."""
    verbose: bool
    lost: Callable[[str], None]
    """To be called, with what happened, when the session has ended and cannot be had again."""
    followed: Callable[[], None]
    """To be called in a fork that the debugger has followed."""


class Debugger:
    """What `_attach` asks of a debugger. A subclass is one module of this package, its instance `DEBUGGER` there."""

    main_thread_only = False
    """It has to be loaded in the main thread, or, where that is blocked in a call, to take it later."""

    def attach(self, task: Task) -> bool:
        """Load the debugger into this process and give it the sockets.

        In a hold it also waits until the IDE has set its breakpoints, at the latest until `task.until`; False is
        returned where it has not by then. Every change goes into `task.ledger`. Raises `AttachError`; anything else
        that is raised counts as the debugger's own fault.
        """
        raise NotImplementedError

    def carried(self, task: Task | None, seconds: float) -> None:
        """Called, in a thread of its own, in a child that the debugger of its parent carries by itself.

        It is not to wait for a client for longer than this. `task` is None where it is no child of ours.
        """
        from autoattach.debuggers._pydevd import let_go

        let_go(seconds)

    def is_at_work(self) -> bool:
        """Whether it has been loaded into this process, and not been taken out since."""
        raise NotImplementedError

    def is_client_connected(self) -> bool:
        """Asked while it is at work: whether an IDE is there, and has set its breakpoints."""
        raise NotImplementedError

    def prepare(self, ledger: Ledger) -> None:
        """Called in a process whose fork is to load it; must not raise."""

    def stop(self, frame: FrameType) -> None:
        """Stop in this frame of this thread, at its next line. Called while an IDE is there."""
        from autoattach.debuggers._pydevd import stop

        stop(frame)

    def show(self, error: BaseException) -> None:
        """Stop in this thread, and show the exception where it was raised. Called while an IDE is there."""
        from autoattach.debuggers._pydevd import show

        show(error)

    def take_thread(self) -> None:
        """Debug this thread, too, after attach() in another; nothing before that. Must not raise."""
