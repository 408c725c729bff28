"""Facts about this process, gathered cheaply: no file but the system's own record of the command line, no socket."""

import _thread
import os
import sys

from autoattach._settings import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

DEBUGGER_MODULES = ("pydevd", "debugpy", "ptvsd", "pydevd_pycharm")


class Process(Frozen):
    """What `gate()` and `plan()` need to know of a process. Plain data: `autoattach doctor` can make one up."""

    __slots__ = (
        "pid", "command", "ignores_environment", "other_user", "subinterpreter", "debugger", "terminal", "prefix",
        "tracer", "started",
    )  # fmt: skip
    pid: int
    command: "tuple[str, ...]"
    """The whole command line, the interpreter and its options included, as the user typed it."""
    ignores_environment: bool
    """`python -I` or `-E`."""
    other_user: bool
    """The user id differs from the effective one (setuid), or the group id does."""
    subinterpreter: bool
    debugger: str
    """What debugs this process already, or an empty string."""
    terminal: bool
    """Somebody reads stderr."""
    prefix: str
    """`sys.prefix`, where the switch `autoattach.disabled` may stand."""
    tracer: str
    """The package of the trace function that is set, or an empty string."""
    started: bool
    """The program has begun, and asks for a debugger by a call; else Python is about to start it."""

    @classmethod
    def current(cls, started: bool = False) -> "Process":
        """This process, now."""
        tracer = sys.gettrace()
        return cls(
            pid=os.getpid(),
            command=command_line(),
            ignores_environment=bool(sys.flags.ignore_environment or sys.flags.isolated),
            other_user=_other_user(),
            subinterpreter=_subinterpreter(started),
            debugger=_debugger(tracer, started),
            terminal=_terminal(),
            prefix=sys.prefix,
            tracer=_package(tracer) if tracer else "",
            started=started,
        )


def command_line() -> "tuple[str, ...]":
    """The whole command line. Before Python 3.10 only the system knows it: `sys.argv` lacks the module of `-m`."""
    original = getattr(sys, "orig_argv", None)
    if original:
        return tuple(original)
    try:
        with open("/proc/self/cmdline", "rb") as record:
            return tuple(os.fsdecode(part) for part in record.read().split(b"\0")[:-1])
    except OSError:
        return (sys.executable or "python", *getattr(sys, "argv", ()))


def brief(command: "Sequence[str]") -> str:
    """A command line for a message: the program by its name alone, and of the rest what still fits; it is the end of a
    path by which a user knows the script."""
    # One line, whatever `-c` has
    text = " ".join(" ".join([*map(os.path.basename, command[:1]), *command[1:]]).split())
    return text if len(text) <= 60 else f"{text[:20]}...{text[-37:]}"


def alive(pid: int) -> bool:
    """Whether a process with this id runs (or is a zombie, which on this system still has its id)."""
    if os.name == "nt":  # there os.kill(pid, 0) sends Ctrl-C
        import ctypes

        kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
        handle = kernel32.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if handle:
            kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def image(pid: "int | None" = None) -> str:
    """What tells a process from a later one with the same id, and from what it ran before an exec: when it started, and
    where its stack is. Empty where the system does not tell, `ended` for a zombie. (Linux)"""
    try:
        number = os.open(f"/proc/{pid or 'self'}/stat", os.O_RDONLY)
        try:
            fields = os.read(number, 2000).rpartition(b")")[2].split()
        finally:
            os.close(number)
    except OSError:
        return ""
    if len(fields) < 26 or fields[0] in (b"Z", b"X"):
        return "ended"
    return f"{fields[19].decode()}.{fields[25].decode()}"


def same_image(before: str, now: str) -> bool:
    """Whether two answers of `image()` may be of one process; the stack is `0` to who may not look into it."""
    if not before or not now:
        return True
    started, _, stack = before.partition(".")
    started_now, _, stack_now = now.partition(".")
    return started == started_now and (stack == stack_now or "0" in (stack, stack_now))


def in_container() -> bool:
    """Whether this is a container, where nobody outside reaches the loopback address."""
    return any(os.path.exists(mark) for mark in ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"))


def in_uwsgi() -> bool:
    """Whether this is a process of uWSGI's: a program of its own, with Python in it."""
    return "uwsgi" in os.path.basename((command_line() or ("",))[0])


def _other_user() -> bool:
    if not hasattr(os, "getuid"):
        return False
    return os.getuid() != os.geteuid() or os.getgid() != os.getegid()


def _subinterpreter(started: bool) -> bool:
    is_main = getattr(_thread, "_is_main_interpreter", None)  # 3.12
    if is_main is not None:
        return not is_main()
    if not started:
        # Only the main interpreter has signals (Modules/signalmodule.c), and a program that has not begun has none of
        # its own. To import `_xxsubinterpreters` costs a millisecond.
        try:
            __import__("_signal").set_wakeup_fd(-1)
            return False
        except ValueError:
            return True
    try:
        interpreters = __import__("_xxsubinterpreters")
    except ImportError:
        return False
    return bool(interpreters.get_current() != interpreters.get_main())


def _package(function: object) -> str:
    module = getattr(function, "__module__", None) or type(function).__module__
    return str(module).partition(".")[0]


def bearer() -> str:
    """Of the debuggers, the one whose `pydevd` is in this process, which then has room for no other; or nothing."""
    module = sys.modules.get("pydevd")
    if module is None:
        return ""
    path = (getattr(module, "__file__", None) or "").replace(os.sep, "/")
    return next((name for name in ("debugpy", "ptvsd") if f"/{name}/_vendored/" in path), "pydevd-pycharm")


def _debugger(tracer: object, started: bool) -> str:
    if started:  # a program may have imported one, or detached
        constants = sys.modules.get("_pydevd_bundle.pydevd_constants")
        get = getattr(constants, "get_global_debugger", None)
        debugger = get() if get is not None else None
        if debugger is not None and not getattr(debugger, "pydb_disposed", False):
            return bearer()
    for name in () if started else DEBUGGER_MODULES:
        if name in sys.modules:
            return name
    if tracer is not None and _package(tracer) in ("bdb", "pdb", "pydevd", "_pydevd_bundle", "pydevd_tracing"):
        return _package(tracer)
    monitoring = getattr(sys, "monitoring", None)  # 3.12
    if monitoring is not None:
        return str(monitoring.get_tool(monitoring.DEBUGGER_ID) or "")
    return ""


def _terminal() -> bool:
    try:
        return bool(sys.__stderr__ and sys.__stderr__.isatty())
    except ValueError:  # closed
        return False
