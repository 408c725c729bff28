"""The table of launchers: a row for each, in a module for each family."""

from __future__ import annotations

from launchers import jobs, plain, system, web

LAUNCHERS = {launcher.id: launcher for family in (plain, web, jobs, system) for launcher in family.LAUNCHERS}
