"""A process that is to be attached to later: nothing is listened on, and nothing loaded, before its moment comes."""

import _thread
import os
import time

from autoattach import _settings
from autoattach._settings import BREAKPOINT, EXCEPTION, FOREVER, REQUEST, SIGNAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._plan import Arm
    from autoattach._settings import Settings


def arm(answer: "Arm", settings: "Settings") -> None:
    """Have each of the words do its part when its moment comes. Forks are armed as well, and children by themselves."""
    armed = Armed(settings)
    _settings.armed.extend(answer.words)
    if not settings.subprocess:
        os.environ.pop("START_DEBUGGER", None)  # children are none of it
    for word in answer.words:
        name, _, parameter = word.partition(":")
        if name == EXCEPTION:
            from autoattach import _uncaught

            _uncaught.arm(armed)
        elif name == SIGNAL:
            from autoattach import _on_signal

            _on_signal.arm(armed, parameter)
        elif name == BREAKPOINT:
            from autoattach import _on_breakpoint

            _on_breakpoint.arm(armed)
        elif name == REQUEST:
            from autoattach import _frameworks

            _frameworks.arm(armed)
    if settings.verbose:
        from autoattach._notices import say

        say(f"attaches later: {', '.join(answer.words)}")


class Armed:
    """What the words share: the way in, which is that of start-up."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings
        self._pid = os.getpid()
        self.main = _thread.get_ident()
        self.turn = _thread.RLock()
        """Whoever waits for an IDE has it; others wait for it meanwhile. (The same thread may come by once more.)"""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.main = _thread.get_ident()
        self.turn = _thread.RLock()  # another thread of the parent may have had it

    def in_main_thread(self) -> bool:
        """Whether it is the main thread that asks."""
        return _thread.get_ident() == self.main

    def is_on(self) -> bool:
        """Whether this process is meant: with DEBUGGER_SUBPROCESS=0 a fork is not."""
        return self.settings.subprocess or os.getpid() == self._pid

    def is_client_connected(self) -> bool:
        """Whether an IDE is there, and has set its breakpoints."""
        from autoattach import _loading

        loader = _loading.current()
        return loader is not None and not loader.over and loader.is_client_connected()

    def attach(self, wait: "float | None", for_what: str, redials: bool = True) -> bool:
        """Attach as at the start, and wait up to `wait` seconds, or as at the start. Whether an IDE is there then.

        A failure is said. Raises KeyboardInterrupt, at Ctrl-C, and nothing else.
        """
        try:
            return self._attach(wait, for_what, redials)
        except Exception as error:
            self.say_failure(error)
        return False

    @staticmethod
    def say_failure(error: Exception) -> None:
        """Say it, where that can still be done: a program may have no files left to open, or another root."""
        try:
            from autoattach._errors import AttachError
            from autoattach._notices import say
        except Exception:
            return
        if isinstance(error, AttachError):
            say(f"{error}; {error.outcome}")
        else:
            say(f"{type(error).__name__}: {error}; running on without a debugger")

    def _attach(self, wait: "float | None", for_what: str, redials: bool) -> bool:
        from autoattach._threads import import_threading, refuse_gevent

        refuse_gevent()
        import_threading(self.main)
        from autoattach import _calls
        from autoattach._leader import how_long
        from autoattach._network import spell
        from autoattach._notices import say
        from autoattach._plan import default_wait
        from autoattach._process import Process

        settings = self.settings
        if wait is None:
            wait = default_wait(settings, Process.current(started=True))
        until = time.monotonic() + wait
        # STRICT is for what happens before the program begins.
        settings = settings.replace(wait=wait, strict=False, words=settings.words if redials else ())
        session = _calls.attach_as(settings)
        left = until - time.monotonic()
        if left > 0 and not _calls.is_client_connected():  # it is open since an earlier moment, or another one's
            where = spell(*session.address)
            say(f"{for_what} waits {how_long(left if left == FOREVER else max(1, round(left)))} for the IDE at {where}")
            _calls.wait_for_client(None if left == FOREVER else left)
        return _calls.is_client_connected()
