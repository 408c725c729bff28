"""A debugger for those requests to an ASGI application that ask for it: FastAPI, Starlette, Django and others."""

from __future__ import annotations

from autoattach._on_request import MARK, Middleware, requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Awaitable, Callable, Dict, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["OnRequest"]


class OnRequest(Middleware):
    """An ASGI application that attaches a debugger while requests ask for one, and leaves them to `app`.

    As `autoattach.wsgi.OnRequest`, for requests and for websockets. While one waits for the IDE the event loop serves
    the others (asyncio's, or one like it; another is blocked).
    """

    app: Application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inert or scope["type"] not in ("http", "websocket") or scope.get(MARK):
            return await self.app(scope, receive, send)
        headers: Dict[bytes, bytes] = dict(scope.get("headers") or ())
        query = (scope.get("query_string") or b"").decode("latin-1")  # a websocket's may be left out
        wish = headers.get(b"x-start-debugger", b"").decode("latin-1")
        if not self._asks(query, wish, headers.get(b"x-debugger-token", b"")):
            if requests.is_attached():
                await _apart(requests.detach_soon)
            return await self.app(scope, receive, send)
        scope[MARK] = True
        request = requests.enter()

        async def send_and_note(message: MutableMapping[str, Any]) -> None:
            if _is_last(message):
                requests.answered(request)
            await send(message)

        try:
            if not requests.is_ready():
                await _apart(lambda: requests.attach(self._arguments))
            requests.take_thread()
            await self.app(scope, receive, send_and_note)
        finally:
            requests.leave(request)


def _is_last(message: MutableMapping[str, Any]) -> bool:
    if message["type"] == "http.response.body":
        return not message.get("more_body")
    return message["type"] in ("http.response.pathsend", "websocket.close")


async def _apart(function: Callable[[], None]) -> None:
    """Call it in a thread of its own, while the event loop goes on.

    Not in the loop's pool: its threads are waited for at the program's end.
    """
    import asyncio
    import threading

    from autoattach.debuggers._pydevd import hide

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop
        return function()
    done: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure = None
        try:
            function()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(end, failure)
        except RuntimeError:  # it has been closed
            pass

    thread = threading.Thread(target=run, name="autoattach", daemon=True)
    hide(thread)
    thread.start()
    await done
