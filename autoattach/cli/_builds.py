"""PyCharm's builds, and the releases of pydevd-pycharm that fit them."""

from __future__ import annotations

import importlib.metadata
import re


def parse(text: str) -> tuple[int, ...]:
    """(263, 7307, 50) of `PY-263.7307.50`; (263,) of the release `2026.3`. Raises ValueError."""
    release = re.fullmatch(r"20(\d\d)\.([1-4])(\.\d+)*", text)
    if release:
        return (int(release.group(1) + release.group(2)),)
    build = re.fullmatch(r"#?(?:[A-Z]+-)?(\d{3}(?:\.\d+){0,2})(?:\.\d+)*", text)
    if not build:
        raise ValueError(f"{text!r} is no build such as PY-263.7307.50 and no release such as 2026.3")
    return tuple(map(int, build.group(1).split(".")))


def requirement(build: tuple[int, ...]) -> str:
    """The releases of pydevd-pycharm that fit."""
    if len(build) == 1:
        return f"pydevd-pycharm=={build[0]}.*"
    return f"pydevd-pycharm~={'.'.join(map(str, build))}"


def fitting(build: tuple[int, ...]) -> list[str]:
    """Whether what is installed here fits PyCharm's build."""
    try:
        version = importlib.metadata.version("pydevd-pycharm")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if not build:
        here = f" (here it is {version})" if version else ""
        return [
            f"pydevd-pycharm must be of PyCharm's own build{here}. Help | About shows the build, and",
            "  autoattach config pycharm --build PY-263.7307.50",
            "says what to install for it.",
        ]
    if not version:
        return []
    fits = tuple(version.split(".")[:2])[: len(build)] == tuple(map(str, build[:2]))
    notes = [f"The pydevd-pycharm {version} that is installed here {'fits' if fits else 'does not fit'}."]
    if len(build) == 1:
        notes.append("That is as near as a release tells; the build that Help | About shows tells it exactly.")
    return notes
