"""What the three debuggers share: each carries a `pydevd` of its own, under the same module names."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from autoattach._exclusions import what_runs
from autoattach._process import command_line
from autoattach._threads import forgive_a_fork
from autoattach.debuggers import _traced, find

if TYPE_CHECKING:
    import _socket
    from types import FrameType

    from autoattach._ledger import Ledger

# What pydev_monkey.patch_new_process_functions() and its kin replace (pydevd 2.8 to 3.5, pydevd-pycharm 203 to 263).
PROCESS_FUNCTIONS = {
    "os": (
        "execl", "execle", "execlp", "execlpe", "execv", "execve", "execvp", "execvpe", "spawnl", "spawnle", "spawnlp",
        "spawnlpe", "spawnv", "spawnve", "spawnvp", "spawnvpe", "posix_spawn", "posix_spawnp", "fork",
    ),
    "_posixsubprocess": ("fork_exec",),
    "subprocess": ("_fork_exec",),
    "_winapi": ("CreateProcess",),
}  # fmt: skip


def remember_process_functions(ledger: Ledger, replaced: bool = False) -> None:
    """Enter into the ledger what takes back pydevd's replacements of fork, exec, spawn and subprocess.

    `replaced`: it may have replaced them already, and keeps what was there before under names of its own.
    """
    originals = [
        (module, name, getattr(module, f"original_{name}" if replaced else name, None) or getattr(module, name))
        for module_name, names in PROCESS_FUNCTIONS.items()
        for module in [_import(module_name)]
        for name in names
        if hasattr(module, name)
    ]

    def undo() -> None:
        for module, name, original in originals:
            setattr(module, name, original)

    ledger.enter("functions that start processes", undo)


def _import(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        return None


def to_socket(raw: _socket.socket) -> socket.socket:
    """The same connection as the object that Python code expects, blocking and kept alive."""
    family, kind, proto = raw.family, raw.type, raw.proto
    sock = socket.socket(family, kind, proto, fileno=raw.detach())
    sock.setblocking(True)
    keep_alive(sock)
    return sock


def keep_alive(sock: socket.socket) -> None:
    """As pydevd does for its own connections: an IDE whose machine has vanished is noticed within 20 s."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 5)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    except OSError:  # not on this system
        pass


def give_client_socket(pydevd: Any, sock: socket.socket, ledger: Ledger) -> None:
    """Have pydevd's next connection be this one.

    pydevd makes its connection in `start_client(host, port)`, which `pydevd.py` imports by name; every release does.
    It is put back as it is used, for a child's later connection must be its own.
    """
    from _pydevd_bundle import pydevd_comm

    places = [module for module in (pydevd, pydevd_comm) if hasattr(module, "start_client")]
    originals = [module.start_client for module in places]

    def put_back() -> None:
        for module, original in zip(places, originals):
            module.start_client = original

    def start_client(*arguments: object, **keywords: object) -> socket.socket:
        put_back()
        return sock

    for module in places:
        module.start_client = start_client
    ledger.enter("pydevd.start_client", put_back)


def set_path_mappings(mappings: tuple[tuple[str, str], ...]) -> None:
    """Map the IDE's folders to this machine's; what the IDE itself sends later takes their place."""
    if mappings:
        import pydevd_file_utils

        setup = getattr(pydevd_file_utils, "setup_client_server_paths", None)
        if setup is not None:
            setup(list(mappings))


def keep_environment(ledger: Ledger) -> Callable[[], None]:
    """Note the variables that pydevd reads; what is returned enters those that it has set meanwhile."""
    before = dict(os.environ)

    def note() -> None:
        for name in list(os.environ):
            if name.startswith("PYDEVD_") and name not in before:
                ledger.enter(f"${name}", lambda name=name: os.environ.pop(name, None))  # type: ignore[misc]

    return note


def hide(thread: threading.Thread) -> None:
    """Have pydevd leave a thread of ours alone.

    It is kept, too: where its object goes at its own end, pydevd (on 3.13 and 3.14) takes what runs then for a thread
    of the program's, and mistakes another that has the same identifier later for it.
    """
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
    _hidden.append(thread)


_hidden: list[threading.Thread] = []


def stop_only_where(known: Callable[[], bool], ledger: Ledger) -> None:
    """Have pydevd stop nothing in a process that it does not know: a fork made without Python (uWSGI makes such).

    There nobody would let it go on (pydevd 1.6 to 1.8.22, ptvsd's, pydevd-pycharm 203 to 263).
    """
    database = sys.modules["pydevd"].PyDB
    do_wait_suspend = database.do_wait_suspend

    def wait_where_known(*arguments: Any, **keywords: Any) -> Any:
        return do_wait_suspend(*arguments, **keywords) if known() else None

    ledger.set(database, "do_wait_suspend", wait_where_known)


