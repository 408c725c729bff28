"""START_DEBUGGER=request: applications of the frameworks we know attach when a request asks, without an edit."""

from autoattach._imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from autoattach._armed import Armed
    from autoattach._imports import Change

# The module, the class of its applications there, what a server (or `OnRequest`) calls, and how
FRAMEWORKS = (
    ("flask.app", "Flask", "wsgi_app", "wsgi"),
    ("django.core.handlers.wsgi", "WSGIHandler", "__call__", "wsgi"),
    ("django.core.handlers.asgi", "ASGIHandler", "__call__", "asgi"),
    ("starlette.applications", "Starlette", "__call__", "asgi"),  # FastAPI's is one
)


def arm(armed: "Armed") -> None:
    """From now on each of them is wrapped as it is imported. `OnRequest`, around one by hand, comes first."""
    for name, owner, method, kind in FRAMEWORKS:
        when_imported(name, _change(_wrap_wsgi if kind == "wsgi" else _wrap_asgi, owner, method, armed))


def _change(wrap: "Callable[[Any, str, Any, Armed], None]", owner: str, method: str, armed: "Armed") -> "Change":
    def change(module: object) -> None:
        found = getattr(module, owner, None)
        if hasattr(found, method):
            wrap(found, method, getattr(found, method), armed)

    return change


def _wrap_wsgi(owner: "Any", method: str, answer: "Any", armed: "Armed") -> None:
    from autoattach.wsgi import OnRequest

    wrap = OnRequest.of(armed.settings)

    def wsgi_app(app: "Any", environ: "Any", start_response: "Any") -> "Any":
        own = answer.__get__(app)
        return (wrap(own) if armed.is_on() else own)(environ, start_response)

    _put(owner, method, wsgi_app, answer)


def _wrap_asgi(owner: "Any", method: str, answer: "Any", armed: "Armed") -> None:
    from autoattach.asgi import OnRequest

    wrap = OnRequest.of(armed.settings)

    async def asgi_app(app: "Any", scope: "Any", receive: "Any", send: "Any") -> "Any":
        own = answer.__get__(app)
        return await (wrap(own) if armed.is_on() and not _is_wrapped_within(app) else own)(scope, receive, send)

    _put(owner, method, asgi_app, answer)


def _is_wrapped_within(app: "Any") -> bool:
    """By `app.add_middleware(OnRequest)`: its arguments are the ones to go by."""
    added = (getattr(middleware, "cls", None) for middleware in getattr(app, "user_middleware", ()))
    return any(getattr(one, "__module__", "") == "autoattach.asgi" for one in added)


def _put(owner: "Any", method: str, ours: "Any", theirs: "Any") -> None:
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(ours, name, getattr(theirs, name, None))
    ours.__wrapped__ = theirs
    setattr(owner, method, ours)
