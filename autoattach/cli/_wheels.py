"""Wheels of the debuggers: had by pip, for Pythons that need not be here, and unpacked the same way each time."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import NamedTuple, Sequence

from autoattach._bundle import ANY
from autoattach._errors import AttachError
from autoattach._settings import VARIABLES

# The oldest libc first: what is built for that runs on more. PEP 600 and 656; and the names from before PEP 600.
GLIBC = range(5, 60)
MUSL = range(1, 10)
LEGACY = {"manylinux1": "2_5", "manylinux2010": "2_12", "manylinux2014": "2_17"}
# What no program on Linux reads: a compiler's files, and what is for other systems alone
UNREAD = (".c", ".cpp", ".h", ".hpp", ".pyx", ".pxd", ".pdb", ".pyd", ".exe", ".pyc")
LICENCES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
NETWORK = re.compile(r"connection|retrying|resolution|timed out|proxy|ssl|certificate|unreachable", re.IGNORECASE)


class Wheel(NamedTuple):
    """A file, and what its name says."""

    path: str
    release: str
    platform: str
    """Such as `manylinux_2_34_x86_64`; `any` for pure Python."""


def parse(path: str) -> Wheel:
    """What a wheel's name says of it. Source: the specification "Binary distribution format"."""
    fields = os.path.basename(path)[: -len(".whl")].split("-")
    platforms = fields[-1].split(".")
    for legacy, version in LEGACY.items():
        platforms = [one.replace(f"{legacy}_", f"manylinux_{version}_") for one in platforms]
    return Wheel(path, fields[1], min(platforms, key=_age))


def _age(platform: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"_(\d+)", platform)[:2])


def platforms(kind: str, machine: str) -> list[str]:
    """The platforms to ask for: `kind` is `manylinux` or `musllinux`, `machine` such as `x86_64`."""
    if kind == "musllinux":
        return [f"musllinux_1_{minor}_{machine}" for minor in MUSL]
    return [f"manylinux_2_{minor}_{machine}" for minor in GLIBC] + [f"{legacy}_{machine}" for legacy in LEGACY]


class Pip:
    """pip: this Python's own or, where it has none, the one that uv runs. It puts its files into a folder."""

    def __init__(self, folder: str) -> None:
        """Raises `AttachError` where there is neither."""
        self._folder = folder
        self._command = _find()

    def download(self, requirement: str, python: str, among: Sequence[str]) -> Wheel:
        """The newest release that there is for a Python, such as `3.9`, and one of the platforms.

        Raises `AttachError`.
        """
        words = ["download", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
        return self._get([*words, *(word for one in among for word in ("--platform", one))], requirement, python)

    def build(self, requirement: str) -> Wheel:
        """A wheel of pure Python, made of what is released as source alone. Raises `AttachError`."""
        # No compiler: what only makes it faster would bind it to this Python and this system. setup.py does without.
        return self._get(
            ["wheel", "--no-cache-dir", "--no-binary=pydevd-pycharm"], requirement, "", CC="false", CXX="false"
        )

    def _get(self, words: list[str], requirement: str, python: str, **variables: str) -> Wheel:
        folder = os.path.join(self._folder, f"pip-{len(os.listdir(self._folder))}")
        os.mkdir(folder)
        into = "--wheel-dir" if words[0] == "wheel" else "--dest"
        ours = {variable.name for variable in VARIABLES}
        environ = {name: value for name, value in os.environ.items() if name not in ours}
        environ.update(variables, PIP_DISABLE_PIP_VERSION_CHECK="1")
        command = [*self._command, words[0], "-q", "--no-input", "--no-deps", "--retries", "2", *words[1:]]
        done = subprocess.run(
            [*command, into, folder, requirement],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
        if done.returncode == 0 and len(wheels) == 1:
            return parse(os.path.join(folder, wheels[0]))
        raise _failure(done.stdout, requirement, python)


def _find() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "--quiet", "pip"]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "tool", "run", "--quiet", "pip"]
    raise AttachError(f"{sys.executable} has no pip, and there is no uv", f"{sys.executable} -m ensurepip")


def _failure(output: str, requirement: str, python: str) -> AttachError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    network = [line for line in lines if NETWORK.search(line)]
    whom = f"{requirement} for Python {python}" if python else requirement
    if network:
        what = network[-1].partition(": ")[2] or network[-1]
        return AttachError(f"the package index cannot be reached ({what[:200]})", "check the network, or PIP_INDEX_URL")
    if "No matching distribution" in output or "Could not find a version" in output:
        return AttachError(f"there is no release of {whom}", "pip index versions, with the name, shows what there is")
    errors = [line for line in lines if "error" in line.lower()] or lines or ["it says nothing"]
    return AttachError(f"pip cannot get {whom} ({errors[-1][:200]})", "pip download, by hand, shows more")


def unpack(wheel: Wheel, folder: str) -> None:
    """Its modules, and the licences, into a folder: the same bytes from whatever machine it was made on.

    Raises `AttachError` where it is damaged.
    """
    pure = wheel.platform == ANY
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            for name in sorted(archive.namelist()):
                target = _target(name, pure)
                if target:
                    path = os.path.join(folder, *target.split("/"))
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "wb") as file:
                        file.write(archive.read(name))
    except (zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise AttachError(f"{os.path.basename(wheel.path)} is damaged ({error})", "pip cache purge") from None


def _target(name: str, pure: bool) -> str:
    """Where a member goes, or an empty string for what is left out."""
    parts = name.split("/")
    last = parts[-1]
    if not last or ".." in parts or last.endswith(UNREAD):
        return ""
    if parts[0].endswith(".dist-info"):  # the rest of it says how the wheel was made
        return last if last.upper().startswith(LICENCES) else ""
    if parts[0].endswith(".data"):
        return ""
    if pure and last.endswith(".so") and parts[-2] != "pydevd_attach_to_process":  # for another system
        return ""
    return name
