"""Breakpoints in files that the IDE knows by another path: found here, or the IDE is told why not."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from support import LIMIT, Program, has, needs, write

from autoattach._settings import Settings
from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server
from autoattach.debuggers import _places
from autoattach.debuggers._latecomers import Latecomers
from autoattach.debuggers._paths import Answer, Candidate, find, kind_of, setting
from autoattach.debuggers._paths_dap import NOT_FOUND

Run = Callable[..., Program]

# --- which file it is, from paths alone


def own(*paths: str) -> list[Candidate]:
    """Files that the program imports from /srv/app."""
    return [Candidate(path, "/srv/app") for path in paths]


SITE = "/usr/lib/python3.11/site-packages"
SURE = [
    # what the IDE calls it, what there is, and the folders that are the same
    ("/home/me/project/app.py", own("/srv/app/app.py"), ("/srv/app/app.py", "/home/me/project", "/srv/app")),
    ("/home/me/project/pkg/mod.py", own("/srv/app/pkg/mod.py"), ("/srv/app/pkg/mod.py", "/home/me/project", "/srv/app")),
    # the same name, another tail
    ("/p/blog/models.py", own("/srv/app/shop/models.py", "/srv/app/blog/models.py"), ("/srv/app/blog/models.py", "/p", "/srv/app")),
    ("/p/a/__init__.py", own("/srv/app/b/__init__.py", "/srv/app/a/__init__.py"), ("/srv/app/a/__init__.py", "/p", "/srv/app")),
    # more of the tail is the same than the program needs: its own folder is still the one that is named
    ("/home/app/pkg/mod.py", own("/srv/app/pkg/mod.py"), ("/srv/app/pkg/mod.py", "/home/app", "/srv/app")),
    # app.py twice: the one that lies in the program's folder
    ("/p/app.py", own("/srv/app/app.py", "/srv/app/sub/app.py"), ("/srv/app/app.py", "/p", "/srv/app")),
    ("/p/sub/app.py", own("/srv/app/app.py", "/srv/app/sub/app.py"), ("/srv/app/sub/app.py", "/p", "/srv/app")),
    # not a path that it is imported by, but a folder and the name
    ("/p/api/views.py", own("/srv/app/services/api/views.py"), ("/srv/app/services/api/views.py", "/p", "/srv/app/services")),
    # Windows, also in another case
    ("C:\\Users\\me\\proj\\pkg\\mod.py", own("/srv/app/pkg/mod.py"), ("/srv/app/pkg/mod.py", "C:\\Users\\me\\proj", "/srv/app")),
    ("c:/users/me/proj/PKG/Mod.py", own("/srv/app/pkg/mod.py"), ("/srv/app/pkg/mod.py", "c:/users/me/proj", "/srv/app")),
    ("\\\\server\\share\\pkg\\mod.py", own("/srv/app/pkg/mod.py"), ("/srv/app/pkg/mod.py", "\\\\server\\share", "/srv/app")),
    ("/p/pkg/mod.py", [Candidate("D:\\srv\\pkg\\mod.py", "D:\\srv")], ("D:\\srv\\pkg\\mod.py", "/p", "D:\\srv")),
    # pip install . : the package alone is mapped, not what else is installed there
    ("/p/src/pkg/a/mod.py", [Candidate(f"{SITE}/pkg/a/mod.py", SITE, "site")], (f"{SITE}/pkg/a/mod.py", "/p/src/pkg", f"{SITE}/pkg")),
    ("/p/pkg/mod.py", [*own("/srv/app/x/mod.py"), Candidate(f"{SITE}/pkg/mod.py", SITE, "site")], (f"{SITE}/pkg/mod.py", "/p/pkg", f"{SITE}/pkg")),
    # what is installed on both sides
    ("/v/lib/python3.9/site-packages/p/m.py", [*own("/srv/app/p/m.py"), Candidate(f"{SITE}/p/m.py", SITE, "site")],
     (f"{SITE}/p/m.py", "/v/lib/python3.9/site-packages", SITE)),
    # a whole disk is never mapped
    ("/w/app/mod.py", [Candidate("/app/mod.py", "/app")], ("/app/mod.py", "/w/app", "/app")),
    ("/p/app/mod.py", [Candidate("/app/mod.py", "/")], ("/app/mod.py", "/p/app", "/app")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "there", "found"), SURE, ids=[f"{row[0]}-{number}" for number, row in enumerate(SURE)]
)
def test_the_file_with_the_longest_common_tail_is_the_one(path: str, there: list[Candidate], found: tuple[str]) -> None:
    """The file whose path ends most like the IDE's is the one, and the folders above that tail are the same."""
    assert find(path, there) == Answer(*found)


