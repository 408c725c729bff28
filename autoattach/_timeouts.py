"""What ends a process that stands at a breakpoint, as far as a command line tells: a table of servers' own timeouts."""

from __future__ import annotations

from autoattach._exclusions import glob, what_runs
from autoattach._settings import DAG_FILE_TIMEOUT, DASK_TTL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Optional, Tuple

    Limit = Optional[Tuple[str, str, str]]

OUT = "leave it out while you debug"


def what_ends(command: tuple[str, ...], hints: Mapping[str, str]) -> str:
    """The line that a user should read before the first stop, or an empty string.

    It is for the first process of a server: workers are forks, or have another command line. A file of settings is not
    read, and what may stand in one is not guessed.
    """
    runs = what_runs(command)
    for pattern, program, look in TIMEOUTS:
        if glob(pattern, command[0] if program == "uWSGI" and command else runs):
            from autoattach._roles import arguments_after  # here, for most processes do not need it

            found = look(arguments_after(command, runs) if program != "uWSGI" else list(command[1:]), hints)
            if found:
                setting, seconds, advice = found
                return f"{program} ends what stands at a breakpoint longer than its {setting} ({seconds} s); {advice}"
    return ""


def _gunicorn(arguments: list[str], hints: Mapping[str, str]) -> Limit:
    """The arbiter kills (SIGABRT) a worker whose main loop has not told of itself: every worker class, 30 s unless told
    otherwise. (gunicorn/arbiter.py, `murder_workers`)"""
    from autoattach._roles import value_of

    arguments = [*hints.get("GUNICORN_CMD_ARGS", "").split(), *arguments]
    seconds = value_of(arguments, "-t", "--timeout")
    if seconds == "0" or (not seconds and value_of(arguments, "-c", "--config")):
        return None
    return "--timeout", seconds or "30", "--timeout 0 while you debug"


def _celery(arguments: list[str], hints: Mapping[str, str]) -> Limit:
    """The pool kills the process of a task that takes longer, or raises in it. (celery/concurrency/prefork.py)"""
    from autoattach._roles import value_of

    for name in ("--time-limit", "--soft-time-limit"):
        seconds = value_of(arguments, name)
        if seconds not in ("", "0"):
            return name, seconds, OUT
    return None


def _uwsgi(arguments: list[str], hints: Mapping[str, str]) -> Limit:
    """The master kills a worker whose request takes longer. (uwsgi's `harakiri`)"""
    from autoattach._roles import value_of

    seconds = value_of(arguments, "-t", "--harakiri")
    return ("--harakiri", seconds, OUT) if seconds not in ("", "0") else None


def _uvicorn(arguments: list[str], hints: Mapping[str, str]) -> Limit:
    """The parent of several workers asks each whether it is well, and kills the one that does not answer: at a
    breakpoint none of its threads runs. Without --reload, and without workers, nobody asks. (uvicorn/supervisors)"""
    from autoattach._roles import role, value_of

    name = "--timeout-worker-healthcheck"
    supervised = role(("python", "-m", "uvicorn", *arguments), hints).one
    return (name, "5", f"{name} 3600 while you debug") if supervised and not value_of(arguments, name) else None


def _dask(arguments: list[str], hints: Mapping[str, str]) -> Limit:
    """A worker tells the scheduler of itself from a thread, which does not run at a breakpoint either; the scheduler
    drops it then, and its nanny kills it. (distributed/scheduler.py, `check_worker_ttl`)"""
    if arguments[:1] != ["worker"] or DASK_TTL in hints:
        return None
    return "scheduler's worker-ttl", "300", f"{DASK_TTL}=null for the scheduler while you debug"


def _airflow(arguments: list[str], hints: Mapping[str, str]) -> Limit:
    """The dag-processor kills what reads a file for longer. Of a task its supervisor tells the scheduler, and goes on.
    (airflow/dag_processing/manager.py, `_kill_timed_out_processors`)"""
    if arguments[:1] != ["dag-processor"] or DAG_FILE_TIMEOUT in hints:
        return None
    return "dag_file_processor_timeout", "50", f"{DAG_FILE_TIMEOUT}=3600 while you debug"


TIMEOUTS: tuple[tuple[str, str, Callable[[list[str], Mapping[str, str]], Limit]], ...] = (
    ("*/gunicorn", "gunicorn", _gunicorn),
    ("-m gunicorn", "gunicorn", _gunicorn),
    ("*/gunicorn/__main__.py", "gunicorn", _gunicorn),
    ("*/celery", "celery", _celery),
    ("-m celery", "celery", _celery),
    ("*/celery/__main__.py", "celery", _celery),
    ("*/dask", "dask", _dask),
    ("-m dask", "dask", _dask),
    ("*/dask/__main__.py", "dask", _dask),
    ("*/airflow", "airflow", _airflow),
    ("-m airflow", "airflow", _airflow),
    ("*/airflow/__main__.py", "airflow", _airflow),
    ("*uwsgi", "uWSGI", _uwsgi),
    ("*/uvicorn", "uvicorn", _uvicorn),
    ("-m uvicorn", "uvicorn", _uvicorn),
    ("*/uvicorn/__main__.py", "uvicorn", _uvicorn),
)
