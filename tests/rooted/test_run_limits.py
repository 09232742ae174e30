"""Limits and rights that few containers ask for, on a real kernel."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, Root, busybox_root

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("limits")) as root:
        yield root


def lean(*words: str) -> tuple[str, ...]:
    return ("run", "--rm", "--network", "none", *words)


def test_umask(root: Root) -> None:
    assert (
        root.out(*lean("--umask", "0027", IMAGE, "sh", "-c", "umask; touch /f; stat -c %a /f")) == "0027\n640"
    )
    root.run("run", "-d", "--name", "masked", "--network", "none", "--umask", "77", IMAGE, "sleep", "1000")
    assert root.out("exec", "masked", "sh", "-c", "umask") == "0077"
    root.run("rm", "-f", "masked")


def test_what_has_less_effect_than_was_asked_is_said(root: Root) -> None:
    command = lean("--ulimit", "core=8192", "--oom-kill-disable", IMAGE, "sh", "-c", "ulimit -c")
    few = root.start(
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096)),
    )
    out, err = few.communicate(timeout=60)
    assert out.strip() == b"8", err  # blocks of 512 bytes
    assert b"WARNING: --ulimit core: 8192 is lowered to 4096, the hard limit of this process\n" in err
    assert b"WARNING: OOM killer is disabled for the container, but no memory limit is set" in err


def test_a_quota_is_lifted_again(root: Root) -> None:
    """With every runtime: crun has no word for it on cgroup v1."""
    quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
    assert root.out(*lean("--cpu-quota", "-1", IMAGE, "sh", "-c", quota)) in ("-1", "max")
    root.run(
        *("run", "-d", "--name", "some", "--network", "none", "--cpu-quota", "20000"), IMAGE, "sleep", "1000"
    )
    assert root.out("exec", "some", "sh", "-c", quota) == "20000"
    root.run("update", "--cpu-quota", "-1", "some")
    assert root.out("exec", "some", "sh", "-c", quota) in ("-1", "max")
    root.run("rm", "-f", "some")


def a_disk() -> str:
    for name in sorted(os.listdir("/sys/block")):
        if os.path.exists(f"/dev/{name}") and not name.startswith(("loop", "ram", "zram")):
            return f"/dev/{name}"
    pytest.skip("there is no block device with a node in /dev here")


def test_rates_of_block_devices(root: Root) -> None:
    disk = a_disk()
    number = os.stat(disk).st_rdev
    shown = f"{os.major(number)}:{os.minor(number)}"
    files = "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device"
    if not Path(files).exists():
        files = "/sys/fs/cgroup/io.max"
    if (
        not Path("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device").exists()
        and not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    ):
        pytest.skip("no hierarchy of cgroups here limits block devices")
    found = root.out(*lean("--device-read-bps", f"{disk}:1mb", IMAGE, "cat", files))
    assert shown in found and "1048576" in found
    root.run("create", "--name", "slow", "--device-read-bps", f"{disk}:1mb", IMAGE)
    form = "{{json .HostConfig.BlkioDeviceReadBps}}"
    assert root.out("inspect", "-f", form, "slow") == f'[{{"Path":"{disk}","Rate":1048576}}]'


def test_cgroups_are_writable_where_that_was_wanted(root: Root) -> None:
    script = "for d in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do mkdir $d/x 2>/dev/null && echo made; done; true"
    look = ("sh", "-c", script)
    assert root.out(*lean(IMAGE, *look)) == ""
    assert "made" in root.out(*lean("--security-opt", "writable-cgroups=true", IMAGE, *look))
    assert root.out(*lean("--privileged", "--security-opt", "writable-cgroups=false", IMAGE, *look)) == ""
