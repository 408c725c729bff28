"""Which process of a tree runs the user's code, as far as a command line tells.

PyCharm serves one process at a time. What stands here runs none of the user's code by itself: it leaves the slot to
its workers, or to the child that it starts again after each edit. What is not known takes the slot for itself; a
parent of a reload pair that is not known hands it over (`debuggers/pycharm.py`).
"""

from __future__ import annotations

from autoattach._exclusions import glob, what_runs
from autoattach._settings import RELOADED, Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable, Mapping

# The functions whose forks are workers: a master may fork for other ends as well.
WORKERS = (
    ("gunicorn.arbiter", "spawn_worker"),
    ("billiard.pool", "_create_worker_process"),
    ("pyspark.daemon", "manager"),
    ("airflow.sdk.execution_time.supervisor", "start"),
)
# The functions that fork workers before they end those in whose place the new ones come (gunicorn at SIGHUP)
RELOADS = (("gunicorn.arbiter", "reload"),)
# Those whose forks run none of the user's code themselves: workers are forks of theirs.
BETWEEN = (("airflow.executors.local_executor", "_spawn_worker"),)
# Those whose forks take the place of the process that they leave.
DAEMONS = (("gunicorn.util", "daemonize"),)

# The modules that start, by subprocess or multiprocessing, what runs the user's code in place of their own process
SUPERVISORS = ("uvicorn.supervisors", "hypercorn.run", "watchfiles.run")


class Role(Frozen):
    """What a process is to do with the slot."""

    __slots__ = ("kind", "name", "one")
    kind: str
    """`own`: take it. `forks`: leave it to a fork; `starts`: to a child. `heir`: take it as such a child."""
    name: str
    """What the process is that has it then, in a user's words."""
    one: str
    """Where several workers share the work: how to have one. Else an empty string."""


OWN = Role(kind="own", name="", one="")


def role(command: tuple[str, ...], hints: Mapping[str, str]) -> Role:
    """The role of a process that nobody has left the slot to. `hints` are the variables that launchers read."""
    runs = what_runs(command)
    if glob("*uwsgi", command[0] if command else ""):  # a program of its own, with Python in it
        return _uwsgi(list(command[1:]), hints) or OWN
    for pattern, look in LAUNCHERS:
        if glob(pattern, runs):
            return look(arguments_after(command, runs), hints) or OWN
    return OWN


def heir(hints: Mapping[str, str]) -> Role:
    """The role of a child that the slot was left to."""
    return Role(kind="heir", name="the reloader's child" if is_reloaded(hints) else "this worker", one="")


def is_reloaded(hints: Mapping[str, str]) -> bool:
    """Whether it is the one of a reload pair that runs the user's code."""
    return any(hints.get(mark) == "true" for mark in RELOADED)


