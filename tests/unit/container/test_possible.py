"""Limits that cgroups can and cannot keep."""

from __future__ import annotations

import pytest

from boxwright.container import hostside
from boxwright.container.config import ContainerConfigInvalid, DeviceRate, Limits
from boxwright.container.possible import possible
from boxwright.runtime import host

ALL = Limits(
    memory=1 << 26,
    memory_swap=-1,
    memory_reservation=1 << 25,
    memory_swappiness=10,
    cpu_shares=100,
    cpu_period=10000,
    cpu_quota=5000,
    cpuset_cpus="0",
    cpuset_mems="0",
    pids_limit=20,
    blkio_weight=100,
    blkio_weight_device=(DeviceRate("/dev/vda", 100),),
    device_read_bps=(DeviceRate("/dev/vda", 100),),
    device_write_bps=(DeviceRate("/dev/vda", 100),),
    device_read_iops=(DeviceRate("/dev/vda", 100),),
    device_write_iops=(DeviceRate("/dev/vda", 100),),
    oom_kill_disable=True,
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose hierarchy of version 2 has no controllers."""
    monkeypatch.setattr(host, "_cgroup_v2", lambda: True)
    monkeypatch.setattr(host, "has_controller", lambda name: False)


def test_what_no_controller_keeps_is_taken_out_and_told(bare: None) -> None:
    kept, told = possible(ALL)
    assert kept == Limits()
    # Of docker 28.5 where /sys/fs/cgroup is a version 2 without controllers.
    assert set(told) == {
        f"Your kernel does not support {what}"
        for what in (
            "memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
            "memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
            "memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
            "OomKillDisable. OomKillDisable discarded.",
            "PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
            "CPU shares or the cgroup is not mounted. Shares discarded.",
            "CPU CFS scheduler. CPU period/quota discarded.",
            "cpuset or the cgroup is not mounted. Cpuset discarded.",
            "Block I/O weight or the cgroup is not mounted. Weight discarded.",
            "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
            "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
            "BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
            "IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
            "IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
        )
    }


def test_cpus_are_refused_and_so_is_everything_where_none_is_told(bare: None) -> None:
    with pytest.raises(ContainerConfigInvalid, match="NanoCPUs can not be set, as your kernel"):
        possible(Limits(nano_cpus=10**9))
    with pytest.raises(ContainerConfigInvalid, match="does not support memory limit capabilities"):
        hostside.check_limits(Limits(memory=1 << 26))
    hostside.check_limits(Limits())


def test_what_version_2_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_cgroup_v2", lambda: True)
    monkeypatch.setattr(host, "has_controller", lambda name: True)
    kept, told = possible(ALL)
    assert (kept.memory_swappiness, kept.oom_kill_disable, len(told)) == (-1, False, 2)
    assert kept.memory == ALL.memory and kept.blkio_weight == 100
