"""Functions that are shipped to another process by value keep the name of their file, by which breakpoints are found.

cloudpickle 3.1.3 and later (Dask, joblib, and others that bring a copy of it) give every code object that they pickle
the file name `<dynamic-code>`, so that equal functions have equal pickles wherever they stand (cloudpickle#560): what
is defined in the script itself or in a notebook has no breakpoints in the workers. Which file it was is known only
where it is pickled, so that is where it is mended.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    from autoattach._ledger import Ledger

LOST = "<dynamic-code>"
NAME = "cloudpickle.cloudpickle"  # or the end of it: joblib.externals.cloudpickle.cloudpickle


def keep_file_names(ledger: Ledger) -> None:
    """In every cloudpickle of this process, also one that is imported later. A release that does otherwise is left
    alone."""
    for name, module in list(sys.modules.items()):
        if _is_one(name):
            _mend(module, ledger)
    finder = _Finder(ledger)
    sys.meta_path.insert(0, finder)
    ledger.enter("sys.meta_path", lambda: sys.meta_path.remove(finder))


def _is_one(name: str) -> bool:
    return name == NAME or name.endswith(f".{NAME}")


def _mend(module: ModuleType, ledger: Ledger) -> None:
    table = getattr(getattr(module, "CloudPickler", None), "_dispatch_table", None)
    kind = type(_mend.__code__)
    if not isinstance(table, dict) or kind not in table or table[kind] is not getattr(module, "_code_reduce", None):
        return
    original = table[kind]

    def reduce(code: CodeType) -> Any:
        made, values, *rest = original(code)
        return (made, tuple(code.co_filename if value == LOST else value for value in values), *rest)

    table[kind] = reduce
    ledger.enter(module.__name__, lambda: table.update({kind: original}) if table.get(kind) is reduce else None)


class _Finder:
    """Finds nothing itself: what the others find is looked at once it is loaded."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if not _is_one(name):
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if finder is not self and find is not None else None
            if spec is not None:
                self._look_at(spec.loader)
                return spec
        return None

    def _look_at(self, loader: Any) -> None:
        load = getattr(loader, "exec_module", None)
        if load is None:
            return

        def exec_module(module: ModuleType) -> None:
            load(module)
            try:
                _mend(module, self._ledger)
            except Exception:  # one that is not as we know them
                pass

        try:
            loader.exec_module = exec_module
        except Exception:  # a loader that takes no attributes
            pass
