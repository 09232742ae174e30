"""`kill -9` of the command at any moment of create, start, run and rm: what is left is whole, or is cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.container.records import Container
from support.chance import chance, rounds
from support.containers import IMAGE, Root, busybox_root
from support.waiting import eventually

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("killed")) as root:
        yield root


def whole(root: Root) -> None:
    """Everything can be listed, stopped and removed, and nothing stays mounted."""
    containers = root.engine.containers
    found = list(containers.list(all=True))
    for container in found:
        assert container.state.status in ("created", "running", "exited")
        containers.remove(container, force=True, volumes=True)
    containers.catalog.sweep()
    eventually(lambda: not list((root.path / "containers").glob("*")))
    assert not [
        line
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if f"{root.path}/containers" in line
    ]
    with root.engine.services.db.read() as sql:
        assert sql.execute("SELECT count(*) FROM addresses").fetchone() == (0,)
    eventually(lambda: not runtime_has(root, found))


def runtime_has(root: Root, containers: list[Container]) -> set[str]:
    return {c.id for c in containers} & {s.id for s in root.engine.services.runtime.states()}


COMMANDS = {
    "run": ("run", "--name", "victim", IMAGE, "sleep", "0.2"),
    "run --rm": ("run", "--rm", "--name", "victim", "-v", "/data", IMAGE, "true"),
    "run -d": ("run", "-d", "--name", "victim", "-p", "80", IMAGE, "sleep", "100"),
}


@pytest.mark.soak
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_a_random_moment(root: Root, name: str) -> None:
    dice = chance(name)
    for _ in rounds(6):
        process = root.start(*COMMANDS[name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.02, 0.6))
        process.kill()
        process.wait()
        time.sleep(0.3)
        whole(root)
    root.run(*COMMANDS[name])
    whole(root)


@pytest.mark.soak
def test_rm_killed(root: Root) -> None:
    dice = chance("rm")
    for _ in rounds(4):
        root.run("run", "-d", "--name", "victim", IMAGE, "sleep", "100")
        process = root.start("rm", "-f", "victim", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.05, 0.4))
        process.kill()
        process.wait()
        whole(root)


@pytest.mark.soak
def test_supervisor_killed_at_a_random_moment(root: Root) -> None:
    dice = chance("supervisor")
    for _ in rounds(5):
        root.run(
            "run",
            "-d",
            "--name",
            "victim",
            "-p",
            "80",
            "--restart",
            "always",
            IMAGE,
            "sh",
            "-c",
            "sleep 0.05",
        )
        time.sleep(dice.uniform(0, 0.3))
        container = root.engine.containers.get("victim")
        if container.state.supervised:
            os.kill(container.state.supervisor_pid, signal.SIGKILL)
            eventually(lambda container=container: not container.refresh().supervised)
        found = root.engine.containers.get("victim")
        assert found.state.active and found.state.supervised
        root.run("stop", "-t", "0", "victim")
        eventually(lambda container=container: f"boxwright:{container.short_id}" not in rules())
        whole(root)


def rules() -> str:
    return subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout


# Process 1 of many a container is a program that never waits for the orphans it inherits.
CARELESS = """
import os, signal, subprocess, sys
boxwright = [sys.executable, "-m", "boxwright"]
subprocess.run([*boxwright, "run", "-d", "--name", "victim", sys.argv[1], "sleep", "100"], check=True, stdout=subprocess.DEVNULL)
supervisor = next(p for p in os.listdir("/proc") if p.isdigit() and p != "1" and b"supervisor" in open(f"/proc/{p}/cmdline", "rb").read())
os.kill(int(supervisor), signal.SIGKILL)
print(os.getpid(), flush=True)
subprocess.run([*boxwright, "ps", "-a", "--format", "{{.Names}} {{.State}}"], check=True)
subprocess.run([*boxwright, "rm", "-f", "victim"], check=True)
"""


def test_a_supervisor_that_no_process_reaps_is_dead(root: Root) -> None:
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", CARELESS, IMAGE]
    done = subprocess.run(argv, env=root.environ, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n") == ["1", "victim running", "victim", ""], done.stderr
    whole(root)
