"""Hosts with cgroups of version 1, of version 2 and with both, and each OCI runtime that is here: the distribution's, and
current ones (`make peers`). The hosts are mount namespaces: what version 1 holds, version 2 has no controllers for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxwright.runtime.process import ProgramMissing, find_program
from support import newer
from support.containers import IMAGE
from support.netns import Host, private_host

pytestmark = pytest.mark.rooted

_MADE = {
    "hybrid": "mountpoint -q /sys/fs/cgroup/unified",
    "v1": "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified",
    "v2": "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup",
}
RUNTIMES = ("crun", "runc", "newer crun", "newer runc")


@contextmanager
def host_of(mode: str, folder: Path) -> Iterator[Host]:
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    kinds = {point: kind for _, point, kind, *_ in mounted}
    controllers = all(Path(f"/sys/fs/cgroup/{name}").is_dir() for name in ("memory", "pids", "cpu"))
    if "cgroup" not in kinds.values() or not controllers:
        pytest.skip("this host has no cgroups of version 1 to choose from")
    if mode == "hybrid" and kinds.get("/sys/fs/cgroup/unified") != "cgroup2":
        pytest.skip("this host has no hierarchy of version 2 beside version 1")
    with private_host(folder) as host:
        host.sh(_MADE[mode])
        if mode == "v2" and {"memory", "pids", "cpu"} & set(
            host.sh("cat /sys/fs/cgroup/cgroup.controllers").split()
        ):
            pytest.skip("on this host version 2 has the controllers that are to be missing")
        yield host


def chosen(runtime: str, folder: Path) -> str:
    """A path for BOXWRIGHT_RUNTIME."""
    age, _, name = runtime.rpartition(" ")
    if not age:
        try:
            return find_program(name)
        except ProgramMissing:
            pytest.skip(f"{name} is not installed")
    peers = newer.fetched()
    if peers is None or not any((peers / "root/usr" / place / name).exists() for place in ("bin", "sbin")):
        pytest.skip(f"current releases were not fetched: no {name}")
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec {peers}/sbin/newer {name} "$@"\n')
    program.chmod(0o755)
    return str(program)


def groups(name: str) -> list[Path]:
    return [
        *Path("/sys/fs/cgroup").glob(f"boxwright/{name}*"),
        *Path("/sys/fs/cgroup").glob(f"*/boxwright/{name}*"),
    ]


@pytest.mark.parametrize("mode", ["hybrid", "v1"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_keeps_limits_where_version_1_has_the_controllers(
    tmp_path: Path, mode: str, runtime: str
) -> None:
    with host_of(mode, tmp_path) as host:
        host.use(BOXWRIGHT_RUNTIME=chosen(runtime, tmp_path))
        said = json.loads(host.out("info", "--format", "{{json .}}"))
        assert said["CgroupVersion"] == "1" and said["CgroupStatus"][0] == ["Mode", mode]
        files = "memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us"
        limits = ("-m", "64m", "--pids-limit", "20", "--cpus", "0.5", "--network", "none")
        kept = host.out("run", "--rm", *limits, IMAGE, "sh", "-c", f"cd /sys/fs/cgroup; cat {files}").split()
        assert kept == [str(64 << 20), "20", "50000"]
        identity = _lives(host, "-m", "64m")
        assert host.run(
            "run", "--name", "eats", "--network", "none", "-m", "20m", IMAGE, "tail", "/dev/zero", check=137
        )
        assert host.out("inspect", "-f", "{{.State.OOMKilled}}", "eats") == "true"
        host.run("rm", "-f", "lives", "eats")
        assert not groups(identity)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_runs_where_version_2_has_no_controllers(tmp_path: Path, runtime: str) -> None:
    with host_of("v2", tmp_path) as host:
        host.use(BOXWRIGHT_RUNTIME=chosen(runtime, tmp_path))
        said = json.loads(host.out("info", "--format", "{{json .}}"))
        assert said["CgroupVersion"] == "2" and said["CgroupStatus"][0] == ["Mode", "v2"]
        assert not said["MemoryLimit"] and "No memory limit support" in said["Warnings"]
        if not said["DefaultRuntime"]:  # crun that may not lock memory for its device rules
            assert "RLIM_MEMLOCK" in dict(said["RuntimeStatus"])["Why"]
            host.use(BOXWRIGHT_RUNTIME="")
            said = json.loads(host.out("info", "--format", "{{json .}}"))
            assert said["DefaultRuntime"] == "runc" and "RLIM_MEMLOCK" in dict(said["RuntimeStatus"])["Why"]
        assert "probe-" not in host.sh("ls /sys/fs/cgroup")  # which is the real host's
        limits = ("-m", "64m", "--pids-limit", "20", "--cpu-shares", "100", "--cpuset-cpus", "0")
        done = host.run(
            "run", "--rm", "--network", "none", *limits, "--blkio-weight", "100", IMAGE, "echo", "ran"
        )
        assert done.stdout == "ran\n"
        assert [line for line in done.stderr.splitlines() if line.startswith("WARNING: ")] == [
            "WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
            "Limitation discarded.",
            "WARNING: Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. "
            "PIDs limit discarded.",
            "WARNING: Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
            "WARNING: Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
            "WARNING: Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        ]
        refused = host.run("run", "--rm", "--cpus", "0.5", IMAGE, "true", check=125).stderr
        assert "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler" in refused
        _lives(host)
        host.run("update", "-m", "64m", "lives")
        assert host.out("inspect", "-f", "{{.HostConfig.Memory}}", "lives") == "0"
        host.run("rm", "-f", "lives")


def _lives(host: Host, *options: str) -> str:
    """Every verb that a runtime or a cgroup takes part in; the container `lives` stays, and its id is returned."""
    identity = host.out("run", "-d", "--name", "lives", "--network", "none", *options, IMAGE, "sleep", "1000")
    assert host.out("exec", "lives", "echo", "here") == "here"
    assert "sleep 1000" in host.out("top", "lives")
    assert identity[:12] in host.out("stats", "--no-stream", "lives")
    host.run("pause", "lives")
    assert host.out("inspect", "-f", "{{.State.Status}}", "lives") == "paused"
    host.run("unpause", "lives")
    host.run("restart", "-t", "0", "lives")
    assert host.out("inspect", "-f", "{{.State.Status}}", "lives") == "running"
    return identity
