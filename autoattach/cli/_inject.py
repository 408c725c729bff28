"""Have a running Python that never had a hook run a script of ours: by `sys.remote_exec` (3.14 and later), or by gdb.

Before anything is tried, and where it has failed, `forbidden()` says which of the system's rules is in the way.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from typing import Optional, Sequence

from autoattach._errors import AttachError
from autoattach._process import in_container
from autoattach.cli._interpreter import output_of
from autoattach.cli._running import READY

YAMA = "/proc/sys/kernel/yama/ptrace_scope"
ROOM = 65536  # bytes for a script, in the other process
CALL = "((int (*)(long, long)) Py_AddPendingCall)"
ASKED = "asked 0"  # what gdb says where Python has taken the call
PATIENCE = 60.0  # seconds for gdb, which reads all symbols of a large program
REMOTE = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
# For debugpy's injector, which takes no quotes; as its own command line has it (debugpy/server/cli.py, attach_to_pid)
BY_DEBUGPY = """
import os, sys
import debugpy
sys.path.append(os.path.join(os.path.dirname(debugpy.__file__), "_vendored", "pydevd", "pydevd_attach_to_process"))
import add_code_to_python_process
add_code_to_python_process.run_python_code(int(sys.argv[1]), sys.argv[2])
"""


class Forbidden(AttachError):
    """The system does not let us into that process."""


class Unable(AttachError):
    """That way in is not to be had here; another may be."""


def by_remote_exec(pid: int, python: Sequence[str], environ: Optional[dict[str, str]], script: str) -> None:
    """Have the main thread of a Python of 3.14 or later run the file, when it next comes to run Python code.

    `python`: one of the same release, with its options, for no other one can ask. Raises `Forbidden` or `Unable`.
    """
    command = [*python, "-S", "-c", REMOTE, str(pid), script]
    done = _run(command, environ)
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.strip().splitlines()[-1:])
    if "PermissionError" in said or "not permitted" in done.stderr:
        raise forbidden(pid)
    raise Unable(f"sys.remote_exec: {said or f'status {done.returncode}'}")


def by_gdb(pid: int, script: str, blocked: bool) -> None:
    """Have the main thread run the file, between two of its bytecodes; where it is blocked in a call, at once.

    The text lies in memory that is had from the kernel, and the call is made by Python itself: a thread that gdb has
    stopped may be anywhere, also within malloc. Only one that is blocked is made to call Python on the spot. Raises
    `Forbidden` or `Unable`.
    """
    if shutil.which("gdb") is None:
        raise Unable("gdb is not installed", "apt install gdb, or your system's package of it")
    commands = [
        "handle all nostop noprint pass",
        "set unwindonsignal on",
        # mmap(nowhere, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, no file)
        f"set $room = ((long (*)(long, long, int, int, int, long)) mmap)(0, {ROOM}, 3, 0x22, -1, 0)",
        f"restore {os.path.basename(script)} binary $room",  # in the folder that gdb runs in: it knows no quotes
        f'printf "asked %d\\n", {CALL}((long) &PyRun_SimpleString, $room)',
    ]
    if blocked:
        commands += [
            "set $state = ((int (*)(void)) PyGILState_Ensure)()",
            "call ((int (*)(long)) PyRun_SimpleString)($room)",
            "call ((void (*)(int)) PyGILState_Release)($state)",
        ]
    before = ["set auto-load no", "set debuginfod enabled off", "set confirm off"]
    words = [word for command in before for word in ("-iex", command)]
    words += ["-p", str(pid), *(word for command in commands for word in ("-ex", command))]
    said = _gdb(pid, words, script)
    if ASKED in said:
        return
    if "not permitted" in said:
        raise forbidden(pid)
    if "No symbol" in said:
        raise Unable(f"gdb finds no Python in pid {pid}: its symbols are stripped", READY)
    lines = [line.strip() for line in said.splitlines()]
    last = [line for line in lines if line and not line.startswith("[")][-1:]  # `[Inferior 1 (process N) detached]`
    raise Unable(f"gdb: {''.join(last) or 'it said nothing'}", READY)


def _gdb(pid: int, words: Sequence[str], script: str) -> str:
    """Run it, in the script's folder, and return what it says. Raises `Unable`.

    In a call that waits for Python's lock, which an extension keeps, it is left to itself: killed it would crash the
    process, interrupted leave it a lock that hangs at its end (gdb 13). So it has no pipe of ours, and does not get
    the terminal's Ctrl-C.
    """
    said = f"{script}.out"
    try:
        with open(said, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                ["gdb", "-nx", "-nh", "-batch", *words],
                env=_without_python(),
                cwd=os.path.dirname(script),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            process.wait(PATIENCE)
        except BaseException as error:
            waits = ASKED in _read(said)
            if not waits:
                process.kill()
                process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):  # Ctrl-C
                raise
            if not waits:
                raise Unable(f"gdb did not end within {PATIENCE:g} s") from None
            raise AttachError(
                f"pid {pid} was asked, but an extension keeps Python's lock for more than {PATIENCE:g} s",
                "it attaches when that lets go: autoattach ps shows it then",
            ) from None
        return _read(said)
    except OSError as error:
        raise Unable(f"gdb cannot be started ({error.strerror or error})") from None
    finally:
        if os.path.exists(said):
            os.unlink(said)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def by_debugpy(pid: int, script: str) -> None:
    """The same by debugpy's own injector: with lldb (macOS, or Linux without gdb), or as Windows has it.

    Raises `Unable`.
    """
    tool = None if os.name == "nt" else "lldb"
    if tool is not None and shutil.which(tool) is None:
        raise Unable(
            f"{'neither gdb nor lldb is' if sys.platform != 'darwin' else 'lldb is not'} installed", _install()
        )
    if importlib.util.find_spec("debugpy") is None:
        raise Unable(f"debugpy, whose injector works {tool or 'here'}, is not installed", "pip install debugpy")
    code = f"exec(open(bytes({list(os.fsencode(script))})).read())"
    done = _run([sys.executable, "-c", BY_DEBUGPY, str(pid), code], {**_without_python(), **PREFER_LLDB})
    if done.returncode:
        last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
        raise Unable(f"debugpy's injector: {''.join(last) or f'status {done.returncode}'}", READY)


PREFER_LLDB = {"PYDEVD_ATTACH_PREFER_LLDB": "1"}


def forbidden(pid: int, scope: Optional[str] = None) -> Forbidden:
    """Which rule is in the way, and what can be done. `scope`: what Linux's `YAMA` says."""
    if scope is None:
        try:
            with open(YAMA) as file:
                scope = file.read().strip()
        except OSError:
            scope = ""
    if scope == "3":
        return Forbidden(f"kernel.yama.ptrace_scope=3 lets nobody into another process, pid {pid} included", READY)
    if scope in ("1", "2"):
        who = "a process's own parents" if scope == "1" else "root"
        return Forbidden(
            f"kernel.yama.ptrace_scope={scope} lets only {who} into pid {pid}",
            f"sudo sysctl kernel.yama.ptrace_scope=0 until it is done; or {READY}",
        )
    if in_container():
        return Forbidden(
            f"this container has no right to look into pid {pid}",
            f"docker run --cap-add=SYS_PTRACE, or capabilities.add: [SYS_PTRACE] in Kubernetes; or {READY}",
        )
    return Forbidden(
        f"the system does not let us into pid {pid}, which may have other rights than we have, or forbids it itself",
        READY,
    )


def _install() -> str:
    return "xcode-select --install" if sys.platform == "darwin" else "apt install gdb, or your system's package of it"


def _without_python() -> dict[str, str]:
    """gdb and lldb have a Python of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "START_DEBUGGER"))}


def _run(command: Sequence[str], environ: Optional[dict[str, str]]) -> subprocess.CompletedProcess[str]:
    try:
        return output_of(command, environ, patience=PATIENCE)
    except AttachError as error:
        raise Unable(error.what, error.advice) from None
