"""Containers after `kill -9` of their supervisors, and after a boot: no daemon waits for either.

A boot is a changed boot id (another file mounted over the kernel's, in a mount namespace of the test's own), a /run
without what was in it, and processes that are no more.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.records import Container
from support.containers import IMAGE, Root, busybox_root
from support.waiting import eventually

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(
        tmp_path_factory.mktemp("life"), XDG_RUNTIME_DIR=str(tmp_path_factory.mktemp("run"))
    ) as root:
        yield root


def kill_supervisor(root: Root, name: str) -> Container:
    """It, as it was before."""
    container = root.engine.containers.catalog.rows("WHERE name = ?", name)[0]
    os.kill(container.state.supervisor_pid, signal.SIGKILL)
    assert container.state.supervised is False or eventually(lambda: not container.state.supervised) is None
    return container


def state(root: Root, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(root.out("inspect", "-f", "{{json .State}}", name))
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SERVER = "mkdir -p /www; echo hello >/www/index.html; httpd -p 80 -h /www; i=0; while true; do i=$((i+1)); echo $i; sleep 0.05; done"


def test_a_server_goes_on(root: Root) -> None:
    port = free_port()
    root.run("network", "create", "lan")
    root.run(
        *("run", "-d", "--name", "web", "--network", "lan", "-p", f"{port}:80"),
        *("--health-cmd", "echo fine", "--health-interval", "100ms", IMAGE, "sh", "-c", SERVER),
    )
    eventually(lambda: state(root, "web")["Health"]["Status"] == "healthy")
    before = kill_supervisor(root, "web")
    stopped = len(root.out("logs", "web").split())  # which is the next command, and so gives it another
    assert root.out("ps", "--format", "{{.Names}} {{.State}}") == "web running"
    after = root.engine.containers.get("web")
    assert after.state.pid == before.state.pid and after.state.supervisor != before.state.supervisor
    assert after.state.restart_count == 0
    for host in ("127.0.0.1", "[::1]"):  # a rule, and the supervisor itself
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            assert answer.read() == b"hello\n"
    eventually(lambda: len(root.out("logs", "web").split()) > stopped + 5)
    words = root.out("logs", "web").split()
    assert words == [str(n) for n in range(1, len(words) + 1)]
    checked = state(root, "web")["Health"]["Log"][-1]["End"]
    eventually(lambda: state(root, "web")["Health"]["Log"][-1]["End"] > checked)
    assert root.out("run", "--rm", "--network", "lan", IMAGE, "wget", "-qO-", "http://web/") == "hello"
    root.run("stop", "-t", "0", "web")
    eventually(lambda: not root.engine.containers.get("web").state.unfinished)
    rules = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True).stdout
    assert f"boxwright:{before.short_id}" not in rules
    root.run("rm", "web")
    root.run("network", "rm", "lan")


@pytest.mark.parametrize(
    ("options", "becomes"),
    [
        ((), "exited 255 0"),
        (("--restart", "always"), "running 0 1"),
        (("--restart", "on-failure"), "running 0 1"),
        (("--restart", "unless-stopped"), "running 0 1"),
    ],
)
def test_what_ended_unseen_has_its_policy(root: Root, options: tuple[str, ...], becomes: str) -> None:
    root.run("run", "-d", "--network", "none", "--name", "one", *options, IMAGE, "sleep", "1000")
    container = kill_supervisor(root, "one")
    os.kill(container.state.pid, signal.SIGKILL)
    eventually(lambda: not container.state.alive)
    shown = root.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "one")
    assert shown == becomes
    assert ("exit code is unknown" in state(root, "one")["Error"]) == becomes.startswith("exited")
    root.run("rm", "-f", "one")


@pytest.mark.parametrize("again", ["policy", "order"])
def test_what_was_adopted_starts_again_on_its_network(root: Root, again: str) -> None:
    root.run("network", "create", "lan")
    root.run("run", "-d", "--name", "web", "--network", "lan", "--restart", "always", IMAGE, "sleep", "1000")
    for _ in range(2):
        kill_supervisor(root, "web")
        pid = root.engine.containers.get("web").state.pid  # which adopts it
        if again == "policy":
            os.kill(pid, signal.SIGKILL)
        else:
            root.run("restart", "-t", "0", "web")
        eventually(lambda pid=pid: state(root, "web")["Pid"] not in (0, pid))  # type: ignore[misc]
        assert root.run("run", "--rm", "--network", "lan", IMAGE, "nslookup", "web").returncode == 0
    root.run("rm", "-f", "web")
    root.run("network", "rm", "lan")


def test_a_restart_does_not_wait_for_the_policy(root: Root, tmp_path: Path) -> None:
    program = "test -e /d/go && exec sleep 1000; exit 1"
    root.run(
        *("run", "-d", "--name", "one", "--network", "none", "--restart", "always", "-v", f"{tmp_path}:/d"),
        *(IMAGE, "sh", "-c", program),
    )
    eventually(
        lambda: (
            state(root, "one")["Restarting"] and root.out("inspect", "-f", "{{.RestartCount}}", "one") == "5"
        )
    )
    (tmp_path / "go").touch()
    root.run("restart", "one")  # it runs on, and the next end will not come
    pid = state(root, "one")["Pid"]
    (tmp_path / "go").unlink()
    root.run("update", "--restart", "no", "one")
    os.kill(pid, signal.SIGKILL)
    assert root.out("wait", "one") == "137"
    assert state(root, "one")["Status"] == "exited"  # the order was carried out once
    root.run("rm", "-f", "one")


def test_a_restart_that_fails_says_so(root: Root, tmp_path: Path) -> None:
    (place := tmp_path / "place").mkdir()
    root.run(
        *("run", "-d", "--name", "one", "--network", "none", "--restart", "always", "-v", f"{place}:/d"),
        *(IMAGE, "sleep", "1000"),
    )
    place.rmdir()
    done = root.run("restart", "-t", "0", "one", check=1)
    assert str(place) in done.stderr or "No such file" in done.stderr
    found = state(root, "one")
    assert found["Status"] == "exited" and found["ExitCode"] == 128
    assert found["Error"] and not found["Error"].startswith("{")
    root.run("rm", "-f", "one")


def test_rm_survives_too(root: Root) -> None:
    root.run("run", "-d", "--rm", "--network", "none", "--name", "gone", IMAGE, "sleep", "1000")
    kill_supervisor(root, "gone")
    assert root.out("ps", "-a", "--format", "{{.Names}}") == "gone"  # adopted
    root.run("stop", "-t", "0", "gone")
    eventually(lambda: not root.out("ps", "-aq"))
    root.run("run", "-d", "--rm", "--network", "none", "--name", "gone", IMAGE, "sleep", "1000")
    container = kill_supervisor(root, "gone")
    os.kill(container.state.pid, signal.SIGKILL)
    eventually(lambda: not container.state.alive)
    assert root.out("ps", "-a", "--format", "{{.Names}}") == ""
    assert not container.directory.exists()


def boot(root: Root, script: str, tmp_path: Path) -> str:
    """Kill every process of the root's containers with their supervisors, and run a script after the boot."""
    for container in root.engine.containers.catalog.rows():
        for pid in (container.state.supervisor_pid, container.state.pid):
            if pid and container.state.unfinished:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        subprocess.run(["umount", "-l", str(container.rootfs)], capture_output=True)
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    (tmp_path / "run").mkdir(exist_ok=True)
    outer = f"""
        mount --bind {boot_id} /proc/sys/kernel/random/boot_id
        boxwright() {{ {sys.executable} -m boxwright "$@"; }}
        set -e
        {script}
    """
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "slave", "sh", "-c", outer],
        env={**root.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_boot(root: Root, tmp_path: Path) -> None:
    port = free_port()
    loop = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
    root.run("network", "create", "lan2", "--subnet", "10.213.7.0/24")
    root.run(
        *("run", "-d", "--name", "web", "--restart", "always", "--network", "lan2", "-p", f"{port}:80"),
        *("-v", "data:/data", IMAGE, "sh", "-c", f"date >>/data/starts; {SERVER}"),
    )
    for name, policy in (("keep", "unless-stopped"), ("byhand", "unless-stopped"), ("plain", "no")):
        root.run("run", "-d", "--name", name, "--network", "none", "--restart", policy, IMAGE, *loop)
    root.run("run", "-d", "--name", "always", "--network", "none", "--restart", "always", IMAGE, *loop)
    root.run(
        "run", "-d", "--name", "failed", "--network", "none", "--restart", "on-failure:1", IMAGE, "false"
    )
    root.run("run", "-d", "--name", "left", "--rm", "--network", "none", IMAGE, *loop)
    root.run("create", "--name", "never", "--network", "none", "--restart", "always", IMAGE, *loop)
    root.run("stop", "-t", "0", "byhand")
    root.run("stop", "-t", "0", "always")
    eventually(lambda: state(root, "failed")["Status"] == "exited")
    script = f"""
        boxwright system up
        boxwright system up
        boxwright ps -a --format '{{{{.Names}}}} {{{{.State}}}}' | sort
        boxwright inspect -f '{{{{.State.ExitCode}}}} {{{{.State.Error}}}}' plain
        boxwright inspect -f '{{{{.NetworkSettings.Networks.lan2.IPAddress}}}}' web
        boxwright exec web wc -l /data/starts
        wget -qO- http://127.0.0.1:{port}/ 2>/dev/null || busybox wget -qO- http://127.0.0.1:{port}/
        boxwright rm -fv $(boxwright ps -aq) >/dev/null
        boxwright volume rm data >/dev/null
        boxwright network rm lan2 >/dev/null
    """
    lines = boot(root, script, tmp_path).splitlines()
    assert [
        line for line in lines if line.count(" ") == 1 and line.split()[1] in ("running", "exited", "created")
    ] == [
        "always running",  # as Docker: `always` forgets what was stopped by hand when it starts
        "byhand exited",
        "failed exited",
        "keep running",
        "never created",
        "plain exited",
        "web running",
    ]
    assert "255 its exit code is unknown: the host was started anew while it ran" in lines
    assert lines[-3:] == ["10.213.7.2", "2 /data/starts", "hello"]


def test_a_start_whose_processes_were_all_killed(root: Root) -> None:
    """Nothing says that it runs but the supervisor's first word; it is undone, not guessed."""
    root.run("create", "--name", "half", "--network", "none", IMAGE, "sleep", "1000")
    process = root.start("start", "half", stdout=subprocess.DEVNULL)
    container = root.engine.containers.catalog.rows("WHERE name = ?", "half")[0]
    deadline = time.monotonic() + 10
    while not container.refresh().unfinished and time.monotonic() < deadline:
        pass
    process.kill()
    os.kill(container.refresh().supervisor_pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: not container.state.supervised)
    assert state(root, "half")["Status"] in ("created", "running")
    root.run("start", "half")
    assert state(root, "half")["Status"] == "running"
    root.run("rm", "-f", "half")
    assert str(container.rootfs) not in Path("/proc/self/mounts").read_text()


def test_events_of_a_life(root: Root) -> None:
    began = time.time()
    root.run("network", "create", "heard")
    root.run("volume", "create", "told")
    root.run(
        *("run", "-d", "--name", "speaks", "--label", "k=v", "--network", "heard", "-v", "told:/data", IMAGE),
        *("sleep", "100"),
    )
    for words in (("pause", "speaks"), ("unpause", "speaks"), ("rename", "speaks", "spoke")):
        root.run(*words)
    kill_supervisor(root, "spoke")  # the next one tells of the new name
    root.run("stop", "-t", "0", "spoke")
    root.run("rm", "spoke")
    root.run("network", "rm", "heard")
    root.run("volume", "rm", "told")
    form = "{{.Type}} {{.Action}}"
    said = root.out("events", "--since", str(began), "--until", "0s", "--format", form).splitlines()
    assert said == [
        "network create",
        "volume create",
        "container create",
        "volume mount",
        "network connect",
        "container start",
        "container pause",
        "container unpause",
        "container rename",
        "container kill",
        "container kill",
        "network disconnect",
        "volume unmount",
        "container die",
        "container stop",
        "container destroy",
        "network destroy",
        "volume destroy",
    ]
    died = root.out("events", "--since", str(began), "--until", "0s", "-f", "event=die", "--format", "json")
    attributes = json.loads(died)["Actor"]["Attributes"]
    assert attributes["exitCode"] == "137" and attributes["name"] == "spoke" and attributes["k"] == "v"


def test_a_whole_stack_comes_back(root: Root, tmp_path: Path) -> None:
    """A web server, a database and a worker on one dual-stack network: everything is killed, and the host boots."""
    port = free_port()
    root.run(
        "network", "create", "stack", "--ipv6", "--subnet", "10.213.9.0/24", "--subnet", "fd00:213:9::/64"
    )
    always = ("run", "-d", "--restart", "always", "--network", "stack")
    root.run(
        *(*always, "--name", "db", "-v", "kept:/data", IMAGE, "sh", "-c"),
        "echo run >>/data/runs; mkdir -p /www; ln -sf /data/runs /www/runs; exec httpd -f -p '[::]:5432' -h /www",
    )
    root.run(
        *(
            *always,
            "--name",
            "web",
            "-p",
            f"{port}:80",
            "--health-cmd",
            "test -e /www",
            "--health-interval",
            "100ms",
        ),
        *(
            IMAGE,
            "sh",
            "-c",
            "mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p '[::]:80' -h /www",
        ),
    )
    asks = "while :; do wget -qO- http://db:5432/runs >/data/seen.new && mv /data/seen.new /data/seen; sleep 0.1; done"
    root.run(*always, "--name", "worker", "-v", "work:/data", IMAGE, "sh", "-c", asks)
    eventually(lambda: root.run("exec", "worker", "cat", "/data/seen", check=None).stdout == "run\n")
    form = "{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
    before = root.out("inspect", "-f", form, "web", "db", "worker").splitlines()
    script = f"""
        boxwright system up
        boxwright inspect -f '{form}' web db worker
        for n in $(seq 200); do [ "$(boxwright exec worker wc -l </dev/null /data/seen)" = "2 /data/seen" ] && break; done
        boxwright exec worker cat /data/seen
        for host in 127.0.0.1 '[::1]'; do wget -qO- http://$host:{port}/ || busybox wget -qO- http://$host:{port}/; done
        for n in $(seq 200); do boxwright inspect -f '{{{{.State.Health.Status}}}}' web | grep -qx healthy && break; done
        boxwright inspect -f '{{{{.State.Health.Status}}}} {{{{.RestartCount}}}}' web
        boxwright rm -fv web db worker >/dev/null
        boxwright volume rm kept work >/dev/null
        boxwright network rm stack >/dev/null
    """
    lines = boot(root, script, tmp_path).splitlines()
    assert sorted(lines[:3]) == ["db", "web", "worker"]
    assert lines[3:6] == before
    assert lines[6:] == ["run", "run", "hello", "hello", "healthy 0"]
