"""`autoattach config`: what is printed attaches when pasted, and what is written leaves the rest as it was."""

from __future__ import annotations

import json
import os
import random
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree

import pytest
from support import LIMIT, Program, environment, line_of, needs, write

from autoattach.cli import _idea, _jsonc, main
from autoattach.cli._dap import Client

Run = Callable[..., Program]

LAUNCH = Path(".vscode") / "launch.json"
XML = Path(".idea") / "runConfigurations" / "autoattach.xml"


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Any]:
    """Run `autoattach config ...` in the test's folder, as a user would."""

    def start(*arguments: object, **env: object) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "autoattach", "config", *map(str, arguments)],
            cwd=tmp_path, env=environment(**env), capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip

    return start


def plain(text: str) -> Any:
    """JSON with comments and trailing commas, read another way than the code does: by walking over it."""
    out, at, text = [], 0, text.lstrip("\ufeff")
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            out.append(text[at : end + 1])
            at = end + 1
        elif text.startswith("//", at):
            while at < len(text) and text[at] not in "\r\n":
                at += 1
        elif text.startswith("/*", at):
            at = text.index("*/", at) + 2
        else:
            if text[at] in "]}":
                while out and (out[-1].isspace() or out[-1] == ","):
                    out.pop()
            out.append(text[at])
            at += 1
    joined = "".join(out).strip()
    return json.loads(joined) if joined else None


OURS: dict[str, Any] = {
    "name": "autoattach",
    "type": "debugpy",
    "request": "attach",
    "connect": {"host": "127.0.0.1", "port": 9000},
    "subProcess": True,
    "justMyCode": False,
}

OTHER = '{"name": "other // no comment", "type": "debugpy", "request": "launch", "program": "${file}", "args": ["/* no */", "a\\"b", ",]"]}'
# Each is a launch.json as one finds them; what is in it must be there afterwards.
FORMS = {
    "empty": "",
    "blank": "\n  \n",
    "only comments": "// Use IntelliSense to learn about possible attributes.\n/* and\n more */\n",
    "comment without line end": "// nothing yet",
    "empty object": "{}",
    "empty object, two lines": "{\n}\n",
    "object with a comment": "{\n    // to be filled\n}\n",
    "no configurations": '{\n    "version": "0.2.0"\n}\n',
    "no configurations, trailing comma": '{\n    "version": "0.2.0", // the format\'s\n}\n',
    "empty list": '{\n    "version": "0.2.0",\n    "configurations": []\n}\n',
    "empty list, two lines": '{\n  "version": "0.2.0",\n  "configurations": [\n  ]\n}\n',
    "list with a comment": '{"configurations": [\n    // none yet\n]}',
    "one": '{\n    "version": "0.2.0",\n    "configurations": [\n        ' + OTHER + "\n    ]\n}\n",
    "one, trailing commas": '{\n    "configurations": [\n        ' + OTHER + ", // mine\n        // the end\n    ],\n}\n",
    "one, comment behind": '{\n    "configurations": [\n        ' + OTHER + " // mine, ]\n        /* ] */\n    ]\n}\n",
    "minified": '{"version":"0.2.0","configurations":[' + OTHER + "]}",
    "minified, trailing comma": '{"configurations":[' + OTHER + ",]}",
    "tabs": '{\n\t"version": "0.2.0",\n\t"configurations": [\n\t\t{\n\t\t\t"name": "x",\n\t\t\t"type": "node"\n\t\t}\n\t]\n}\n',
    "two spaces": '{\n  "configurations": [\n    {\n      "name": "x"\n    },\n    {\n      "name": "y"\n    }\n  ]\n}\n',
    "compounds": '{\n    "configurations": [{"name": "a"}, {"name": "b"}],\n    "compounds": [{"name": "both", "configurations": ["a", "b"]}],\n    "inputs": [],\n}\n',
    "comment in each gap": '/*1*/{/*2*/"configurations"/*3*/:/*4*/[/*5*/{/*6*/}/*7*/]/*8*/}/*9*/',
    "odd values": '{"n": [-1.5e3, 0, true, false, null, "\\u00e9\\n é 日本 \\ud83d\\ude00"], "configurations": [1, null, "autoattach"]}\n',
    "no line end": '{\n    "configurations": [\n    ]\n}',
    "ours, with additions": '{\n    "configurations": [\n        {\n            "name": "autoattach", // do not rename\n            "type": "debugpy",\n            "request": "attach",\n            "connect": { "host": "10.0.0.1", "port": 1 }, /* old */\n            "pathMappings": [\n                // here and there\n                {"localRoot": "a", "remoteRoot": "b"},\n            ],\n            "django": true, // mine\n        }, // last\n    ],\n}\n',
    "ours, of the old type": '{\n  "configurations": [\n    {"name": "autoattach", "type": "python", "request": "attach", "host": "h", "port": 1}\n  ]\n}\n',
    "ours, listening": '{\n  "configurations": [\n    {\n      "name": "autoattach", "type": "debugpy", "request": "attach",\n      "listen": {"port": 1}\n    }, ' + OTHER + "\n  ]\n}\n",
}  # fmt: skip
# What the same user may have typed: other options, each after another.
VARIANTS: list[tuple[list[str], dict[str, Any]]] = [
    ([], {}),
    (["--port", "9001"], {"connect": {"host": "127.0.0.1", "port": 9001}}),
    (
        ["--remote-root", "/srv/app"],
        {"pathMappings": [{"localRoot": "${workspaceFolder}", "remoteRoot": "/srv/app"}]},
    ),
    (["--mode", "connect"], {"connect": None, "listen": {"host": "127.0.0.1", "port": 9000}}),
]


