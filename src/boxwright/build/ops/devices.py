"""CDI devices of RUN steps (``--device``): which a step asks for, and whether it may have them."""

from __future__ import annotations

from boxwright.build.ops.context import DevicesAllowed
from boxwright.build.ops.exec import ExecOp
from boxwright.errors import Denied
from boxwright.runtime import cdi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = ("1", "t", "T", "true", "True", "TRUE")


class DeviceDenied(Denied):
    """A step asks for a device that the build was not allowed."""


def give(op: ExecOp, allowed: DevicesAllowed, spec: dict[str, Any]) -> None:
    """Give the step's container its devices; one that is not required may be absent. Raises DeviceDenied,
    DeviceMissing, SpecInvalid, SpecUnsafe."""
    if not op.devices:
        return
    here = cdi.load(allowed.directories or cdi.DIRECTORIES)
    found: dict[str, cdi.CdiDevice] = {}
    for word, required in op.devices:
        try:
            devices = here.find(allowed.aliases.get(word, word))
        except cdi.DeviceMissing:
            if required:
                raise
            continue
        for device in devices:
            if not _may(device, word, allowed):
                raise DeviceDenied(
                    f"device {device.name} is not allowed", hint=f"add --allow device={device.name}"
                )
            found[device.name] = device
    cdi.apply(spec, found.values())


def _may(device: cdi.CdiDevice, word: str, allowed: DevicesAllowed) -> bool:
    if allowed.all or device.annotations.get(cdi.AUTO_ALLOW) in _TRUE:
        return True
    names = {device.name, device.kind, f"{device.kind}=*", word, allowed.aliases.get(word, word)}
    return bool(names & allowed.names)
