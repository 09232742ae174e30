"""Devices of RUN steps: those asked for by CDI names (``--device``), where allowed, and an insecure step's own."""

from __future__ import annotations

import os
import re

from boxwright.build.ops.context import DevicesAllowed
from boxwright.build.ops.exec import ExecOp
from boxwright.errors import Denied
from boxwright.runtime import cdi
from boxwright.spec import runtimespec as rs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What an insecure step has beside what every container has, whether the host has nodes for it or not: path, numbers.
_INSECURE = (
    ("/dev/kmsg", 1, 11),
    ("/dev/cuse", 10, 203),
    ("/dev/fuse", 10, 229),
    ("/dev/kvm", 10, 232),
    ("/dev/net/tun", 10, 200),
    ("/dev/loop-control", 10, 237),
)
_LOOP = 7  # the major number
_SPARE = 8  # loop devices that the step may make, beside those that there are
_TRUE = ("1", "t", "T", "true", "True", "TRUE")


class DeviceDenied(Denied):
    """A step asks for a device that the build was not allowed."""


def of_insecure(blocks: str = "/sys/block") -> list[dict[str, Any]]:
    """The nodes of a step that runs with ``--security=insecure``, as BuildKit makes them. The kernel is not asked for a
    free loop device: that would make one."""

    found = [rs.device(path=path, kind="c", major=major, minor=minor) for path, major, minor in _INSECURE]
    names = os.listdir(blocks) if os.path.isdir(blocks) else []
    taken = [int(name[4:]) for name in names if re.fullmatch(r"loop[0-9]{1,6}", name)]
    count = max(taken, default=-1) + 1 + _SPARE
    return found + [rs.device(path=f"/dev/loop{n}", kind="b", major=_LOOP, minor=n) for n in range(count)]


def give(op: ExecOp, allowed: DevicesAllowed, spec: dict[str, Any]) -> list[str]:
    """Give the step's container its devices; the names of those that are absent and not required are returned. Raises
    DeviceDenied, DeviceMissing, SpecInvalid, SpecUnsafe."""
    if not op.devices:
        return []
    here = cdi.load(allowed.directories or cdi.DIRECTORIES)
    found: dict[str, cdi.CdiDevice] = {}
    absent: list[str] = []
    for word, required in op.devices:
        try:
            devices = here.find(allowed.aliases.get(word, word))
        except cdi.DeviceMissing:
            if required:
                raise
            absent.append(word)
            continue
        for device in devices:
            if not _may(device, word, allowed):
                raise DeviceDenied(
                    f"device {device.name} is not allowed", hint=f"add --allow device={device.name}"
                )
            found[device.name] = device
    cdi.apply(spec, found.values())
    return absent


def _may(device: cdi.CdiDevice, word: str, allowed: DevicesAllowed) -> bool:
    if allowed.all or device.annotations.get(cdi.AUTO_ALLOW) in _TRUE:
        return True
    names = {device.name, device.kind, f"{device.kind}=*", word, allowed.aliases.get(word, word)}
    return bool(names & allowed.names)
