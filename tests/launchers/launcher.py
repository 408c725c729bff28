"""What a launcher is: one row of the table, and that row brought to life."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from support import LIMIT, Program, environment, free_port, wait_until, write

MARK = "# breakpoint"
"""The line of the user's code at which a debugger is to stop; the variable `n` is 21 there, and 42 comes out."""

HIT = "hit"
RUNS = "runs, not debugged"
CHANCE = "one of the workers"
HANGS = "a worker may hang"


@dataclass(frozen=True)
class Launcher:
    """One way in which programs are started. Where nothing else is said, every debugger hits in one process."""

    id: str
    files: Mapping[str, str]
    """The user's project. `{python}`, `{bin}`, `{folder}`, `{http}` (a free port) are filled in, as in the command."""
    command: Sequence[str]
    trigger: Callable[[Running], str]
    """Has the user's code run, and returns what came out of it. It is called in a thread."""
    needs: Sequence[str] = ()
    """What must be installed here: modules, or programs beside this Python."""
    programs: Sequence[str] = ()
    """Programs that the machine must have."""
    env: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    """How many processes can stand at the breakpoint at one time."""
    ptvsd: str = HIT
    pycharm: str = HIT
    serves: bool = True
    """It runs until it is ended."""
    ended: str = "TERM"
    """How a user ends it: the signal; `group` as its last word where it goes to all of them, as Ctrl-C does."""
    rests: bool = False
    """It can be ended only when its processes have come to rest: one that begins loses the signal, without us, too."""
    env_in_files: bool = False
    """The variables stand in one of the files, and not in the environment of the command."""
    earlier: int = 0
    """Processes with a breakpoint and a session of their own that come and go before."""
    check: Callable[[], str] = lambda: ""
    """Why it cannot be started here, for other reasons than `needs`, or an empty string."""
    later: bool = True
    """It serves for long enough to be attached to later."""
    edit: str = ""
    """The file after whose edit the program is loaded anew."""
    replaces: bool = False
    """A worker that dies is replaced."""
    shown: str = ""
    """What the documentation shows in place of the command."""
    note: str = ""
    """What a user has to know; for the documentation."""

    def expected(self, debugger: str) -> str:
        """What a debugger does: HIT, RUNS, CHANCE or HANGS."""
        return {"ptvsd": self.ptvsd, "pydevd-pycharm": self.pycharm}.get(debugger, HIT)

    def missing(self) -> str:
        """Why it cannot be started here, or an empty string."""
        if not os.path.isdir("/proc/self"):
            return "a system without /proc, where what is left of a run is looked for"
        for name in self.needs:
            # uWSGI is a program without a module of its name
            if not (importlib.util.find_spec(name) or (Path(sys.executable).parent / name).exists()):
                return f"{name} is not installed"
        for name in self.programs:
            if not shutil.which(name):
                return f"this machine has no {name}"
        return self.check()


