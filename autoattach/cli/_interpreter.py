"""An interpreter is asked what it is, and started to see whether the hook runs in it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Mapping, NamedTuple, Sequence

from autoattach import _bundle
from autoattach._bundle import Row
from autoattach._errors import AttachError, DebuggerError
from autoattach._loan import lack, lent
from autoattach._settings import SESSION, VARIABLES, Settings
from autoattach.debuggers import ROWS, installed

PATIENCE = 30.0  # seconds that a Python may take to start
MARK = "autoattach-facts: "
OLDEST = (3, 8)
SKIPS = "]: not attached: "
MORE = {"pydevd-pycharm": ("pydevd",)}  # what else is asked for of what a debugger brings


class Interpreter(NamedTuple):
    """What it said, see `_facts.py`, and how it was started."""

    python: str
    options: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: str
    facts: Mapping[str, Any]
    lent: Mapping[str, Row] = {}
    """By their modules, the debuggers that it would find in a bundle, for it has none of its own."""
    lack: DebuggerError | None = None
    """What start-up would say where a bundle is there, and no debugger can be had."""

    @property
    def version(self) -> tuple[int, ...]:
        """Such as (3, 11, 7)."""
        return tuple(self.facts["version"])

    @property
    def name(self) -> str:
        """Such as `Python 3.11.7`."""
        return f"Python {'.'.join(map(str, self.version))}"

    def module(self, name: str) -> str | None:
        """The file of a top-level module that it would import, or None."""
        found = self.facts["modules"].get(name)
        if found is None and name in self.lent:
            folder = os.path.join(self.facts["bundle"][0], self.lent[name].folder)
            beside = os.path.join(folder, f"{name}.py")
            return beside if os.path.isfile(beside) else os.path.join(folder, name, "__init__.py")
        return None if found is None else str(found)

    def release(self, distribution: str) -> str:
        """The version that is installed, or an empty string."""
        lent = (row.release for row in self.lent.values() if row.debugger == distribution)
        return str(self.facts["releases"].get(distribution, next(lent, "")))

    @property
    def hooks(self) -> list[str]:
        """Each `autoattach.pth` in the folders in which it looks for such files."""
        paths = [os.path.join(folder, "autoattach.pth") for folder in self.facts["folders"]]
        return [path for path in paths if os.path.isfile(path)]


class Look(NamedTuple):
    """What a start with the hook showed."""

    runs: bool
    problem: str
    """What Python said of a hook that failed; else an empty string."""


def ask(python: str, options: Sequence[str], environ: Mapping[str, str], cwd: str) -> Interpreter:
    """Ask an interpreter, with the options and the environment that it would be started with.

    Raises `AttachError` where it is no Python, or one that is too old.
    """
    with open(os.path.join(os.path.dirname(__file__), "_facts.py"), encoding="utf-8") as file:
        program = file.read()
    done = output_of([python, *options, "-c", program], _without_ours(environ), cwd)
    said = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not said:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise AttachError(
            f"{python} is no Python that answers (status {done.returncode}{': ' if last else ''}{''.join(last)[:200]})"
        )
    facts = json.loads(said[-1][len(MARK) :])
    found = Interpreter(python, tuple(options), environ, cwd, facts)
    if found.version < OLDEST:
        raise AttachError(
            f"{python} is {found.name}, and autoattach needs 3.8 or later", "start the program with a later Python"
        )
    return _with_bundle(found)


def _with_bundle(found: Interpreter) -> Interpreter:
    """With what `_loan` would lend it."""
    bundle = _bundle.read(found.facts["bundle"][0]) if found.facts["bundle"] else None
    if bundle is None:
        return found
    fields = found.facts["bundle"][1]
    here = _bundle.Here(**{**fields, "release": tuple(fields["release"])})
    ide = Settings.from_environ(found.environ).ide
    there = installed("", found.module, found.version)
    pydevd = found.module("pydevd")
    rows = lent(bundle, here, there, ide, pydevd)
    modules = {module: rows[row[0]] for row in ROWS if row[0] in rows for module in (row[2], *MORE.get(row[0], ()))}
    return found._replace(lent=modules, lack=lack(bundle, here, ide, pydevd))


def look(interpreter: Interpreter) -> Look:
    """Start it with START_DEBUGGER=1, so that the hook runs and says that it attaches to nothing."""
    environ = _without_ours(interpreter.environ)
    environ.update(START_DEBUGGER="1", DEBUGGER_SKIP="*", DEBUGGER_VERBOSE="1")
    try:
        done = output_of([interpreter.python, *interpreter.options, "-c", "pass"], environ, interpreter.cwd)
    except AttachError as error:
        return Look(False, error.what)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if any(line.startswith("autoattach[") and SKIPS in line for line in lines):
        return Look(True, "")
    errors = [line for line in lines if line.partition(":")[0].endswith("Error") or line.startswith("autoattach[")]
    return Look(False, errors[-1] if errors else "")


def output_of(
    command: Sequence[str], environ: Mapping[str, str] | None, cwd: str | None = None, patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, and have what it says. Raises `AttachError` where it cannot be started, or does not end."""
    try:
        return subprocess.run(
            command,
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        raise AttachError(f"{command[0]} did not end within {patience:g} s") from None
    except OSError as error:
        raise AttachError(f"{command[0]} cannot be started ({error.strerror or error})") from None


def _without_ours(environ: Mapping[str, str]) -> dict[str, str]:
    ours = {SESSION, "DEBUGPY_RUNNING", *(variable.name for variable in VARIABLES)}
    return {name: value for name, value in environ.items() if name not in ours}
