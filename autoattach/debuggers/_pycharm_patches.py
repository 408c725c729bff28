"""What pydevd-pycharm prints, breaks or leaves behind, and what is put in its place: 203 to 263."""

from __future__ import annotations

import functools
import os
import sys
import traceback  # noqa: F401 - pydevd patches it (CHANGED): it has to be there beforehand
import types
from typing import TYPE_CHECKING, Any, Callable

from autoattach import _uwsgi
from autoattach._errors import DebuggerError
from autoattach._ledger import Ledger
from autoattach.debuggers import _paths_pycharm
from autoattach.debuggers import _pydevd as common

if TYPE_CHECKING:
    from types import FrameType

    from autoattach.debuggers._debugger import Task

CHANGED = ("_thread", "sys", "threading", "traceback")  # modules of the standard library that pydevd puts things into
# What Python runs before, and in order to run, the program
MACHINERY = ("importlib._bootstrap", "_frozen_importlib", "zipimport", "encodings")


class Hush:
    """Stands for a stream while pydevd is imported, and says nothing. To who keeps it, it is the stream afterwards."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream = getattr(sys, name)
        self._on = True
        setattr(sys, name, self)

    def write(self, text: str) -> int:
        return len(text) if self._on or self._stream is None else self._stream.write(text)

    def end(self) -> None:
        """Put the stream back."""
        self._on = False
        if getattr(sys, self._name) is self:
            setattr(sys, self._name, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Instead:
    """A module, with something else under some of its names."""

    def __init__(self, module: object, **names: object) -> None:
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def import_pydevd(task: Task, ledger: Ledger) -> Any:
    """The module `pydevd` that pydevd-pycharm has brought, without its noise."""
    path, use_cython = list(sys.path), os.environ.get("PYDEVD_USE_CYTHON")
    # Old releases write about frozen modules on stderr (203 on 3.11). Not in a running program: its output comes first.
    hushes = [Hush(name) for name in ("stdout", "stderr") if task.early and not task.verbose]
    try:
        try:
            return _import_or_leave_nothing(ledger)
        except ImportError as error:
            # 243 to 251.18673 on 3.11 and later: a compiled part that does not fit. Without it, slower, they work.
            if "trace_dispatch" not in str(error):
                raise
            os.environ["PYDEVD_USE_CYTHON"] = "NO"
            return _import_or_leave_nothing(ledger)
    finally:
        for hush in hushes:
            hush.end()
        sys.path[:] = path  # pydevd puts its folder first where it does not find it
        if use_cython is None:  # pydevd sets it as well
            os.environ.pop("PYDEVD_USE_CYTHON", None)


def import_before_gevent(ledger: Ledger) -> None:
    """Where gevent is used pydevd (203 to 263) has to be imported before it replaces Python's threads: it would build
    its own on what has been replaced, and hang. A fork of gunicorn's that is to load it comes after that."""
    common.support_gevent(ledger)
    if "GEVENT_SUPPORT" in os.environ:
        path, hushes = list(sys.path), [Hush("stdout"), Hush("stderr")]
        try:
            _import_or_leave_nothing(ledger)
        except Exception:  # the fork will say so
            pass
        finally:
            for hush in hushes:
                hush.end()
            sys.path[:] = path


def _import_or_leave_nothing(ledger: Ledger) -> Any:
    modules = set(sys.modules)
    try:
        common.support_gevent(ledger)
        _patch_before(ledger)
        common.declare_plugins("pydevd_pycharm")
        import pydevd_pycharm  # noqa: F401

        return sys.modules["pydevd"]
    except BaseException:
        for name in set(sys.modules) - modules:
            if name.startswith(("pydev", "_pydev")):
                del sys.modules[name]
        raise


def unfit(error: BaseException) -> DebuggerError:
    from importlib import metadata

    try:
        release = f" {metadata.version('pydevd-pycharm')}"
    except metadata.PackageNotFoundError:
        release = ""
    return DebuggerError(
        f"pydevd-pycharm{release} does not work on Python {sys.version_info[0]}.{sys.version_info[1]} "
        f"({type(error).__name__}: {error})",
        "install the release that belongs to your PyCharm's build, as in: pip install pydevd-pycharm~=263.7307",
    )


