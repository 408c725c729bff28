"""Breakpoints in files that nothing maps: how debugpy (1.6 to 1.8.22) and ptvsd (4.3.2) are told of them."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from autoattach.debuggers._mappings import Mappings

if TYPE_CHECKING:
    from autoattach._ledger import Ledger

NOT_FOUND = "Breakpoint in file that does not exist."  # all releases
LOCK = 1.0  # seconds that a program's import waits for pydevd


def infer_paths(ledger: Ledger) -> None:
    """Look for the file whenever the client sets breakpoints, and answer why it is not found.

    Both have `on_setbreakpoints_request()` in the class that serves requests, which returns the response as a
    `NetCommand`.
    """
    from _pydevd_bundle import pydevd_process_net_command_json as module
    from _pydevd_bundle.pydevd_net_command import NetCommand

    # debugpy's name, and ptvsd's
    processors: Any = getattr(module, "PyDevJsonCommandProcessor", None) or module._PyDevJsonCommandProcessor
    requests = Requests(ledger)
    as_it_is = processors.on_setbreakpoints_request

    def on_setbreakpoints_request(processor: Any, py_db: Any, request: Any) -> Any:
        reason = requests.look(processor, py_db, request.arguments)
        command = as_it_is(processor, py_db, request)
        if not reason:
            return command
        answer = json.loads(command._as_bytes.decode())
        for breakpoint in answer.get("body", {}).get("breakpoints", ()):
            if not breakpoint.get("verified") and breakpoint.get("message") == NOT_FOUND:
                breakpoint["message"] = _with_launch_json(reason)
        return NetCommand(command.id, command.seq, answer, is_json=True)

    ledger.set(processors, "on_setbreakpoints_request", on_setbreakpoints_request)


class Requests:
    """The client's requests, and who has asked last."""

    def __init__(self, ledger: Ledger) -> None:
        self._mappings = Mappings(ledger, withdraw=lambda path: None, again=self._again)
        self._processor: Any = None
        self._py_db: Any = None
        self._thread = 0  # the one that serves a request, and has pydevd's lock

    def look(self, processor: Any, py_db: Any, arguments: Any) -> str:
        """Why the breakpoints of this request are not hit; empty if they can be. Never raises."""
        try:
            self._processor, self._py_db, self._thread = processor, py_db, threading.get_ident()
            source, breakpoints = arguments.source, arguments.breakpoints or []
            # pydevd makes objects of what it knows of the protocol
            path = _field(source, "path")
            if not path or not breakpoints or path.startswith("<"):
                return ""
            checksums = [
                {name: _field(one, name) for name in ("algorithm", "checksum")}
                for one in _field(source, "checksums") or ()
            ]
            return self._mappings.look(path, max(int(_field(one, "line")) for one in breakpoints), checksums)
        except Exception:  # another release: then as without us
            return ""
        finally:
            self._thread = 0

    def _again(self, path: str, reason: str) -> None:
        """Set the breakpoints of a file anew, and tell the client what has become of them."""
        py_db, locked = self._py_db, False
        if threading.get_ident() != self._thread:
            locked = py_db._main_lock.acquire(timeout=LOCK)
            if not locked:
                return
        try:
            self._set_again(path, reason)
        finally:
            if locked:
                py_db._main_lock.release()

    def _set_again(self, path: str, reason: str) -> None:
        from _pydevd_bundle.pydevd_net_command import NetCommand

        api, py_db = self._processor.api, self._py_db
        given = [parameters for _, parameters in list(py_db.api_received_breakpoints.values()) if parameters[0] == path]
        api.remove_all_breakpoints(py_db, path)
        for parameters in given:
            result = api.add_breakpoint(py_db, *parameters, adjust_line=True)
            if not hasattr(self._processor, "_on_changed_breakpoint_state"):
                continue  # ptvsd passes no such event on
            state = {"id": parameters[2], "line": result.translated_line, "source": {"path": path}}
            state["verified"] = not result.error_code
            if result.error_code:
                state["message"] = _with_launch_json(reason) if reason else NOT_FOUND
            body = {"reason": "changed", "breakpoint": state}
            event = NetCommand(0, 0, {"type": "event", "event": "breakpoint", "body": body}, is_json=True)
            py_db.writer.add_command(event)


def _with_launch_json(reason: str) -> str:
    return f"{reason}, or the same as pathMappings in launch.json"


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
