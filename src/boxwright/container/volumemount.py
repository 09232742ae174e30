"""Volumes that are a device, a directory of the host, or a file system of the network: ``-o type=…``, ``-o device=…``,
``-o o=…`` are what mount(8) is told as ``-t``, the device and ``-o``."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from boxwright.errors import Invalid, Unsupported
from boxwright.files import syscalls
from boxwright.files.locks import MOUNTS, Lock
from boxwright.snapshot.mount import mounted_below
from boxwright.spec.values import dataclass

_BIND, _REC, _REMOUNT, _RDONLY = 0x1000, 0x4000, 0x20, 1
# mount(2)'s flags: what sets them, and what clears them.
_SET = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "dirsync": 128,
    "noatime": 1 << 10,
    "nodiratime": 1 << 11,
    "bind": _BIND,
    "rbind": _BIND | _REC,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}
_CLEAR = {"rw": 1, "suid": 2, "dev": 4, "exec": 8, "async": 16, "atime": 1 << 10, "diratime": 1 << 11}
_NEUTRAL = ("defaults", "")
_PAGE = 4000  # mount(2) takes one page of options
_RESOLVED = ("nfs", "nfs4", "cifs", "smb3")  # whose kernel code wants addresses
_KEYS = ("type", "device", "o")


class VolumeOptionsInvalid(Invalid):
    """The options of a volume contradict each other, or are no text for mount(2)."""


class VolumeUnmountable(Unsupported):
    """The kernel did not mount what the volume is."""


class VolumeDeviceMissing(VolumeUnmountable):
    """What the volume is, is not there."""

    exit_code = 127  # as docker/cli has it for every "no such file or directory"


@dataclass(frozen=True, slots=True)
class VolumeDevice:
    """What mount(2) is told."""

    source: str
    kind: str
    flags: int
    data: str

    @property
    def readonly(self) -> bool:
        """Whether nothing can be written there."""
        return bool(self.flags & _RDONLY)


def check(name: str, options: Mapping[str, str]) -> None:
    """Raises VolumeOptionsInvalid. The texts are moby's (volume/local)."""
    for key, value in options.items():
        if key == "size":
            raise VolumeOptionsInvalid(f"create {name}: quota size requested but no quota support")
        if key not in _KEYS:
            raise VolumeOptionsInvalid(f'create {name}: invalid option: "{key}"')
        if not value.isprintable():
            raise VolumeOptionsInvalid(
                f"create {name}: invalid {key} {value!r}: it contains a newline or another control character"
            )
    if options and not options.get("device"):
        raise VolumeOptionsInvalid(f'create {name}: missing required option: "device"')
    if options and not options.get("type"):
        raise VolumeOptionsInvalid(f'create {name}: missing required option: "type"')
    if len(options.get("o", "").encode()) > _PAGE:
        raise VolumeOptionsInvalid(f"create {name}: the option o is longer than a page of memory")


def described(options: Mapping[str, str]) -> VolumeDevice:
    """What the options say."""
    flags, data = 0, []
    for word in options.get("o", "").split(","):
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word not in _NEUTRAL:
            data.append(word)
    return VolumeDevice(options["device"], options.get("type", ""), flags=flags, data=",".join(data))


def mount(device: VolumeDevice, target: Path, lock: Path) -> None:
    """Mount it, unless it is. `lock` is the file that is taken while mounts are made. Raises VolumeUnmountable."""
    with Lock.at(MOUNTS, lock):
        if target in mounted_below(target.parent):
            return
        data = _with_addresses(device, target)
        try:
            _mount(device, target, flags=device.flags, data=data)
            if device.flags & _BIND and device.flags & ~(_BIND | _REC):
                # The kernel takes the other flags of a bind mount only in a second call.
                _mount(device, target, flags=device.flags | _REMOUNT, data=data)
        except OSError as error:
            missing = error.errno == errno.ENOENT
            shown = [f"mount {device.source}:{target}"]
            if flags := device.flags & ~_RDONLY:
                shown.append(f"flags: {flags:#x}")
            if data:
                shown.append(f"data: {_secret(device.data)}")
            hint = f"this kernel has no file system {device.kind!r}" if error.errno == errno.ENODEV else ""
            raise (VolumeDeviceMissing if missing else VolumeUnmountable)(
                f"error while mounting volume '{target}': failed to mount local volume: {', '.join(shown)}: "
                f"{(error.strerror or '').lower()}",
                hint=hint,
            ) from error


def _mount(device: VolumeDevice, target: Path, flags: int, data: str) -> None:
    syscalls.libc(
        "mount",
        os.fsencode(device.source),
        os.fsencode(target),
        os.fsencode(device.kind),
        flags,
        os.fsencode(data) or None,
    )


def _with_addresses(device: VolumeDevice, target: Path) -> str:
    """The kernel wants numbers where ``addr=`` names a host. Raises VolumeUnmountable."""
    words = device.data.split(",")
    if device.kind in _RESOLVED:
        for number, word in enumerate(words):
            key, _, host = word.partition("=")
            if key == "addr" and not re.match(r"[0-9.]+\Z|[0-9a-fA-F:]*:[0-9a-fA-F:.]*\Z", host):
                words[number] = f"addr={_address(host, target)}"
    return ",".join(words)


def _address(host: str, target: Path) -> str:
    import socket

    try:
        return str(socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise VolumeUnmountable(
            f"error while mounting volume '{target}': error resolving passed in network volume address: "
            f"lookup {host}: {(getattr(error, 'strerror', '') or str(error)).lower()}"
        ) from error


def _secret(data: str) -> str:
    return re.sub(r"(^|,)(password2?)=[^,]*", r"\1\2=********", data)
