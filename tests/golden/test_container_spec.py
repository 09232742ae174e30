"""Whole containers, compared with what is on file. `python tests/golden/test_container_spec.py` writes the files anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.container import spec
from boxwright.container.config import ContainerConfig, DeviceSpec, Limits, MountSpec, PortBinding, Ulimit
from boxwright.container.records import MountPoint
from boxwright.container.spec import ContainerFacts
from boxwright.rootfs.users import ProcessUser
from boxwright.runtime.confinement import Confinement
from boxwright.runtime.trust import Trust
from boxwright.spec import runtimespec as rs

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "container"
FILES = {"/etc/resolv.conf": "/c/resolv.conf", "/etc/hostname": "/c/hostname", "/etc/hosts": "/c/hosts"}
IMAGE = {
    "Env": ["PATH=/bin", "LANG=C"],
    "Cmd": ["serve"],
    "Entrypoint": ["/app"],
    "User": "app",
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "Labels": {"from": "image"},
    "Healthcheck": {"Test": ["CMD", "ok"], "Interval": 1},
    "StopSignal": "SIGINT",
}


def made(config: ContainerConfig, image: dict[str, Any], **facts: Any) -> dict[str, Any]:
    merged = spec.merge_config(image, config, hostname="445ac22b76a5", image_name=config.image)
    known = {
        "rootfs": "/c/rootfs",
        "user": ProcessUser(0, 0, (0, 10), "/root", "root"),
        "hostname": "445ac22b76a5",
        "bounding": frozenset(rs.CAPABILITIES),
        "hard_limits": {"nofile": 20000},
        "cgroup_v2": False,
        "cgroups_path": "/boxwright/445ac22b76a5",
        "namespaces": {"network": "/proc/7/fd/100"},
        "files": FILES,
    }
    return {"config": merged, "spec": spec.make_spec(config, merged, ContainerFacts(**{**known, **facts}))}


def plain() -> dict[str, Any]:
    return made(ContainerConfig(image="busybox", command=("sleep", "60")), {})


def from_image() -> dict[str, Any]:
    points = (MountPoint(kind="volume", target="/data", source="/v/abc/_data", name="abc"),)
    return made(
        ContainerConfig(image="app:1", env=("LANG=de", "X=1"), labels={"own": "1"}),
        IMAGE,
        user=ProcessUser(1000, 1000, (1000,), "/home/app", "app"),
        mounts=points,
    )


def everything() -> dict[str, Any]:
    config = ContainerConfig(
        image="app:1",
        command=("sh", "-c", "x"),
        entrypoint=("/bin/other",),
        env=("LANG",),
        tty=True,
        stdin=True,
        attach=("stdin", "stdout", "stderr"),
        user="1:2",
        workdir="/w",
        read_only=True,
        init=True,
        cap_add=("NET_ADMIN",),
        cap_drop=("MKNOD",),
        security_opt=("no-new-privileges", "systempaths=unconfined"),
        devices=(DeviceSpec("/dev/null", "/dev/x", "r"),),
        device_rules=("c 1:* rw",),
        ulimits=(Ulimit("nofile", 10, 1 << 20),),
        shm_size=1 << 20,
        limits=Limits(memory=64 << 20, nano_cpus=1_500_000_000, pids_limit=9),
        sysctls={"net.core.somaxconn": "9"},
        annotations={"k": "v"},
        mounts=(MountSpec(kind="tmpfs", target="/t"),),
        ports=(PortBinding(81, "udp"),),
        health={"Test": ["NONE"]},
        oom_score_adj=100,
        domainname="d.test",
        stop_timeout=3,
    )
    points = (
        MountPoint(kind="bind", target="/etc/hosts", source="/own/hosts", writable=False),
        MountPoint(kind="bind", target="/b", source="/host/b", propagation="rshared", recursive=False),
        MountPoint(kind="tmpfs", target="/t", options=("exec", "size=1m")),
        MountPoint(kind="tmpfs", target="/t/deep/er", writable=False),
    )
    devices = (rs.device("/dev/x", "c", 1, 3),)
    return made(
        config,
        IMAGE,
        mounts=points,
        devices=devices,
        init="/usr/bin/tini",
        trust=Trust(Path("/etc/ssl/ca.crt")),
        size=(24, 80),
        cgroup_v2=True,
        namespaces={"network": None, "pid": None, "ipc": "/proc/9/ns/ipc"},
        seccomp={"defaultAction": "SCMP_ACT_ERRNO"},
    )


def privileged() -> dict[str, Any]:
    return made(
        ContainerConfig(image="busybox", command=("sh",), privileged=True, read_only=True),
        {},
        devices=(rs.device("/dev/fuse", "c", 10, 229),),
    )


def of_other_kernels() -> dict[str, Any]:
    """What many kernels lack: real-time cgroups, weights of disks, AppArmor, SELinux."""
    config = ContainerConfig(
        image="busybox",
        command=("sh",),
        umask=0o27,
        security_opt=("writable-cgroups=true", "apparmor=mine", "label=type:t"),
        limits=Limits(cpu_rt_period=1000, cpu_rt_runtime=500, blkio_weight=20),
    )
    return made(
        config,
        {},
        block_io={
            "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1 << 20}],
        },
        confinement=Confinement("mine", "system_u:system_r:t:s0:c1,c2", "system_u:object_r:f:s0:c1,c2"),
        links=("DB_PORT=tcp://172.17.0.2:80",),
    )


CASES = {
    "plain": plain,
    "from_image": from_image,
    "everything": everything,
    "privileged": privileged,
    "of_other_kernels": of_other_kernels,
}


@pytest.mark.parametrize("name", CASES)
def test_container(name: str) -> None:
    assert CASES[name]() == json.loads((GOLDEN / f"{name}.json").read_text())


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, make in CASES.items():
        (GOLDEN / f"{name}.json").write_text(json.dumps(make(), indent=1, sort_keys=True) + "\n")
