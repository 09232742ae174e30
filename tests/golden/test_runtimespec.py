"""Whole configs, compared with what is on file. `python tests/golden/test_runtimespec.py` writes the files anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.spec import runtimespec as rs

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "runtimespec"


def default() -> dict[str, Any]:
    words = rs.ProcessSpec(
        argv=["sleep", "60"],
        env=[f"PATH={rs.DEFAULT_PATH}", "HOSTNAME=445ac22b76a5"],
        extra_gids=(0, 10),
        oom_score_adj=0,
    ).json()
    mounts = [rs.bind("/state/hosts", "/etc/hosts")]
    return rs.RuntimeConfig(
        root="/tree",
        process=words,
        hostname="445ac22b76a5",
        mounts=mounts,
        cgroups_path="/boxwright/445ac22b76a5",
    ).json()


def privileged() -> dict[str, Any]:
    words = rs.ProcessSpec(
        argv=["sh"], capabilities=rs.capabilities(privileged=True), terminal=True, size=(24, 80)
    ).json()
    return rs.RuntimeConfig(
        root="/tree",
        process=words,
        privileged=True,
        devices=[rs.device("/dev/fuse", "c", 10, 229)],
        seccomp={"defaultAction": "SCMP_ACT_ERRNO"},
    ).json()


def everything() -> dict[str, Any]:
    words = rs.ProcessSpec(
        argv=["app"],
        uid=1000,
        gid=1000,
        cwd="/srv",
        no_new_privileges=True,
        apparmor="docker-default",
        umask=0o22,
        limits=rs.rlimits({"nofile": (1024, 1 << 20), "core": (-1, -1)}, {"nofile": 20000}),
        capabilities=rs.capabilities(add=["net_admin"], drop=["CAP_MKNOD"]),
    ).json()
    return rs.RuntimeConfig(
        root="/tree",
        process=words,
        readonly=True,
        hostname="h",
        domainname="d.test",
        cgroup_v2=True,
        shm_size=1 << 20,
        annotations={"a": "b"},
        namespaces={"ipc": None, "pid": None, "network": "/run/netns/x"},
        sysctls={"net.core.somaxconn": "1"},
        mounts=[
            rs.mount("/dev", "bind", "/dev", options=["rbind"]),
            rs.mount("/tmp", "tmpfs", "tmpfs", options=["size=1m"]),
        ],
        resources=rs.Resources(
            memory=64 << 20,
            nano_cpus=1_500_000_000,
            pids_limit=99,
            cpu_shares=512,
            cpuset_cpus="0-1",
            swappiness=0,
        ).json(),
        device_rules=[rs.device_rule(True, "b", 8, None, "r")],
    ).json()


CASES = {"default": default, "privileged": privileged, "everything": everything}


@pytest.mark.parametrize("name", CASES)
def test_config(name: str) -> None:
    assert CASES[name]() == json.loads((GOLDEN / f"{name}.json").read_text())


def test_defaults_are_not_shared_between_configs() -> None:
    first = default()
    first["mounts"][0]["options"].append("changed")
    first["linux"]["resources"]["devices"][0]["allow"] = True
    assert default() != first
    assert default() == json.loads((GOLDEN / "default.json").read_text())


if __name__ == "__main__":
    for name, make in CASES.items():
        (GOLDEN / f"{name}.json").write_text(json.dumps(make(), indent=1) + "\n")
