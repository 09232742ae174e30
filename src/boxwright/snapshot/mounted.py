"""The `mounted` driver: layers are never unpacked. A layer that is a tar is mounted through its EROFS index, once for
all trees that stand on it: two mounts of one index would share no page cache.

    ROOT/mounts/<algorithm>-<hex>/   a mount a layer; empty after a reboot, mounted again when it is wanted
    ROOT/mounts/lock                 held while one is mounted or taken away

Needs real root and a kernel that mounts EROFS from files (Linux 6.12)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.layer.store import Layer
from boxwright.snapshot import mount as mounting
from boxwright.snapshot.overlay import OverlaySnapshots
from boxwright.snapshot.snapshotter import Mount
from boxwright.spec.digest import DiffID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


def layer_mount(layer: Layer) -> Mount:
    """How a tar-backed layer is mounted."""
    return Mount("erofs", str(layer.index_path), (*(f"device={device}" for device in layer.devices), "ro"))


class Mounted(OverlaySnapshots):
    """See the module."""

    name: ClassVar[str] = "mounted"

    def lower(self, layer: Layer) -> str:
        """The tree itself, or the mount of the index."""
        if layer.kind == "tree":
            return layer.tree_name
        target = self._target(layer.diff_id)
        if not mounting.is_mounted(target):
            with self._locked():
                if not mounting.is_mounted(target):
                    target.mkdir(exist_ok=True)
                    mounting.attach([layer_mount(layer)], target)
        return str(target)

    def release(self, diff_id: DiffID) -> None:
        """See OverlaySnapshots. What is stacked on it now keeps it until it ends."""
        target = self._target(diff_id)
        if target.exists():
            with self._locked():
                _take_down(target)

    def _target(self, diff_id: DiffID) -> Path:
        return Places(self.root).mount(diff_id.algorithm, diff_id.hex)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        mounts = Places(self.root).mounts
        mounts.mkdir(exist_ok=True)
        with Lock.at(locks.MOUNTS, mounts / "lock"):
            yield


def _take_down(target: Path) -> None:
    while mounting.is_mounted(target) and mounting.detach(target):
        pass
    target.rmdir()
