"""OnRequest: a request that asks for a debugger has one, and the server is an ordinary one for all others."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import socket
import threading
import time
import urllib.request
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import pytest
from launchers.ides import IDES
from launchers.launcher import Launcher, Running
from support import LIMIT, PACE, SLOWER, listeners, needs, wait_until

from autoattach.asgi import OnRequest

Answer = Mapping[str, Any]
Serve = Callable[..., "Site"]

WORK = """
    import json, os, sys, time
    import autoattach
    from pace import pace

    def helper(n):
        return n + 1

    def work():
        n = 21
        return n * 2  # breakpoint

    def answer(query=""):
        figure = pace(helper) if "measure" in query else 0
        value = work()
        while "linger" in query and not os.path.exists("end"):
            time.sleep(0.01)
        facts = dict(value=value, pid=os.getpid(), pace=figure)
        facts.update(loaded="pydevd" in sys.modules, inert="autoattach._calls" not in sys.modules)
        facts.update(attached="inert" not in query and autoattach.is_attached())
        return json.dumps(facts)
"""
FLASK = """
    from flask import Flask, request
    from autoattach.wsgi import OnRequest
    from work import answer

    app = Flask(__name__)
    app.wsgi_app = OnRequest(app.wsgi_app{arguments})

    @app.route("/")
    def index():
        return answer(request.query_string.decode())
"""
SLOW_TO_CLOSE = """
    import os, time
    from autoattach.wsgi import OnRequest
    from work import answer

    class Body:
        def __init__(self, text, begin):
            self.text = text
            self.begin = begin
        def __iter__(self):
            self.begin()
            yield self.text[:5]
            yield self.text[5:]
        def close(self):
            while not os.path.exists("end"):
                time.sleep(0.01)

    def respond(environ, start_response):
        text = answer(environ["QUERY_STRING"]).encode()
        length = [("Content-Length", str(len(text)))] if os.environ["LENGTH"] else []
        def begin():
            start_response("200 OK", [("Content-Type", "application/json"), *length])
        if os.environ["LENGTH"] == "late":
            return Body(text, begin)
        begin()
        return Body(text, lambda: None)

    application = OnRequest(respond)
