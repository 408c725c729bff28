"""What doctor looks at: a list of small checks, each of which yields what it has found."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
from typing import Iterator, Mapping, NamedTuple, Sequence

import autoattach
from autoattach._exclusions import what_runs
from autoattach._leader import REACH
from autoattach._network import reachable
from autoattach._plan import Lead
from autoattach._process import Process, in_container
from autoattach._settings import Settings
from autoattach.cli._findings import INFO, OK, WARNING, WRONG, Finding
from autoattach.cli._interpreter import Interpreter, Look
from autoattach.cli._outlook import Outlook
from autoattach.cli._variables import variables
from autoattach.debuggers import ROWS, installed

Found = Iterator[Finding]


class Case(NamedTuple):
    """What the checks look at."""

    settings: Settings
    process: Process
    interpreter: Interpreter
    look: Look
    outlook: Outlook
    outside: Mapping[str, str]
    """The environment before the command line has changed it."""

    @property
    def lead(self) -> Lead | None:
        """The session that would be opened."""
        return self.outlook.lead

    def pip(self, what: str) -> str:
        """What to type to have pip do something in that interpreter."""
        return f"{shlex.quote(self.interpreter.python)} -m pip {what}"


def run(case: Case) -> list[Finding]:
    """All of it."""
    return [finding for check in CHECKS for finding in check(case)]


def _python(case: Case) -> Found:
    one = case.interpreter
    implementation = f"{one.name}, {one.python}"
    yield Finding("python", OK, implementation)
    if one.facts["other_user"]:
        yield Finding("python", WRONG, "it runs with another user's rights (setuid)", "start it as that user")
    if case.process.debugger:
        what = f"{case.process.debugger} is imported as this Python starts, before any program"
        yield Finding("python", WRONG, what, "see which .pth file or sitecustomize imports it")


def _package(case: Case) -> Found:
    origin = case.interpreter.module("autoattach")
    if origin is None:
        what = f"autoattach cannot be imported by {case.interpreter.python}"
        yield Finding("package", WRONG, what, case.pip("install 'autoattach[vscode]'"))
        return
    release = case.interpreter.release("autoattach")
    yield Finding("package", OK, f"autoattach {release}, {os.path.dirname(origin)}".replace(" ,", ","))
    if release and release != autoattach.__version__:
        what = f"that is another release than this doctor's, {autoattach.__version__}: it may decide otherwise"
        yield Finding("package", WARNING, what, f"{shlex.quote(case.interpreter.python)} -m autoattach doctor")


def _hook(case: Case) -> Found:
    """The first door: autoattach.pth, where `site` looks."""
    one = case.interpreter
    there = " or ".join(one.facts["folders"])
    if one.facts["no_site"]:
        yield Finding("hook", WRONG, "python -S reads no .pth file, and no sitecustomize", "leave -S out")
    elif not one.hooks:
        other = _our_sitecustomize(case)
        what = f"autoattach.pth is not in {there}"
        if other and case.look.runs:
            yield Finding("hook", INFO, f"{what}; the sitecustomize on PYTHONPATH does its work")
        else:
            yield Finding("hook", WRONG, what, case.pip("install --force-reinstall --no-deps autoattach"))
    elif one.module("autoattach") is None:
        what = f"{one.hooks[0]} is left of an installation whose package is gone"
        remove = "del" if os.name == "nt" else "rm"
        advice = f"{case.pip('install autoattach')}, or {remove} {shlex.quote(one.hooks[0])}"
        yield Finding("hook", WRONG, what, advice)
    else:
        yield Finding("hook", OK, one.hooks[0])
        for more in one.hooks[1:]:
            what = f"a second installation: {more}; the one that comes first on the path runs"
            yield Finding("hook", WARNING, what, case.pip("uninstall autoattach") + ", once more for the other")


def _other_door(case: Case) -> Found:
    found: Sequence[tuple[str, bool]] = case.interpreter.facts["doors"]
    ours = _our_sitecustomize(case)
    if ours and found[0][1]:
        behind = f"; it runs {found[1][0]}, too" if len(found) > 1 else ""
        both = "; with autoattach.pth beside it there is one attach" if case.interpreter.hooks else ""
        yield Finding("sitecustomize", OK, f"the other door: {ours}{behind}{both}")
    elif ours:
        what = f"{found[0][0]} comes before {ours} on the path"
        status = OK if case.look.runs else WRONG
        yield Finding("sitecustomize", status, what, f"put {os.path.dirname(ours)} first on PYTHONPATH")
    elif found:
        yield Finding("sitecustomize", INFO, f"the other door is not in use; the sitecustomize here is {found[0][0]}")
    else:
        yield Finding("sitecustomize", INFO, "the other door, a sitecustomize on PYTHONPATH, is not in use")


def _our_sitecustomize(case: Case) -> str:
    return next((path for path, ours in case.interpreter.facts["doors"] if ours), "")


def _start(case: Case) -> Found:
    if case.look.runs:
        yield Finding("start", OK, "the hook ran in a Python that was started to see")
    elif case.interpreter.facts["no_site"]:
        yield Finding("start", WRONG, "the hook did not run in a Python that was started to see", "leave -S out")
    else:
        why = f": {case.look.problem}" if case.look.problem else ""
        there = case.interpreter.hooks and case.interpreter.module("autoattach")
        advice = case.pip("install --force-reinstall --no-deps autoattach") if there else ""
        yield Finding("start", WRONG, f"the hook did not run in a Python that was started to see{why}", advice)


def _debuggers(case: Case) -> Found:
    one = case.interpreter
    names = {row[0]: row[2] for row in ROWS}
    for known in installed("", one.module, one.version).debuggers:
        needed = case.lead is not None and case.lead.debugger == known.name
        if not known.installed:
            yield Finding("debugger", INFO, f"{known.name} is not installed")
        elif known.unsupported:
            yield Finding("debugger", WARNING, known.unsupported, case.pip("install 'autoattach[vscode]'"))
        else:
            origin = one.module(names[known.name]) or ""
            release = one.release(known.name) or "(of no known release)"
            yield Finding("debugger", OK, f"{known.name} {release}, {origin}{': it is used' if needed else ''}")


def _conflicts(case: Case) -> Found:
    """What is installed, or lies about, and gets into a debugger's way."""
    one = case.interpreter
    ides = {row[1] for row in ROWS if one.module(row[2])}
    if len(ides) > 1 and case.settings.ide is None and case.settings.terminal_ide is None:
        what = "debuggers of two IDEs are installed, and nothing says which to use"
        yield Finding("conflict", WRONG, what, "DEBUGGER_IDE=vscode or DEBUGGER_IDE=pycharm")
    if one.release("pydevd") and one.release("pydevd-pycharm"):
        what = "pydevd and pydevd-pycharm are both installed, and have written over each other's files"
        advice = f"{case.pip('uninstall pydevd')}; {case.pip('install --force-reinstall pydevd-pycharm')}"
        yield Finding("conflict", WRONG, what, advice)
    pycharm, pydevd = one.module("pydevd_pycharm"), one.module("pydevd")
    if pycharm and pydevd and os.path.dirname(pycharm) != os.path.dirname(pydevd):
        yield Finding("conflict", WRONG, f"{pydevd} hides the pydevd of pydevd-pycharm", f"rename {pydevd}")
    for name in ("debugpy", "ptvsd"):
        origin = one.module(name)
        if origin and os.path.basename(origin) != "__init__.py":
            yield Finding("conflict", WRONG, f"{origin} hides the debugger of that name", f"rename {origin}")
    runs = what_runs(case.process.command)
    folder = os.path.join(one.cwd, "" if runs.startswith("-") else os.path.dirname(runs))
    for name in ("debugpy", "ptvsd", "pydevd", "pydevd_pycharm"):
        path = os.path.join(folder, f"{name}.py")
        if os.path.isfile(path) and path not in (one.module(name), one.module("debugpy")):
            what = f"{os.path.normpath(path)}, beside the program, hides the debugger's module of that name"
            yield Finding("conflict", WARNING, what, f"rename {os.path.normpath(path)}")
    monitors = one.version >= (3, 12) and case.lead is not None and case.lead.debugger == "debugpy"
    if case.process.tracer == "coverage" and not monitors:
        what = "coverage measures this Python, and debugger and coverage take the trace function from each other"
        yield Finding("conflict", WARNING, what, "debug without coverage")


