"""START_DEBUGGER=exception: at an uncaught exception the process is held, and an IDE shows it where it was raised.

By then it has been reported, as ever: whoever is told of it by the program's own hook is told at once, not after the
hold, and no hook is in the way of another. Its traceback keeps the frames with all that is in them.
"""

import _thread
import atexit
import os
import sys

from autoattach._imports import when_imported
from autoattach._plan import EXCEPTION_WAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from autoattach._armed import Armed


def arm(armed: "Armed") -> None:
    """From now on the main thread, `threading`'s, asyncio's event loops and multiprocessing's children tell of what
    nobody has caught."""
    uncaught = Uncaught(armed)
    atexit.register(uncaught.in_main)
    when_imported("threading", uncaught.watch_threads)
    when_imported("asyncio.base_events", lambda module: uncaught.watch_loop(module.BaseEventLoop))
    when_imported("uvloop", lambda module: uncaught.watch_loop(getattr(module, "Loop", None)))
    when_imported("multiprocessing.process", uncaught.watch_processes)


class Uncaught:
    """The process is held for one exception, with whatever else fails meanwhile."""

    def __init__(self, armed: "Armed") -> None:
        self._armed = armed
        self._held = 0  # the process that has been
        self._busy = 0  # how many have the turn, or had it where this is a fork
        self._ended = False
        self._waiting: Any = None  # what a thread that is held waits for

    def in_main(self) -> None:
        """The program ends. If an exception has ended it, Python has left that in `sys`, after it was reported.

        So may a program (pytest does, for each test that fails); but then its traceback does not begin at the bottom of
        the stack.
        """
        if self._ended:
            return
        self._ended = True
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        traceback = getattr(error, "__traceback__", None)
        if traceback is None or traceback.tb_frame.f_back is not None:
            return
        if hasattr(sys, "ps1") or sys.flags.interactive or sys.flags.inspect:  # somebody has seen it, at the prompt
            return
        self._report(error)

    def watch_threads(self, threading: "Any") -> None:
        """In the module `threading`."""
        # What reports a thread's exception, by `threading.excepthook` or the program's own in its place (3.8 to 3.15)
        make: Any = getattr(threading, "_make_invoke_excepthook", None)
        shutdown: Any = getattr(threading, "_shutdown", None)

        def make_invoke_excepthook() -> "Any":
            invoke = make()

            def invoke_excepthook(thread: "Any") -> None:
                try:
                    invoke(thread)
                finally:
                    self._report(sys.exc_info()[1])

            return invoke_excepthook

        def shut_down() -> None:
            # Called as the main thread ends, before it waits for the others: for debuggers it is still alive here.
            if isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):
                self._let_go()  # Ctrl-C has ended the program, and is to end the hold of another thread, too
            self.in_main()
            shutdown()

        if make is not None:
            threading._make_invoke_excepthook = make_invoke_excepthook
        if shutdown is not None:
            threading._shutdown = shut_down

    def watch_loop(self, owner: "Any") -> None:
        """The class of an event loop: asyncio's, and uvloop's, which is none of its subclasses.

        Ctrl-C that ends the hold is to end the program, too; raised at once it would be lost in a task's finalizer.
        """
        call = getattr(owner, "call_exception_handler", None)
        if call is None:  # another module of that name
            return

        def call_exception_handler(loop: "Any", context: "Any") -> None:
            try:
                call(loop, context)
            finally:
                if self._report(context.get("exception")) and sys.modules["asyncio"]._get_running_loop() is loop:
                    loop.call_soon(interrupt)

        def interrupt() -> None:
            raise KeyboardInterrupt

        call_exception_handler.__doc__ = call.__doc__
        owner.call_exception_handler = call_exception_handler

    def watch_processes(self, process: "Any") -> None:
        """In the module `multiprocessing.process`, whose children report by `traceback.print_exc()` (3.8 to 3.15)."""
        bootstrap = process.BaseProcess._bootstrap

        def report(traceback: "Any") -> None:
            print_exc = traceback.print_exc

            def print_and_report(*arguments: "Any", **keywords: "Any") -> None:
                print_exc(*arguments, **keywords)
                if sys._getframe(1).f_code is bootstrap.__code__:
                    traceback.print_exc = print_exc
                    sys.stderr.flush()
                    self._report(sys.exc_info()[1])

            print_and_report.__doc__ = print_exc.__doc__
            traceback.print_exc = print_and_report

        def _bootstrap(child: "Any", *arguments: "Any", **keywords: "Any") -> "Any":
            when_imported("traceback", report)
            return bootstrap(child, *arguments, **keywords)

        process.BaseProcess._bootstrap = _bootstrap

    def _report(self, error: "BaseException | None") -> bool:
        """Hold the process for it, if it is one for that. Whether a Ctrl-C has ended the hold that the program does not
        know of: a program that ends does so as it would have, another is to be told."""
        if error is None or isinstance(error, (SystemExit, KeyboardInterrupt)) or not self._armed.is_on():
            return False
        if error.__traceback__ is None:  # reported, and never raised: there is no place to show
            return False
        if sys.is_finalizing():  # a task that only the interpreter's end has collected: no thread can begin any more
            return False
        try:
            # Where an IDE is there already it has had its say; whoever fails while one is waited for has its turn.
            is_first = self._held != os.getpid()
            if (is_first or self._busy) and not self._armed.is_client_connected():
                self._hold(error)
        except KeyboardInterrupt as interrupt:
            return type(interrupt) is KeyboardInterrupt
        except Exception as failure:  # out of the debugger: none of the program's
            self._armed.say_failure(failure)
        return False

    def _hold(self, error: BaseException) -> None:
        from autoattach._notices import say
        from autoattach._threads import gevent_has_threads

        with self._armed.turn:
            self._busy += 1
            try:
                connected = self._armed.is_client_connected()
                if not connected and self._held != os.getpid():
                    self._held = os.getpid()
                    say(f"uncaught {type(error).__name__} {_place(error)}: attach to see it where it was raised")
                    aside = not (self._armed.in_main_thread() or gevent_has_threads())
                    connected = self._attach_aside() if aside else self._attach()
                if connected:  # one after the other: where an IDE goes on, all threads do
                    from autoattach import _loading, debuggers

                    loader = _loading.current()
                    assert loader is not None
                    debuggers.load(loader.debugger).show(error)
            finally:
                self._busy -= 1

    def _attach(self) -> bool:
        from autoattach._signals import HandledSignals

        wait = self._armed.settings.wait
        with HandledSignals():
            return self._armed.attach(EXCEPTION_WAIT if wait is None else wait, "an uncaught exception", redials=False)

    def _attach_aside(self) -> bool:
        """The same for another thread than the main one, which Ctrl-C does not reach: it can be let go."""
        from autoattach._outside import hidden_thread

        outcome: list[bool] = []
        self._waiting = over = _thread.allocate_lock()
        over.acquire()

        def attach() -> None:
            try:
                outcome.append(self._attach())
            finally:
                self._let_go()

        hidden_thread(self._armed.main, attach)
        over.acquire()
        return any(outcome)

    def _let_go(self) -> None:
        """End the hold of a thread, if there is one."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.release()


def _place(error: BaseException) -> str:
    traceback: Any = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"at {os.path.basename(traceback.tb_frame.f_code.co_filename)}:{traceback.tb_lineno}"
