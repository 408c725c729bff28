"""What is to be done, decided from plain data: `gate()` turns away what is never attached to, `plan()` says the rest.

Both are lists of small named checks and have no effect. `autoattach doctor` runs the same.
"""

from autoattach._exclusions import CARRIED, FORK_SERVER, HELPERS, TOOLS, glob, matches, row, what_runs
from autoattach._settings import FOREVER, Frozen, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._errors import AttachError, DebuggerError
    from autoattach._process import Process
    from autoattach._roles import Role
    from autoattach._session import Session
    from autoattach._settings import Ports, Settings

HOST = "127.0.0.1"
PORT = 9000
UNATTENDED_WAIT = 60.0
EXCEPTION_WAIT = 3600.0  # at an uncaught exception, also at a terminal: it may be a cron job's
ONE_EACH = "with a range, as DEBUGGER_PORT=9000-9010, children have one each; debugpy follows them all"


class Skip(Frozen):
    """Do not attach. Without an error this is as it should be, and said only to who asks (`DEBUGGER_VERBOSE=1`)."""

    __slots__ = ("reason", "error", "carried", "loud")
    reason: str
    error: "AttachError | None"
    carried: bool
    """A debugger in the parent has rewritten the command line, and is about to debug this process by itself."""
    loud: bool
    """Said to everybody: a user would wonder."""

    @classmethod
    def because(cls, reason: str, loud: bool = False) -> "Skip":
        """It is not to be attached to, and that is as it should be."""
        return cls(reason=reason, error=None, carried=reason == CARRIED, loud=loud)

    @classmethod
    def failed(cls, error: "AttachError") -> "Skip":
        """It should be attached to, and cannot be."""
        return cls(reason=str(error), error=error, carried=False, loud=False)


class Lead(Frozen):
    """Open a session: listen for the IDE, or connect to it."""

    __slots__ = ("debugger", "ide", "mode", "host", "ports", "wait", "why", "again", "role", "redials")
    debugger: str
    ide: str
    mode: str
    host: str
    ports: "Ports"
    wait: float
    """Seconds that the program may be held."""
    why: str
    """Why this debugger, to be said after its name, where there was a choice; else empty."""
    again: "Session | None"
    """The session of this tree that is opened again, on its port and with its id, by a new image or a child; or whose
    slot this process is the heir of."""
    role: "Role | None"
    """What this process does with PyCharm's one slot; None with other debuggers."""
    redials: bool
    """Where nobody listens, who listens there later is called in the background."""


class Arm(Frozen):
    """Attach later, when what the words say comes to pass; until then nothing is listened on, and nothing loaded."""

    __slots__ = ("words", "lead")
    words: "tuple[str, ...]"
    """As in `Settings.words`."""
    lead: Lead
    """What would be opened now. It is planned anew then."""


class Join(Frozen):
    """Become a member of a session that another process leads."""

    __slots__ = ("session", "stranger")
    session: "Session"
    stranger: bool
    """It was found by its port: another tree's, of the same user."""


class Known(Frozen):
    """A debugger that we can work with, and whether it can be had here."""

    __slots__ = ("name", "ide", "modes", "extra", "installed", "unsupported")
    name: str
    ide: str
    modes: "tuple[str, ...]"
    """What it can do, first what it does by nature."""
    extra: str
    """`pip install autoattach[EXTRA]` brings it."""
    installed: bool
    unsupported: str
    """Why it cannot work on this Python, or an empty string."""


class Installed(Frozen):
    """What is there: the debuggers, and the file that switches everything off."""

    __slots__ = ("debuggers", "disabled", "lack")
    debuggers: "tuple[Known, ...]"
    disabled: str
    """The path of the `autoattach.disabled` that was found, or an empty string."""
    lack: "DebuggerError | None"
    """What to say where no debugger can be had, if there is a bundle that has none for this Python."""


def gate(settings: "Settings", process: "Process") -> "Skip | None":
    """Turn away what is never attached to, cheaply: nothing is opened, looked for or imported.

    None where the process may go on to `plan()`.
    """
    for check in IN_A_CALL if process.started else AT_START:
        reason = check(settings, process)
        if reason:
            return Skip.because(reason)
    return None


def excluded(settings: "Settings", process: "Process") -> bool:
    """Whether a process, as far as its command line goes, is one that is never attached to."""
    return any(check(settings, process) for check in (_helper, _pattern, _tool))


def _off(settings: "Settings", process: "Process") -> "str | None":
    return None if settings.on else "START_DEBUGGER is off"


def _ignored(settings: "Settings", process: "Process") -> "str | None":
    return "python -I and -E ignore the environment" if process.ignores_environment else None


def _other_user(settings: "Settings", process: "Process") -> "str | None":
    return "it runs with another user's rights (setuid)" if process.other_user else None


