"""The modules that a debugger brings in, and those that they would hide."""

from __future__ import annotations

import os
import sys

from autoattach._exclusions import what_runs


def make_room(before: set[str], command: tuple[str, ...]) -> None:
    """Forget the modules that loading has brought in where the program has its own of that name beside its script.

    A debugger brings some 130 in while `sys.path[0]` is not there yet: the program's own `queue` would be hidden by the
    standard library's. Those that hold the forgotten module keep it.
    """
    if getattr(sys.flags, "safe_path", False):
        return
    runs = what_runs(command)
    script = not runs.startswith("-")
    folder = os.path.dirname(os.path.realpath(runs)) if script else os.getcwd()
    for name in {name.partition(".")[0] for name in sys.modules} - {name.partition(".")[0] for name in before}:
        base = os.path.join(folder, name)
        if os.path.isfile(f"{base}.py") or os.path.isfile(os.path.join(base, "__init__.py")):
            own = getattr(sys.modules.get(name), "__file__", None) or ""
            if os.path.dirname(own) not in (folder, base):
                for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
                    del sys.modules[module]
