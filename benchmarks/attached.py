"""An IDE that is there at once: from exec to the program's first line, beside what people do without us."""

from __future__ import annotations

from pathlib import Path

from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server
from benchmarks.environments import OURS, Environments, Missing
from benchmarks.programs import FIRST_LINE, HOST, LIMIT, Program, free_port, interleave, ratio
from benchmarks.report import Report

APP = FIRST_LINE + "time.sleep(0.1)\n"

DEBUGPY_RECIPE = """\
import sys
import debugpy
debugpy.listen(("127.0.0.1", int(sys.argv[1])))
debugpy.wait_for_client()
"""

# Until 252.16512 the keywords are spelled the one way, then the other.
PYCHARM_RECIPE = """\
import sys
import pydevd_pycharm
host, port = "127.0.0.1", int(sys.argv[1])
try:
    pydevd_pycharm.settrace(host, port=port, stdout_to_server=True, stderr_to_server=True, suspend=False)
except TypeError:
    pydevd_pycharm.settrace(host, port=port, stdoutToServer=True, stderrToServer=True, suspend=False)
"""


def measure(report: Report, environments: Environments, folder: Path) -> None:
    """debugpy, then pydevd-pycharm."""
    app = folder / "app.py"
    app.write_text(APP)

    recipe = folder / "debugpy_recipe.py"
    recipe.write_text(DEBUGPY_RECIPE + APP)
    plain, ours = environments.python("debugpy"), environments.python("debugpy", OURS)

    def listening(*command: object, **variables: object) -> float:
        port = free_port()
        words = [str(word).replace("PORT", str(port)) for word in command]
        if variables:
            variables["DEBUGGER_PORT"] = port
        with Program(*words, folder=folder, **variables) as program:
            client = Client(program.connect(port))
            try:
                client.attach()
                program.wait()
            finally:
                client.close()
            return program.first_line_after()

    report.heading("On, VS Code there at once: from exec to the program's first line")
    command = "debugpy --listen --wait-for-client"
    times = interleave(
        report.rounds(20),
        {
            OURS: lambda: listening(ours, app, START_DEBUGGER=1, DEBUGGER_WAIT=LIMIT),
            command: lambda: listening(plain, "-m", "debugpy", "--listen", f"{HOST}:PORT", "--wait-for-client", app),
            "import debugpy; listen; wait_for_client": lambda: listening(plain, recipe, "PORT"),
        },
    )
    for name, values in times.items():
        report.row(name, values, "ms")
    for name in list(times)[1:]:
        report.bar(f"attached: to {name}", ratio(times[OURS], times[name]), 1.05)

    report.heading("On, PyCharm there already: from exec to the program's first line")
    try:
        plain, ours = environments.python("pydevd-pycharm"), environments.python("pydevd-pycharm", OURS)
    except Missing as error:
        return report.leave_out("attached: PyCharm", str(error).splitlines()[-1])
    recipe = folder / "pycharm_recipe.py"
    recipe.write_text(PYCHARM_RECIPE + APP)

    def connecting(*command: object, **variables: object) -> float:
        with Server(HOST) as server:
            words = [str(word).replace("PORT", str(server.port)) for word in command]
            if variables:
                variables["DEBUGGER_PORT"] = server.port
            with Program(*words, folder=folder, **variables) as program:
                server.accept(LIMIT).start({})
                program.wait()
                # Without us a release may print on stdout as well.
                told = next(line for line in program.stdout.splitlines() if line.isdigit())
                return (int(told) - program.started) / 1e9

    times = interleave(
        report.rounds(20),
        {
            OURS: lambda: connecting(ours, app, START_DEBUGGER=1, DEBUGGER_WAIT=LIMIT),
            "import pydevd_pycharm; settrace": lambda: connecting(plain, recipe, "PORT"),
        },
    )
    for name, values in times.items():
        report.row(name, values, "ms")
    for name in list(times)[1:]:
        report.bar(f"attached: to {name}", ratio(times[OURS], times[name]), 1.05)
