"""The variables a user sets, parsed once. Nothing else reads the environment.

Each value is data and never evaluated. A bad one becomes a `SettingError` in `Settings.problems`, so that parsing
never raises and `autoattach doctor` can show all of them at once.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Mapping, Tuple

    from autoattach._errors import SettingError

    Ports = Tuple[int, int]

OFF = frozenset(["", "0", "false", "no", "off"])
# Words of START_DEBUGGER that say when
EXCEPTION, SIGNAL, BREAKPOINT, REQUEST = LATER = ("exception", "signal", "breakpoint", "request")
# Those that may be waited for: the others say what is wrong, end or stop a process whatever we do, or are Python's own
SIGNALS = ("USR1", "USR2", "HUP", "QUIT", "WINCH", "IO", "PWR", "BREAK")
SESSION = "AUTOATTACH_SESSION"
LENT = "AUTOATTACH_LENT"
RUN = "AUTOATTACH_RUN"
# The folder in a bundle; it can be no module's name, so nothing in it is imported by where it lies
BUNDLE = "autoattach-bundle"
# Set in its terminals by VS Code's Python Debugger extension, which watches the folder of this file
ENDPOINTS = "VSCODE_DEBUGPY_ADAPTER_ENDPOINTS"
# Of a reload pair, the one that runs the user's code has one of these: Django's and Werkzeug's
RELOADED = ("RUN_MAIN", "WERKZEUG_RUN_MAIN")
# How long Dask's scheduler does without a word of a worker
DASK_TTL = "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"
# How long Airflow's dag-processor lets the reading of one file take
DAG_FILE_TIMEOUT = "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"
# What else tells flask, uvicorn and fastapi whether to reload, how many workers to have, gunicorn its options, and two
# timeouts
HINTS = (
    *RELOADED,
    "FLASK_DEBUG",
    "FLASK_ENV",
    "UVICORN_RELOAD",
    "UVICORN_WORKERS",
    "WEB_CONCURRENCY",
    "GUNICORN_CMD_ARGS",
    DASK_TTL,
    DAG_FILE_TIMEOUT,
)

# Those by which the terminal's IDE is known; and what debugpy's launcher says
TERMINALS = TERMINAL_EMULATOR, PYCHARM_HOSTED, TERM_PROGRAM = ("TERMINAL_EMULATOR", "PYCHARM_HOSTED", "TERM_PROGRAM")
DEBUGPY = "DEBUGPY_RUNNING"

FOREVER = float("inf")

armed: "list[str]" = []  # the words of START_DEBUGGER that this process waits for, whatever the environment says by now


def errors() -> "Any":
    """The module `_errors`. (`except errors().AttachError` asks where something was raised: few starts import it.)"""
    from autoattach import _errors

    return _errors


class Frozen:
    """A plain value: its fields are its slots, set once. (`dataclasses` and `typing` cost 10 ms at start-up.)"""

    __slots__: "tuple[str, ...]" = ()

    def __init__(self, **fields: "Any") -> None:
        put = object.__setattr__
        for name in self.__slots__:
            put(self, name, fields.pop(name))
        if fields:
            raise TypeError(f"{type(self).__name__} has no {', '.join(fields)}")

    def replace(self, **fields: "Any") -> "Any":
        """A copy with some fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self.__slots__}, **fields})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"


def _start(value: str) -> bool:
    if value.lower() in OFF:
        return False
    _later(value)
    return True


def _later(value: str) -> "tuple[str, ...]":
    """The words that say when, a signal as `signal:USR1`; none where that is at the start."""
    words, others = [], []
    for word in _patterns(value.lower()):
        name, colon, parameter = (part.strip() for part in word.partition(":"))
        if name == SIGNAL:
            words.append(f"{SIGNAL}:{_signal_name(parameter or 'usr1')}")
        elif name in LATER and not colon:
            words.append(name)
        else:
            others.append(name)
    if others and (words or any(name in LATER for name in others)):
        raise ValueError(f"1, or to {', '.join(LATER[:-1])} or {LATER[-1]}, or some of these, separated by commas")
    return tuple(dict.fromkeys(words))


def _signal_name(name: str) -> str:
    """As in `USR1`. Raises ValueError where it cannot be waited for."""
    here = [known for known in SIGNALS if hasattr(__import__("_signal"), f"SIG{known}")]
    name = name.upper()
    name = name[3:] if name.startswith("SIG") else name
    if name not in here:
        raise ValueError(" or ".join(f"{SIGNAL}:{known}" for known in here))
    return name


