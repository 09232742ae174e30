"""The peers on private state: a dockerd with its own socket and data, podman with its own storage, a registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.measure import Daemon


def registry_config(storage: Path, port: int) -> str:
    """Of the distribution's docker-registry."""
    return (
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {storage}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )


def free_port() -> int:
    """A loopback port that no process uses now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unmount_below(folder: Path) -> None:
    """Peers leave mounts of their storage behind; without this the folder could not be removed."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in reversed([m for m in mounted if m.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", target], check=False)


class Peers:
    """Starts what is installed; a peer that is absent is None and its column stays empty."""

    def __init__(self, work: Path, stack: ExitStack, newer: Path | None) -> None:
        """`newer` is where `make peers` put the current releases."""
        self._work = work
        self._inside = self._enter(newer, stack) if newer else []
        self.storage: list[str] = []
        self.docker = self._docker(stack)
        self.podman = self._podman(stack)
        self.registry = self._registry(stack)

    @staticmethod
    def _enter(newer: Path, stack: ExitStack) -> list[str]:
        """What starts a program with the newer root's /usr: the mounts are made once, for all that is timed."""
        holder = subprocess.Popen([newer / "sbin/newer", "sh", "-c", "echo; exec cat"], stdin=-1, stdout=-1)
        stack.enter_context(holder)
        assert holder.stdout
        holder.stdout.readline()
        return ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]

    def program(self, name: str) -> list[str]:
        """The start of a command line of an installed peer; empty when there is none."""
        if not self._inside:
            found = shutil.which(name)
            return [found] if found else []
        # Not by the PATH of this process: that leads to what makes the mounts anew each time.
        places = "/usr/sbin:/usr/bin"
        ask = [*self._inside, "/bin/sh", "-c", f"PATH={places} command -v {name}"]
        found = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
        return [*self._inside, found] if found else []

    def _docker(self, stack: ExitStack) -> Sequence[str] | None:
        client, server = self.program("docker"), self.program("dockerd")
        if not client or not server:
            return None
        home = self._work / "docker"
        home.mkdir()
        socket = f"unix://{home}/docker.sock"
        argv = [*client, "-H", socket]
        daemon = Daemon(
            [
                *server,
                "-H",
                socket,
                "--data-root",
                f"{home}/data",
                "--exec-root",
                f"{home}/exec",
                "--pidfile",
                f"{home}/pid",
                "--storage-driver",
                "overlay2",
            ],
            lambda: subprocess.run([*argv, "version"], capture_output=True).returncode == 0,
            self._work / "dockerd.log",
        )
        stack.enter_context(daemon)
        return argv

    def _podman(self, stack: ExitStack) -> Sequence[str] | None:
        program = self.program("podman")
        if not program:
            return None
        home = self._work / "podman"
        home.mkdir()
        conf = home / "containers.conf"
        # What the host may not grant must not be asked for: see the hard limits that this process has.
        conf.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n[engine]\nruntime = "runc"\n'
        )
        policy = home / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        os.environ["CONTAINERS_CONF"] = str(conf)
        self.storage = ["--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "overlay"]
        return [*program, *self.storage, "--cgroup-manager", "cgroupfs"]

    def _registry(self, stack: ExitStack) -> str | None:
        program = shutil.which("docker-registry")
        if not program:
            return None
        port = free_port()
        config = self._work / "registry.yml"
        config.write_text(registry_config(self._work / "registry", port))

        def ready() -> bool:
            import socket

            time.sleep(0.05)
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        stack.enter_context(Daemon([program, "serve", str(config)], ready, self._work / "registry.log"))
        return f"127.0.0.1:{port}"