def supervises(frame: FrameType | None) -> bool:
    """Whether it is one of the supervisors that is calling."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if any(name == module or name.startswith(f"{module}.") for module in SUPERVISORS):
            return True
        frame = frame.f_back
    return False


def _gunicorn(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """The master forks its workers, be it one; with --preload it imports the program, too, but serves nobody."""
    return Role(kind="forks", name="gunicorn's worker", one="-w 1")


def _celery(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """The worker's main process forks a pool and sends it the tasks; with another pool it runs them itself, and `beat`,
    `call`, `inspect` and the others have no pool. Detached it execs, and is asked again."""
    if _subcommand(
        arguments, "-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"
    ) != ("worker") or _flag(arguments, "-D", "--detach"):
        return None
    pool = value_of(arguments, "-P", "--pool") or "prefork"
    return Role(kind="forks", name="celery's worker", one="-c 1") if pool in ("prefork", "processes") else None


def _airflow(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """What runs tasks, reads the files of DAGs or waits for triggers is a fork (task-sdk's supervisor); the scheduler's
    LocalExecutor has processes between. What tests a task runs it itself. (airflow/executors/local_executor.py; 3.3)"""
    names = {
        "scheduler": ("Airflow's task", "AIRFLOW__CORE__PARALLELISM=1"),
        "dag-processor": ("Airflow's reader of a DAG's file", "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES=1"),
        "triggerer": ("Airflow's runner of triggers", ""),
    }
    name, one = names.get(_subcommand(arguments), ("", ""))
    return Role(kind="forks", name=name, one=one) if name else None


def _pyspark(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """The executor's daemon forks a worker for each task that runs at the same time."""
    return Role(kind="forks", name="Spark's Python worker", one="--master local[1], or one executor with one core")


def _dask(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """`dask worker`: its nanny spawns the worker, be it one, unless told to have none."""
    return None if _subcommand(arguments) != "worker" else _dask_worker(_after(arguments, "worker"), hints)


def _dask_worker(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    if _flag(arguments, "--no-nanny"):
        return None
    several = value_of(arguments, "--nworkers", "--nprocs") not in ("", "1")
    return Role(kind="starts", name="Dask's worker", one="--nworkers 1" if several else "")


def _uwsgi(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """With a master, or with several processes, its first process only forks."""
    processes = value_of(arguments, "-p", "--processes", "--workers")
    if not processes and not _flag(arguments, "-M", "--master"):
        return None
    return Role(kind="forks", name="uWSGI's worker", one="-p 1" if processes not in ("", "1") else "")


def _hypercorn(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """It spawns its workers, be it one, unless told to have none."""
    workers = value_of(arguments, "-w", "--workers")
    if workers == "0":
        return None
    return Role(kind="starts", name="hypercorn's worker", one="-w 1" if workers not in ("", "1") else "")


def _uvicorn(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """With --reload, and with more than one worker, the main process only looks after those that it spawns."""
    if _flag(arguments, "--reload") or _is_on(hints.get("UVICORN_RELOAD")):
        return Role(kind="starts", name="uvicorn's worker", one="")
    workers = value_of(arguments, "--workers") or hints.get("UVICORN_WORKERS") or hints.get("WEB_CONCURRENCY") or "1"
    return (
        Role(kind="starts", name="uvicorn's worker", one="--workers 1") if workers.strip() not in ("0", "1") else None
    )


def _fastapi(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """It is uvicorn; `fastapi dev` reloads unless told not to."""
    if arguments[:1] == ["dev"] and not _flag(arguments, "--no-reload"):
        return Role(kind="starts", name="uvicorn's worker", one="")
    return _uvicorn(arguments, {}) if arguments[:1] in (["dev"], ["run"]) else None


def _watchfiles(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """It starts a command, or spawns a function, again after each edit."""
    return Role(kind="starts", name="the watched program", one="")


def _pytest(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """With pytest-xdist the first process runs no tests. (Told so by a file of settings it takes the slot in vain.)"""
    number = value_of(arguments, "-n", "--numprocesses")
    return Role(kind="starts", name="pytest's worker", one="-n 0") if number not in ("", "0") else None


def _flask(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """With the reloader the first process only starts the second again after each edit."""
    if _subcommand(arguments, "-A", "--app", "-e", "--env-file") != "run":
        return None
    debug = _is_on(hints.get("FLASK_DEBUG")) or hints.get("FLASK_ENV") == "development"
    debug = not _flag(arguments, "--no-debug") and (_flag(arguments, "--debug") or debug)
    if _flag(arguments, "--no-reload") or not (debug or _flag(arguments, "--reload")):
        return None
    return Role(kind="starts", name="the reloader's child", one="")


def _django(arguments: list[str], hints: Mapping[str, str]) -> Role | None:
    """The same; of the commands, only this one reloads."""
    reloads = arguments[:1] in (["runserver"], ["runserver_plus"]) and not _flag(arguments, "--noreload")
    return Role(kind="starts", name="the reloader's child", one="") if reloads else None


LAUNCHERS: tuple[tuple[str, Callable[[list[str], Mapping[str, str]], Role | None]], ...] = (
    ("*/gunicorn", _gunicorn),
    ("-m gunicorn", _gunicorn),
    ("-m gunicorn.app.wsgiapp", _gunicorn),
    ("*/gunicorn/__main__.py", _gunicorn),
    ("*/celery", _celery),
    ("-m celery", _celery),
    ("*/celery/__main__.py", _celery),
    ("*/airflow", _airflow),
    ("-m airflow", _airflow),
    ("*/airflow/__main__.py", _airflow),
    ("-m pyspark.daemon", _pyspark),
    ("*/dask", _dask),
    ("-m dask", _dask),
    ("*/dask/__main__.py", _dask),
    ("*/dask-worker", _dask_worker),
    ("-m distributed.cli.dask_worker", _dask_worker),
    ("*/uwsgi", _uwsgi),
    ("*/pyuwsgi", _uwsgi),
    ("*/uvicorn", _uvicorn),
    ("-m uvicorn", _uvicorn),
    ("*/uvicorn/__main__.py", _uvicorn),
    ("*/hypercorn", _hypercorn),
    ("-m hypercorn", _hypercorn),
    ("*/fastapi", _fastapi),
    ("-m fastapi", _fastapi),
    ("*/watchfiles", _watchfiles),
    ("-m watchfiles", _watchfiles),
    ("*/pytest", _pytest),
    ("*/py.test", _pytest),
    ("-m pytest", _pytest),
    ("*/pytest/__main__.py", _pytest),
    ("*/flask", _flask),
    ("-m flask", _flask),
    ("*/flask/__main__.py", _flask),
    ("*/manage.py", _django),
    ("*/django-admin", _django),
    ("-m django", _django),
    ("*/django/__main__.py", _django),
)


def arguments_after(command: tuple[str, ...], runs: str) -> list[str]:
    """What follows the script or the module on a command line."""
    name = runs.partition(" ")[2] if runs.startswith("-m ") else runs.rpartition("/")[2]
    for at, argument in enumerate(command[1:], 2):
        last = argument.replace("\\", "/").rpartition("/")[2]
        if (last[:-4] if last.lower().endswith(".exe") else last) in (name, f"-m{name}"):
            return list(command[at:])
    return []


def _subcommand(arguments: list[str], *valued: str) -> str:
    """The first argument that is neither an option nor the value of one of those."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            return argument
        if argument in valued:
            next(rest, None)
    return ""


def _after(arguments: list[str], word: str) -> list[str]:
    return arguments[arguments.index(word) + 1 :]


def _flag(arguments: list[str], *names: str) -> bool:
    return any(argument in names for argument in arguments)


def value_of(arguments: list[str], *names: str) -> str:
    """The value of an option: `--workers 2`, `--workers=2`, `-w 2`, `-w2`; an empty string where it is not given."""
    found = ""
    for at, argument in enumerate(arguments):
        for name in names:
            if argument == name:
                found = "".join(arguments[at + 1 : at + 2])
            elif name.startswith("--") and argument.startswith(f"{name}="):
                found = argument[len(name) + 1 :]
            elif not name.startswith("--") and argument.startswith(name) and not argument.startswith("--"):
                found = argument[len(name) :].lstrip("=")
    return found


def _is_on(value: str | None) -> bool:
    return (value or "").lower() not in ("", "0", "false", "no", "off", "n", "f")
