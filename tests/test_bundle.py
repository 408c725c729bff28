"""`autoattach bundle`: a folder on PYTHONPATH that brings a debugger along, and is otherwise not there."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from support import LIMIT, Program, environment, line_of, needs, wait_until, write

from autoattach import _bundle
from autoattach._bundle import Bundle, Here, Row, fits
from autoattach.cli import _wheels
from autoattach.cli._dap import Client

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHER = "3.9" if VERSION != "3.9" else "3.11"
TAG = f"cp{VERSION.replace('.', '')}"
HERE = Here(python="3.11", libc="glibc", release=(2, 36), machine="x86_64")

APP = """
    def work(n):
        total = n * 2
        return total

    print("work", work(4))
"""

Make = Callable[..., "subprocess.CompletedProcess[str]"]


def wheel(folder: Path, name: str, release: str, tag: str, files: Mapping[str, str | bytes]) -> None:
    """A wheel, as an index would have it."""
    info = f"{name}-{release}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{release}-{tag}.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
        tags = "".join(f"Tag: {one}-none-any\n" for one in tag.split("-")[0].split("."))
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n{tags}")
        archive.writestr(f"{info}/LICENSE", "a licence")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels that stand for those of an index: small ones of debuggers that do nothing."""
    folder = tmp_path_factory.mktemp("index")
    pure = {"debugpy/__init__.py": "pure = True", "debugpy/a.c": "", "debugpy/b.cp39-win_amd64.pyd": ""}
    wheel(folder, "debugpy", "1.0", "py2.py3-none-any", pure)
    wheel(folder, "debugpy", "2.0", "py2.py3-none-any", pure)
    for one in ("cp39", "cp311", TAG):
        files = {"debugpy/__init__.py": "pure = False", "debugpy/fast.so": b"\x7fELF"}
        wheel(folder, "debugpy", "2.0", f"{one}-{one}-manylinux_2_34_x86_64", files)
    wheel(folder, "ptvsd", "4.3.2", "py2.py3-none-any", {"ptvsd/__init__.py": ""})
    return folder


@pytest.fixture
def make(tmp_path: Path, index: Path) -> Make:
    """Run `autoattach bundle`, with no index but those wheels."""

    def run(*arguments: object, wheels: Path = index, **env: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "autoattach", "bundle", *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**{"PIP_NO_INDEX": 1, "PIP_FIND_LINKS": wheels, "PIP_CONFIG_FILE": os.devnull, **env}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )

    return run


