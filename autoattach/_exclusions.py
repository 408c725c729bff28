"""What is never attached to: one line per entry, and how a command line is matched against it.

No `re` and no `fnmatch`: this runs in every Python that starts with START_DEBUGGER set.
"""

CARRIED = "the debugger of its parent carries it"

# Never attached to, whatever the patterns say: what a debugger or Python itself starts to help it. Matched against
# what runs: a script's path, `-m MODULE` or `-c CODE`.
HELPERS = (
    ("*/debugpy/adapter", "debugpy's adapter: it would start adapters without end"),
    ("*/debugpy/adapter/*", "debugpy's adapter"),
    ("*/debugpy/launcher*", "debugpy's launcher"),
    ("-m debugpy", "debugpy debugs it already"),
    ("-m debugpy.*", "debugpy debugs it already"),
    ("*/debugpy/__main__.py", "debugpy debugs it already"),
    ("*/debugpy", "debugpy debugs it already"),
    ("-m ptvsd", "ptvsd debugs it already"),
    ("-m ptvsd.*", "ptvsd debugs it already"),
    ("*/ptvsd", "ptvsd debugs it already"),
    ("*/ptvsd/__main__.py", "ptvsd debugs it already"),
    ("*/pydevd.py", CARRIED),
    ("-c *import sys; sys.path.insert(0, r'*'); import pydevd*", CARRIED),
    ("*/autoattach/debuggers/_adapter.py", "our own helper"),
    ("-m autoattach", "our own command"),
    ("-m autoattach.*", "our own command"),
    ("*/autoattach", "our own command"),
    ("-c from multiprocessing.resource_tracker import main*", "multiprocessing's resource tracker"),
    ("-c from multiprocessing.semaphore_tracker import main*", "multiprocessing's semaphore tracker"),
)

# Joins a session, so that its forks are in it, but never leads one: it runs nothing of the user's. ("import sys; "
# comes first in 3.14.10 and 3.15.)
FORK_SERVER = "-c *from multiprocessing.forkserver import main*"

# Not attached to unless DEBUGGER_ONLY matches: tools that run Pythons which nobody wants to debug. An exported
# START_DEBUGGER would hold each of them (vscode#134318, vscode-js-debug#794: tools debugged by accident).
TOOLS = (
    ("-m pip", "pip"),
    ("-m pip.*", "pip"),
    ("*/pip", "pip"),
    ("*/pip3", "pip"),
    ("*/pip3.*", "pip"),
    ("-c from pip._internal*", "pip, as pipx runs it"),
    ("-c *run_module('pip'*", "pip, as virtualenv and build run it"),
    ("*/pip/__pip-runner__.py", "pip's build environment"),
    ("*/pip/__main__.py", "pip"),
    ("*/pyproject_hooks/_in_process/_in_process.py", "a build back end"),
    ("*/pep517/in_process/_in_process.py", "a build back end"),
    ("-c *setuptools, tokenize*", "pip's legacy builds"),
    ("-m build", "build"),
    ("*/pyproject-build", "build"),
    ("-m ensurepip*", "ensurepip"),
    ("-c *ensurepip*", "ensurepip, as venv runs it"),
    ("-m venv", "venv"),
    ("-m virtualenv", "virtualenv"),
    ("*/virtualenv", "virtualenv"),
    # virtualenv 21: what it starts behind the user's back has no file (seed/wheels/, create/via_global_ref/venv.py)
    ("-c *run_module('venv'*", "venv, as virtualenv runs it"),
    ("-c *spec_from_file_location('virtualenv'*", "virtualenv's update of its wheels"),
    ("-c *['VersionedFindLoad']*", "virtualenv's update of its wheels, from a zip"),
    ("*/virtualenv/discovery/py_info.py", "virtualenv's probe"),
    ("*/python_discovery/_py_info.py", "virtualenv's probe"),
    ("*/get_interpreter_info.py", "uv's probe"),
    ("-m uv", "uv"),
    ("-c *from python.get_interpreter_info import main*", "uv's probe"),
    ("-m compileall", "compileall, as installers run it"),
    ("*/__pip-runner__.py", "pip's build environment"),
    ("*/pipx", "pipx"),
    ("-m pipx", "pipx"),
    ("*/poetry", "poetry"),
    ("-m poetry", "poetry"),
    ("*/pdm", "pdm"),
    ("-m pdm", "pdm"),
    ("*/hatch", "hatch"),
    ("-m hatch", "hatch"),
    ("*/conda", "conda"),
    ("-m conda", "conda"),
    ("*/register-python-argcomplete", "shell completion"),
    ("*/python-argcomplete-check-easy-install-script", "shell completion"),
    ("-m argcomplete._check_*", "shell completion"),  # on each press of a key (bash_completion.d/_python-argcomplete)
    ("-m ipykernel_launcher", "a Jupyter kernel: its front end debugs it"),
    ("-m ipykernel", "a Jupyter kernel"),
    # Ray starts these beside every cluster; none runs the user's code, and that they are attached to is noise. The
    # workers' set-up execs the worker, which is attached to itself. (ray/_private/services.py; 2.60)
    ("*-packages/ray/dashboard/*.py", "Ray's dashboard"),
    ("*-packages/ray/_private/log_monitor.py", "Ray's log monitor"),
    ("*-packages/ray/_private/ray_process_reaper.py", "Ray's process reaper"),
    ("*-packages/ray/_private/runtime_env/agent/main.py", "Ray's agent for environments"),
    ("*-packages/ray/_private/workers/setup_worker.py", "what sets a Ray worker up, and execs it"),
    ("*-packages/ray/autoscaler/*.py", "Ray's autoscaler"),
    ("*/ms-python.*", "a helper of VS Code's Python extension"),
    ("*/.vscode*/extensions/*", "a helper of a VS Code extension"),
    # Not `*/pycharm*/helpers/*`: so may a user's own project be called
    ("*/plugins/python/helpers/*", "a helper of PyCharm"),
    ("*/plugins/python-ce/helpers/*", "a helper of PyCharm"),
    ("*/JetBrains/*/python*/helpers/*", "a helper of a JetBrains IDE"),
    ("*/.pycharm_helpers/*", "a helper of PyCharm, on another machine or in a container"),
    # What editors start for themselves, with whatever the shell exports that they were started from
    ("-c import os, os.path, sys; normalize = *", "pyright's probe"),  # common/fullAccessHost.ts; Pylance's, too
    ("*/pyright", "pyright"),
    ("*/pyright-langserver", "pyright"),
    ("*/basedpyright", "pyright"),
    ("*/basedpyright-langserver", "pyright"),
    ("*/jedi/inference/compiled/subprocess/__main__.py", "jedi's look into an environment"),
    ("*/jedi-language-server", "a language server"),
    ("*/pylsp", "a language server"),
    ("-m pylsp", "a language server"),
    ("-c *import neovim; neovim.start_host()*", "Neovim's host for plugins"),  # autoload/provider/pythonx.vim
    ("-c *import pynvim; pynvim.start_host()*", "Neovim's host for plugins"),
)


