"""The virtual environments to measure in, for the Python that runs the benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
OURS = "autoattach"
LIMIT = 600.0  # seconds that an installer may take


class Missing(Exception):
    """Something cannot be installed here; the text says what."""


class Environments:
    """Made when they are first asked for, with uv where it is there, else with venv and pip."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "environments"
        self._made: dict[tuple[str, ...], Path] = {}
        self._uv = shutil.which("uv")
        self.versions: dict[str, str] = {}

    def python(self, *packages: str) -> str:
        """The Python of an environment with these packages and nothing else, not even pip. Raises `Missing`."""
        if packages not in self._made:
            path = self._folder / ("-".join(packages) or "bare")
            self._create(path)
            self._made[packages] = path
            if packages:
                print(f"... installing {' '.join(packages)}", file=sys.stderr)
                self._install(path, [self._source() if package == OURS else package for package in packages])
        return str(_python(self._made[packages]))

    def hooks(self, *packages: str) -> list[str]:
        """The names of the .pth files of an environment."""
        return sorted(path.name for path in _site_packages(self._made[packages]).glob("*.pth"))

    def _create(self, path: Path) -> None:
        if self._uv:
            _run(self._uv, "venv", "-q", "--python", sys.executable, path)
        else:
            _run(sys.executable, "-m", "venv", "--without-pip", path)
        for name in ("_virtualenv.pth", "_virtualenv.py"):  # a hook of uv's own, for old Pythons
            hook = _site_packages(path) / name
            if hook.exists():
                hook.unlink()

    def _install(self, path: Path, packages: list[str]) -> None:
        if self._uv:
            _run(self._uv, "pip", "install", "-q", "--python", _python(path), *packages)
        else:
            pip = self._folder / "pip"
            if not pip.exists():  # one of its own: setuptools comes with it on some Pythons, and brings a hook
                _run(sys.executable, "-m", "venv", pip)
                _run(_python(pip), "-m", "pip", "install", "-q", "--upgrade", "pip")
            _run(_python(pip), "-m", "pip", "--python", _python(path), "install", "-q", *packages)
        for record in _site_packages(path).glob("*.dist-info"):
            name, _, version = record.name[: -len(".dist-info")].partition("-")
            self.versions[name] = version

    def _source(self) -> str:
        """A copy of what the package is built from: building leaves files where it is done."""
        copy = self._folder / "source"
        if not copy.exists():
            for name in (OURS, "sitecustomize_template"):
                shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("autoattach.pth", "pyproject.toml", "setup.py", "README.rst", "LICENSE"):
                shutil.copy(CHECKOUT / name, copy)
        return str(copy)


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _site_packages(environment: Path) -> Path:
    if os.name == "nt":
        return environment / "Lib" / "site-packages"
    return environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
    if done.returncode:
        raise Missing(f"{' '.join(words)}: {done.stdout.decode(errors='replace').strip()[-1000:]}")
