"""What is asked of this process from outside, by `autoattach attach PID` and `detach PID`: the answer, in lines."""

from __future__ import annotations

import os
import sys

from autoattach._errors import AttachError
from autoattach._ledger import Ledger
from autoattach._session import SESSION, Session
from autoattach._settings import LENT
from autoattach._threads import import_threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# A request is `attach`, then NAME=VALUE lines for the arguments of `autoattach.attach()`; or `detach`.
ATTACH, DETACH = "attach", "detach"
ARGUMENTS = ("ide", "host", "port", "mode", "path_mappings", "subprocess", "log", "verbose")
# The answer: `attached` and the session; `detached`; `nothing`, there was nothing to detach; or `failed`, then what
# happened and what to type.
ATTACHED, DETACHED, NOTHING, FAILED = "attached", "detached", "nothing", "failed"


def perform(request: list[str]) -> list[str]:
    """Do what is asked, as a call in the program itself would. Never raises."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # a busy program would leave the imports 5 ms in 10
    try:
        if request[:1] == [DETACH]:
            return [DETACHED if front().detach() else NOTHING]
        if request[:1] == [ATTACH]:
            return [ATTACHED, attach(dict(line.partition("=")[::2] for line in request[1:])).to_text()]
        return [FAILED, f"{' '.join(request[:1])} is not understood", "use the autoattach that the process runs with"]
    except AttachError as error:
        return [FAILED, *(" ".join(text.split()) for text in (error.what, error.advice))]
    except BaseException as error:
        return [FAILED, " ".join(f"{type(error).__name__}: {error}".split()), ""]
    finally:
        if sys.getswitchinterval() == 1e-4:
            sys.setswitchinterval(interval)


def attach(given: dict[str, str]) -> Session:
    """`autoattach.attach()`; the program is never held. Raises `AttachError`."""
    before = Session.from_text(os.environ.get(SESSION, ""))
    if before is not None and before.mode == "failed":  # that one could not attach is no reason to ask no more
        del os.environ[SESSION]
    lent = Ledger()
    # What pydevd (up to Python 3.10) does instead of tracing misses breakpoints in code that ran before it came, and
    # may go on after it has gone (pydevd-pycharm 263.7307 on 3.8 to 3.10, about every second time).
    lent.environ("PYDEVD_USE_FRAME_EVAL", "NO")
    if LENT in given:
        lent.environ(LENT, given[LENT])
    try:
        arguments: dict[str, Any] = {name: given[name] for name in ARGUMENTS if name in given}
        session: Session = front().attach(wait=0, **arguments)
        return session
    finally:
        lent.undo()


def front() -> Any:
    """The package, whose calls import what they need."""
    import autoattach

    return autoattach


def hidden_thread(main: int, function: Callable[..., object], *arguments: object) -> None:
    """Have a thread that `threading` knows, and pydevd leaves alone, call it: debuggers ask for the current thread.

    `main` is the identifier of the main thread.
    """
    import_threading(main)
    import threading

    from autoattach.debuggers._pydevd import hide

    thread = threading.Thread(target=function, args=arguments, name="autoattach", daemon=True)
    hide(thread)
    thread.start()


def perform_in_thread(request: list[str], main: int, answer: Callable[[list[str]], object]) -> None:
    """perform(), asked for in a bare thread, which ends now: a debugger would take it for one of the program's."""
    hidden_thread(main, lambda: answer(perform(request)))
