"""Every variable: its value, what is wrong with it, what holds where it is unset, and those that are misspelt."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from typing import Iterator, Mapping

from autoattach._errors import AttachError
from autoattach._leader import how_long
from autoattach._network import resolve
from autoattach._plan import HOST, PORT, UNATTENDED_WAIT, Lead
from autoattach._settings import FOREVER, VARIABLES, Settings
from autoattach.cli._findings import INFO, OK, WARNING, WRONG, Finding

AS_IF = "1 "  # START_DEBUGGER, where it is unset and this is to answer as if it were not
NAMES = [variable.name for variable in VARIABLES]
# What Kubernetes sets for a service that is called "debugger"
SERVICE_LINKS = re.compile(r"DEBUGGER_(SERVICE_(HOST|PORT).*|PORT_[0-9]+_(TCP|UDP).*)")


def variables(
    environ: Mapping[str, str], settings: Settings, terminal: bool, lead: Lead | None, outside: Mapping[str, str]
) -> Iterator[Finding]:
    """A line for each variable. `outside` is the environment before the command line has changed it."""
    problems = {problem.name: problem for problem in settings.problems}
    unset = _unset(terminal, lead)
    for variable in VARIABLES:
        name = variable.name
        value = "" if environ.get(name) == AS_IF else environ.get(name, "").strip()
        source = (
            "" if environ.get(name) == AS_IF or outside.get(name) == environ.get(name) else " (by the command line)"
        )
        shown = "..." if "TOKEN" in name else value
        if name in problems:
            problem = problems[name]
            yield Finding(name, WRONG, f"{problem.what}{source}", problem.advice)
        elif not value and name == "START_DEBUGGER" and not settings.on:
            what = "the command line takes START_DEBUGGER away, as sudo does"
            yield Finding(name, WRONG, what, "sudo START_DEBUGGER=1 ..., or sudo -E")
        elif not value:
            yield Finding(name, INFO, f"{name} is unset{source}: {unset.get(name, variable.meaning)}")
        elif name == "START_DEBUGGER" and not settings.on:
            yield Finding(name, WRONG, f"{name}={shown} is off{source}", "START_DEBUGGER=1")
        elif name == "DEBUGGER_PORT" and settings.ports is None:
            what = f"{name}={shown} is a service link of Kubernetes, and counts as unset: {PORT}"
            yield Finding(name, OK, what)
        else:
            yield Finding(name, OK, f"{name}={shown}{source}")
    for name in sorted(environ):
        yield from _misspelt(name, environ[name])
    yield from _host(settings, lead)
    yield from _mappings(settings)
    if settings.log and os.path.exists(settings.log) and not os.path.isdir(settings.log):
        yield Finding("DEBUGGER_LOG", WRONG, f"DEBUGGER_LOG={settings.log} is no folder", "name a folder")


def _unset(terminal: bool, lead: Lead | None) -> dict[str, str]:
    wait = f"{how_long(FOREVER)}, for stderr is a terminal" if terminal else how_long(UNATTENDED_WAIT)
    return {
        "START_DEBUGGER": "off; what stands here is as if it were 1",
        "DEBUGGER_IDE": f"{lead.debugger}{lead.why}" if lead else "by what is installed",
        "DEBUGGER_HOST": HOST,
        "DEBUGGER_PORT": str(PORT),
        "DEBUGGER_MODE": lead.mode if lead else "what the debugger does by nature",
        "DEBUGGER_WAIT": f"holds the program {wait}",
        "DEBUGGER_ONLY": "every program but tools such as pip",
        "DEBUGGER_SKIP": "nothing but tools such as pip",
        "DEBUGGER_SUBPROCESS": "children attach, too",
        "DEBUGGER_PATH_MAPPINGS": "none; what the IDE sends wins",
        "DEBUGGER_STRICT": "without a session the program runs on",
        "DEBUGGER_LOG": "none",
        "DEBUGGER_VERBOSE": "only what has to be acted on",
        "DEBUGGER_REQUEST_TOKEN": "with START_DEBUGGER=request whoever asks is debugged",
    }


def _misspelt(name: str, value: str) -> Iterator[Finding]:
    if name in NAMES or SERVICE_LINKS.fullmatch(name):
        return
    near = difflib.get_close_matches(name.upper(), NAMES, 1, 0.5 if name.startswith("DEBUGGER_") else 0.85)
    if near:
        yield Finding(name, WARNING, f"{name} is no variable of autoattach", f"{near[0]}={value}, if that is meant")


def _host(settings: Settings, lead: Lead | None) -> Iterator[Finding]:
    if lead is None or lead.mode != "listen" or not settings.host:
        return
    try:
        loopback = ipaddress.ip_address(str(resolve(lead.host, lead.ports[0], passive=True)[1][0])).is_loopback
    except (AttachError, ValueError):  # the port's line says so
        return
    if not loopback:
        yield Finding(
            "address",
            WARNING,
            f"DEBUGGER_HOST={lead.host} is reached from other machines, and whoever reaches it runs code as this user",
            "unset DEBUGGER_HOST, and forward the port with ssh",
        )


def _mappings(settings: Settings) -> Iterator[Finding]:
    for local, remote in settings.path_mappings:
        if os.path.exists(remote):
            continue
        swapped = f"{remote}={local}" if os.path.exists(local) else f"{local}=A_FOLDER_THAT_IS_HERE"
        yield Finding(
            "DEBUGGER_PATH_MAPPINGS",
            WARNING,
            f"DEBUGGER_PATH_MAPPINGS: {remote} is not on this machine (LOCAL is the IDE's folder, REMOTE the one here)",
            f"DEBUGGER_PATH_MAPPINGS={swapped}",
        )
