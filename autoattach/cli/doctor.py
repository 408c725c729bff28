"""`autoattach doctor`: would it attach, where, and if not, why? Nothing is attached."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from typing import Any, Mapping, NamedTuple

from autoattach._errors import AttachError
from autoattach._network import spell
from autoattach._process import Process
from autoattach._settings import Settings
from autoattach.cli import _checks, _outlook, _running
from autoattach.cli._checks import Case
from autoattach.cli._command import Command, Unknown, resolve
from autoattach.cli._findings import INFO, OK, WARNING, WRONG, Finding
from autoattach.cli._interpreter import ask, look
from autoattach.cli._outlook import Outlook
from autoattach.cli._running import Running
from autoattach.cli._variables import AS_IF
from autoattach.cli.demo import Style

NAME = "doctor"
HELP = "would it attach, where, and if not, why? Nothing is attached, and your program is not started"
EXAMPLES = """\
examples:
  autoattach doctor                              this Python, with these variables
  DEBUGGER_IDE=pycharm autoattach doctor         ... with others
  autoattach doctor python app.py                the Python that a command starts, by its name,
  autoattach doctor -- gunicorn -w 1 app:app     by a script's first line, behind env, nice, sh -c ...
  autoattach doctor --live                       then stop a small program at a breakpoint
  autoattach doctor --pid 4711                   a process that runs: is it attached, and why not?

The first line is the answer. Then a line for each thing that was looked at:
ok  it is well; !!  it is wrong; ?  it may be; -  good to know. What to type stands below.
The Python is started to see, and where the IDE listens, it is connected to for a moment.
The exit status is 0 when it would attach and nothing is wrong, else 1.
"""
MISSING = "START_DEBUGGER is not in its environment (a service's and cron's are not yours)"
MARKS = {OK: ("ok", "32"), WRONG: ("!!", "1;31"), WARNING: ("? ", "33"), INFO: ("- ", "")}


class Report(NamedTuple):
    """What is printed."""

    attaches: bool
    answer: str
    type: str
    python: str | None
    command: tuple[str, ...]
    checks: list[Finding]

    @property
    def well(self) -> bool:
        """It would attach, or is attached, and nothing is wrong."""
        return self.attaches and not any(finding.status == WRONG for finding in self.checks)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `doctor` takes on its command line."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.set_defaults(parser=parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for a program to read")
    parser.add_argument("--live", action="store_true", help="run the demo in that Python, too")
    parser.add_argument("--pid", type=_pid, help="explain a process that runs, by its own environment (Linux)")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command to answer for")


def run(arguments: argparse.Namespace) -> int:
    """Look, and print. Returns 0 when it would attach and nothing is wrong, else 1; 130 after Ctrl-C."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if arguments.pid and words:
        arguments.parser.error("--pid explains a process that runs, and COMMAND one that does not: give one of them")
    try:
        try:
            report = of_process(arguments.pid) if arguments.pid else of_command(words, os.environ)
        except AttachError as error:
            said = "It cannot be told" if isinstance(error, Unknown) else "It would not attach"
            said = f"Nothing is known of pid {arguments.pid}" if arguments.pid else said
            report = Report(False, f"{said}: {error.what}", error.advice, None, tuple(words), [])
        status = _tell(report, arguments)
    except KeyboardInterrupt:
        return 130
    return 0 if report.well and not status else 1


def of_command(words: list[str], environ: Mapping[str, str]) -> Report:
    """What a command line would do; without one, a script in this Python. Raises `AttachError` where none is found."""
    outside = dict(environ)
    if not outside.get("START_DEBUGGER", "").strip():
        outside["START_DEBUGGER"] = AS_IF
    if words:
        command = resolve(words, outside, os.getcwd())
    else:
        command = Command(sys.executable, (), (sys.executable, "app.py"), outside, os.getcwd())
    _running.records_of(command.environ)
    case, outlook = _case(command, 0, Process.current().terminal, outside)
    would = "It would attach" if outlook.attaches else "It would not attach"
    return _report(case, f"{would}: {outlook.words}", outlook.type)