def made(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    """Each file's name and bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has neither autoattach nor a debugger."""
    folder = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the debugpy that is installed here, for this Python."""
    folder = tmp_path_factory.mktemp("bundle")
    files = {}
    for path in importlib.metadata.files("debugpy") or []:
        if path.parts[0] == "debugpy" and path.suffix != ".pyc":
            files[path.as_posix()] = path.read_binary()
    wheel(folder, "debugpy", importlib.metadata.version("debugpy"), "py2.py3-none-any", files)
    done = subprocess.run(
        [sys.executable, "-m", "autoattach", "bundle", "debug", "--python", VERSION],
        cwd=folder,
        env=environment(PIP_NO_INDEX=1, PIP_FIND_LINKS=folder, PIP_CONFIG_FILE=os.devnull),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    made(done)
    return folder / "debug"


# --- what it writes


def test_each_python_has_what_is_compiled_for_it_and_pure_python_for_the_rest(make: Make, tmp_path: Path) -> None:
    """The newest release, compiled where there is such a wheel, pure Python beside it; each line is told as it goes."""
    said = made(make("debug", "--python", "3.99,3.9", "--platform", "manylinux-x86_64"))
    fast = "manylinux_2_34_x86_64 debugpy 2.0 debugpy-2.0-cp39-manylinux_2_34_x86_64"
    pure = "any debugpy 2.0 debugpy-2.0-any"
    assert [row.to_line() for row in found(tmp_path / "debug").rows] == [f"3.9 {fast}", f"3.9 {pure}", f"3.99 {pure}"]
    assert "debugpy 2.0 for Python 3.9: compiled, for manylinux_2_34_x86_64" in said
    assert "debugpy 2.0 for Python 3.99: pure Python, for any system" in said
    inside = tmp_path / "debug" / "autoattach-bundle"
    assert (inside / "debugpy-2.0-cp39-manylinux_2_34_x86_64/debugpy/fast.so").is_file()
    assert sorted(contents(inside / "debugpy-2.0-any")) == ["LICENSE", "debugpy/__init__.py"]


def found(folder: Path) -> Bundle:
    one = _bundle.read(str(folder / "autoattach-bundle"))
    assert one is not None
    return one


def test_the_same_again_has_the_same_bytes(make: Make, tmp_path: Path) -> None:
    """Made twice, from other folders, with other hash seeds, umasks and locales: the same files, nothing of here."""
    made(make("a", "--python", "3.11", "--ide", "vscode,ptvsd", PYTHONHASHSEED=1, LC_ALL="C"))
    (tmp_path / "deep").mkdir()
    before = os.umask(0o077)
    try:
        made(make("deep/b", "--ide=ptvsd", "--python=3.11,3.11", "--ide=debugpy", PYTHONHASHSEED=2))
    finally:
        os.umask(before)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "deep" / "b")
    assert {name: hashlib.sha256(data).hexdigest() for name, data in first.items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in second.items()
    }
    assert not [name for name in first if name.endswith(".pyc") or "__pycache__" in name]
    assert not [name for name, data in first.items() if str(tmp_path).encode() in data]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "deep" / "b").rglob("*")}
    assert modes <= {0o755, 0o644}


def test_a_bundle_is_replaced_as_a_whole(make: Make, tmp_path: Path) -> None:
    """A second run puts the new one in the place of the old one, and leaves nothing beside it."""
    made(make("debug", "--python", "3.9"))
    made(make("debug", "--python", "3.11"))
    assert {row.python for row in found(tmp_path / "debug").rows} == {"3.11"}
    assert os.listdir(tmp_path) == ["debug"]


def test_a_folder_that_is_no_bundle_is_left_alone(make: Make, tmp_path: Path) -> None:
    """What is there and is none of ours is not touched; an empty folder will do."""
    write(tmp_path, "mine/app.py", "")
    (tmp_path / "empty").mkdir()
    done = make("mine")
    assert (done.returncode, os.listdir(tmp_path / "mine")) == (1, ["app.py"])
    assert done.stderr == "autoattach bundle: mine is there already, and is no bundle; name another folder\n"
    assert make("mine/app.py").returncode == 1
    made(make("empty"))
    assert (tmp_path / "empty" / "sitecustomize.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--python", "3.7"], "Python 3.7 is too old: autoattach needs 3.8 or later"),
        (["--python", "three"], "'three' is no version of Python such as 3.11"),
        (["--ide", "emacs"], "'emacs' is no IDE; it can be vscode, pycharm"),
        (["--platform", "beos"], "'beos' is no platform; it can be manylinux, musllinux"),
        (["--build", "x"], "'x' is no build"),
        (["--ide", "ptvsd", "--python", "3.12,3.13"], "ptvsd cannot work on Python 3.13; type --ide vscode"),
    ],
)
def test_what_is_not_understood_is_named(arguments: list[str], said: str, make: Make, tmp_path: Path) -> None:
    """A bad option: status 2, what is allowed, and nothing is written."""
    done = make("debug", *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PIP_FIND_LINKS": "nothing"}, r"there is no release of debugpy for Python 3\.11; .+"),
        (
            {"PIP_NO_INDEX": 0, "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_FIND_LINKS": "nothing"},
            r"the package index cannot be reached \(.+\); check the network, or PIP_INDEX_URL",
        ),
    ],
    ids=["no release", "no network"],
)
def test_what_cannot_be_had_is_one_line(env: dict[str, str], said: str, make: Make, tmp_path: Path) -> None:
    """No release, or no network: one line with what to type, status 1, and the bundle of before is as it was."""
    made(make("debug", "--python", "3.9"))
    before = contents(tmp_path / "debug")
    done = make("debug", "--python", "3.11", **env)
    assert done.returncode == 1
    assert re.fullmatch(f"autoattach bundle: {said}\n", done.stderr), done.stderr
    assert contents(tmp_path / "debug") == before
    assert os.listdir(tmp_path) == ["debug"]


def test_without_pip_and_uv_one_line(make: Make, tmp_path: Path, bare: str) -> None:
    """One line says how to get pip."""
    package = os.path.dirname(os.path.dirname(_bundle.__file__))
    done = subprocess.run(
        [bare, "-m", "autoattach", "bundle", "debug"],
        cwd=tmp_path, env=environment(PATH="", PYTHONPATH=package if "site-packages" not in package else copied(tmp_path)),
        capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"autoattach bundle: {bare} has no pip, and there is no uv; {bare} -m ensurepip\n"
    assert not (tmp_path / "debug").exists()


def copied(tmp_path: Path) -> Path:
    """The package alone, without what is installed beside it."""
    shutil.copytree(os.path.dirname(_bundle.__file__), tmp_path / "alone" / "autoattach")
    return tmp_path / "alone"


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_stopped_in_the_middle_all_is_as_before(number: int, status: int, make: Make, tmp_path: Path) -> None:
    """Ctrl-C, or SIGTERM, while it downloads: the bundle of before is there, whole, and nothing beside it."""
    made(make("debug", "--python", "3.9"))
    before = contents(tmp_path / "debug")
    slow = write(tmp_path, "slow/pip/__main__.py", "import time; print('here'); time.sleep(600)").parent
    write(slow, "__init__.py", "")
    with Program(tmp_path, "-m", "autoattach", "bundle", "debug", PYTHONPATH=slow.parent) as program:
        program.wait_for("autoattach", "stdout")
        wait_until(lambda: list(tmp_path.glob(".debug-*/pip/pip-0")), "pip")
        os.killpg(program.pid, number)  # as a terminal does
        assert program.wait() == status
    assert contents(tmp_path / "debug") == before
    assert not list(tmp_path.glob(".debug-*"))


def test_a_mount_point_is_said(make: Make) -> None:
    """What cannot be replaced as a whole is refused before anything is downloaded."""
    done = make("/proc" if os.path.ismount("/proc") else "/")
    assert done.returncode == 1
    assert "is a mount point; name a folder in it: " in done.stderr


# --- which it serves


@pytest.mark.parametrize(
    ("platform", "changes", "fitting"),
    [
        ("any", {}, True),
        ("any", {"libc": "musl", "release": (), "machine": ""}, True),
        ("manylinux_2_34_x86_64", {}, True),
        ("manylinux_2_34_x86_64", {"release": (2, 34)}, True),
        ("manylinux_2_34_x86_64", {"release": (2, 31)}, False),
        ("manylinux_2_34_x86_64", {"release": (3, 0)}, True),
        ("manylinux_2_34_x86_64", {"machine": "aarch64"}, False),
        ("manylinux_2_34_x86_64", {"machine": ""}, False),
        ("manylinux_2_34_x86_64", {"libc": "musl", "release": ()}, False),
        ("musllinux_1_2_x86_64", {"libc": "musl", "release": ()}, True),
        ("musllinux_1_2_x86_64", {}, False),
        ("manylinux_2_34", {}, False),
        ("linux_x86_64", {}, False),
        ("", {}, False),
    ],
)
def test_what_is_compiled_is_used_where_it_can_be_loaded(platform: str, changes: dict[str, Any], fitting: bool) -> None:
    """By the libc, its release, and the machine."""
    assert fits(platform, HERE.replace(**changes)) is fitting


def test_this_python_is_told_by_what_it_says_of_itself() -> None:
    """The version, and, on Linux, libc and machine as its own compiled modules have them."""
    here = _bundle.here()
    assert here.python == VERSION
    if sys.platform == "linux" and "-linux-" in EXTENSION_SUFFIXES[0]:
        assert here.libc in ("glibc", "musl")
        assert here.machine in EXTENSION_SUFFIXES[0]


def test_musl_is_told_by_the_lack_of_what_glibc_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python for musl knows no CS_GNU_LIBC_VERSION; no glibc's release is taken for it."""

    def confstr(name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", confstr, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    here = _bundle.here()
    assert (here.libc, here.release) == ("musl", ())


def test_on_what_it_does_not_serve_the_line_says_what_to_type() -> None:
    """Another version, another libc: what it has, what this is, and the command."""
    row = Row(python="3.9", platform="manylinux_2_34_x86_64", debugger="debugpy", release="2", folder="f")
    one = Bundle(folder="/debug/autoattach-bundle", rows=(row, row.replace(python="3.11")))
    musl = HERE.replace(libc="musl", release=())
    assert one.serving(musl) == {}
    lack = one.lacks(musl, "")
    assert (lack.what, lack.advice) == (
        "the bundle in /debug has no debugger for Python 3.11 (x86_64, musl): it has debugpy for 3.9, 3.11 on "
        "manylinux_2_34_x86_64",
        "where it was made: autoattach bundle DIR --python 3.9,3.11",
    )
    assert one.lacks(HERE.replace(python="3.12"), "pydevd-pycharm").advice.endswith(
        "--python 3.9,3.11,3.12 --ide pydevd-pycharm"
    )


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        (
            "debugpy-1.8-cp311-cp311-manylinux_2_5_x86_64.manylinux1_x86_64.manylinux_2_17_x86_64.whl",
            "manylinux_2_5_x86_64",
        ),
        ("debugpy-1.8-cp311-cp311-manylinux2014_aarch64.whl", "manylinux_2_17_aarch64"),
        ("debugpy-1.8-py2.py3-none-any.whl", "any"),
        ("debugpy-1.8-1-cp311-cp311-musllinux_1_2_x86_64.whl", "musllinux_1_2_x86_64"),
    ],
)
def test_a_wheels_name_says_the_oldest_system_that_it_is_for(name: str, platform: str) -> None:
    """Of several platforms the one that asks for least; the names from before PEP 600, too."""
    assert _wheels.parse(name) == _wheels.Wheel(name, "1.8", platform)