def what_runs(command: "tuple[str, ...]") -> str:
    """What a Python command line runs: a script's path (with a slash in it), `-m MODULE`, `-c CODE` or `-`."""
    arguments = iter(command[1:])
    for argument in arguments:
        if argument == "-" or not argument.startswith("-"):
            path = argument.replace("\\", "/")
            name = path[:-4] if path.lower().endswith(".exe") else path
            return name if "/" in name or name == "-" else f"./{name}"
        if argument.startswith("--"):
            if argument == "--check-hash-based-pycs":
                next(arguments, None)
            continue
        for at, letter in enumerate(argument[1:], 2):  # short options may be written together: -Bc, -Wignore
            if letter in "cmWX":
                value = argument[at:] or next(arguments, "")
                if letter in "cm":
                    return f"-{letter} {value}"
                break
    return "-"


def matches(pattern: str, command: "tuple[str, ...]") -> bool:
    """Whether a user's pattern matches a command line: the whole of it, one argument, or the last part of its path."""
    if glob(pattern, " ".join(command)):
        return True
    return any(glob(pattern, part) or glob(pattern, part.replace("\\", "/").rpartition("/")[2]) for part in command)


def row(table: "tuple[tuple[str, str], ...]", runs: str) -> "tuple[str, str] | None":
    """The first row whose pattern matches what runs. (No pattern of a table has a `?`.)"""
    first, last = "*" + runs[:1], "*" + runs[-1:]
    for pattern, what in table:
        if pattern[-1] in last and pattern[0] in first and glob(pattern, runs):  # one look is done with most rows
            return pattern, what
    return None


def glob(pattern: str, text: str) -> bool:
    """Match `*` (anything) and `?` (one character), the whole text. (`fnmatch` would import `re`: 5 ms.)"""
    if "?" in pattern:
        return _glob(pattern, text)
    first, star, rest = pattern.partition("*")
    if not star:
        return first == text
    middle, _, last = rest.rpartition("*")
    if not (text.startswith(first) and text.endswith(last)):
        return False
    at = len(first)
    for part in middle.split("*"):
        at = text.find(part, at) + len(part)
        if at < len(part):
            return False
    return len(text) - at >= len(last)


def _glob(pattern: str, text: str) -> bool:
    at = star = -1
    here = there = 0
    while there < len(text):
        if here < len(pattern) and pattern[here] == "*":
            star, at = here, there
            here += 1
        elif here < len(pattern) and pattern[here] in ("?", text[there]):
            here += 1
            there += 1
        elif star >= 0:
            at += 1
            here, there = star + 1, at
        else:
            return False
    return not pattern[here:].strip("*")
