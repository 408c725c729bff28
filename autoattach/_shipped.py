"""Functions that are shipped to another process by value keep the name of their file, by which breakpoints are found.

cloudpickle 3.1.3 and later (Dask, joblib, and others that bring a copy of it) give every code object that they pickle
the file name `<dynamic-code>`, so that equal functions have equal pickles wherever they stand (cloudpickle#560): what
is defined in the script itself or in a notebook has no breakpoints in the workers. Which file it was is known only
where it is pickled, so that is where it is mended.
"""

from __future__ import annotations

from autoattach._imports import forget, when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    from autoattach._ledger import Ledger

LOST = "<dynamic-code>"
COPIES = tuple(f"{owner}cloudpickle.cloudpickle" for owner in ("", "joblib.externals.", "pyspark.", "ray."))


def keep_file_names(ledger: Ledger) -> None:
    """In every cloudpickle of this process, also one that is imported later. A release that does otherwise is left
    alone."""

    def mend(module: ModuleType) -> None:
        try:
            _mend(module, ledger)
        except Exception:  # one that is not as we know them
            pass

    for name in COPIES:
        when_imported(name, mend)

    def forget_them() -> None:
        for name in COPIES:
            forget(name, mend)

    ledger.enter("cloudpickle to come", forget_them)


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