def _flag(value: str) -> bool:
    return value.lower() not in OFF


def _text(value: str) -> "str | None":
    return value or None


def _host(value: str) -> "str | None":
    if value.startswith("[") and value.endswith("]"):  # [::1], as in a URL
        value = value[1:-1]
    if any(c.isspace() or c in "/@" for c in value):
        raise ValueError("a host name or an IP address, such as 127.0.0.1")
    return value or None


def _ports(value: str) -> "Ports | None":
    if not value or "://" in value:  # Kubernetes sets tcp://10.0.0.1:9000 for a service that is called "debugger"
        return None
    allowed = "a port from 0 to 65535, or a range such as 9000-9010"
    first, dash, last = value.partition("-")
    last = last if dash else first
    if not all(port.isascii() and port.isdigit() and len(port) < 6 for port in (first, last)):
        raise ValueError(allowed)
    ports = int(first), int(last)
    if ports[0] > ports[1] or ports[1] > 65535 or (dash and not ports[0]):
        raise ValueError(allowed)
    return ports


def _wait(value: str) -> "float | None":
    if not value:
        return None
    if value.lower() == "forever":
        return FOREVER
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < FOREVER:
        raise ValueError("seconds such as 30, 0 for no wait, or forever")
    return seconds


def _choice(*words: str) -> "Callable[[str], str | None]":
    def parse(value: str) -> "str | None":
        word = value.lower().replace("_", "-")
        if word and word not in words:
            raise ValueError(" or ".join([", ".join(words[:-1]), words[-1]]))
        return word or None

    return parse


def _patterns(value: str) -> "tuple[str, ...]":
    return tuple(pattern.strip() for pattern in value.split(",") if pattern.strip())


def _mappings(value: str) -> "tuple[tuple[str, str], ...]":
    pairs = []
    for pair in _patterns(value):
        local, equals, remote = pair.partition("=")
        if not (local.strip() and equals and remote.strip()):
            raise ValueError("LOCAL=REMOTE, such as /home/me/app=/srv/app; more of them separated by commas")
        pairs.append((local.strip(), remote.strip()))
    return tuple(pairs)


class Variable:
    """One row of the table: the variable, its field in `Settings`, how it is parsed, what it means."""

    __slots__ = ("name", "field", "parse", "meaning")

    def __init__(self, name: str, field: str, parse: "Callable[[str], Any]", meaning: str) -> None:
        self.name = name
        self.field = field
        self.parse = parse
        self.meaning = meaning


def _table() -> "Iterator[Variable]":
    ide = _choice("vscode", "pycharm", "debugpy", "ptvsd", "pydevd-pycharm")
    for row in (
        (
            "START_DEBUGGER",
            "on",
            _start,
            "any value but 0, false, no and off turns it on; exception, signal, breakpoint, request: then",
        ),
        ("DEBUGGER_IDE", "ide", ide, "vscode or pycharm; or debugpy, ptvsd, pydevd-pycharm"),
        ("DEBUGGER_HOST", "host", _host, "the address to listen on, or where the IDE listens (127.0.0.1)"),
        ("DEBUGGER_PORT", "ports", _ports, "a port (9000); to listen also 0, any free one, or a range"),
        ("DEBUGGER_MODE", "mode", _choice("listen", "connect"), "listen or connect"),
        ("DEBUGGER_WAIT", "wait", _wait, "seconds to hold the program for the IDE, 0, or forever"),
        ("DEBUGGER_ONLY", "only", _patterns, "attach only where one of these patterns matches the command line"),
        ("DEBUGGER_SKIP", "skip", _patterns, "further patterns never to attach to"),
        ("DEBUGGER_SUBPROCESS", "subprocess", _flag, "0: children do not attach"),
        (
            "DEBUGGER_PATH_MAPPINGS",
            "path_mappings",
            _mappings,
            "LOCAL=REMOTE pairs: the IDE's folder and this machine's",
        ),
        ("DEBUGGER_STRICT", "strict", _flag, "1: exit with status 1 where no session can be had"),
        ("DEBUGGER_LOG", "log", _text, "a folder for the debugger's own logs"),
        ("DEBUGGER_VERBOSE", "verbose", _flag, "1: one line for every decision"),
        ("DEBUGGER_REQUEST_TOKEN", "token", _text, "what a request must carry in X-Debugger-Token to be debugged"),
    ):
        yield Variable(*row)