UNSURE = [
    ("/p/pkg/mod.py", [], []),
    ("/p/pkg/mod.py", own("/srv/app/pkg/model.py", "/srv/app/pkg/amod.py"), []),
    # the folder is not there: another application's models.py is not it
    ("/p/blog/models.py", own("/srv/app/shop/models.py"), ["/srv/app/shop/models.py"]),
    ("/p/blog/models.py", own("/srv/app/shop/models.py", "/srv/app/x/models.py"), ["/srv/app/shop/models.py", "/srv/app/x/models.py"]),
    # every package has one
    ("/p/a/__init__.py", own("/srv/app/b/__init__.py"), []),
    ("/p/app.py", own("/srv/app/a/app.py", "/srv/app/b/app.py"), ["/srv/app/a/app.py", "/srv/app/b/app.py"]),
    ("/p/web/app.py", own("/srv/app/a/web/app.py", "/srv/app/b/web/app.py"), ["/srv/app/a/web/app.py", "/srv/app/b/web/app.py"]),
    # the case matters, but for an IDE on Windows
    ("/p/pkg/Mod.py", own("/srv/app/pkg/mod.py"), []),
    # the standard library's, and a single module that is installed, are not the user's
    ("/p/json/decoder.py", [Candidate("/usr/lib/python3.11/json/decoder.py", "/usr/lib/python3.11", "std")], []),
    ("/p/six.py", [Candidate(f"{SITE}/six.py", SITE, "site")], []),
    ("/v/lib/python3.9/site-packages/p/m.py", own("/srv/app/p/m.py"), []),
    # the tail is the whole path
    ("/app.py", own("/srv/app/app.py"), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "there", "likely"), UNSURE, ids=[f"{row[0]}-{number}" for number, row in enumerate(UNSURE)]
)
def test_what_is_not_sure_is_not_used(path: str, there: list[Candidate], likely: list[str]) -> None:
    """A file that is only like the IDE's, or one of several, is not taken for it; those that it may be are named."""
    answer = find(path, there)
    assert (answer.here, [one[0] for one in answer.likely]) == ("", likely)


def test_the_content_decides_where_it_is_known() -> None:
    """Of files that are as good as each other the one with the IDE's content is it; one with another content never is."""
    both = own("/srv/app/a/app.py", "/srv/app/b/app.py")
    assert find("/p/app.py", both, lambda here: "/b/" in here).here == "/srv/app/b/app.py"
    assert (
        find("/p/blog/models.py", own("/srv/app/shop/models.py"), lambda here: True).here == "/srv/app/shop/models.py"
    )
    answer = find("/p/app.py", own("/srv/app/app.py"), lambda here: False)
    assert (answer.here, answer.differs, len(answer.likely)) == ("", True, 1)


def test_one_file_by_two_names_is_one() -> None:
    """A file that is reached by a symbolic link as well counts once; where a walk was cut short, less is sure."""
    both = own("/srv/app/x/a/app.py", "/srv/app/y/a/app.py")
    assert find("/p/a/app.py", both, real=lambda path: "same").here == "/srv/app/x/a/app.py"
    assert find("/p/a/app.py", both[:1], complete=False).here == ""
    assert find("/p/app.py", own("/srv/app/app.py"), complete=False).here == "/srv/app/app.py"


