"""A server's own timeout that ends what stands at a breakpoint is named before the first stop, once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest
from support import Program, needs, write

from autoattach._settings import Settings
from autoattach._timeouts import what_ends

Run = Callable[..., Program]

ENDS = "ends what stands at a breakpoint longer than its"

SAID = [
    ("gunicorn app:app", "gunicorn", "--timeout (30 s)"),
    ("gunicorn app:app --timeout 90", "gunicorn", "--timeout (90 s)"),
    ("gunicorn -t90 app:app", "gunicorn", "--timeout (90 s)"),
    ("-m gunicorn --timeout=5 app:app", "gunicorn", "--timeout (5 s)"),
    ("gunicorn -c gunicorn.conf.py -t 5 app:app", "gunicorn", "--timeout (5 s)"),
    ("celery -A app worker --time-limit 60", "celery", "--time-limit (60 s)"),
    ("-m celery -A app worker --soft-time-limit=60", "celery", "--soft-time-limit (60 s)"),
    ("celery -A app worker --soft-time-limit=60 --time-limit=70", "celery", "--time-limit (70 s)"),
    ("dask worker tcp://127.0.0.1:8786", "dask", "scheduler's worker-ttl (300 s)"),
    ("uvicorn app:app --workers 2", "uvicorn", "--timeout-worker-healthcheck (5 s)"),
    ("airflow dag-processor", "airflow", "dag_file_processor_timeout (50 s)"),
]
UNSAID = [
    "gunicorn app:app --timeout 0",
    "gunicorn app:app -t0",
    "gunicorn -c gunicorn.conf.py app:app",  # it may have the setting
    "gunicorn.py",
    "my_gunicorn app:app",
    "celery -A app worker",
    "celery -A app worker --time-limit 0",
    "celery",
    "dask scheduler",
    "uvicorn app:app",
    "uvicorn app:app --workers 1",
    "uvicorn app:app --workers 2 --reload",
    "uvicorn app:app --workers 2 --timeout-worker-healthcheck 3600",
    "airflow scheduler",
    "airflow dags test dag-processor",
    "flask run",
    "app.py --timeout 30",
    "",
]


def command_of(text: str) -> tuple[str, ...]:
    name, *rest = text.split() or [""]
    path = f"/venv/bin/{name}" if name.isalpha() else name
    return ("python", "-X", "dev", path, *rest) if path else ("python",)


@pytest.mark.parametrize(("command", "program", "setting"), SAID)
def test_named(command: str, program: str, setting: str) -> None:
    """The line names the program, the setting with its value, and what to do."""
    line = what_ends(command_of(command), {})
    assert line.startswith(f"{program} {ENDS} {setting}; ")
    assert line.endswith("while you debug")


@pytest.mark.parametrize("command", UNSAID)
def test_not_named(command: str) -> None:
    """Nothing is said where it is off, where it cannot be known, and of any other program."""
    assert what_ends(command_of(command), {}) == ""


@pytest.mark.parametrize(
    ("command", "hints", "said"),
    [
        (("python", "/bin/gunicorn", "app"), {"GUNICORN_CMD_ARGS": "--timeout 0"}, False),
        (("python", "/bin/gunicorn", "app", "-t", "9"), {"GUNICORN_CMD_ARGS": "--timeout 0"}, True),
        (("python", "/bin/dask", "worker"), {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "null"}, False),
        (
            ("python", "/bin/airflow", "dag-processor"),
            {"AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "9"},
            False,
        ),
        (("python", "/bin/uvicorn", "app:app"), {"WEB_CONCURRENCY": "4"}, True),
        (("/bin/uwsgi", "--http", ":80", "--harakiri", "20"), {}, True),
        (("/bin/uwsgi", "--http", ":80"), {}, False),
        ((), {}, False),
    ],
)
def test_by_the_environment_and_without_a_script(command: tuple[str, ...], hints: dict[str, str], said: bool) -> None:
    """What a server reads from the environment counts, and uWSGI is a program of its own."""
    read = Settings.from_environ({"START_DEBUGGER": "1", **hints}).hints
    assert bool(what_ends(command, read)) is said


@needs("debugpy")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("timeout", ["30", "0"])
def test_said_once_for_a_server(run: Run, tmp_path: Path, timeout: str) -> None:
    """A server of three workers, of which one starts a program, says it once; with the timeout off it says nothing."""
    code = """
        import os, subprocess, sys
        children = []
        for number in range(3):
            pid = os.fork()
            if not pid:
                if not number:
                    subprocess.run([sys.executable, "-c", "pass"], check=True)
                os._exit(0)
            children.append(pid)
        print([os.waitpid(pid, 0)[1] for pid in children], flush=True)
    """
    write(tmp_path, "gunicorn/__init__.py", "")
    write(tmp_path, "gunicorn/__main__.py", code)
    program = run("-m", "gunicorn", "--timeout", timeout, DEBUGGER_WAIT=0)
    assert program.wait() == 0, program.dump()
    assert program.stdout == "[0, 0, 0]\n"
    said = [line for line in program.ours if ENDS in line]
    assert said == ([] if timeout == "0" else [f"gunicorn {ENDS} --timeout (30 s); --timeout 0 while you debug"])