def wanted(changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**OURS, **changes}.items() if value is not None}


def put_into(folder: Path, *arguments: str) -> int:
    return main(["config", "vscode", "--write", "--project", str(folder), *arguments])


def launch(folder: Path, text: str) -> Path:
    path = folder / LAUNCH
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


def comments(text: str) -> list[str]:
    """The comments, strings left out, in their order."""
    return [c for c in re.findall(r'"(?:[^"\\]|\\.)*"|(//[^\r\n]*|/\*.*?\*/)', text, re.DOTALL) if c]


def without(there: Any) -> Any:
    """What is not ours in a launch.json's data."""
    there = there or {}
    configurations = [c for c in there.get("configurations", []) if not is_ours(c)]
    return {**{key: value for key, value in there.items() if key != "version"}, "configurations": configurations}


def is_ours(one: Any) -> bool:
    return isinstance(one, dict) and one.get("name") == "autoattach"


def only_added(before: str, after: str) -> bool:
    """Whether after is before with one piece put in, and perhaps a comma somewhere above it."""
    head = next((at for at, pair in enumerate(zip(before, after)) if pair[0] != pair[1]), min(len(before), len(after)))
    tail = 0
    while tail < len(before) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    rest = before[head : len(before) - tail]
    return not rest or after[head:].startswith("," + rest)


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: " ".join(options[0]) or "plain")
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "bom"])
@pytest.mark.parametrize("form", FORMS)
def test_a_launch_json_keeps_all_that_is_not_ours(
    form: str, mark: str, ends: str, options: tuple[list[str], dict[str, Any]], tmp_path: Path
) -> None:
    """Ours is in it once, as asked; the rest is the same data, comments, order, layout, line ends and first bytes."""
    before = mark + FORMS[form].replace("\n", ends)
    path = launch(tmp_path, before)
    assert put_into(tmp_path, *options[0]) == 0
    after = path.read_bytes().decode()
    data = plain(after)
    ours = [one for one in data["configurations"] if is_ours(one)]
    assert len(ours) == 1
    expected = wanted(options[1])
    additions = {"django": True} if form == "ours, with additions" else {}
    assert ours[0] == {**expected, **additions}
    assert without(data) == without(plain(before))
    assert after.startswith(mark)
    assert after.count("\ufeff") == len(mark)
    if before.strip(mark + " \r\n"):
        assert "\n" not in before or set(re.findall(r"\r?\n", after)) == {ends}
        assert after.endswith("\n") == (before.endswith("\n") or plain(before) is None)
        gone = {"// here and there"} if "pathMappings" not in expected or options[1] else set()
        assert [c for c in comments(after) if c not in gone] == [c for c in comments(before) if c not in gone]
    if not form.startswith("ours") and form != "blank":
        assert only_added(before, after)