def test_the_setting_that_is_shown_is_understood() -> None:
    """The DEBUGGER_PATH_MAPPINGS that a line shows can be pasted into a shell, and reads as those folders."""
    pairs = (("C:\\Users\\me\\my proj", "/srv/app"), ("/a", "/b"))
    text = setting(pairs)
    assert text == "DEBUGGER_PATH_MAPPINGS='C:\\Users\\me\\my proj=/srv/app,/a=/b'"
    assert Settings.from_environ({"DEBUGGER_PATH_MAPPINGS": text.partition("=")[2].strip("'")}).path_mappings == pairs
    assert setting(pairs[1:]) == "DEBUGGER_PATH_MAPPINGS=/a=/b"


# --- where it is looked for


def test_a_walk_skips_what_is_not_the_programs_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden folders, node_modules, environments and links are not walked, and neither is more than some thousand files."""
    for folder in ("pkg", ".git", "node_modules/x", "lib/site-packages", "env/lib", "pkg/__pycache__"):
        write(tmp_path, f"{folder}/mod.py", "")
    write(tmp_path, "env/pyvenv.cfg", "")
    (tmp_path / "link").symlink_to(tmp_path / "pkg")
    index, complete = _places.walk((str(tmp_path), str(tmp_path / "pkg")))
    assert [one.path for one in index["mod.py"]] == [str(tmp_path / "pkg" / "mod.py")]
    assert complete
    monkeypatch.setattr(_places, "ENTRIES", 3)
    assert not _places.walk((str(tmp_path),))[1]


def test_a_module_tells_its_root(tmp_path: Path) -> None:
    """From a module's name and file follows the folder that it is imported from."""
    for name, file, root in (
        ("a.b.c", "/r/a/b/c.py", "/r"),
        ("a.b", "/r/a/b/__init__.py", "/r"),
        ("c", "/r/c.py", "/r"),
        ("__main__", "/r/x/app.py", "/r/x"),
    ):
        assert _places.of_module(name, file).root == root
    assert [kind_of(path) for path in (SITE + "/x.py", "/usr/lib/python3.11/json.py", "/srv/x.py")] == [
        "site",
        "std",
        "",
    ]


def test_looking_at_modules_does_not_wake_those_that_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is loaded when it is first used stays unloaded, and whatever else is in sys.modules does no harm."""
    import types

    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "lazy", Lazy("lazy"))
    monkeypatch.setitem(sys.modules, "odd", object())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "none", None)  # type: ignore[arg-type]
    assert any(one.path == _places.__file__ for one in _places.loaded("_places.py", False))


@pytest.mark.parametrize("algorithm", ["MD5", "SHA1", "SHA256", "timestamp"])
def test_checksums_and_lines(tmp_path: Path, algorithm: str) -> None:
    """The IDE's checksum says whether a file is the same; without one that is known, too few lines say that it is not."""
    path = write(tmp_path, "a.py", "x = 1\ny = 2\n")
    digest = hashlib.new(algorithm.lower(), path.read_bytes()).hexdigest() if algorithm != "timestamp" else "1"
    known = algorithm != "timestamp" or None
    assert _places.has_content(str(path), 1, [{"algorithm": algorithm, "checksum": digest.upper()}]) is known
    assert _places.has_content(str(path), 1, [{"algorithm": algorithm, "checksum": "0"}]) is (False if known else None)
    assert _places.has_content(str(path), 3, []) is None
    assert _places.has_content(str(path), 4, []) is False
    assert _places.has_content(str(tmp_path / "no"), 4, []) is None


# --- with debuggers

HIT = """
def double(x):
    y = 2 * x  # breakpoint
    return y
"""


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    """A program in srv/app, with a package."""
    app = tmp_path / "srv" / "app"
    write(app, "main.py", "import pkg.mod\nprint(pkg.mod.double(21))\n")
    write(app, "pkg/__init__.py", "")
    write(app, "pkg/mod.py", HIT)
    return app


DAP = [name for name in ("debugpy", "ptvsd") if has(name)]


def inferred(program: Program) -> list[str]:
    return [line for line in program.ours if line.startswith("the IDE's ")]


