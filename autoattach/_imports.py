"""Something to be done to a module as soon as it is imported, without importing it; and how a finder goes."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

    Change = Callable[[ModuleType], object]

_wanted: "dict[str, list[Change]]" = {}


def when_imported(name: str, change: "Change") -> None:
    """Have `change(module)`, which must not raise, called once the module is there: now, if it is already."""
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        change(module)
        return
    _wanted.setdefault(name, []).append(change)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget(name: str, change: "Change") -> None:
    """Have it called no more, where it has not been."""
    changes = _wanted.get(name, [])
    if change in changes:
        changes.remove(change)
        if not changes:
            del _wanted[name]
        if not _wanted:
            remove_finder(_finder)


def remove_finder(finder: "Any") -> None:
    """Take it out of `sys.meta_path`, by a new list.

    Another thread that is just going through the old one would pass over the next finder, and the program's module
    would not be found (up to 3.13: https://github.com/python/cpython/issues/130094).
    """
    if finder in sys.meta_path:
        sys.meta_path = [other for other in sys.meta_path if other is not finder]


class Finder:
    """Lets the others find the module, and has us told when it has been run. It goes when nothing is waited for."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """`importlib.abc.MetaPathFinder.find_spec`."""
        if name not in _wanted:
            return None
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None) if finder is not self else None
            spec = find_spec(name, path, target) if find_spec else None
            if spec is not None:
                self._listen(name, spec.loader)
                return spec
        return None

    def _listen(self, name: str, loader: "Any") -> None:
        """Only the loader's own object is changed, for this one module, and as it was again before that is run."""
        run = getattr(loader, "exec_module", None)
        if run is None or isinstance(loader, type) or "exec_module" in getattr(loader, "__dict__", {"exec_module": 0}):
            return

        def exec_module(module: "ModuleType") -> None:
            if module.__name__ != name:
                return run(module)  # type: ignore[no-any-return]
            loader.__dict__.pop("exec_module", None)
            run(module)
            changes = _wanted.pop(name, ())
            if not _wanted:
                remove_finder(self)
            for change in changes:
                change(module)

        loader.exec_module = exec_module


_finder = Finder()
