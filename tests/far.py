"""The far sides of the tunnel's tests: a real sshd, a network namespace, and stand-ins for docker and kubectl."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Callable

import pytest
from support import LIMIT, environment, free_port, listeners, wait_until


def script(folder: Path, name: str, text: str) -> Path:
    """A shell script in `folder`/bin, which goes onto a PATH."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def path_with(folder: Path) -> str:
    """A PATH with `folder`/bin first."""
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


class Sshd:
    """A real sshd on loopback with keys, configuration and files of its own, and an `ssh` that knows them."""

    def __init__(self, folder: Path, *settings: str) -> None:
        """Skips the test where there is none to be had."""
        sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
        ssh = shutil.which("ssh")
        if sshd is None or ssh is None or shutil.which("ssh-keygen") is None:
            pytest.skip("no ssh, sshd and ssh-keygen here")
        self.port = free_port()
        self.folder = folder
        for name in ("host", "user", "stranger"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, timeout=LIMIT
            )
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}")
        lines = [
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {folder / 'host'}",
            f"AuthorizedKeysFile {folder / 'user.pub'}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            "AllowTcpForwarding no",  # the tunnel does without
            *settings,
        ]
        (folder / "sshd_config").write_text("\n".join([*lines, ""]))
        self.use(folder, "user")
        command = [sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
        if os.getuid() == 0:  # sshd wants a user and a folder, and has them in a namespace of its own
            (folder / "passwd").write_text(
                Path("/etc/passwd").read_text() + "sshd:x:64999:65534::/:/usr/sbin/nologin\n"
            )
            mounts = f"mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/sshd && mount --bind {folder}/passwd /etc/passwd"
            command = ["unshare", "--mount", "sh", "-c", f"{mounts} && exec {shlex.join(command)}"]
        self.process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            wait_until(lambda: listeners(self.port) or self.process.poll() is not None, "sshd")
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                log = folder / "sshd.log"
                said = self.process.stderr.read().decode() + (log.read_text() if log.exists() else "")
                pytest.skip(f"sshd does not start here: {said.strip()}")
        except BaseException:
            self.close()
            raise

    def use(self, folder: Path, key: str) -> None:
        """Put an `ssh` into `folder`/bin: the real one, which reads no configuration but ours."""
        (folder / "ssh_config").write_text(
            f"Host *\n IdentityFile {self.folder / key}\n IdentitiesOnly yes\n BatchMode yes\n"
            f" UserKnownHostsFile {self.folder / 'known'}\n"
        )
        script(folder, "ssh", f'exec {shutil.which("ssh")} -F {folder / "ssh_config"} "$@"\n')

    @property
    def url(self) -> str:
        import pwd

        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}"

    def close(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass
        self.process.wait(LIMIT)
        if self.process.stderr is not None:
            self.process.stderr.close()


class Namespace:
    """A network of its own, with nothing in it but a loopback: as a container has it."""

    UP = (
        "import fcntl, socket, struct, sys; "
        "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14s', b'lo', 1, b'')); "  # SIOCSIFFLAGS, IFF_UP
        "print('up', flush=True); sys.stdin.read()"
    )

    def __init__(self) -> None:
        """Skips the test where that is not permitted."""
        if not (sys.platform.startswith("linux") and shutil.which("unshare") and shutil.which("nsenter")):
            pytest.skip("no unshare and nsenter here")
        apart = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
        self.process = subprocess.Popen(
            [*apart, sys.executable, "-c", self.UP], env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "up\n":
            _, said = self.process.communicate(timeout=LIMIT)
            pytest.skip(f"no network namespace is to be had here: {said.strip()[-200:]}")

    @property
    def enter(self) -> list[str]:
        """What runs a command in it."""
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.process.pid), *user, "--net"]

    def close(self) -> None:
        self.process.communicate(timeout=LIMIT)  # the end of its input is its end


class Far:
    """A server at the far port. It counts who connects, and serves each connection in a thread."""

    def __init__(self, serve: Callable[[socket.socket], None], port: int = 0) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(100)
        self.port = int(self._listener.getsockname()[1])
        self.came: list[socket.socket] = []
        self._serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self._listener.accept()
                self.came.append(sock)
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()
        except OSError:
            pass

    def _one(self, sock: socket.socket) -> None:
        try:
            self._serve(sock)
        except OSError:
            pass

    def close(self) -> None:
        for sock in [self._listener, *self.came]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
