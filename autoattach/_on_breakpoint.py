"""START_DEBUGGER=breakpoint: attached at the first `breakpoint()`, which the IDE then shows."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._armed import Armed


def arm(armed: "Armed") -> None:
    """From now on `breakpoint()` is ours. A hook that the program sets itself takes its place."""
    before = sys.breakpointhook
    tried: list[int] = []  # the processes that have waited for an IDE

    def breakpointhook(*arguments: object, **keywords: object) -> object:
        if os.environ.get("PYTHONBREAKPOINT") == "0":
            return None
        if not armed.is_on():
            return before(*arguments, **keywords)
        frame = sys._getframe(1)
        with armed.turn:
            connected = armed.is_client_connected()
            if not connected and os.getpid() not in tried:
                tried.append(os.getpid())
                connected = armed.attach(None, "breakpoint()")
                # pydevd has put its own there, which waits for nobody for ever
                if sys.breakpointhook is not breakpointhook:
                    sys.breakpointhook = breakpointhook
        if connected:
            from autoattach import _loading, debuggers

            loader = _loading.current()
            assert loader is not None
            try:
                debuggers.load(loader.debugger).stop(frame)
            except Exception as error:  # it has just been taken out, from another thread or from outside
                armed.say_failure(error)
        return None

    sys.breakpointhook = breakpointhook
