"""debugpy, 1.6 and later: VS Code, and whatever else speaks the Debug Adapter Protocol."""

from __future__ import annotations

import _thread
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator

from autoattach import _uwsgi
from autoattach._errors import DebuggerError
from autoattach._network_errors import SessionGone
from autoattach._process import in_uwsgi
from autoattach.debuggers import _paths_dap
from autoattach.debuggers import _pydevd as common
from autoattach.debuggers._adapter_process import Adapter
from autoattach.debuggers._debugger import Debugger

if TYPE_CHECKING:
    import socket

    from autoattach._ledger import Ledger
    from autoattach.debuggers._debugger import Task

CONNECT = 5.0  # seconds; the connection is to this machine
CHILD_WAIT = 10.0  # seconds that a forked child waits for the client to attach to it


class Debugpy(Debugger):
    """debugpy's parts: the adapter, a process that talks to the client, and pydevd in this process."""

    def attach(self, task: Task) -> bool:
        try:
            os.getcwd()
        except OSError:  # pydevd asks for it, too, and gives up with a traceback (1.8.22)
            raise DebuggerError(
                "the working directory of this program has been removed, and debugpy cannot work without one",
                "start the program anew",
            ) from None
        adapter = Adapter(task) if task.listener is not None else None
        try:
            api = _import(task)
            endpoint = adapter.endpoint() if adapter is not None else task.entrance
            _patch(task, task.session.pid)
            common.set_path_mappings(task.path_mappings)
            _enter(api, task, endpoint)
            if adapter is not None:
                adapter.leave_alone()
        finally:
            if adapter is not None:
                adapter.close()
        _refuse_listen(api, task.ledger)
        if task.held:
            _wait(task)
            return bool(sys.modules["pydevd"]._is_attached())
        return True

    def is_at_work(self) -> bool:
        debugger = common.global_debugger()
        return debugger is not None and not debugger.pydb_disposed

    def is_client_connected(self) -> bool:
        return bool(sys.modules["pydevd"]._is_attached())

    def carried(self, task: Task | None, seconds: float) -> None:
        until = time.monotonic() + seconds
        while task is not None and time.monotonic() < until:
            if common.name_what_runs():  # before pydevd, run as a program, runs ours
                task.ledger.enter("debugpy", _stop)
                common.remember_process_functions(task.ledger, replaced=True)
                common.forgive_forks()
                _patch(task, 0)
                if not sys.modules["pydevd_file_utils"]._last_client_server_paths_set:  # else its client was quicker
                    common.set_path_mappings(task.path_mappings)
                break
            time.sleep(0.002)
        common.let_go(until - time.monotonic())


DEBUGGER = Debugpy()


def _import(task: Task) -> Any:
    """debugpy.server.api, without its noise."""
    note = common.keep_environment(task.ledger)
    common.support_gevent(task.ledger)
    # 3.11 and later: four lines about frozen modules, in this process and in the children that pydevd carries
    if not task.verbose:
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    common.declare_plugins("debugpy", "_vendored", "pydevd")
    with _no_child():
        import debugpy
        from debugpy.server import api

        if task.log and not getattr(api.ensure_logging, "ensured", False):  # else it logs since an earlier session
            debugpy.log_to(task.log)

    note()
    return api


@contextmanager
def _no_child() -> Iterator[None]:
    """Within it debugpy (1.6 to 1.8.22) runs no `uname` for the head of its log.

    A program that waits for any child of its own, as multiprocessing's fork server does, would meet one that it does
    not know.
    """
    import platform

    its_own = platform.platform, platform.machine
    platform.platform = lambda *_: sys.platform
    if hasattr(os, "uname"):
        platform.machine = lambda: os.uname().machine
    try:
        yield
    finally:
        platform.platform, platform.machine = its_own


def _refuse_listen(api: Any, ledger: Ledger) -> None:
    """A listen() in the program's own code would hang: debugpy's own guard refuses it, and ours where it has none."""
    if hasattr(api.listen, "called"):
        api.listen.called = True
        return

    def listen(*arguments: Any, **keywords: Any) -> Any:  # 1.6.0
        raise RuntimeError("debugpy.listen() has already been called on this process")

    ledger.set(api, "listen", listen)