# --- where it is used

SHOW = """
import sys
print(sys.path)
print(sorted(name for name in sys.modules if name != "sitecustomize"))
print([finder for finder in sys.meta_path if "Bundle" not in str(finder)])
"""


@needs("debugpy")
def test_off_it_is_not_there(bundle: Path, bare: str, tmp_path: Path) -> None:
    """Unset: nothing of ours is imported or opened, and but for a finder at the end all is as ever."""
    (tmp_path / "empty").mkdir()
    outputs = []
    for path in (bundle, tmp_path / "empty"):
        with Program(tmp_path, "-c", SHOW, python=bare, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE=1) as program:
            assert program.wait() == 0, program.dump()
            outputs.append(program.stdout.replace(str(path), "DIR"))
            assert program.stderr == ""
    assert outputs[0] == outputs[1]


@needs("debugpy")
def test_a_python_without_anything_stops_at_the_breakpoint(
    run: Callable[..., Program], bundle: Path, bare: str, tmp_path: Path, port: int
) -> None:
    """With the folder on PYTHONPATH alone; a child that a shell starts is in the session, too."""
    app = write(tmp_path, "app.py", APP)
    parent = "import subprocess, sys; subprocess.run(['sh', '-c', sys.executable + ' app.py; true'])"
    write(tmp_path, "parent.py", parent)
    program = run("parent.py", python=bare, PYTHONPATH=bundle, DEBUGGER_IDE=None, PYTHONDONTWRITEBYTECODE=1)
    program.wait_for("waiting")
    with Client.connect("127.0.0.1", port) as client:
        client.attach({str(app): [line_of(app, "return total")]})
        with client.child(breakpoints={str(app): [line_of(app, "return total")]}) as child:
            thread = child.wait_stopped()
            frame = child.stack(thread)[0]["id"]
            assert child.locals(frame)["total"] == "8"
            assert str(bundle) in child.evaluate("__import__('debugpy').__file__", frame)
            child.continue_(thread)
            assert program.wait() == 0, program.dump()
    assert program.stdout == "work 8\n"
    assert program.others == ""