@pytest.mark.parametrize("form", FORMS)
def test_twice_is_once(form: str, tmp_path: Path) -> None:
    """The same command again changes no byte and does not touch the file; there and back is where one was."""
    path = launch(tmp_path, FORMS[form])
    assert put_into(tmp_path) == 0
    first, when = path.read_bytes(), path.stat()
    assert put_into(tmp_path) == 0
    assert (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) == (first, when.st_ino, when.st_mtime_ns)
    for options, changes in (*VARIANTS[1:], VARIANTS[0]):
        assert put_into(tmp_path, *options) == 0
        ours = next(one for one in plain(path.read_text())["configurations"] if is_ours(one))
        assert ours.items() >= wanted(changes).items()
    assert plain(path.read_bytes().decode()) == plain(first.decode())


def random_text(chance: random.Random) -> str:
    """A JSON document with comments, spaces and trailing commas in every place where they may stand."""

    def gap() -> str:
        return chance.choice(["", "", "", " ", "\n", "\t", "// c\n", "/* , ] } */", "\n    "])

    def value(depth: int) -> str:
        kind = chance.randrange(6 if depth else 4)
        if kind < 4:
            return chance.choice(["1", "-2.5", "true", "null", '"//"', '"/*"', '"a\\"]"', '"\\\\"', '""'])
        keys = [chance.choice(["a", "b", "configurations"]) for _ in range(chance.randrange(4))]
        items = [
            gap() + (f'"{key}"{gap()}:{gap()}' if kind == 4 else "") + value(depth - 1) + gap()
            for key in (dict.fromkeys(keys) if kind == 4 else keys)
        ]
        end = chance.choice(["", ","]) if items else ""
        body = ",".join(items) + end + gap()
        return "{" + body + "}" if kind == 4 else "[" + body + "]"

    return gap() + "{" + gap() + f'"x": {value(3)}' + gap() + "," + gap() + f'"y": {value(3)}' + gap() + "}" + gap()


def places(data: Any) -> list[tuple[Any, ...]]:
    """Every path in the data."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for key, one in pairs for path in ((key,), *((key, *rest) for rest in places(one)))]


@pytest.mark.parametrize("seed", range(300))
def test_an_edit_is_the_edit_of_the_data(seed: int) -> None:
    """put() and drop() at any place of any document: the data is edited so, and no comment elsewhere is lost."""
    chance = random.Random(seed)
    text = random_text(chance)
    data = plain(text)
    assert _jsonc.loads(text) == data
    path = chance.choice(places(data))
    *above, last = path
    container = data
    for key in above:
        container = container[key]
    kind = chance.choice(["put", "drop", "add"])
    if kind == "drop":
        after = _jsonc.drop(text, path)
        del container[last]
    else:
        if kind == "add":
            last = "new" if isinstance(container, dict) else len(container)
        value: Any = chance.choice([1, "x", {"p": [1, {"q": None}]}, [], {}])
        after = _jsonc.put(text, [*above, last], value)
        if isinstance(container, list) and last == len(container):
            container.append(value)
        else:
            container[last] = value
    assert plain(after) == data
    assert _jsonc.loads(after) == data
    if kind == "add":
        assert comments(after) == comments(text)
        assert len(after) > len(text)
        assert only_added(text, after)


@pytest.mark.parametrize(
    "text",
    [
        "{", "}", "[1,,2]", "[,]", "{,}", '{"a"}', '{"a": }', "{a: 1}", "{'a': 1}", '{"a": 1 "b": 2}', "[1 2]", "01", "+1",
        '"a\nb"', '"\\x"', '"open', "{} {}", "/* open", "tru", "nul", "{}x", "NaN", "[" * 100000, "\x00", "# a",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said_and_left_alone(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A launch.json that is no JSON with comments: not a byte changes, one line, what to paste, status 1."""
    path = launch(tmp_path, text)
    assert put_into(tmp_path) == 1
    assert path.read_bytes() == text.encode()
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "is left alone" in err
    assert "by hand" in err
    assert plain(out) == OURS
    assert os.listdir(path.parent) == ["launch.json"]


