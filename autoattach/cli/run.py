"""`autoattach run`: the variables, set by options; then the command, in the place of this process."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import subprocess
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import autoattach
from autoattach._attach import gather
from autoattach._errors import AttachError
from autoattach._loan import MODULES
from autoattach._network_errors import HubTaken
from autoattach._notices import say
from autoattach._plan import Skip, gate, plan
from autoattach._process import Process
from autoattach._session import Session
from autoattach._settings import LENT, RUN, VARIABLES, Settings, Variable
from autoattach.cli import _witness
from autoattach.cli._keeper import Hub
from autoattach.cli._supervise import Relay, supervise, wait_for
from autoattach.debuggers import find

NAME = "run"
HELP = "run a command with START_DEBUGGER=1: each option stands for one of the variables"
EPILOG = """\
COMMAND runs in the place of autoattach: with its process id, its standard streams, its signals and its exit status.
With --hub it is a child that signals are passed on to, and one attach outlives every process that it starts.
Whatever Pythons it starts are attached to, also those without autoattach or a debugger, which find them here. Where
none was, a line at the end says so.

examples:
  autoattach run app.py                                    hold app.py until VS Code or PyCharm has attached
  autoattach run --wait 0 --port 9000-9010 -- make test    run on at once; attach when needed
  autoattach run --only worker.py -- ./start-everything    attach to what runs worker.py alone
  autoattach run --hub -- ./entrypoint.sh                  one attach for "migrate", "serve" and every restart"""

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have it
METAVARS = {
    "ports": "PORT",
    "wait": "SECONDS",
    "only": "PATTERN",
    "skip": "PATTERN",
    "path_mappings": "LOCAL=REMOTE",
    "log": "FOLDER",
}
# Options of python's that keep our door shut
SHUT = {"I": "-I ignores the environment", "E": "-E ignores the environment", "S": "-S starts without site-packages"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` takes on its command line: the table of variables."""
    parser.usage = "autoattach run [OPTION ...] [--] COMMAND ..."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_options(parser, [variable.field for variable in VARIABLES if variable.field not in ("on", "token")])
    parser.add_argument("--hub", action="store_true", help="hold the session open until COMMAND ends, whatever it runs")
    parser.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run, with its own options")


def add_options(parser: argparse.ArgumentParser, fields: Sequence[str]) -> None:
    """An option for each variable whose field of `Settings` is named; `given()` has what was said. (A secret has no
    place on a command line.)"""
    for variable in VARIABLES:
        if variable.field not in fields:
            continue
        value, colon, meaning = variable.meaning.partition(": ")
        keywords: Dict[str, Any] = {"dest": variable.name}
        if colon and value.isdigit():  # a flag, and the value that is not the default
            keywords.update(action="store_const", const=value, help=f"{meaning} ({variable.name}={value})")
        else:
            keywords.update(type=_parser(variable), metavar=METAVARS.get(variable.field, variable.field.upper()))
            keywords.update(help=f"{variable.meaning} ({variable.name})")
            if isinstance(variable.parse(""), tuple):
                keywords.update(action="append")
        parser.add_argument(option(variable), **keywords)


def given(arguments: argparse.Namespace) -> Dict[str, str]:
    """The variables that options stand for."""
    said = {name: value for name, value in vars(arguments).items() if name.startswith("DEBUGGER_") and value}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in said.items()}


def option(variable: Variable) -> str:
    """The option that stands for a variable."""
    name = variable.name.partition("_")[2].lower().replace("_", "-")
    if variable.meaning.startswith("0: "):
        return f"--no-{name}"
    return f"--{name[:-1] if name == 'path-mappings' else name}"


def _parser(variable: Variable) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            variable.parse(value.strip())
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{value!r} is not understood; it can be {error}") from None
        return value

    return parse


def run(arguments: argparse.Namespace) -> int:
    """Run it. Returns only where there is nothing to run, below a hub, or where there is no exec on this system: then
    the command's status."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        print("autoattach run: no COMMAND to run, as in: autoattach run app.py", file=sys.stderr)
        return 2
    try:
        program, words = find_command(words)
        environ = environment(given(arguments), os.environ)
        python = interpreter([program, *words[1:]])
        why = shut_out(python)
        if why:
            print(f"autoattach run: {words[0]} does not attach: {why}", file=sys.stderr, flush=True)
        certain = bool(why) or will_say_so(python, environ)
        return (below_a_hub if arguments.hub else execute)(program, words, environ, [] if certain else words)
    except CannotRun as error:
        print(f"autoattach run: {error}", file=sys.stderr)
        return error.status
    except AttachError as error:
        print(f"autoattach run: {error}", file=sys.stderr)
        return 1


class CannotRun(Exception):
    """The command cannot be run; `status` is the exit status that a shell would give."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


def environment(variables: Mapping[str, str], before: Mapping[str, str]) -> Dict[str, str]:
    """The command's environment: the variables, and the way to us for a Python that has none of ours.

    Raises `AttachError` where our own door is not there.
    """
    environ = dict(before)
    said = Settings.from_environ({"START_DEBUGGER": before.get("START_DEBUGGER", "")})
    if not said.on:
        environ["START_DEBUGGER"] = "1"
    environ.update(variables)
    path = [door(), *filter(None, before.get("PYTHONPATH", "").split(os.pathsep))]
    environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path))
    origins = (find(name.replace("-", "_")) for name in MODULES)
    folders = (os.path.dirname(os.path.dirname(o) if o.endswith("__init__.py") else o) for o in origins if o)
    environ[LENT] = os.pathsep.join(dict.fromkeys(folders))
    return environ


