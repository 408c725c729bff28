"""The other door: the sitecustomize template attaches, and is otherwise not there."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import environment

CHECKOUT = Path(__file__).resolve().parents[1]
TEMPLATE = CHECKOUT / "sitecustomize_template" / "sitecustomize.py"

# In place of the package, where only the door is looked at: it says that it was called, once, as the real one acts.
PACKAGE = """
ran = False
def run():
    global ran
    if not ran: print("attached")
    ran = True
"""

HIDDEN = """
import sys
assert vars(sys.modules["sitecustomize"]) is globals(), "not found as sitecustomize"
print("hidden")
"""

# How others find the sitecustomize that they hide. The first two after ddtrace's and newrelic's own, which
# test_real_tools runs; the third is what one is tempted to write.
CHAINING = {
    "ddtrace": """
import os, sys
here = os.path.dirname(__file__)
index = sys.path.index(here)
del sys.path[index]
own = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize
except ImportError:
    if own is not None: sys.modules["sitecustomize"] = own
finally:
    sys.path.insert(index, here)
print("tool")
""",
    "newrelic": """
import os, sys
from importlib.machinery import PathFinder
here = os.path.dirname(__file__)
sys.path.remove(here)
spec = PathFinder.find_spec("sitecustomize", path=sys.path)
if spec is not None:
    spec.loader.load_module("sitecustomize")
assert os.path.dirname is not None and here
print("tool")
""",
    "every entry but mine": """
import os, sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
here = os.path.dirname(__file__)
spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if entry != here])
if spec is not None:
    sys.modules["sitecustomize"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
print("tool")
""",
}


def start(python, *arguments, path=(), limit=20, cwd="/", **env):
    """The finished process of a Python with this PYTHONPATH, and otherwise nothing that steers it."""
    env.update(PYTHONPATH=os.pathsep.join(map(str, path)), PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run(
        [str(python), *arguments],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python without autoattach, or anything else, in its site-packages."""
    folder = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture
def folder(tmp_path):
    """Makes one folder with a sitecustomize of this text, and possibly more files."""

    def make(name, text, **files):
        made = tmp_path / name
        made.mkdir(parents=True)
        (made / "sitecustomize.py").write_text(text)
        for file, content in files.items():
            (made / file).with_suffix(".py").write_text(content)
        return made

    return make


@pytest.fixture
def door(tmp_path):
    """A folder with the template alone."""
    made = tmp_path / "door"
    made.mkdir()
    shutil.copy(TEMPLATE, made)
    return made


@pytest.fixture
def package(tmp_path):
    """A folder with the stand-in for the package, to be put on the path."""
    made = tmp_path / "lib" / "autoattach"
    made.mkdir(parents=True)
    (made / "__init__.py").touch()
    (made / "_bootstrap.py").write_text(PACKAGE)
    return made.parent


ON = {"START_DEBUGGER": "1"}
SHOW = """
import sys
print(sys.path)
print(sorted(name for name in sys.modules if name != "sitecustomize"))
print(sys.meta_path)
print(sorted(vars(sys)))
"""


def test_off_it_is_not_there(bare, door, package):
    """With START_DEBUGGER unset nothing is loaded, and the path and the importers are as they were."""
    without = start(bare, "-c", SHOW, path=[door.parent / "nothing", package]).stdout.replace("/nothing", "/door")
    assert start(bare, "-c", SHOW, path=[door, package]).stdout == without


@pytest.mark.parametrize("value", ["", "0", "false", "No", "OFF"])
def test_off_by_value(value, bare, door, package, folder):
    """A value that means off loads nothing and says nothing; what is hidden runs."""
    path = [door, package, folder("site", HIDDEN)]
    done = start(bare, "-c", "import sys; print('autoattach' in sys.modules)", path=path, START_DEBUGGER=value)
    assert (done.stdout, done.stderr) == ("hidden\nFalse\n", "")
    assert start(bare, "-c", "", path=[door], START_DEBUGGER=value).stderr == ""


def test_on_it_attaches_then_runs_what_it_hides(bare, door, package, folder):
    """It attaches, then runs the sitecustomize it hides, which finds itself under that name, then and later."""
    hidden = folder("site", HIDDEN)
    later = "import sitecustomize; print(sitecustomize.__file__)"
    done = start(bare, "-c", later, path=[door, package, hidden], **ON)
    assert (done.stdout, done.stderr) == (f"attached\nhidden\n{hidden / 'sitecustomize.py'}\n", "")


def test_on_the_program_finds_its_path(bare, door, package):
    """The path and the importers of the program are the same with START_DEBUGGER set."""
    names = re.compile(r", 'autoattach[^']*'|'autoattach[^']*', ")
    on = start(bare, "-c", SHOW, path=[door, package], **ON).stdout
    assert names.sub("", on.replace("attached\n", "")) == start(bare, "-c", SHOW, path=[door, package]).stdout


@pytest.mark.parametrize("value", ["", "1"])
@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "import no_such_module",
        "raise ImportError('mine', name='sitecustomize')",
        "raise ImportError",
        "this is no Python",
        "import sys; sys.path.append('more'); raise ValueError('mine')",
        "import os; os._exit(7)",
        "",
    ],
)
def test_errors_are_shown_as_site_shows_them(text, value, bare, door, package, folder):
    """An error of the hidden sitecustomize gives the same output and status as without us."""
    hidden = folder("site", text)
    program = "import sys; print(sys.path[-1], 'sitecustomize' in sys.modules)"
    without = start(bare, "-c", program, path=[hidden])
    done = start(bare, "-c", program, path=[door, package, hidden], START_DEBUGGER=value)
    assert done.stderr == without.stderr
    assert done.returncode == without.returncode
    assert done.stdout.replace("attached\n", "") == without.stdout