VARIABLES = tuple(_table())
DEFAULTS = {"DEBUGGER_SUBPROCESS": "1"}
# Whatever is read; of all others only the names are looked at
READ = frozenset(
    [*(variable.name for variable in VARIABLES), *HINTS, SESSION, LENT, RUN, ENDPOINTS, *TERMINALS, DEBUGPY]
)


class Settings(Frozen):
    """What the environment says. A field is None where its variable is unset."""

    __slots__ = (
        "on", "ide", "host", "ports", "mode", "wait", "only", "skip", "subprocess", "path_mappings", "strict", "log",
        "verbose", "token", "session", "lent", "awaited", "terminal_ide", "endpoints", "completing", "debugged",
        "hints", "words", "given", "problems",
    )  # fmt: skip
    on: bool
    ide: "str | None"
    host: "str | None"
    ports: "Ports | None"
    mode: "str | None"
    wait: "float | None"
    only: "tuple[str, ...]"
    skip: "tuple[str, ...]"
    subprocess: bool
    path_mappings: "tuple[tuple[str, str], ...]"
    strict: bool
    log: "str | None"
    verbose: bool
    token: "str | None"
    session: "str | None"
    """The session that the parent handed down, as `_session.Session.from_text` reads it."""
    lent: "str | None"
    """Folders with debuggers for a Python that has none, separated as those of the path are."""
    awaited: bool
    """`autoattach run` wants to know whether it attaches and, where it does not, why."""
    terminal_ide: "str | None"
    """`vscode` or `pycharm` where the terminal belongs to one."""
    endpoints: "str | None"
    """The file in which VS Code looks for an endpoint to attach to."""
    completing: bool
    """A shell asks for the completion of a command, on each press of a key."""
    debugged: bool
    """debugpy's launcher says that it debugs this process."""
    hints: "Mapping[str, str]"
    """What the environment tells launchers and reloaders of the user's code (`HINTS`)."""
    words: "tuple[str, ...]"
    """When to attach, of `LATER`, a signal as `signal:USR1`; empty where that is at the start."""
    given: "tuple[tuple[str, str], ...]"
    """Variables that a call's arguments stand for: children are told."""
    problems: "tuple[SettingError, ...]"

    @classmethod
    def from_environ(cls, environ: "Mapping[str, str]") -> "Settings":
        """Parse a mapping such as `os.environ`. Never raises: see `problems`."""
        names = list(environ)
        environ = {name: environ.get(name, "") for name in READ.intersection(names)}  # `os.environ` decodes each
        fields: dict[str, Any] = {}
        problems = []
        for variable in VARIABLES:
            unset = DEFAULTS.get(variable.name, "")
            value = environ.get(variable.name, "").strip() or unset
            try:
                fields[variable.field] = variable.parse(value)
            except ValueError as error:
                problems.append(errors().SettingError(variable.name, value, str(error)))
                fields[variable.field] = variable.field == "on" or variable.parse(unset)
        return cls(
            session=environ.get(SESSION) or None,
            lent=environ.get(LENT) or None,
            awaited=bool(environ.get(RUN)),
            terminal_ide=_terminal_ide(environ, names),
            endpoints=environ.get(ENDPOINTS) or None,
            completing=_asks_for_completion(names),
            debugged=bool(environ.get(DEBUGPY)),
            hints={name: environ[name] for name in HINTS if environ.get(name)},
            words=_later(environ.get("START_DEBUGGER", "")) if fields["on"] and not _bad(problems) else (),
            given=(),
            problems=tuple(problems),
            **fields,
        )


def _bad(problems: "list[SettingError]") -> bool:
    return any(problem.name == "START_DEBUGGER" for problem in problems)


def _asks_for_completion(names: "list[str]") -> bool:
    """argcomplete and click (`_FLASK_COMPLETE`); pip and Django, which set theirs beside the shell's `COMP_WORDS`: so
    that a user's `EDITOR_AUTO_COMPLETE` is none of these."""
    return "COMPLETE" in " ".join(names) and any(
        name == "_ARGCOMPLETE"
        or (name.endswith("_AUTO_COMPLETE") and "COMP_WORDS" in names)
        or (name.startswith("_") and name.endswith("_COMPLETE"))
        for name in names
    )


def _terminal_ide(environ: "Mapping[str, str]", names: "list[str]") -> "str | None":
    if environ.get(TERMINAL_EMULATOR) == "JetBrains-JediTerm" or environ.get(PYCHARM_HOSTED):
        return "pycharm"
    if environ.get(TERM_PROGRAM) == "vscode" or " VSCODE_" in " ".join(["", *names]):
        return "vscode"
    return None
