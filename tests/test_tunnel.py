"""`autoattach tunnel`: from a port here to the door in there, through another command's standard input and output."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from far import Far, Namespace, Sshd, path_with, script
from support import LIMIT, Program, environment, free_port, line_of, listeners, needs, wait_until, write
from test_run import alive_in

from autoattach._errors import AttachError
from autoattach.cli import _way, main
from autoattach.cli._dap import Client
from autoattach.cli._pycharm import Server

Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")

HERE = ["--command", "env", "--python", sys.executable]  # a far side that is this very machine


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run `autoattach tunnel ...`; whatever goes wrong, nothing of it is left."""
    programs = []

    def start(*arguments: object, **env: object) -> Program:
        programs.append(Program(tmp_path, "-m", "autoattach", "tunnel", *arguments, **env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def far() -> Iterator[Callable[..., Far]]:
    """Serve the far port."""
    servers: list[Far] = []

    def serve(with_each: Callable[[socket.socket], None], port: int = 0) -> Far:
        servers.append(Far(with_each, port))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.close()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace()
    yield namespace
    namespace.close()


def echo(sock: socket.socket) -> None:
    """Send back what comes; at its end, end."""
    while True:
        data = sock.recv(65536)
        if not data:
            break
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def near(program: Program) -> int:
    """The port of this machine, once it is open."""
    program.wait_for(" leads to ")
    found = re.search(r"127\.0\.0\.1:(\d+)", program.stderr)
    assert found, program.dump()
    return int(found[1])


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), LIMIT)
    sock.settimeout(LIMIT)
    return sock


def everything(sock: socket.socket) -> bytes:
    """What comes until the end; a reset is an end, too."""
    found = bytearray()
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                break
            found += data
    except ConnectionResetError:
        pass
    return bytes(found)


def echoed(port: int, data: bytes = b"hello") -> bytes:
    """What comes back for `data`: nothing for who is turned away."""
    try:
        with connect(port) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return everything(sock)
    except OSError:
        return b""


def pipes(folder: Path) -> list[int]:
    """The far ends that a test's tunnels have started on this machine."""
    found = []
    for pid in alive_in(folder):
        try:
            if b"pipe" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:  # gone
            pass
    return found