def test_exit_in_what_it_hides(bare, door, folder):
    """SystemExit out of the hidden sitecustomize ends Python as it does without us."""
    hidden = folder("site", "raise SystemExit('mine')")
    without, done = start(bare, "-c", "", path=[hidden]), start(bare, "-c", "", path=[door, hidden])
    assert done.returncode == without.returncode
    assert done.stderr.splitlines()[-1] == without.stderr.splitlines()[-1]


def test_what_it_hides_may_change_the_path(bare, door, package, folder):
    """What the hidden sitecustomize does to sys.path stays done."""
    hidden = folder("site", f"import sys; sys.path.remove({str(door)!r}); sys.path.insert(0, 'mine')")
    done = start(bare, "-c", "import sys; print(sys.path)", path=[door, hidden])
    assert "'mine'" in done.stdout
    assert repr(str(door)) not in done.stdout


def test_what_it_hides_may_import_from_our_folder(bare, door, folder):
    """A hidden sitecustomize imports what lies in the template's own folder: in a --target folder all is together."""
    (door / "tool.py").write_text("print('tool')")
    assert start(bare, "-c", "", path=[door, folder("site", "import tool" + HIDDEN)]).stdout == "tool\nhidden\n"


def test_hidden_package(bare, door, tmp_path):
    """A sitecustomize that is a package runs too; a folder that only has the name is passed over."""
    (tmp_path / "namespace" / "sitecustomize").mkdir(parents=True)
    inside = tmp_path / "site" / "sitecustomize"
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text(HIDDEN)
    path = [door, tmp_path / "namespace", tmp_path / "site"]
    assert start(bare, "-c", "", path=path).stdout == "hidden\n"


@pytest.mark.parametrize("place", ["second copy", "link", "link first", "slash", "relative", "twice"])
def test_more_than_once_on_the_path(place, bare, door, package, folder, tmp_path):
    """Two copies, a link to the folder, the same folder in two spellings: attached once, the hidden one runs once."""
    other = tmp_path / "other"
    if place == "second copy":
        shutil.copytree(door, other)
    else:
        other.symlink_to(door)
    first = {
        "second copy": [door, other],
        "link": [door, other],
        "link first": [other, door],
        "slash": [str(door) + "/", str(door) + "/../door"],
        "relative": ["door"],
        "twice": [door, door, other, door],
    }[place]
    done = start(bare, "-c", "", path=[*first, package, folder("site", HIDDEN)], cwd=tmp_path, **ON)
    assert (done.stdout, done.stderr) == ("attached\nhidden\n", "")


