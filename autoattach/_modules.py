"""The modules that a debugger brings in, and those that they would hide."""

from __future__ import annotations

import _thread
import os
import sys

from autoattach._exclusions import what_runs
from autoattach._imports import remove_finder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

ModuleType = type(sys)  # `types` may not be imported yet


class StandardFirst:
    """Within it the imports of this thread find the standard library's modules first.

    Into a program that runs a debugger comes when the program's own folder is the first of `sys.path`: its own `queue`,
    or a script `code.py`, would be imported in the place of the standard library's, and run. Other threads, the
    program's, find what they always do.
    """

    def __enter__(self) -> None:
        self._thread = _thread.get_ident()
        dynamic = [entry for entry in sys.path if os.path.basename(entry) in ("lib-dynload", "DLLs")]
        self._path = [os.path.dirname(os.__file__), *dynamic]
        self._finder: Any = sys.modules["_frozen_importlib_external"].PathFinder
        sys.meta_path.insert(0, self)  # type: ignore[arg-type, unused-ignore]
        self._before, sys.path = sys.path, PathOfThread(sys.path)

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        """As importlib asks for it."""
        if path is not None or _thread.get_ident() != self._thread:
            return None
        spec = self._finder.find_spec(name, self._path)
        if spec is not None:
            found.add(name)
            if name == "typing" and hasattr(spec.loader, "exec_module"):
                spec.loader = Whole(spec.loader)
        return spec

    def __exit__(self, *exception: object) -> None:
        if isinstance(sys.path, PathOfThread):
            sys.path = sys.path.given_back(self._before)
        remove_finder(self)
        self._thread = 0  # who goes through the list of before asks once more


class PathOfThread(list):  # type: ignore[type-arg]
    """`sys.path` as a debugger is being loaded, which puts folders of its own in and out: for its thread alone.

    Another one that is just looking for a module, folder by folder, would pass over one (3.8 to 3.15), and not find it.
    """

    def __init__(self, path: list[str]) -> None:
        super().__init__(path)
        self._given = list(path)
        self._thread = _thread.get_ident()
        self._first: list[str] = []

    def __iter__(self) -> Iterator[str]:
        everybodys = super().__iter__()
        return iter([*self._first, *everybodys]) if self._is_mine() else everybodys

    def insert(self, index: Any, entry: str) -> None:
        """As `list.insert`."""
        if self._is_mine():
            self._first.insert(index, entry)
        else:
            super().insert(index, entry)

    def remove(self, entry: str) -> None:
        """As `list.remove`."""
        if self._is_mine() and entry in self._first:
            self._first.remove(entry)
        else:
            super().remove(entry)

    def _is_mine(self) -> bool:
        return _thread.get_ident() == self._thread

    def given_back(self, path: list[str]) -> list[str]:
        """The list of before, with what others have changed since."""
        now = list(super().__iter__())
        if now != self._given:
            path[:] = now
        return path


class Whole:
    """A loader whose module other threads find whole: while it is being loaded, who wants what it has not yet waits.

    `dataclasses` takes `typing` from `sys.modules` with no lock: a program that was just making a class there, as
    `import asyncio` does, met half of it, and an AttributeError (3.8 to 3.15).
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        """As importlib asks for it."""
        loading = _thread.get_ident()

        class Half(ModuleType):  # type: ignore[misc, valid-type]
            def __getattr__(self, name: str) -> Any:
                if _thread.get_ident() != loading:
                    __import__(spec.name)  # waits
                return ModuleType.__getattribute__(self, name)

        return Half(spec.name)

    def exec_module(self, module: Any) -> None:
        """As importlib asks for it."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        module.__class__ = ModuleType


found: set[str] = set()
"""What `StandardFirst` has found."""


def make_room(modules: set[str], command: tuple[str, ...]) -> None:
    """Forget these modules, which loading has brought in, where the program has its own of that name beside its script.

    A debugger brings some 130 in while `sys.path[0]` is not there yet, or with `StandardFirst`: the program's own
    `queue` would be hidden by the standard library's. Those that hold the forgotten module keep it.
    """
    if getattr(sys.flags, "safe_path", False):
        return
    runs = what_runs(command)
    script = not runs.startswith("-")
    folder = os.path.dirname(os.path.realpath(runs)) if script else os.getcwd()
    for name in {name for name in modules if "." not in name}:
        base = os.path.join(folder, name)
        if os.path.isfile(f"{base}.py") or os.path.isfile(os.path.join(base, "__init__.py")):
            own = getattr(sys.modules.get(name), "__file__", None) or ""
            if os.path.dirname(own) not in (folder, base):
                for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
                    del sys.modules[module]