def door() -> str:
    """The folder of the sitecustomize that is our other door: in the package or, in a checkout, beside it."""
    package = os.path.dirname(os.path.abspath(autoattach.__file__))
    inside = os.path.join(package, "_sitecustomize")
    for folder in (inside, os.path.join(os.path.dirname(package), "sitecustomize_template")):
        if os.path.isfile(os.path.join(folder, "sitecustomize.py")):
            return folder
    raise AttachError(
        f"{inside} is not there", f"{sys.executable} -m pip install --force-reinstall autoattach, which brings it"
    )


def find_command(words: List[str]) -> Tuple[str, List[str]]:
    """The program, as a shell would find it, and its arguments from the 0th on; a .py file is run by this Python.

    Raises `CannotRun`.
    """
    name = words[0]
    path = shutil.which(name)
    if path is None and name.endswith(".py") and os.path.isfile(name):  # here, where a shell does not look
        path = os.path.join(os.path.dirname(name) or os.curdir, os.path.basename(name))
    if path is None:
        if os.path.dirname(name) and os.path.exists(name):
            what = "is a folder" if os.path.isdir(name) else f"is not executable; chmod +x {name} makes it so"
            raise CannotRun(f"{name} {what}", NOT_EXECUTABLE)
        raise CannotRun(f"{name} is not found", NOT_FOUND)
    if name.endswith(".py") and not (os.name != "nt" and os.access(path, os.X_OK) and _first_line(path)[:2] == b"#!"):
        return sys.executable, [sys.executable, *words]
    return path, words


def interpreter(command: List[str]) -> List[str]:
    """The command with a script's interpreter in front, as its first line names it."""
    line = _first_line(command[0])
    if not line.startswith(b"#!"):
        return command
    words = os.fsdecode(line[2:]).strip().split(None, 1)  # the system passes on all that follows as one argument
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in " ".join(words[1:]).split() if not word.startswith("-") and "=" not in word]
        words[:1] = [shutil.which(words[0]) or words[0]] if words else []
    return [*words, *command] if words else command


def _first_line(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.readline(1000)
    except OSError:
        return b""


def shut_out(command: List[str]) -> str:
    """Why a Python would not even ask us, or an empty string."""
    if not _is_python(command[0]):
        return ""
    words = iter(command[1:])
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            break
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for at, letter in enumerate(word[1:], 2):
            if letter in SHUT:
                return f"python {SHUT[letter]}"
            if letter in "cmWX":
                if letter in "cm":
                    return ""
                if not word[at:]:
                    next(words, None)
                break
    return ""


def _is_python(program: str) -> bool:
    name = os.path.basename(program).lower()
    return name.startswith(("python", "pypy")) or os.path.realpath(program) == os.path.realpath(sys.executable)


def will_say_so(command: List[str], environ: Mapping[str, str]) -> bool:
    """Whether it is certain that a Python attaches or says why not: it is ours, so that we know what it will decide."""
    settings = Settings.from_environ(environ)
    if settings.words:  # nothing attaches before what they say
        return True
    here = os.path.dirname(os.path.abspath(sys.executable))
    if os.path.dirname(os.path.abspath(command[0])) != here or not _is_python(command[0]):
        return False
    process = Process.current().replace(command=tuple(command), debugger="", tracer="", ignores_environment=False)
    session = Session.from_text(settings.session) if settings.session else None
    if gate(settings, process) is not None:
        return False
    answer = plan(settings, process, gather(process), session)
    return not isinstance(answer, Skip) or answer.error is not None


def below_a_hub(program: str, words: List[str], environ: Dict[str, str], unsure: List[str]) -> int:
    """Run it as a child, in the session of a hub that lives as long as it does; without one where that cannot be."""
    settings = Settings.from_environ(environ)
    relay = Relay()
    try:
        hub = Hub(settings, Process.current(started=True))
        relay.start()
        hub.open()
    except AttachError as error:
        if settings.strict and not isinstance(error, HubTaken):
            raise
        say(f"{error.what}: the command is in its session" if isinstance(error, HubTaken) else error)
        relay.stop()
        return execute(program, words, environ, unsure)
    witness = _witness.call(unsure, stays=True) if unsure else None
    if witness is not None:
        environ[RUN] = witness.path
    try:
        status = supervise(hub, relay, program, words, environ)
    except OSError as error:
        if witness is not None:
            witness.dismiss()
        raise CannotRun(f"{program} cannot be run ({error.strerror})", NOT_EXECUTABLE) from None
    if witness is not None:
        witness.testify(os.getpid())
    return status


def execute(program: str, words: List[str], environ: Dict[str, str], unsure: List[str]) -> int:
    """Run it in the place of this process; `unsure`: what was typed, where it may be that nothing attaches."""
    witness = None
    if unsure and not os.path.exists(environ.get(RUN, "")):  # else who waits there will say it
        witness = _witness.call(unsure)
        if witness is not None:
            environ[RUN] = witness.path
    try:
        if os.name == "nt":
            return _run_below(words, environ, witness)
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and what is ignored stays so after an exec
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        try:
            os.execve(program, words, environ)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            os.execve("/bin/sh", ["/bin/sh", program, *words[1:]], environ)  # no "#!" line: a shell does the same
    except OSError as error:
        if witness is not None:
            witness.dismiss()
        raise CannotRun(f"{program} cannot be run ({error.strerror})", NOT_EXECUTABLE) from None


def _run_below(words: List[str], environ: Dict[str, str], witness: Optional[_witness.Witness]) -> int:
    """Where there is no exec (Windows): wait for it, and end as it has ended. Ctrl-C reaches it by itself."""
    process = subprocess.Popen(words, env=environ)
    status = wait_for(process)
    if witness is not None:
        witness.testify(process.pid)
    return status