def shown(program: Program) -> Any:
    try:
        assert program.wait() == 0, program.dump()
        return json.loads(program.stdout)
    finally:
        program.close()


@needs("debugpy")
@pytest.mark.parametrize("on", ["1", None])
def test_what_the_program_has_of_its_own_wins(on: str | None, bundle: Path, bare: str, tmp_path: Path) -> None:
    """Its autoattach and its debugpy, wherever on its path they are; not even the last entry is behind the bundle."""
    write(tmp_path, "own/autoattach/__init__.py", "")
    write(tmp_path, "own/autoattach/_bootstrap.py", "def run(): print('mine', file=__import__('sys').stderr)")
    write(tmp_path, "own/debugpy/__init__.py", "")
    write(tmp_path, "site/debugpy.py", "")
    code = """
import json, sys
sys.path.append("site")
import debugpy, autoattach
print(json.dumps([debugpy.__file__, autoattach.__file__]))
"""
    path = os.pathsep.join([str(bundle), str(tmp_path / "own")])
    program = Program(tmp_path, "-c", code, python=bare, PYTHONPATH=path, START_DEBUGGER=on)
    origins = shown(program)
    assert all(origin.startswith(str(tmp_path / "own")) for origin in origins)
    assert program.stderr == ("mine\n" if on else "")


