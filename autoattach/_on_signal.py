"""START_DEBUGGER=signal: attached when a signal comes. What the program does at that signal, it goes on to do."""

from _thread import allocate_lock, start_new_thread  # here: gevent puts its own in their place

from autoattach._imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable

    from autoattach._armed import Armed

_signal: "Any" = __import__("_signal")  # `signal` would import `enum`


def arm(armed: "Armed", name: str) -> None:
    """From now on the signal attaches, instead of what it does by default; `name` as in `USR1`."""
    handler = Handler(armed, getattr(_signal, f"SIG{name}"))
    when_imported("signal", handler.share)


class Handler:
    """The system's handler of the signal is ours, and the one that the program sets is called by it.

    So both work, whichever came first. The program's own view of it is kept: `signal.signal()` and `signal.getsignal()`
    answer as if we were not there. What `signal.set_wakeup_fd()` does, on which asyncio's `loop.add_signal_handler()`
    builds, is done for any handler. (A handler that is set without Python, by a library in C, takes the place of ours.)
    """

    def __init__(self, armed: "Armed", number: int) -> None:
        self._armed = armed
        self._number = number
        self._programs: Any = _signal.getsignal(number)
        _signal.signal(number, self._handle)

    def _handle(self, number: int, frame: "FrameType | None") -> None:
        if self._armed.is_on():
            # `_threads.start_thread()`, written out: the signal may have interrupted the import of that very module.
            began = allocate_lock()
            began.acquire()
            try:
                start_new_thread(self._attach, (began.release,))
                began.acquire()
            except RuntimeError as error:  # no threads left
                self._armed.say_failure(error)
        if callable(self._programs):
            self._programs(number, frame)

    def _attach(self, begin: "Callable[[], None]") -> None:
        """In a thread: it imports, and opens a port, which is not done between two lines of the program."""
        begin()
        if not self._armed.is_client_connected():
            self._armed.attach(0.0, "a signal")

    def share(self, module: "Any") -> None:
        """In the module `signal`: what the program sets for this signal is ours to call."""
        set_handler, get_handler = module.signal, module.getsignal

        def signal(signalnum: "Any", handler: "Any") -> "Any":
            if signalnum != self._number:
                return set_handler(signalnum, handler)
            if not callable(handler) and handler not in (_signal.SIG_DFL, _signal.SIG_IGN):
                return set_handler(signalnum, handler)  # a TypeError
            _signal.signal(signalnum, self._handle)  # a ValueError, in another thread than the main one
            before, self._programs = getsignal(signalnum), handler
            return before

        def getsignal(signalnum: "Any") -> "Any":
            if signalnum != self._number:
                return get_handler(signalnum)
            # As the module has them, its own names for SIG_DFL and SIG_IGN
            handlers = {+value: value for value in (module.SIG_DFL, module.SIG_IGN)}
            return self._programs if callable(self._programs) else handlers.get(self._programs, self._programs)

        pairs: Any = ((signal, set_handler), (getsignal, get_handler))
        for ours, theirs in pairs:
            ours.__doc__, ours.__module__, ours.__wrapped__ = theirs.__doc__, "signal", theirs
            ours.__qualname__ = ours.__name__
        module.signal, module.getsignal = signal, getsignal
