"""The documents say what the code does."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from support import LIMIT, environment
from test_config import config, plain  # noqa: F401 - a fixture

import autoattach
from autoattach import _errors, _exclusions, _network_errors
from autoattach._settings import VARIABLES, Settings

PACKAGE = Path(autoattach.__file__).parent
CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))

# What makes a line: these calls, and the errors whose text becomes one. SessionGone never leaves the package.
ERRORS = {
    name
    for name, one in {**vars(_errors), **vars(_network_errors)}.items()
    if inspect.isclass(one) and issubclass(one, _errors.AttachError) and name != "SessionGone"
}
SAYING = {"say", "say_once", "because", "lost", "type", "CannotRun", "Forbidden", "Unable", "Unreadable", *ERRORS}
# Functions whose answer is said, or is a reason.
ANSWERING = {"nobody", "only_in", "why_not", "_unsupported", "nothing_attached", "what_ends"}


def texts(node: ast.expr, constants: dict[str, str]) -> list[str]:
    """The texts that an expression can be: as regular expressions, `.*` for what is only known when it runs."""
    if isinstance(node, ast.Constant):
        return [re.escape(node.value)] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        found = [""]
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            known = texts(inner, constants) if isinstance(inner, (ast.Constant, ast.Name)) else []
            found = [text + more for text in found for more in known or [".*"]]
        return found
    if isinstance(node, ast.IfExp):
        return texts(node.body, constants) + texts(node.orelse, constants)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in texts(node.left, constants) or [".*"] for b in texts(node.right, constants) or [".*"]]
    if isinstance(node, ast.Name) and node.id in constants:
        return [re.escape(constants[node.id])]
    return []


def messages() -> Iterator[tuple[str, str]]:
    """Where each line is made, and its form."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    constants = {
        target.id: node.value.value
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }
    for path, tree in trees.items():
        for node in ast.walk(tree):
            found: list[str] = []
            if isinstance(node, ast.Call) and node.args:
                function = node.func.func if isinstance(node.func, ast.Call) else node.func
                name = getattr(function, "id", getattr(function, "attr", ""))
                if name == "SettingError":
                    problem = texts(node.args[3], constants) if len(node.args) > 3 else ["is not understood"]
                    start = texts(node.args[0], constants) or [".*"]
                    found = [f"{variable}=.* {what}" for variable in start for what in problem]
                elif name in SAYING:
                    found = texts(node.args[0], constants)
                    if name == "lost":
                        found = [f"{text}; running on without a debugger" for text in found]
            elif isinstance(node, ast.FunctionDef):
                checks = path.name == "_plan.py" and getattr(node.returns, "value", "") == "str | None"
                if node.name in ANSWERING or checks:
                    for inner in ast.walk(node):
                        if isinstance(inner, ast.Return) and inner.value is not None:
                            found += texts(inner.value, constants)
            for text in found:
                if re.search("[A-Za-z]{3}", text.replace(".*", "")):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text


def headings() -> list[str]:
    """The messages of the page: the terms of its definition lists."""
    page = (DOCS / "troubleshooting.rst").read_text("utf-8")
    return re.findall(r"^``(.+)``\n    \S", page, re.MULTILINE)


needs_checkout = pytest.mark.skipif(not DOCS.is_dir(), reason="there are no documents beside these tests")
pytestmark = needs_checkout


def test_every_line_that_can_be_said_is_on_the_page_of_messages() -> None:
    """docs/troubleshooting.rst has an entry for each line that the code can print, what to do included."""
    known = headings()
    missing = [f"{where}: {text}" for where, text in messages() if not any(re.fullmatch(text, one) for one in known)]
    assert not missing, "add to docs/troubleshooting.rst, words in capitals for what varies:\n" + "\n".join(missing)
    page = (DOCS / "troubleshooting.rst").read_text("utf-8")
    assert [what for _, what in _exclusions.HELPERS if f"``{what}``" not in page] == []


def test_the_page_of_messages_has_no_line_that_is_never_said() -> None:
    """Each entry of the page is one that the code makes; a message that was changed is changed there, too."""
    forms = [text for _, text in messages()]
    helpers = {what for _, what in _exclusions.HELPERS}
    stale = [one for one in headings() if one not in helpers and not any(re.fullmatch(text, one) for text in forms)]
    assert stale == []


def test_every_variable_is_on_the_page_and_in_the_readme() -> None:
    """Each variable of the table stands in README.rst; docs/variables.rst takes them from the code."""
    readme = (CHECKOUT / "README.rst").read_text("utf-8")
    assert [one.name for one in VARIABLES if f"``{one.name}``" not in readme] == []
    assert ".. variables::" in (DOCS / "variables.rst").read_text("utf-8")


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.rst"], ids=lambda path: path.name)
def test_what_a_page_tells_to_set_is_understood(page: Path) -> None:
    """Each VARIABLE=value that a page shows is one of ours, and a value that it takes."""
    names = {one.name for one in VARIABLES}
    for name, value in re.findall(r"\b(START_DEBUGGER|DEBUGGER_[A-Z_]+)=([\w.:*/=-]+)", page.read_text("utf-8")):
        assert name in names, f"{name}={value}"
        if value.isupper() or "://" in value or page.name == "troubleshooting.rst":
            continue  # a word that stands for a value
        assert not Settings.from_environ({name: value}).problems, f"{name}={value}"


def blocks(language: str) -> list[object]:
    """The code blocks of all pages in a language."""
    found = []
    for page in [*PAGES, CHECKOUT / "README.rst"]:
        pattern = rf"^( *)\.\. code-block:: {language}\n\n((?:\1    .*\n|\n)+)"
        for number, (_, text) in enumerate(re.findall(pattern, page.read_text("utf-8"), re.MULTILINE)):
            found.append(pytest.param(text, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("text", blocks("json"))
def test_json_can_be_pasted(text: str) -> None:
    """What is shown as JSON is JSON."""
    assert json.loads(text)["configurations"]


def test_the_page_of_vs_code_shows_what_the_command_prints(config) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """docs/vscode.rst and `autoattach config vscode` are the same."""
    page = (DOCS / "vscode.rst").read_text("utf-8")
    shown = page.partition(".. code-block:: json\n")[2].partition("\nThen:")[0]
    assert json.loads(shown) == plain(config("vscode").stdout)


@pytest.mark.parametrize("text", blocks("bash"))
def test_shell_lines_can_be_read_by_a_shell(text: str) -> None:
    """Each shell block is one that bash can read, and each `autoattach` in it takes those options."""
    try:
        result = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=LIMIT)
    except FileNotFoundError:
        pytest.skip("no bash")
    assert result.returncode == 0, result.stderr
    for command in re.findall(r"^ *autoattach (config [^#\n]+)", text, re.MULTILINE):
        words = command.replace("--write", "").replace("user@host", "'user@host'").split()
        result = subprocess.run(
            [sys.executable, "-m", "autoattach", *words],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """sphinx-build -W -n: no broken link, no page that is nowhere listed, no malformed table."""
    pytest.importorskip("sphinx")
    arguments = ["-W", "--keep-going", "-n", "-q", "-b", "html", "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"]
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", *map(str, arguments)],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for name in ("variables", "commands", "troubleshooting", "development", "security"):
        assert (tmp_path / "html" / f"{name}.html").stat().st_size > 5000
    assert "DEBUGGER_PATH_MAPPINGS" in (tmp_path / "html" / "variables.html").read_text("utf-8")
    assert "--attach-to-dap" in (tmp_path / "html" / "commands.html").read_text("utf-8")
