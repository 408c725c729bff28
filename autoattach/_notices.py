"""say(): one line to stderr. It cannot fail, whatever has become of stderr."""

import os
import sys

_said: "set[str]" = set()


def say(text: object) -> None:
    """Write ``autoattach[PID]: text`` and a newline to the process's stderr, in one write.

    It goes to `sys.__stderr__`: what the program or a debugger puts in place of `sys.stderr` is theirs.
    """
    try:
        stream = sys.__stderr__
        if stream is None or stream.closed:
            return
        line = f"autoattach[{os.getpid()}]: {' '.join(str(text).split())}\n"
        # Past the stream's buffer: what cannot be written would stay in it, and give the program status 120 at its end.
        stream.flush()
        os.write(stream.fileno(), line.encode(stream.encoding or "utf-8", "backslashreplace"))
    except Exception:  # a full disk, a closed pipe, an encoding: nobody is left to tell
        pass


def say_once(text: str) -> None:
    """say(), but the same text only once in a process."""
    if text not in _said:
        _said.add(text)
        say(text)
