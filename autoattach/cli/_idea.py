"""PyCharm's run configurations, as PyCharm itself writes them into .idea/runConfigurations/."""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from autoattach._errors import AttachError

SERVER = "PyRemoteDebugConfigurationType"
DAP = "PythonDapAttachConfiguration"
ROOT = "$PROJECT_DIR$"

# What XML 1.0 has no way to say, and what no name or path in a settings file should have
UNSPEAKABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# A byte-order mark, the declaration
HEAD = re.compile(r"\ufeff?(<\?xml[^>]*\?>\s*)?")

Element = ElementTree.Element


class NotUnderstood(ValueError):
    """The file is no run configuration that could be brought up to date. `str()` says why."""


class Wanted(NamedTuple):
    """A run configuration."""

    type: str
    """`SERVER`: PyCharm listens; `DAP`: PyCharm connects to debugpy."""
    name: str
    host: str
    port: int
    mappings: tuple[tuple[str, str], ...]
    """Pairs: the folder in PyCharm, the folder in which the program runs."""
    module: str = ""
    """PyCharm's name for the project, where it has one."""


def file_name(name: str) -> str:
    """The file in which PyCharm keeps the configuration of that name."""
    return re.sub(r"[^\w-]", "_", name) + ".xml"


def render(wanted: Wanted) -> str:
    """The file's text. Raises `AttachError` where something cannot stand in it."""
    return _text(_new(wanted))


def merge(text: str, wanted: Wanted) -> str:
    """The text of a file that is there, brought up to date; the same text where it is.

    What PyCharm or the user added (a folder, things to run before) stays. Raises `NotUnderstood`.
    """
    try:
        builder = ElementTree.TreeBuilder(insert_comments=True)
        root = ElementTree.fromstring(text.lstrip("\ufeff"), ElementTree.XMLParser(target=builder))  # noqa: S314 - the user's own file
    except ElementTree.ParseError as error:
        raise NotUnderstood(f"it is no XML ({error})") from None
    configurations = root.findall("configuration")
    if root.tag != "component" or len(configurations) != 1:
        raise NotUnderstood("it holds no run configuration")
    there, new = configurations[0], _new(wanted)
    if there.get("type") not in (SERVER, DAP) or there.get("name") != wanted.name:
        raise NotUnderstood(f"it holds {there.get('name')!r}, another configuration; --name gives yours another name")
    before = _text(root)
    if there.get("type") == wanted.type:
        for part in new.find("configuration") or ():
            _update(there, part)
    else:
        root.remove(there)
        root.extend(new)
    after = _text(root)
    if before == after:
        return text
    head, tail = text[: HEAD.match(text).end()], text[len(text.rstrip()) :]  # type: ignore[union-attr]
    return head + after.replace("\n", "\r\n" if "\r\n" in text else "\n") + tail


def _new(wanted: Wanted) -> Element:
    for text in (wanted.name, wanted.host, wanted.module, *(folder for pair in wanted.mappings for folder in pair)):
        if UNSPEAKABLE.search(text):
            raise AttachError(f"{text!r} cannot stand in PyCharm's settings", "give it without control characters")
    root = Element("component", name="ProjectRunConfigurationManager")
    configuration = _add(root, "configuration", default="false", name=wanted.name, type=wanted.type)
    if wanted.type == SERVER:
        configuration.set("factoryName", "Python Remote Debug")  # its name ever since; the window says Debug Server
        _add(configuration, "module", name=wanted.module)
        _option(configuration, "PORT", str(wanted.port))
        _option(configuration, "HOST", wanted.host)
        mappings = _add(_option(_add(configuration, "PathMappingSettings"), "pathMappings"), "list")
        for local, remote in wanted.mappings:
            _add(mappings, "mapping", **{"local-root": local, "remote-root": remote})
        _option(configuration, "REDIRECT_OUTPUT", "true")
        _option(configuration, "SUSPEND_AFTER_CONNECT", "false")
    else:
        local, remote = wanted.mappings[0] if wanted.mappings else (ROOT, ROOT)
        _option(configuration, "localRoot", local)
        host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
        _option(configuration, "remoteAddress", f"{host}:{wanted.port}")
        _option(configuration, "remoteRoot", remote)
    _add(configuration, "method", v="2")
    return root


def _update(there: Element, part: Element) -> None:
    """Put a part of our own in place of the same one that is there. `method`: what to run before; it is the user's."""
    same = [one for one in there.findall(part.tag) if part.tag != "option" or one.get("name") == part.get("name")]
    if not same:
        there.append(part)
    elif part.tag != "method" and not (part.tag == "module" and not part.get("name")):
        there[list(there).index(same[0])] = part


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _option(parent: Element, name: str, value: str | None = None) -> Element:
    return _add(parent, "option", name=name, **({} if value is None else {"value": value}))


def _text(element: Element, indent: str = "") -> str:
    """In PyCharm's layout: two spaces, no declaration, nothing behind the last tag."""
    tag: object = element.tag
    if tag is ElementTree.Comment:
        return f"{indent}<!--{element.text}-->"
    attributes = "".join(f" {name}={_quoted(value)}" for name, value in element.items())
    start, text = f"{indent}<{element.tag}{attributes}", escape((element.text or "").strip())
    children = [_text(child, indent + "  ") for child in element]
    if children:
        return "\n".join([f"{start}>{text}", *children, f"{indent}</{element.tag}>"])
    return f"{start}>{text}</{element.tag}>" if text else f"{start} />"


def _quoted(value: str) -> str:
    return '"' + escape(value, {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}) + '"'