@pytest.mark.parametrize("hidden_in_zip", [False, True])
def test_zip(hidden_in_zip, bare, package, folder, tmp_path):
    """The template works inside a zip, and hides one that is in a zip."""
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.write(TEMPLATE, "door/sitecustomize.py")
        archive.writestr("sitecustomize.py", HIDDEN)
    hidden = bundle if hidden_in_zip else folder("site", HIDDEN)
    done = start(bare, "-c", "", path=[bundle / "door", package, hidden], **ON)
    assert (done.stdout, done.stderr) == ("attached\nhidden\n", "")


@pytest.mark.parametrize("value", ["", "1"])
@pytest.mark.parametrize("order", ["door tool site", "tool door site", "door tool", "tool door", "door copy tool site"])
@pytest.mark.parametrize("how", list(CHAINING))
def test_other_tools_sitecustomize(how, order, value, bare, door, package, folder, tmp_path):
    """Beside a sitecustomize that runs what it hides, in either order, each runs once."""
    if how == "newrelic" and sys.version_info >= (3, 15):
        pytest.skip("this way of loading a module went with Python 3.15")
    shutil.copytree(door, tmp_path / "copy")
    places = {"door": door, "copy": tmp_path / "copy", "tool": folder("tool", CHAINING[how]), "site": ""}
    if "site" in order:
        places["site"] = folder("site", HIDDEN)
    path = [*(places[name] for name in order.split()), package]
    done = start(bare, "-c", "import sitecustomize", path=path, START_DEBUGGER=value)
    expected = ["tool"] + ["attached"] * (value == "1") + ["hidden"] * ("site" in order)
    assert (sorted(done.stdout.split()), done.stderr) == (sorted(expected), "")


TOOLS = {
    "ddtrace": ("ddtrace", "bootstrap"),
    "newrelic": ("newrelic", "bootstrap"),
}


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A Python with the real ddtrace and newrelic, or a skip where they cannot be had."""
    folder = tmp_path_factory.mktemp("tools")
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    installer = ["uv", "pip", "install", "--python", str(python)]  # in a fifth of the time
    if find_spec("uv") is None:
        installer = ["pip", "--python", str(python), "install"]
    done = subprocess.run(
        [sys.executable, "-m", *installer, "-q", "--only-binary", ":all:", *TOOLS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
    )
    if done.returncode:
        pytest.skip("ddtrace and newrelic have no wheels for this Python: " + done.stdout.strip()[-200:])
    return python


@pytest.mark.slow
@pytest.mark.parametrize("order", ["door tool site", "tool door site", "door other tool site", "tool other door site"])
@pytest.mark.parametrize("tool", list(TOOLS))
def test_real_tools(tool, order, tools, door, package, folder):
    """Beside the real ddtrace and newrelic, in either order: attached once, the hidden sitecustomize runs once."""
    if tool == "newrelic" or "other" in order:
        ask = "import importlib.machinery as m; print(hasattr(m.SourceFileLoader, 'load_module'))"
        if start(tools, "-c", ask).stdout.strip() != "True":
            pytest.skip("newrelic cannot load what it hides on this Python")
    where = start(tools, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    places = {name: Path(where, *parts) for name, parts in TOOLS.items()}
    places.update(door=door, site=folder("site", HIDDEN), tool=places[tool])
    places["other"] = places[(set(TOOLS) - {tool}).pop()]
    version = start(tools, "-c", "import sys; print(sys.prefix, '%d.%d' % sys.version_info[:2])").stdout.split()
    done = start(
        tools,
        "-c",
        "import sys; print('ddtrace' in sys.modules, 'the end')",
        path=[*(places[name] for name in order.split()), package],
        DD_TRACE_ENABLED="false",
        DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
        DD_REMOTE_CONFIGURATION_ENABLED="false",
        NEW_RELIC_STARTUP_DEBUG="on",
        NEW_RELIC_PYTHON_PREFIX=str(Path(version[0]).resolve()),
        NEW_RELIC_PYTHON_VERSION=version[1],
        **ON,
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("NEWRELIC")]
    ran = {"ddtrace": "True the end" in said, "newrelic": "New Relic Bootstrap" in done.stdout}
    assert ran == {name: name == tool or "other" in order for name in TOOLS}
    assert said[:-1] == ["attached", "hidden"], done.stdout + done.stderr
    assert "Error" not in done.stderr, done.stderr


def test_without_the_package_one_line(bare, door, folder):
    """Where autoattach cannot be found: one line that says what to type, and the program is as ever."""
    done = start(bare, "-c", "print('ran'); exit(3)", path=[door, folder("site", HIDDEN)], **ON)
    assert (done.stdout, done.returncode) == ("hidden\nran\n", 3)
    assert re.match(r"autoattach\[\d+\]: .*No module named.*type: .*pip install autoattach.*\n\Z", done.stderr)


def test_without_the_package_one_line_from_many_copies(bare, door, folder, tmp_path):
    """However often the template is run, the line is said once."""
    shutil.copytree(door, tmp_path / "copy")
    tool = folder("tool", CHAINING["ddtrace"])
    done = start(bare, "-c", "", path=[door, tmp_path / "copy", tool, folder("site", HIDDEN)], **ON)
    assert done.stderr.count("\n") == 1


def test_broken_package_is_one_line(bare, door, package):
    """A package that cannot be loaded, for whatever reason, is one line too."""
    (package / "autoattach" / "_bootstrap.py").write_text("this is no Python")
    done = start(bare, "-c", "print('ran')", path=[door, package], **ON)
    assert done.stdout == "ran\n"
    assert re.match(r"autoattach\[\d+\]: .*SyntaxError.*\n\Z", done.stderr)


def test_without_the_package_and_without_stderr(bare, door):
    """With stderr closed the program runs all the same."""
    command = 'exec "$0" -c "print(1)" 2>&-'
    done = start("sh", "-c", command, str(bare), path=[door], **ON)
    assert (done.stdout, done.returncode) == ("1\n", 0)


@pytest.mark.parametrize("debugger", ["debugpy", None])
def test_package_beside_the_template(debugger, bare, package):
    """The package is found in the folder above the template's. That joins the path only where a debugger lies in it."""
    (package / "sub").mkdir()
    shutil.copy(TEMPLATE, package / "sub")
    if debugger:
        (package / debugger).mkdir()
    done = start(bare, "-c", "import sys; print(sys.path[-1])", path=[package / "sub"], **ON)
    attached, last = done.stdout.splitlines()
    assert (attached, done.stderr) == ("attached", "")
    assert (last == str(package)) == bool(debugger)


