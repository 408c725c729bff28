"""Which Python a command line starts, as far as that can be told without running it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import Mapping, NamedTuple, Sequence

from autoattach._errors import AttachError

PYTHON = re.compile(r"(python|pypy|py)[0-9.]*[wt]?(\.exe)?", re.IGNORECASE)
SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "ash"])
OPERATORS = re.compile(r"[();<>|&]+|do|then|else|if|while|until|!|\{|\}")
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
DEEPEST = 20  # a script that is its own interpreter

# What starts the command that follows: its options that take a value, and how many arguments stand before the command
WRAPPERS: Mapping[str, tuple[Sequence[str], int]] = {
    "chrt": ((), 1),
    "command": ((), 0),
    "dumb-init": (("-r", "--rewrite"), 0),
    "exec": (("-a",), 0),
    "gosu": ((), 1),
    "ionice": (("-c", "-n", "--class", "--classdata"), 0),
    "nice": (("-n", "--adjustment"), 0),
    "nohup": ((), 0),
    "setsid": ((), 0),
    "stdbuf": (("-i", "-o", "-e"), 0),
    "strace": (("-e", "-o", "-p", "-s", "-u"), 0),
    "su-exec": ((), 1),
    "taskset": ((), 1),
    "time": (("-f", "--format", "-o", "--output"), 0),
    "timeout": (("-s", "--signal", "-k", "--kill-after"), 1),
    "tini": (("-p", "-e"), 0),
    "xvfb-run": (("-n", "-s", "-e", "-f", "-p", "-w"), 0),
}
BUILTINS = ("command", "exec")
SUDO = ("-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U", "--user", "--group", "--host", "--prompt", "--chdir")
# What finds an environment first and starts the command in that: it is asked in there
RUNNERS = frozenset(["uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda", "mamba"])


class Command(NamedTuple):
    """The Python that a command line starts, and what that Python is given."""

    python: str
    """Its path."""
    options: tuple[str, ...]
    """Its own options: those before the script, `-m` or `-c`."""
    line: tuple[str, ...]
    """The command line as that Python sees it."""
    environ: Mapping[str, str]
    cwd: str


class Unknown(AttachError):
    """It may well start a Python; which, only running it would tell."""


def resolve(words: Sequence[str], environ: Mapping[str, str], cwd: str) -> Command:
    """Which Python it starts, and how. Raises `AttachError` where it is none, or where that cannot be told."""
    try:
        return _resolve(_Words(list(words), dict(environ), cwd))
    except (IndexError, ValueError) as error:
        raise AttachError(
            f"{shlex.quote(words[0])} and what follows it is not understood ({error})", "give the Python's own command"
        ) from None
    except OSError as error:
        raise AttachError(f"{error.filename} cannot be read ({error.strerror})", "check the command") from None


def _resolve(now: _Words) -> Command:
    for _ in range(DEEPEST):
        if not now.words:
            raise AttachError("there is no command to start", "autoattach doctor python app.py")
        name = os.path.basename(now.words[0])
        script = _dash_c(now.words) if name in SHELLS else None
        if name == "env":
            now.env()
        elif name in ("sudo", "doas"):
            now.sudo()
        elif name in WRAPPERS and (name not in BUILTINS or name == now.words[0]):
            now.wrapper(*WRAPPERS[name])
        elif script is not None:
            return now.shell(script)
        elif now.is_python():
            options = tuple(_options(now.words))
            return Command(now.path(), options, tuple(now.words), now.environ, now.cwd)
        else:
            now.script()
    raise AttachError(f"{now.words[0]} leads from script to script without end", "mend its first line")


def is_python(path: str) -> bool:
    """By its name, or by that of what it is a link to; nothing else is started to find out."""
    return any(PYTHON.fullmatch(os.path.basename(one)) for one in (path, os.path.realpath(path)))


class _Words:
    """A command line, from which what stands before the Python is taken away piece by piece."""

    def __init__(self, words: list[str], environ: dict[str, str], cwd: str) -> None:
        self.words = words
        self.environ = environ
        self.cwd = cwd

    def path(self) -> str:
        """The file of the program. Raises `AttachError` where there is none."""
        name = self.words[0]
        if os.path.dirname(name):
            found = shutil.which(os.path.join(self.cwd, name))
        else:
            found = shutil.which(name, path=self.environ.get("PATH", os.defpath))
        if found is not None:
            return os.path.join(self.cwd, found)
        if os.path.exists(os.path.join(self.cwd, name)):
            python = "python" if name.endswith(".py") else ""
            advice = f"chmod +x {name}, or {python} {name}" if python else f"chmod +x {name}"
            raise AttachError(f"{name} is not executable", advice)
        raise AttachError(f"there is no command {name} here", "check its name, and PATH")

    def is_python(self) -> bool:
        """Whether a Python comes next."""
        return is_python(self.path())

    def skip_options(self, valued: Sequence[str]) -> None:
        """Past the program's name and its options."""
        del self.words[0]
        while self.words and self.words[0].startswith("-") and self.words[0] != "-":
            option = self.words.pop(0)
            if option == "--":
                break
            if option in valued:
                del self.words[:1]

    def assignments(self) -> None:
        """`NAME=VALUE` words go into the environment."""
        while self.words and ASSIGNMENT.match(self.words[0]):
            name, _, value = self.words.pop(0).partition("=")
            self.environ[name] = value

    def wrapper(self, valued: Sequence[str], before: int) -> None:
        """One of the table."""
        self.skip_options(valued)
        del self.words[:before]

    def env(self) -> None:
        """`env [-i] [-u NAME] [-S STRING] [NAME=VALUE ...] COMMAND ...`"""
        del self.words[0]
        while self.words and self.words[0].startswith("-"):
            option = self.words.pop(0)
            if option in ("-", "-i", "--ignore-environment"):
                self.environ = {}
            elif option.startswith(("-S", "--split-string")):
                text = option[2:] if option[:2] == "-S" else option.partition("=")[2]
                self.words[:0] = shlex.split(text or self.words.pop(0))
            elif option.startswith(("-u", "--unset")):
                name = option[2:] if option[:2] == "-u" else option.partition("=")[2]
                self.environ.pop(name or self.words.pop(0), None)
            elif option.startswith(("-C", "--chdir")):
                folder = option[2:] if option[:2] == "-C" else option.partition("=")[2]
                self.cwd = os.path.join(self.cwd, folder or self.words.pop(0))
            elif option == "--":
                break
        self.assignments()

    def sudo(self) -> None:
        """It gives the command an environment of its own, but for what it is told."""
        keeps = any(word in ("-E", "--preserve-env") for word in self.words)
        named = [word.partition("=")[2].split(",") for word in self.words if word.startswith("--preserve-env=")]
        kept = {"PATH", *(name for names in named for name in names)}
        self.skip_options(SUDO)
        if not keeps:
            self.environ = {name: value for name, value in self.environ.items() if name in kept}
        self.assignments()

    def shell(self, script: str) -> Command:
        """`sh -c SCRIPT`: the first of its commands that is a Python."""
        lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        commands: list[list[str]] = [[]]
        try:
            for word in lexer:
                if word.strip("<>&|") == "" and word.strip("&|"):  # a redirection: 2>&1, > FILE
                    if commands[-1][-1:] in (["1"], ["2"]):
                        commands[-1].pop()
                    next(lexer, None)
                elif OPERATORS.fullmatch(word):
                    commands.append([])
                else:
                    commands[-1].append(self.expanded(word))
        except ValueError as error:
            raise AttachError(
                f"the shell's {script!r} is not understood ({error})", "give the Python's own command"
            ) from None
        problem = None
        for words in filter(None, commands):
            if words[0] in ("cd", "pushd") and len(words) == 2:
                self.cwd = os.path.join(self.cwd, words[1])
                continue
            if words[0] in ("for", "case", "select"):
                continue
            if words[0] in ("export", "set"):
                self.words = words[1:]
                self.assignments()
                continue
            inner = _Words(words, dict(self.environ), self.cwd)
            inner.assignments()
            if not inner.words:
                self.environ = inner.environ
                continue
            try:
                return _resolve(inner)
            except AttachError as error:
                problem = problem or error
        raise problem or AttachError("the shell starts nothing", "give the Python's own command")

    def expanded(self, word: str) -> str:
        """With the variables that are known; what a shell would have to run is not."""
        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: self.environ.get(found[1] or found[2], ""), word)

    def script(self) -> None:
        """What the first line of a script names takes its place."""
        path = self.path()
        name = os.path.basename(path)
        if name in RUNNERS and "run" in self.words:
            raise Unknown(
                f"{name} run looks for a Python by itself, and is not asked which", f"{name} run autoattach doctor"
            )
        beside = os.path.join(os.path.dirname(path), "python.exe")
        if os.name == "nt" and name.lower().endswith(".exe") and os.path.isfile(beside):
            self.words[:1] = [beside, path]
            return
        with open(path, "rb") as file:
            start = file.read(4096).decode("utf-8", "replace")
        first, _, rest = start.partition("\n")
        if not first.startswith("#!"):
            raise AttachError(
                f"{path} is a program of its own, not a Python",
                "the Pythons that it starts attach, if the hook is in them: ask for one of their command lines",
            )
        interpreter = first[2:].strip().split(None, 1)
        if not interpreter:
            raise AttachError(f"{path} begins with #! and names no interpreter", "mend its first line")
        long = re.match(r"'''exec' (.*) \"\$0\" \"\$@\"", rest)  # pip's and uv's, for paths that a kernel does not take
        arguments = shlex.split(long[1]) if long else interpreter
        shell = os.path.basename(arguments[0])
        if shell in SHELLS:
            raise Unknown(
                f"{path} is a script of {shell}, and what that starts cannot be told",
                "START_DEBUGGER=1 DEBUGGER_VERBOSE=1 before it has each Python that it starts say a line",
            )
        self.words[:1] = [*arguments, self.words[0]]


def _dash_c(words: Sequence[str]) -> str | None:
    """The script of `sh -c`, with whatever options."""
    for at, word in enumerate(words[1:], 1):
        if not word.startswith("-"):
            return None
        if not word.startswith("--") and "c" in word:
            return "".join(words[at + 1 : at + 2])
    return None


def _options(line: Sequence[str]) -> list[str]:
    """A Python's own options on its command line."""
    found: list[str] = []
    rest = iter(line[1:])
    for word in rest:
        if word == "-" or not word.startswith("-"):
            break
        if word.startswith("--"):
            found.append(word)
            if word == "--check-hash-based-pycs":
                found.append(next(rest, ""))
            continue
        for at, letter in enumerate(word[1:], 1):
            if letter in "cm":  # they end the options; those that are written together with them count
                return [*found, word[:at]] if at > 1 else found
            if letter in "WX":
                found.append(word)
                if at == len(word) - 1:
                    found.append(next(rest, ""))
                break
        else:
            found.append(word)
    return [option for option in found if option not in ("-i", "-V", "--version", "-h", "--help")]