def _subinterpreter(settings: "Settings", process: "Process") -> "str | None":
    return "it is a sub-interpreter" if process.subinterpreter else None


def _helper(settings: "Settings", process: "Process") -> "str | None":
    found = row(HELPERS, what_runs(process.command))
    return None if found is None else found[1]


def _debugged(settings: "Settings", process: "Process") -> "str | None":
    if process.debugger:
        return f"{process.debugger} is at work in it already"
    return "debugpy's launcher debugs it already" if settings.debugged and settings.session is None else None


def _pattern(settings: "Settings", process: "Process") -> "str | None":
    for pattern in settings.skip:
        if matches(pattern, process.command):
            return f"DEBUGGER_SKIP: {pattern}"
    if settings.only and not any(matches(pattern, process.command) for pattern in settings.only):
        return "no pattern of DEBUGGER_ONLY matches its command line"
    return None


def _tool(settings: "Settings", process: "Process") -> "str | None":
    if settings.only:  # one of them matches, or we would not be here
        return None
    if settings.completing:
        return "a shell asks it for a completion"
    found = row(TOOLS, what_runs(process.command))
    return None if found is None else f"{found[1]} (DEBUGGER_ONLY={found[0]} attaches to it all the same)"


AT_START = (_off, _ignored, _other_user, _subinterpreter, _helper, _debugged, _pattern, _tool)
# What asks for a debugger by a call is wanted, be it a tool.
IN_A_CALL = (_other_user, _subinterpreter, _debugged, _pattern)


def plan(
    settings: "Settings", process: "Process", installed: Installed, session: "Session | None", stranger: bool = False
) -> "Lead | Join | Arm | Skip":
    """Decide. Total: whatever is passed in, one of the answers comes out.

    `session` is the one that this process was started in or, with `stranger`, one that was found on the port.
    """
    if installed.disabled:
        return Skip.because(f"{installed.disabled} switches it off")
    later = bool(settings.words) and not process.started
    if session is not None and not stranger and not settings.subprocess:
        return Skip.because("DEBUGGER_SUBPROCESS=0, and it is a child")
    try:
        if session is not None and not _fits(settings, session):
            session = None
        if session is not None and session.mode != "gone" and (session.pid != process.pid or session.live):
            answer = _join(settings, process, installed, session, stranger)
            # Whether PyCharm's slot is free is a question for then.
            if answer is not None and not (later and session.mode in ("connect", "leave")):
                return answer
        # One that has begun, and asks by itself, is such a fork.
        if glob(FORK_SERVER, what_runs(process.command)) and not (later or process.started):
            return Skip.because("multiprocessing's fork server: its forks run the program")
        if settings.problems:
            raise settings.problems[0]
        lead = _lead(settings, process, installed, session)
        return Arm(words=settings.words, lead=lead) if later else lead
    except errors().AttachError as error:
        return Skip.failed(error)


def _fits(settings: "Settings", session: "Session") -> bool:
    """Whether it is what is asked for: a child may have been given another port, or another IDE."""
    if session.mode == "failed":
        return True
    ports = settings.ports
    fitting = {"vscode": ("debugpy", "ptvsd"), "pycharm": ("pydevd-pycharm", "debugpy"), None: (session.debugger,)}
    return (ports is None or not ports[0] or ports[0] <= session.port <= ports[1]) and (
        session.debugger in fitting.get(settings.ide, (settings.ide,))
    )


def _join(
    settings: "Settings", process: "Process", installed: Installed, session: "Session", stranger: bool
) -> "Join | Skip | None":
    """None where the process is to lead a session of its own."""
    if session.mode == "failed":
        return None if session.pid == process.pid else Skip.because(f"pid {session.pid} could not attach, and said why")
    if session.mode in ("connect", "leave") and session.pid == process.pid:  # its new image, after an exec
        return None
    if session.debugger == "pydevd-pycharm":
        from autoattach._roles import is_reloaded

        if session.mode == "leave" or is_reloaded(settings.hints):  # the slot is for a child: this one may have it
            return None
        return Skip.because(f"pid {session.pid} has the IDE's one slot")
    if session.debugger == "ptvsd":
        if session.pid == process.pid or (settings.ports and session.port < settings.ports[1]):
            return None
        return Skip.because(f"ptvsd debugs one process on a port, and pid {session.pid} has it; {ONE_EACH}", loud=True)
    known = next((known for known in installed.debuggers if known.name == session.debugger), None)
    if known is None or not known.installed:
        if installed.lack is not None:
            return Skip.because(str(installed.lack), loud=True)
        return Skip.because(f"the session of pid {session.pid} needs {session.debugger}, which is not installed here")
    return Join(session=session, stranger=stranger)