def _enter(api: Any, task: Task, endpoint: tuple[str, int] | None) -> None:
    """Become a debuggee: of the session's adapter at `endpoint`, or of the one that the IDE runs (mode connect)."""
    api.configure({"subProcess": task.subprocess})
    # In this order, so that an undo first gives back fork and exec: stopping takes half a second.
    task.ledger.enter("debugpy", _stop)
    common.remember_process_functions(task.ledger)
    common.forgive_forks()

    # debugpy.listen() and connect() are made with this decorator, which adds the keywords for pydevd that every release
    # has; their bodies end in _settrace.
    @api._starts_debugging  # type: ignore[untyped-decorator, unused-ignore]
    def enter(address: tuple[str, int], settrace_kwargs: dict[str, Any]) -> None:
        ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        patterns = (*settrace_kwargs.get("dont_trace_start_patterns", ()), ours)
        settrace_kwargs["dont_trace_start_patterns"] = patterns
        api._settrace(
            host=address[0],
            port=address[1],
            wait_for_ready_to_run=False,
            block_until_connected=True,
            **settrace_kwargs,
        )

    if task.listener is None:
        sock: socket.socket = _go_to(endpoint) if endpoint is not None else common.to_socket(task.visitors[0])
        common.give_client_socket(sys.modules["pydevd"], sock, task.ledger)
    enter(endpoint or (task.session.host, task.session.port))


def _go_to(endpoint: tuple[str, int]) -> socket.socket:
    """Connect to the session's adapter, which ends with its last process and client. Raises `SessionGone`.

    pydevd would print a traceback where it has.
    """
    import socket

    try:
        sock = socket.create_connection(endpoint, CONNECT)
    except OSError as error:
        raise SessionGone(f"the session has ended ({error})") from None
    sock.settimeout(None)
    common.keep_alive(sock)
    return sock


def _stop() -> None:
    import pydevd

    pydevd.stoptrace()
    common.untrace(DEBUGGER.is_at_work)


def _wait(task: Task) -> None:
    """Until the client has set its breakpoints, or the hold has run out."""
    import pydevd

    cancel = _Cancel(task.until)
    _ended.append(cancel.set)
    try:
        pydevd._wait_for_attach(cancel=cancel)
    finally:
        _ended.remove(cancel.set)


class _Cancel:
    """An event that comes by itself when the time is over.

    Not one that a timer sets: pydevd (up to 1.8.22, on 3.13 and 3.14) takes the end of that thread for one of the
    program's, and mistakes another that has the same identifier later for it.
    """

    def __init__(self, until: float) -> None:
        self._until = until

    def is_set(self) -> bool:
        return time.monotonic() >= self._until

    def set(self) -> None:
        self._until = 0.0


_ended: list[Any] = []  # to be called when the session ends while it is waited for


