"""Every installer puts the hook where `site` reads it, and takes it away again."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_string
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import environment

CHECKOUT = Path(__file__).resolve().parents[1]
HOOK = "autoattach.pth"
DOOR = CHECKOUT / "sitecustomize_template" / "sitecustomize.py"

# The bytes of every release: allow-lists go by their hash. Whoever changes them asks each user to allow them anew.
LINE = (
    b'import os; os.environ.get("START_DEBUGGER") and __import__("autoattach._bootstrap", None, None, ["run"]).run()\n'
)

# Prints what one installation looks like from inside: where it belongs, and what its RECORD lists.
LOOK = """
import importlib.metadata as m, site, sys, sysconfig
print(sys.argv[1] == "user" and site.getusersitepackages() or sysconfig.get_path("purelib"))
for file in m.distribution("autoattach").files: print(file)
"""


def run(*command, cwd, limit=90, **env):
    """The finished process; a failure shows all that it wrote."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the checkout: building leaves traces."""
    copy = tmp_path_factory.mktemp("source") / "autoattach-source"
    traces = (".*cache", ".git", ".nox", ".venv*", "*.egg-info", "__pycache__", "build", "dist")
    shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(*traces), symlinks=True)
    return copy


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """The folder with the wheel and the sdist that `python -m build` makes."""
    out = tmp_path_factory.mktemp("dist")
    installer = "pip" if find_spec("ensurepip") else "uv"  # Debian's Python comes without
    run(sys.executable, "-m", "build", "--installer", installer, "--outdir", out, source, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(built):
    (path,) = built.glob("*.tar.gz")
    return path


def make_environment(folder):
    """A virtual environment with nothing in it; the path of its Python."""
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def pip(python, *arguments, cwd, **env):
    # Not compiled, for speed: the build's own setuptools is installed, used once and thrown away.
    env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_COMPILE="1", PIP_BREAK_SYSTEM_PACKAGES="1")
    return run(sys.executable, "-m", "pip", "--python", python, *arguments, cwd=cwd, **env)


def uv(python, command, *arguments, cwd):
    program = [sys.executable, "-m", "uv"] if find_spec("uv") else [shutil.which("uv")]
    if program == [None]:
        pytest.skip("uv is not installed")
    return run(*program, "pip", command, "--python", python, *arguments, cwd=cwd)


def left_in(folder):
    """Every file, and every folder with our name. Not what Python caches, nor uv's lock."""
    paths = [path for path in folder.rglob("*") if path.is_file() or "autoattach" in path.name]
    return {str(path.relative_to(folder)) for path in paths if not {"__pycache__", ".lock"} & set(path.parts)}


def check_installed(python, folder, kind="venv", **env):
    """The hook is at the root of site-packages, byte for byte, once in RECORD, and active; off, it is not. `autoattach
    run` takes the other door along, so that another environment's Python finds us."""
    root, *record = run(python, "-c", LOOK, kind, cwd=python.parent, **env).stdout.splitlines()
    assert (Path(root) / HOOK).read_bytes() == LINE
    assert [file for file in record if HOOK in file] == [HOOK]

    other = make_environment(folder / "other")
    command = ["-m", "autoattach", "run", "--wait=0", "--ide=pycharm", other, "-c", "print('ran')"]
    done = run(python, *command, cwd=python.parent, TMPDIR=folder, **env)
    assert done.stdout == "ran\n"
    assert re.match(r"autoattach\[\d+\]: DEBUGGER_IDE=pycharm, but pydevd-pycharm is not .*\n\Z", done.stderr), (
        done.stderr
    )
    where = "from autoattach.cli.run import door; print(door())"
    door = run(python, "-c", where, cwd=python.parent, **env).stdout.strip()
    assert (Path(door) / DOOR.name).read_bytes() == DOOR.read_bytes()

    loaded = "import sys; print(any(name.startswith('autoattach') for name in sys.modules))"
    off = run(python, "-c", loaded, cwd=python.parent, **env)
    assert (off.stdout, off.stderr) == ("False\n", "")
    on = run(python, "-c", loaded, cwd=python.parent, START_DEBUGGER="1", DEBUGGER_IDE="no-such-ide", **env)
    assert on.stdout == "True\n"
    assert re.match(r"autoattach\[\d+\]: .*\n\Z", on.stderr), on.stderr


PIP = {
    "plain": [],
    "editable": ["-e"],
    "editable strict": ["--config-settings", "editable_mode=strict", "-e"],
    "editable compat": ["--config-settings", "editable_mode=compat", "-e"],
}


@pytest.mark.slow
@pytest.mark.parametrize("how", list(PIP))
def test_pip_installs_a_checkout_and_removes_it(how, source, tmp_path):
    """`pip install .` and `-e .`, in each editable mode, put the hook in place; uninstalling leaves nothing."""
    python = make_environment(tmp_path / "venv")
    before = left_in(tmp_path / "venv")
    copy = tmp_path / "source"  # of its own: a link into it stays in build/ in strict mode
    shutil.copytree(source, copy)
    pip(python, "install", "-q", "--no-deps", *PIP[how], copy, cwd=tmp_path)
    check_installed(python, tmp_path)
    pip(python, "uninstall", "-q", "-y", "autoattach", cwd=tmp_path)
    assert left_in(tmp_path / "venv") == before