def memory(pid: int) -> int:
    """The most that a process has had in memory, in bytes."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


# --- bytes


def test_large_transfers_arrive_whole_in_both_directions_at_once(start: Start, far: Callable[..., Far]) -> None:
    """32 MB each way at the same time, byte for byte; the end of one direction leaves the other open."""
    megabyte, times = os.urandom(1 << 20), 32

    def both(sock: socket.socket) -> None:
        sending = threading.Thread(target=lambda: [sock.sendall(megabyte) for _ in range(times)], daemon=True)
        sending.start()
        digest = hashlib.sha256(everything(sock)).digest()  # until the near side has ended its direction
        sending.join()
        sock.sendall(digest)
        sock.shutdown(socket.SHUT_WR)

    server = far(both)
    program = start(*HERE, "--port", 0, "--remote-port", server.port)
    with connect(near(program)) as sock:

        def send() -> None:
            for _ in range(times):
                sock.sendall(megabyte)
            sock.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        found = everything(sock)
        sending.join()
    expected = hashlib.sha256(megabyte * times).digest()
    assert len(found) == (times << 20) + len(expected)
    assert found[-len(expected) :] == expected
    assert hashlib.sha256(found[: -len(expected)]).digest() == expected


def test_many_connections_at_once_keep_apart(start: Start, far: Callable[..., Far]) -> None:
    """Thirty connections, all open together, each get back their own bytes."""
    server = far(echo)
    port = near(start(*HERE, "--port", 0, "--remote-port", server.port))
    sent = [os.urandom(200_000) for _ in range(30)]
    socks = [connect(port) for _ in sent]
    found: dict[int, bytes] = {}

    def talk(number: int) -> None:
        threading.Thread(target=lambda: found.__setitem__(number, everything(socks[number])), daemon=True).start()
        socks[number].sendall(sent[number])
        socks[number].shutdown(socket.SHUT_WR)

    wait_until(lambda: len(server.came) == 30, "thirty connections")
    for number in range(30):
        threading.Thread(target=talk, args=(number,), daemon=True).start()
    wait_until(lambda: len(found) == 30, "thirty answers")
    for sock in socks:
        sock.close()
    assert [found[number] for number in range(30)] == sent


def test_a_slow_reader_holds_up_nobody_and_fills_no_memory(
    start: Start, far: Callable[..., Far], tmp_path: Path
) -> None:
    """Who does not read stops the program that sends to it, not the other connections; nothing piles up in between."""
    sent = [0]

    def serve(sock: socket.socket) -> None:
        if sock.recv(1) == b"e":
            echo(sock)
        while True:
            sent[0] += sock.send(bytes(1 << 20))

    server = far(serve)
    program = start(*HERE, "--port", 0, "--remote-port", server.port)
    port = near(program)
    processes = [program.pid, *pipes(tmp_path)]
    assert len(processes) == 2
    before = [memory(pid) for pid in processes]
    with connect(port) as slow:
        slow.sendall(b"f")
        seen = -1
        while seen != sent[0] or not seen:  # until no more is taken off the sender, a few times in a row
            seen = sent[0]
            for _ in range(5):
                assert echoed(port, b"e" + bytes(500_000)) == bytes(500_000)
        assert sent[0] < 64 << 20, "what the kernel's own buffers take is all"
        grown = [memory(pid) - size for pid, size in zip(processes, before)]
        assert max(grown) < 16 << 20
        got = 0
        while got < 64 << 20:  # more than all that was held up: it flows again
            got += len(slow.recv(1 << 20))
    wait_until(lambda: echoed(port, b"ee") == b"e", "the others go on when it has left")


def test_it_is_the_program_that_hears_first_that_somebody_has_left(start: Start, far: Callable[..., Far]) -> None:
    """A connection that is reset on one side is reset on the other; one that ends in good order ends so."""
    ends: list[str] = []

    def serve(sock: socket.socket) -> None:
        try:
            ends.append("end" if not sock.recv(1) else "data")
            sock.close()
        except ConnectionResetError:
            ends.append("reset")

    port = near(start(*HERE, "--port", 0, "--remote-port", far(serve).port))
    with connect(port) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b""
    sock = connect(port)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: len(ends) == 1, "the first")
    sock.close()
    wait_until(lambda: len(ends) == 2, "the second")
    assert ends == ["end", "reset"]


# --- who connects, and when


def test_nothing_connects_to_the_program_before_the_ide_does(start: Start, far: Callable[..., Far]) -> None:
    """The port in there is not tried: each connection there is one here, however long it says nothing."""
    server = far(echo)
    port = near(start(*HERE, "--port", 0, "--remote-port", server.port))
    assert echoed(port) == b"hello"
    assert len(server.came) == 1
    with connect(port):  # which says nothing
        wait_until(lambda: len(server.came) == 2, "the second")
    assert echoed(port) == b"hello"
    assert len(server.came) == 3


def test_nothing_listens_but_on_loopback(start: Start, far: Callable[..., Far]) -> None:
    """The port here is 127.0.0.1's alone."""
    port = near(start(*HERE, "--port", 0, "--remote-port", far(echo).port))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    addresses = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert addresses == {f"0100007F:{port:04X}"}


def test_nobody_there_is_a_line_and_the_next_one_gets_through(start: Start, far: Callable[..., Far]) -> None:
    """Where no program listens yet, the IDE is turned away and told why here; once one does, it gets in."""
    remote = free_port()
    program = start(*HERE, "--port", 0, "--remote-port", remote)
    port = near(program)
    assert echoed(port) == b""
    program.wait_for(f"nobody listens on port {remote} in 'env' (Connection refused); start the program there")
    echoed(port)
    far(echo, remote)
    assert echoed(port) == b"hello"
    assert program.stderr.count("nobody listens") == 1


def test_the_port_there_is_the_one_that_programs_there_take(start: Start, far: Callable[..., Far]) -> None:
    """Without --remote-port it is what DEBUGGER_PORT is over there."""
    server = far(echo)
    program = start("--command", f"env DEBUGGER_PORT={server.port}", "--python", sys.executable, "--port", 0)
    assert echoed(near(program)) == b"hello"
    assert f"leads to port {server.port} in 'env DEBUGGER_PORT={server.port}'; attach here" in program.stderr
    assert f"children are announced to the IDE at port {server.port}" in program.stderr


def test_the_tunnel_itself_is_never_attached_to(start: Start, far: Callable[..., Far]) -> None:
    """START_DEBUGGER in there, or here, is for the program: the tunnel's two ends are left alone."""
    server = far(echo)
    arguments = [*HERE, "--port", 0, "--remote-port", server.port]
    program = start(*arguments, START_DEBUGGER=1, DEBUGGER_PORT=free_port(), DEBUGGER_VERBOSE=1, DEBUGGER_STRICT=1)
    assert echoed(near(program)) == b"hello"
    assert all("our own command" in line for line in program.ours), program.dump()


# --- what dies


