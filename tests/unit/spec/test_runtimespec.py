"""Capabilities, limits and resources as Docker's flags mean them."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.spec import runtimespec as rs
from boxwright.spec.runtimespec import CapabilityInvalid, LimitInvalid


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << rs.CAPABILITIES.index(name) for name in names)


def test_the_default_is_dockers_mask() -> None:
    assert mask(rs.capabilities()) == 0xA80425FB
    assert rs.bounding_set(0xA80425FB) == set(rs.DEFAULT_CAPABILITIES)


@pytest.mark.parametrize(
    ("add", "drop", "gained", "lost"),
    [
        (["SYS_ADMIN"], [], {"CAP_SYS_ADMIN"}, set()),
        (["cap_sys_admin", "SYS_ADMIN"], [], {"CAP_SYS_ADMIN"}, set()),
        ([], ["CHOWN", "cap_kill"], set(), {"CAP_CHOWN", "CAP_KILL"}),
        (["CHOWN"], ["CHOWN"], set(), set()),
        (["NET_ADMIN"], ["ALL"], {"CAP_NET_ADMIN"}, set(rs.DEFAULT_CAPABILITIES)),
        (["ALL"], ["SYS_ADMIN"], set(rs.CAPABILITIES) - {"CAP_SYS_ADMIN"}, set()),
        ([], ["ALL"], set(), set(rs.DEFAULT_CAPABILITIES)),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], gained: set[str], lost: set[str]) -> None:
    found = rs.capabilities(add=add, drop=drop)
    assert len(found) == len(set(found))
    assert set(found) == (set(rs.DEFAULT_CAPABILITIES) - lost) | gained


def test_nothing_is_promised_that_this_process_does_not_have() -> None:
    bounding = set(rs.CAPABILITIES) - {"CAP_SYS_RESOURCE", "CAP_CHOWN"}
    assert set(rs.capabilities(privileged=True, bounding=bounding)) == bounding
    assert "CAP_CHOWN" not in rs.capabilities(bounding=bounding)


def test_unknown_capabilities() -> None:
    with pytest.raises(CapabilityInvalid, match="unknown capability to add: 'NONSENSE'"):
        rs.capabilities(add=["NONSENSE"])


def test_limits_are_lowered_to_ours() -> None:
    found = rs.rlimits(
        {"nofile": (1024, 1 << 20), "nproc": (-1, -1), "core": (0, -1)}, {"nofile": 20000, "nproc": 500}
    )
    assert {limit["type"]: (limit["soft"], limit["hard"]) for limit in found} == {
        "RLIMIT_NOFILE": (1024, 20000),
        "RLIMIT_NPROC": (500, 500),
        "RLIMIT_CORE": (0, (1 << 64) - 1),
    }
    with pytest.raises(LimitInvalid, match="invalid ulimit type: files"):
        rs.rlimits({"files": (1, 1)})
    with pytest.raises(LimitInvalid, match="soft limit must be less"):
        rs.rlimits({"nofile": (2, 1)})


def test_resources() -> None:
    assert rs.Resources().json() == {}
    assert rs.Resources(memory=10 << 20).json() == {"memory": {"limit": 10 << 20, "swap": 20 << 20}}
    assert rs.Resources(memory=10 << 20, memory_swap=-1).json()["memory"]["swap"] == -1
    assert rs.Resources(nano_cpus=500_000_000).json() == {"cpu": {"period": 100_000, "quota": 50_000}}
    assert rs.Resources(cpu_quota=-5).json() == {}  # no limit needs no word, and runtimes have different ones
    for wrong in (
        {"memory": 1},
        {"memory": 10 << 20, "memory_swap": 1},
        {"memory_swap": 1},
        {"nano_cpus": 1, "cpu_quota": 1},
        {"swappiness": 101},
        {"swappiness": -2},
        {"blkio_weight": 9},
        {"memory_reservation": (6 << 20) - 1},
        {"cpu_shares": -1},
        {"cpu_period": 999},
        {"cpu_period": 1_000_001},
        {"cpu_period": -1},
        {"cpu_quota": 999},
        {"nano_cpus": 9_999_999},
    ):
        with pytest.raises(LimitInvalid):
            rs.Resources(**wrong).json()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"nano_cpus": 1, "cpu_period": 1000}, "Nano CPUs and CPU Period cannot both be set"),
        ({"nano_cpus": 1, "cpu_quota": 1000}, "Nano CPUs and CPU Quota cannot both be set"),
        ({"cpu_shares": -1}, r"invalid CPU shares \(-1\): value must be a positive integer"),
        ({"cpu_shares": 1}, "the minimum allowed cpu-shares is 2"),
        ({"cpu_shares": 262_145}, "the maximum allowed cpu-shares is 262144"),
        ({"memory_reservation": (6 << 20) - 1}, "Minimum memory reservation allowed is 6MB"),
        ({"cpu_period": 999}, "CPU cfs period can not be less than 1ms"),
        ({"cpu_period": 1_000_001}, "or larger than 1s"),
        ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms"),
    ],
)
def test_limits_that_no_kernel_keeps_so(wrong: dict[str, int], message: str) -> None:
    """What is at the edge is taken: -1 is a quota without an end."""
    with pytest.raises(LimitInvalid, match=message):
        rs.Resources(**wrong).json()  # type: ignore[arg-type]
    edge = rs.Resources(cpu_period=1000, cpu_quota=-1, cpu_shares=2).json()
    assert edge == {"cpu": {"shares": 2, "period": 1000}}
    assert rs.Resources(cpu_shares=262_144).json() == {"cpu": {"shares": 262_144}}


def test_mounts_of_the_user_replace_the_defaults() -> None:
    spec = rs.RuntimeConfig(
        root="/tree",
        process=rs.ProcessSpec(argv=["x"]).json(),
        mounts=[rs.mount("/dev/shm/", "tmpfs", "tmpfs")],
    ).json()
    where = [m["destination"] for m in spec["mounts"]]
    assert "/dev/shm" not in where
    assert where[-1] == "/dev/shm/"


def test_a_shared_network_keeps_the_hosts_sysctls() -> None:
    assert (
        rs.RuntimeConfig(root="/t", process=rs.ProcessSpec(argv=["x"]).json()).json()["linux"]["sysctl"]
        == rs.SYSCTLS
    )
    assert (
        rs.RuntimeConfig(
            root="/t", process=rs.ProcessSpec(argv=["x"]).json(), namespaces={"network": None}
        ).json()["linux"]["sysctl"]
        == {}
    )


@pytest.mark.parametrize(
    ("words", "options", "text"),
    [
        (["a\0b"], {}, r"invalid argument 'a\\x00b': it contains a NUL byte"),
        (["a"], {"env": ["A=x\0y"]}, "invalid environment variable .*: it contains a NUL byte"),
        (["a"], {"env": ["=x"]}, "invalid environment variable '=x': its name is empty"),
        (["a"], {"env": [""]}, "invalid environment variable '': its name is empty"),
        (["a"], {"cwd": "rel"}, "the working directory 'rel' is invalid"),
        (["a"], {"cwd": "/a\0"}, "invalid working directory .*: it contains a NUL byte"),
    ],
)
def test_no_process_has_such_text(words: list[str], options: dict[str, Any], text: str) -> None:
    with pytest.raises(rs.ProcessInvalid, match=text):
        rs.ProcessSpec(argv=words, **options).json()


def test_limits_have_sixty_four_bits() -> None:
    """The runtime's own words for a number that it cannot hold say nothing of the option."""
    for one in ("memory", "memory_swap", "cpu_shares", "cpu_quota", "cpu_period", "pids_limit"):
        with pytest.raises(
            LimitInvalid, match=f"invalid {one.replace('_', '-')} {2**63}: it is beyond 64 bits"
        ):
            rs.Resources(**{one: 2**63}).json()


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("", "/boxwright/x"),
        ("/", "/boxwright/x"),
        ("a", "/a/x"),
        ("/a//b/", "/a/b/x"),
        ("a/./../b", "/b/x"),
        ("../../../../tmp/a", "/tmp/a/x"),
        ("a/../../..", "/boxwright/x"),
        ("..a/...", "/..a/.../x"),
    ],
)
def test_no_cgroup_is_outside_its_hierarchy(parent: str, path: str) -> None:
    assert rs.cgroup_below(parent, "x") == path
