"""`autoattach demo`: the whole way from START_DEBUGGER=1 to a breakpoint, shown without an IDE.

A small program is started in a child, as a user would start it. This process plays the IDE over the real protocol.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from autoattach import _bundle
from autoattach._errors import AttachError, DebuggerError
from autoattach._loan import borrow_from
from autoattach._plan import Installed, Known
from autoattach._settings import Settings
from autoattach.cli._dap import Client, DapError
from autoattach.cli._pycharm import PydevdError, Server, Session
from autoattach.debuggers import installed

NAME = "demo"
HELP = "show that it works: run a small program, stop it at a breakpoint, look into it"

HOST = "127.0.0.1"
HOLD = 30  # seconds that the program waits for this process
NAMES = {"vscode": "VS Code", "pycharm": "PyCharm"}

PROGRAM = '''\
"""A small program, to be stopped and looked into."""


def price(amounts, discount):
    total = sum(amounts)
    saved = total * discount
    due = total - saved
    return due


if __name__ == "__main__":
    print("to pay:", price([30, 50, 20], 0.25))
'''
STOP_AT = "return due"
EXPRESSION = "due / len(amounts)"

TO_DO = {
    "vscode": """\
The same in VS Code, with your own program:
  1. Put this into .vscode/launch.json:
       {"version": "0.2.0", "configurations": [
         {"name": "Attach", "type": "debugpy", "request": "attach",
          "connect": {"host": "127.0.0.1", "port": 9000}, "justMyCode": false}]}
  2. Set a breakpoint: F9.
  3. In any terminal:  COMMAND
     It waits.
  4. Press F5. It stops at your breakpoint.""",
    "pycharm": """\
The same in PyCharm, with your own program:
  1. Run | Edit Configurations... | + | Python Debug Server.
     IDE host name: localhost. Port: 9000. Install the release of pydevd-pycharm that it names there.
  2. Set a breakpoint: Ctrl+F8.
  3. Start that configuration with Debug: Shift+F9. It comes first, for here the program connects to the IDE.
  4. In any terminal:  COMMAND
     It stops at your breakpoint.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `demo` takes on its command line."""
    parser.add_argument("--ide", choices=sorted(NAMES), help="which IDE to play (the one whose debugger is installed)")
    parser.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="give up after that long (default: 60)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run it. Returns 0 when the program stopped at the breakpoint and ended well, else 1; 130 after Ctrl-C."""
    try:
        known = there().debuggers
        debugger = choose(arguments.ide, Settings.from_environ(os.environ), known)
        with Program(debugger, arguments.timeout) as program:
            try:
                show(program)
            except (OSError, DapError, PydevdError, AttachError) as error:
                program.settle()
                raise Failure(error, program.stderr) from error
    except Failure as failure:
        _complain(failure.error)
        if failure.stderr:
            print("The program's stderr:", *failure.stderr.splitlines(), sep="\n  ", file=sys.stderr)
        return 1
    except AttachError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    others = {one.ide for one in known if one.installed} - {debugger.ide}
    which = f"DEBUGGER_IDE={debugger.ide} " if others else ""
    print()
    print(TO_DO[debugger.ide].replace("COMMAND", f"START_DEBUGGER=1 {which}python app.py"))
    return 0


def there() -> Installed:
    """What is installed here, or lent by a bundle."""
    bundle = _bundle.find()
    return installed() if bundle is None else borrow_from(bundle, installed(), None)


def choose(ide: str | None, settings: Settings, known: tuple[Known, ...]) -> Known:
    """The debugger to show: of the IDE asked for, else by DEBUGGER_IDE, else the first that is there.

    Raises `AttachError` where none can be had.
    """
    for problem in settings.problems:
        if problem.name == "DEBUGGER_IDE" and not ide:
            raise problem
    wanted = ide or settings.ide
    candidates = [one for one in known if wanted in (None, one.ide, one.name)]
    there = [one for one in candidates if one.installed]
    usable = [one for one in there if not one.unsupported]
    if usable:
        return min(usable, key=lambda one: one.ide != settings.terminal_ide)
    if there:
        raise DebuggerError(there[0].unsupported, "pip install autoattach[vscode]")
    if wanted is None:
        raise DebuggerError("no debugger is installed here", "pip install autoattach[vscode] or autoattach[pycharm]")
    raise DebuggerError(
        f"{candidates[0].name} is not installed in {sys.executable}", f"pip install autoattach[{candidates[0].extra}]"
    )


class Failure(Exception):
    """The demo cannot go on: why, and what the program wrote to stderr."""

    def __init__(self, error: Exception, stderr: str) -> None:
        super().__init__(error)
        self.error = error
        self.stderr = stderr