def of_process(pid: int) -> Report:
    """What is to be said of a process that runs. Raises `AttachError` where that cannot be told."""
    running = _running.read(pid)
    session = running.session
    command = running.command
    known = Outlook(True, "", "", None, []) if session is not None and session.mode != "failed" else None
    off = not Settings.from_environ(command.environ).on
    outside = {**command.environ, "START_DEBUGGER": AS_IF} if off else command.environ
    as_if = command._replace(environ=outside)
    case, outlook = _case(as_if, pid, running.terminal, command.environ, known)
    if known is not None and session is not None:
        where = spell(session.host, session.port)
        whose = "it leads the session" if session.pid == pid else f"it is in the session of pid {session.pid}"
        answer, advice = f"It is attached: {session.debugger} at {where}, {whose}", ""
    elif off:
        value = command.environ.get("START_DEBUGGER", "")
        answer = f"It is not attached: START_DEBUGGER={value} is off" if value else f"It is not attached: {MISSING}"
        answer += f"; autoattach attach {pid} attaches to it as it runs"
        advice = _again(running)
    elif outlook.attaches:
        answer = f"It is not attached. Started now, it would be: {outlook.words}"
        advice = f"start it again; its own stderr said why it is not ({_again(running, 'DEBUGGER_VERBOSE')} says more)"
    else:
        answer, advice = f"It is not attached: {outlook.words}", outlook.type
    report = _report(case, answer, advice)
    return report if known is not None else report._replace(attaches=False)


def _case(
    command: Command, pid: int, terminal: bool, outside: Mapping[str, str], known: Outlook | None = None
) -> tuple[Case, Outlook]:
    interpreter = ask(command.python, command.options, command.environ, command.cwd)
    settings = Settings.from_environ(command.environ)
    process = _outlook.process(interpreter, command.line, pid, terminal)
    outlook = known or _outlook.foresee(settings, process, interpreter)
    if settings.problems and outlook.lead is None and known is None:  # what there is beside the values to mend
        rest = _outlook.foresee(settings.replace(problems=()), process, interpreter)
        outlook = outlook._replace(lead=rest.lead, findings=rest.findings)
    return Case(settings, process, interpreter, look(interpreter), outlook, outside), outlook


def _report(case: Case, answer: str, advice: str) -> Report:
    checks = _checks.run(case)
    attaches = case.outlook.attaches
    if not case.look.runs:  # whatever else would be: nothing of ours would even look
        broken = next(one for one in checks if one.status == WRONG and one.check in ("package", "hook", "start"))
        answer = f"{answer.partition(':')[0].replace('would attach', 'would not attach')}: {broken.what}"
        attaches, advice = False, broken.type
    return Report(attaches, answer, advice, case.interpreter.python, case.process.command, checks)


def _again(running: Running, name: str = "START_DEBUGGER") -> str:
    """What to type to have a program that runs started with a variable."""
    if running.service == "cron":
        return f"crontab -e, and {name}=1 before its command"
    if running.service:
        edit = f"systemctl edit {running.service}"
        return f"{edit}, with [Service] and Environment={name}=1; systemctl restart {running.service}"
    return f"{name}=1 {' '.join(map(shlex.quote, running.command.line))}"


def _tell(report: Report, arguments: argparse.Namespace) -> int:
    """Print it. Returns the status of the demo, where that was asked for."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # a path may hold what the terminal cannot show
        reconfigure(errors="backslashreplace")
    live, status = None, 0
    demo = [report.python or sys.executable, "-m", "autoattach", "demo"]
    if arguments.json:
        if arguments.live:
            done = subprocess.run(demo, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            live = {"status": done.returncode, "output": done.stdout.decode("utf-8", "replace")}
            status = done.returncode
        print(json.dumps(_plain(report, live), indent=2))
        return status
    style = Style()
    print(style.bold(report.answer))
    if report.type:
        print(f"    -> {report.type}")
    print()
    for finding in report.checks:
        mark, colour = MARKS[finding.status]
        print(f"\033[{colour}m{mark}\033[0m" if style.on else mark, finding.what)
        if finding.type and finding.status != OK:
            print(f"      -> {finding.type}")
    if not arguments.live:
        return 0
    print(flush=True)
    return subprocess.run(demo, stdin=subprocess.DEVNULL).returncode


def _plain(report: Report, live: dict[str, Any] | None) -> dict[str, Any]:
    """For a program to read."""
    plain = {
        "attaches": report.attaches,
        "well": report.well,
        "answer": report.answer,
        "type": report.type,
        "python": report.python,
        "command": list(report.command),
        "checks": [finding._asdict() for finding in report.checks],
    }
    return plain if live is None else {**plain, "live": live}


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no process id")
    return int(text)