def test_a_far_side_that_dies_is_replaced_when_somebody_connects(
    start: Start, far: Callable[..., Far], tmp_path: Path
) -> None:
    """Its connections are reset, not ended in good order; a line says so, and the next connection opens it again."""
    server = far(lambda sock: sock.sendall(b"x") or sock.recv(1))  # type: ignore[func-returns-value]
    program = start(*HERE, "--port", 0, "--remote-port", server.port)
    port = near(program)
    with connect(port) as sock:
        assert sock.recv(1) == b"x"
        os.kill(pipes(tmp_path)[0], signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    program.wait_for("the way to 'env' has ended (env ended with status -9); the next connection opens it again")
    assert pipes(tmp_path) == []
    with connect(port) as sock:
        assert sock.recv(1) == b"x"
    program.wait_for("the way to 'env' is open again")


def test_a_far_side_that_says_nothing_any_more_is_replaced(
    tmp_path: Path, start: Start, far: Callable[..., Far]
) -> None:
    """A network that has gone away without a word is noticed, and the next connection gets a new transport."""
    server = far(echo)
    code = (
        "from autoattach.cli import _transport, main; import sys; _transport.SILENCE = 2; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["tunnel", *HERE, "--port", 0, "--remote-port", server.port]
    with Program(tmp_path, "-c", code, *arguments) as program:
        port = near(program)
        os.kill(pipes(tmp_path)[0], signal.SIGSTOP)
        program.wait_for("the way to 'env' has ended (nothing was heard for 2 s); the next connection opens it again")
        assert pipes(tmp_path) == []
        assert echoed(port) == b"hello"


def test_what_fails_later_is_said_and_the_tunnel_stays(tmp_path: Path, start: Start, far: Callable[..., Far]) -> None:
    """A container that has gone turns connections away with a line; when it is there again, they get through."""
    server = far(echo)
    gone = tmp_path / "gone"
    script(
        tmp_path, "docker", f'test -e {gone} && echo "Error: No such container: $3" >&2 && exit 1; shift 3; exec "$@"\n'
    )
    program = start(
        "docker://web", "--python", sys.executable, "--port", 0, "--remote-port", server.port, PATH=path_with(tmp_path)
    )
    port = near(program)
    gone.touch()
    os.kill(pipes(tmp_path)[0], signal.SIGKILL)
    program.wait_for("the next connection opens it again")
    assert echoed(port) == b""
    program.wait_for("container web is not there, or does not run (Error: No such container: web)")
    gone.unlink()
    assert echoed(port) == b"hello"
    program.wait_for("the way to container web is open again")


def test_it_goes_on_when_nobody_reads_what_it_says(far: Callable[..., Far], tmp_path: Path) -> None:
    """Its stderr is closed, and it has something to say: it still carries connections."""
    remote = free_port()
    command = [sys.executable, "-m", "autoattach", "tunnel", *HERE, "--port", "0", "--remote-port", str(remote)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), cwd=tmp_path)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        while " leads to " not in line:
            line = process.stderr.readline()
        port = int(line.split("127.0.0.1:")[1].split()[0])
        process.stderr.close()
        assert echoed(port) == b""
        far(echo, remote)
        assert echoed(port) == b"hello"
    finally:
        process.terminate()
        process.wait(LIMIT)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("direction", [[], ["--reverse"]], ids=["forward", "reverse"])
def test_it_ends_at_once_and_leaves_nothing(
    number: int, status: int, direction: list[str], tmp_path: Path, start: Start, far: Callable[..., Far]
) -> None:
    """Ctrl-C ends it with status 130 and no traceback, connections or not; no process is left, and no port."""
    server = far(echo)
    remote = free_port() if direction else server.port
    program = start(*HERE, *direction, "--port", server.port if direction else 0, "--remote-port", remote)
    program.wait_for("Ctrl-C ends it")
    port = remote if direction else near(program)
    with connect(port) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
        program.send(number)
        assert program.wait() == status, program.dump()
        assert everything(sock) == b""
    assert "Traceback" not in program.stderr
    wait_until(lambda: not alive_in(tmp_path), "end of the far side")
    assert not listeners(port)


def test_a_tunnel_that_is_killed_takes_its_far_side_with_it(tmp_path: Path, start: Start) -> None:
    """Killed outright, nothing of it lives on over there."""
    program = start(*HERE, "--port", 0)
    near(program)
    assert pipes(tmp_path)
    program.send(signal.SIGKILL)
    program.wait()
    wait_until(lambda: not alive_in(tmp_path), "end of the far side")


# --- the other direction


def test_reverse_carries_what_connects_there_to_the_ide_here(start: Start, far: Callable[..., Far]) -> None:
    """The port is open over there, and leads to the one here; who is turned away here is turned away there."""
    remote, ide = free_port(), free_port()
    program = start(*HERE, "--reverse", "--port", ide, "--remote-port", remote)
    program.wait_for(f"port {remote} in 'env' leads to the IDE at 127.0.0.1:{ide}; start its debug server")
    assert echoed(remote) == b""
    program.wait_for(f"nobody listens on 127.0.0.1:{ide} (Connection refused); start the IDE's side")
    far(echo, ide)
    data = os.urandom(4 << 20)
    assert echoed(remote, data[:100_000]) == data[:100_000]


def test_reverse_opens_the_port_there_again_when_the_far_side_has_died(
    tmp_path: Path, start: Start, far: Callable[..., Far]
) -> None:
    """Without anybody having to ask for it."""
    remote, ide = free_port(), far(echo).port
    program = start(*HERE, "--reverse", "--port", ide, "--remote-port", remote)
    program.wait_for(" leads to ")
    os.kill(pipes(tmp_path)[0], signal.SIGKILL)
    program.wait_for("the way to 'env' has ended (env ended with status -9); trying again")
    wait_until(lambda: program.stderr.count(" leads to ") == 2, "a second start")
    assert echoed(remote) == b"hello"


def test_a_port_that_is_taken_over_there_is_a_line(start: Start, far: Callable[..., Far]) -> None:
    """It says which, and by whom where that can be told."""
    taken = far(echo).port
    program = start(*HERE, "--reverse", "--port", 1, "--remote-port", taken)
    assert program.wait() == 1
    assert f"port {taken} in 'env' is taken by pid {os.getpid()} (" in program.stderr
    assert len(said(program)) == 1
    assert "--remote-port" in program.stderr


def test_a_port_that_is_taken_here_is_a_line(start: Start, far: Callable[..., Far]) -> None:
    """It is found out before anything is started over there."""
    taken = far(echo).port
    program = start("--command", "no-such-program", "--port", taken)
    assert program.wait() == 1
    assert f"port 127.0.0.1:{taken} is taken by pid {os.getpid()} (" in program.stderr


# --- what fails


def said(program: Program) -> list[str]:
    """The tunnel's lines. On a busy machine one says first that it waits, and shows what comes."""
    start = "autoattach tunnel: "
    lines = program.stderr.splitlines()
    if any(line.startswith(f"{start}waits for ") for line in lines):
        lines = [line for line in lines if line.startswith(start) and " waits for " not in line]
    assert all(line.startswith(start) for line in lines), program.dump()
    return [line[len(start) :] for line in lines]


def fails(program: Program) -> str:
    """The one line of a tunnel that could not begin."""
    assert program.wait() == 1, program.dump()
    assert program.stdout == ""
    lines = said(program)
    assert len(lines) == 1, program.dump()
    return lines[0]


def test_what_is_not_installed_here_is_named(start: Start, tmp_path: Path) -> None:
    """No docker, kubectl or ssh on this machine: it says which."""
    for where, program in (("docker://web", "docker"), ("kubectl://a/b", "kubectl"), ("ssh://host", "ssh")):
        line = fails(start(where, "--port", 0, PATH=tmp_path))
        assert line == f"{program} is not installed here; install it, or see the PATH"


def test_no_python_there_and_no_autoattach_there_are_told_apart(start: Start) -> None:
    """Both are mended in their own way: --python, or an installation."""
    line = fails(start("--command", "env", "--python", "no-such-python", "--port", 0))
    assert line.startswith("'env': no no-such-python can be run (")
    assert line.endswith("; name the Python there with --python")
    line = fails(start("--command", "env", "--python", f"{sys.executable} -I -S", "--port", 0))
    assert line.startswith(f"'env': {sys.executable} -I -S has no autoattach; install it there, or name a Python")


SAID = [  # what these commands of today print when they fail, and what it means
    ("docker://web", 1, "Error response from daemon: No such container: web", "is not there"),
    ("docker://web", 1, "Error response from daemon: container 0f1 is not running", "is not there"),
    (
        "docker://web",
        127,
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "python3": '
        "executable file not found in $PATH: unknown",
        "no python3 can be run",
    ),
    (
        "docker://web",
        1,
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        "does not let you in",
    ),
    (
        "docker://web",
        1,
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "cannot be reached",
    ),
    ("docker://web", 1, "/usr/local/bin/python3: No module named autoattach", "python3 has no autoattach"),
    ("kubectl://shop/web", 1, 'Error from server (NotFound): pods "web" not found', "is not there"),
    ("kubectl://shop/web", 1, 'Error from server (NotFound): namespaces "shop" not found', "is not there"),
    ("kubectl://shop/web/x", 1, "Error from server (BadRequest): container x is not valid for pod web", "is not there"),
    (
        "kubectl://shop/web",
        1,
        'Error from server (Forbidden): pods "web" is forbidden: User "me" cannot create resource "pods/exec"',
        "does not let you in",
    ),
    ("kubectl://shop/web", 1, "error: You must be logged in to the server (Unauthorized)", "does not let you in"),
    (
        "kubectl://shop/web",
        1,
        "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
        "cannot be reached",
    ),
    ("kubectl://shop/web", 127, "command terminated with exit code 127", "no python3 can be run"),
    ("ssh://me@host", 255, "me@host: Permission denied (publickey).", "does not let you in"),
    ("ssh://me@host", 255, "Host key verification failed.", "does not let you in"),
    ("ssh://me@host", 255, "ssh: Could not resolve hostname host: Name or service not known", "cannot be reached"),
    ("ssh://me@host", 255, "ssh: connect to host host port 22: Connection refused", "cannot be reached"),
    ("ssh://me@host", 127, "bash: line 1: python3: command not found", "no python3 can be run"),
    ("ssh://me@host", 7, "something else", "ssh ended with status 7 (something else)"),
]


@pytest.mark.parametrize(("where", "status", "said", "meaning"), SAID, ids=[row[2][:40] for row in SAID])
def test_what_went_wrong_over_there_is_told_apart(
    where: str, status: int, said: str, meaning: str, tmp_path: Path, start: Start
) -> None:
    """One line: what is the matter, in whose words, and what to do."""
    for name in ("docker", "kubectl", "ssh"):
        script(tmp_path, name, f"echo a warning >&2\necho {shlex.quote(said)} >&2\nexit {status}\n")
    line = fails(start(where, "--port", 0, PATH=path_with(tmp_path)))
    assert meaning in line
    assert said in line or meaning == "python3 has no autoattach"
    assert "; " in line


def test_a_terminal_in_between_is_found_out(tmp_path: Path, start: Start) -> None:
    """A terminal would change bytes: it is said, and how to do without."""
    script(tmp_path, "typed", r"""printf '\0autoattach pipe 1 9000\r\n'; cat >/dev/null""" + "\n")
    line = fails(start("--command", "typed", "--port", 0, PATH=path_with(tmp_path)))
    assert line == "there is a terminal on the way to 'typed'; leave out -t, or add -T"


def test_another_release_over_there_is_found_out(tmp_path: Path, start: Start) -> None:
    """The two ends have to speak the same way."""
    script(tmp_path, "newer", r"""printf '\0autoattach pipe 2 9000\n'; cat >/dev/null""" + "\n")
    line = fails(start("--command", "newer", "--port", 0, PATH=path_with(tmp_path)))
    assert line == "'newer' has another autoattach; have the same release on both sides"


def test_who_takes_long_is_said_and_what_it_asks_is_shown(tmp_path: Path, start: Start) -> None:
    """A login that asks for something does not wait in silence."""
    script(tmp_path, "asking", "echo open https://login.example in a browser >&2; exec cat\n")
    program = start("--command", "asking", "--port", 0, PATH=path_with(tmp_path))
    program.wait_for("waits for 'asking'; Ctrl-C ends it")
    program.wait_for("open https://login.example in a browser")
    program.send(signal.SIGINT)
    assert program.wait() == 130


def test_what_a_shell_over_there_prints_is_left_out(tmp_path: Path, start: Start, far: Callable[..., Far]) -> None:
    """A greeting on standard output, however long, does not reach the IDE; nor does it keep the tunnel from working."""
    script(tmp_path, "greeting", 'head -c 300000 /dev/zero | tr "\\0" "x"; printf "\\0autoattach"; exec "$@"\n')
    server = far(echo)
    arguments = ["--command", "greeting", "--python", sys.executable, "--port", 0, "--remote-port", server.port]
    assert echoed(near(start(*arguments, PATH=path_with(tmp_path)))) == b"hello"


def test_what_is_printed_in_the_far_python_is_left_out(tmp_path: Path, start: Start, far: Callable[..., Far]) -> None:
    """A sitecustomize over there that prints, while it starts or later, does not get among the bytes."""
    write(
        tmp_path,
        "noise/sitecustomize.py",
        """
        import os, threading, time
        print("noise")
        def go_on():
            while True:
                print("more noise", flush=True)
                time.sleep(0.01)
        threading.Thread(target=go_on, daemon=True).start()
        """,
    )
    server = far(echo)
    noisy = f"env PYTHONPATH={tmp_path / 'noise'} {sys.executable}"
    port = near(start("--command", "env", "--python", noisy, "--port", 0, "--remote-port", server.port))
    data = os.urandom(300_000)
    assert echoed(port, data[:60_000]) == data[:60_000]


# --- what is typed

URLS = [
    ("ssh://host", "ssh -T -x -o ClearAllForwardings=yes -- host"),
    ("ssh://me@host:2222", "ssh -T -x -o ClearAllForwardings=yes -p 2222 -- me@host"),
    ("ssh://me@host/", "ssh -T -x -o ClearAllForwardings=yes -- me@host"),
    ("ssh://me@[::1]:22", "ssh -T -x -o ClearAllForwardings=yes -p 22 -- me@::1"),
    ("docker://My_web-1", "docker exec -i My_web-1"),
    ("kubectl://shop/web-0", "kubectl exec -i -n shop web-0 --"),
    ("kubectl://shop/web-0/app", "kubectl exec -i -n shop web-0 -c app --"),
]


@pytest.mark.parametrize(("url", "command"), URLS, ids=[url for url, _ in URLS])
def test_each_url_is_a_command(url: str, command: str) -> None:
    """What is run is what one would type."""
    assert " ".join(_way.to(url).command) == command


@pytest.mark.parametrize(
    "url",
    [
        "web",
        "http://web",
        "docker://",
        "docker://web/app",
        "docker://me@web",
        "docker://web:1",
        "docker://-it",
        "docker://a b",
        "kubectl://web",
        "kubectl:///web",
        "kubectl://a/b/c/d",
        "kubectl://a/-it",
        "ssh://",
        "ssh://host/path",
        "ssh://-oProxyCommand=x",
        "ssh://me:secret@host",
        "ssh://host:x",
        "ssh://[host",
        "docker://web?x",
    ],
)
def test_what_is_no_way_in_is_not_understood(url: str) -> None:
    """Nothing is guessed, nothing becomes an option of another program; the line says what it can be."""
    with pytest.raises(AttachError) as error:
        _way.to(url)
    assert "is not understood" in str(error.value)
    assert "ssh://user@host[:port], docker://container or kubectl://namespace/pod[/container]" in str(error.value)


def test_a_way_in_has_to_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither or both of WHERE and --command is a mistake, with status 2; so are ports that are none."""
    for arguments in ([], ["docker://web", "--command", "x"], ["--reverse", "--port", "0", "docker://web"]):
        assert main(["tunnel", *arguments]) == 2
        assert capsys.readouterr().err.startswith("autoattach tunnel: ")
    for port in ("x", "70000", "-1"):
        with pytest.raises(SystemExit) as end:
            main(["tunnel", "docker://web", "--port", port])
        assert end.value.code == 2
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["tunnel", "--command", "'"]) == 1
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert "quote it as for a shell" in capsys.readouterr().err


def test_help_shows_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    """With an example for each way in."""
    with pytest.raises(SystemExit):
        main(["tunnel", "--help"])
    text = capsys.readouterr().out
    for word in (
        "docker://",
        "kubectl://",
        "ssh://",
        "--reverse docker",
        "docker compose exec -T",
        "podman",
        "nsenter",
    ):
        assert word in text


def test_pipe_is_not_for_typing(tmp_path: Path) -> None:
    """Started in a terminal it says what starts it."""
    if not hasattr(os, "openpty"):
        pytest.skip("no terminals here")
    ours, theirs = os.openpty()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "autoattach", "pipe"], stdin=theirs, capture_output=True, text=True,
            env=environment(), cwd=tmp_path, timeout=LIMIT,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "autoattach tunnel starts it" in result.stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("docker://web", "exec -i web PYTHON -m autoattach pipe --port PORT"),
        ("kubectl://shop/web-0", "exec -i -n shop web-0 -- PYTHON -m autoattach pipe --port PORT"),
        ("kubectl://shop/web-0/app", "exec -i -n shop web-0 -c app -- PYTHON -m autoattach pipe --port PORT"),
    ],
)
def test_docker_and_kubectl_are_called_as_they_want_to_be(
    url: str, expected: str, tmp_path: Path, start: Start, far: Callable[..., Far]
) -> None:
    """By a stand-in, which notes its arguments and runs the command: no daemon and no cluster are asked here."""
    server = far(echo)
    skip = 3 if url.startswith("docker") else 5 + 2 * (url.count("/") - 3) + 1
    name = url.partition(":")[0]
    script(tmp_path, name, f'echo "$@" >{tmp_path}/arguments; shift {skip}; exec "$@"\n')
    arguments = [url, "--python", sys.executable, "--port", 0, "--remote-port", server.port]
    assert echoed(near(start(*arguments, PATH=path_with(tmp_path)))) == b"hello"
    said = (tmp_path / "arguments").read_text().strip()
    assert said == expected.replace("PYTHON", sys.executable).replace("PORT", str(server.port))


# --- a real sshd


def test_through_a_real_sshd(sshd: Sshd, start: Start, far: Callable[..., Far], tmp_path: Path) -> None:
    """Megabytes and many connections through one login, with no port forwarding permitted over there."""
    server = far(echo)
    arguments = [sshd.url, "--python", sys.executable, "--port", 0, "--remote-port", server.port]
    program = start(*arguments, PATH=path_with(sshd.folder))
    port = near(program)
    data = os.urandom(1 << 20)
    found: list[bytes] = []

    def talk() -> None:
        with connect(port) as sock:
            threading.Thread(
                target=lambda: (sock.sendall(data * 4), sock.shutdown(socket.SHUT_WR)), daemon=True
            ).start()
            found.append(everything(sock))

    threads = [threading.Thread(target=talk, daemon=True) for _ in range(10)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(found) == 10, "ten answers")
    assert found == [data * 4] * 10
    program.send(signal.SIGINT)
    assert program.wait() == 130
    wait_until(lambda: not alive_in(tmp_path), "end of ssh")


def test_ssh_that_is_cut_off_is_opened_again(sshd: Sshd, start: Start, far: Callable[..., Far], tmp_path: Path) -> None:
    """The connection of ssh itself ends: a line, and the next connection logs in again."""
    server = far(echo)
    arguments = [sshd.url, "--python", sys.executable, "--port", 0, "--remote-port", server.port]
    program = start(*arguments, PATH=path_with(sshd.folder))
    port = near(program)
    (ssh,) = [pid for pid in alive_in(tmp_path) if pid != program.pid]
    os.kill(ssh, signal.SIGKILL)
    program.wait_for("has ended (ssh ended with status -9); the next connection opens it again")
    assert echoed(port) == b"hello"


def test_ssh_says_who_is_not_let_in(sshd: Sshd, start: Start, tmp_path: Path) -> None:
    """A key that is not known there; a Python that is not there; one without autoattach."""
    path = path_with(sshd.folder)
    line = fails(start(sshd.url, "--python", "no-such-python", "--port", 0, PATH=path))
    assert "no no-such-python can be run" in line
    line = fails(start(sshd.url, "--python", f"{sys.executable} -I -S", "--port", 0, PATH=path))
    assert "has no autoattach" in line
    sshd.use(tmp_path, "stranger")
    line = fails(start(sshd.url, "--port", 0, PATH=path_with(tmp_path)))
    assert "does not let you in" in line
    assert "Permission denied" in line
    line = fails(start(f"ssh://127.0.0.1:{free_port()}", "--port", 0, PATH=path))
    assert "cannot be reached" in line


# --- debuggers

APP = """
    import subprocess, sys

    def work(n):
        doubled = n * 2
        return doubled  # breakpoint

    if __name__ == "__main__":
        print(work(int(sys.argv[1])), flush=True)
        if sys.argv[1] == "21":
            print(subprocess.check_output([sys.executable, __file__, "4"], text=True).strip(), flush=True)
"""


@needs("debugpy")
def test_a_breakpoint_in_another_network_namespace(
    namespace: Namespace, start: Start, run: Start, tmp_path: Path
) -> None:
    """VS Code here, the program where no port of it can be reached: it stops, and so does its child, in a sub-session."""
    app = write(tmp_path, "app.py", APP)
    line = line_of(app, "# breakpoint")
    port = free_port()
    program = run(
        *namespace.enter[1:], sys.executable, app, 21,
        python=shutil.which("nsenter"), DEBUGGER_PORT=port, DEBUGGER_WAIT=LIMIT,
    )  # fmt: skip
    program.wait_for("waiting")
    tunnel = start(
        "--command", shlex.join(namespace.enter), "--python", sys.executable, "--port", port, "--remote-port", port
    )
    assert near(tunnel) == port
    assert program.process.poll() is None
    with Client.connect("127.0.0.1", port) as client:
        client.attach(breakpoints={str(app): [line]})
        thread = client.wait_stopped()
        frame = client.stack(thread)[0]
        assert client.evaluate("doubled", frame["id"]) == "42"
        client.continue_(thread)
        event = client.wait_event("debugpyAttach")
        assert event["connect"]["port"] == port
        with client.child(event, breakpoints={str(app): [line]}) as child:
            thread = child.wait_stopped()
            assert child.evaluate("doubled", child.stack(thread)[0]["id"]) == "8"
            child.continue_(thread)
            assert program.wait() == 0, program.dump()
    assert program.stdout.split() == ["42", "8"]
    tunnel.send(signal.SIGINT)
    assert tunnel.wait() == 130, tunnel.dump()
    assert len(said(tunnel)) == 1


@needs("debugpy")
def test_a_breakpoint_through_a_real_sshd(sshd: Sshd, start: Start, run: Start, port: int, tmp_path: Path) -> None:
    """VS Code here, the program behind ssh; the tunnel may be there before the program is."""
    app = write(tmp_path, "app.py", APP)
    line = line_of(app, "# breakpoint")
    tunnel = start(
        sshd.url, "--python", sys.executable, "--port", 0, "--remote-port", port, PATH=path_with(sshd.folder)
    )
    here = near(tunnel)
    program = run(app, 1, DEBUGGER_WAIT=LIMIT)
    program.wait_for("waiting")
    with Client.connect("127.0.0.1", here) as client:
        client.attach(breakpoints={str(app): [line]})
        thread = client.wait_stopped()
        assert client.evaluate("doubled", client.stack(thread)[0]["id"]) == "2"
        client.continue_(thread)
        assert program.wait() == 0, program.dump()
    wait_until(lambda: not listeners(port), "end of the door")
    assert echoed(here) == b""
    tunnel.wait_for(f"nobody listens on port {port}")


@needs("pydevd-pycharm")
def test_pycharm_through_a_real_sshd_in_reverse(sshd: Sshd, start: Start, run: Start, tmp_path: Path) -> None:
    """PyCharm's debug server here, the program behind ssh. A second program, which PyCharm does not serve, disturbs nothing."""
    app = write(tmp_path, "app.py", APP)
    line = line_of(app, "# breakpoint")
    remote = free_port()
    with Server() as server:
        tunnel = start(
            sshd.url, "--reverse", "--python", sys.executable, "--port", server.port, "--remote-port", remote,
            PATH=path_with(sshd.folder),
        )  # fmt: skip
        tunnel.wait_for(" leads to ")
        program = run(app, 1, DEBUGGER_IDE="pycharm", DEBUGGER_PORT=remote, DEBUGGER_WAIT=LIMIT)
        session = server.accept(LIMIT)
        session.start({str(app): [line]}, LIMIT)
        stop = session.wait_stopped(LIMIT)
        with connect(remote) as second:  # no program of ours: those see that the slot is taken, and do not come
            second.sendall(b"hello")
            assert session.evaluate("doubled", stop) == "2"
        assert session.evaluate("doubled + 1", stop) == "3"
        session.resume()
        assert program.wait() == 0, program.dump()
        assert program.stdout.split() == ["2"]


@needs("debugpy")
def test_vs_code_that_listens_in_reverse(namespace: Namespace, start: Start, run: Start, tmp_path: Path) -> None:
    """VS Code's "listen": the program in there connects to the IDE here."""
    app = write(tmp_path, "app.py", APP)
    line = line_of(app, "# breakpoint")
    with Client.listen(sys.executable) as client:
        ide, remote = client.address[1], free_port()
        tunnel = start(
            "--reverse", "--command", shlex.join(namespace.enter), "--python", sys.executable,
            "--port", ide, "--remote-port", remote,
        )  # fmt: skip
        tunnel.wait_for(" leads to ")
        program = run(
            *namespace.enter[1:], sys.executable, app, 1, python=shutil.which("nsenter"),
            DEBUGGER_MODE="connect", DEBUGGER_PORT=remote, DEBUGGER_WAIT=LIMIT,
        )  # fmt: skip
        client.attach(breakpoints={str(app): [line]})
        thread = client.wait_stopped()
        assert client.evaluate("doubled", client.stack(thread)[0]["id"]) == "2"
        client.continue_(thread)
        assert program.wait() == 0, program.dump()


# --- many sub-sessions, as fast as they come


def test_connections_that_come_and_go_leave_nothing_behind(
    start: Start, far: Callable[..., Far], tmp_path: Path
) -> None:
    """Some hundred short connections, one after another and side by side: no open file is left of them."""
    program = start(*HERE, "--port", 0, "--remote-port", far(echo).port)
    port = near(program)
    processes = [program.pid, *pipes(tmp_path)]

    def files() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in processes]

    before = files()
    for _ in range(10):
        threads = [threading.Thread(target=echoed, args=(port,), daemon=True) for _ in range(20)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + LIMIT
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
            assert not thread.is_alive()
    wait_until(lambda: files() == before, "no file left open")