def tell_sessions_apart(pydevd: Any, ledger: Ledger) -> None:
    """Have each session count its changes of breakpoints (`mtime`) from another number.

    Each counts from 0, and what is known of a function's breakpoints is kept, with that count, as long as the process:
    after a detach, the next session took a function for one without breakpoints as the last one had (debugpy 1.8.22 on
    3.12 to 3.15, about every second time).
    """
    make = pydevd.PyDB.__init__
    _sessions.append(pydevd)
    first = (len(_sessions) - 1) * 100_000

    def make_apart(debugger: Any, *arguments: Any, **keywords: Any) -> None:
        make(debugger, *arguments, **keywords)
        debugger.mtime += first

    ledger.set(pydevd.PyDB, "__init__", make_apart)


_sessions: list[Any] = []


def support_gevent(ledger: Ledger) -> None:
    """Ask for pydevd's support of gevent where the program uses it: without, both hang, and it is read at import.

    It uses it where that is imported, named on the command line (`gunicorn -k gevent`), or named in the script. Not
    wherever it is installed: pydevd would import it into every program. (The variable: all releases of all three.)
    """
    if "GEVENT_SUPPORT" in os.environ:
        return
    command = command_line()
    runs = what_runs(command)
    named = any("gevent" in word for word in command[1:])
    if not named and not runs.startswith("-"):
        try:
            with open(runs, "rb") as script:
                named = b"gevent" in script.read(1 << 20)
        except OSError:
            pass
    if "gevent" in sys.modules or (named and find("gevent")):
        ledger.environ("GEVENT_SUPPORT", "True")


def forgive_forks() -> None:
    """Keep Python from warning of a fork for the sake of the debugger's threads alone; from the first call on."""
    global _forgiving
    if _forgiving:
        return
    _forgiving = True

    def alone() -> bool:
        forget_dummies()  # they would be counted
        return sum(not getattr(thread, "is_pydev_daemon_thread", False) for thread in threading.enumerate()) == 1

    forgive_a_fork(alone)


_forgiving = False


def forget_dummies() -> None:
    """A thread of pydevd's that monitors its own end (3.14), or that is a bare one, stays behind as a dummy."""
    threads: dict[int, Any] = threading._active  # type: ignore[attr-defined]
    for ident in set(threads).difference(sys._current_frames()):
        if isinstance(threads[ident], threading._DummyThread):
            threads.pop(ident, None)


def declare_plugins(module: str, *below: str) -> None:
    """Declare the namespace packages of pydevd's plugins as their own code does with pkgutil.

    In ptvsd, in debugpy up to 1.6 and in pydevd-pycharm up to 251 it does so with pkg_resources where that is
    installed: 0.1 s, warnings filters, import hooks, and a DeprecationWarning. `module` is one whose folder they are
    in, or in the folder `below` it.
    """
    import pkgutil
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    folder = os.path.join(os.path.dirname(find(module) or ""), *below)
    for name in ("pydevd_plugins", "pydevd_plugins.extensions", "pydevd_plugins.extensions.types"):
        own = os.path.join(folder, *name.split("."))
        if name in sys.modules or not os.path.isdir(own):
            return
        package = ModuleType(name)
        package.__spec__ = ModuleSpec(name, None, is_package=True)
        package.__path__ = package.__spec__.submodule_search_locations = pkgutil.extend_path([own], name)
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)


def global_debugger() -> Any:
    """pydevd's one object for this process, or None."""
    constants = sys.modules.get("_pydevd_bundle.pydevd_constants")
    get = getattr(constants, "get_global_debugger", None)  # it may be half imported, in another thread
    return get() if get is not None else None


def name_what_runs() -> bool:
    """Have pydevd.py, run as a program, its own name, as soon as it has its debugger; whether it has.

    It takes it only as it begins to run the program. Until then the name is a second copy's, imported to read the
    command line (all releases): what is changed there changes nothing.
    """
    debugger = global_debugger()
    for name in ("__main__", "pydevd") if debugger is not None else ():
        module = sys.modules.get(name)
        if module is not None and vars(module) is type(debugger).run.__globals__:
            sys.modules["pydevd"] = module
            return True
    return False


def stop(frame: FrameType) -> None:
    """Stop in this frame, at its next line, as `debugpy.breakpoint()` does."""
    sys.modules["pydevd"].settrace(
        suspend=True, trace_only_current_thread=True, patch_multiprocessing=False, stop_at_frame=frame
    )


def show(error: BaseException) -> None:
    """Stop in this thread, and show where the exception was raised; return when the IDE lets it go on.

    What pydevd does at an uncaught exception (ptvsd's, debugpy's and PyCharm's), whatever the IDE asks for there.
    """
    from _pydevd_bundle.pydevd_additional_thread_info import set_additional_thread_info

    debugger = global_debugger()
    thread = threading.current_thread()
    info: Any = set_additional_thread_info(thread)
    traceback, frames = error.__traceback__, []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    raised = (type(error), error, error.__traceback__)
    by_id = {id(frame): frame for frame in frames}
    name = f"{type(error).__module__}.{type(error).__name__}"
    pydevd = sys.modules["pydevd"]
    monitoring: Any = getattr(pydevd, "pydevd_sys_monitoring", None)  # debugpy's, on 3.12 and later
    suspended = monitoring is not None and sys.version_info >= (3, 12) and _suspend(monitoring)
    info.is_tracing += 1
    try:
        if hasattr(debugger, "do_stop_on_unhandled_exception"):
            info.pydev_message = name
            debugger.do_stop_on_unhandled_exception(thread, frames[-1], by_id, raised)
        else:
            info.pydev_message = f"python-{name}"
            _show_in_pycharm(debugger, thread, frames[-1], by_id, raised)
    finally:
        info.is_tracing -= 1
        info.pydev_step_cmd = -1  # there is nothing to step to
        if suspended:
            monitoring.resume_current_thread_tracing()