class Program:
    """The program in its child, in a folder of its own; both are gone afterwards."""

    def __init__(self, debugger: Known, timeout: float) -> None:
        self.debugger = debugger
        self.timeout = timeout
        self._end = time.monotonic() + timeout
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="autoattach-demo-")
        except OSError as error:
            raise AttachError(f"there is no place for the demo's program ({error.strerror})", "set TMPDIR") from None
        folder = os.path.realpath(self._folder.name)
        self.path = os.path.join(folder, "app.py")
        self._files = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        self._process: subprocess.Popen[bytes] | None = None
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(PROGRAM)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
        finally:
            self._folder.cleanup()

    def start(self, port: int) -> None:
        """Start it as a user would, with the port that this process plays the IDE on."""
        # What is set for the user's own programs, and what a debugger or an IDE left, must not steer this one.
        foreign = ("DEBUGGER_", "DEBUGPY_", "VSCODE_DEBUGPY", "AUTOATTACH_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        for name in ("DEBUGGER_VERBOSE", "DEBUGGER_LOG"):
            if name in os.environ:
                environment[name] = os.environ[name]
        environment.update(
            START_DEBUGGER="1",
            DEBUGGER_IDE=self.debugger.name,
            DEBUGGER_HOST=HOST,
            DEBUGGER_PORT=str(port),
            DEBUGGER_WAIT=str(HOLD),
            **{"TEMP" if os.name == "nt" else "TMPDIR": self._folder.name},  # so that nothing is left behind
        )
        with open(self._files[0], "wb") as out, open(self._files[1], "wb") as err, _CtrlCLater():
            self._process = subprocess.Popen(
                [sys.executable, self.path], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def stdout(self) -> str:
        """What it has written by now."""
        return _read(self._files[0])

    @property
    def stderr(self) -> str:
        """What it has written by now, the lines of autoattach included."""
        return _read(self._files[1])

    def left(self) -> float:
        """Seconds left. Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not done after {self.timeout:g} s; --timeout {2 * self.timeout:g} gives it longer")
        return left

    def expect_debugger(self) -> None:
        """Raises when nobody has to be waited for any more: it has ended, or the time is over."""
        if self._process is not None and self._process.poll() is not None:
            what = "the program ran to its end without stopping"
            if "autoattach[" in self.stderr:
                raise AttachError(what, "its stderr says why")
            if any(os.path.isfile(os.path.join(folder, "autoattach.pth")) for folder in sys.path):
                raise AttachError(what, "DEBUGGER_VERBOSE=1 autoattach demo says why")
            raise AttachError(
                f"{what}, for the start-up hook autoattach.pth is not there",
                f"{sys.executable} -m pip install --force-reinstall autoattach",
            )
        self.left()

    def settle(self) -> None:
        """Let it say why it has hung up, before it is killed."""
        if self._process is not None and self._end > time.monotonic():
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                pass

    def wait(self) -> int:
        """Wait for its end; the exit status. Raises TimeoutError."""
        try:
            return self._process.wait(self.left()) if self._process is not None else 0
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the program has not ended after {self.timeout:g} s") from None


class _CtrlCLater:
    """Puts a Ctrl-C off. One that comes within Popen would leave a child that nobody has in hand."""

    def __enter__(self) -> None:
        self._came = False
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, *_: object) -> None:
        self._came = True

    def __exit__(self, *_: object) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)
        if self._came:
            raise KeyboardInterrupt


class Place(NamedTuple):
    """Where the program stopped."""

    path: str
    line: int
    function: str


class VSCode:
    """VS Code at work: it connects to the program."""

    def __init__(self) -> None:
        with socket.socket() as sock:
            sock.bind((HOST, 0))
            self.port = int(sock.getsockname()[1])
        self._client: Client | None = None

    def connect(self, program: Program) -> None:
        """Wait for the program's port."""
        while self._client is None:
            try:
                self._client = Client.connect(HOST, self.port, timeout=0.1)
            except ConnectionRefusedError:
                program.expect_debugger()

    @property
    def client(self) -> Client:
        """The connection."""
        if self._client is None:
            raise ConnectionError("not connected")
        return self._client

    def stop(self, program: Program, line: int) -> Place:
        """Set the breakpoint and wait for the stop."""
        self.client.timeout = program.left()
        self.client.attach({program.path: [line]})
        self.thread = self.client.wait_stopped(program.left())
        self.client.timeout = program.left()
        frame = self.client.stack(self.thread)[0]
        self.frame = int(frame["id"])
        return Place(frame["source"]["path"], int(frame["line"]), frame["name"])

    def locals(self) -> dict[str, str]:
        """The local variables where it stopped."""
        return self.client.locals(self.frame)

    def evaluate(self, expression: str) -> str:
        """An expression there."""
        return self.client.evaluate(expression, self.frame)

    def resume(self) -> None:
        """Let it go on."""
        self.client.continue_(self.thread)

    def leave(self) -> None:
        """Say goodbye: debugpy's helper stays until then."""
        try:
            self.client.disconnect()
        except (OSError, DapError):
            pass

    def close(self) -> None:
        """Whatever happened, be gone."""
        if self._client is not None:
            self._client.close()


class PyCharm:
    """PyCharm's debug server at work: the program connects to it."""

    def __init__(self) -> None:
        self._server = Server(HOST)
        self.port = self._server.port
        self._session: Session | None = None

    def connect(self, program: Program) -> None:
        """Wait for the program to connect."""
        while self._session is None:
            try:
                self._session = self._server.accept(0.1)
            except TimeoutError:
                program.expect_debugger()

    @property
    def session(self) -> Session:
        """The connection."""
        if self._session is None:
            raise ConnectionError("not connected")
        return self._session

    def stop(self, program: Program, line: int) -> Place:
        """Set the breakpoint and wait for the stop."""
        self.session.timeout = program.left()
        self.session.start({program.path: [line]})
        stop = self.session.wait_stopped(program.left())
        self.session.timeout = program.left()
        return Place(stop.file, stop.line, stop.function)

    def locals(self) -> dict[str, str]:
        """The local variables where it stopped."""
        return self.session.locals()

    def evaluate(self, expression: str) -> str:
        """An expression there."""
        return self.session.evaluate(expression)

    def resume(self) -> None:
        """Let it go on."""
        self.session.resume()

    def leave(self) -> None:
        """Nothing to say: the program has hung up."""

    def close(self) -> None:
        """Whatever happened, be gone."""
        self._server.close()


def show(program: Program) -> None:
    """Play the IDE, and print what it sees. Raises what the protocol raises, and `AttachError`."""
    debugger = program.debugger
    style = Style()
    ide: VSCode | PyCharm = VSCode() if debugger.ide == "vscode" else PyCharm()
    try:
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"This process plays {NAMES[debugger.ide]}, the program below is debugged by {debugger.name}")
        print(f"(Python {version}, {sys.executable}).")
        print()
        variables = f"START_DEBUGGER=1 DEBUGGER_IDE={debugger.name} DEBUGGER_PORT={ide.port}"
        print(style.bold(f"$ {variables} python app.py"), flush=True)
        program.start(ide.port)
        ide.connect(program)
        line = PROGRAM.splitlines().index(f"    {STOP_AT}") + 1
        place = ide.stop(program, line)
        print(*program.stderr.splitlines(), "", sep="\n")
        if (os.path.realpath(place.path), place.line) != (program.path, line):
            raise AttachError(f"it stopped at {place.path}:{place.line}, the breakpoint is at {program.path}:{line}")
        print(style.bold(f"Stopped at the breakpoint: app.py, line {place.line}, in {place.function}()"))
        print()
        for number, text in list(enumerate(PROGRAM.splitlines(), 1))[line - 5 : line]:
            row = f"{'->' if number == line else '  '} {number:3}  {text}"
            print(style.marked(row) if number == line else row)
        print()
        print(style.bold("Local variables"))
        for name, value in ide.locals().items():
            print(f"   {name} = {value}")
        print()
        print(style.bold("An expression, evaluated there"))
        print(f"   {EXPRESSION} = {ide.evaluate(EXPRESSION)}")
        print()
        print(style.bold("Continue: the program goes on to its end"), flush=True)
        ide.resume()
        status = program.wait()
        ide.leave()
        print(*(f"   {text}" for text in program.stdout.splitlines()), sep="\n")
        print(f"   (exit status {status})")
        if status:
            raise AttachError(f"the program ended with status {status}")
    finally:
        ide.close()


class Style:
    """Colours, on a terminal that shows them and wants them (https://no-color.org)."""

    def __init__(self) -> None:
        self.on = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def bold(self, text: str) -> str:
        """A heading."""
        return f"\033[1m{text}\033[0m" if self.on else text

    def marked(self, text: str) -> str:
        """The line where it stopped."""
        return f"\033[1;33m{text}\033[0m" if self.on else text


def _complain(error: Exception) -> None:
    # The first line: below it is all that was received, for those who test the protocol.
    text = str(error).partition("\n")[0] or type(error).__name__
    sys.stdout.flush()
    print(f"autoattach demo: {text}", file=sys.stderr)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:  # not started yet
        return ""


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