def _patch_before(ledger: Ledger) -> None:
    """What has to be in place before `pydevd` is imported, which takes it by name."""
    # 0. 203 to 233 call Thread.isAlive() on 3.13 and later, which has none: a traceback for every call of a function.
    #    Not elsewhere, and not with gevent: imported before all else it is at odds with pydevd's support of that.
    if sys.version_info >= (3, 13) and "GEVENT_SUPPORT" not in os.environ:
        try:
            from _pydev_bundle import pydev_is_thread_alive
        except ImportError:  # pydevd-pycharm itself will say it better
            return
        ledger.set(pydev_is_thread_alive, "is_thread_alive", lambda thread: thread.is_alive())


def apply_patches(pydevd: Any, task: Task, ledger: Ledger) -> None:
    """What pydevd-pycharm does that a program should not meet. Seen with 203 to 263.7307.50."""
    import pydevd_tracing
    from _pydev_bundle import pydev_log

    # 0. A fork made without Python (uWSGI makes such).
    _uwsgi.follow()

    # 1. Its native helper, for threads that run already, prints "Error, missing Python threading API!!" on stdout (3.13
    #    and later) and "Unable to set tracing for existing threads" on stderr (3.12). In a hold there are no such.
    if task.early or sys.version_info >= (3, 12):
        ledger.set(pydevd_tracing, "load_python_helper_lib", lambda: None)

    # 2. Its remarks go to stderr.
    if task.log:
        # (A higher DEBUG_TRACE_LEVEL would write to stderr past pydev_log.)
        log = _log_file(task.log)
        for name in ("stderr_write", "debug", "warn"):
            ledger.set(pydev_log, name, log)
    elif not task.verbose:
        ledger.set(pydev_log, "stderr_write", lambda message: None)

    # 3. 203 to 213 write to stderr what frozen modules they cannot find a file for (3.11 and later).
    if not task.verbose:
        import pydevd_file_utils

        nothing = types.SimpleNamespace(write=len, flush=lambda: None)
        ledger.set(pydevd_file_utils, "sys", Instead(sys, stderr=nothing))

    # 4. It replaces sys.settrace by one that prints "PYDEV DEBUGGER WARNING" when the program calls it.
    ledger.set(pydevd_tracing, "replace_sys_set_trace_func", lambda: None)

    # 5. It replaces sys.stdin to tell the IDE's console when input is wanted; there is no input from that console here.
    ledger.set(pydevd, "patch_stdin", lambda debugger: None)

    # 6. Its excepthook ends with sys.exit(1): a program that Ctrl-C ends would not die by the signal.
    from _pydevd_bundle import pydevd_breakpoints

    excepthook = pydevd_breakpoints._fallback_excepthook

    def excepthook_that_returns(*exception: Any) -> None:
        try:
            excepthook(*exception)
        except SystemExit:
            pass

    ledger.set(pydevd_breakpoints, "_fallback_excepthook", excepthook_that_returns)

    #    And it prints the traceback by itself, where the program has a hook of its own (203 to 263).
    programs: list[Any] = [sys.__excepthook__]

    def note_the_programs() -> None:
        module = getattr(sys.excepthook, "__module__", None) or ""
        if not module.startswith(("_pydevd", "pydevd", __name__)):
            programs.append(sys.excepthook)

    def print_as_the_program_does(*exception: Any) -> None:
        note_the_programs()
        programs[-1](*exception)

    def set_fallback_excepthook() -> None:
        note_the_programs()
        sys.excepthook = excepthook_that_returns

    ledger.set(pydevd_breakpoints, "original_excepthook", print_as_the_program_does)
    for module in (pydevd, pydevd_breakpoints):
        ledger.set(module, "set_fallback_excepthook", set_fallback_excepthook)

    # 7. Its compiled tracer wraps the trace function of a thread's first frame once more at each line: a breakpoint
    #    that is set while a loop runs there ends the program with RecursionError (233 to 263 on 3.10 to 3.12).
    compiled = sys.modules.get("_pydevd_bundle.pydevd_cython")
    fix = getattr(compiled, "fix_top_level_trace_and_get_trace_func", None)
    if fix is not None:
        ledger.set(compiled, "fix_top_level_trace_and_get_trace_func", functools.partial(_fix_top_level, fix))

    # 8. A breakpoint in a file that PyCharm knows by another path is not hit (203 to 263): see there.
    _paths_pycharm.infer_paths(ledger)