class Running:
    """A launcher that has been started in a folder, with all that comes of it."""

    def __init__(self, launcher: Launcher, folder: Path, **env: object) -> None:
        self.launcher = launcher
        self.folder = folder
        self.http = free_port()
        self.env = {**launcher.env, **env, "LAUNCHER_TEST": uuid.uuid4().hex, "HOME": str(folder)}
        self.placeholders = {
            "{python}": sys.executable,
            "{prefix}": sys.prefix,
            "{bin}": str(Path(sys.executable).parent),
            "{folder}": str(folder),
            "{http}": str(self.http),
            **{f"{{{name}}}": str(value) for name, value in self.env.items()},
        }
        self.clients: list[subprocess.Popen[str]] = []
        for name, text in launcher.files.items():
            path = write(folder, name, self.fill(text))
            if path.read_text().startswith("#!"):
                path.chmod(0o755)
        self.breakpoints = {
            str(path): lines
            for path in sorted(folder.rglob("*.py"))
            for lines in [[n for n, line in enumerate(path.read_text().splitlines(), 1) if MARK in line]]
            if lines
        }

    def fill(self, text: str) -> str:
        for name, value in self.placeholders.items():
            text = text.replace(name, value)
        return text

    def start(self) -> None:
        python, *arguments = map(self.fill, self.launcher.command)
        env: dict[str, Any] = {n: self.fill(str(value)) for n, value in self.env.items() if value is not None}
        if self.launcher.env_in_files:
            env = {name: env[name] for name in (*self.launcher.env, "LAUNCHER_TEST", "HOME")}
        self.program = Program(self.folder, *arguments, python=python, **env)

    def trigger(self) -> Future[str]:
        """Have the user's code run; what comes out of it, later."""
        future: Future[str] = Future()

        def call() -> None:
            try:
                future.set_result(self.launcher.trigger(self))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future

    def end(self) -> None:
        """End it as a user does; it ends, and so does all that it has started."""
        for process in self.clients:  # one may wait for what was killed
            process.kill()
        name, _, group = self.launcher.ended.partition(" ")
        if self.launcher.rests:
            wait_until(self._rests, "rest of all processes", LIMIT / 2)
        if self.launcher.serves:
            number = signal.Signals[f"SIG{name}"]
            if group:
                os.killpg(self.program.pid, number)
            else:
                self.program.send(number)
        self.program.wait()

    def _rests(self) -> bool:
        """Whether none of the processes does anything for a while."""
        before = self._switches()
        time.sleep(0.3)
        return self._switches() == before

    def _switches(self) -> dict[int, str]:
        """How often the main thread of each of the processes has been given a processor."""
        found = {}
        for pid in self.processes():
            try:
                found[pid] = Path(f"/proc/{pid}/status").read_text().partition("voluntary_ctxt_switches")[2]
            except OSError:  # it has ended
                pass
        return found

    def wait_nothing_left(self) -> None:
        """No process of this run is left, the debugger's own included."""
        try:
            wait_until(lambda: not self.processes(), "end of all processes", LIMIT / 2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.dump()}") from None

    def processes(self) -> dict[int, str]:
        """All that runs with our mark in its environment, and its command line."""
        mark = f"LAUNCHER_TEST={self.env['LAUNCHER_TEST']}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if mark in (folder / "environ").read_bytes():
                        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        found[int(folder.name)] = command
                except OSError:
                    pass
        return found

    def close(self) -> None:
        """Kill what is left, by its ids."""
        if hasattr(self, "program"):
            self.program.close()
        for _ in range(3):  # one may have been starting another
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass

    def dump(self) -> str:
        logs = [f"--- {path.name}\n{path.read_text(errors='replace')[-5000:]}" for path in self.folder.glob("*.log")]
        running = [f"{pid}: {command}" for pid, command in self.processes().items()]
        return "\n".join([self.program.dump(), *logs, "--- running", *running])


# --- triggers


def visit(running: Running) -> str:
    """GET / from the server, once it is there."""
    end = time.monotonic() + LIMIT
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{running.http}/", timeout=LIMIT) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error}: {error.read()[:3000]!r}") from None
        except OSError as error:
            refused = isinstance(getattr(error, "reason", None), ConnectionRefusedError)  # not there yet
            if not refused or time.monotonic() > end or running.program.process.poll() is not None:
                raise AssertionError(f"no answer: {error}\n{running.dump()}") from None
            time.sleep(0.05)


def runs_by_itself(running: Running) -> str:
    """Nothing to be done: it runs to its end."""
    status = running.program.wait()
    assert status == 0, f"exit status {status}\n{running.dump()}"
    return running.program.stdout


def leaves_a_file(running: Running) -> str:
    """Nothing to be done: what comes out stands in result.txt."""
    path = running.folder / "result.txt"
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), "result.txt", LIMIT, running.program)
    return path.read_text()


def client(running: Running) -> str:
    """Run client.py, undebugged, beside it; what comes out is what it prints."""
    process = subprocess.Popen(
        [sys.executable, "client.py"],
        cwd=running.folder,
        env=environment(LAUNCHER_TEST=running.env["LAUNCHER_TEST"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running.clients.append(process)
    with process:
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, f"{output}\n{running.dump()}"
    return output


def cron_can_be_played() -> str:
    """Why no cron of our own can be run here, or an empty string."""
    if os.getuid() != 0:
        return "cron needs root"
    tried = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=LIMIT,
        check=False,
    )
    return "no mount namespaces here, for a cron of our own" if tried.returncode else ""
