"""Attached as long as requests ask for it: what OnRequest does for WSGI and for ASGI."""

from __future__ import annotations

import _thread
import os
import time

from autoattach._notices import say, say_once
from autoattach._settings import FOREVER, OFF, REQUEST, Settings, armed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Sequence

    from autoattach._loading import Loader

QUERY = "START_DEBUGGER"
# Less than the 30 s after which gunicorn ends a worker that does not answer
WAIT = 20.0
# In the environ or scope of a request that is being looked after: an application may have us around it more than once
MARK = "autoattach.on_request"
# Seconds without a request that asks, after which one waits again for an IDE that was not there: a page asks for many
# things at once, and each of those requests may ask for a debugger
PAUSE = 3.0
# Seconds that a request which has been answered may take to end
SOON = 1.0


class Middleware:
    """The arguments of OnRequest, and whether it does anything."""

    def __init__(
        self,
        app: Any,
        *,
        enabled: bool = False,
        ide: str | None = None,
        host: str | None = None,
        port: int | str | None = None,
        wait: float | str | None = None,
        mode: str | None = None,
        path_mappings: Mapping[str, str] | None = None,
        subprocess: bool | None = None,
        only: Sequence[str] | None = None,
        skip: Sequence[str] | None = None,
        log: str | None = None,
        verbose: bool | None = None,
    ) -> None:
        self.app = app
        settings = Settings.from_environ(os.environ)
        self._inert = not (enabled or REQUEST in settings.words or REQUEST in armed)
        self._token = (settings.token or "").encode("utf-8", "surrogateescape")
        self._arguments = {
            "ide": ide,
            "host": host,
            "ports": port,
            "wait": wait,
            "mode": mode,
            "path_mappings": path_mappings,
            "subprocess": subprocess,
            "only": only,
            "skip": skip,
            "log": log,
            "verbose": verbose,
        }

    @classmethod
    def of(cls, settings: Settings) -> Callable[[Any], Any]:
        """What wraps an application as these settings say, whatever the environment says by now."""
        pattern = cls(None, enabled=True)
        pattern._token = (settings.token or "").encode("utf-8", "surrogateescape")

        def wrap(app: Any) -> Any:
            wrapped = cls.__new__(cls)
            wrapped.__dict__.update(vars(pattern), app=app)
            return wrapped

        return wrap

    def _asks(self, query: str, header: str, token: bytes) -> bool:
        """Whether a request is to have a debugger, by its query and its headers."""
        if not is_on(header):
            if QUERY not in query:
                return False
            from urllib.parse import parse_qs

            if not any(map(is_on, parse_qs(query).get(QUERY, ()))):
                return False
        if self._token:
            from hmac import compare_digest

            if not compare_digest(token, self._token):
                say_once("a request asks for a debugger without the right token; send it as X-Debugger-Token")
                return False
        return True


def is_on(value: str) -> bool:
    """Whether a value says so, as that of the variable does."""
    return value.strip().lower() not in OFF


class Requests:
    """The requests of this process that ask for a debugger, and the session that it is in for their sake."""

    def __init__(self) -> None:
        self._asking: set[object] = set()
        self._answered: set[object] = set()  # of these
        self._turn = _thread.allocate_lock()  # to attach or detach
        self._loader: Loader | None = None
        self._pause = 0.0  # until when nobody waits for an IDE

    def enter(self) -> object:
        """A request that asks for a debugger begins. What is returned is for `leave()`."""
        request = object()
        self._asking.add(request)
        return request

    def leave(self, request: object) -> None:
        """It has ended."""
        self._asking.discard(request)
        self._answered.discard(request)

    def answered(self, request: object) -> None:
        """Who made it has the answer, and may make the next one, while the application has yet to return."""
        self._answered.add(request)

    def is_attached(self) -> bool:
        """Whether there is a session for the sake of requests."""
        if self._loader is None:
            return False
        from autoattach._loading import current

        return self._loader is current()

    def is_ready(self) -> bool:
        """Whether `attach()` has nothing to do: an IDE is attached, or the process has a session by itself."""
        from autoattach import _calls

        return _calls.is_client_connected() or (_calls.is_attached() and not self.is_attached())

    def attach(self, arguments: Mapping[str, object]) -> None:
        """Attach for a request that asks, and wait for the IDE. A failure is said, and the request runs on."""
        from autoattach._errors import AttachError

        with self._turn:  # who comes meanwhile shares the outcome
            if self.is_ready():
                return
            held = time.monotonic() > self._pause
            try:
                self._attach(arguments, held)
            except Exception as error:
                reason = str(error) if isinstance(error, AttachError) else f"{type(error).__name__}: {error}"
                if held:
                    say(f"{reason}; the request runs on without a debugger")
            if not self.is_ready():
                self._pause = time.monotonic() + PAUSE

    def _attach(self, arguments: Mapping[str, object], held: bool) -> None:
        from autoattach import _calls
        from autoattach._leader import how_long
        from autoattach._loading import current
        from autoattach._network import spell

        began = time.monotonic()
        wait = arguments["wait"]
        if wait is None:
            wait = Settings.from_environ(os.environ).wait
        if wait is None:
            wait = WAIT
        session = _calls.attach({**arguments, "wait": wait if held else 0})
        self._loader = current()
        until = began + (FOREVER if str(wait).lower() == "forever" else float(str(wait)))
        left = until - time.monotonic()
        # It is open since an earlier request, or another process leads it.
        if held and left > 0 and not _calls.is_client_connected():
            seconds = left if left == FOREVER else max(1, round(left))
            say(f"a request waits {how_long(seconds)} for the IDE to attach at {spell(*session.address)}")
            _calls.wait_for_client(None if left == FOREVER else left)

    def take_thread(self) -> None:
        """Debug this thread, too, in which a request is about to run."""
        loader = self._loader
        if loader is not None and self.is_attached() and self.is_ready():  # another request may be detaching
            from autoattach import debuggers

            debuggers.load(loader.debugger).take_thread()

    def detach_soon(self) -> None:
        """Detach, in a thread, once those that have been answered have ended, which is a matter of moments where an
        application only tidies up. What it does after the answer in earnest (Starlette's background tasks) is debugged
        to its end."""
        until = time.monotonic() + SOON
        while self._asking and self._asking == self._answered and time.monotonic() < until:
            time.sleep(0.005)
        self.detach()

    def detach(self) -> None:
        """Detach for a request that does not ask, unless one that does still runs. It never waits for another one."""
        from autoattach import _calls

        if not self._asking and self._turn.acquire(False):
            try:
                if not self._asking and self.is_attached():
                    self._loader = None
                    _calls.detach()
            finally:
                self._turn.release()


requests = Requests()
"""Those of this process."""

if hasattr(os, "register_at_fork"):  # those of the parent run on there
    os.register_at_fork(after_in_child=requests.__init__)  # type: ignore[misc]
