"""Every change made to this process, each with its undo."""

import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


UNDONE = 5.0  # seconds that one thread waits for what another takes back; a debugger takes half a second to stop
_undoing = _thread.RLock()


class Ledger:
    """The changes in the order they were made; `undo()` takes them back in the reverse order."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Callable[[], object]]] = []

    def enter(self, what: str, undo: "Callable[[], object]") -> None:
        """Record a change that has been made, and what takes it back."""
        self._entries.append((what, undo))

    def set(self, owner: "Any", name: str, value: object, what: str = "") -> None:
        """Replace an attribute; its undo leaves alone what somebody else has put there since."""
        before = getattr(owner, name)
        setattr(owner, name, value)

        def undo() -> None:
            if getattr(owner, name, None) is value:
                setattr(owner, name, before)

        self.enter(what or f"{getattr(owner, '__name__', owner)}.{name}", undo)

    def environ(self, name: str, value: "str | None") -> None:
        """Set a variable of the environment, or remove it; its undo leaves alone what the program has set since."""
        before = os.environ.get(name)
        if before == value:
            return

        def put(wanted: "str | None") -> None:
            if wanted is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = wanted

        put(value)
        self.enter(f"${name}", lambda: put(before) if os.environ.get(name) == value else None)

    def undo(self) -> None:
        """Take everything back. One undo that fails does not keep the others from running.

        What another thread is taking back is waited for: until then a debugger cannot be loaded again.
        """
        alone = _undoing.acquire(timeout=UNDONE)  # not for ever: a fork may have it from a thread that it has not
        try:
            while self._entries:
                _, undo = self._entries.pop()
                try:
                    undo()
                except Exception:
                    pass
        finally:
            if alone:
                _undoing.release()

    def __iter__(self) -> "Any":
        return iter([what for what, _ in self._entries])
