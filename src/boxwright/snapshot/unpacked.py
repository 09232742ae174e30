"""The `unpacked` driver: a layer's tar is unpacked once into a directory beside it, and overlayfs stacks directories.

    ROOT/layers/<algorithm>-<hex>/unpacked/     an overlay lower directory made from the tar; goes with the layer
    ROOT/mounts/unpack.lock                     held while one is made

For kernels that do not mount EROFS from files, and for user namespaces, where EROFS may not be mounted at all;
there overlayfs keeps its own attributes under ``user.`` (`userxattr`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.files import locks
from boxwright.files.disk import disk_errors
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.files.trees import remove_tree
from boxwright.layer.store import Layer
from boxwright.snapshot.overlay import OverlaySnapshots
from boxwright.spec.digest import DiffID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


_NAME, _PART = "unpacked", "unpacked.part"


class Unpacked(OverlaySnapshots):
    """See the module."""

    name: ClassVar[str] = "unpacked"

    def lower(self, layer: Layer) -> str:
        """The tree itself, or the unpacked tar."""
        if layer.kind == "tree":
            return layer.tree_name
        target = layer.path / _NAME
        if not target.exists():
            with self._locked():
                if not target.exists():
                    self._unpack(layer, target)
        return str(target)

    def _unpack(self, layer: Layer, target: Path) -> None:
        from boxwright.layer.adopt import sync_tree
        from boxwright.layer.apply import unpack

        part = layer.path / _PART
        fd = os.open(layer.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(fd, _PART)  # left by a crash
            with disk_errors(str(target)):
                part.mkdir()
                unpack(layer, part, as_root=os.geteuid() == 0, userxattr=self._userxattr)
                sync_tree(part)  # the name says that it is whole
                part.rename(target)
        finally:
            os.close(fd)

    def release(self, diff_id: DiffID) -> None:
        """See OverlaySnapshots: the directory goes with the layer, nothing holds it."""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        mounts = Places(self.root).mounts
        mounts.mkdir(exist_ok=True)
        with Lock.at(locks.UNPACK, mounts / "unpack.lock"):
            yield