@pytest.mark.slow
@pytest.mark.parametrize("editable", [[], ["-e"]], ids=["plain", "editable"])
def test_uv_installs_a_checkout_and_removes_it(editable, source, tmp_path):
    """`uv pip install .` and `-e .` put the hook in place; uninstalling leaves nothing."""
    python = make_environment(tmp_path / "venv")
    before = left_in(tmp_path / "venv")
    uv(python, "install", "-q", "--no-deps", *editable, source, cwd=tmp_path)
    check_installed(python, tmp_path)
    uv(python, "uninstall", "-q", "autoattach", cwd=tmp_path)
    assert left_in(tmp_path / "venv") == before


def test_wheel_installs_and_leaves_nothing(wheel, tmp_path):
    """The wheel that `python -m build` makes puts the hook in place; uninstalling leaves nothing."""
    python = make_environment(tmp_path / "venv")
    before = left_in(tmp_path / "venv")
    pip(python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    check_installed(python, tmp_path)
    pip(python, "uninstall", "-q", "-y", "autoattach", cwd=tmp_path)
    assert left_in(tmp_path / "venv") == before


@pytest.mark.slow
def test_sdist_installs(sdist, tmp_path):
    """The sdist that `python -m build` makes carries what it takes to put the hook in place."""
    python = make_environment(tmp_path / "venv")
    pip(python, "install", "-q", "--no-deps", sdist, cwd=tmp_path)
    check_installed(python, tmp_path)


def test_user_install(wheel, tmp_path):
    """`pip install --user` puts the hook into the user's own site-packages; uninstalling leaves nothing."""
    # Not from a virtual environment: there pip refuses to take away what it has put outside.
    python = Path(sys.executable).resolve()
    own = {"PYTHONUSERBASE": str(tmp_path / "user")}
    pip(python, "install", "-q", "--no-deps", "--no-index", "--user", wheel, cwd=tmp_path, **own)
    check_installed(python, tmp_path, "user", **own)
    pip(python, "uninstall", "-q", "-y", "autoattach", cwd=tmp_path, **own)
    assert not left_in(tmp_path / "user")


def test_half_removed_install_is_silent(tmp_path):
    """With the package gone and the hook left, Python starts without a word while START_DEBUGGER is unset."""
    python = make_environment(tmp_path / "venv")
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).stdout.strip()
    shutil.copy(CHECKOUT / HOOK, where)
    done = run(python, "-c", "print('ran')", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("ran\n", "")
    assert run(python, "-c", "print('ran')", cwd=tmp_path, START_DEBUGGER="1").stdout == "ran\n"


def test_hook_is_one_plain_line():
    """The hook is one line of ASCII: its guard, then one call. Nothing encoded, no exec."""
    assert (CHECKOUT / HOOK).read_bytes() == LINE
    text = LINE.decode("ascii")
    assert text.count("\n") == 1
    assert "exec" not in text
    assert text.index("START_DEBUGGER") < text.index("__import__")


def test_version_is_said_once(wheel):
    """The version stands in one place of the source, and the wheel carries it."""
    said = re.compile(r"^(__version__|version)\s*=\s*[\"'](.*)[\"']", re.MULTILINE)
    sources = [*CHECKOUT.glob("*.py"), *CHECKOUT.glob("*.toml"), *(CHECKOUT / "autoattach").rglob("*.py")]
    ((_, version),) = [found for path in sources for found in said.findall(path.read_text(encoding="utf-8"))]
    assert metadata(wheel)["Version"] == version
    assert f"\n{version} " in (CHECKOUT / "CHANGELOG.rst").read_text(encoding="utf-8")


def test_metadata(wheel):
    """No runtime dependency; the extras, the licence and the Pythons are declared; types and command are there."""
    found = metadata(wheel)
    assert found["Requires-Python"] == ">=3.8"
    assert found["License"] == "MIT"
    assert all("extra ==" in need for need in found.get_all("Requires-Dist"))
    assert {"vscode", "ptvsd", "pycharm", "test", "dev"} <= set(found.get_all("Provides-Extra"))
    pythons = {value.rpartition(" :: ")[2] for value in found.get_all("Classifier") if "Python :: 3." in value}
    assert pythons == {f"3.{minor}" for minor in range(8, 16)}
    with zipfile.ZipFile(wheel) as archive:
        assert "autoattach/py.typed" in archive.namelist()
        (scripts,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
        assert "autoattach = autoattach.cli:main" in archive.read(scripts).decode()


def test_wheel_holds_the_package_and_the_hook_alone(wheel):
    """Nothing but the package, its metadata and the hook goes to site-packages: no tests."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {re.sub(r"-.*\.", "-*.", top) for top in tops} == {"autoattach", "autoattach-*.dist-info", HOOK}


def test_sdist_holds_all_that_is_ours(sdist):
    """The sdist has the tests, the documentation, the examples, the benchmarks and the other door."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [CHECKOUT / name for name in ("LICENSE", "CHANGELOG.rst", "README.rst", "setup.py", HOOK)]
    for folder in ("tests", "docs", "examples", "benchmarks", "sitecustomize_template"):
        wanted += [path for path in (CHECKOUT / folder).rglob("*") if path.suffix in (".py", ".rst", ".json")]
    assert not {str(path.relative_to(CHECKOUT)) for path in wanted} - held


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode("utf-8"))
