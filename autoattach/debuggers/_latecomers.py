"""Modules that are loaded after a breakpoint was set in a file that could be theirs."""

from __future__ import annotations

import os
import sys
from typing import Any, Callable

from autoattach._imports import remove_finder
from autoattach.debuggers._paths import kind_of
from autoattach.debuggers._places import of_module


class Latecomers:
    """Tells of a module that is about to be loaded whose file has a name that is wanted. In sys.meta_path only as long
    as one is; it finds nothing itself."""

    def __init__(self, came: Callable[[Any], object]) -> None:
        self._names: set[str] = set()
        self._came = came
        self._busy = False

    def want(self, path: str) -> None:
        name = path.replace("\\", "/").rpartition("/")[2]
        if not name.endswith(".py") or kind_of(path) == "std":
            return
        if name == "__init__.py":
            name = path.replace("\\", "/").split("/")[-2] + ".py"
        self._names.add(name[:-3])
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.rpartition(".")[2] not in self._names or self._busy:
            return
        self._busy = True
        try:
            for finder in list(sys.meta_path):
                spec = finder.find_spec(name, path, target) if finder is not self else None
                if spec is not None:
                    if spec.has_location and spec.origin:
                        self._came(of_module(name, os.path.abspath(spec.origin)))
                    break
        except Exception:  # the import itself will say it
            pass
        finally:
            self._busy = False

    def end(self) -> None:
        self._names.clear()
        remove_finder(self)
