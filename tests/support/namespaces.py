"""A network and mounts of one's own, for the tests and for `bench`: what they start changes nothing on the host."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from boxwright.files import syscalls
from boxwright.network.netlink import Netlink

NEWNS, NEWNET = 0x00020000, 0x40000000
_PRIVATE = 1 << 18 | 0x4000  # MS_PRIVATE | MS_REC


def isolate() -> None:
    """Give the calling thread (and what it starts from now on) a network with nothing but a loopback, and mounts of
    its own with a /sys that shows that network."""
    syscalls.libc("unshare", NEWNET | NEWNS)
    syscalls.libc("mount", b"none", b"/", b"", _PRIVATE, None)
    _show_network_in_sys()
    netlink = Netlink()
    try:
        netlink.up(netlink.index("lo"))
    finally:
        netlink.close()


def _show_network_in_sys() -> None:
    """/sys shows the network namespace of the process that mounted it. What is mounted below (cgroups) is carried over, mount by
    mount: a directory of /sys that is covered would forbid user namespaces a /sys of their own."""
    points = sorted({line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()})
    points = [p for p in points if p.startswith("/sys/")]
    below = [p for p in points if not any(p.startswith(f"{other}/") for other in points)]
    with tempfile.TemporaryDirectory() as aside:
        for number, point in enumerate(below):
            Path(aside, str(number)).mkdir()
            subprocess.run(["mount", "--rbind", point, f"{aside}/{number}"], check=True)
        mounted = subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=False).returncode == 0
        for number, point in enumerate(below):
            if mounted:
                subprocess.run(["mount", "--rbind", f"{aside}/{number}", point], check=True)
            subprocess.run(["umount", "-l", f"{aside}/{number}"], check=True)