@pytest.mark.parametrize(
    "text", ["[]", "1", "null // but", '"x"', '{"configurations": {}}', '{"configurations": null}']
)
def test_what_is_no_launch_json_is_left_alone(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON of another form is not bent into one: status 1, the file as it was."""
    path = launch(tmp_path, text)
    assert put_into(tmp_path) == 1
    assert path.read_text() == text
    assert capsys.readouterr().err.count("\n") == 1


def test_no_utf_8_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in another encoding is not read as something that it is not."""
    path = launch(tmp_path, "")
    path.write_bytes(b'{"configurations": [], "x": "\xe9"}')
    assert put_into(tmp_path) == 1
    assert path.read_bytes() == b'{"configurations": [], "x": "\xe9"}'
    assert "no UTF-8" in capsys.readouterr().err


def test_another_s_configuration_of_that_name_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is somebody else's (not an attach of debugpy's): status 1, --name is told, and helps."""
    text = '{"configurations": [{"name": "autoattach", "type": "node", "request": "attach"}]}'
    path = launch(tmp_path, text)
    assert put_into(tmp_path) == 1
    assert path.read_text() == text
    assert "--name" in capsys.readouterr().err
    assert put_into(tmp_path, "--name", "mine") == 0
    assert [one["name"] for one in plain(path.read_text())["configurations"]] == ["autoattach", "mine"]


def test_a_new_file_is_what_is_printed(config: Any, tmp_path: Path) -> None:
    """Where there is no launch.json, --write makes the file that the command prints without it."""
    printed = config("vscode", "--remote-root", "/srv/app")
    assert printed.returncode == 0
    written = config("vscode", "--remote-root", "/srv/app", "--write")
    assert written.returncode == 0
    assert (tmp_path / LAUNCH).read_text() == printed.stdout
    assert f"{LAUNCH} written" in written.stdout
    assert "has it already" in config("vscode", "--remote-root", "/srv/app", "--write").stdout


@pytest.mark.skipif(os.name == "nt", reason="permissions and links as POSIX has them")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    """A file's mode is kept, a symbolic link stays one and its target is written, and no other file is left."""
    path = launch(tmp_path, "{}")
    kept = tmp_path / "dotfiles.json"
    path.rename(kept)
    path.symlink_to(kept)
    kept.chmod(0o640)
    assert put_into(tmp_path) == 0
    assert path.is_symlink()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert plain(kept.read_text())["configurations"] == [OURS]
    assert sorted(os.listdir(tmp_path)) == [".vscode", "dotfiles.json"]
    assert os.listdir(path.parent) == ["launch.json"]


