"""A host of its own: network and mount namespaces in which Boxwright, its containers and other machines live, so that
the real host's bridges and rules are never touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import IO

import pytest

from support import REAL_ROOT
from support.containers import IMAGE
from support.images import busybox_tar, have_busybox

WEB = (IMAGE, "httpd", "-f", "-p", "80", "-h", "/etc")
_ASK = 'exec 3<>"/dev/tcp/$0/$1"; printf "GET /motd HTTP/1.0\\r\\n\\r\\n" >&3; read -r line <&3; echo "$line"'


class Machine:
    """A network namespace, held by a process that waits for its standard input to end."""

    def __init__(self, start: list[str]) -> None:
        script = "mount -t tmpfs none /run; ip link set lo up; echo; exec cat >&2"
        self._process = subprocess.Popen(
            [*start, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:
            said.readline()
        self.pid = self._process.pid
        self._servers: list[subprocess.Popen[bytes]] = []
        self._files: list[IO[bytes]] = []

    def serve(self, port: int, address: str = "") -> None:
        """Answer over HTTP, until the machine is closed."""
        where = f"{address}:{port}" if address else str(port)
        argv = ["nsenter", "-t", str(self.pid), "-n", "busybox", "httpd", "-f", "-p", where, "-h", "/etc"]
        self._servers.append(subprocess.Popen(argv))

    def listen(self, port: int) -> Callable[[], bytes]:
        """Hear what comes as UDP, until the machine is closed; what was heard so far."""
        code = (
            "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', int(sys.argv[1])))\n"
            "while True: sys.stdout.buffer.write(s.recv(9999)); sys.stdout.flush()"
        )
        argv = ["nsenter", "-t", str(self.pid), "-n", sys.executable, "-c", code, str(port)]
        output = tempfile.TemporaryFile()
        self._servers.append(subprocess.Popen(argv, stdout=output))
        self._files.append(output)

        def heard() -> bytes:
            return os.pread(output.fileno(), 1 << 20, 0)

        return heard

    def sh(self, script: str, *, check: bool = True) -> str:
        """A shell's standard output."""
        argv = ["nsenter", "-t", str(self.pid), "-n", "-m", "sh", "-c", script]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        for server in self._servers:
            server.terminate()
            server.wait(10)
        for file in self._files:
            file.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Host(Machine):
    """Where Boxwright runs, on a root of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(["unshare", "-n", "-m", "--propagation", "private"])
        self.sh("sysctl -qw net.ipv4.ip_forward=0")
        self._settle(folder)

    def _settle(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("BOXWRIGHT_", "DOCKER_"))}
        self.root = folder / "root"
        self._environ = {**clean, "BOXWRIGHT_ROOT": str(self.root), "BOXWRIGHT_TRUST_HOST_CA": "never"}
        (folder / "busybox.tar").write_bytes(busybox_tar())
        self.out("import", str(folder / "busybox.tar"), IMAGE)

    def with_root(self, folder: Path) -> Host:
        """The same host with another root."""
        other = copy(self)
        other._settle(folder)
        return other

    def use(self, **environ: str) -> None:
        """Variables of the commands from now on."""
        self._environ = {**self._environ, **environ}

    def run(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A Boxwright command; fails the test when the exit code is not `check` (None = any)."""
        argv = ["nsenter", "-t", str(self.pid), "-n", "-m", sys.executable, "-m", "boxwright", *words]
        done = subprocess.run(
            argv, env=self._environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert check is None or done.returncode == check, f"{words}: {done.stdout}{done.stderr}"
        return done

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """A Boxwright command that is not waited for, and whose output is not seen."""
        argv = ["nsenter", "-t", str(self.pid), "-n", "-m", sys.executable, "-m", "boxwright", *words]
        null = subprocess.DEVNULL
        return subprocess.Popen(argv, env=self._environ, stdin=null, stdout=null, stderr=null)

    def shell(self, script: str) -> str:
        """A shell's standard output, whatever its exit code, with this root as Boxwright's."""
        argv = ["nsenter", "-t", str(self.pid), "-n", "-m", "sh", "-c", script]
        done = subprocess.run(
            argv, env=self._environ, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def out(self, *words: str) -> str:
        """What a command prints, stripped."""
        return self.run(*words).stdout.strip()

    def neighbour(self, network: str, six: str) -> Machine:
        """Another machine, at .2 of the host's new network (the host is .1), which routes everything through the host."""
        machine = Machine(["nsenter", "-t", str(self.pid), "-n", "-m", "unshare", "-n", "-m"])
        self.sh(
            f"ip link add v{machine.pid} type veth peer name eth0 netns {machine.pid}; "
            f"ip addr add {network}.1/24 dev v{machine.pid}; ip addr add {six}1/64 dev v{machine.pid} nodad; "
            f"ip link set v{machine.pid} up"
        )
        machine.sh(
            f"ip addr add {network}.2/24 dev eth0; ip addr add {six}2/64 dev eth0 nodad; ip link set eth0 up; "
            f"ip route add default via {network}.1; ip -6 route add default via {six}1"
        )
        return machine

    def address(self, container: str) -> str:
        """Of a container with one network."""
        return self.out(
            "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container
        )

    def pid_of(self, container: str) -> int:
        """Of a container's first process."""
        return int(self.out("inspect", "-f", "{{.State.Pid}}", container))

    def own_sbin(self) -> None:
        """Let the test replace programs in /usr/sbin."""
        self.sh(
            "mkdir /run/upper /run/work && "
            "mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/upper,workdir=/run/work overlay /usr/sbin"
        )

    def rules(self) -> str:
        """Every rule, of IPv4 and IPv6, without counters and dates."""
        text = self.sh("iptables-save; ip6tables-save")
        kept = [line for line in text.splitlines() if line.startswith(("-A", "*", ":"))]
        return "\n".join(line.partition(" [")[0] for line in kept)

    def links(self) -> set[str]:
        """Names of the interfaces."""
        return {line.split()[0].partition("@")[0] for line in self.sh("ip -br link").splitlines()}


def reaches(pid: int, address: str, port: int) -> bool:
    """Whether a program in the network namespace of a process gets an answer over HTTP."""
    argv = ["nsenter", "-t", str(pid), "-n", "timeout", "1", "bash", "-c", _ASK, address, str(port)]
    return subprocess.run(argv, capture_output=True, check=False).stdout.startswith(b"HTTP/")


def reached(asked: Iterable[tuple[str, int, str, int]]) -> set[str]:
    """Which of several (name, pid, address, port) get an answer, asked all at once."""
    with ThreadPoolExecutor(16) as pool:
        wanted = list(asked)
        found = pool.map(lambda one: reaches(*one[1:]), wanted)
        return {one[0] for one, yes in zip(wanted, found, strict=True) if yes}


@contextmanager
def private_host(folder: Path) -> Iterator[Host]:
    """Skips where real containers cannot be."""
    if not REAL_ROOT or not have_busybox():
        pytest.skip("containers need root and the static busybox")
    host = Host(folder)
    try:
        yield host
    finally:
        try:
            host.run("system", "reset", "-f")
            left = [line for line in host.rules().splitlines() if "boxwright" in line.lower()]
        finally:
            host.close()
        assert not left, "rules were left behind"


@contextmanager
def docker_in(host: Host, folder: Path) -> Iterator[str]:
    """A daemon with its networks on this host; yields the start of a docker command."""
    short = Path(tempfile.mkdtemp())
    command = (
        f"exec dockerd --data-root {folder}/data --exec-root {short}/exec -H unix://{short}/s -p {folder}/pid "
        f"--cgroup-parent /{short.name}"
    )
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            ["nsenter", "-t", str(host.pid), "-n", "-m", "sh", "-c", command], stdout=log, stderr=log
        )
    docker = f"docker -H unix://{short}/s"
    try:
        end = time.monotonic() + 40
        while not host.sh(f"{docker} version -f '{{{{.Server.Version}}}}'", check=False).strip():
            if process.poll() is not None or time.monotonic() > end:
                pytest.skip("dockerd does not start here: " + (folder / "log").read_text()[-300:])
            time.sleep(0.1)
        yield docker
    finally:
        process.terminate()
        process.wait(30)
        host.sh(f"umount -l {folder}/data; umount -l {short}/exec/netns/default", check=False)
        for cgroup in Path("/sys/fs/cgroup").glob(f"**/{short.name}"):
            cgroup.rmdir()
        shutil.rmtree(short, ignore_errors=True)