def _fix_top_level(fix: Callable[..., tuple[Any, bool]], debugger: Any, frame: FrameType) -> tuple[Any, bool]:
    tracer, for_the_thread = fix(debugger, frame)
    bottom = frame
    while bottom.f_back is not None:
        bottom = bottom.f_back
    wrapper: Any = bottom.f_trace
    if type(wrapper).__name__ == "SafeCallWrapper":
        bottom.f_trace = Steady(wrapper)
        if tracer is wrapper:
            tracer = bottom.f_trace
    return tracer, for_the_thread


class Steady:
    """A trace function that goes on to be the one of its frame, whatever it returns."""

    def __init__(self, tracer: Callable[..., Any]) -> None:
        self._tracer = tracer

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        return None if self._tracer(frame, event, arg) is None else self


def _log_file(folder: str) -> Callable[[str], None]:
    def write(message: object, *_: object) -> None:
        try:
            with open(os.path.join(folder, f"pydevd-pycharm.{os.getpid()}.log"), "a", encoding="utf-8") as log:
                log.write(f"{str(message).rstrip()}\n")
        except Exception:  # a full disk
            pass

    return write


def remember(ledger: Ledger) -> Callable[[], None]:
    """Note what the standard library's modules hold; what is returned enters the changes made meanwhile."""
    absent = object()
    before = {name: dict(vars(sys.modules[name])) for name in CHANGED}
    environment = dict(os.environ)

    def put_back(module: Any, name: str, old: object, new: object) -> None:
        if vars(module).get(name, absent) is not new:
            return  # the program has put something else there since
        _kept.append(new)
        if old is absent:
            delattr(module, name)
        else:
            setattr(module, name, old)

    def note() -> None:
        for module_name, old in before.items():
            module = sys.modules[module_name]
            for name, new in list(vars(module).items()):
                if old.get(name, absent) is not new:
                    undo = functools.partial(put_back, module, name, old.get(name, absent), new)
                    ledger.enter(f"{module_name}.{name}", undo)
        for name in set(os.environ) - set(environment):
            ledger.enter(f"${name}", functools.partial(os.environ.pop, name, None))

    return note


# print() does not hold the stream that it writes to: one that is replaced meanwhile, by another thread, must live on
# (a crash in 3 of 160 programs that PyCharm had left; Python 3.8).
_kept: list[object] = []


def unwrap(stream: Any) -> None:
    """Have a stream that pydevd has wrapped write to the program's own only, for whoever holds it (a logger does)."""
    parts: list[Any] = [stream, getattr(stream, "buffer", None)]
    for part in parts:
        pair = getattr(part, "_redirect_to", None)
        if isinstance(pair, tuple):
            part._redirect_to = pair[:1]


def leave_alone_what_is_not_the_programs(debugger: Any) -> None:
    """pydevd traces from now on, and what runs first is we and, when Python starts, the rest of `site`. Told to stop on
    any exception, it would stop there some hundred times."""
    frames = [sys._getframe()]
    while frames[-1].f_back is not None:
        frames.append(frames[-1].f_back)
    outermost = frames[-1]
    starting = _name(outermost).startswith(MACHINERY) or _name(outermost) == "site"
    for frame in frames:
        if starting or _name(frame).startswith("autoattach."):
            frame.f_trace = None
    if not starting or not common.is_pydevds(sys.gettrace()):
        return

    def wait_for_the_program(frame: FrameType, event: Any, arg: object) -> Any:
        bottom = frame
        while bottom.f_back is not None:
            bottom = bottom.f_back
        if bottom is outermost or _name(frame).startswith(MACHINERY):
            return None
        debugger.enable_tracing()
        tracer = sys.gettrace()
        return None if tracer is None else tracer(frame, event, arg)

    common.stop_frame_evaluation()
    sys.settrace(wait_for_the_program)


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
