"""What start-up would do: its own `gate()` and `plan()`, with what the interpreter and the network say."""

from __future__ import annotations

from typing import NamedTuple

from autoattach._attach import gather, handed_down
from autoattach._errors import AttachError
from autoattach._leader import IDES, how_long
from autoattach._network import spell
from autoattach._network_errors import PortTaken
from autoattach._plan import EXCEPTION_WAIT, Arm, Join, Lead, Skip, gate, plan
from autoattach._process import Process, alive
from autoattach._records import find
from autoattach._session import Session
from autoattach._settings import BREAKPOINT, EXCEPTION, FOREVER, REQUEST, SIGNAL, Settings
from autoattach.cli import _probe
from autoattach.cli._findings import INFO, OK, WARNING, WRONG, Finding
from autoattach.cli._interpreter import Interpreter
from autoattach.debuggers import installed

PATIENCE = 0.5  # seconds that a taken port is tried again: an adapter may be letting go of it


class Outlook(NamedTuple):
    """Whether it would attach, how or why not, and what was found on the way to that."""

    attaches: bool
    words: str
    type: str
    lead: Lead | None
    """The session that it would open, where it came to that, be it that it cannot."""
    findings: list[Finding]


def process(interpreter: Interpreter, line: tuple[str, ...], pid: int, terminal: bool) -> Process:
    """The process that a command line would be, or is."""
    facts = interpreter.facts
    return Process(
        pid=pid,
        command=line,
        ignores_environment=bool(facts["ignores_environment"]),
        other_user=bool(facts["other_user"]),
        subinterpreter=False,
        debugger=str(facts["debugger"]),
        terminal=terminal,
        prefix=str(facts["prefix"]),
        tracer=str(facts["tracer"]),
        started=False,
    )


def foresee(settings: Settings, process: Process, interpreter: Interpreter) -> Outlook:
    """Decide as `_attach.start()` does, looking where that acts."""
    turned_away = gate(settings, process)
    if turned_away is not None:
        return _skipped(turned_away, None, [])
    there = gather(process)
    known = installed("", interpreter.module, interpreter.version).debuggers
    there = there.replace(debuggers=known, lack=interpreter.lack)
    session = handed_down(settings, process)
    findings = []
    if session is not None:
        where = spell(session.host, session.port)
        findings.append(
            Finding("session", INFO, f"the environment carries the session of pid {session.pid} at {where}")
        )
    stranger, patience = False, 0.0
    lead: Lead | None = None
    for _ in range(5):
        answer = plan(settings, process, there, session, stranger)
        if isinstance(answer, Skip):
            return _skipped(answer, lead, findings)
        if isinstance(answer, Join):
            joined = answer.session
            if alive(joined.pid) or stranger:
                return _joins(joined, lead, findings)
            findings.append(Finding("session", WARNING, f"pid {joined.pid}, which led it, has ended"))
            session, stranger = None, False
            continue
        if isinstance(answer, Arm):
            outlook = foresee(settings.replace(words=(), wait=_hold(answer.words, settings)), process, interpreter)
            words = f"it waits for {_moments(answer.words)}; then {outlook.words}"
            # An IDE that is not there yet need not be, until then.
            later = [one._replace(status=INFO) if one.check == "ide" else one for one in outlook.findings]
            return outlook._replace(words=words, findings=[*findings, *later], attaches=True, type="")
        lead = answer
        if lead.mode == "connect":
            return _connects(lead, interpreter, findings)
        try:
            findings.append(_probe.port(lead.host, lead.ports, patience))
            return Outlook(True, _listens(lead), "", lead, findings)
        except PortTaken as error:
            session = find(error.port) if error.port else None
            stranger = session is not None
            if session is None and patience:
                findings.append(Finding("port", WRONG, error.what, error.advice))
                return _refused(error, lead, findings)
            if session is not None:
                what = f"{error.what}: a session of yours, which more processes may join"
                if session.debugger == "ptvsd":
                    what = f"{error.what}: a session of yours"
                findings.append(Finding("port", OK, what))
            patience = PATIENCE
        except AttachError as error:
            findings.append(Finding("port", WRONG, error.what, error.advice))
            return _refused(error, lead, findings)
    return Outlook(False, "its session comes and goes", "", lead, findings)


MOMENTS = {
    EXCEPTION: "an uncaught exception",
    BREAKPOINT: "the first breakpoint()",
    REQUEST: "a request that asks for it",
}


def _moments(words: tuple[str, ...]) -> str:
    return " or ".join(MOMENTS.get(word) or f"SIG{word.partition(':')[2]}" for word in words)


def _hold(words: tuple[str, ...], settings: Settings) -> float | None:
    if EXCEPTION in words and settings.wait is None:
        return EXCEPTION_WAIT
    return 0.0 if all(word.startswith(SIGNAL) for word in words) else settings.wait


def _listens(lead: Lead) -> str:
    first, last = lead.ports
    where = spell(lead.host, first)
    if not first:
        where = f"{lead.host}, on any free port,"
    elif first != last:
        where = f"{lead.host}, on the first free port of {first}-{last},"
    who = IDES[lead.ide, "listen"]
    return f"{lead.debugger} listens at {where} for {who} and {_holds(lead.wait)}"


def _holds(wait: float) -> str:
    if not wait:
        return "lets the program run"
    return "holds the program until it comes" if wait == FOREVER else f"holds the program {how_long(wait)}"


def _joins(session: Session, lead: Lead | None, findings: list[Finding]) -> Outlook:
    where = spell(session.host, session.port)
    words = f"it joins the session of pid {session.pid} ({session.debugger} at {where})"
    return Outlook(True, words, "", lead, findings)


def _connects(lead: Lead, interpreter: Interpreter, findings: list[Finding]) -> Outlook:
    who, where = IDES[lead.ide, "connect"], spell(lead.host, lead.ports[0])
    try:
        findings += _probe.ide(lead.host, lead.ports[0], lead.debugger, who, interpreter.release("pydevd-pycharm"))
    except AttachError as error:
        findings.append(Finding("ide", WRONG, error.what, error.advice))
        later = f"; it would try again and hold the program {how_long(lead.wait)}" if lead.wait else ""
        return Outlook(False, f"{error.what}{later}", error.advice, lead, findings)
    words = f"{lead.debugger} connects to {who} at {where}"
    if lead.role is not None and lead.role.kind in ("forks", "starts"):
        words += f"; {lead.role.name} has its one slot"
    return Outlook(True, words, "", lead, findings)


def _skipped(answer: Skip, lead: Lead | None, findings: list[Finding]) -> Outlook:
    if answer.error is not None:
        return _refused(answer.error, lead, findings)
    return Outlook(False, answer.reason, "", lead, findings)


def _refused(error: AttachError, lead: Lead | None, findings: list[Finding]) -> Outlook:
    return Outlook(False, error.what, error.advice, lead, findings)