class Ide:
    """An IDE of either kind on a program: paths with lines, and where it stops."""

    def __init__(self, run: Run, port: int, debugger: str, *command: object, **env: Any) -> None:
        self.debugger = debugger
        self.session: Any
        if debugger == "pydevd-pycharm":
            self.server: Server | None = Server(port=port)
            self.program = run(*command, DEBUGGER_IDE=debugger, **env)
            self.session = self.server.accept(LIMIT)
        else:
            self.server = None
            self.program = run(*command, DEBUGGER_IDE=debugger, DEBUGGER_WAIT=LIMIT, **env)
            self.session = Client.connect("127.0.0.1", port, LIMIT)

    def start(self, breakpoints: dict[str, list[int]], **more: Any) -> None:
        if self.server:
            self.session.start(breakpoints)
        else:
            self.session.attach(breakpoints, **more)

    def stop(self) -> tuple[str, int]:
        """Where it stops next."""
        if self.server:
            stop = self.session.wait_stopped(LIMIT)
            return stop.file, stop.line
        self.thread = self.session.wait_stopped(LIMIT)
        frame = self.session.stack(self.thread)[0]
        return frame["source"]["path"], frame["line"]

    def resume(self) -> None:
        if self.server:
            self.session.resume()
        else:
            self.session.continue_(self.thread)

    def close(self) -> None:
        self.session.close()
        if self.server:
            self.server.close()


@pytest.fixture
def ide(run: Run, port: int) -> Iterator[Callable[..., Ide]]:
    opened = []

    def start(debugger: str, *command: object, **env: Any) -> Ide:
        opened.append(Ide(run, port, debugger, *command, **env))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


every_debugger = pytest.mark.parametrize("debugger", [*DAP, *(["pydevd-pycharm"] if has("pydevd-pycharm") else [])])
every_dap = pytest.mark.parametrize("debugger", DAP)
SOMEWHERE = "/home/me/project"


