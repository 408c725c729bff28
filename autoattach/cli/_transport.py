"""One run of `pipe` on the far side of a tunnel: the program that gets us there, and its ends."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from typing import IO, Callable, List, cast

from autoattach._errors import AttachError
from autoattach._network_errors import AddressError, PortTaken
from autoattach.cli import _relay, _way
from autoattach.cli._relay import HELLO, VERSION, Relay
from autoattach.cli._way import Way

PATIENCE = 5.0  # seconds after which is said what is waited for
SILENCE = 60.0  # seconds without a sign of life (one comes every 15), after which it has died
TICK = 0.2  # seconds: waits in the main thread are short, for on Windows Ctrl-C does not end one


class Transport:
    """What runs here to get there, and what is carried through it."""

    relay: Relay
    port: int
    """The port there."""

    def __init__(self, way: Way, words: List[str], python: str) -> None:
        """Start it. Raises `AttachError` where there is nothing to start it with."""
        self._way = way
        self._python = python
        self._words = b""
        self._silenced = False
        self._showing = False
        self._greeted = threading.Event()
        self._hello: bytes | None = None
        self._rest = b""
        try:
            # In our own process group, so that ssh can ask for a password, and a terminal's Ctrl-C ends it as well.
            self.process = subprocess.Popen(
                way.starting(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise AttachError(f"{way.program} is not installed here", "install it, or see the PATH") from None
            raise AttachError(f"{way.program} cannot be run ({error.strerror or error})") from None
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()
        _relay.spawn(self._greet)

    def open(
        self, dial: Callable[[], socket.socket], refused: Callable[[str], None], say: Callable[[str], None]
    ) -> None:
        """Wait until it speaks: as long as that takes, for a password may be asked for. Raises `AttachError`.

        `dial` and `refused` are the relay's; `say` is told what is waited for.
        """
        until = time.monotonic() + PATIENCE
        while not self._greeted.wait(TICK):
            if not self._showing and time.monotonic() > until:
                say(f"waits for {self._way.place}; Ctrl-C ends it")
                self._showing = True
                self._show(self._words)
        self._showing = False
        if self._hello is None:
            self._reap()
            raise _way.failure(self._way, self._python, self.process.returncode, self._words.decode("utf-8", "replace"))
        if self._hello.endswith(b"\r"):
            raise AttachError(f"there is a terminal on the way to {self._way.place}", "leave out -t, or add -T")
        version, port, *problem = self._hello.decode("utf-8", "replace").split(" ", 2)
        if version != VERSION:
            raise AttachError(f"{self._way.place} has another autoattach", "have the same release on both sides")
        self.port = int(port)
        if problem and problem[0].startswith("!taken"):
            raise PortTaken(
                f"port {port} in {self._way.place} is taken{problem[0][6:]}",
                "end that program, or give another port with --remote-port, and DEBUGGER_PORT there the same",
            )
        if problem:
            raise AddressError(f"{self._way.place} cannot listen on port {port} ({problem[0][1:]})")
        ends = cast("IO[bytes]", self.process.stdout), cast("IO[bytes]", self.process.stdin)
        self.relay = Relay(*ends, dial, refused, self._rest)
        self.relay.start()

    def alive(self) -> bool:
        """Whether it still carries. What says nothing for too long is ended."""
        if not self.relay.ended.is_set() and self.relay.silent() > SILENCE:
            self._silenced = True
            self.close()
        return not self.relay.ended.is_set()

    def last_words(self) -> str:
        """Why it has ended; to be asked after `close()`."""
        if self._silenced:
            return f"nothing was heard for {SILENCE:.0f} s"
        lines = [line.strip() for line in self._words.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"{self._way.program} ended with status {self.process.returncode}"

    def close(self) -> None:
        """End it: by the end of its standard input, which reaches the far side, too; else by force."""
        if hasattr(self, "relay"):
            self.relay.close()
        else:
            cast("IO[bytes]", self.process.stdin).close()
        self._reap()

    def _reap(self) -> None:
        ends: List[Callable[[], object]] = [self.process.poll, self.process.terminate, self.process.kill]
        for end in ends:
            try:
                end()
                self.process.wait(2)
                break
            except (subprocess.TimeoutExpired, PermissionError):  # sudo's is another user's: its input has ended
                continue
        self._hearing.join(1)  # ssh may have left a helper behind that keeps it open (ControlPersist)

    def _greet(self) -> None:
        """Find what `pipe` says first, behind whatever a shell over there prints."""
        source = cast("IO[bytes]", self.process.stdout)
        heard = b""
        try:
            while True:
                start = heard.find(HELLO)
                end = heard.find(b"\n", start + len(HELLO)) if start >= 0 else -1
                if end >= 0:
                    self._hello, self._rest = heard[start + len(HELLO) : end], heard[end + 1 :]
                    return
                more = source.read(1 << 16)
                if not more:
                    return
                heard = (heard if start >= 0 else heard[-len(HELLO) :]) + more
        except (OSError, ValueError):
            pass
        finally:
            self._greeted.set()

    def _hear(self) -> None:
        source = cast("IO[bytes]", self.process.stderr)
        try:
            while True:
                more = source.read(4096)
                if not more:
                    return
                self._words = (self._words + more)[-8192:]
                if self._showing:
                    self._show(more)
        except (OSError, ValueError):
            pass

    def _show(self, text: bytes) -> None:
        try:
            os.write(2, text)
        except OSError:
            pass
