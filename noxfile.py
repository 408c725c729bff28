"""What is checked, and on which Pythons: `nox --list` shows it, `nox -s tests-3.11` runs one.

Arguments after `--` go to pytest: `nox -s tests-3.11 -- -k hold`. A Python that is not there is skipped.
"""

import os

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests", "more", "old", "launchers", "engines", "roots", "docs"]

PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]

ENDS = ["3.8", "3.11", "3.15"]  # the oldest, the usual, the newest

# These have a session of their own.
OWN = ["test_docs.py", "test_engines.py", "test_launchers.py", "test_recipes.py", "test_roots.py"]

# Old releases of the debuggers, the Pythons they can work on, and the tests that concern them. The newest release of
# each is in the extra "test", and with it in each session "tests".
OLD = [
    ("debugpy==1.6.0", ["3.8", "3.10"], ["test_debugpy.py", "test_paths.py"]),
    ("pydevd-pycharm>=203,<204", ["3.8"], ["test_pycharm.py", "test_paths.py"]),
    ("pydevd-pycharm==251.25410.159", ["3.8", "3.12"], ["test_pycharm.py", "test_paths.py"]),
]


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and layout."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over the package."""
    session.install("mypy")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite, with the newest release of each debugger that can work on this Python."""
    session.install(".[test]")
    if session.python == os.environ.get("AUTOATTACH_TESTED"):
        session.skip("tested already")
    pytest(session, *session.posargs)


@nox.session(python=ENDS)
def more(session: nox.Session) -> None:
    """The commands, and what else stands by itself (tests/conftest.py); and what is slow: installers, ways to fork."""
    session.install(".[test]")
    pytest(session, "-m", "more or slow", *(f"--ignore={name}" for name in OWN), *session.posargs)


@nox.session
@nox.parametrize(
    "python,debugger,files",
    [
        nox.param(python, debugger, files, id=f"{debugger}-{python}")
        for debugger, pythons, files in OLD
        for python in pythons
    ],
)
def old(session: nox.Session, debugger: str, files: "list[str]") -> None:
    """The tests of one debugger, with an old release of it."""
    session.install(".[test]", debugger)
    pytest(session, "-m", "not slow", *files, *session.posargs)


@nox.session(python=["3.11", "3.13"])
def launchers(session: nox.Session) -> None:
    """The launchers, with the real programs. `-- --launchers-table ../docs/launchers.rst` writes what is seen."""
    session.install(".[test,launchers,recipes]")
    files = ["test_launchers.py", "test_slot.py", "test_on_request.py", "test_examples.py", "test_recipes.py"]
    files.append("test_attach_pid.py::test_a_program_that_gevent_has_changed")
    for name in (
        "gevent",
        "gevent_at_a_moment",
        "an_exception_that_does_not_end_it",
        "a_prefork_servers_worker_is_armed",
    ):
        files.append(f"test_later.py::test_{name}")
    pytest(session, "-m", "not slow", *files, *session.posargs)


@nox.session(python="3.11")
def roots(session: nox.Session) -> None:
    """A bundle in the roots of other systems. Skipped but for root, with debootstrap."""
    session.install(".[test]")
    pytest(session, "test_roots.py", "-m", "", "-n", "0", *session.posargs)


@nox.session(python="3.11")
def engines(session: nox.Session) -> None:
    """Spark, Dask, Ray and Celery over Redis, and 50 programs at once: real clusters on this machine."""
    session.install(".[test,engines]")
    # A JVM or two for each, so few at a time, and more patience
    session.env["AUTOATTACH_TEST_LIMIT"] = os.environ.get("AUTOATTACH_TEST_LIMIT", "180")
    pytest(session, "test_engines.py", "-m", "", "--timeout", "600", "-n", "2", *session.posargs)


@nox.session(python="3.12")
def airflow(session: nox.Session) -> None:
    """Airflow's own way to try a task. Not by default: it starts slowly."""
    session.install(".[test,airflow]")
    session.env["AUTOATTACH_TEST_LIMIT"] = os.environ.get("AUTOATTACH_TEST_LIMIT", "180")
    pytest(session, "test_engines.py", "-m", "", "-k", "airflow", "--timeout", "600", "-n", "2", *session.posargs)


@nox.session(python="3.13")
def docs(session: nox.Session) -> None:
    """The documents, without a warning, into docs/_build/html; and what they say, held against the code."""
    session.install(".[test,docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-b", "html", "docs", "docs/_build/html")
    pytest(session, "test_docs.py", "-m", "", *session.posargs)


@nox.session(python="3.13")
def coverage(session: nox.Session) -> None:
    """What the suite runs through, in the processes that it starts, too. Not by a tracer: debuggers displace those."""
    session.install(".[test]")
    session.env.update(COVERAGE_CORE="sysmon", COVERAGE_FILE=f"{session.create_tmp()}/coverage")
    measured = ["coverage", "run", "--rcfile=../pyproject.toml", "-m", "pytest", "-q", "-n", "3", "--tb=no"]
    # A measure and no verdict, which is what `tests` is for: coverage's own start in each process upsets a test or two,
    # and of what is killed half a data file may be left.
    with session.chdir("tests"):
        session.run(*measured, *session.posargs, success_codes=[0, 1], silent=True)
    session.run("coverage", "combine", "-q", success_codes=[0, 1])
    session.run("coverage", "report")


def pytest(session: nox.Session, *arguments: str) -> None:
    """From another folder: in the checkout's own, its package would hide the installed one."""
    session.chdir("tests")
    session.run("python", "-m", "pytest", "-q", "-n", "4", "--dist", "worksteal", *arguments)