@pytest.mark.skipif(os.name == "nt", reason="permissions as POSIX has them")
def test_a_new_file_has_the_permissions_of_any_new_file(config: Any, tmp_path: Path) -> None:
    """Not those of a temporary file: what the umask leaves."""
    (tmp_path / "any").touch()
    config("vscode", "--write")
    assert (tmp_path / LAUNCH).stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / ".vscode").write_text("a file"),
        lambda folder: (folder / LAUNCH).mkdir(parents=True),
        lambda folder: (folder / ".vscode").symlink_to(folder / ".vscode"),
    ],
    ids=["a file in the way", "a folder in its place", "a link to itself"],
)
def test_what_cannot_be_written_is_one_line(spoil: Callable[[Path], object], config: Any, tmp_path: Path) -> None:
    """Status 1 and one line on stderr, no traceback."""
    spoil(tmp_path)
    result = config("vscode", "--write")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert str(LAUNCH) in result.stderr


def test_a_project_that_is_not_there_is_told(config: Any) -> None:
    """--project with no folder behind it: status 1, and nothing is made."""
    result = config("pycharm", "--write", "--project", "nowhere")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "--project" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        ([], {}, {}),
        (["--port", "9001"], {}, {"connect": {"host": "127.0.0.1", "port": 9001}}),
        ([], {"DEBUGGER_PORT": "7000", "DEBUGGER_HOST": "10.1.2.3"}, {"connect": {"host": "10.1.2.3", "port": 7000}}),
        (["--port", "9001"], {"DEBUGGER_PORT": "nonsense"}, {"connect": {"host": "127.0.0.1", "port": 9001}}),
        ([], {"DEBUGGER_PORT": "9000-9010"}, {}),
        ([], {"DEBUGGER_HOST": "0.0.0.0"}, {}),
        (["--host", "[::1]"], {}, {"connect": {"host": "::1", "port": 9000}}),
        (["--mode", "connect"], {}, {"connect": None, "listen": {"host": "127.0.0.1", "port": 9000}}),
        ([], {"DEBUGGER_MODE": "connect"}, {"connect": None, "listen": {"host": "127.0.0.1", "port": 9000}}),
        (["--mode", "listen"], {"DEBUGGER_MODE": "connect"}, {}),
        (["--ssh", "me@host"], {"DEBUGGER_HOST": "10.1.2.3"}, {}),
        ([], {"DEBUGGER_PATH_MAPPINGS": "/a=/b,/c=/c"}, {"pathMappings": [{"localRoot": "/a", "remoteRoot": "/b"}]}),
        (
            ["--remote-root", "/srv", "--local-root", "src"],
            {"DEBUGGER_PATH_MAPPINGS": "x"},
            {"pathMappings": [{"localRoot": "${workspaceFolder}/src", "remoteRoot": "/srv"}]},
        ),
        (["--remote-root", "/srv", "--local-root", "/srv"], {}, {}),
        (
            ["--remote-root", "/srv", "--local-root", "C:\\app"],
            {},
            {"pathMappings": [{"localRoot": "C:\\app", "remoteRoot": "/srv"}]},
        ),
    ],
)
def test_the_configuration_of_vscode(
    arguments: list[str], env: dict[str, str], expected: dict[str, Any], config: Any
) -> None:
    """Options win over variables; mappings only where folders differ; an address that one can connect to."""
    result = config("vscode", "--json", *arguments, **env)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["configuration"] == wanted(expected)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "ssh"),
    [
        (["vscode"], None),
        (["vscode", "--ssh", "me@host"], "ssh -L 9000:127.0.0.1:9000 me@host"),
        (["vscode", "--ssh", "me@host", "--port", "7000"], "ssh -L 7000:127.0.0.1:7000 me@host"),
        (["vscode", "--ssh", "me@host", "--host", "::1"], "ssh -L 9000:[::1]:9000 me@host"),
        (["vscode", "--ssh", "me@host", "--mode", "connect"], "ssh -R 9000:127.0.0.1:9000 me@host"),
        (["pycharm", "--ssh", "me@host"], "ssh -R 9000:127.0.0.1:9000 me@host"),
        (["pycharm", "--ssh", "me@host", "--attach-to-dap"], "ssh -L 9000:127.0.0.1:9000 me@host"),
    ],
)
def test_the_port_is_forwarded_to_the_side_that_connects(arguments: list[str], ssh: str | None, config: Any) -> None:
    """-L where the IDE connects, -R where the program does; both ends are loopback. Told in the steps and in JSON."""
    assert json.loads(config(*arguments, "--json").stdout)["ssh"] == ssh
    assert (ssh or "ssh") in config(*arguments).stderr or ssh is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["emacs"],
        ["vscode", "--port", "x"],
        ["vscode", "--port", "70000"],
        ["vscode", "--mode", "both"],
        ["vscode", "--host", "http://x"],
        ["vscode", "--ssh", "-oProxyCommand=x"],
        ["vscode", "--name", ""],
        ["vscode", "--local-root", "/a"],
        ["vscode", "--build", "263.1"],
        ["pycharm", "--build", "the newest"],
        ["pycharm", "--name", "a\nb"],
    ],
)
def test_usage(arguments: list[str], config: Any) -> None:
    """What cannot be meant is refused with status 2; nothing is on stdout, and no traceback."""
    result = config(*arguments)
    assert result.returncode == 2, result.stdout
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "error:" in result.stderr or "needs --remote-root" in result.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DEBUGGER_PORT", "x"), ("DEBUGGER_PORT", "0"), ("DEBUGGER_PATH_MAPPINGS", "x"), ("DEBUGGER_HOST", "a b")],
)
def test_a_bad_variable_is_told(variable: str, value: str, config: Any) -> None:
    """A variable that would be used and cannot: status 1 and one line with what is allowed."""
    result = config("vscode", **{variable: value})
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "autoattach config: " in result.stderr