def _patch(task: Task, parent: int) -> None:
    """What debugpy does badly once its client or its adapter has gone: what happens, and in which releases.

    `parent` is the process that this one is to be announced as a child of; 0 for its own.
    """
    import pydevd
    from _pydev_bundle import pydev_monkey
    from _pydevd_bundle import pydevd_comm
    from _pydevd_bundle.pydevd_api import PyDevdAPI

    ledger = task.ledger
    common.tell_sessions_apart(pydevd, ledger)

    # 0. Six lines on stderr when somebody else sets a trace function (coverage does, as it ends); pydevd 1.6 to 1.8.22.
    if not task.verbose:
        import pydevd_tracing

        ledger.set(pydevd_tracing.TracingFunctionHolder, "_warn", False)

    # 0a. A breakpoint in a file that the client knows by another path is not hit (1.6 to 1.8.22): see there.
    _paths_dap.infer_paths(ledger)

    # 1. An exec with no client attached, and any child once the adapter is dead: the command line that debugpy (1.6 to
    #    1.8.22) rewrites connects to nobody, and the new program dies by ConnectionRefusedError before its first line.
    #    Of any process but the first the adapter awaits no new image (1.6 to 1.8.22), which would wait for ever: that
    #    one joins the session anew, by our hook.
    patch_args = pydev_monkey.patch_args

    def may_be_replaced() -> bool:
        return bool(os.getpid() == task.session.pid and pydevd._is_attached())

    def patch_args_if_somebody_is_there(args: Any, is_exec: bool = False) -> Any:
        if not _adapter_is_there() or _excluded(args, task) or (is_exec and not may_be_replaced()):
            return args
        patched = patch_args(args, is_exec=is_exec) if is_exec else patch_args(args)
        return patched if task.verbose or patched is args else _without_frozen_modules(patched)

    ledger.set(pydev_monkey, "patch_args", patch_args_if_somebody_is_there)

    about_to_be_replaced = getattr(pydev_monkey, "send_process_about_to_be_replaced", lambda: None)  # 1.7

    def send_process_about_to_be_replaced_if_somebody_is_there() -> None:
        if _adapter_is_there() and may_be_replaced():  # else it waits 5 s, and says so
            about_to_be_replaced()

    if hasattr(pydev_monkey, "send_process_about_to_be_replaced"):
        ledger.set(
            pydev_monkey, "send_process_about_to_be_replaced", send_process_about_to_be_replaced_if_somebody_is_there
        )

    # 2. A fork once the adapter is dead dies likewise; one whose client does not know sub-sessions waits for ever.
    settrace_forked = pydevd.settrace_forked

    def settrace_forked_if_somebody_is_there(*args: Any, **kwargs: Any) -> None:
        import threading

        forked_from[:] = [os.getpid(), forked_from[0]]
        if not _adapter_is_there():
            ledger.undo()
            return
        # The parent's connection, left open here, would keep the adapter waiting for a parent that has ended.
        reader = common.global_debugger().reader
        os.close(reader.sock.detach())
        try:
            timer = threading.Thread(target=common.let_go, args=(CHILD_WAIT,), daemon=True)
            common.hide(timer)
            timer.start()
            settrace_forked(*args, **kwargs)
            task.followed()
        except BaseException:
            ledger.undo()

    ledger.set(pydevd, "settrace_forked", settrace_forked_if_somebody_is_there)

    # 2a. A fork that Python does not know of (uWSGI's workers) would hang at its first breakpoint.
    common.stop_only_where(lambda: os.getpid() == forked_from[0], ledger)
    _uwsgi.follow(lambda: pydevd.settrace_forked())
    # 2b. A fork that began before pydevd had replaced os.fork() waits for us (`_watcher`), and nobody follows it.
    if task.subprocess:
        _follow_forks_begun()

    # A daemon's last process may be init's child by the time that it is asked for its parent: nobody would be told.
    # And the client of a session is told of a member as of a child of the leader's. (settrace() takes it from 1.8 on.)
    forked_from = [os.getpid(), 0 if parent == os.getpid() else parent]
    get_ppid = PyDevdAPI.get_ppid
    ledger.set(PyDevdAPI, "get_ppid", lambda api: forked_from[1] or get_ppid(api))

    # 3. When the adapter dies pydevd ends its own threads and leaves its patches of fork, exec and subprocess in place.
    terminate = pydevd_comm.ReaderThread._terminate_on_socket_close

    def tell_and_terminate(reader: Any) -> None:
        if not reader.py_db.pydb_disposed:  # else the program ends, or we have detached
            for end in list(_ended):
                end()
            task.lost("the debug adapter has gone")  # first, for the program may be about to fork
        terminate(reader)

    ledger.set(pydevd_comm.ReaderThread, "_terminate_on_socket_close", tell_and_terminate)


_begun: dict[int, bool] = {}  # for each thread that forks just now, whether pydevd knows of it
_following = False


def _follow_forks_begun() -> None:
    """From now on follow those that pydevd does not know of, and that find it loaded when they are done."""
    global _following
    if _following or not hasattr(os, "register_at_fork") or in_uwsgi():
        return
    _following = True

    def before() -> None:
        _begun[_thread.get_ident()] = getattr(os.fork, "__module__", "") == "_pydev_bundle.pydev_monkey"

    def after_in_parent() -> None:
        _begun.pop(_thread.get_ident(), None)

    def after_in_child() -> None:
        known = _begun.pop(_thread.get_ident(), False)  # without `before`, it began before our hooks were there
        _begun.clear()
        # pydevd's own fork follows by itself, also within another's; a function of `subprocess` runs a program next.
        caller = sys._getframe(1).f_code.co_name
        if not known and caller not in ("new_fork", "_execute_child") and DEBUGGER.is_at_work():
            from _pydev_bundle import pydev_monkey

            pydev_monkey._on_forked_process()

    os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)


def _excluded(args: Any, task: Task) -> bool:
    """Whether these arguments start what is never attached to."""
    try:
        return task.excluded(tuple(os.fsdecode(arg) for arg in args))
    except TypeError:  # not arguments
        return False


def _without_frozen_modules(args: Any) -> Any:
    """These arguments of a child that debugpy is to carry, so that it has nothing to print about frozen modules.

    By its environment it may not be told: the program may have given it another one.
    """
    if sys.version_info < (3, 11):
        return args
    return [args[0], "-Xfrozen_modules=off", *args[1:]]


def _adapter_is_there() -> bool:
    debugger = common.global_debugger()
    if debugger is None or debugger.pydb_disposed:
        return False
    sock = getattr(debugger.reader, "sock", None)
    if sock is None:
        return False
    import select

    try:
        if not select.select([sock], [], [], 0)[0]:
            return True
        import socket

        return bool(sock.recv(1, socket.MSG_PEEK))
    except (OSError, ValueError):
        return False