def _variables(case: Case) -> Found:
    yield from variables(case.interpreter.environ, case.settings, case.process.terminal, case.lead, case.outside)


def _switch(case: Case) -> Found:
    folders = [case.process.prefix, *(() if os.name == "nt" else ("/etc",))]
    for path in (os.path.join(folder, "autoattach.disabled") for folder in folders):
        if os.path.exists(path):
            yield Finding("switch", WRONG, f"{path} switches it off", f"remove {path}")


def _network(case: Case) -> Found:
    yield from case.outlook.findings


def _forward(case: Case) -> Found:
    """The way from an IDE on another machine."""
    lead = case.lead
    if lead is None:
        return
    port = str(lead.ports[0]) if lead.ports[0] else "PORT"
    host = reachable(lead.host)
    target = f"[{host}]" if ":" in host else host
    if lead.mode == "listen":
        command = f"ssh -L {port}:{target}:{port} {_here(case.outside)}"
    elif host in ("127.0.0.1", "localhost", "::1"):
        command = f"ssh -R {port}:127.0.0.1:{port} {_here(case.outside)}"
    else:
        return
    yield Finding("ssh", INFO, "where the IDE runs on another machine, forward the port from there", command)


def _here(environ: Mapping[str, str]) -> str:
    """This machine, for ssh, as the user has come to it if that is known."""
    try:
        user = getpass.getuser()
    except Exception:  # a user id without a name
        user = "USER"
    came = environ.get("SSH_CONNECTION", "").split()
    if len(came) == 4:
        return f"{user}@{came[2]}" if came[3] == "22" else f"-p {came[3]} {user}@{came[2]}"
    return f"{user}@{platform.node() or 'HOST'}"


