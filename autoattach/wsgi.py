"""A debugger for those requests to a WSGI application that ask for it: Flask, Django and others."""

from __future__ import annotations

from autoattach._on_request import MARK, Middleware, requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["OnRequest"]


class OnRequest(Middleware):
    """A WSGI application that attaches a debugger while requests ask for one, and leaves them to `app`.

    A request asks by ``START_DEBUGGER=1`` in its query, or by the header ``X-Start-Debugger: 1``, and is itself stopped
    at breakpoints. It waits for the IDE before that, 20 seconds unless `wait` or `DEBUGGER_WAIT` says otherwise, and
    runs without a debugger where nobody comes. The first request that does not ask ends the session, once none that
    does is running. A session that the process has had before is left alone.

    :param app: The application.
    :param enabled: Whether this does anything. It also does where the environment says ``START_DEBUGGER=request``.

    With ``DEBUGGER_REQUEST_TOKEN`` in the environment a request also has to carry its value in ``X-Debugger-Token``.
    The other arguments are those of `autoattach.attach()`.
    """

    app: WSGIApplication

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._inert or environ.get(MARK):
            return self.app(environ, start_response)
        token = environ.get("HTTP_X_DEBUGGER_TOKEN", "").encode("latin-1", "replace")
        if not self._asks(environ.get("QUERY_STRING", ""), environ.get("HTTP_X_START_DEBUGGER", ""), token):
            if requests.is_attached():
                requests.detach()
            return self.app(environ, start_response)
        environ[MARK] = True
        request = requests.enter()
        try:
            requests.attach(self._arguments)
            requests.take_thread()
            lengths: list[int] = []

            def start(status: Any, headers: Any, *error: Any, **more: Any) -> Any:
                lengths[:] = _lengths(headers)
                return start_response(status, headers, *error, **more)

            body = self.app(environ, start)
            if not isinstance(body, (list, tuple)):
                return _Body(body, request, lengths)
        except BaseException:
            requests.leave(request)
            raise
        requests.leave(request)
        return body


def _lengths(headers: Any) -> list[int]:
    """Of the whole answer, if these say so; what is wrong with them is the server's to say."""
    if not isinstance(headers, list):
        return []
    try:
        return [int(text) for name, text in headers if name.lower() == "content-length"]
    except Exception:
        return []


class _Body:
    """What an application answers piece by piece: the request runs until its end, or until it is closed."""

    def __init__(self, body: Iterable[bytes], request: object, lengths: list[int]) -> None:
        self._body = body
        self._request = request
        self._lengths = lengths  # of the whole, if the application has said so

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for part in self._body:
            sent += len(part)
            # With the last part the client has its answer, and may ask again before the server closes this one.
            if sent in self._lengths:
                requests.leave(self._request)
            yield part
        requests.leave(self._request)

    def close(self) -> None:
        """The server has sent it, or given up."""
        body, self._body = self._body, ()
        try:
            if hasattr(body, "close"):
                body.close()
        finally:
            requests.leave(self._request)

    def __del__(self) -> None:
        requests.leave(self._request)
