"""Weights and rates of single block devices: ``--blkio-weight-device``, ``--device-read-bps`` and its like.

Error texts are docker/cli's (opts/weightdevice.go, opts/throttledevice.go). A device's numbers are looked up when the
container starts.
"""

from __future__ import annotations

import os
import re

from boxwright.container.config import DeviceRate, HostDeviceMissing, Limits
from boxwright.container.options import OptionInvalid
from boxwright.spec.units import SizeInvalid, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Fields of Limits, and what they are in the OCI config's blockIO.
RATES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}
_MOST = 2**64 - 1
_FORMAT = "The correct format is <device-path>:<number>"


def parse_weight(text: str) -> DeviceRate:
    """``/dev/sda:100``; weights are 10 to 1000, 0 is none. Raises OptionInvalid."""
    path, value = _parts(text)
    if not re.match(r"[0-9]{1,5}\Z", value) or not (int(value) == 0 or 10 <= int(value) <= 1000):
        raise OptionInvalid(f"invalid weight for device: {text}")
    return DeviceRate(path, int(value))


def parse_bps(text: str) -> DeviceRate:
    """``/dev/sda:1mb``, bytes per second. Raises OptionInvalid."""
    path, value = _parts(text)
    try:
        rate = parse_size(value)
    except SizeInvalid:
        rate = -1
    if not 0 <= rate <= _MOST:
        raise OptionInvalid(
            f"invalid rate for device: {text}. {_FORMAT}[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        )
    return DeviceRate(path, rate)


def parse_iops(text: str) -> DeviceRate:
    """``/dev/sda:1000``, operations per second. Raises OptionInvalid."""
    path, value = _parts(text)
    if not re.match(r"[0-9]{1,20}\Z", value) or int(value) > _MOST:
        raise OptionInvalid(f"invalid rate for device: {text}. {_FORMAT}. Number must be a positive integer")
    return DeviceRate(path, int(value))


def _parts(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise OptionInvalid(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise OptionInvalid(f"bad format for device path: {text}")
    return path, value


def resources(limits: Limits) -> dict[str, Any]:
    """The `blockIO` entries of single devices. Raises HostDeviceMissing."""
    out: dict[str, Any] = {}
    if limits.blkio_weight_device:
        out["weightDevice"] = _entries(limits.blkio_weight_device, "weight")
    for field, key in RATES.items():
        if rates := getattr(limits, field):
            out[key] = _entries(rates, "rate")
    return out


def _entries(rates: Sequence[DeviceRate], what: str) -> list[dict[str, int]]:
    out = []
    for entry in rates:
        try:
            number = os.stat(entry.path).st_rdev
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", "") or str(error)).lower()
            raise HostDeviceMissing(f"stat {entry.path}: {reason}") from error
        out.append({"major": os.major(number), "minor": os.minor(number), what: entry.rate})
    return out
