"""What is read off the host."""

from __future__ import annotations

import os
import resource

import pytest

from boxwright.runtime.host import check_cpusets, devices, host
from boxwright.spec.runtimespec import CAPABILITIES, LimitInvalid


def test_the_host() -> None:
    here = host()
    assert here.bounding <= set(CAPABILITIES)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert here.hard_limits["nofile"] == (-1 if hard == resource.RLIM_INFINITY else hard)
    assert here.kernel >= (3, 0)
    assert here.machine == os.uname().machine
    assert here.cgroup_v2 == os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def test_devices() -> None:
    found = {entry["path"]: entry for entry in devices()}
    assert (found["/dev/null"]["type"], found["/dev/null"]["major"], found["/dev/null"]["minor"]) == (
        "c",
        1,
        3,
    )
    assert "/dev/ptmx" not in found
    assert not any(path.startswith("/dev/pts/") for path in found)


def test_processors_and_memory_that_the_host_has() -> None:
    check_cpusets("", "")
    check_cpusets("0", "0-0")
    check_cpusets("0-0,0", "")
    for cpus, mems, said in (
        ("99999", "", "Requested CPUs are not available - requested 99999, available: 0"),
        ("0", "0,9999", "Requested memory nodes are not available - requested 0,9999, available: 0"),
        ("0-60000", "", "Requested CPUs"),
        *(
            (text, "", "Invalid value .* for cpuset cpus")
            for text in ("x", "0-", "-1", "0,,1", "0-99999999999", "\u0660")
        ),
        ("", "9" * 5000, "Invalid value .* for cpuset mems"),
    ):
        with pytest.raises(LimitInvalid, match=said) as raised:
            check_cpusets(cpus, mems)
        assert ("--cpuset-mems" if mems not in ("", "0") else "--cpuset-cpus") in raised.value.hint
