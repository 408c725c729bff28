"""ptvsd 4.3.2, for VS Code: the debugger that came before debugpy. It has no other release of this design."""

from __future__ import annotations

import _socket
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from autoattach import _records, _uwsgi
from autoattach._door import Door
from autoattach._network import PEEK, greets_as_dap, identity
from autoattach._settings import FOREVER
from autoattach.debuggers import _paths_dap, find
from autoattach.debuggers import _pydevd as common
from autoattach.debuggers._debugger import Debugger

if TYPE_CHECKING:
    import socket

    from autoattach.debuggers._debugger import Task

SETTLE = 5.0  # seconds that pydevd may take to work through what the client has sent


class Ptvsd(Debugger):
    """ptvsd's parts: a server for one client at a time and pydevd, both in this process."""

    main_thread_only = True  # pydevd traces the thread that loads it, and those that start later
    _ready = False

    def attach(self, task: Task) -> bool:
        server: Server | None = getattr(self, "_server", None)
        self._ready = False
        if server is None or server.closed:
            server = self._server = Server(task)
            again = False
        else:
            again = server.resume(task)
        with _Quiet(task):
            _import(task)
        _patch(task, server)
        common.set_path_mappings(task.path_mappings)
        if again:
            _trace(task, server)
        else:
            _listen(task, server)
        self._ready = True
        return _wait(task) if task.held else True

    def is_at_work(self) -> bool:
        server = getattr(self, "_server", None)
        return server is not None and not server.closed and not server.paused

    def is_client_connected(self) -> bool:
        # Not before it is imported, and every thread traced; and ptvsd counts a client that has yet to set breakpoints.
        return self._ready and bool(sys.modules["ptvsd"].is_attached()) and _configured().is_set()

    def take_thread(self) -> None:
        if getattr(sys.modules.get("pydevd"), "_debugger_setup", False):
            sys.modules["ptvsd"].debug_this_thread()


DEBUGGER = Ptvsd()


class Server:
    """The door, in place of the listening socket that ptvsd would make. It lets in one client after the other."""

    def __init__(self, task: Task) -> None:
        self._open(task)
        self._resumed = threading.Event()
        self.closed = False
        self.client: socket.socket | None = None
        self._client_identity: object = None
        self._pipe: Any = None
        self._pipe_identities: dict[str, object] = {}
        self.daemon: Any = None

    def _open(self, task: Task) -> None:
        assert task.listener is not None
        self._task = task
        self._door = Door(_take(task.listener), (task.session.host, task.session.port))
        self._door.readmit([_take(visitor) for visitor in task.visitors])
        self._ring = self._door.interruptible()
        self.paused = False
        task.ledger.enter("ptvsd's listening socket", self.pause)

    def pause(self) -> None:
        """Stop listening, and send the client away."""
        if self.closed or self.paused:
            return
        self._resumed.clear()
        self.paused = True
        self._ring()
        if self.client is not None and identity(self.client.fileno()) == self._client_identity:
            try:
                self.client.shutdown(_socket.SHUT_RD)  # as if it had left; what is being sent to it still goes there
            except OSError:  # it has gone
                pass

    def resume(self, task: Task) -> bool:
        """Listen again."""
        self._open(task)
        self._resumed.set()
        return True

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next client, once its first message is whole: for as long as ptvsd has one, nobody else is served."""
        _records.update(session=self._task.session.replace(live=False))
        while True:
            door = self._door
            visitors = door.wait(FOREVER, _greets_in_full)
            if visitors or not self.paused:
                break
            door.close()
            self._resumed.wait()
        if not visitors:
            if not self.closed:  # the program has closed whatever was open
                self.forget_what_was_closed()
                _disconnect()
                self._task.lost("the program has closed the debug port")
            raise SystemExit  # ends ptvsd's thread; it would try again without end after anything less
        self._door.readmit(visitors[1:])
        self.client = client = common.to_socket(visitors[0])
        self._client_identity = identity(client.fileno())
        _records.update(session=self._task.session.replace(live=True))
        try:
            return client, client.getpeername()[:2]
        except OSError:  # gone meanwhile
            return client, ("", 0)

    def getsockname(self) -> tuple[str, int]:
        """Two items, also for IPv6: ptvsd takes it apart."""
        return self._door.address

    def shutdown(self, how: int) -> None:
        """Nothing to do before close()."""

    def close(self) -> None:
        """Stop listening. The thread that waits at the door closes it."""
        if not self.closed:
            self.closed = True
            self._ring()
            self._door.close()

    def let_go(self) -> None:
        """In a forked child: the sockets are the parent's."""
        self.closed = True
        self._door.close()
        self.forget_what_was_closed()
        if self.client is not None:
            self.client.close()
        for name in self._pipe_identities:
            number = getattr(self._pipe, name)
            setattr(self._pipe, name, None)
            if number is not None:
                os.close(number)

    def know_pipe(self, pipe: Any) -> None:
        """The pipe between ptvsd and pydevd."""
        self._pipe = pipe
        self._pipe_identities = {name: identity(getattr(pipe, name)) for name in ("pipe_r", "pipe_w")}

    def forget_what_was_closed(self) -> None:
        """The program may have closed our numbers; what they name by now must be neither written to nor closed."""
        if self.client is not None and identity(self.client.fileno()) != self._client_identity:
            self.client.detach()
        for name, before in self._pipe_identities.items():
            number = getattr(self._pipe, name)
            if number is not None and identity(number) != before:
                setattr(self._pipe, name, None)


