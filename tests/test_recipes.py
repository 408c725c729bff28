"""What is ready to copy in examples/: read by the tools that it is for, and run as far as a machine without them can.

There is no engine and no cluster here. Their files are checked by their own programs and by the published schemas; then
what they start is started, with the environment that they give, and their folders in the places that they say.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, Iterator

import pytest
from launchers.ides import VsCode
from launchers.launcher import cron_can_be_played
from launchers.system import CRON
from support import LIMIT, Program, environment, free_port, listeners, needs, wait_until, write
from test_examples import EXAMPLES, Example, example, get  # noqa: F401 - a fixture

import autoattach
from autoattach.cli import _jsonc, _launch

DOCKER = EXAMPLES / "docker"
KUBERNETES = EXAMPLES / "kubernetes"
TEMPLATE = EXAMPLES.parent / "sitecustomize_template" / "sitecustomize.py"
BIN = Path(sys.executable).parent
pytestmark = [
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="there are no examples beside these tests"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="what these files are for runs on POSIX systems"),
]


def tool(name: str) -> str:
    """The path of a program: the one beside this Python, or the machine's; where there is none the test is skipped."""
    found = shutil.which(name, path=os.pathsep.join([str(BIN), os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def output(*command: object, cwd: Path = EXAMPLES, **env: object) -> str:
    """What a program says on both streams; it succeeds."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def yaml(text: str) -> Any:
    """The one document of a text."""
    return pytest.importorskip("yaml").safe_load(text)


def path() -> str:
    """A PATH on which `python` is this one."""
    return f"{BIN}{os.pathsep}{os.environ['PATH']}"


# --- Docker: the files


def test_the_dockerfiles_can_be_built_from_what_is_there() -> None:
    """Each file that is copied into the image is there, the image starts what it has, and has the debugger off."""
    parse = pytest.importorskip("dockerfile_parse").DockerfileParser
    steps = parse(fileobj=(DOCKER / "Dockerfile").open("r+b")).structure
    said = {step["instruction"]: step["value"] for step in steps}
    there = "/app/"
    copied = {
        name for step in steps if step["instruction"] == "COPY" for name in step["value"].split()[:-1]
    }  # the last is where to
    assert copied == {"requirements.txt", "entrypoint.sh", "migrate.py", "server.py"}
    assert all((DOCKER / name).is_file() for name in copied)
    assert said["WORKDIR"] + "/" == there
    assert yaml(said["ENTRYPOINT"]) == ["sh", there + "entrypoint.sh"]
    assert yaml(said["CMD"]) == ["python", "server.py"]
    assert "autoattach[vscode]" in (DOCKER / "requirements.txt").read_text().split()
    assert "ENV" not in said
    bundle = parse(fileobj=(KUBERNETES / "bundle" / "Dockerfile").open("r+b")).structure
    assert "debug /debug" in [step["value"] for step in bundle if step["instruction"] == "COPY"]


@pytest.mark.parametrize("name", ["docker/Dockerfile", "kubernetes/bundle/Dockerfile"])
def test_hadolint_has_no_objection(name: str) -> None:
    """The Dockerfiles follow the rules of hadolint."""
    assert output(tool("hadolint"), "--no-color", name) == ""


def test_shellcheck_has_no_objection() -> None:
    """The entrypoint is a script for any POSIX shell, without a known trap."""
    assert output(tool("shellcheck"), "--shell=sh", DOCKER / "entrypoint.sh") == ""


@pytest.mark.parametrize("name", ["compose.yaml", "compose.bundle.yaml"])
def test_compose_files_follow_the_published_schema(name: str) -> None:
    """The Compose Specification's own schema takes them."""
    output(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DOCKER / name)


def compose(*names: str, **env: object) -> dict[str, Any]:
    """The service as docker compose understands it."""
    program = [tool("docker-compose")]
    files = [word for name in names for word in ("-f", DOCKER / name)]
    merged: dict[str, Any] = yaml(output(*program, "--project-directory", DOCKER, *files, "config", **env))
    service: dict[str, Any] = merged["services"]["app"]
    return service


def published(service: dict[str, Any]) -> set[tuple[str, str, int]]:
    return {(port.get("host_ip", ""), port["published"], port["target"]) for port in service["ports"]}


def test_compose_is_off_unless_the_shell_says_otherwise() -> None:
    """START_DEBUGGER=1 docker compose up debugs; without it the variable is unset in the container. The ports are this machine's only."""
    off = compose("compose.yaml")
    assert {name for name, value in off["environment"].items() if value is not None} == {"DEBUGGER_HOST"}
    on = compose("compose.yaml", START_DEBUGGER="1", DEBUGGER_WAIT="0")
    assert on["environment"] == {"START_DEBUGGER": "1", "DEBUGGER_WAIT": "0", "DEBUGGER_HOST": "0.0.0.0"}
    assert published(on) == {("127.0.0.1", "8000", 8000), ("127.0.0.1", "9000", 9000)}
    assert on["build"]["context"] == str(DOCKER)


def test_compose_mounts_the_bundle_where_it_is_looked_for() -> None:
    """Over another file: the bundle is at the place that PYTHONPATH names, read-only; the service keeps what it had."""
    service = compose("compose.yaml", "compose.bundle.yaml")
    (volume,) = service["volumes"]
    assert (volume["source"], volume["target"], volume["read_only"]) == (str(DOCKER / "debug"), "/opt/debug", True)
    assert service["environment"]["PYTHONPATH"] == volume["target"]
    assert service["environment"]["START_DEBUGGER"] == "1"
    assert published(service) == published(compose("compose.yaml"))


# --- Docker: the entrypoint, run

SHELLS = ["sh", "bash", "dash", "busybox"]
SLOW = """
    import time
    print("migrating", flush=True)
    time.sleep(1000)
"""


def entrypoint(shell: str) -> list[str]:
    return [tool(shell), *(["sh"] if shell == "busybox" else []), "entrypoint.sh", "python", "server.py"]


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A copy of the example."""
    return Path(shutil.copytree(DOCKER, tmp_path / "app"))


@needs("debugpy")
@pytest.mark.parametrize("shell", SHELLS)
def test_entrypoint(example: Any, shell: str) -> None:  # noqa: F811
    """The migrations run, undebugged and not held; the server is held, stops at its breakpoint, and is the shell's own process: SIGTERM ends it."""
    one: Example = example("debugpy")
    one.folder /= "docker"
    http = free_port()
    running = one.start(*entrypoint(shell), START_DEBUGGER=1, PORT=http, PATH=path())
    running.http = http
    one.ide.attach()
    answer = get(running, "/")
    stop = one.stop()
    assert (stop.locals["n"], stop.pid) == ("21", running.program.pid)
    assert running.program.stdout == "migrated to version 7\n"
    stop.go_on()
    assert answer.result(LIMIT) == "42\n"
    assert set(re.findall(r"^autoattach\[(\d+)\]", running.program.stderr, re.MULTILINE)) <= {str(stop.pid)}
    running.program.send(signal.SIGTERM)
    assert running.program.wait() == 0
    running.wait_nothing_left()


@pytest.mark.parametrize("shell", SHELLS)
def test_entrypoint_whose_migrations_fail(docker: Path, shell: str) -> None:
    """The server is not started, and the status is that of the migrations."""
    write(docker, "migrate.py", "raise SystemExit(3)")
    with Program(docker, *entrypoint(shell)[1:], python=entrypoint(shell)[0], PATH=path(), PORT=0) as program:
        assert program.wait() == 3
        assert program.others == ""


@pytest.mark.parametrize("status", ["0", "5"])
def test_entrypoint_has_the_status_of_what_it_runs(docker: Path, status: str) -> None:
    """Whatever the container is told to run in the server's place, it ends with that one's status."""
    with Program(docker, "entrypoint.sh", "sh", "-c", f"exit {status}", python=tool("sh"), PATH=path()) as program:
        assert program.wait() == int(status)


@pytest.fixture
def first(docker: Path, port: int) -> Iterator[Any]:
    """Runs the entrypoint as process 1 of a pid namespace, as an engine does; gives the program and its real pid."""
    unshare = [tool("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, timeout=LIMIT, check=False).returncode:
        pytest.skip("no pid namespaces here")
    programs = []

    def start(shell: str, **env: object) -> tuple[Program, int]:
        command = [*unshare[1:], *entrypoint(shell)]
        given = {"DEBUGGER_IDE": "debugpy", "DEBUGGER_PORT": port, "PORT": free_port(), "PATH": path(), **env}
        program = Program(docker, *command, python=unshare[0], **given)
        programs.append(program)
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        return program, int(wait_until(lambda: children.read_text().split(), "process 1", program=program)[0])

    yield start
    for program in programs:
        program.close()


@needs("debugpy")
@pytest.mark.parametrize("shell", SHELLS)
def test_process_1_ends_at_once_in_the_migrations(first: Any, docker: Path, shell: str) -> None:
    """`docker stop` while the migrations run ends them and the container, with the status of that signal."""
    write(docker, "migrate.py", SLOW)
    program, pid = first(shell, START_DEBUGGER=1)
    program.wait_for("migrating", "stdout")
    os.kill(pid, signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM


@needs("debugpy")
def test_process_1_ends_at_once_while_it_is_held(first: Any) -> None:
    """`docker stop` ends a server that waits for the IDE, with the status of that signal, and without a traceback."""
    program, pid = first("sh", START_DEBUGGER=1, DEBUGGER_WAIT="forever")
    program.wait_for("VS Code to attach")
    os.kill(pid, signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM
    assert "Traceback" not in program.stderr


@needs("debugpy")
def test_process_1_ends_as_it_wants_to_while_it_runs(first: Any, port: int) -> None:
    """Armed for later or not at all, the server meets SIGTERM itself."""
    for env in ({"START_DEBUGGER": 1, "DEBUGGER_WAIT": 0}, {}):
        program, pid = first("sh", **env)
        environ = Path(f"/proc/{pid}/environ")  # empty amid an exec
        http = wait_until(lambda of=environ: of.read_text().partition("\0PORT=")[2].partition("\0")[0], "its port")
        wait_until(lambda http=int(http): listeners(http), "server", program=program)
        os.kill(pid, signal.SIGTERM)
        assert program.wait() == 0


# --- the bundle, in compose and in Kubernetes


try:
    from test_bundle import bundle  # the real one
except ImportError:

    @pytest.fixture(scope="module")
    def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """What `autoattach bundle` writes, as far as it matters here, where this autoattach has no such command."""
        folder = tmp_path_factory.mktemp("bundle")
        shutil.copy(TEMPLATE, folder)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(autoattach.__file__).parent, folder / "autoattach", ignore=ignore)
        (folder / "debugpy").symlink_to(Path(pytest.importorskip("debugpy").__file__).parent)
        return folder


class Container:
    """One container, played: its environment and its command, with a folder of ours in place of each of its own."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.root = folder / "root"
        self.places = {"/opt/debug": self.root / "opt", "/app": self.root / "app", "/debug": bundle}
        shutil.copytree(DOCKER, self.places["/app"])
        write(self.places["/app"], "src/ours.py", "name = 'its own'")
        venv.EnvBuilder(symlinks=True).create(self.root / "python")  # without autoattach
        self.python = str(self.root / "python" / "bin" / "python")

    def here(self, text: str) -> str:
        """A text of the container's, with the paths that its folders have here."""
        for name in sorted(self.places, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/]){name}(?=[/:]|$)", str(self.places[name]), text)
        return text

    def environment(self, *layers: dict[str, Any]) -> dict[str, str]:
        """Of the image and of what is set over it; a variable of the one replaces that of the other."""
        merged = {name: value for layer in layers for name, value in layer.items() if value is not None}
        return {name: self.here(str(value)) for name, value in merged.items()}


@pytest.fixture
def container(tmp_path: Path, bundle: Path) -> Container:
    return Container(tmp_path, bundle)


def serves_and_stops(container: Container, run: Any, port: int, env: dict[str, str], own: bool = False) -> None:
    """The server of the container, undebugged code of ours beside it, stops at its breakpoint."""
    app = container.places["/app"]
    if own:
        (app / "server.py").write_text("import ours\n" + (app / "server.py").read_text())
    lines = (app / "server.py").read_text().splitlines()
    at = 1 + next(number for number, line in enumerate(lines) if "# breakpoint" in line)
    http = free_port()
    variables = {"START_DEBUGGER": None, "DEBUGGER_IDE": None, **env, "DEBUGGER_PORT": port, "PORT": http}
    program = run(str(app / "server.py"), python=container.python, **variables)
    program.http, program.program = http, program  # what get() asks for
    with VsCode(port, {str(app / "server.py"): [at]}) as ide:
        ide.attach()
        ide.wait_attached()
        answer = get(program, "/")
        try:
            stop = ide.stops.get(timeout=LIMIT)
            assert stop.locals["n"] == "21"
            stop.go_on()
            assert answer.result(LIMIT) == "42\n"
        except Exception as error:
            raise AssertionError(f"{error!r}\n{program.dump()}\n{ide.dump()}") from error


@needs("debugpy")
def test_compose_with_the_bundle_attaches(container: Container, run: Any, port: int) -> None:
    """An image without autoattach stops at a breakpoint, by what the compose file sets and mounts alone."""
    service = compose("compose.yaml", "compose.bundle.yaml")
    container.places["/opt/debug"].symlink_to(container.places["/debug"])
    env = container.environment({}, service["environment"])
    # not to every address of this machine
    serves_and_stops(container, run, port, {**env, "DEBUGGER_HOST": "127.0.0.1"})


# --- Kubernetes


def kustomize(folder: Path) -> dict[str, Any]:
    """The one object that kubectl makes of a folder."""
    made: dict[str, Any] = yaml(output(tool("kubectl"), "kustomize", folder))
    return made


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def of(containers: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [one for one in containers if one["name"] == name]
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}


@pytest.mark.parametrize("folder", ["app", "debug"])
def test_kubernetes_takes_what_kustomize_builds(folder: str, tmp_path: Path) -> None:
    """What kubectl makes of the examples follows the schema of the newest and of an older Kubernetes, unknown fields refused."""
    built = tmp_path / "built.yaml"
    built.write_text(output(tool("kubectl"), "kustomize", KUBERNETES / folder))
    for version in ("1.30", None):
        of_version = ["--kubernetes-version", version] if version else []
        output(tool("kubernetes-validate"), "--strict", *of_version, built)


def test_the_schemas_refuse_what_is_wrong(tmp_path: Path) -> None:
    """The checks above can fail: a misspelt field is found in each."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        (KUBERNETES / "app" / "deployment.yaml").read_text().replace("livenessProbe:", "livenesProbe:"),
        encoding="utf-8",
    )
    with pytest.raises(AssertionError, match="livenesProbe"):
        output(tool("kubernetes-validate"), "--strict", wrong)
    wrong.write_text((DOCKER / "compose.yaml").read_text().replace("ports:", "port:"))
    with pytest.raises(AssertionError, match="port"):
        output(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", wrong)


def test_the_component_changes_one_container() -> None:
    """It has the bundle, the variables and the probes' limits; all else of it, and the other container, is as it was."""
    before, after = kustomize(KUBERNETES / "app"), kustomize(KUBERNETES / "debug")
    old, new = (of(pod(one)["containers"], "app") for one in (before, after))
    assert of(pod(after)["containers"], "sidecar") == of(pod(before)["containers"], "sidecar")
    assert variables(new) == {
        **variables(old),
        "START_DEBUGGER": "1",
        "DEBUGGER_WAIT": "0",
        "PYTHONPATH": f"/opt/debug:{variables(old)['PYTHONPATH']}",
    }
    changed = {"env", "volumeMounts", "startupProbe", "livenessProbe", "readinessProbe"}
    assert {key for key in new if new[key] != old.get(key)} == changed
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert new[probe]["httpGet"] == old[probe]["httpGet"]
        assert new[probe]["periodSeconds"] * new[probe]["failureThreshold"] >= 24 * 3600
    assert (after["spec"]["replicas"], after["spec"]["strategy"]) == (1, {"type": "Recreate"})
    # It can be taken back: neither what the pods are found by, nor a name, has changed.
    assert (before["metadata"], before["spec"]["selector"]) == (after["metadata"], after["spec"]["selector"])
    assert "autoattach" not in str(before) + str(of(pod(before)["containers"], "app"))


def test_the_init_container_fills_what_the_other_mounts() -> None:
    """One volume, written by the init container where the bundle is to be, read-only in the container; allowed by the strictest Pod Security Standard."""
    spec = pod(kustomize(KUBERNETES / "debug"))
    (init,) = spec["initContainers"]
    (volume,) = spec["volumes"]
    assert volume == {"name": "autoattach", "emptyDir": {}}
    place = {"name": "autoattach", "mountPath": "/opt/debug"}
    assert init["volumeMounts"] == [place]
    assert of(spec["containers"], "app")["volumeMounts"] == [{**place, "readOnly": True}]
    assert init["command"][-1] == place["mountPath"]
    security = init["securityContext"]
    assert security["runAsNonRoot"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def started(container: Container, spec: dict[str, Any], image: dict[str, str]) -> dict[str, str]:
    """Run the init container; the environment that the container then has."""
    container.places["/opt/debug"].mkdir()
    (init,) = spec["initContainers"]
    output(*map(container.here, init["command"]))
    app = of(spec["containers"], "app")
    assert app["command"] == ["python", "server.py"]
    return container.environment(image, variables(app))


@needs("debugpy")
def test_a_pod_attaches_and_keeps_its_own_pythonpath(container: Container, run: Any, port: int) -> None:
    """The init container copies the bundle; the container, its image without autoattach, stops at a breakpoint and finds its modules."""
    env = started(container, pod(kustomize(KUBERNETES / "debug")), {})
    serves_and_stops(container, run, port, env, own=True)


@needs("debugpy")
def test_a_pod_keeps_the_pythonpath_of_its_image(container: Container, run: Any, port: int, tmp_path: Path) -> None:
    """The image's own is written behind the bundle's, in the overlay: else the container would not have it."""
    folder = Path(shutil.copytree(KUBERNETES, tmp_path / "kubernetes"))
    base = folder / "app" / "deployment.yaml"
    own = "            - name: PYTHONPATH\n              value: /app/src\n"
    assert own in base.read_text()
    base.write_text(base.read_text().replace(own, ""))
    env = started(container, pod(kustomize(folder / "debug")), {"PYTHONPATH": "/app/src"})
    serves_and_stops(container, run, port, env, own=True)


def test_a_pod_without_another_pythonpath_needs_no_patch_for_it(tmp_path: Path) -> None:
    """The component by itself has only the bundle there."""
    folder = Path(shutil.copytree(KUBERNETES, tmp_path / "kubernetes"))
    overlay = folder / "debug" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("patches:\n  - path: pythonpath.yaml\n", ""))
    assert variables(of(pod(kustomize(folder / "debug"))["containers"], "app"))["PYTHONPATH"] == "/opt/debug"


# --- systemd, supervisor, cron

PYTHON = "/srv/app/.venv/bin/python"


def at_home(path: Path, folder: Path) -> str:
    """A file that speaks of /srv/app, for this Python and a folder of ours."""
    return path.read_text().replace(PYTHON, sys.executable).replace("/srv/app", str(folder))


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The service and its drop-in, as systemd would find them."""
    folder = Path(shutil.copytree(EXAMPLES / "systemd", tmp_path / "system"))
    unit = folder / "app.service"
    unit.write_text(at_home(unit, tmp_path).replace("User=app\n", ""))
    return unit


def verify(unit: Path) -> str:
    """What systemd objects to."""
    # of this machine's units only those that are there are read, which is not what this is about
    return "".join(
        line for line in output(tool("systemd-analyze"), "verify", unit).splitlines(True) if "app.service" in line
    )


def test_systemd_takes_the_drop_in(unit: Path) -> None:
    """systemd reads the drop-in with the service, and objects to nothing; to a line that it does not know it would."""
    assert verify(unit) == ""
    with (unit.parent / "app.service.d" / "debugger.conf").open("a") as drop_in:
        drop_in.write("Watchdog=0\n")
    assert "Watchdog" in verify(unit)


@needs("debugpy")
def test_systemd_service_stops(example: Any, unit: Path) -> None:  # noqa: F811
    """With the variables of the drop-in the service runs at once, and stops once the IDE comes."""
    text = (unit.parent / "app.service.d" / "debugger.conf").read_text()
    (line,) = re.findall("^Environment=(.*)$", text, re.MULTILINE)
    (command,) = re.findall("^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    one: Example = example("debugpy")
    one.folder /= "docker"
    http = free_port()
    env = dict(word.split("=", 1) for word in shlex.split(line))
    running = one.start(*shlex.split(command), PORT=http, **env)
    running.http = http
    assert get(running, "/").result(LIMIT) == "42\n"
    one.ide.attach()
    one.ide.wait_attached()
    answer = get(running, "/")
    one.stop().go_on()
    assert answer.result(LIMIT) == "42\n"


@needs("debugpy")
def test_supervisor_program_stops(example: Any, port: int) -> None:  # noqa: F811
    """The program of the section is debugged, by supervisord itself; supervisord is not."""
    one: Example = example("debugpy")
    one.folder /= "docker"
    http = free_port()
    supervisord = f"[supervisord]\nnodaemon = true\nlogfile = {one.folder}/main.log\nchildlogdir = {one.folder}\n"
    pid = f"pidfile = {one.folder}/supervisord.pid\n" + ("user = root\n" if os.getuid() == 0 else "")
    section = at_home(EXAMPLES / "supervisor" / "app.conf", one.folder)
    marked = section.replace('DEBUGGER_WAIT="0"', f'DEBUGGER_WAIT="0",DEBUGGER_PORT="{port}",DEBUGGER_IDE="debugpy"')
    assert marked != section
    write(one.folder, "supervisord.conf", supervisord + pid + marked)
    running = one.start("{bin}/supervisord", "-c", "supervisord.conf", needs=["supervisor"], PORT=http)
    running.http = http
    assert get(running, "/").result(LIMIT) == "42\n"
    one.ide.attach()
    one.ide.wait_attached()
    answer = get(running, "/")
    stop = one.stop()
    assert stop.pid != running.program.pid
    stop.go_on()
    assert answer.result(LIMIT) == "42\n"
    assert "autoattach[" in (one.folder / "app.log").read_text()
    running.end()
    running.wait_nothing_left()


@needs("debugpy")
def test_cron_job_stops(example: Any, port: int) -> None:  # noqa: F811
    """The job that has the variables in its line is held, and stops, by cron itself."""
    tool("cron")
    if cron_can_be_played():
        pytest.skip(cron_can_be_played())
    one: Example = example("debugpy")
    one.folder /= "cron"
    lines = at_home(EXAMPLES / "cron" / "crontab", one.folder).replace(".venv/bin/python", sys.executable).splitlines()
    (line,) = [line for line in lines if "START_DEBUGGER" in line]
    # at once, in place of the next fifth minute; on a port of ours
    line = re.sub(r"^(\S+ ){5}", "@reboot ", line).replace(
        "DEBUGGER_WAIT", f"DEBUGGER_PORT={port} DEBUGGER_IDE=debugpy DEBUGGER_WAIT"
    )
    write(one.folder, "spool/cron/crontabs/root", line + "\n")
    write(one.folder, "cron.sh", CRON).chmod(0o755)
    running = one.start("unshare", "--mount", "{folder}/cron.sh", PATH=f"{os.environ['PATH']}:/usr/sbin")
    one.ide.attach()
    stop = one.stop()
    assert stop.locals["n"] == "21"
    stop.go_on()
    result = one.folder / "result.txt"
    wait_until(lambda: result.exists() and result.read_text() == "42\n", "result.txt", program=running.program)
    assert (one.folder / "job.log").exists()


def test_the_crontab_has_five_fields_and_a_command() -> None:
    """Each line of it is a comment or a job, and one job alone is debugged."""
    jobs = [line for line in (EXAMPLES / "cron" / "crontab").read_text().splitlines() if not line.startswith("#")]
    assert all(re.match(r"([\d*/,-]+ ){5}cd /srv/app && ", job) for job in jobs)
    assert ["START_DEBUGGER=1" in job for job in jobs] == [True, False]
    assert not any("%" in job for job in jobs)  # a line's end, to cron


# --- VS Code

CODE = EXAMPLES / "devcontainer"


def jsonc(name: str) -> Any:
    return _jsonc.loads((CODE / name).read_text("utf-8"))


def tasks() -> dict[str, Any]:
    return {task["label"]: task for task in jsonc(".vscode/tasks.json")["tasks"]}


def test_the_dev_container_can_be_read() -> None:
    """It installs autoattach and the extension, and keeps VS Code from opening the debugger's port in a browser."""
    said = jsonc(".devcontainer/devcontainer.json")
    assert said["postCreateCommand"] == "pip install 'autoattach[vscode]'"
    assert "ms-python.debugpy" in said["customizations"]["vscode"]["extensions"]
    assert said["portsAttributes"]["9000"]["onAutoForward"] == "ignore"


def test_the_dev_container_is_read_by_the_reference_implementation(tmp_path: Path) -> None:
    """@devcontainers/cli finds in it what stands in it."""
    shutil.copytree(CODE, tmp_path / "project")
    said = output(
        tool("devcontainer"),
        "read-configuration",
        "--workspace-folder",
        tmp_path / "project",
        "--docker-path",
        tool("true"),
    )
    read = _jsonc.loads(said.splitlines()[-1])["configuration"]
    assert {**read, **jsonc(".devcontainer/devcontainer.json")} == read


def test_each_way_attaches_once_it_is_open() -> None:
    """Each configuration is the one that `autoattach config vscode` writes; its task is there, stays, and says when it is ready."""
    configurations = jsonc(".vscode/launch.json")["configurations"]
    plain = _launch.configuration("autoattach", False, "127.0.0.1", 9000, ())
    opened = []
    for one in configurations:
        own = {key: one.pop(key) for key in ("preLaunchTask", "pathMappings") if key in one}
        assert {**one, "name": plain["name"]} == plain
        opened += [own["preLaunchTask"]] if own else []
        assert own.get("pathMappings", [{"localRoot": "${workspaceFolder}"}])[0]["localRoot"] == "${workspaceFolder}"
    assert sorted(opened) == sorted(tasks())
    for task in tasks().values():
        matcher = task["problemMatcher"]
        assert task["isBackground"]
        assert matcher["background"]["activeOnStart"]
        # VS Code refuses a pattern without a file and a message; this one never matches.
        assert {"file", "message"} < set(matcher["pattern"])
        assert not re.search(matcher["pattern"]["regexp"], "any line")
        assert not re.search(matcher["background"]["beginsPattern"], "any line")
        assert "9000" in str(task) or task["command"] == "autoattach"


def ready(label: str) -> re.Pattern[str]:
    """What says that a task is ready."""
    return re.compile(tasks()[label]["problemMatcher"]["background"]["endsPattern"])


def test_the_line_of_kubectl_is_known() -> None:
    """VS Code attaches when kubectl says that it forwards: not before, nor for its line about IPv6 alone."""
    # client-go, portforward.go: "Forwarding from %s -> %d\n", with the address and the port here, and the port there
    assert b"Forwarding from %s -> %d" in Path(os.path.realpath(tool("kubectl"))).read_bytes()
    assert ready("kubectl port-forward").search("Forwarding from 127.0.0.1:9000 -> 9000")
    for other in (
        "Forwarding from [::1]:9000 -> 9000",
        "Handling connection for 9000",
        "error: unable to forward port",
    ):
        assert not ready("kubectl port-forward").search(other)


def stops_at(app: Path, port: int, program: Program, tunnel: Program) -> None:
    """VS Code attaches here, and the program over there stops and ends; the tunnel stays."""
    with VsCode(port, {str(app): [2]}) as ide:
        ide.attach()
        try:
            stop = ide.stops.get(timeout=LIMIT)
        except queue.Empty:
            raise AssertionError(f"no stop\n{program.dump()}\n{tunnel.dump()}\n{ide.dump()}") from None
        assert stop.locals["n"] == "21"
        stop.go_on()
        assert program.wait() == 0
    assert tunnel.process.poll() is None


FORWARD = "127.0.0.1:9000:127.0.0.1:9000"
ROOT_SSHD = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/sshd
cp /etc/passwd /run/passwd
grep -q ^sshd: /run/passwd || echo "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin" >>/run/passwd
mount --bind /run/passwd /etc/passwd
exec "$@"
"""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    """A real sshd on loopback; ssh and its options for it, and `user@host`."""
    server, keygen, client = tool("sshd"), tool("ssh-keygen"), tool("ssh")
    import pwd

    user = pwd.getpwuid(os.getuid())
    namespace: list[str] = []
    if (
        os.getuid() == 0
    ):  # then sshd wants a user and a folder of its own: in a mount namespace, for this machine has none
        namespace = [tool("unshare"), "--mount", tool("sh"), "-c", ROOT_SSHD, "sh"]
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "user"):
        output(keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    port = free_port()
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
    }
    write(folder, "sshd_config", "".join(f"{name} {value}\n" for name, value in options.items()))
    first, *rest = [*namespace, server, "-D", "-e", "-f", folder / "sshd_config"]
    with Program(folder, *rest, python=str(first)) as program:
        wait_until(lambda: listeners(port) or program.process.poll() is not None, "sshd")
        if program.process.poll() is not None:
            pytest.skip(f"no sshd: {program.stderr}")
        known = ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
        yield [client, "-F", "none", "-i", str(folder / "user"), "-p", str(port), *known], f"{user.pw_name}@127.0.0.1"


@needs("debugpy")
def test_ssh_says_when_it_forwards(sshd: tuple[list[str], str], run: Any, port: int, tmp_path: Path) -> None:
    """The task's own command, to a real sshd: at its line the port is open here, and a breakpoint is hit through it."""
    app = write(tmp_path, "app.py", "n = 21\nprint(n * 2)  # breakpoint\n")
    program = run(app)
    program.wait_for("VS Code to attach")
    here = free_port()
    (ssh, *options), user = sshd
    task = tasks()["ssh -L"]
    assert (task["command"], task["args"][-1]) == ("ssh", "user@host")
    words = [word.replace(FORWARD, f"127.0.0.1:{here}:127.0.0.1:{port}") for word in task["args"][:-1]]
    with Program(tmp_path, *options, *words, user, python=ssh) as tunnel:
        wait_until(lambda: ready("ssh -L").search(tunnel.stdout), f"line of ssh\n{tunnel.dump()}", program=tunnel)
        assert listeners(here)
        stops_at(app, here, program, tunnel)


def test_ssh_does_not_say_so_when_it_cannot(sshd: tuple[list[str], str], tmp_path: Path) -> None:
    """Where the port is taken here, the task ends with an error, and without the line that has VS Code attach."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (ssh, *options), user = sshd
        forward = f"127.0.0.1:{taken.getsockname()[1]}:127.0.0.1:1"
        words = [word.replace(FORWARD, forward) for word in tasks()["ssh -L"]["args"][:-1]]
        with Program(tmp_path, *options, *words, user, python=ssh) as tunnel:
            assert tunnel.wait() != 0
            assert tunnel.stdout == ""


@needs("debugpy")
def test_the_tunnel_says_when_it_is_open(run: Any, tmp_path: Path, port: int) -> None:
    """The task's own command, but for where it leads to: at its line the port is open here, and a breakpoint is hit through it."""
    if importlib.util.find_spec("autoattach.cli.tunnel") is None:
        pytest.skip("this autoattach has no tunnel")
    app = write(tmp_path, "app.py", "n = 21\nprint(n * 2)  # breakpoint\n")
    program = run(app)
    program.wait_for("VS Code to attach")
    task = tasks()["autoattach tunnel"]
    assert (task["command"], task["args"]) == ("autoattach", ["tunnel", "ssh://user@host"])
    here = free_port()
    words = ["tunnel", "--command", "env", "--port", here, "--remote-port", port, "--python", sys.executable]
    pattern = re.compile(ready("autoattach tunnel").pattern.replace("9000", str(here)))
    with Program(tmp_path, "-m", "autoattach", *words) as tunnel:
        wait_until(lambda: pattern.search(tunnel.stderr), f"line of the tunnel\n{tunnel.dump()}", program=tunnel)
        assert listeners(here)
        stops_at(app, here, program, tunnel)


# --- all of them


def test_every_recipe_is_listed() -> None:
    """examples/README.rst names each folder, and the documents show or name it."""
    page = (EXAMPLES / "README.rst").read_text("utf-8")
    documents = "".join(one.read_text("utf-8") for one in (EXAMPLES.parent / "docs").glob("*.rst"))
    for name in ("docker", "kubernetes", "systemd", "cron", "supervisor", "devcontainer"):
        assert (EXAMPLES / name).is_dir()
        assert f"``{name}/``" in page
        assert f"examples/{name}/" in documents
