"""Containers whose output goes to a log server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from support.containers import IMAGE, Root, busybox_root
from support.waiting import eventually

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("logs")) as root:
        yield root


@pytest.fixture
def server() -> Iterator[tuple[socket.socket, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.settimeout(30)
        found.bind(("127.0.0.1", 0))
        yield found, found.getsockname()[1]


def test_output_reaches_a_server_and_the_cache(root: Root, server: tuple[socket.socket, int]) -> None:
    given = ["--log-driver=gelf", f"--log-opt=gelf-address=udp://127.0.0.1:{server[1]}"]
    given += [
        "--log-opt=gelf-compression-type=none",
        "--log-opt=tag={{.Name}}",
        "--log-opt=labels=app",
        "--label=app=x",
    ]
    root.run("run", "-d", "--name", "told", *given, IMAGE, "sh", "-c", "echo hello; echo wrong >&2")
    found = [json.loads(server[0].recv(9999)) for _ in range(2)]
    assert {(m["short_message"], m["level"]) for m in found} == {("hello", 6), ("wrong", 3)}
    assert {(m["_tag"], m["_app"], m["_container_name"]) for m in found} == {("told", "x", "told")}
    eventually(lambda: "hello" in root.run("logs", "told").stdout)
    (shown,) = json.loads(root.run("inspect", "told").stdout)
    assert shown["LogPath"] == "" and shown["HostConfig"]["LogConfig"]["Type"] == "gelf"
    root.run("run", "-d", "--name", "untold", *given, "--log-opt=cache-disabled=true", IMAGE, "echo", "hello")
    told = root.run("logs", "untold", check=1).stderr
    assert "configured logging driver does not support reading" in told


def test_a_server_that_is_not_there_ends_the_start(root: Root) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # where nothing listens
        port = held.getsockname()[1]
        given = ("--log-driver=syslog", f"--log-opt=syslog-address=tcp://127.0.0.1:{port}")
        told = root.run("run", "--rm", "--name", "gone", *given, IMAGE, "true", check=125).stderr
    assert (
        "failed to create task for container: failed to initialize logging driver: "
        f"dial tcp 127.0.0.1:{port}: connect: connection refused" in told
    )
    assert "gone" not in root.run("ps", "-a").stdout


def test_labels_are_shown_as_details(root: Root) -> None:
    given = ("--log-opt=labels=app", "--label=app=a b", "--log-opt=env=X", "--env=X=1")
    root.run("run", "--name", "kept", *given, IMAGE, "echo", "hello")
    assert root.run("logs", "--details", "kept").stdout == "X=1,app=a+b hello\n"
    assert root.run("logs", "kept").stdout == "hello\n"