"""
DJANGO = """
    import sys

    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path
    from work import answer

    def view(request):
        return HttpResponse(answer(request.META["QUERY_STRING"]))

    def __getattr__(name):
        from autoattach.wsgi import OnRequest

        if name == "application":
            return OnRequest(get_wsgi_application())
        raise AttributeError(name)

    urlpatterns = [path("", view)]
    if not settings.configured:
        settings.configure(
            DEBUG=True, SECRET_KEY="-", ROOT_URLCONF="manage", ALLOWED_HOSTS=["*"], WSGI_APPLICATION="manage.application"
        )

    if __name__ == "__main__":
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
"""
WSGI = """
    from autoattach.wsgi import OnRequest
    from work import answer

    def respond(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        yield answer(environ["QUERY_STRING"]).encode()

    application = OnRequest(respond)
"""
STARLETTE = """
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from autoattach.asgi import OnRequest
    from work import answer

    async def index(request):
        return PlainTextResponse(answer(request.url.query))

    def threaded(request):
        return PlainTextResponse(answer(request.url.query))

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text(answer(websocket.url.query))
        await websocket.close()

    app = Starlette(routes=[Route("/", index), Route("/threaded", threaded), WebSocketRoute("/socket", socket)])
    app.add_middleware(OnRequest)
"""
FASTAPI = """
    from fastapi import FastAPI, Request
    from fastapi.responses import PlainTextResponse
    from autoattach.asgi import OnRequest
    from work import answer

    app = FastAPI()

    @app.get("/", response_class=PlainTextResponse)
    async def index(request: Request):
        return answer(request.url.query)

    @app.get("/threaded", response_class=PlainTextResponse)
    def threaded(request: Request):
        return answer(request.url.query)

    app = OnRequest(app)
"""
DJANGO_ASGI = """
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse
    from django.urls import path
    from autoattach.asgi import OnRequest
    from work import answer

    def index(request):
        return HttpResponse(answer(request.META["QUERY_STRING"]))

    urlpatterns = [path("", index)]
    settings.configure(DEBUG=True, SECRET_KEY="-", ROOT_URLCONF="app", ALLOWED_HOSTS=["*"])
    app = get_asgi_application()
    app = OnRequest(app)
"""

GUNICORN = ["{bin}/gunicorn", "app", "-b", "127.0.0.1:{http}", "--timeout", "0"]
UVICORN = ["{bin}/uvicorn", "app:app", "--port", "{http}"]


def server(
    id: str, text: str, command: list[str], needs: list[str], name: str = "app.py", arguments: str = ""
) -> Launcher:
    """A row of what is tried."""
    files = {"work.py": WORK, "pace.py": PACE, name: text.replace("{arguments}", arguments)}
    return Launcher(id, files, command, lambda running: "", needs=needs)


FLASK_RUN = server("flask", FLASK, ["{bin}/flask", "run", "--port", "{http}"], ["flask"])
STARLETTE_UVICORN = server("starlette", STARLETTE, UVICORN, ["starlette", "uvicorn"])
SERVERS = {
    launcher.id: launcher
    for launcher in [
        FLASK_RUN,
        server(
            "django", DJANGO, ["{python}", "manage.py", "runserver", "127.0.0.1:{http}", "--noreload"],
            ["django"], "manage.py",
        ),
        server("gunicorn", WSGI, GUNICORN, ["gunicorn"]),
        server("gthread", WSGI, [*GUNICORN, "--threads", "3"], ["gunicorn"]),
        STARLETTE_UVICORN,
        server("fastapi", FASTAPI, UVICORN, ["fastapi", "uvicorn"]),
        server("django-asgi", DJANGO_ASGI, UVICORN, ["django", "uvicorn"]),
    ]
}  # fmt: skip
ENABLED = server(
    "enabled", FLASK, ["{bin}/flask", "run", "--port", "{http}"], ["flask"], arguments=", enabled=True, wait=50"
)
WORKERS = server("workers", WSGI, [*GUNICORN, "--workers", "2"], ["gunicorn"])
ASK = "/?START_DEBUGGER=1"


class Site(Running):
    """A server that runs, and what browsers do with it."""

    ide: Any = None

    def ask(self, path: str = "/", **headers: str) -> Future[Answer]:
        """Make a request in a thread; the answer, later."""
        future: Future[Answer] = Future()

        def call() -> None:
            try:
                future.set_result(self.get(path, **headers))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future

    def get(self, path: str = "/", **headers: str) -> Answer:
        """Make a request, once the server is there, and return what comes back."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers=names)
        wait_until(lambda: listeners(self.http), "server", program=self.program)
        try:
            with opener.open(request, timeout=LIMIT) as response:
                answer: Answer = json.loads(response.read())
        except OSError as error:
            raise AssertionError(f"no answer: {error}\n{self.dump()}") from None
        assert answer["value"] == 42
        return answer

    def press_f5(self, debugger: str, port: int) -> None:
        """The IDE, with a breakpoint in `work()`; VS Code attaches when it can."""
        if self.ide is None:
            self.ide = IDES[debugger](port, self.breakpoints)
        self.ide.attach()

    def stops(self, answer: Future[Answer]) -> Answer:
        """The request stands at the breakpoint; it goes on, and is answered."""
        try:
            stop = self.ide.stops.get(timeout=LIMIT / 2)
        except queue.Empty:
            raise AssertionError(f"no stop\n{self.dump()}\n{self.ide.dump()}") from None
        assert stop.place.startswith("work.py:")
        assert stop.locals["n"] == "21"
        assert not answer.done()
        stop.go_on()
        found = answer.result(LIMIT)
        assert found["pid"] == stop.pid
        return found

    def close(self) -> None:
        if self.ide is not None:
            self.ide.__exit__()
        super().close()


@pytest.fixture
def serve(tmp_path: Path, port: int) -> Iterator[Serve]:
    """Start a server, which is to attach on request."""
    sites = []

    def start(launcher: Launcher = FLASK_RUN, debugger: str = "debugpy", **env: object) -> Site:
        missing = launcher.missing()
        if missing:
            pytest.skip(missing)
        variables = {"START_DEBUGGER": "request", "DEBUGGER_PORT": port, "DEBUGGER_IDE": debugger, "DEBUGGER_WAIT": 60}
        site = Site(launcher, tmp_path, **{**variables, **env})
        sites.append(site)
        site.start()
        return site

    yield start
    for site in sites:
        site.close()


def debuggers(*names: str) -> Any:
    return pytest.mark.parametrize("debugger", [pytest.param(name, marks=needs(name)) for name in names])


@debuggers("debugpy", "pydevd-pycharm", "ptvsd")
@pytest.mark.parametrize("name", SERVERS)
def test_a_request_that_asks(serve: Serve, name: str, debugger: str, port: int) -> None:
    """START_DEBUGGER=request attaches nothing at the start. A request that asks stops at its breakpoint, and so does a
    second one; the next that does not ask ends the session and runs at full speed; one that asks again stops again."""
    site = serve(SERVERS[name], debugger)
    before = site.get("/?measure")
    assert not before["attached"]
    assert not before["loaded"]
    assert "autoattach" not in site.program.stderr
    for turn in range(2):
        site.press_f5(debugger, port)
        assert site.stops(site.ask(f"/?START_DEBUGGER={turn + 1}"))["attached"], turn
        assert site.stops(site.ask("/", **{"X-Start-Debugger": "yes"}))["attached"], turn
        assert not site.get()["attached"]
        # A thread that was blocked meanwhile has to run before (3.8).
        wait_until(lambda: site.get("/?measure")["pace"] < before["pace"] * SLOWER, "full speed", program=site.program)
    assert [line for line in site.program.ours if not line.startswith("waiting ")] == []


@needs("debugpy")
@pytest.mark.parametrize("length", ["early", "late", ""], ids=["its length is known", "said late", "of any length"])
def test_an_answer_that_is_there(serve: Serve, length: str, port: int) -> None:
    """Who has the whole answer may go on: the request has ended, whatever the server still does for it."""
    threads = server("slow to close", SLOW_TO_CLOSE, [*GUNICORN, "--threads", "3"], ["gunicorn"])
    site = serve(threads, LENGTH=length)
    site.press_f5("debugpy", port)
    assert site.stops(site.ask(ASK))["attached"]
    assert not site.get()["attached"]
    (site.folder / "end").touch()


@debuggers("debugpy", "pydevd-pycharm")
@pytest.mark.parametrize("name", ["starlette", "fastapi"])
def test_an_endpoint_in_a_thread(serve: Serve, name: str, debugger: str, port: int) -> None:
    """An endpoint that an ASGI server runs in a pool of threads stops as well, also in a thread that ran before."""
    site = serve(SERVERS[name], debugger)
    site.get("/threaded")
    site.press_f5(debugger, port)
    for _ in range(2):
        site.stops(site.ask("/threaded?START_DEBUGGER=1"))
    assert not site.get("/threaded")["attached"]


@needs("debugpy")
def test_a_websocket(serve: Serve, port: int) -> None:
    """A websocket asks as a request does."""
    pytest.importorskip("websockets")  # uvicorn uses it
    site = serve(STARLETTE_UVICORN)
    site.get()
    site.press_f5("debugpy", port)
    future: Future[Answer] = Future()

    def talk() -> None:
        lines = (
            f"GET /socket{ASK[1:]} HTTP/1.1|Host: x|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13"
        )
        with socket.create_connection(("127.0.0.1", site.http), LIMIT) as sock, sock.makefile("rb") as stream:
            sock.sendall(f"{lines}|Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==||".replace("|", "\r\n").encode())
            while stream.readline().strip():
                pass
            kind, length = stream.read(2)
            assert (kind, length < 126) == (0x81, True)  # one short text
            future.set_result(json.loads(stream.read(length)))

    threading.Thread(target=talk, daemon=True).start()
    assert site.stops(future)["attached"]
    assert not site.get()["attached"]


@needs("debugpy")
def test_inert_by_default(serve: Serve, port: int) -> None:
    """Where neither the code nor the environment enables it a request that asks is one like all others."""
    for value in (None, "0"):
        site = serve(START_DEBUGGER=value)
        assert site.get(f"{ASK}&inert", **{"X-Start-Debugger": "1"})["inert"]
        assert not listeners(port)
        assert "autoattach" not in site.program.stderr


@needs("debugpy")
def test_enabled_by_the_code(serve: Serve, port: int) -> None:
    """`enabled=True` needs no variable; the arguments of `attach()` are for the session."""
    site = serve(ENABLED, START_DEBUGGER=None, DEBUGGER_WAIT=0)
    assert not site.get()["attached"]
    answer = site.ask(ASK)
    site.program.wait_for(f"waiting up to 50 s for VS Code to attach at 127.0.0.1:{port}")
    site.press_f5("debugpy", port)
    site.stops(answer)


@pytest.mark.parametrize(
    "asking", ["/?START_DEBUGGER=0", "/?START_DEBUGGER=", "/?START_DEBUGGER", "/?x=START_DEBUGGER"]
)
@needs("debugpy")
def test_what_does_not_ask(serve: Serve, asking: str, port: int) -> None:
    """What switches the variable off does not ask, nor does the word elsewhere."""
    site = serve()
    assert not site.get(asking, **{"X-Start-Debugger": "off"})["attached"]
    assert not listeners(port)


@debuggers("debugpy")
@pytest.mark.parametrize("name", ["flask", "starlette"])
def test_a_token(serve: Serve, name: str, debugger: str, port: int) -> None:
    """With DEBUGGER_REQUEST_TOKEN only a request that carries it has a debugger; another is answered as ever."""
    site = serve(SERVERS[name], DEBUGGER_REQUEST_TOKEN="geheim")
    for token in (
        {},
        {"X-Debugger-Token": "geheim2"},
        {"X-Debugger-Token": "geheim".upper()},
        {"X-Debugger-Token": "\xe9"},
    ):
        assert not site.get(ASK, **token)["attached"]
    assert site.program.ours == ["a request asks for a debugger without the right token; send it as X-Debugger-Token"]
    assert not listeners(port)
    site.press_f5(debugger, port)
    site.stops(site.ask(ASK, **{"X-Debugger-Token": "geheim"}))


@debuggers("debugpy", "pydevd-pycharm")
@pytest.mark.parametrize("name", ["flask", "starlette", "gthread"])
def test_nobody_there(serve: Serve, name: str, debugger: str, port: int) -> None:
    """Where no IDE comes, a request that asks is answered all the same when its wait is over. Those that ask meanwhile,
    or right after it, are not held once more, those that do not ask are not held at all; one that asks later waits anew."""
    site = serve(SERVERS[name], debugger, DEBUGGER_WAIT=3)
    site.get()
    start = time.monotonic()
    asking = [site.ask(ASK) for _ in range(2)]
    site.program.wait_for("waiting up to 3 s for ")
    site.get()
    assert not any(answer.done() for answer in asking)
    for answer in asking:
        answer.result(LIMIT)
    assert 2.5 <= time.monotonic() - start < 6
    over = {"debugpy": "nobody attached in 3 s: running on", "pydevd-pycharm": "gave up after 3 s: nobody listens"}
    assert over[debugger] in site.program.stderr
    last = time.monotonic()
    site.get(ASK)
    assert time.monotonic() - last < 3
    time.sleep(3.5)  # the pause
    later = site.ask(ASK)
    site.press_f5(debugger, port)
    site.stops(later)


@pytest.mark.parametrize("env", [{"DEBUGGER_PORT": "high"}, {"DEBUGGER_IDE": "emacs"}, {"DEBUGGER_HOST": "192.0.2.1"}])
@pytest.mark.parametrize("name", ["flask", "starlette"])
def test_what_cannot_be(serve: Serve, name: str, env: dict[str, str]) -> None:
    """Where attaching fails that is one line, and the request is answered. A bad value is told at the start as well."""
    site = serve(SERVERS[name], **env)
    assert not site.get(ASK)["attached"]
    *before, last = site.program.ours
    assert len(before) == (0 if "DEBUGGER_HOST" in env else 1)
    assert all(line.endswith("; running on without a debugger") for line in before)
    assert last.endswith("; the request runs on without a debugger")
    assert "Traceback" not in site.program.stderr


@needs("debugpy")
@pytest.mark.parametrize("name", ["flask", "gthread", "starlette"])
def test_a_request_meanwhile(serve: Serve, name: str, port: int) -> None:
    """While a request that asks runs, one that does not leaves the session alone; after it the next one ends it."""
    site = serve(SERVERS[name])
    site.press_f5("debugpy", port)
    path = "/threaded?" if name == "starlette" else "/?"
    asking = site.ask(f"{path}START_DEBUGGER=1&linger")
    stop = site.ide.stops.get(timeout=LIMIT)
    stop.go_on()
    assert site.stops(site.ask(path))["attached"]  # it is stopped, too
    (site.folder / "end").touch()
    assert asking.result(LIMIT)["attached"]
    assert not site.get()["attached"]


@needs("debugpy")
def test_workers(serve: Serve, port: int) -> None:
    """Two workers that are asked are two processes of one session: both stop. Each detaches by itself."""
    site = serve(WORKERS)
    site.press_f5("debugpy", port)
    first = site.ask(ASK)
    one = site.ide.stops.get(timeout=LIMIT)
    second = site.ask(ASK)  # the other worker's, for the one stands
    other = site.ide.stops.get(timeout=LIMIT)
    assert one.pid != other.pid
    one.go_on()
    other.go_on()
    assert {first.result(LIMIT)["pid"], second.result(LIMIT)["pid"]} == {one.pid, other.pid}
    found: dict[int, bool] = {}
    end = time.monotonic() + LIMIT
    while len(found) < 2 and time.monotonic() < end:
        answers = [site.ask() for _ in range(4)]
        found.update((answer["pid"], answer["attached"]) for answer in (one.result(LIMIT) for one in answers))
    assert set(found.values()) == {False}
    site.press_f5("debugpy", port)
    site.stops(site.ask(ASK))


@needs("debugpy")
def test_a_session_since_the_start(serve: Serve, port: int) -> None:
    """A session that the process has by itself is left alone: requests neither wait for it nor end it."""
    site = serve(ENABLED, START_DEBUGGER=1, DEBUGGER_WAIT=0)
    for path in (ASK, "/", ASK, "/"):
        assert site.get(path)["attached"]
    site.press_f5("debugpy", port)
    site.ide.wait_attached()
    for path in (ASK, "/", ASK, "/"):
        assert site.stops(site.ask(path))["attached"]


def test_arguments_are_those_of_attach() -> None:
    """OnRequest takes each argument of `attach()`, and no other."""
    import inspect

    import autoattach
    from autoattach import asgi, wsgi

    expected = set(inspect.signature(autoattach.attach).parameters)
    for one in (wsgi.OnRequest, asgi.OnRequest):
        assert set(inspect.signature(one).parameters) == {"app", "enabled", *expected}
        with pytest.raises(TypeError):
            one(None, idea="vscode")  # type: ignore[call-arg, arg-type]


def plain(launcher: Launcher) -> Launcher:
    """The same application without an edit."""
    files = dict(launcher.files)
    for name, text in files.items():
        if name != "work.py":
            text = re.sub(r"^ *from autoattach.*$", "", text, flags=re.MULTILINE)
        text = re.sub(r"^ *app\.(add_middleware\(OnRequest\)|wsgi_app = OnRequest.*)$", "", text, flags=re.MULTILINE)
        text = re.sub(r"^ *app = OnRequest\(app\)$", "", text, flags=re.MULTILINE)
        files[name] = text.replace("OnRequest(get_wsgi_application())", "get_wsgi_application()")
        assert "OnRequest" not in files[name]
    return replace(launcher, files=files)


@needs("debugpy")
def test_what_a_request_does_after_its_answer(serve: Serve, port: int) -> None:
    """A background task of one that asks is debugged to its end; the next request that does not ask ends the session."""
    text = """
        import os, time
        from starlette.applications import Starlette
        from starlette.background import BackgroundTask
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        from work import answer, work

        def later():
            while not os.path.exists("end"):
                time.sleep(0.01)
            work()

        async def index(request):
            task = BackgroundTask(later) if "background" in request.url.query else None
            return PlainTextResponse(answer(request.url.query), background=task)

        app = Starlette(routes=[Route("/", index)])
    """
    site = serve(server("background", text, UVICORN, ["starlette", "uvicorn"]))
    site.press_f5("debugpy", port)
    assert site.stops(site.ask(f"{ASK}&background"))["attached"]
    assert site.stops(site.ask())["attached"]
    (site.folder / "end").touch()
    site.ide.stops.get(timeout=LIMIT).go_on()
    assert not site.get()["attached"]


@debuggers("debugpy", "pydevd-pycharm", "ptvsd")
@pytest.mark.parametrize("name", ["flask", "django", "starlette", "fastapi", "django-asgi"])
def test_without_an_edit(serve: Serve, name: str, debugger: str, port: int) -> None:
    """START_DEBUGGER=request needs no OnRequest in an application of Flask, Django, Starlette or FastAPI."""
    site = serve(plain(SERVERS[name]), debugger)
    assert not site.get()["loaded"]
    assert not listeners(port)
    for _ in range(2):
        site.press_f5(debugger, port)
        assert site.stops(site.ask(ASK))["attached"]
        assert not site.get()["attached"]
    assert [line for line in site.program.ours if not line.startswith("waiting ")] == []


@needs("debugpy")
def test_gevents_workers(serve: Serve, port: int) -> None:
    """Into a worker that gevent has changed no debugger can come: a line says so, and each request is answered."""
    site = serve(server("gevent", WSGI, [*GUNICORN, "-k", "gevent"], ["gunicorn", "gevent"]))
    assert not site.get(ASK)["attached"]
    assert not site.get()["loaded"]
    assert not listeners(port)
    assert "no debugger can be loaded into it as it runs" in site.program.stderr


def test_a_scope_without_query_and_headers() -> None:
    """A server, or a test client, may leave them out: https://asgi.readthedocs.io/en/latest/specs/www.html"""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    asyncio.run(OnRequest(app, enabled=True)({"type": "websocket"}, None, None))  # type: ignore[arg-type]
    assert seen == [{"type": "websocket"}]


@needs("debugpy")
def test_without_an_edit_a_token_holds(serve: Serve, port: int) -> None:
    """DEBUGGER_REQUEST_TOKEN holds for an application that has not been edited, and does not for its children's sake."""
    site = serve(plain(FLASK_RUN), DEBUGGER_REQUEST_TOKEN="s3cret", DEBUGGER_SUBPROCESS=0)
    assert not site.get(ASK)["attached"]
    assert not listeners(port)
    site.press_f5("debugpy", port)
    for _ in range(2):
        assert site.stops(site.ask(ASK, **{"X-Debugger-Token": "s3cret"}))["attached"]
    assert not site.get(ASK)["attached"]
