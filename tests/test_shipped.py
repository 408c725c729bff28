"""A function that is shipped by value, as Dask and joblib do it, has its breakpoints where it arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from support import Program, line_of, needs, write

from autoattach.cli._dap import Client

Run = Callable[..., Program]

# As cloudpickle 3.1.3 does it
PICKLER = """
    import types

    def _code_reduce(code):
        return types.CodeType, (code.co_argcount, code.co_name, "".join("<dynamic-code>"), code.co_consts)

    class CloudPickler:
        _dispatch_table = {types.CodeType: _code_reduce}
"""
APP = """
    import sys
    sys.path.insert(0, "{folder}")
    FIRST
    def work():
        return 1

    def ship():
        from cloudpickle import cloudpickle
        reduce = cloudpickle.CloudPickler._dispatch_table[type(work.__code__)]
        return reduce(work.__code__)[1]
    print(ship()[2] == __file__, ship()[:2], flush=True)  # before
    print(LAST)
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    write(tmp_path, "cloudpickle/__init__.py", "")
    write(tmp_path, "cloudpickle/cloudpickle.py", PICKLER)
    return tmp_path


@needs("debugpy")
@pytest.mark.parametrize("first", ["", "import cloudpickle.cloudpickle"])
def test_what_is_shipped_by_value_keeps_its_file(run: Run, app: Path, port: int, first: str) -> None:
    """Where a debugger is at work, cloudpickle keeps the file's name; after detach() it does what it did before."""
    text = APP.replace("{folder}", str(app)).replace("FIRST", first)
    last = "__import__('autoattach').detach(), ship()[2]"
    script = write(app, "app.py", text.replace("LAST", last))
    program = run(script)
    program.wait_for("waiting")
    client = Client.connect("127.0.0.1", port, 60)
    try:
        client.attach({str(script): [line_of(script, "# before")]})
        client.continue_(client.wait_stopped())
        assert program.wait() == 0, program.dump()
    finally:
        client.close()
    assert program.stdout.splitlines() == ["True (0, 'work')", "True <dynamic-code>"]


@needs("debugpy")
def test_nobody_there(run: Run, app: Path) -> None:
    """Without an IDE nothing is changed."""
    text = APP.replace("{folder}", str(app)).replace("FIRST", "").replace("LAST", "len(sys.meta_path)")
    script = write(app, "app.py", text)
    attached = run(script, DEBUGGER_WAIT=0)
    plain = run(script, START_DEBUGGER=None)
    assert attached.wait() == plain.wait() == 0, attached.dump()
    assert attached.stdout == plain.stdout
    assert attached.stdout.startswith("False")
