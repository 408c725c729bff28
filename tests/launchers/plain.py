"""A script, started in each way that there is, and what stands before a Python on a command line."""

from __future__ import annotations

from launchers.launcher import RUNS, Launcher, runs_by_itself

APP = """
    import sys

    def main():
        n = 21
        print(n * 2)  # breakpoint

    if __name__ == "__main__":
        main()
"""
PARENT = """
    import subprocess, sys

    if __name__ == "__main__":
        sys.exit(subprocess.run(COMMAND, shell=SHELL).returncode)
"""
SLOT = "PyCharm: the script has the slot."
SCRIPT = "#!{python}\nimport sys\nfrom app import main\nsys.exit(main())\n"


def launcher(id: str, *command: str, **more: object) -> Launcher:
    files = {"app.py": APP, "tool": SCRIPT, **more.pop("files", {})}  # type: ignore[dict-item]
    return Launcher(id, files, command, runs_by_itself, serves=False, **more)  # type: ignore[arg-type]


def parent(command: str, shell: bool) -> dict[str, str]:
    return {"parent.py": PARENT.replace("COMMAND", command).replace("SHELL", str(shell))}


LAUNCHERS = [
    launcher("python app.py", "{python}", "app.py"),
    launcher("python -m app", "{python}", "-m", "app"),
    launcher("console script", "{folder}/tool", shown="tool"),
    launcher("sh -c", "sh", "-c", "{python} app.py; exit $?"),
    launcher("env", "env", "-u", "LANGUAGE", "{python}", "app.py"),
    launcher("nice", "nice", "-n", "1", "{python}", "app.py"),
    launcher(
        "subprocess",
        "{python}",
        "parent.py",
        files=parent("[sys.executable, 'app.py']", False),
        ptvsd=RUNS,
        pycharm=RUNS,
        note=SLOT,
    ),
    launcher(
        "subprocess with a shell",
        "{python}",
        "parent.py",
        files=parent("'{python} app.py; exit $?'", True),
        ptvsd=RUNS,
        pycharm=RUNS,
        note=SLOT,
    ),
    launcher(
        "subprocess of a console script",
        "{python}",
        "parent.py",
        files=parent("['{folder}/tool']", False),
        ptvsd=RUNS,
        pycharm=RUNS,
        note=SLOT,
    ),
]
