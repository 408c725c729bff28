"""Ctrl-C and SIGTERM while we keep the main thread."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_signal: "Any" = __import__("_signal")  # `signal` would import `enum`


class EndingSignals:
    """Within it Ctrl-C and SIGTERM end the process as they end any program: killed by the signal, without a traceback.

    A KeyboardInterrupt out of a start-up hook would be a fatal error, and debuggers swallow it while they load. As
    process 1 the default action of both is to do nothing; there the process exits with 128 and the signal's number.

    A program that has `started` meets its KeyboardInterrupt itself. A worker that was just forked has its master's
    handlers, which would only note the signal, in the wrong process: it has not begun, and ends.
    """

    def __init__(self, started: bool, forked: bool = False) -> None:
        self._started = started
        self._forked = forked

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {}
        first = os.getpid() == 1
        wanted: dict[int, Any] = {_signal.SIGINT: _signal.SIG_DFL}
        if first:
            wanted = {_signal.SIGINT: self._exit, _signal.SIGTERM: self._exit}
        if self._started:
            del wanted[_signal.SIGINT]
        if self._forked:
            wanted = dict.fromkeys((_signal.SIGINT, _signal.SIGTERM, _signal.SIGQUIT), _signal.SIG_DFL)
        for number, action in wanted.items():
            now = _signal.getsignal(number)
            masters = self._forked and callable(now)
            if (now in (_signal.default_int_handler, _signal.SIG_DFL) or masters) and now is not action:
                try:
                    _signal.signal(number, action)
                except ValueError:  # not the main thread
                    continue
                self._before[number] = now

    @staticmethod
    def _exit(number: int, frame: "FrameType | None") -> None:
        os._exit(128 + number)

    def __exit__(self, *exception: object) -> None:
        for number, action in self._before.items():
            if _signal.getsignal(number) in (_signal.SIG_DFL, self._exit):  # else a debugger's: not ours to change
                _signal.signal(number, action)


class Handled(KeyboardInterrupt):
    """The program knows of it: a handler of its own has been called."""


class HandledSignals:
    """Within it Ctrl-C and SIGTERM are `Handled`, too, where the program has handlers of its own for them.

    These are called first: they may but set a flag, or, as asyncio's, leave it to the event loop, which we hold up.
    """

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {}
        try:
            for number in (_signal.SIGINT, _signal.SIGTERM):
                handler = _signal.getsignal(number)
                if callable(handler) and handler is not _signal.default_int_handler:
                    self._before[number] = handler  # first: it may come at once
                    _signal.signal(number, self._handle)
        except ValueError:  # not the main thread
            self._before.clear()
        except BaseException:
            self.__exit__()
            raise

    def _handle(self, number: int, frame: "FrameType | None") -> None:
        self._before[number](number, frame)
        raise Handled

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            if _signal.getsignal(number) == self._handle:  # else the handler has set another
                _signal.signal(number, handler)