def _lead(settings: "Settings", process: "Process", installed: Installed, session: "Session | None") -> Lead:
    known, why = choose(settings, installed)
    if known.unsupported:
        raise errors().DebuggerError(known.unsupported, f"pip install autoattach[{_other_extra(known)}]")
    mode = settings.mode or known.modes[0]
    if mode not in known.modes:
        raise errors().SettingError(
            "DEBUGGER_MODE", mode, f"{' or '.join(known.modes)}", f"is nothing that {known.name} can do"
        )
    if mode == "connect" and settings.ide == "pycharm" and known.ide != "pycharm":
        raise installed.lack or errors().DebuggerError(
            f"DEBUGGER_MODE=connect, but {known.name} cannot talk to PyCharm's debug server",
            'pip install autoattach[pycharm], or leave DEBUGGER_MODE out and use PyCharm\'s "Attach to DAP"',
        )
    ports = settings.ports or (PORT, PORT)
    if mode == "connect" and (ports[0] != ports[1] or not ports[0]):
        raise errors().SettingError(
            "DEBUGGER_PORT", _port_text(ports), "the one on which the IDE listens", "is no single port to connect to"
        )
    wait = default_wait(settings, process)
    again = session if session is not None and mode == "listen" and session.mode in ("listen", "gone") else None
    if again is not None:
        # One port for the tree, and nobody waits twice for it: a new image after an exec does not, nor does a child
        # that finds the port free because its parent's debugger has gone.
        ports, wait = (again.port, again.port), 0.0
        if again.debugger == known.name == "ptvsd" and again.pid != process.pid:
            ports, again = (again.port + 1, (settings.ports or ports)[1]), None
    part = None
    if known.name == "pydevd-pycharm":
        from autoattach._roles import OWN, heir, role  # here, for most processes do not need it

        part = role(process.command, settings.hints)
        if process.started or not settings.subprocess:
            part = OWN
        if session is not None and session.debugger == known.name and session.pid != process.pid:
            part, again, wait = OWN if process.started else heir(settings.hints), session, 0.0
    return Lead(
        debugger=known.name,
        ide="pycharm" if settings.ide == "pycharm" else known.ide,
        mode=mode,
        host=settings.host or HOST,
        ports=ports,
        wait=wait,
        why=why,
        again=again,
        role=part,
        redials=part is not None and not settings.strict and (not process.started or bool(settings.words)),
    )


def default_wait(settings: "Settings", process: "Process") -> float:
    """The seconds that the program may be held."""
    return settings.wait if settings.wait is not None else FOREVER if process.terminal else UNATTENDED_WAIT


def choose(settings: "Settings", installed: Installed) -> "tuple[Known, str]":
    """Which debugger, and why where there was a choice. Raises `DebuggerError` where none can be had."""
    there = [known for known in installed.debuggers if known.installed]
    named = [known for known in installed.debuggers if known.name == settings.ide]
    if named:
        if not named[0].installed:
            raise installed.lack or errors().DebuggerError(
                f"DEBUGGER_IDE={settings.ide}, but {settings.ide} is not installed here",
                f"pip install autoattach[{named[0].extra}]",
            )
        return named[0], ", chosen by DEBUGGER_IDE" if len(there) > 1 else ""
    ides = {known.ide for known in there}
    if settings.ide:
        ide, why = settings.ide, ", chosen by DEBUGGER_IDE"
    elif len(ides) == 1:
        ide, why = ides.pop(), "; DEBUGGER_IDE chooses another"
    elif not ides:
        raise installed.lack or errors().DebuggerError(
            f"{'' if settings.given else 'START_DEBUGGER is set, but '}no debugger is installed here",
            "pip install autoattach[vscode] or autoattach[pycharm]",
        )
    elif settings.terminal_ide:
        ide, why = settings.terminal_ide, ", chosen by the terminal; DEBUGGER_IDE chooses another"
    else:
        names = " and ".join(known.name for known in there)
        raise errors().DebuggerError(f"{names} are installed here", "set DEBUGGER_IDE=vscode or DEBUGGER_IDE=pycharm")
    fitting = [known for known in there if known.ide == ide]
    if not fitting and ide == "pycharm":  # PyCharm 2025.3 and later: run configuration "Attach to DAP"
        fitting = [known for known in there if known.name == "debugpy"]
    if not fitting:
        missing = next(known for known in installed.debuggers if known.ide == ide)
        raise installed.lack or errors().DebuggerError(
            f"DEBUGGER_IDE={ide}, but {missing.name} is not installed here",
            f"pip install autoattach[{missing.extra}]",
        )
    working = [known for known in fitting if not known.unsupported]
    return (working or fitting)[0], why if len(there) > 1 else ""


def _other_extra(known: Known) -> str:
    return "vscode" if known.ide == "vscode" else "pycharm"


def _port_text(ports: "Ports") -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"
