"""JSON as VS Code writes it: with comments and trailing commas. Edits keep every byte that need not change.

A place is a path from the root: `["configurations", 0, "name"]`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterator, Sequence, Union

Path = Sequence[Union[str, int]]

TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+ | //[^\r\n]* | /\*.*?\*/)
      | (?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")
      | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<word>true|false|null)
      | (?P<mark>[][{},:])""",
    re.DOTALL | re.VERBOSE,
)
INDENTED = re.compile(r"^([ \t]+)[\"{\[]", re.MULTILINE)
UNIT = "    "


class NotUnderstood(ValueError):
    """The text is no JSON, comments and trailing commas allowed. `str()` says where."""


class Child:
    """A member of an object, or an item of an array."""

    def __init__(self, key: str | int, start: int, node: Node) -> None:
        self.key = key
        self.start = start
        """Of its key, or of the item."""
        self.node = node
        self.comma: int | None = None
        """Where the comma behind it stands."""


class Node:
    """A value, and where it stands in the text."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.data: Any = None
        self.children: list[Child] = []

    def child(self, key: str | int) -> Child | None:
        """The one of that name; of several the last, which is the one that counts."""
        return next((child for child in reversed(self.children) if child.key == key), None)


def loads(text: str) -> Any:
    """The value; None, too, where there is nothing but comments. Raises `NotUnderstood`."""
    node = _parse(text)
    return None if node is None else node.data


def is_empty(text: str) -> bool:
    """Whether there is nothing but comments. Raises `NotUnderstood`."""
    return _parse(text) is None


def dumps(value: Any, unit: str = UNIT, indent: str = "", newline: str = "\n") -> str:
    """As VS Code lays it out, each line but the first behind `indent`."""
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", newline + indent)


def put(text: str, path: Path, value: Any) -> str:
    """The text with the value at that place: replaced where there is one, else added at the end of its container."""
    container = _find(text, path[:-1])
    child = container.child(path[-1])
    newline = "\r\n" if "\r\n" in text else "\n"
    found = INDENTED.search(text)
    unit = found.group(1) if found else UNIT
    if child is not None:
        flat = "\n" not in text[child.node.start : child.node.end] and bool(child.node.children)
        new = _flat(value) if flat else dumps(value, unit, _indent(text, child.start), newline)
        return text[: child.node.start] + new + text[child.node.end :]
    key = f"{_flat(path[-1])}: " if isinstance(path[-1], str) else ""
    if container.children and "\n" not in text[container.start : container.end]:
        last = container.children[-1]
        at, before, behind = (last.node.end, ", ", "") if last.comma is None else (last.comma + 1, " ", ",")
        return text[:at] + before + key + _flat(value) + behind + text[at:]
    indent = _indent(text, container.start) + unit
    behind = ""
    if container.children:
        last = container.children[-1]
        if not text[_line(text, last.start) : last.start].strip():
            indent = _indent(text, last.start)
        if last.comma is None:
            text = text[: last.node.end] + "," + text[last.node.end :]
            container = _find(text, path[:-1])
        else:
            behind = ","
    at = len(text[: container.end - 1].rstrip(" \t\r\n"))
    if "\n" not in text[at : container.end - 1]:  # the closing bracket gets a line of its own
        behind += newline + _indent(text, container.start)
    return text[:at] + newline + indent + key + dumps(value, unit, indent, newline) + behind + text[at:]


def drop(text: str, path: Path) -> str:
    """The text without the value at that place, its key and one comma; comments stay."""
    container = _find(text, path[:-1])
    child = container.child(path[-1])
    if child is None:
        return text
    end = child.node.end
    if child.comma is not None:
        between = text[end : child.comma]
        text = text[:end] + between + text[child.comma + 1 :]
    else:
        before = container.children[: container.children.index(child)]
        comma = before[-1].comma if before else None
        if comma is not None:
            text = text[:comma] + text[comma + 1 :]
            child.start, end = child.start - 1, end - 1
    line = _line(text, child.start)
    rest = re.compile(r"[ \t]*(\r?\n|$)").match(text, end)
    if rest and not text[line : child.start].strip():
        return text[:line] + text[rest.end() :]
    end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    return text[: child.start] + text[end:]


def _find(text: str, path: Path) -> Node:
    node = _parse(text)
    for key in path:
        child = node.child(key) if node is not None else None
        node = child.node if child is not None else None
    if node is None:
        raise KeyError(path)
    return node


def _flat(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _indent(text: str, at: int) -> str:
    line = text[_line(text, at) :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _parse(text: str) -> Node | None:
    tokens = _Tokens(text)
    if tokens.kind == "end":
        return None
    try:
        node = _value(tokens)
    except RecursionError:
        raise NotUnderstood("it is nested too deep") from None
    tokens.expect("end")
    return node


class _Tokens:
    """The tokens of a text, one at a time; `kind` is string, number, word, end, or the mark itself."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        """Of the token before."""
        self._all = self._scan()
        self.kind, self.start, self._next_end = next(self._all)

    def _scan(self) -> Iterator[tuple[str, int, int]]:
        at = 0
        while at < len(self.text):
            found = TOKEN.match(self.text, at)
            if found is None:
                raise self.error(at)
            at = found.end()
            if found.lastgroup != "space":
                kind = found.group() if found.lastgroup == "mark" else str(found.lastgroup)
                yield kind, found.start(), at
        yield "end", at, at

    def expect(self, *kinds: str) -> str:
        """Take the next token, of one of these kinds; its text. Raises `NotUnderstood`."""
        if self.kind not in kinds:
            raise self.error(self.start)
        self.end = self._next_end
        text = self.text[self.start : self.end]
        if self.kind != "end":
            self.kind, self.start, self._next_end = next(self._all)
        return text

    def error(self, at: int) -> NotUnderstood:
        """What stands there is not what may."""
        line = self.text.count("\n", 0, at) + 1
        return NotUnderstood(f"line {line}, column {at - _line(self.text, at) + 1}")


def _value(tokens: _Tokens) -> Node:
    node = Node(tokens.start)
    if tokens.kind not in ("{", "["):
        token = tokens.expect("string", "number", "word")
        node.end = tokens.end
        try:
            node.data = json.loads(token)
        except ValueError:  # an unknown escape
            raise tokens.error(node.start) from None
        return node
    close = "}" if tokens.expect("{", "[") == "{" else "]"
    while tokens.kind != close:
        if node.children and node.children[-1].comma is None:
            raise tokens.error(tokens.start)
        start = tokens.start
        key: str | int = len(node.children)
        if close == "}":
            key = json.loads(tokens.expect("string"))
            tokens.expect(":")
        child = Child(key, start, _value(tokens))
        node.children.append(child)
        if tokens.kind == ",":
            child.comma = tokens.start
            tokens.expect(",")
    tokens.expect(close)
    node.end = tokens.end
    if close == "}":
        node.data = {child.key: child.node.data for child in node.children}
    else:
        node.data = [child.node.data for child in node.children]
    return node
