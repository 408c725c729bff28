"""`autoattach config vscode|pycharm`: what belongs into the IDE, printed to be pasted, or put into the project.

stdout has what is to be pasted and nothing else; what to do with it goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import ntpath
import os
import re
import shlex
import sys
from typing import Any, Callable, NamedTuple

from autoattach._errors import AttachError
from autoattach._settings import Settings
from autoattach.cli import _builds, _files, _idea, _jsonc, _launch
from autoattach.debuggers import installed

NAME = "config"
HELP = "print what VS Code or PyCharm needs to attach, or put it into the project"

LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")  # noqa: S104 - to listen on; nobody can connect to it
WORKSPACE = "${workspaceFolder}"
DAP_SINCE = 253


class Plan(NamedTuple):
    """What belongs where, and what to do with it."""

    file: str
    text: str
    """The whole file, as it would be made."""
    merge: Callable[[str], str]
    """The text of the file that is there, with this in it."""
    by_hand: str
    """What to paste into a file that is there."""
    fields: dict[str, Any]
    """For --json."""
    steps: list[str]
    notes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `config` takes on its command line."""
    _teach(
        parser,
        "autoattach config vscode > .vscode/launch.json",
        "autoattach config vscode --write --ssh me@host --remote-root /srv/app",
        "autoattach config pycharm --write --build PY-263.7307.50",
    )
    ides = parser.add_subparsers(metavar="IDE", dest="of", required=True)
    vscode = ides.add_parser(
        "vscode", help="a configuration for launch.json", description="An attach configuration for launch.json."
    )
    _teach(
        vscode,
        "autoattach config vscode                      # the program is on this machine",
        "autoattach config vscode --write              # into .vscode/launch.json",
        "autoattach config vscode --ssh me@host --remote-root /srv/app",
    )
    vscode.add_argument(
        "--mode",
        type=_like("DEBUGGER_MODE"),
        metavar="listen|connect",
        help="what the program does: listen, and VS Code connects to it (default), or connect, and VS Code listens",
    )
    pycharm = ides.add_parser(
        "pycharm",
        help="a run configuration: a Python Debug Server",
        description="A run configuration for PyCharm: a Python Debug Server, to which the program connects.",
    )
    _teach(
        pycharm,
        "autoattach config pycharm --write             # into .idea/runConfigurations/",
        "autoattach config pycharm --build PY-263.7307.50",
        "autoattach config pycharm --ssh me@host --remote-root /srv/app",
    )
    pycharm.add_argument(
        "--build",
        type=_build,
        metavar="BUILD",
        help="what Help | About shows, such as PY-263.7307.50, or the release, such as 2026.3: "
        "says which pydevd-pycharm to install",
    )
    pycharm.add_argument(
        "--attach-to-dap",
        action="store_true",
        help="attach to debugpy instead, as PyCharm 2025.3 and later can: the program listens, PyCharm connects",
    )
    for ide, root in ((vscode, WORKSPACE), (pycharm, _idea.ROOT)):
        ide.add_argument("--host", type=_like("DEBUGGER_HOST"), help="as DEBUGGER_HOST, its default")
        ide.add_argument("--port", type=_like("DEBUGGER_PORT"), help="as DEBUGGER_PORT, its default")
        ide.add_argument(
            "--remote-root", metavar="DIR", type=_word, help="the folder in which the program has its files"
        )
        ide.add_argument(
            "--local-root", metavar="DIR", type=_word, help=f"the same folder where the IDE runs (default: {root})"
        )
        ide.add_argument(
            "--ssh", type=_word, metavar="USER@HOST", help="the program is there: says how to forward the port"
        )
        ide.add_argument(
            "--name", type=_word, default="autoattach", help="the configuration's name (default: %(default)s)"
        )
        ide.add_argument("--write", action="store_true", help="put it into the project, in place of our last one")
        ide.add_argument("--project", metavar="DIR", default=".", help="the project's folder (default: this one)")
        ide.add_argument("--json", action="store_true", help="all of it as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print it, or write it. Returns 0; 1 where it could not be written or made; 2 for usage."""
    if arguments.local_root and not arguments.remote_root:
        print("autoattach config: --local-root needs --remote-root, the same folder on the other side", file=sys.stderr)
        return 2
    try:
        settings = _settings(arguments)
        plan = _vscode(arguments, settings) if arguments.of == "vscode" else _pycharm(arguments, settings)
        state = _write(plan, arguments) if arguments.write else None
    except AttachError as error:
        print(f"autoattach config: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        written = {} if state is None else {"written": state}
        _print(json.dumps({"ide": arguments.of, "file": plan.file, **plan.fields, **written}, indent=2))
    elif state is None:
        _print(plan.text)
    else:
        path = os.path.join(arguments.project, plan.file)
        _print(f"{path} {'has it already' if state == 'unchanged' else 'written'}: {arguments.name}")
    if not arguments.json:
        sys.stdout.flush()
        for number, step in enumerate(plan.steps if state is None else plan.steps[1:], 1):
            print(f"{number}. {step}", file=sys.stderr)
        for note in plan.notes:
            print(note, file=sys.stderr)
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    """The environment's, with the options in place of its variables. Raises `AttachError` for what is used of it."""
    environ = dict(os.environ)
    options = {"DEBUGGER_HOST": arguments.host, "DEBUGGER_PORT": arguments.port}
    if arguments.of == "vscode":
        options["DEBUGGER_MODE"] = arguments.mode
    if arguments.remote_root:
        environ.pop("DEBUGGER_PATH_MAPPINGS", None)
    environ.update({name: value for name, value in options.items() if value})
    settings = Settings.from_environ(environ)
    for problem in settings.problems:
        if problem.name in (*options, "DEBUGGER_PATH_MAPPINGS"):
            raise problem
    if settings.ports is not None and not settings.ports[1]:
        raise AttachError("port 0 is any free one, and the IDE has to know which", "give it with --port, such as 9000")
    return settings


class Way(NamedTuple):
    """Who meets whom where."""

    port: int
    ide: str
    """The address that the IDE connects to, or listens on."""
    ssh: str | None
    """The line that forwards the port."""
    program: str
    """The line that starts the program."""


def _way(arguments: argparse.Namespace, settings: Settings, ide_listens: bool, debugger: str = "") -> Way:
    port = settings.ports[0] if settings.ports else 9000
    host = settings.host or LOOPBACK
    known = installed().debuggers
    variables = ["START_DEBUGGER=1"]
    if debugger or {arguments.of} < {one.ide for one in known if one.installed}:
        variables.append(f"DEBUGGER_IDE={debugger or arguments.of}")
    if settings.ports and settings.ports != (9000, 9000):
        variables.append(f"DEBUGGER_PORT={'-'.join(map(str, sorted({*settings.ports})))}")
    ssh = None
    if arguments.ssh:
        # Through the tunnel both ends are loopback; only a program that listens elsewhere is met there.
        met = LOOPBACK if ide_listens or host in ANY else host
        end = f"[{met}]" if ":" in met else met
        ssh = f"ssh -{'R' if ide_listens else 'L'} {port}:{end}:{port} {shlex.quote(arguments.ssh)}"
        ide = LOOPBACK
        if not ide_listens and host != LOOPBACK:
            variables.append(f"DEBUGGER_HOST={host}")
    else:
        ide = LOOPBACK if host in ANY and not ide_listens else host
        if host != LOOPBACK:
            variables.append(f"DEBUGGER_HOST={host}")
    if arguments.of == "vscode" and ide_listens:
        variables.append("DEBUGGER_MODE=connect")
    return Way(port, ide, ssh, " ".join([*variables, "python app.py"]))


def _mappings(arguments: argparse.Namespace, settings: Settings, root: str) -> tuple[tuple[str, str], ...]:
    """Local and remote folders, where they differ."""
    pairs = settings.path_mappings
    if arguments.remote_root:
        pairs = ((arguments.local_root or root, arguments.remote_root),)
    return tuple((_under(root, local), remote) for local, remote in pairs if local != remote)


def _under(root: str, folder: str) -> str:
    if folder.startswith("$") or os.path.isabs(folder) or ntpath.isabs(folder) or ntpath.splitdrive(folder)[0]:
        return folder
    relative = os.path.normpath(folder).replace(os.sep, "/")
    return root if relative == "." else f"{root}/{relative}"


def _vscode(arguments: argparse.Namespace, settings: Settings) -> Plan:
    ide_listens = settings.mode == "connect"
    way = _way(arguments, settings, ide_listens)
    mappings = _mappings(arguments, settings, WORKSPACE)
    configuration = _launch.configuration(arguments.name, ide_listens, way.ide, way.port, mappings)
    file = os.path.join(".vscode", "launch.json")
    press = f"Choose {arguments.name!r} in Run and Debug, and press F5."
    start = f"Start the program: {way.program}"
    return Plan(
        file=file,
        text=_launch.whole(configuration),
        merge=lambda text: _launch.merge(text, configuration),
        by_hand=_jsonc.dumps(configuration),
        fields={"configuration": configuration, "ssh": way.ssh, "program": way.program},
        steps=[
            f"Put this into {file}, or have --write do it.",
            *([f"Where VS Code runs: {way.ssh}"] if way.ssh else []),
            *([press, start] if ide_listens else [f"{start}\n   It waits.", press]),
        ],
        notes=_range(settings),
    )


def _pycharm(arguments: argparse.Namespace, settings: Settings) -> Plan:
    dap = arguments.attach_to_dap
    build: tuple[int, ...] = arguments.build or ()
    way = _way(arguments, settings, ide_listens=not dap, debugger="debugpy" if dap else "")
    mappings = _mappings(arguments, settings, _idea.ROOT)
    wanted = _idea.Wanted(
        type=_idea.DAP if dap else _idea.SERVER,
        name=arguments.name,
        host="localhost" if way.ide == LOOPBACK and not dap else way.ide,  # as PyCharm calls itself
        port=way.port,
        mappings=mappings,
        module=_module(arguments.project),
    )
    if dap and build and build[0] < DAP_SINCE:
        raise AttachError("PyCharm can attach to debugpy since 2025.3", "leave --attach-to-dap out")
    text = _idea.render(wanted)
    pip = "pip install debugpy" if dap else f"pip install '{_builds.requirement(build)}'" if build else None
    start = f"Start the program: {way.program}"
    choose = f"Debug the run configuration {arguments.name!r}."
    file = os.path.join(".idea", "runConfigurations", _idea.file_name(arguments.name))
    stored = os.path.join(".run", arguments.name + ".run.xml")  # where "Store as project file" may have put it
    if os.path.isfile(os.path.join(arguments.project, stored)):
        file = stored
    notes = _range(settings)
    if not dap:
        notes += _builds.fitting(build)
    elif len(mappings) > 1:
        notes.append("This kind of configuration has one path mapping: it is the first of them.")
    return Plan(
        file=file,
        text=text,
        merge=lambda there: _idea.merge(there, wanted),
        by_hand=text,
        fields={"configuration": text, "pip": pip, "ssh": way.ssh, "program": way.program},
        steps=[
            f"Put this into {file}, or have --write do it.",
            *([f"Where the program runs: {pip}"] if pip else []),
            *([f"Where PyCharm runs: {way.ssh}"] if way.ssh else []),
            *([f"{start}\n   It waits.", choose] if dap else [choose, start]),
        ],
        notes=notes,
    )


def _module(project: str) -> str:
    """PyCharm's module, where the project has one; without it PyCharm takes the first."""
    try:
        names = [name for name in os.listdir(os.path.join(project, ".idea")) if name.endswith(".iml")]
    except OSError:
        return ""
    return names[0][: -len(".iml")] if len(names) == 1 else ""


def _range(settings: Settings) -> list[str]:
    if settings.ports and settings.ports[0] != settings.ports[1]:
        return ["Of the range of ports this is the first; the program says which one it has."]
    return []


def _write(plan: Plan, arguments: argparse.Namespace) -> str:
    """Put it into the project. Returns created, changed or unchanged. Raises `AttachError`."""
    if not os.path.isdir(arguments.project):
        raise AttachError(f"there is no folder {arguments.project}", "give the project's with --project")
    path = os.path.join(arguments.project, plan.file)
    before = _files.read(path)
    try:
        after = plan.text + "\n" * (arguments.of == "vscode") if before is None else plan.merge(before)
    except (_jsonc.NotUnderstood, _idea.NotUnderstood) as error:
        if not arguments.json:
            _print(plan.by_hand)
            sys.stdout.flush()
        raise AttachError(f"{path} is left alone, for it is not understood: {error}", "put this in by hand") from None
    if after == before:
        return "unchanged"
    _files.write(path, after)
    return "created" if before is None else "changed"


def _print(text: str) -> None:
    """To stdout, in what it can encode; what it cannot is escaped as JSON or XML says."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        if text.startswith("<"):
            text = text.encode("ascii", "xmlcharrefreplace").decode()
        else:
            text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found.group())[1:-1], text)
    print(text)


def _teach(parser: argparse.ArgumentParser, *examples: str) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n  ".join(["examples:", *examples])


def _like(variable: str) -> Callable[[str], str]:
    """The type of an option that stands for a variable."""

    def parse(text: str) -> str:
        problems = Settings.from_environ({variable: text}).problems
        if problems:
            raise argparse.ArgumentTypeError(
                problems[0].what.partition("=")[2] + f"; it is {problems[0].advice.partition(' to ')[2]}"
            )
        return text

    return parse


def _word(text: str) -> str:
    if not text.strip() or not text.isprintable() or text.startswith("-"):
        raise argparse.ArgumentTypeError(f"{text!r} is not understood")
    return text


def _build(text: str) -> tuple[int, ...]:
    try:
        return _builds.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
