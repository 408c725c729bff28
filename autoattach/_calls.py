"""The calls for code that decides by itself: attach, detach, and what one may ask in between."""

from __future__ import annotations

import os
import time
from threading import RLock

from autoattach import _channel
from autoattach._attach import enter, handed_down
from autoattach._errors import AttachError, DebuggerError, SettingError
from autoattach._loading import Loader, current
from autoattach._plan import Arm, Skip, gate
from autoattach._process import Process, bearer
from autoattach._session import Session
from autoattach._settings import FOREVER, VARIABLES, Settings
from autoattach._threads import refuse_gevent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

LOOK = 0.02  # seconds between two looks at whether the IDE has come

_one_at_a_time = RLock()
if hasattr(os, "register_at_fork"):  # a fork made meanwhile, by another thread, would inherit it locked
    os.register_at_fork(after_in_child=lambda: globals().update(_one_at_a_time=RLock()))


def attach(arguments: Mapping[str, object]) -> Session:
    """`autoattach.attach()`. `arguments` by the names of the fields of `Settings`; None is for what is not given."""
    with _one_at_a_time:
        loader = _attached()
        if loader is not None and loader.session is not None:
            return loader.session
        return attach_as(_settings(arguments))


def attach_as(settings: Settings) -> Session:
    """The same, with all that may be said of it."""
    with _one_at_a_time:
        loader = _attached()
        if loader is not None and loader.session is not None:
            return loader.session
        refuse_gevent()
        process = Process.current(started=True)
        before = current()
        if before is not None and before.dialer is not None:
            before.dialer.stop()
        owner = bearer()
        if before is not None and before.over:
            before.ledger.undo()  # another thread may be at it: the adapter has just gone
            if before.debugger == owner:  # what detach() has left behind
                process = process.replace(debugger="")
        if owner and not process.debugger:
            if settings.ide not in (None, owner, {"pydevd-pycharm": "pycharm"}.get(owner, "vscode")):
                raise DebuggerError(
                    f"{owner} is in this process already, and leaves no room for {settings.ide}",
                    f"choose {owner}, or start the program anew",
                )
            settings = settings.replace(ide=owner)
        skip: Skip | Arm | None = gate(settings, process)
        reachable = _channel.is_open()
        try:
            if skip is None:
                skip = enter(settings, process, handed_down(settings, process))
            if isinstance(skip, Skip):
                raise skip.error or AttachError(f"not attached: {skip.reason}")
        except BaseException:
            if not reachable:
                _channel.close()
            raise
        finally:
            _channel.settle()
        loader = current()
        assert loader is not None
        assert loader.session is not None
        return loader.session


def _settings(arguments: Mapping[str, object]) -> Settings:
    """What the environment and the arguments say, the arguments first. Raises `SettingError`."""
    given, fields = {}, {}
    for variable in VARIABLES:
        value = arguments.get(variable.field)
        if value is not None:
            given[variable.name] = _text(value)
            fields[variable.name] = variable.field
    given["START_DEBUGGER"] = "1"
    settings = Settings.from_environ({**os.environ, **given})
    for problem in settings.problems:
        name = {"ports": "port"}.get(fields.get(problem.name, ""), fields.get(problem.name))
        if name is not None:
            raise SettingError(name, given[problem.name], problem.allowed)
        raise problem
    with_given: Settings = settings.replace(given=tuple(given.items()), strict=False)
    return with_given


def _text(value: object) -> str:
    """An argument as its variable has it."""
    if isinstance(value, bool):
        return str(+value)
    if value == FOREVER:
        return "forever"
    if isinstance(value, dict):
        return ",".join(f"{local}={remote}" for local, remote in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def _attached() -> Loader | None:
    loader = current()
    return loader if loader is not None and loader.is_attached() else None


def is_attached() -> bool:
    """`autoattach.is_attached()`."""
    return _attached() is not None


def is_client_connected() -> bool:
    """`autoattach.is_client_connected()`."""
    loader = current()
    return loader is not None and not loader.over and loader.is_client_connected()


def wait_for_client(timeout: float | None) -> bool:
    """`autoattach.wait_for_client()`."""
    until = FOREVER if timeout is None else time.monotonic() + timeout
    while not is_client_connected():
        if _attached() is None:
            raise AttachError("there is no session to wait in", "call autoattach.attach() first")
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, LOOK))
    return True


def detach() -> bool:
    """`autoattach.detach()`."""
    with _one_at_a_time:
        loader, before = _attached(), current()
        if loader is not None:
            loader.detach()
            return True
        if before is not None and before.dialer is not None and before.dialer.is_watching():
            before.dialer.stop()
            return True
        return False