@needs("debugpy")
def test_a_debugger_of_the_programs_own_is_used(bundle: Path, bare: str, tmp_path: Path) -> None:
    """With a debugpy of its own nothing is lent: what the bundle has is not even found."""
    write(tmp_path, "own/debugpy/__init__.py", "")
    code = "import json, debugpy, sys; print(json.dumps([debugpy.__file__, [type(f).__name__ for f in sys.meta_path]]))"
    path = os.pathsep.join([str(bundle), str(tmp_path / "own")])
    program = Program(
        tmp_path, "-c", code, python=bare, PYTHONPATH=path, START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_PORT=0
    )
    origin, finders = shown(program)
    assert origin.startswith(str(tmp_path / "own"))
    assert "Lender" not in finders
    assert "(debugpy)" in program.stderr


@pytest.mark.parametrize("name", ["debugpy", "ptvsd", "tool", "lib"])
def test_nothing_else_can_be_imported_from_it(name: str, bundle: Path, bare: str, tmp_path: Path) -> None:
    """Unset, a module that is not there is not there: no folder of the bundle is taken for one."""
    code = f"""
import importlib
for name in ("{name}", "contents"):
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    print(name)
"""
    with Program(tmp_path, "-c", code, python=bare, PYTHONPATH=bundle) as program:
        assert (program.wait(), program.stdout, program.stderr) == (0, "", "")


def test_another_version_is_one_line_and_the_program_runs(make: Make, bare: str, tmp_path: Path) -> None:
    """A Python that the bundle does not serve: one line with what to type; its status and output are its own."""
    made(make("debug", "--python", OTHER))
    with Program(
        tmp_path, "-c", "print('ran'); exit(3)", python=bare, PYTHONPATH=tmp_path / "debug", START_DEBUGGER=1
    ) as program:
        assert (program.wait(), program.stdout) == (3, "ran\n")
        (line,) = program.ours
        place = re.escape(str(tmp_path / "debug"))
        both = ",".join(sorted([OTHER, VERSION], key=lambda text: (text != OTHER,)))
        assert re.match(
            rf"the bundle in {place} has no debugger for Python {VERSION} .*: it has debugpy for {OTHER}; "
            rf"where it was made: autoattach bundle DIR --python {both}; running on without a debugger$",
            line,
        )
        assert program.others == ""


def test_a_program_with_a_pydevd_of_its_own_keeps_it(make: Make, bare: str, tmp_path: Path) -> None:
    """The bundle's pydevd-pycharm would get hold of it: one line, nothing is lent, and the program runs."""
    inside = tmp_path / "debug" / "autoattach-bundle"
    made(make("debug", "--python", VERSION))
    write(inside, "p/pydevd_pycharm.py", "")
    write(inside, "contents.txt", f"{VERSION} any pydevd-pycharm 1 p\n")
    write(tmp_path, "own/pydevd.py", "")
    path = os.pathsep.join([str(tmp_path / "debug"), str(tmp_path / "own")])
    with Program(
        tmp_path, "-c", "import pydevd; print(pydevd.__file__)", python=bare, PYTHONPATH=path, START_DEBUGGER=1
    ) as program:
        assert program.wait() == 0
        assert program.stdout == f"{tmp_path / 'own' / 'pydevd.py'}\n"
        (line,) = program.ours
        assert line.startswith(
            f"the program's own {tmp_path / 'own' / 'pydevd.py'} leaves no room for the pydevd-pycharm"
        )


@needs("debugpy")
@pytest.mark.parametrize("on", ["1", "0"])
def test_the_commands_work_with_the_folder_on_the_path(on: str, bundle: Path, bare: str, tmp_path: Path) -> None:
    """`python -m autoattach`, with START_DEBUGGER set or not; doctor knows what the bundle lends."""
    for words, said in (
        (["ps"], "no attached processes"),
        (["doctor", "--json"], '"attaches": true'),
        (["--version"], "autoattach "),
    ):
        with Program(
            tmp_path, "-m", "autoattach", *words, python=bare, PYTHONPATH=bundle, START_DEBUGGER=on, DEBUGGER_PORT=0
        ) as program:
            program.wait()
            answer = program.stderr if words == ["ps"] else program.stdout
            assert said in answer or (on == "0" and words[0] == "doctor"), program.dump()
            assert "Error" not in program.stderr


