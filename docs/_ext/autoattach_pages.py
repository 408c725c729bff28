"""What the pages take from the code as they are built, so that they cannot say something else.

`.. variables::` the table of variables; `.. commands::` each command's help; `.. modules:: NAME ...` what is documented
in those of the modules that are there; `.. exclusions:: TABLE` what is never attached to.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from importlib import import_module
from typing import Any, Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles


class Written(SphinxDirective):
    """reStructuredText that `lines()` makes, parsed where the directive stands."""

    optional_arguments = 99
    has_content = True

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        place = nodes.section()
        place.document = self.state.document
        nested_parse_with_titles(self.state, StringList(list(self.lines()), source=self.env.docname), place)
        return place.children


class Variables(Written):
    """The table of variables: the code's own."""

    def lines(self) -> Iterator[str]:
        from autoattach._settings import VARIABLES

        yield from [
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 32 68",
            "",
            "   * - Variable",
            "     - Meaning",
        ]
        for variable in VARIABLES:
            yield from [f"   * - ``{variable.name}``", f"     - {variable.meaning}"]


class Exclusions(Written):
    """A table of `_exclusions`: the pattern, and what it is."""

    def lines(self) -> Iterator[str]:
        from autoattach import _exclusions

        yield from [".. list-table::", "   :header-rows: 1", "", "   * - What runs", "     - What it is"]
        for pattern, what in getattr(_exclusions, self.arguments[0]):
            yield from [f"   * - ``{pattern}``", f"     - {what}"]


class Commands(Written):
    """The help of each command, and of what stands below it."""

    def lines(self) -> Iterator[str]:
        from autoattach.cli import COMMANDS

        os.environ.update(COLUMNS="100", NO_COLOR="1")
        for name in COMMANDS:
            command: Any = import_module(f"autoattach.cli.{name}")
            title = f"autoattach {command.NAME}"
            parser = argparse.ArgumentParser(prog=title, description=command.HELP)
            command.add_arguments(parser)
            yield from [title, "-" * len(title), ""]
            for one in parsers(parser):
                yield from [f"``{one.prog} --help``::", ""]
                yield from [f"    {line}" for line in one.format_help().splitlines()]
                yield ""


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action.choices.values():
                yield from parsers(choice)


class Modules(Written):
    """The documentation of those of the modules that are there."""

    def lines(self) -> Iterator[str]:
        for name in " ".join([*self.arguments, *self.content]).split():
            if importlib.util.find_spec(name) is not None:
                yield from [name, "-" * len(name), "", f".. automodule:: {name}", "   :members:", ""]


def setup(app: Sphinx) -> dict[str, object]:
    for name, directive in (
        ("variables", Variables),
        ("exclusions", Exclusions),
        ("commands", Commands),
        ("modules", Modules),
    ):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
