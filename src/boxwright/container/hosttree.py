"""A directory of the host as a container's tree (``--rootfs``, as podman has it): what the container writes is written
there, and nothing here makes or removes it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from boxwright.container.config import ContainerConfigInvalid
from boxwright.errors import Unsupported
from boxwright.layer.store import Layer
from boxwright.snapshot.snapshotter import Change, Mount


class NoDifference(Unsupported):
    """The tree has no image, from which it could differ."""


class HostTree:
    """What is asked of a container's tree (see `Snapshotter`), of a directory. Raises ContainerConfigInvalid when it is
    none."""

    def __init__(self, path: str) -> None:
        if not os.path.isdir(path):
            raise ContainerConfigInvalid(f"invalid rootfs {path!r}: there is no such directory")
        self.path = Path(path)

    def mounts(self, key: str, *, volatile: bool = False) -> list[Mount]:
        """How to mount the tree, with what the host has mounted in it, and which syncs as the host has it."""
        return [Mount("bind", str(self.path), ("rbind",))]

    def open(self, key: str) -> int:
        """A descriptor of its top."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def changes(self, key: str, *, omit: Collection[str] = ()) -> Iterator[Change]:
        """Raises NoDifference."""
        raise self._none()

    def snapshot_layer(self, key: str, *, omit: Collection[str] = ()) -> Layer:
        """Raises NoDifference."""
        raise self._none()

    def _none(self) -> NoDifference:
        return NoDifference(
            f"the tree is the directory {self.path} of the host, and no image's",
            hint="`boxwright export` writes all of it, and `boxwright import` makes an image of that",
        )