def _suspend(monitoring: Any) -> bool:
    suspend = getattr(monitoring, "suspend_current_thread_tracing", None)
    return suspend is not None and bool(suspend())


def _show_in_pycharm(debugger: Any, thread: Any, frame: Any, by_id: Any, raised: Any) -> None:
    """Its own way prints the traceback once more, unless its hook that prints nothing is in place."""
    hook = sys.excepthook
    nothing = getattr(sys.modules["pydevd"], "dummy_excepthook", hook)
    sys.excepthook = nothing
    try:
        debugger.stop_on_unhandled_exception(thread, frame, by_id, raised)
    finally:
        sys.excepthook = hook


def let_go(seconds: float) -> None:
    """After some seconds, let the program run on where pydevd still waits for a client to configure it."""
    time.sleep(max(0.0, seconds))
    debugger = global_debugger()
    if debugger is not None and not getattr(debugger, "ready_to_run", True):
        debugger.ready_to_run = True


def stop_frame_evaluation() -> None:
    """What pydevd does instead of tracing, up to 3.10."""
    stop = getattr(sys.modules.get("_pydevd_frame_eval.pydevd_frame_eval_main"), "stop_frame_eval", None)
    if stop is not None:
        stop()


def trace_others(debugger: Any, ledger: Ledger) -> None:
    """Have pydevd trace the threads that run already, too, on Python 3.12 and later, where it has no way of its own."""
    trace_everybody: Any = getattr(threading, "settrace_all_threads", None)
    if trace_everybody is None:
        return

    def undo() -> None:
        hook = threading.gettrace()
        if hook is None or is_pydevds(hook):
            trace_everybody(None)

    hook: Any = threading.gettrace()  # what threads that start later begin with
    ledger.enter("the trace functions of other threads", undo)
    trace_everybody(debugger.trace_dispatch)
    threading.settrace(hook)


def untrace(is_at_work: Callable[[], bool]) -> None:
    """Turn pydevd's tracing off everywhere, so that the program runs at its own speed; pydevd has been told to stop.

    It does so itself for the thread that tells it (up to 3.11, and pydevd-pycharm's also on later Pythons).
    `is_at_work` says whether it has been told to begin again, when the main thread comes to it.
    """
    if not threading.main_thread().is_alive():  # the program has run, and an interpreter that ends must be left alone
        return
    _traced.begin()
    stop_frame_evaluation()
    if is_pydevds(threading.__dict__.get("_trace_hook")):
        threading.settrace(None)  # type: ignore[arg-type, unused-ignore]
    _untrace_this_thread()
    for frame in sys._current_frames().values():
        inner: Any = frame
        while inner is not None:
            if is_pydevds(inner.f_trace):
                inner.f_trace = None
            inner = inner.f_back
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread:
        try:
            from autoattach._pending import call_in_main_thread

            call_in_main_thread(lambda: None if is_at_work() else _untrace_main_thread())
        except Exception:  # no ctypes here: a tracer that finds its debugger gone remains
            pass
    if sys.version_info < (3, 12) and len(sys._current_frames()) > 1:
        try:
            sys.modules["pydevd_tracing"].set_trace_to_threads(leave)
        except Exception:  # not on this system: a tracer that finds its debugger gone remains
            pass
        _untrace_this_thread()
    if in_main_thread:
        _traced.restore()
    forget_dummies()


def _untrace_this_thread() -> None:
    if is_pydevds(sys.gettrace()):
        sys.settrace(None)
        if sys.version_info >= (3, 12) and threading.gettrace() is None:
            threading.settrace_all_threads(None)  # type: ignore[arg-type, unused-ignore]


def _untrace_main_thread() -> None:
    _untrace_this_thread()
    _traced.restore()


def leave(*event: object) -> None:
    """A trace function that removes itself from the thread which calls it."""
    sys.settrace(None)
    if getattr(global_debugger(), "pydb_disposed", True):  # else another session has begun
        _traced.took_off()


def is_pydevds(tracer: Any) -> bool:
    """Whether a trace function is pydevd's, or ours around it."""
    tracer = getattr(tracer, "func", tracer)  # a functools.partial is ptvsd's
    module = getattr(tracer, "__module__", None) or type(tracer).__module__  # what Cython compiles has the second only
    return str(module).startswith(("pydevd", "_pydevd", __package__))