def test_stdout_is_to_be_pasted(config: Any) -> None:
    """stdout is the file and nothing else, the words are on stderr; in any locale, without a traceback."""
    for env in ({}, {"PYTHONIOENCODING": "ascii"}):
        result = config("vscode", "--remote-root", "/srv/ä日😀", **env)
        assert result.returncode == 0, result.stderr
        mappings = plain(result.stdout)["configurations"][0]["pathMappings"]
        assert mappings == [{"localRoot": "${workspaceFolder}", "remoteRoot": "/srv/ä日😀"}]
        assert "Press F5" in result.stderr or "press F5" in result.stderr
        result = config("pycharm", "--remote-root", "/srv/ä日😀", **env)
        assert ElementTree.fromstring(result.stdout).find(".//mapping").get("remote-root") == "/srv/ä日😀"  # type: ignore[union-attr]


@needs("debugpy")
@pytest.mark.parametrize("mode", ["listen", "connect"])
def test_what_is_printed_for_vscode_attaches(mode: str, config: Any, run: Run, tmp_path: Path, port: int) -> None:
    """The configuration, sent as VS Code sends it, attaches; the breakpoint in the local folder is hit in the remote."""
    app = write(tmp_path, "remote/app.py", "total = 1\ntotal += 1\nprint(total)\n")
    told = config(
        "vscode", "--json", "--port", port, "--mode", mode, "--remote-root", app.parent, "--local-root", "/ide"
    )
    sent = json.loads(told.stdout)["configuration"]
    breakpoints = {"/ide/app.py": [line_of(app, "total += 1")]}
    if mode == "listen":
        program = run(app, DEBUGGER_WAIT=LIMIT)
        program.wait_for("attach")
        address = sent.pop("connect")
        client = Client.connect(address["host"], address["port"], timeout=LIMIT)
        client.attach(breakpoints, **sent)
    else:
        client = Client.listen(sys.executable, **sent.pop("listen"), **sent)
        program = run(app, DEBUGGER_WAIT=LIMIT, DEBUGGER_MODE="connect")
        client.attach(breakpoints)
    with client:
        thread = client.wait_stopped()
        assert client.stack(thread)[0]["source"]["path"] == "/ide/app.py"
        client.continue_(thread)
        assert program.wait() == 0, program.dump()


