"""The `copied` driver: a tree is a plain copy of its layers; nothing is mounted, no privilege is needed.

    ROOT/work/<key>/rootfs/   the tree itself
    ROOT/work/<key>/base      what every file was when the copy was made: inode, change time, birth of directories

The kernel changes a file's ctime whenever overlayfs would have copied it up, so the difference that is found by
comparing with `base` is the one that an upper directory would hold. For hosts where nothing can be mounted: slow
with large images, and files that are hard links of each other below stay linked.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from boxwright.files.disk import disk_errors
from boxwright.files.places import Places
from boxwright.files.trees import remove_tree
from boxwright.layer.adopt import adopt_tree, sync_tree
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.whiteout import are_overlayfs
from boxwright.snapshot import mount as mounting
from boxwright.snapshot import workspace as ws
from boxwright.snapshot.compare import BaseTree, build_upper, differences
from boxwright.snapshot.snapshotter import Change, IdMap, Mount
from boxwright.snapshot.workspace import SnapshotReadOnly, Workspace
from boxwright.spec.digest import DiffID
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Copied:
    """A `Snapshotter`; see the module."""

    name: ClassVar[str] = "copied"

    def __init__(self, root: Path, layers: LayerStore, *, reason: str = "") -> None:
        self.root = root
        self.layers = layers
        self.reason = reason

    # --- life --------------------------------------------------------------------------------------

    def prepare(self, key: str, layers: Sequence[DiffID], *, volatile: bool = False) -> None:
        """See Snapshotter."""
        self._create(key, layers, writable=True, volatile=volatile)

    def view(self, key: str, layers: Sequence[DiffID]) -> None:
        """See Snapshotter."""
        self._create(key, layers, writable=False, volatile=False)

    def _create(self, key: str, layers: Sequence[DiffID], *, writable: bool, volatile: bool) -> None:
        from boxwright.snapshot.copying import copy_layers

        stack = [self.layers.get(diff_id) for diff_id in layers]
        workspace = ws.create(self.root, key, layers, writable=writable, volatile=volatile)
        with disk_errors(str(workspace.path)):
            copy_layers(stack, workspace.rootfs)
            if writable:
                BaseTree.of(workspace.rootfs).save(workspace.path / "base")
            if workspace.lasting:
                sync_tree(workspace.path)
        ws.save(workspace)

    def restore(self, key: str, layers: Sequence[DiffID]) -> None:
        """See Snapshotter. `base` is written when the copy is whole, but only `state` says that it reached the disk."""
        if ws.lost(self.root, key, layers) is not None:
            self.discard(key)
            self.prepare(key, layers)

    def discard(self, key: str) -> None:
        """See Snapshotter."""
        self.unmount(key)
        ws.remove(ws.workspace_path(self.root, key))

    # --- use ---------------------------------------------------------------------------------------

    def mounts(self, key: str, *, volatile: bool = False) -> list[Mount]:
        """See Snapshotter. A directory of the host's file system syncs as that does."""
        workspace = self._usable(key)
        return [Mount("bind", str(workspace.rootfs), ("rbind",) if workspace.writable else ("rbind", "ro"))]

    def mount(self, key: str) -> Path:
        """The tree is there already."""
        return self._usable(key).rootfs

    def mount_mapped(self, key: str, users: IdMap) -> Path:
        """See Snapshotter: the tree is seen a second time."""
        tree = self._usable(key).rootfs
        target = ws.helper_mount(tree.parent)
        fd = mounting.mapped(tree, users)
        try:
            mounting.place(fd, target)
        finally:
            os.close(fd)
        return target

    def unmount(self, key: str) -> None:
        """Only what `mount_mapped` did is to be undone."""
        for target in ws.helper_mounts(ws.workspace_path(self.root, key)):
            while mounting.detach(target):
                pass

    def open(self, key: str) -> int:
        """See Snapshotter."""
        return os.open(self._usable(key).rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def release(self, diff_id: DiffID) -> None:
        """See Snapshotter: copies need their layers no more."""

    def _usable(self, key: str) -> Workspace:
        workspace = ws.load(self.root, key)
        if workspace.sealed:
            raise SnapshotReadOnly(f"the tree {key} is being committed")
        return workspace

    # --- what was written --------------------------------------------------------------------------

    def _writable(self, key: str) -> Workspace:
        workspace = ws.load(self.root, key)
        if not workspace.writable:
            raise SnapshotReadOnly(f"the tree {key} is read-only")
        return workspace

    def seal(self, key: str) -> Path:
        """See Snapshotter."""
        workspace = self._writable(key)
        if not workspace.sealed:
            with disk_errors(str(workspace.upper)):
                build_upper(
                    workspace.rootfs, workspace.upper, BaseTree.load(workspace.path / "base"), move=True
                )
            ws.save(replace(workspace, sealed=True))
        return workspace.upper

    def commit(self, key: str) -> Layer:
        """See Snapshotter."""
        upper = self.seal(key)
        layer = adopt_tree(self.layers, upper) if self._keeps_trees else self._write(upper)
        self.discard(key)
        return layer

    @cached_property
    def _keeps_trees(self) -> bool:
        """Whether what was written is a layer as it is, for the overlay drivers too."""
        if os.geteuid() != 0:
            return False
        fd = os.open(Places(self.root).workspaces, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return are_overlayfs(fd)
        finally:
            os.close(fd)

    def snapshot_layer(self, key: str, *, omit: Collection[str] = ()) -> Layer:
        """See Snapshotter."""
        with _Temporary(self._writable(key)) as upper:
            return self._write(upper, omit)

    def _write(self, upper: Path, omit: Collection[str] = ()) -> Layer:
        from boxwright.snapshot.difference import write_layer

        return write_layer(self.layers, upper, owned=os.geteuid() != 0, omit=omit)

    def changes(self, key: str, *, omit: Collection[str] = ()) -> Iterator[Change]:
        """See Snapshotter."""
        from boxwright.snapshot.difference import changes

        workspace = ws.load(self.root, key)
        if not workspace.writable:
            return
        with _Temporary(workspace) as upper:
            below = [self.layers.get(diff_id) for diff_id in workspace.layers]
            yield from changes(upper, below, owned=os.geteuid() != 0, omit=omit)

    def usage(self, key: str) -> int:
        """See Snapshotter."""
        workspace = ws.load(self.root, key)
        if not workspace.writable:
            return 0
        if workspace.sealed:
            return ws.content_bytes(workspace.upper)
        return sum(
            found.size for found in differences(workspace.rootfs, BaseTree.load(workspace.path / "base"))
        )


class _Temporary:
    """The difference of a tree that goes on being used, as hard links."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._name = f"upper-{os.urandom(4).hex()}"

    def __enter__(self) -> Path:
        if self._workspace.sealed:
            return self._workspace.upper
        upper = self._workspace.path / self._name
        build_upper(self._workspace.rootfs, upper, BaseTree.load(self._workspace.path / "base"), move=False)
        return upper

    def __exit__(self, *_: object) -> None:
        fd = os.open(self._workspace.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(fd, self._name)
        finally:
            os.close(fd)