def _container(case: Case) -> Found:
    lead = case.lead
    if lead is None or not in_container():
        return
    port = str(lead.ports[0]) if lead.ports[0] else "PORT"
    if lead.mode == "connect":
        what = "this is a container: 127.0.0.1 is not where the IDE runs"
        if not case.outlook.attaches and lead.host in ("127.0.0.1", "localhost", "::1"):
            yield Finding("container", WARNING, what, "DEBUGGER_HOST=host.docker.internal, or ssh -R into it")
    elif lead.host in ("127.0.0.1", "localhost", "::1"):
        yield Finding(
            "container",
            WARNING,
            f"this is a container{REACH}",
            f"docker run -p 127.0.0.1:{port}:{port} -e DEBUGGER_HOST=0.0.0.0 ..., or kubectl port-forward POD {port}",
        )
    else:
        what = "this is a container: its port must be published"
        yield Finding("container", INFO, what, f"docker run -p 127.0.0.1:{port}:{port} ...")


def _build(case: Case) -> Found:
    """pydevd-pycharm and PyCharm must be of one build."""
    release = case.interpreter.release("pydevd-pycharm")
    branch, _, rest = release.partition(".")
    if not (branch.isdigit() and len(branch) == 3 and case.lead and case.lead.debugger == "pydevd-pycharm"):
        return
    build = ".".join([branch, *rest.split(".")[:1]])
    what = f"pydevd-pycharm {release} is for PyCharm 20{branch[:2]}.{branch[2]}, build {build} (Help | About shows it)"
    yield Finding("build", INFO, what, case.pip("install 'pydevd-pycharm~=BUILD'") + " where yours is another")


CHECKS = (
    _python, _package, _hook, _other_door, _start, _debuggers, _conflicts, _variables, _switch, _network, _container,
    _forward, _build,
)  # fmt: skip
