"""Real peers for tests/compat: Debian's docker-registry, skopeo, podman and docker, each on private directories."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxwright.content.layout import Layout
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Index
from boxwright.spec.platform import Platform
from support import REAL_ROOT
from support.images import have_busybox
from support.registry import Image


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip when a program is absent."""
    missing = [p for p in programs if shutil.which(p) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


# What a module has that runs a dockerd of its own, with busybox in it.
DOCKERD = [
    pytest.mark.peer,
    pytest.mark.rooted,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root"),
    needs("docker", "dockerd"),
    pytest.mark.skipif(not have_busybox(), reason="busybox-static is not installed"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def docker_registry(
    folder: Path,
    *,
    htpasswd: str = "",
    tls: tuple[Path, Path] | None = None,
    mirror_of: str = "",
    port: int = 0,
) -> Iterator[str]:
    """Go's registry on a free port; yields host:port."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "x"}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        config["auth"] = {"htpasswd": {"realm": "here", "path": str(folder / "htpasswd")}}
    if tls:
        http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    if mirror_of:
        config["proxy"] = {"remoteurl": mirror_of}
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def registry(folder: Path, config: str = "", *options: str, scheme: str = "http") -> Iterator[str]:
    """`boxwright registry serve` with two workers; yields host:port."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "registry.toml").write_text(config)
    host = f"127.0.0.1:{free_port()}"
    with open(folder / "log", "w+") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "boxwright",
                "registry",
                "serve",
                "--addr",
                host,
                "--storage",
                str(folder / "data"),
                "--config",
                str(folder / "registry.toml"),
                "--workers",
                "2",
                *options,
            ],
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + 30
            while (
                run(
                    "curl",
                    "-sk",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                    f"{scheme}://{host}/healthz",
                    any_code=True,
                )
                != "200"
            ):
                assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.05)
            yield host
        finally:
            process.terminate()
            assert process.wait(40) == 0
    assert f"listening on {scheme}://{host}" in (folder / "log").read_text()
    assert "Traceback" not in (folder / "log").read_text()


@contextmanager
def dockerd(folder: Path, *options: str) -> Iterator[list[str]]:
    """A private docker daemon without networks, with further options; yields the start of a docker command line.

    In the network of the tests: in the host's, `--bridge=none` would delete its `docker0`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    short = Path(tempfile.mkdtemp())  # its sockets' paths have to fit into 107 bytes
    sock = short / "s"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [
                "dockerd",
                "--data-root",
                str(folder / "data"),
                "--exec-root",
                str(short / "exec"),
                "-H",
                f"unix://{sock}",
                "-p",
                str(folder / "pid"),
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--bridge=none",
                "--cgroup-parent",
                f"/{short.name}",
                *options,
            ],
            stdout=log,
            stderr=log,
        )
    docker = ["docker", "-H", f"unix://{sock}"]
    try:
        end = time.monotonic() + 40
        while subprocess.run([*docker, "version"], capture_output=True, check=False).returncode:
            if process.poll() is not None or time.monotonic() > end:
                pytest.skip("dockerd does not start here: " + (folder / "log").read_text()[-300:])
            time.sleep(0.1)
        yield docker
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(
            ["umount", "-l", folder / "data"], capture_output=True, check=False
        )  # its data is a mount, which it leaves
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{short}/"):
                subprocess.run(["umount", "-l", line.split()[1]], capture_output=True, check=False)
        remove_cgroups(short.name)
        shutil.rmtree(short, ignore_errors=True)


def remove_cgroups(name: str) -> None:
    """A daemon's cgroups, in every hierarchy; what ran in them may take a moment to be gone."""
    for folder, _, _ in os.walk(
        "/sys/fs/cgroup", topdown=False
    ):  # which passes over what others remove meanwhile
        for attempt in range(50):
            if name not in Path(folder).parts:
                break
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError:
                assert attempt < 49, f"{folder} is in use"
                time.sleep(0.1)


def run(
    *argv: str | Path,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    fails: bool = False,
    any_code: bool = False,
) -> str:
    """Standard output of a program that must succeed (or, with `fails`, standard error of one that must fail)."""
    done = subprocess.run(
        [str(a) for a in argv],
        capture_output=True,
        text=True,
        input=input,
        env={**os.environ, **(env or {})},
        check=False,
        timeout=120,
    )
    if fails:
        assert done.returncode != 0, done.stdout
        return done.stderr
    assert any_code or done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Boxwright:
    """The command line on a root and home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "BOXWRIGHT_ROOT": str(folder / "root"),
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "XDG_CONFIG_HOME": "",
        }

    def __call__(self, *argv: str | Path, input: str | None = None, fails: bool = False) -> str:
        return run(sys.executable, "-m", "boxwright", *argv, env=self.env, input=input, fails=fails)


@contextmanager
def podman(folder: Path) -> Iterator[list[str]]:
    """The start of a podman command line on private storage. Its paths must be short, which pytest's are not."""
    short = Path(tempfile.mkdtemp(prefix="pod-"))
    start = [
        "podman",
        "--root",
        str(folder / "root"),
        "--runroot",
        str(short),
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
    ]
    try:
        yield start
    finally:
        subprocess.run([*start, "rmi", "-af"], capture_output=True, check=False)
        # What keeps the namespaces of an ordinary user ends with it.
        subprocess.run([*start, "system", "migrate"], capture_output=True, check=False)
        shutil.rmtree(short, ignore_errors=True)


def layout(path: Path, name: str, *images: Image) -> Descriptor:
    """An OCI layout with one image, or an index of several."""
    target = Layout(path, create=True)
    entries = []
    for image in images:
        for blob in (image.config, *image.layers):
            target.push(Descriptor.of(blob, "x"), io.BytesIO(blob))
        target.push(image.manifest.descriptor, io.BytesIO(image.manifest.raw))
        platform = Platform.from_json(json.loads(image.config))
        entries.append(Descriptor.of(image.manifest.raw, image.manifest.media_type, platform=platform))
    desc = entries[0]
    if len(entries) > 1:
        index = Index.compose(entries)
        target.push(index.descriptor, io.BytesIO(index.raw))
        desc = index.descriptor
    target.tag(name, desc)
    return desc
