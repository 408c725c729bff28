"""What was measured, and which bars hold: printed as it comes, and written to files."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

UNITS = {
    "ms": (1e3, "ms"),
    "s": (1.0, "s"),
    "M": (1e-6, "M instructions"),
    "MB": (1 / 2**20, "MB"),
    "x": (1.0, "times"),
}


class Report:
    """Rows (medians), bars and what was left out."""

    def __init__(self, quick: bool) -> None:
        self._quick = quick
        self._rows: list[dict[str, Any]] = []
        self._bars: list[dict[str, Any]] = []
        self._left_out: list[str] = []
        self._lines: list[str] = []
        self.versions: dict[str, str] = {}
        version = platform.python_version()
        self._say(f"Python {version}, {platform.platform()}, {os.cpu_count()} processors, load {_load()}")

    @property
    def missed(self) -> list[str]:
        """The bars that do not hold."""
        return [bar["bar"] for bar in self._bars if not bar["passed"]]

    def rounds(self, number: int) -> int:
        """How often to measure what is measured `number` times in a full run."""
        return max(3, number // 5) if self._quick else number

    def heading(self, text: str) -> None:
        """A new group."""
        self._say("", text, "-" * len(text))

    def row(self, what: str, values: list[float], unit: str, note: str = "") -> None:
        """A line with the median of the values, which are in seconds, bytes or instructions."""
        factor, spelled = UNITS[unit]
        middle = statistics.median(values)
        self._rows.append(
            {"what": what, "unit": unit, "median": middle * factor, "values": [v * factor for v in values]}
        )
        spread = f"{min(values) * factor:.3g} to {max(values) * factor:.3g}, {len(values)} runs"
        self._say(f"{what:<58} {middle * factor:>8.2f} {spelled}  ({spread}){'  ' + note if note else ''}")

    def bar(self, what: str, value: float, limit: float, unit: str = "", strictly: bool = False) -> None:
        """A bar, and whether it holds."""
        passed = value < limit if strictly else value <= limit
        self._bars.append({"bar": what, "value": value, "limit": limit, "unit": unit, "passed": passed})
        self._say(self._spell(self._bars[-1]))

    def leave_out(self, what: str, why: str) -> None:
        """Something could not be measured here."""
        self._left_out.append(f"{what}: {why}")
        self._say(f"{what}: left out ({why})")

    def broken(self, group: str, error: Exception) -> None:
        """A group that ended in an error: counts as a bar that does not hold."""
        text = str(error).strip().partition("\n")[0]
        self._bars.append(
            {"bar": f"{group}: {type(error).__name__}: {text}", "value": 1, "limit": 0, "unit": "", "passed": False}
        )
        self._say(self._spell(self._bars[-1]))

    def finish(self, output: Path) -> None:
        """Print the bars once more, and write the JSON file and the same as text beside it."""
        self.heading("The bars")
        self._say(*(self._spell(bar) for bar in self._bars))
        self._say(*(f"left out {text}" for text in self._left_out))
        missed = f"{len(self.missed)} MISSED" if self.missed else "all hold"
        self._say("", f"{len(self._bars)} bars, {missed}")
        output.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "python": sys.version,
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "load": _load(),
            "quick": self._quick,
            "versions": self.versions,
            "rows": self._rows,
            "bars": self._bars,
            "left out": self._left_out,
        }
        output.write_text(json.dumps(document, indent=1) + "\n")
        output.with_suffix(".txt").write_text("\n".join(self._lines) + "\n")
        print(f"written to {output}")

    def _spell(self, bar: dict[str, Any]) -> str:
        verdict = "pass" if bar["passed"] else "FAIL"
        return f"[{verdict}] {bar['bar']:<66} {bar['value']:.3f} {bar['unit']} (bar: {bar['limit']:g})"

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._lines.append(line.rstrip())
            print(line.rstrip(), flush=True)


def _load() -> float:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0
