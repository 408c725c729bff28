"""attach_vscode() and attach_pycharm(): the program attaches the debugger with its own call, when it is asked to."""

from __future__ import annotations

import os
import time

from autoattach._connect import connect
from autoattach._errors import AttachError
from autoattach._loading import current
from autoattach._network import ATTEMPT, greets_as_pydevd, spell
from autoattach._notices import say
from autoattach._plan import HOST, PORT
from autoattach._process import Process, bearer
from autoattach._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


def attach_vscode(configure: Callable[[str, int], object], call_immediately: bool) -> None:
    """`autoattach.attach_vscode()`."""
    address = _wanted(call_immediately)
    if address is None or _at_work():  # it listens already: each of them refuses to do so twice
        return
    configure(*address)
    forward = f"ssh -L {address[1]}:127.0.0.1:{address[1]} USER@HOST"
    say(f"waiting for VS Code to attach at {spell(*address)}; from another machine through a port forward: {forward}")
    if bearer() == "ptvsd":
        import ptvsd

        ptvsd.wait_for_attach()
    elif bearer() == "debugpy":
        import debugpy

        debugpy.wait_for_client()


def attach_pycharm(configure: Callable[[str, int], object], call_immediately: bool) -> None:
    """`autoattach.attach_pycharm()`."""
    address = _wanted(call_immediately)
    if address is None:
        return
    who = "PyCharm's debug server"
    try:
        if not _at_work():  # PyCharm serves one process, and this one has it; the call is for another thread
            connect(*address, time.monotonic() + ATTEMPT, greets_as_pydevd, who, lambda error: None).close()
    except AttachError as error:
        forward = f"ssh -R {address[1]}:127.0.0.1:{address[1]} USER@HOST"
        say(f"{error}; on another machine the forward is, from PyCharm's: {forward}; running on without a debugger")
        return
    configure(*address)


def _at_work() -> bool:
    """Whether an earlier call has been made."""
    return bool(Process.current(started=True).debugger)


def _wanted(call_immediately: bool) -> tuple[str, int] | None:
    """Where to; None where nothing is asked for, or an IDE has come already since the program's start."""
    settings = Settings.from_environ(os.environ)
    loader = current()
    if not ((settings.on and not settings.words) or call_immediately):
        return None
    if loader is not None and loader.is_attached() and not loader.withdraw():
        return None
    return settings.host or HOST, (settings.ports or (PORT, PORT))[0]
