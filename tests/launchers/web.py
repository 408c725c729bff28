"""Web servers: reloaders, workers that are started or forked, and a server that is no Python program."""

from __future__ import annotations

import sys

from launchers.launcher import HANGS, RUNS, Launcher, visit

FLASK = """
    from flask import Flask

    app = Flask(__name__)

    @app.route("/")
    def index():
        n = 21
        return str(n * 2)  # breakpoint

    if __name__ == "__main__":
        app.run(port={http}, debug=True)
"""
DJANGO = """
    import sys

    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def view(request):
        n = 21
        return HttpResponse(str(n * 2))  # breakpoint

    settings.configure(DEBUG=True, SECRET_KEY="-", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
    urlpatterns = [path("", view)]

    if __name__ == "__main__":
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
"""
ASGI = """
    async def app(scope, receive, send):
        if scope["type"] == "http":
            n = 21
            body = str(n * 2).encode()  # breakpoint
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
"""
WSGI = """
    def application(environ, start_response):
        n = 21
        body = str(n * 2).encode()  # breakpoint
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]
"""


TIMEOUT = "``--timeout 0``: else gunicorn ends a worker that stands at a breakpoint."
THREADS = "``--enable-threads``: else no thread runs in it, the debugger's neither."
# uWSGI 2.0.31 forks without Python's lock (issue 2387 of theirs). ptvsd's threads wake ten times a second: 8 of 240
# starts. debugpy's are no better, but rarely meet it: 0 of 240, and 3 of 240 with six workers.
HOOKS = (
    "Without ``--py-call-uwsgi-fork-hooks`` (2.0.21 and later) a worker may hang as it begins, where a thread of ptvsd's "
    "or, rarely, of debugpy's has Python's lock in the process that uWSGI forks. Not with ``--mount`` or mules: "
    "these crash by it, without a debugger, too (2.0.31)."
)


def flask(id: str, *command: str, **more: object) -> Launcher:
    return Launcher(id, {"app.py": FLASK}, command, visit, needs=["flask"], **more)  # type: ignore[arg-type]


def django(id: str, *options: str, **more: object) -> Launcher:
    command = ["{python}", "manage.py", "runserver", "127.0.0.1:{http}", *options]
    return Launcher(id, {"manage.py": DJANGO}, command, visit, needs=["django"], **more)  # type: ignore[arg-type]


def uvicorn(id: str, *options: str, **more: object) -> Launcher:
    command = ["{bin}/uvicorn", "app:app", "--port", "{http}", *options]
    return Launcher(id, {"app.py": ASGI}, command, visit, needs=["uvicorn"], **more)  # type: ignore[arg-type]


def gunicorn(id: str, *options: str, **more: object) -> Launcher:
    command = ["{bin}/gunicorn", "app", "-b", "127.0.0.1:{http}", "--timeout", "0", *options]
    return Launcher(
        id,
        {"app.py": WSGI},
        command,
        visit,
        **{"needs": ["gunicorn"], "ptvsd": RUNS, "note": TIMEOUT, **more},  # type: ignore[arg-type]
    )


def uwsgi(id: str, *options: str, **more: object) -> Launcher:
    server = ["{bin}/uwsgi", "--http-socket", "127.0.0.1:{http}", "--wsgi-file", "app.py"]
    python = ["--virtualenv", "{prefix}", "--enable-threads", "--need-app"]
    return Launcher(
        id,
        {"app.py": WSGI},
        [*server, *python, *options],
        visit,
        needs=["uwsgi"],
        rests=True,  # uWSGI 2.0.31
        **{"note": THREADS, **more},  # type: ignore[arg-type]
    )


LAUNCHERS = [
    flask("flask run", "{bin}/flask", "run", "--port", "{http}"),
    flask(
        "flask run --debug",
        "{bin}/flask",
        "run",
        "--debug",
        "--port",
        "{http}",
        ptvsd=RUNS,
        ended="TERM group",
        edit="app.py",
    ),
    flask("app.run(debug=True)", "{python}", "app.py", ptvsd=RUNS, ended="TERM group", edit="app.py"),
    django("runserver --noreload", "--noreload"),
    django("runserver", ptvsd=RUNS, ended="TERM group", edit="manage.py"),
    uvicorn("uvicorn"),
    uvicorn("uvicorn --reload", "--reload", ptvsd=RUNS, edit="app.py"),
    uvicorn(
        "uvicorn --workers 2",
        *("--workers", "2", "--timeout-worker-healthcheck", "3600"),
        ptvsd=RUNS,
        workers=2,
        note="Without ``--timeout-worker-healthcheck`` a worker that stands for 5 s is killed.",
    ),
    gunicorn("gunicorn", "-w", "2", workers=2, replaces=True),
    gunicorn("gunicorn --preload", "-w", "2", "--preload", workers=2),
    gunicorn("gunicorn -k gthread", "-w", "2", "-k", "gthread", "--threads", "2", workers=2),
    gunicorn(
        "gunicorn -k gevent",
        "-k",
        "gevent",
        needs=["gunicorn", "gevent"],
        later=False,
        note="Attach at the start: what is loaded into a worker that gevent has changed already may miss breakpoints. "
        "``GEVENT_SUPPORT=True`` is set where gevent is named in the command or in the script; where it is named in a "
        "configuration file only, set it. " + TIMEOUT,
    ),
    uwsgi("uwsgi", ended="INT"),
    uwsgi(
        "uwsgi --master --processes 2",
        *("--master", "--processes", "2"),
        ptvsd=HANGS,
        workers=2,
        ended="INT",
        note=f"{THREADS} {HOOKS}",
    ),
    uwsgi(
        "uwsgi --master --processes 2 --py-call-uwsgi-fork-hooks",
        *("--master", "--processes", "2", "--py-call-uwsgi-fork-hooks"),
        ptvsd=RUNS,
        workers=2,
        ended="INT",
    ),
    uwsgi(
        "uwsgi --master --processes 2 --py-call-osafterfork",
        *("--master", "--processes", "2", "--py-call-osafterfork"),
        ptvsd=HANGS,
        workers=2,
        ended="INT",
        note=f"{THREADS} {HOOKS}",
        check=lambda: (
            "uWSGI 2.0.31 has its workers die by this option here, without us as well"
            if sys.version_info >= (3, 13)
            else ""
        ),
    ),
]
