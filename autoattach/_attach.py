"""perform(): the only place with an effect on the process."""

import _thread
import os
import sys

from autoattach import debuggers
from autoattach._plan import Arm, Join, Lead, Skip, plan
from autoattach._process import Process, alive
from autoattach._settings import BUNDLE, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._errors import AttachError
    from autoattach._plan import Installed
    from autoattach._session import Session
    from autoattach._settings import Settings

# Those whose own timeouts `_timeouts` knows: for others it need not be imported
SERVERS = ("gunicorn", "celery", "dask", "airflow", "uwsgi", "uvicorn")
PATIENCE = 2.0  # seconds that a taken port is tried again: an adapter may be letting go of it
CARRIED_WAIT = 10.0  # seconds that a child waits for the IDE to attach to it


def start(settings: "Settings", process: Process) -> "Arm | None":
    """What happens when Python starts with START_DEBUGGER. An `Arm` is for the caller to see to."""
    inherited = handed_down(settings, process)
    if inherited is not None:  # DEBUGGER_STRICT is not for children
        settings = settings.replace(strict=False)
    try:
        answer = enter(settings, process, inherited)
    except errors().AttachError as error:
        answer = Skip.failed(error)
    if isinstance(answer, Arm):
        return answer
    from autoattach import _channel  # here, for where a process waits for its moment there is none

    if answer is not None:
        skip(settings, answer)
    _channel.settle()
    return None


def handed_down(settings: "Settings", process: Process) -> "Session | None":
    """The session that this process was started in, if that may still be there."""
    if not settings.session:
        return None
    from autoattach._session import Session

    session = Session.from_text(settings.session)
    if session is not None and session.pid != process.pid and session.serves_one and not alive(session.pid):
        return None
    return session


def enter(settings: "Settings", process: Process, inherited: "Session | None") -> "Skip | Arm | None":
    """Gather, plan, perform: open a session, or join one; what is returned says why this process is rather left alone,
    be it until later (never where it has `started`).

    What only performing can tell, that a port is taken or a session has ended, is planned with anew. Raises
    `AttachError` where the process should be attached to and cannot be; then nothing is left of it.
    """
    session = inherited
    there = gather(process)
    bundled = _has_bundle()
    if settings.lent or bundled:
        from autoattach import _bundle
        from autoattach._loan import borrow, borrow_from

        bundle = _bundle.find() if bundled else None
        if bundle is not None:
            there = borrow_from(bundle, there, settings.ide)
        if settings.lent:
            there = borrow(there, settings.lent.split(os.pathsep), settings.ide)
    stranger = False
    patience = 0.0
    for _ in range(5):
        answer = plan(settings, process, there, session, stranger)
        if isinstance(answer, (Skip, Arm)):
            return answer
        try:
            perform(answer, settings, process, patience)
            return None
        except errors().AttachError as error:
            from autoattach._network_errors import PortTaken, SessionGone, SlotTaken

            if isinstance(error, SlotTaken):
                # Of a tree one process has it, as it should be; started apart, a user would wonder.
                return Skip.failed(error) if session is None else Skip.because(error.what)
            if isinstance(error, SessionGone):
                # Nobody waits twice for a tree whose leader lives.
                session = session.replace(mode="gone") if session and inherited and alive(session.pid) else None
                stranger = False
            elif not isinstance(error, PortTaken):
                raise
            elif session is not None:  # another of our tree was quicker: it is asked
                session = session.replace(mode="listen", live=True)
            else:
                from autoattach._records import find

                session = find(error.port) if error.port else None
                stranger = session is not None
                if session is None and patience:
                    raise
                patience = PATIENCE
    return Skip.because("its session came and went")


def _has_bundle() -> bool:
    """Whether there is a bundle to be read: a look, before what reads it is imported."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.basename(own) == BUNDLE or any(os.path.isdir(os.path.join(entry, BUNDLE)) for entry in sys.path)


def gather(process: Process) -> "Installed":
    """What is installed, and whether a file switches us off."""
    folders = [process.prefix] if os.name == "nt" else [process.prefix, "/etc"]
    for folder in folders:
        switch = os.path.join(folder, "autoattach.disabled")
        if os.path.exists(switch):
            return debuggers.installed(disabled=switch)
    return debuggers.installed()


def skip(settings: "Settings", answer: Skip) -> None:
    """Do not attach: say why, as far as somebody must or wants to know it."""
    from autoattach import _records

    if answer.carried:
        from autoattach._loading import Loader

        Loader("debugpy", settings, Process.current()).carried(CARRIED_WAIT)
    else:
        _records.report("" if answer.error is not None or answer.loud else answer.reason)
    if answer.error is not None:
        from autoattach._session import SESSION, Session

        fail(settings, answer.error)
        # One try, one hold and one line for a tree: its children stay out.
        failed = Session(id="0", pid=os.getpid(), debugger="none", mode="failed", host="", port=1, live=False)
        os.environ[SESSION] = failed.to_text()
        from autoattach import _channel
        from autoattach._loading import current

        _channel.prepare(_thread.get_ident(), current)
    elif settings.verbose or answer.loud:
        from autoattach._notices import say

        say(f"not attached: {answer.reason}")


def fail(settings: "Settings", error: "AttachError") -> None:
    """Say what went wrong; the program runs on, or ends here with DEBUGGER_STRICT."""
    from autoattach._notices import say

    if not settings.strict:
        say(f"{error}; {error.outcome}")
        return
    say(f"{error} (DEBUGGER_STRICT: exit status 1)")
    os._exit(1)  # SystemExit out of a start-up hook would be a fatal error of 25 lines


def perform(answer: "Lead | Join", settings: "Settings", process: Process, patience: float = 0.0) -> None:
    """Do it, trying a taken port for `patience` seconds.

    Raises `AttachError` where that cannot be done; then nothing is left of it.
    """
    _fill_streams()
    # The network and what comes with it: not where a process waits for its moment.
    if isinstance(answer, Join):
        from autoattach._member import join

        session = answer.session
        sys.audit("autoattach.attach", session.debugger, session.mode, session.host, (session.port, session.port))
        join(answer, settings, process)
    else:
        _open(answer, settings, process, patience)
    if not process.started and any(name in part for part in process.command[:8] for name in SERVERS):
        from autoattach._timeouts import what_ends

        ending = what_ends(process.command, settings.hints)
        if ending:  # of a server's first process: its workers are forks, or have other command lines
            from autoattach._notices import say

            say(ending)


def _fill_streams() -> None:
    """A process started with a standard stream closed: none of our sockets is to have its number.

    What a library in C says on stderr would go to the IDE, and a helper that inherits our socket has streams of its own
    there. Children find the stream closed, as they would without us.
    """
    for number in range(3) if os.name == "posix" else ():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number


def _open(answer: Lead, settings: "Settings", process: Process, patience: float) -> None:
    sys.audit("autoattach.attach", answer.debugger, answer.mode, answer.host, answer.ports)
    if answer.mode == "listen":
        from autoattach._leader import listen

        listen(answer, settings, process, patience)
    else:
        from autoattach._caller import call

        call(answer, settings, process)