def server(**attributes: str) -> dict[str, str]:
    return {
        "PORT": "9000",
        "HOST": "localhost",
        "REDIRECT_OUTPUT": "true",
        "SUSPEND_AFTER_CONNECT": "false",
        **attributes,
    }


def options(text: str) -> dict[str, str]:
    """The options of a run configuration, and its mappings."""
    configuration = ElementTree.fromstring(text.lstrip("\ufeff")).find("configuration")
    assert configuration is not None
    found = {one.get("name", ""): one.get("value", "") for one in configuration.findall("option")}
    for one in configuration.iter("mapping"):
        found[one.get("local-root", "")] = one.get("remote-root", "")
    return found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], server()),
        (["--port", "9001", "--host", "10.0.0.1"], server(PORT="9001", HOST="10.0.0.1")),
        (["--remote-root", "/srv"], server(**{"$PROJECT_DIR$": "/srv"})),
        (["--remote-root", "/a&b\"<'", "--local-root", "src"], server(**{"$PROJECT_DIR$/src": "/a&b\"<'"})),
        (["--ssh", "me@host", "--host", "10.0.0.1"], server()),
        (
            ["--attach-to-dap"],
            {"localRoot": "$PROJECT_DIR$", "remoteAddress": "127.0.0.1:9000", "remoteRoot": "$PROJECT_DIR$"},
        ),
        (
            ["--attach-to-dap", "--remote-root", "/srv", "--port", "7000", "--host", "::1"],
            {"localRoot": "$PROJECT_DIR$", "remoteAddress": "[::1]:7000", "remoteRoot": "/srv"},
        ),
    ],
)
def test_the_configuration_of_pycharm(arguments: list[str], expected: dict[str, str], config: Any) -> None:
    """A Python Debug Server that stops nowhere by itself, with its port and mappings; or an Attach to DAP."""
    result = config("pycharm", *arguments)
    assert result.returncode == 0
    assert options(result.stdout) == expected
    configuration = ElementTree.fromstring(result.stdout).find("configuration")
    assert configuration is not None
    if "--attach-to-dap" in arguments:
        assert configuration.get("type") == "PythonDapAttachConfiguration"
    else:
        assert configuration.get("type") == "PyRemoteDebugConfigurationType"
        assert configuration.get("factoryName") == "Python Remote Debug"


@pytest.mark.parametrize(
    ("build", "requirement"),
    [
        ("PY-263.7307.50", "pydevd-pycharm~=263.7307.50"),
        ("#PY-263.7307.50", "pydevd-pycharm~=263.7307.50"),
        ("263.7307.50", "pydevd-pycharm~=263.7307.50"),
        ("IU-241.14494.240", "pydevd-pycharm~=241.14494.240"),
        ("PC-263.7307", "pydevd-pycharm~=263.7307"),
        ("2026.3", "pydevd-pycharm==263.*"),
        ("2019.1.4", "pydevd-pycharm==191.*"),
    ],
)
def test_a_build_tells_what_to_install(build: str, requirement: str, config: Any) -> None:
    """pip's line for PyCharm's build, and for a release as near as it tells."""
    assert json.loads(config("pycharm", "--json", "--build", build).stdout)["pip"] == f"pip install '{requirement}'"


@needs("pydevd-pycharm")
def test_what_is_installed_is_compared(config: Any) -> None:
    """With --build: whether the installed release fits; without: where PyCharm shows its build."""
    version = json.loads(
        subprocess.check_output(
            [
                sys.executable,
                "-c",
                "import importlib.metadata as m, json; print(json.dumps(m.version('pydevd-pycharm')))",
            ],
            timeout=LIMIT,
        )
    )
    assert f"{version} that is installed here fits" in config("pycharm", "--build", version).stderr
    assert f"{version} that is installed here does not fit" in config("pycharm", "--build", "1" + version[1:]).stderr
    assert "Help | About" in config("pycharm").stderr