def test_a_folder_of_the_same_name_is_not_the_package(bare, package, tmp_path):
    """A folder called autoattach, a clone of the project on the path, does not stand in the way."""
    (tmp_path / "src" / "autoattach").mkdir(parents=True)
    (package / "sub").mkdir()
    shutil.copy(TEMPLATE, package / "sub")
    done = start(bare, "-c", "", path=[package / "sub", tmp_path / "src"], **ON)
    assert (done.stdout, done.stderr) == ("attached\n", "")


BAD = {"START_DEBUGGER": "1", "DEBUGGER_IDE": "no-such-ide"}
ONE_LINE = r"autoattach\[\d+\]: .*no-such-ide.*\n\Z"


def test_checkout(bare):
    """The template of a checkout runs the checkout's autoattach where none is installed."""
    done = start(bare, "-c", "print('ran')", path=[TEMPLATE.parent], **BAD)
    assert done.stdout == "ran\n"
    assert re.match(ONE_LINE, done.stderr), done.stderr


def test_target_folder(bare, door):
    """In the folder that `pip install --target` makes, the template runs the package that lies there."""
    # What pip puts there: the installed package, without a hook that Python would read.
    import autoattach

    shutil.copytree(os.path.dirname(autoattach.__file__), door / "autoattach")
    done = start(bare, "-c", "print('ran')", path=[door], **BAD)
    assert done.stdout == "ran\n"
    assert re.match(ONE_LINE, done.stderr), done.stderr


def test_both_doors_attach_once(door):
    """Where the hook is installed and the template is on the path too, there is one attempt."""
    if not Path(sysconfig.get_path("purelib"), "autoattach.pth").exists():
        pytest.skip("autoattach is not installed here")
    done = start(sys.executable, "-c", "print('ran')", path=[door], **BAD)
    assert done.stdout == "ran\n"
    assert re.match(ONE_LINE, done.stderr), done.stderr
