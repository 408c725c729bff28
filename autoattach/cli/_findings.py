"""What doctor has found, one line each."""

from __future__ import annotations

from typing import NamedTuple

OK, WARNING, WRONG, INFO = "ok", "warning", "wrong", "info"


class Finding(NamedTuple):
    """One thing that was looked at."""

    check: str
    """What was looked at: one word or a variable's name."""
    status: str
    """`ok`; `wrong`: it keeps from attaching, or is a mistake; `warning`: it may be one; `info`."""
    what: str
    """What was found."""
    type: str = ""
    """What to type, or to do, where it is not well."""
