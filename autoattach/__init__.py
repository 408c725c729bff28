"""Stop a Python program at a breakpoint in VS Code or PyCharm, without an edit: ``START_DEBUGGER=1 python app.py``.

The calls below are for code that decides by itself. Nothing is imported before the first of them.
"""

__version__ = "0.1.0"
__all__ = [
    "AddressError",
    "AttachError",
    "DebuggerError",
    "PeerError",
    "Session",
    "SettingError",
    "attach",
    "attach_pycharm",
    "attach_vscode",
    "detach",
    "is_attached",
    "is_client_connected",
    "wait_for_client",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Sequence

    from autoattach._errors import AttachError, DebuggerError, SettingError
    from autoattach._network_errors import AddressError, PeerError
    from autoattach._session import Session


def attach(
    ide: "str | None" = None,
    host: "str | None" = None,
    port: "int | str | None" = None,
    wait: "float | str | None" = None,
    *,
    mode: "str | None" = None,
    path_mappings: "Mapping[str, str] | None" = None,
    subprocess: "bool | None" = None,
    only: "Sequence[str] | None" = None,
    skip: "Sequence[str] | None" = None,
    log: "str | None" = None,
    verbose: "bool | None" = None,
) -> "Session":
    """Attach a debugger to this process now.

    What is not given is as the environment has it: each argument stands for one of the variables.

    :param ide: `DEBUGGER_IDE`: ``"vscode"``, ``"pycharm"``, or a debugger by its name.
    :param host: `DEBUGGER_HOST`: the address to listen on or, connecting, where the IDE listens.
    :param port: `DEBUGGER_PORT`: a number or, listening, a range such as ``"9000-9010"``; 0 for any free one.
    :param wait: `DEBUGGER_WAIT`: seconds that the call may wait for the IDE; 0, or ``"forever"``.
    :param mode: `DEBUGGER_MODE`: ``"listen"`` or ``"connect"``.
    :param path_mappings: `DEBUGGER_PATH_MAPPINGS`: the IDE's folders, each with this machine's.
    :param subprocess: `DEBUGGER_SUBPROCESS`: whether children are debugged.
    :param only: `DEBUGGER_ONLY`: patterns of which one has to match the command line.
    :param skip: `DEBUGGER_SKIP`: patterns of which none may match it.
    :param log: `DEBUGGER_LOG`: a folder for the debugger's own logs.
    :param verbose: `DEBUGGER_VERBOSE`: whether each decision is said on stderr.
    :return: The session: its `debugger`, its `address` (host and port) and the `pid` of the process that leads it.
        Where this process has one already it is that one, and nothing is done.
    :raises SettingError: an argument, or a variable, is not understood.
    :raises DebuggerError: the debugger is not installed, cannot work here, or another one is in this process already.
    :raises AddressError: the address cannot be listened on, or nobody is there to connect to.
    :raises PeerError: who is there is no IDE, or says nothing.
    :raises AttachError: anything else; each of the above is one, too.

    Listening it is no error when nobody comes in time: an IDE may attach later. Ctrl-C in the wait is a
    `KeyboardInterrupt`, after which there is no session. START_DEBUGGER need not be set.
    """
    from autoattach import _calls

    arguments = {name: value for name, value in locals().items() if name != "_calls"}
    return _calls.attach({**arguments, "ports": arguments.pop("port")})


def detach() -> bool:
    """Take the debugger out of this process, or stop waiting for one. True where there was something to take out.

    The program runs on at its full speed. Its children and forks keep their sessions. `attach()` works again.
    """
    from autoattach import _calls

    return _calls.detach()


def is_attached() -> bool:
    """Whether this process is in a session: an IDE has attached, or can."""
    from autoattach import _calls

    return _calls.is_attached()


def is_client_connected() -> bool:
    """Whether an IDE is attached to this process, and has set its breakpoints."""
    from autoattach import _calls

    return _calls.is_client_connected()


def wait_for_client(timeout: "float | None" = None) -> bool:
    """Wait until an IDE is attached to this process and has set its breakpoints.

    :param timeout: Seconds; None waits without limit.
    :return: Whether it is.
    :raises AttachError: this process is in no session.
    """
    from autoattach import _calls

    return _calls.wait_for_client(timeout)


def attach_vscode(configure: "Callable[[str, int], object]", call_immediately: bool = False) -> None:
    """Call ``configure(host, port)`` where START_DEBUGGER is set, and wait until VS Code has attached.

    :param configure: Has ptvsd or debugpy listen, as in ``lambda host, port: debugpy.listen((host, port))``.
    :param call_immediately: Call it whether START_DEBUGGER is set or not.
    """
    from autoattach import _recipes

    _recipes.attach_vscode(configure, call_immediately)


def attach_pycharm(configure: "Callable[[str, int], object]", call_immediately: bool = False) -> None:
    """Call ``configure(host, port)`` where START_DEBUGGER is set and PyCharm's debug server is there.

    :param configure: Connects, as in ``lambda host, port: pydevd_pycharm.settrace(host, port=port, suspend=False)``.
    :param call_immediately: Do so whether START_DEBUGGER is set or not.
    """
    from autoattach import _recipes

    _recipes.attach_pycharm(configure, call_immediately)


def __getattr__(name: str) -> object:
    """The classes, imported when they are asked for."""
    if name in __all__:
        from autoattach import _errors, _network_errors, _session

        return next(getattr(module, name) for module in (_errors, _network_errors, _session) if hasattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