def _take(sock: _socket.socket) -> _socket.socket:
    return _socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())


def _greets_in_full(data: bytes) -> bool | None:
    if not greets_as_dap(data):
        return greets_as_dap(data)
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return None
    try:
        length = int(head.split(b":")[1].split()[0])
    except (IndexError, ValueError):
        return False
    return True if len(body) >= min(length, PEEK - len(head) - len(blank)) else None


class _Quiet:
    """Within it ptvsd can be imported without a word; streams and warnings stay as they are for everybody else."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._filter: Any = None

    def __enter__(self) -> None:
        import re
        import warnings

        # 3.8 to 3.12: its source has "\s" and the like, of which Python tells whenever it compiles them anew, and calls
        # what is deprecated.
        if not self._task.verbose:
            folder = re.escape(os.path.dirname(find("ptvsd") or "ptvsd"))
            warnings.filterwarnings("ignore", module=rf"{folder}|(ptvsd|_?pydev\w*)(\.|$)")
            self._filter = warnings.filters[0]

        # 3.11 and 3.12: pydevd_file_utils looks for the file of os.path.realpath's code, finds "<frozen posixpath>",
        # says in five lines that this Python is "incorrectly compiled", and from then on complains of each such file.
        self._exists = exists = os.path.exists

        def exists_or_is_frozen(path: Any) -> bool:
            return (isinstance(path, str) and path.startswith("<frozen ")) or exists(path)

        self._replacement = os.path.exists = exists_or_is_frozen

    def __exit__(self, *exception: object) -> None:
        if os.path.exists is self._replacement:
            os.path.exists = self._exists
        if sys.warnoptions or sys.flags.dev_mode:  # the user wants to see warnings, or has made them errors
            self._task.ledger.enter("warnings filter", self._remove_filter)
        else:
            self._remove_filter()

    def _remove_filter(self) -> None:
        import warnings

        filters: Any = warnings.filters
        if self._filter in filters:
            filters.remove(self._filter)


def _import(task: Task) -> None:
    note = common.keep_environment(task.ledger)
    common.support_gevent(task.ledger)
    hook = sys.breakpointhook

    def put_back() -> None:
        if getattr(sys.breakpointhook, "__module__", "").startswith("ptvsd"):
            sys.breakpointhook = hook

    task.ledger.enter("sys.breakpointhook", put_back)
    common.declare_plugins("ptvsd", "_vendored", "pydevd")
    import ptvsd

    note()
    if task.log:
        ptvsd.options.log_dir = task.log


def _listen(task: Task, server: Server) -> None:
    """What ptvsd.enable_attach() does, with a server that is there already; it traces this thread."""
    import ptvsd
    import pydevd
    from ptvsd import _remote, wrapper

    stdin = sys.stdin
    if task.log:
        ptvsd.log.to_file()
    wrapper.debugger_attached.clear()
    pydevd.PyDB().ready_to_run = True  # else it is made, and waited for in steps of 0.1 s, meanwhile
    server.daemon = daemon = _remote.enable_attach((task.session.host, task.session.port), wait_for_user=lambda: None)
    task.ledger.enter("ptvsd", lambda: _stop(daemon, server))
    server.know_pipe(daemon.pydevd)
    # pydevd puts an object of its own there to tell the IDE that input is awaited, which ptvsd does not pass on.
    sys.stdin = stdin
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _let_go(daemon, server))
    common.forgive_forks()
    if not task.early:
        common.trace_others(common.global_debugger(), task.ledger)


def _trace(task: Task, server: Server) -> None:
    """What _listen() does, of what has been taken back since."""
    import pydevd

    task.ledger.enter("ptvsd", lambda: _stop(server.daemon, server))
    pydevd.settrace(host=task.session.host, port=task.session.port, suspend=False, patch_multiprocessing=False)
    common.trace_others(common.global_debugger(), task.ledger)


def _wait(task: Task) -> bool:
    """Until a client has set its breakpoints, or the hold has run out."""
    import ptvsd

    def left(most: float) -> float:
        return max(0.0, min(task.until - time.monotonic(), most))

    ptvsd.wait_for_attach(left(threading.TIMEOUT_MAX))
    if not ptvsd.is_attached():
        return False
    # ptvsd says so when it has passed the message on; the breakpoints are set once pydevd has worked through it.
    _configured().wait(left(SETTLE))
    return True


def _configured() -> threading.Event:
    """Set as long as there is a client that has set its breakpoints."""
    event: threading.Event = common.global_debugger()._on_configuration_done_event
    return event


def _disconnect() -> None:
    """Remove the breakpoints and let every thread go on."""
    from _pydevd_bundle.pydevd_api import PyDevdAPI

    debugger = common.global_debugger()
    with debugger._main_lock:
        PyDevdAPI().request_disconnect(debugger, resume_threads=True)


def _stop(daemon: Any, server: Server) -> None:
    """Say goodbye to the client, and trace nothing any more. What is loaded stays, and waits for `Server.resume()`:
    4.3.2 cannot be started twice."""
    from _pydev_bundle import pydev_monkey

    server.pause()
    until = time.monotonic() + SETTLE
    while daemon.session is not None and time.monotonic() < until:
        time.sleep(0.01)
    pydev_monkey.undo_patch_thread_modules()
    common.untrace(DEBUGGER.is_at_work)


def _let_go(daemon: Any, server: Server) -> None:
    """In a forked child: be an ordinary process again, and leave to the parent what is the parent's.

    ptvsd 4.3.2 cannot follow a fork: the child would stop at a breakpoint with nobody to let it go on, tell the client
    at its exit that the program has ended, and hold the connection and the port for as long as it lives.
    """
    import atexit

    import ptvsd
    import pydevd
    import pydevd_tracing
    from _pydev_bundle import pydev_monkey
    from ptvsd import wrapper

    if server.closed:
        return
    pydevd_tracing.SetTrace(None)
    threading.settrace(None)  # type: ignore[arg-type, unused-ignore]
    pydev_monkey.undo_patch_thread_modules()
    atexit.unregister(pydevd.stoptrace)
    atexit.unregister(daemon._exithandlers._atexit_handler)
    wrapper.debugger_attached.clear()  # breakpoint() does nothing then
    ptvsd.log.file = None
    for name in ("stdout", "stderr"):
        if type(getattr(sys, name)).__name__ == "IORedirector":
            setattr(sys, name, getattr(sys, f"{name}_original"))
    server.let_go()
    if daemon.session is not None:
        daemon.session._closed = True  # else its __del__ would say goodbye to the client


def _patch(task: Task, server: Server) -> None:
    """What 4.3.2 does badly in a program that it has not started. Learnt from its source, and by trying."""
    from types import SimpleNamespace

    import ptvsd
    import pydevd_tracing
    from _pydev_bundle import pydev_monkey
    from _pydevd_bundle.pydevd_constants import DebugInfoHolder
    from ptvsd import daemon, exit_handlers, wrapper

    ledger = task.ledger
    messages = wrapper.VSCodeMessageProcessor

    # 0. A fork made without Python (uWSGI makes such) would hang at its first breakpoint.
    pid = os.getpid()
    common.stop_only_where(lambda: os.getpid() == pid, ledger)
    _uwsgi.follow()

    # 1. It would bind the port itself.
    ledger.set(daemon, "create_server", lambda host, port: server)

    # 2. It takes SIGHUP, which would end with status 0 a program that dies of it or, under nohup, ignores it.
    ledger.set(exit_handlers.ExitHandlers, "SIGNALS", [])

    # 3. It replaces fork, exec, spawn and subprocess: every forked child dies ("already started") or hangs.
    ledger.set(pydev_monkey, "patch_new_process_functions", lambda: None)

    # 4. It replaces sys.settrace by a function that warns on stderr.
    ledger.set(pydevd_tracing, "replace_sys_set_trace_func", lambda: None)

    # 5. It reports on stderr what clients do, as to leave.
    if not task.verbose:
        ledger.set(ptvsd.log, "sys", SimpleNamespace(__stderr__=None, maxsize=sys.maxsize))
        ledger.set(DebugInfoHolder, "DEBUG_STREAM", SimpleNamespace(write=len, flush=int))

    # 6. A client that vanishes at a stop leaves the program stopped; one that sends what is no DAP ends the thread that
    #    serves, and nobody is let in any more.
    process_messages = messages.process_messages

    def process_messages_to_the_end(self: Any) -> None:
        try:
            process_messages(self)
        except BaseException:  # also SystemExit, where the client has sent "launch"
            wrapper.debugger_attached.clear()
            server.forget_what_was_closed()
            if not self._detached and not self.closed:
                try:
                    self._handle_detach()
                except EOFError:
                    _disconnect()
            raise EOFError from None

    ledger.set(messages, "process_messages", process_messages_to_the_end)

    # 7. The program's output is shown by the IDE too, where its launch.json does not say otherwise. Releases before 4.2
    #    did that for enable_attach(redirect_output=True); this one looks at the attach request alone.
    on_attach = messages.on_attach

    def on_attach_redirecting(self: Any, request: Any, args: Any) -> None:
        if args.get("redirectOutput") is not False and not args.get("options"):
            args["debugOptions"] = [*(args.get("debugOptions") or ()), "RedirectOutput"]
        on_attach(self, request, args)

    ledger.set(messages, "on_attach", on_attach_redirecting)

    # 8. Asked for "subProcess" it awaits children at another port, and kills them when the client leaves.
    ledger.set(messages, "_process_debug_options", lambda self, options: None)

    # 9. It would step into this package.
    get_request = messages._get_new_setDebuggerProperty_request
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

    def get_request_without_us(self: Any, **properties: Any) -> Any:
        if "dontTraceStartPatterns" in properties:
            properties["dontTraceStartPatterns"] = [*properties["dontTraceStartPatterns"], ours]
        return get_request(self, **properties)

    ledger.set(messages, "_get_new_setDebuggerProperty_request", get_request_without_us)

    # 10. A breakpoint in a file that the client knows by another path is not hit: see there.
    _paths_dap.infer_paths(ledger)
