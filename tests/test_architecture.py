"""The house keeps its order: imports run one way, and little is imported at start-up."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support import LIMIT, environment, needs

import autoattach

PACKAGE = Path(autoattach.__file__).parent
# Each module, and what of ours it may import. From the top (who acts) to the bottom (who is only asked).
LAYERS = [
    {"__main__", "_sitecustomize"},
    {"cli"},
    {"__init__"},
    {"_bootstrap"},
    {"_armed"},
    {"_frameworks"},
    {"wsgi", "asgi"},
    {"_recipes", "_on_request"},
    {"_uncaught", "_on_signal", "_on_breakpoint"},
    {"_calls"},
    {"_attach"},
    {"_caller", "_loan"},
    {"_leader", "_handover"},
    {"_member"},
    {"_loading"},
    {"_channel"},
    {"_outside"},
    {"debuggers"},
    {"_watcher"},
    {"_door"},
    {"_link", "_connect", "_pending", "_signals", "_modules", "_threads", "_shipped", "_redial"},
    {"_announce", "_slot"},
    {"_network", "_plan", "_records", "_timeouts"},
    {"_roles"},
    {"_uwsgi"},
    {"_process", "_session", "_ledger", "_exclusions", "_bundle"},
    {"_settings", "_notices", "_imports", "_network_errors"},
    {"_errors"},
]


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports when it runs, `TYPE_CHECKING` blocks aside."""
    found = set()
    tree = ast.parse(path.read_text())
    typing = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    hidden = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "autoattach":
            parts = node.module.split(".")[1:]
            found |= {".".join(parts)} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("autoattach.")}
    return found


def layer(module: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if module.partition(".")[0] in names)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    """A module imports only from the layers below its own; debuggers do not import each other; nobody imports cli."""
    name = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    own = layer(name)
    for other in imports(path) - {"__version__"}:
        if name.partition(".")[0] == other.partition(".")[0]:
            assert name.startswith("cli") or other.startswith("debuggers._") or other == "debuggers", (
                f"{name} imports {other}"
            )
        else:
            assert layer(other) > own, f"{name} imports {other}"


def loaded(**variables: str) -> set[str]:
    code = "import sys; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment(**variables), capture_output=True, text=True, timeout=LIMIT
    )
    return set(out.stdout.split())


@needs("debugpy")
def test_start_up_is_light() -> None:
    """Turned away at the gate: nothing but a handful of our own modules. Nobody there: no `re`, `typing`, `socket`, ..."""
    bare = loaded()
    skipped = loaded(START_DEBUGGER="1", DEBUGGER_SKIP="-c") - bare
    light = {"_interpreters", "_xxsubinterpreters", "__future__", "_typing"}
    assert {name for name in skipped - light if name.partition(".")[0] != "autoattach"} == set()
    assert not skipped & {"autoattach._attach", "autoattach._errors"}
    armed = loaded(START_DEBUGGER="1", DEBUGGER_WAIT="0", DEBUGGER_PORT="0", DEBUGGER_IDE="debugpy") - bare
    heavy = {
        "re",
        "typing",
        "dataclasses",
        "json",
        "logging",
        "socket",
        "subprocess",
        "selectors",
        "argparse",
        "pathlib",
        "ctypes",
    }
    assert armed & heavy == set()
    assert "threading" not in armed


@needs("debugpy")
@pytest.mark.parametrize("word", ["exception", "signal", "breakpoint", "request"])
def test_arming_is_lighter_still(word: str) -> None:
    """Before its moment a process has our own modules and no other, none of them about the network or a debugger."""
    if word == "signal" and sys.platform == "win32":
        pytest.skip("no such signals there")
    found = loaded(START_DEBUGGER=word, DEBUGGER_IDE="debugpy") - loaded()
    assert {name for name in found if name.partition(".")[0] not in ("autoattach", "atexit")} == set()
    assert not any("network" in name or "door" in name or name.startswith("autoattach.debuggers.") for name in found)
    # What something that goes wrong, or the moment itself, brings: each module is a tenth of what we may take
    assert not found & {"autoattach._errors", "autoattach._threads", "autoattach._notices"}
