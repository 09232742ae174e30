"""`volume export` and `volume import`: all of a volume as one tar, with owners, times and extended attributes.

An import is laid out beside the volume's files and takes their place when it is whole on the disk: a kill, or a power
cut, leaves the volume as it was. The device of a volume has no such place: there the files appear as they come.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from boxwright.container.archive import pack, unpack
from boxwright.container.volumes import Volume, Volumes
from boxwright.errors import Conflict
from boxwright.files import syscalls
from boxwright.files.disk import disk_errors, sync_below
from boxwright.files.locks import VOLUME, Lock
from boxwright.files.trees import erase
from boxwright.rootfs.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_EXCHANGE = 2  # RENAME_EXCHANGE
_STAGE = "_import"


class VolumeNotEmpty(Conflict):
    """The volume has files, which an import would mix with its own."""


class VolumeFilling(Conflict):
    """Another import is filling the volume."""


def _alone(volume: Volume) -> Lock:
    fd = os.open(volume.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Lock(VOLUME, fd, wait=False)
    except BlockingIOError as error:
        raise VolumeFilling(
            f"import {volume.name}: another import is filling the volume", hint="try again when it has ended"
        ) from error


def export(volumes: Volumes, volume: Volume, sink: BinaryIO) -> None:
    """Write the volume. Raises VolumeUnmountable, EntryInvalid, OSError."""
    with volumes.mounted(volume) as path:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pack(directory=fd, name=".", shown=".", sink=sink, xattrs=True)
        finally:
            os.close(fd)


def restore(volumes: Volumes, volume: Volume, tar: BinaryIO, spool: Path, *, replace: bool = False) -> None:
    """Fill the volume with an archive, which may be compressed; `replace` what it has, `spool` is a directory for an
    unnamed file. Raises VolumeNotEmpty, VolumeFilling, VolumeUnmountable, TarInvalid, NameRefused, AttributeRefused,
    DiskError."""
    with ExitStack() as held:
        if not volume.options:
            held.enter_context(_alone(volume))
        path = held.enter_context(volumes.mounted(volume))
        held.enter_context(disk_errors(str(volume.path)))
        filled = bool(os.listdir(path))
        if filled and (volume.options or not replace):
            raise VolumeNotEmpty(
                f"import {volume.name}: the volume is not empty",
                hint="remove its files first: it is a device"
                if volume.options
                else "--replace replaces its files",
            )
        spool.mkdir(parents=True, exist_ok=True)
        if volume.options:
            _lay_out(path, tar, spool)
            return
        stage = volume.path / _STAGE
        erase(stage)
        stage.mkdir(mode=0o755)
        try:
            _lay_out(stage, tar, spool)
            syscalls.libc("renameat2", -100, os.fsencode(stage), -100, os.fsencode(path), _EXCHANGE)
            _sync(volume.path)
        finally:
            erase(stage)


def _lay_out(path: Path, tar: BinaryIO, spool: Path) -> None:
    with Root.at(path) as root:
        unpack(root=root, path="/", tar=tar, spool=spool, whole=True)
        sync_below(root.fd)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