@needs("debugpy")
def test_doctor_says_what_is_lent_and_what_is_not(bundle: Path, bare: str, make: Make, tmp_path: Path) -> None:
    """The debugger of the bundle, its release, or the line that start-up would say."""
    made(make("other", "--python", OTHER))
    reports = []
    for path in (bundle, tmp_path / "other"):
        program = Program(
            tmp_path, "-m", "autoattach", "doctor", "--json", python=bare, PYTHONPATH=path, DEBUGGER_PORT=0
        )
        try:
            program.wait()
            reports.append(json.loads(program.stdout))
        finally:
            program.close()
    checks = [check["what"] for check in reports[0]["checks"]]
    assert any(what.startswith(f"debugpy {importlib.metadata.version('debugpy')}, {bundle}") for what in checks)
    assert reports[0]["attaches"]
    assert not reports[1]["attaches"]
    assert "has no debugger for Python" in reports[1]["answer"]


@needs("debugpy")
def test_run_and_demo_work_out_of_a_bundle(bundle: Path, bare: str, tmp_path: Path) -> None:
    """`autoattach run` attaches, and `autoattach demo` stops its program, with what the bundle has."""
    with Program(
        tmp_path, "-m", "autoattach", "run", "--wait=0", "--port=0", bare, "-c", "print('ran')",
        python=bare, PYTHONPATH=bundle,
    ) as program:  # fmt: skip
        assert (program.wait(), program.stdout) == (0, "ran\n"), program.dump()
        assert "VS Code can attach" in program.stderr
    with Program(tmp_path, "-m", "autoattach", "demo", python=bare, PYTHONPATH=bundle) as program:
        assert program.wait() == 0, program.dump()


@needs("debugpy")
def test_an_autoattach_of_the_programs_own_takes_the_bundles_debugger(bundle: Path, bare: str, tmp_path: Path) -> None:
    """Where the program has autoattach and no debugger, its own autoattach uses what the bundle has, once."""
    code = "import json, autoattach, debugpy; print(json.dumps([autoattach.__file__, debugpy.__file__]))"
    own = copied(tmp_path)
    path = os.pathsep.join([str(bundle), str(own)])
    program = Program(
        tmp_path, "-c", code, python=bare, PYTHONPATH=path, START_DEBUGGER=1, DEBUGGER_WAIT=0, DEBUGGER_PORT=0
    )
    origins = shown(program)
    assert origins[0].startswith(str(own))
    assert origins[1].startswith(str(bundle))
    assert len(program.ours) == 1


OLD = [path for path in map(shutil.which, ("python2.7", "python3.6", "python3.7")) if path]


@pytest.mark.parametrize("python", OLD or [pytest.param("", marks=pytest.mark.skip(reason="no older Python is here"))])
def test_an_older_python_says_so_and_runs(python: str, bundle: Path, tmp_path: Path) -> None:
    """2.7, 3.6, 3.7: one line where it is on, none where it is off."""
    if subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip("it is only a name")
    for on in ("1", None):
        with Program(tmp_path, "-c", "print('ran')", python=python, PYTHONPATH=bundle, START_DEBUGGER=on) as program:
            assert (program.wait(), program.stdout) == (0, "ran\n")
            assert len(program.ours) == (1 if on else 0)
            assert program.others == ""


@needs("debugpy")
def test_where_logs_cannot_be_written_there_are_none(run: Callable[..., Program], tmp_path: Path, port: int) -> None:
    """DEBUGGER_LOG on a place that cannot be had: one line, and the program is debugged."""
    app = write(tmp_path, "app.py", APP)
    write(tmp_path, "file", "")
    program = run("app.py", DEBUGGER_LOG=tmp_path / "file" / "logs", DEBUGGER_WAIT=60)
    program.wait_for("waiting")
    with Client.connect("127.0.0.1", port) as client:
        client.attach({str(app): [line_of(app, "return total")]})
        client.continue_(client.wait_stopped())
        assert program.wait() == 0
    assert [line for line in program.ours if "DEBUGGER_LOG" in line] == [
        f"DEBUGGER_LOG={tmp_path / 'file' / 'logs'} cannot be used (Not a directory): there are no logs"
    ]