@every_debugger
def test_a_breakpoint_by_the_ides_path_is_hit(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """A breakpoint in /home/me/project/pkg/mod.py is hit in srv/app/pkg/mod.py, the frame has the IDE's path, and one
    line on stderr says so, with the variable that makes it permanent."""
    there = ide(debugger, srv / "main.py")
    there.start({f"{SOMEWHERE}/pkg/mod.py": [2], f"{SOMEWHERE}/main.py": [2]})
    assert there.stop() == (f"{SOMEWHERE}/main.py", 2)
    there.resume()
    assert there.stop() == (f"{SOMEWHERE}/pkg/mod.py", 2)
    there.resume()
    assert there.program.wait() == 0
    assert there.program.stdout == "42\n"
    assert inferred(there.program) == [
        f"the IDE's {SOMEWHERE} is {srv} here, going by pkg/mod.py; to make it so for good: "
        f"DEBUGGER_PATH_MAPPINGS={SOMEWHERE}={srv}"
    ]
    if debugger != "pydevd-pycharm":
        assert [one["verified"] for one in there.session.breakpoints] == [True, True]


@every_debugger
def test_a_path_of_windows(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """The IDE may run on Windows, and may spell the path in another case."""
    there = ide(debugger, srv / "main.py")
    there.start({r"C:\Users\me\proj\PKG\Mod.py": [2], r"c:\users\me\proj\main.py": [2]})
    file, line = there.stop()
    assert (file.lower(), line) == (r"c:\users\me\proj\main.py", 2)
    there.resume()
    file, line = there.stop()
    assert (file.lower(), line) == (r"c:\users\me\proj\pkg\mod.py", 2)
    there.resume()
    assert there.program.wait() == 0


@every_debugger
def test_a_folder_that_is_a_link(ide: Callable[..., Ide], srv: Path, tmp_path: Path, debugger: str) -> None:
    """The program's folder may be a symbolic link, as `current` in a deployment."""
    (tmp_path / "current").symlink_to(srv)
    there = ide(debugger, tmp_path / "current" / "main.py")
    there.start({f"{SOMEWHERE}/pkg/mod.py": [2]})
    assert there.stop() == (f"{SOMEWHERE}/pkg/mod.py", 2)
    there.resume()
    assert there.program.wait() == 0
    assert len(inferred(there.program)) == 1


@needs("debugpy")
def test_a_program_that_runs_and_a_second_client(ide: Callable[..., Ide], srv: Path, port: int) -> None:
    """Whoever attaches later, to a program that runs, has the files found as well; it is said once for the process."""
    write(
        srv,
        "main.py",
        "import os, time, pkg.mod\nwhile not os.path.exists('stop'):\n    pkg.mod.double(1)\n    time.sleep(0.01)\n",
    )
    there = ide("debugpy", srv / "main.py")
    there.start({})
    leave_from_a_stop(there)
    with Client.connect("127.0.0.1", port, LIMIT) as client:
        client.attach({f"{SOMEWHERE}/pkg/mod.py": [2]})
        thread = client.wait_stopped(LIMIT)
        assert client.stack(thread)[0]["source"]["path"] == f"{SOMEWHERE}/pkg/mod.py"
        client.request("disconnect")
    (there.program.folder / "stop").touch()
    assert there.program.wait() == 0
    assert len(inferred(there.program)) == 1


def leave_from_a_stop(there: Ide) -> None:
    """The client sets a breakpoint, stops there, and goes."""
    there.session.set_breakpoints(f"{SOMEWHERE}/pkg/mod.py", [2])
    assert there.stop() == (f"{SOMEWHERE}/pkg/mod.py", 2)
    there.session.request("disconnect")
    there.session.close()


def reasons(there: Ide, path: str) -> str:
    """Why the breakpoints in this file are not hit: at the breakpoint or, where the IDE has no place for that there, in
    its console, and on stderr."""
    if there.server:
        reason = next((line for line in there.program.ours if path in line), "")
        there.session.wait_output(f"autoattach: {reason}\n", "stderr", LIMIT)
        assert there.session.output("stderr").count(f"autoattach: {reason}\n") == 1
        return reason
    assert not there.session.breakpoints[0]["verified"]
    return str(there.session.breakpoints[0]["message"])


@every_debugger
def test_ambiguous(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """Where two files could be it, none is used, and the IDE is told which, and what to set."""
    for name in ("a", "b"):
        write(srv, f"{name}/web/views.py", HIT)
    there = ide(debugger, srv / "main.py")
    there.start({f"{SOMEWHERE}/web/views.py": [2]})
    assert there.program.wait() == 0
    text = reasons(there, f"{SOMEWHERE}/web/views.py")
    assert str(srv / "a/web/views.py") in text
    assert str(srv / "b/web/views.py") in text
    assert f"DEBUGGER_PATH_MAPPINGS={SOMEWHERE}={srv}/" in text
    assert not inferred(there.program)


@every_debugger
def test_absent(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """Where no file here is like it the IDE is told so, and the program runs on."""
    there = ide(debugger, srv / "main.py")
    there.start({f"{SOMEWHERE}/other/thing.py": [2]})
    assert there.program.wait() == 0
    text = reasons(there, f"{SOMEWHERE}/other/thing.py")
    assert text.startswith(f"no file here is like {SOMEWHERE}/other/thing.py; set DEBUGGER_PATH_MAPPINGS=")
    assert not inferred(there.program)


@every_debugger
def test_the_variable_wins(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """A folder that DEBUGGER_PATH_MAPPINGS maps is not looked for elsewhere, also where nothing is there."""
    there = ide(debugger, srv / "main.py", DEBUGGER_PATH_MAPPINGS=f"{SOMEWHERE}={srv}/nowhere")
    there.start({f"{SOMEWHERE}/pkg/mod.py": [2]})
    assert there.program.wait() == 0
    text = reasons(there, f"{SOMEWHERE}/pkg/mod.py")
    assert f"mapped to {srv}/nowhere/pkg/mod.py, which is not here" in text
    assert f"DEBUGGER_PATH_MAPPINGS={SOMEWHERE}={srv}" in text
    assert not inferred(there.program)


@every_dap
def test_the_ides_mappings_win(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """The mappings of the attach request are used as they are, and so is what they map."""
    write(srv, "copy/mod.py", HIT)
    write(srv, "main.py", "import copy_of, pkg.mod\nprint(copy_of.double(1))\n")
    write(srv, "copy_of.py", HIT)
    there = ide(debugger, srv / "main.py")
    there.start({"/ide/copy_of.py": [2], "/ide/pkg/no.py": [2]}, path_mappings={"/ide": str(srv)})
    assert there.stop() == ("/ide/copy_of.py", 2)
    there.resume()
    assert there.program.wait() == 0
    assert "is mapped to" in there.session.breakpoints[1]["message"]
    assert not inferred(there.program)


@every_dap
def test_a_mapping_of_a_folder_to_itself_is_none(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """VS Code maps its folder to itself when launch.json maps nothing and the host is localhost: if that folder is not
    here, the mappings of the variable count, and files are looked for."""
    there = ide(debugger, srv / "main.py", DEBUGGER_PATH_MAPPINGS=f"/other={srv}/pkg")
    there.start({f"{SOMEWHERE}/main.py": [2], "/other/mod.py": [2]}, path_mappings={SOMEWHERE: SOMEWHERE})
    assert there.stop() == (f"{SOMEWHERE}/main.py", 2)
    there.resume()
    assert there.stop() == ("/other/mod.py", 2)
    there.resume()
    assert there.program.wait() == 0


@every_debugger
def test_what_is_here_is_never_remapped(ide: Callable[..., Ide], srv: Path, tmp_path: Path, debugger: str) -> None:
    """A breakpoint in a file that exists here is in that file, also where a folder whose name begins alike is another's;
    and a folder that is here is never taken for another, as that of a file which was deleted."""
    local = tmp_path / "home"
    write(local, "pkg2/mod.py", HIT)
    code = f"import sys\nimport pkg.mod\npkg.mod.double(1)\nsys.path.insert(0, {str(local)!r})\nimport pkg2.mod\npkg2.mod.double(1)\n"
    write(srv, "main.py", code)
    write(srv, "pkg2/mod.py", HIT)
    there = ide(debugger, srv / "main.py")
    there.start({f"{local}/main.py": [1], f"{tmp_path}/ho/pkg/mod.py": [2], f"{local}/pkg2/mod.py": [2]})
    assert there.stop() == (f"{tmp_path}/ho/pkg/mod.py", 2)
    there.resume()
    assert there.stop() == (f"{local}/pkg2/mod.py", 2)
    there.resume()
    assert there.program.wait() == 0
    assert f"may be {srv}/main.py here, but that is not sure" in reasons(there, f"{local}/main.py")


@every_debugger
def test_two_files_of_the_ides_for_one_here(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """Where two folders of the IDE's fit one here, it is neither's: the first loses its breakpoint, and both are told."""
    there = ide(debugger, srv / "main.py")
    there.start({"/mono/one/pkg/mod.py": [2], "/mono/two/pkg/mod.py": [2]})
    assert there.program.wait() == 0
    assert any("may not be" in line for line in there.program.ours)
    if debugger == "pydevd-pycharm":
        assert "/mono/one" in reasons(there, "/mono/two/pkg/mod.py and")
        return
    assert [one["verified"] for one in there.session.breakpoints] == [True, False]
    assert "/mono/one" in there.session.breakpoints[1]["message"]
    if debugger == "debugpy":
        changed = there.session.wait_event("breakpoint", lambda body: not body["breakpoint"]["verified"])["breakpoint"]
        assert changed["id"] == there.session.breakpoints[0]["id"]
        assert "/mono/two" in changed["message"]


@every_debugger
def test_a_module_that_is_loaded_later_from_elsewhere(
    ide: Callable[..., Ide], srv: Path, tmp_path_factory: pytest.TempPathFactory, debugger: str
) -> None:
    """A file in a folder that the program puts into sys.path later is found as its module is imported."""
    plugins = tmp_path_factory.mktemp("plugins")
    write(plugins, "extra/tool.py", HIT)
    write(
        srv,
        "main.py",
        f"import sys\nbefore = list(sys.meta_path)\nsys.path.append({str(plugins)!r})\nimport extra.tool\n"
        "print(extra.tool.double(4), len(before) - len(sys.meta_path))\n",
    )
    there = ide(debugger, srv / "main.py")
    there.start({f"{SOMEWHERE}/extra/tool.py": [2]})
    assert there.stop() == (f"{SOMEWHERE}/extra/tool.py", 2)
    there.resume()
    assert there.program.wait() == 0
    assert there.program.stdout == "8 1\n"
    if debugger == "debugpy":
        changed = there.session.wait_event("breakpoint", lambda body: body["breakpoint"]["verified"])["breakpoint"]
        assert changed["id"] == there.session.breakpoints[0]["id"]


@every_dap
def test_the_checksum_of_the_ide_decides(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """Where the client sends checksums, a file with another content is not used, and of two the one that is the same."""
    write(srv, "a/mod.py", HIT.replace("double", "triple"))
    there = ide(debugger, srv / "main.py")
    digest = hashlib.sha256((srv / "pkg" / "mod.py").read_bytes()).hexdigest()
    answers = []

    def set_breakpoints(path: str, lines: list[int]) -> list[Any]:
        checksum = digest if path.endswith("good/mod.py") else "0"
        source = {"path": path, "checksums": [{"algorithm": "SHA256", "checksum": checksum}]}
        arguments = {"source": source, "breakpoints": [{"line": line} for line in lines]}
        answers.append(there.session.request("setBreakpoints", arguments)["breakpoints"][0])
        return [answers[-1]]

    there.session.set_breakpoints = set_breakpoints
    there.start({f"{SOMEWHERE}/pkg/mod.py": [2], f"{SOMEWHERE}/good/mod.py": [2]})
    assert there.stop() == (f"{SOMEWHERE}/good/mod.py", 2)
    there.resume()
    assert there.program.wait() == 0
    assert "is another version than" in answers[0]["message"]


@needs("debugpy")
def test_children_find_theirs(ide: Callable[..., Ide], srv: Path) -> None:
    """A child that debugpy follows finds the files for itself; a fork has its parent's."""
    write(
        srv,
        "main.py",
        """
        import os, subprocess, sys
        import pkg.mod
        subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), "child.py")], check=True)
        if os.fork() == 0:
            pkg.mod.double(2)
            os._exit(0)
        os.wait()
        """,
    )
    write(srv, "child.py", "import pkg.mod\npkg.mod.double(1)\n")
    there = ide("debugpy", srv / "main.py")
    wanted = {f"{SOMEWHERE}/pkg/mod.py": [2]}
    there.start(wanted)
    for _ in range(2):
        with there.session.child(breakpoints=wanted) as child:
            thread = child.wait_stopped(LIMIT)
            assert child.stack(thread)[0]["source"]["path"] == f"{SOMEWHERE}/pkg/mod.py"
            child.continue_(thread)
            child.wait_event("terminated", timeout=LIMIT)
    assert there.program.wait() == 0
    assert len(inferred(there.program)) == 2  # the program, and the child


@needs("debugpy")
def test_a_childs_mappings_are_the_variables(ide: Callable[..., Ide], srv: Path) -> None:
    """DEBUGGER_PATH_MAPPINGS holds in a child that debugpy follows, too."""
    write(srv, "main.py", "import subprocess, sys\nsubprocess.run([sys.executable, sys.path[0] + '/child.py'])\n")
    write(srv, "child.py", "import pkg.mod\npkg.mod.double(1)\n")
    there = ide("debugpy", srv / "main.py", DEBUGGER_PATH_MAPPINGS=f"/quite/other={srv}/pkg")
    there.start({})
    with there.session.child(breakpoints={"/quite/other/mod.py": [2]}) as child:
        thread = child.wait_stopped(LIMIT)
        assert child.stack(thread)[0]["source"]["path"] == "/quite/other/mod.py"
        child.continue_(thread)
    assert there.program.wait() == 0
    assert not inferred(there.program)


@every_dap
def test_a_big_program_is_searched_at_once(ide: Callable[..., Ide], srv: Path, debugger: str) -> None:
    """With 2000 modules loaded and as many files, a breakpoint is set in a moment, found or not."""
    for number in range(2000):
        write(srv, f"big/m{number}.py", "")
    write(
        srv,
        "main.py",
        "import importlib, time\nfor number in range(2000): importlib.import_module(f'big.m{number}')\n"
        "print('loaded', flush=True)\nwhile True: time.sleep(0.01)\n",
    )
    there = ide(debugger, srv / "main.py")
    there.start({})
    there.program.wait_for("loaded", "stdout")
    took = {}
    for path in (
        str(srv / "main.py"),
        "/p/no/such.py",
        "/p/no/such2.py",
        f"{SOMEWHERE}/big/m7.py",
        f"{SOMEWHERE}/big/m8.py",
    ):
        begin = time.monotonic()
        there.session.set_breakpoints(path, [1])
        took[path] = time.monotonic() - begin
    print({path: round(seconds, 4) for path, seconds in took.items()})
    assert max(took.values()) < 5


# --- what each patch is for


@needs("debugpy")
def test_a_breakpoint_in_an_unknown_path_still_needs_us(tmp_path: Path, srv: Path) -> None:
    """debugpy alone says "Breakpoint in file that does not exist." and does not stop. When this fails, upstream has
    learnt it."""
    with Client.listen(sys.executable) as client:
        options = ["-Xfrozen_modules=off"] if sys.version_info >= (3, 11) else []
        address = "{}:{}".format(*client.address)
        with Program(tmp_path, *options, "-m", "debugpy", "--connect", address, srv / "main.py") as program:
            client.attach({f"{SOMEWHERE}/pkg/mod.py": [2]})
            assert program.wait() == 0
            assert client.breakpoints[0]["message"] == NOT_FOUND


@needs("pydevd-pycharm")
def test_a_breakpoint_in_an_unknown_path_still_needs_us_with_pycharm(tmp_path: Path, srv: Path) -> None:
    """pydevd-pycharm alone says that the file does not exist and does not stop. When this fails, upstream has learnt it."""
    with Server() as server:
        code = f"import pydevd_pycharm\npydevd_pycharm.settrace('127.0.0.1', port={server.port}, suspend=False)\n"
        write(srv, "alone.py", code + "import pkg.mod\nprint(pkg.mod.double(21))\n")
        with Program(tmp_path, srv / "alone.py") as program:
            server.accept(LIMIT).start({f"{SOMEWHERE}/pkg/mod.py": [2]})
            assert program.wait() == 0
            assert "to file that does not exist" in program.stderr


def test_latecomers_are_taken_out_again() -> None:
    """Nothing of ours is in sys.meta_path where no breakpoint waits for a module."""
    before = list(sys.meta_path)
    seen: list[Any] = []
    late = Latecomers(seen.append)
    late.want("/p/colorsys.py")
    late.want("/p/pkg/__init__.py")
    late.want("/p/templates/a.html")
    assert sys.meta_path == [late, *before]
    sys.modules.pop("colorsys", None)
    __import__("colorsys")
    assert [os.path.basename(one.path) for one in seen] == ["colorsys.py"]
    late.end()
    assert sys.meta_path == before


@needs("debugpy")
def test_a_detach_takes_it_all_back(ide: Callable[..., Ide], srv: Path) -> None:
    """After detach() nothing of it is left in pydevd or in sys.meta_path, and the next client has it anew."""
    write(
        srv,
        "main.py",
        """
        import sys
        import autoattach
        import pkg.mod
        pkg.mod.double(1)
        autoattach.detach()
        import pydevd_file_utils as utils
        from _pydevd_bundle.pydevd_process_net_command_json import PyDevJsonCommandProcessor as processor
        print([one for one in (utils.setup_client_server_paths, utils.map_file_to_server,
                               utils.error_once, processor.on_setbreakpoints_request)
               if one.__module__.startswith("autoattach")],
              [one for one in sys.meta_path if type(one).__module__.startswith("autoattach")],
              utils._last_client_server_paths_set)
        """,
    )
    there = ide("debugpy", srv / "main.py")
    there.start({f"{SOMEWHERE}/pkg/mod.py": [2], f"{SOMEWHERE}/not/here.py": [1]})
    assert there.stop() == (f"{SOMEWHERE}/pkg/mod.py", 2)
    there.resume()
    assert there.program.wait() == 0, there.program.dump()
    assert there.program.stdout == "[] [] []\n"
