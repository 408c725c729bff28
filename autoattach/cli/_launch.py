"""VS Code's launch.json: one attach configuration, and a file that is there brought up to date with it."""

from __future__ import annotations

import json
from typing import Any

from autoattach._errors import AttachError
from autoattach.cli import _files, _jsonc

# The types of debugpy's configurations: of the Python Debugger extension, and before that of the Python extension
TYPES = ("debugpy", "python")


def configuration(
    name: str, ide_listens: bool, host: str, port: int, mappings: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """The configuration. `mappings`: pairs, the folder in VS Code, and that in which the program runs."""
    found: dict[str, Any] = {
        "name": name,
        "type": "debugpy",
        "request": "attach",
        "listen" if ide_listens else "connect": {"host": host, "port": port},
    }
    if mappings:
        found["pathMappings"] = [{"localRoot": local, "remoteRoot": remote} for local, remote in mappings]
    found.update(subProcess=True, justMyCode=False)
    return found


def whole(configuration: dict[str, Any], newline: str = "\n") -> str:
    """A launch.json with nothing else in it, without the last line's end."""
    return _jsonc.dumps({"version": "0.2.0", "configurations": [configuration]}, newline=newline)


def merge(text: str, configuration: dict[str, Any]) -> str:
    """A launch.json with the configuration in it. What is not ours stays, byte for byte.

    Raises `_jsonc.NotUnderstood`, and `AttachError` where somebody else's configuration has the name.
    """
    mark, text = text[: text.startswith(_files.BOM)], text.lstrip(_files.BOM)
    if _jsonc.is_empty(text):
        newline = "\r\n" if "\r\n" in text else "\n"
        above = text.rstrip() + newline if text.strip() else ""
        return mark + above + whole(configuration, newline) + newline
    there = _jsonc.loads(text)
    if not isinstance(there, dict):
        raise _jsonc.NotUnderstood("it holds no object")
    if "configurations" not in there:
        return mark + _jsonc.put(text, ["configurations"], [configuration])
    if not isinstance(there["configurations"], list):
        raise _jsonc.NotUnderstood('"configurations" is no list')
    for number, one in enumerate(there["configurations"]):
        if isinstance(one, dict) and one.get("name") == configuration["name"]:
            if one.get("type") not in TYPES or one.get("request") != "attach":
                raise AttachError(
                    f"launch.json has another configuration with the name {one['name']!r}",
                    "--name gives yours another one",
                )
            place: list[str | int] = ["configurations", number]
            for key in ("connect", "listen", "pathMappings", "host", "port"):
                if key not in configuration:
                    text = _jsonc.drop(text, [*place, key])
            for key, value in configuration.items():
                if json.dumps(one.get(key)) != json.dumps(value):
                    text = _jsonc.put(text, [*place, key], value)
            return mark + text
    return mark + _jsonc.put(text, ["configurations", len(there["configurations"])], configuration)
