"""What is read off the host."""

from __future__ import annotations

import os
import resource

from boxwright.runtime.host import devices, host
from boxwright.spec.runtimespec import CAPABILITIES


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
