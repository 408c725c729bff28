"""debugpy's adapter, the process between the IDE and the program: started by us, so that it serves our sockets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from autoattach._errors import DebuggerError
from autoattach._session import HELLO, HUB, WAIT
from autoattach.debuggers import find

if TYPE_CHECKING:
    import subprocess

    from autoattach.debuggers._debugger import Task

HELPER = 20.0  # seconds that the adapter may take to come up, on a machine that is busy


class Adapter:
    """debugpy's adapter, started by us so that it serves the sockets that we hold."""

    def __init__(self, task: Task) -> None:
        # Started before debugpy is imported here: both take their time, on two processors at once.
        import base64
        import json
        import socket
        import subprocess

        assert task.listener is not None
        self._endpoints = socket.socket()
        self._endpoints.bind(("127.0.0.1", 0))
        self._endpoints.listen(1)
        self._endpoints.settimeout(HELPER)
        report = self._endpoints.getsockname()[1]
        arguments = ["--for-server", str(report), "--host", task.session.host]
        # No --server-access-token: pydevd would show it in the command lines of the children that it starts, and the
        # adapter tells it to whoever connects to where debuggees go.
        arguments += ["--port", str(task.session.port)]
        if task.log:
            arguments += ["--log-dir", task.log]
        sockets = [task.listener, *task.visitors, *task.members]
        windows = os.name == "nt"
        process = subprocess.Popen(
            # -S: nothing of the program's site-packages, no other hook, and no start-up time for them
            [_python(), "-S", *([] if os.environ.get("PYTHONHOME") else ["-E"]), _program()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # it outlives the program: it must not hold its pipes open
            stderr=subprocess.DEVNULL,
            pass_fds=() if windows else [sock.fileno() for sock in sockets],
            env=_environment(),
            creationflags=0x08000000 | 0x00000200 if windows else 0,  # CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP
        )

        def order(sock: Any) -> object:
            return base64.b64encode(sock.share(process.pid)).decode() if windows else sock.fileno()

        listener, *others = [order(sock) for sock in sockets]
        orders = {"path": _folder(), "arguments": arguments, "report": report, "port": task.session.port}
        orders.update(listener=listener, visitors=others[: len(task.visitors)], members=others[len(task.visitors) :])
        orders.update(pid=os.getpid(), hello=f"{HELLO.decode()}{task.session.id} ", wait=WAIT.decode(), hub=HUB)
        assert process.stdin is not None
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        process.stdin.flush()
        self._process: subprocess.Popen[bytes] = process

    def endpoint(self) -> tuple[str, int]:
        """Where the adapter awaits debuggees. Raises `DebuggerError`."""
        import json

        try:
            connection, _ = self._endpoints.accept()
            with connection, connection.makefile("rb") as stream:
                connection.settimeout(HELPER)
                endpoints = json.loads(stream.read() or b"{}")
        except OSError as error:
            raise DebuggerError(
                f"debugpy's adapter does not start ({error})", "try: python -m debugpy.adapter"
            ) from None
        finally:
            self._endpoints.close()
            self._reap()
        if "server" not in endpoints:
            why = endpoints.get("error", "no reason given")
            raise DebuggerError(f"debugpy's adapter does not start ({why})", "try: python -m debugpy.adapter")
        return str(endpoints["server"]["host"]), int(endpoints["server"]["port"])

    def leave_alone(self) -> None:
        """We are its debuggee: from now on it lives as long as its debuggees and clients do."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(b".")
            self._process.stdin.flush()
        except OSError:  # it has gone
            pass

    def close(self) -> None:
        """What it has not been told yet it will not be told: without `leave_alone()` it is as if we had ended."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            pass

    def _reap(self) -> None:
        if os.name == "posix":  # it has forked away, and its first process has ended
            try:
                self._process.wait(HELPER)
            except Exception:
                self._process.kill()
        else:  # no ResourceWarning for a process that is meant to outlive us
            self._process.returncode = 0


def _environment() -> dict[str, str]:
    """The adapter's: no trigger of ours, and no order of somebody else's to announce itself in a file."""
    hidden = ("START_DEBUGGER", "AUTOATTACH_SESSION", "DEBUGPY_ADAPTER_ENDPOINTS")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _program() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_adapter.py")


def _folder() -> str:
    """The folder that debugpy lies in."""
    origin = find("debugpy")
    if origin is None:
        raise DebuggerError("debugpy is not installed here", "pip install autoattach[vscode]")
    return os.path.dirname(os.path.dirname(os.path.abspath(origin)))


def _python() -> str:
    """A Python to run the adapter with: `sys.executable` may be uwsgi, or an application that embeds Python."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folders = (os.path.join(sys.exec_prefix, "bin"), os.path.join(sys.base_exec_prefix, "bin"), sys.exec_prefix)
    candidates = [os.path.join(folder, name) for folder in folders for name in (version, "python3", "python.exe")]
    for path in [sys.executable, getattr(sys, "_base_executable", None), *candidates]:
        if path and "py" in os.path.basename(path).lower() and os.access(path, os.X_OK):
            return str(path)
    raise DebuggerError(
        "no Python interpreter was found to run debugpy's adapter", "install python3 beside this program"
    )
