"""`boxwright serve` with Docker's own client: containers, and what survives the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.containers import Root
from support.engine_api import ApiClient, serving

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("docker") is None, reason="not installed: docker"),
]
Docker = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def sock() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are too long for a socket's path
        yield Path(folder) / "d.sock"


@pytest.fixture(scope="module")
def server(root: Root, sock: Path) -> Iterator[subprocess.Popen[bytes]]:
    with serving(root, sock) as process:
        yield process


@pytest.fixture
def api(server: object, sock: Path) -> ApiClient:
    return ApiClient(sock)


@pytest.fixture
def docker(server: object, sock: Path, cleared: None) -> Docker:
    def run(
        *words: str, input: str = "", check: int | None = 0, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, "DOCKER_HOST": f"unix://{sock}"},
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert check is None or done.returncode == check, f"docker {' '.join(words)}: {done}"
        return done

    return run


def test_run_brings_output_and_exit_code(docker: Docker) -> None:
    done = docker(
        "run", "--rm", "--network=none", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=7
    )
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert docker("ps", "-aq").stdout == ""


def test_no_byte_of_a_short_program_is_lost(docker: Docker) -> None:
    for _ in range(5):
        done = docker("run", "--rm", "--network=none", "busybox", "sh", "-c", "yes | head -c 300000")
        assert len(done.stdout) == 300_000


def test_input_reaches_the_program(docker: Docker) -> None:
    done = docker("run", "-i", "--rm", "--network=none", "busybox", "wc", "-c", input="x" * 200_000)
    assert done.stdout.strip() == "200000"


def test_a_container_s_life(docker: Docker) -> None:
    identity = docker(
        "run", "-d", "--name", "life", "--network=none", "busybox", "sleep", "100"
    ).stdout.strip()
    assert docker("ps", "-q", "--no-trunc", "--filter", "name=life").stdout.strip() == identity
    assert (
        docker("inspect", "-f", "{{.State.Status}} {{.Config.Image}}", "life").stdout == "running busybox\n"
    )
    assert "sleep 100" in docker("top", "life").stdout
    docker("pause", "life")
    assert "(Paused)" in docker("ps").stdout
    docker("unpause", "life")
    docker("rename", "life", "other")
    docker("update", "--memory", "64m", "--memory-swap", "64m", "other")
    assert docker("inspect", "-f", "{{.HostConfig.Memory}}", "other").stdout.strip() == str(64 << 20)
    assert "cannot remove container" in docker("rm", "other", check=1).stderr
    docker("kill", "other")
    assert docker("wait", "other").stdout == "137\n"
    docker("start", "other")
    docker("stop", "-t", "0", "other")
    docker("rm", "other")
    assert docker("ps", "-aq").stdout == ""


def test_logs(docker: Docker) -> None:
    docker("run", "--name", "said", "--network=none", "busybox", "sh", "-c", "echo a; echo b >&2; echo c")
    done = docker("logs", "said")
    assert (done.stdout, done.stderr) == ("a\nc\n", "b\n")
    done = docker("logs", "--tail", "1", "said")  # two pipes: which of their lines is the last is chance
    assert done.stdout + done.stderr in ("b\n", "c\n")
    docker("run", "-d", "--name", "slow", "--network=none", "busybox", "sh", "-c", "echo 1; sleep 1; echo 2")
    assert docker("logs", "-f", "slow").stdout == "1\n2\n"


def test_an_image_that_is_missing(api: ApiClient) -> None:
    status, body, _ = api.ask("POST", "/v1.44/containers/create", {"Image": "nothing/there"})
    assert (status, body) == (404, {"message": "No such image: nothing/there:latest"})


@pytest.mark.parametrize(
    "body",
    [
        {"Image": 5},
        {"Image": "busybox", "Cmd": {"a": 1}},
        {"Image": "busybox", "HostConfig": []},
        {"Image": "busybox", "HostConfig": {"Binds": ["a"]}},
        {"Image": "busybox", "HostConfig": {"Mounts": [{"Type": "x", "Target": "/a"}]}},
        {"Image": "busybox", "HostConfig": {"PortBindings": {"x": None}}},
        {"Image": "busybox", "HostConfig": {"SecurityOpt": ["seccomp=/etc/shadow"]}},
        {"Image": "busybox", "HostConfig": {"StorageOpt": {"size": "1g"}}},
        {"Image": "busybox", "HostConfig": {"Memory": 1 << 70}},
        {},
        b"{",
        b"[" * 100_000,
    ],
)
def test_bodies_that_are_none_are_refused(api: ApiClient, body: object) -> None:
    status, said, _ = api.ask("POST", "/containers/create", body)
    assert status == 400 and said["message"], (status, said)


def test_states_have_docker_s_codes(docker: Docker, api: ApiClient) -> None:
    identity = docker("create", "--network=none", "busybox", "sleep", "100").stdout.strip()
    assert api.ask("POST", f"/containers/{identity}/stop")[0] == 304
    assert api.ask("POST", f"/containers/{identity}/kill")[0] == 409
    assert api.ask("POST", f"/containers/{identity}/start")[0] == 204
    assert api.ask("POST", f"/containers/{identity}/start")[0] == 304
    assert api.ask("DELETE", f"/containers/{identity}")[0] == 409
    assert api.ask("POST", "/containers/none/start")[0] == 404
    assert api.ask("POST", f"/containers/{identity}/attach?stream=1&stdout=1")[0] == 400  # no upgrade
    assert api.ask("DELETE", f"/containers/{identity}?force=1")[0] == 204


def test_a_server_that_is_killed_loses_no_container(root: Root, cleared: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sock = Path(folder) / "d.sock"
        with serving(root, sock) as first:
            api = ApiClient(sock)
            body = {"Image": "busybox", "Cmd": ["sh", "-c", "echo here; sleep 2; exit 5"]}
            body["HostConfig"] = {"NetworkMode": "none"}  # type: ignore[assignment]
            identity = api.ask("POST", "/containers/create", body)[1]["Id"]
            assert api.ask("POST", f"/containers/{identity}/start")[0] == 204
            first.send_signal(signal.SIGKILL)
            first.wait(10)
        with serving(root, sock):
            assert api.ask("GET", f"/containers/{identity}/json")[1]["State"]["Running"]
            assert api.ask("POST", f"/containers/{identity}/wait")[1]["StatusCode"] == 5
            logs = api.ask("GET", f"/v1.41/containers/{identity}/logs?stdout=1")[1]
            assert logs == b"\x01\0\0\0\0\0\0\x05here\n"


def test_a_client_that_vanishes_leaves_the_container(docker: Docker, sock: Path) -> None:
    identity = docker("create", "--network=none", "busybox", "sleep", "100").stdout.strip()
    client = subprocess.Popen(
        ["docker", "start", "-a", identity],
        env={**os.environ, "DOCKER_HOST": f"unix://{sock}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while docker("ps", "-q").stdout == "":
        assert time.monotonic() < deadline
    client.kill()
    client.wait()
    time.sleep(0.2)
    assert docker("inspect", "-f", "{{.State.Running}}", identity).stdout == "true\n"