def test_an_old_pycharm_cannot_attach_to_dap(config: Any) -> None:
    """Before 2025.3 there is no such configuration: status 1, one line."""
    result = config("pycharm", "--attach-to-dap", "--build", "2025.2")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "2025.3" in result.stderr
    assert config("pycharm", "--attach-to-dap", "--build", "2025.3").returncode == 0


def test_a_run_configuration_is_written_once_and_kept(config: Any, tmp_path: Path) -> None:
    """Written as printed; again: not a byte; changed options: replaced, and what PyCharm or the user added is kept."""
    (tmp_path / ".idea").mkdir()
    (tmp_path / ".idea" / "shop.iml").touch()
    printed = config("pycharm").stdout
    assert config("pycharm", "--write").returncode == 0
    path = tmp_path / XML
    assert path.read_text() == printed.rstrip("\n")
    assert '<module name="shop" />' in printed
    when = path.stat().st_mtime_ns
    assert "has it already" in config("pycharm", "--write").stdout
    assert path.stat().st_mtime_ns == when
    text = path.read_text()
    text = text.replace('type="Py', 'folderName="team" type="Py').replace(
        '<method v="2" />', '<method v="2"><option name="Build" enabled="true" /></method>'
    )
    text = text.replace(
        "  </configuration>", '    <!-- ours -->\n    <option name="NEW" value="&quot;1&quot;" />\n  </configuration>'
    )
    path.write_bytes(("\ufeff" + text + "\n").replace("\n", "\r\n").encode())
    before = path.read_bytes()
    assert config("pycharm", "--write").returncode == 0
    assert path.read_bytes() == before
    assert config("pycharm", "--write", "--port", "9001", "--remote-root", "/srv").returncode == 0
    after = path.read_bytes().decode()
    assert options(after) == server(PORT="9001", NEW='"1"', **{"$PROJECT_DIR$": "/srv"})
    assert after.startswith("\ufeff<component")
    assert after.endswith("</component>\r\n")
    assert after.count("\n") == after.count("\r\n")
    for kept in ('folderName="team"', "<!-- ours -->", 'name="Build"', 'value="&quot;1&quot;"'):
        assert kept in after
    assert config("pycharm", "--write", "--attach-to-dap").returncode == 0
    assert "PyRemoteDebug" not in path.read_text()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "", "<component", "<component name='x' />", "no xml",
        '<component><configuration name="autoattach" type="PythonConfigurationType" /></component>',
        '<component><configuration name="other" type="PyRemoteDebugConfigurationType" /></component>',
    ],
)  # fmt: skip
def test_a_run_configuration_that_is_not_ours_is_left_alone(text: str, config: Any, tmp_path: Path) -> None:
    """Not understood, or another's: not a byte changes, one line, what to paste, status 1."""
    path = write(tmp_path, str(XML), text)
    before = path.read_bytes()
    result = config("pycharm", "--write")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert path.read_bytes() == before
    assert options(result.stdout) == server()


def test_pycharm_s_other_place_is_used_where_the_configuration_is_there(config: Any, tmp_path: Path) -> None:
    """A configuration that PyCharm keeps in .run is brought up to date there, and there is no second one."""
    config("pycharm", "--write")
    stored = tmp_path / ".run" / "autoattach.run.xml"
    stored.parent.mkdir()
    (tmp_path / XML).rename(stored)
    assert config("pycharm", "--write", "--port", "9001").returncode == 0
    assert options(stored.read_text())["PORT"] == "9001"
    assert not (tmp_path / XML).exists()


def test_names_become_the_files_that_pycharm_uses() -> None:
    """What cannot stand in a file's name is an underscore, as in PyCharm."""
    assert _idea.file_name("on me@host: 1/2") == "on_me_host__1_2.xml"
