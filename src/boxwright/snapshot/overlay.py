"""What the two overlay drivers share: everything but where a layer's directory comes from.

Options are chosen so that an upper directory is a plain difference, which is what a layer is: no redirects (a
renamed directory is copied by the program that renames it), no metadata-only copies, no index; then overlayfs marks a
directory opaque only when it replaces something. Links that a layer might plant in overlayfs's own attributes are
not followed (`redirect_dir=nofollow`).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from boxwright.files.disk import disk_errors
from boxwright.files.places import Places
from boxwright.files.trees import remove_tree
from boxwright.layer.store import Layer, LayerStore
from boxwright.snapshot import mount as mounting
from boxwright.snapshot import workspace as ws
from boxwright.snapshot.snapshotter import Change, IdMap, Mount
from boxwright.snapshot.workspace import SnapshotReadOnly, Workspace
from boxwright.spec.digest import DiffID
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

_OPTIONS = ("redirect_dir=nofollow", "metacopy=off", "index=off", "xino=off")


class OverlaySnapshots(ABC):
    """A `Snapshotter`; `reason` says for `info` why this driver and none before it."""

    name: ClassVar[str]

    def __init__(self, root: Path, layers: LayerStore, *, reason: str = "", userxattr: bool = False) -> None:
        self.root = root
        self.layers = layers
        self.reason = reason
        self._userxattr = userxattr

    @abstractmethod
    def lower(self, layer: Layer) -> str:
        """The path of the layer as a directory that overlayfs can stack, made ready now."""

    @abstractmethod
    def release(self, diff_id: DiffID) -> None:
        """For the collector, before it removes a layer: let go of it."""

    # --- life --------------------------------------------------------------------------------------

    def prepare(self, key: str, layers: Sequence[DiffID], *, volatile: bool = False) -> None:
        """See Snapshotter."""
        self._create(key, layers, writable=True, volatile=volatile)

    def view(self, key: str, layers: Sequence[DiffID]) -> None:
        """See Snapshotter."""
        self._create(key, layers, writable=False, volatile=False)

    def _create(self, key: str, layers: Sequence[DiffID], *, writable: bool, volatile: bool) -> None:
        self.layers.stack(layers)
        self._finish(ws.create(self.root, key, layers, writable=writable, volatile=volatile))

    def _finish(self, workspace: Workspace) -> None:
        if workspace.writable:
            with disk_errors(str(workspace.path)):
                ws.make_directory(workspace.upper)
                workspace.work.mkdir(exist_ok=True)
        ws.save(workspace)

    def restore(self, key: str, layers: Sequence[DiffID]) -> None:
        """See Snapshotter."""
        if (workspace := ws.lost(self.root, key, layers)) is not None:
            self._finish(workspace)

    def discard(self, key: str) -> None:
        """See Snapshotter."""
        path = ws.workspace_path(self.root, key)
        if not path.exists():
            return
        while mounting.is_mounted(path / "rootfs") and mounting.detach(path / "rootfs"):
            pass
        # What shows a directory of the same file system is a mount without another device.
        for helper in ws.helper_mounts(path):
            while mounting.detach(helper):
                pass
        for upper in (path / "upper", path / ".mount-*/upper"):
            while (elsewhere := mounting.find_overlay(upper)) is not None and mounting.detach(elsewhere):
                pass
        ws.remove(path)

    # --- use ---------------------------------------------------------------------------------------

    def mounts(self, key: str, *, volatile: bool = False) -> list[Mount]:
        """See Snapshotter."""
        workspace = ws.load(self.root, key)
        return self._mounts(
            replace(workspace, volatile=True) if volatile and workspace.writable else workspace
        )

    def _mounts(self, workspace: Workspace) -> list[Mount]:
        if workspace.sealed:
            raise SnapshotReadOnly(f"the tree {workspace.path.name} is being committed")
        return [self._mount(workspace)]

    def _mount(self, workspace: Workspace) -> Mount:
        layers = self.layers.stack(workspace.layers)
        # A layer that occurs twice counts once, at the top: what it says below is said again above, and overlayfs
        # refuses the same directory twice (ELOOP).
        stack = {layer.diff_id.hex: layer for layer in reversed(layers)}
        lowers = [*self._attributes(workspace, layers), *map(self.lower, stack.values())]
        for number in range(
            len(lowers), 1 if workspace.writable else 2
        ):  # overlayfs wants one below an upper, else two
            lowers.append(self._nothing(number))
        options = [*(f"lowerdir+={lower}" for lower in lowers)]
        if workspace.writable:
            options += [f"upperdir={workspace.upper}", f"workdir={workspace.work}"]
            if workspace.volatile:
                self._forget_volatile(workspace)
                options.append("volatile")
        else:
            options.append("ro")
        return Mount("overlay", "overlay", (*options, *_OPTIONS, *(["userxattr"] if self._userxattr else [])))

    def _attributes(self, workspace: Workspace, layers: Sequence[Layer]) -> list[str]:
        """A directory that gives directories, which a tar only implies, the attributes of the layers below; mostly
        none."""
        if len(layers) < 2:
            return []
        from boxwright.layer.implied import misshown, write_attributes

        path = workspace.path / "attributes"
        if not path.exists():
            nodes = misshown(layers)
            if not nodes:
                return []
            part = workspace.path / "attributes.part"
            with disk_errors(str(part)):
                part.mkdir(exist_ok=True)
            write_attributes(nodes, part)
            part.rename(path)
        return [str(path)]

    def _nothing(self, number: int) -> str:
        empty = Places(self.root).mounts / f"empty{number}"
        empty.mkdir(parents=True, exist_ok=True)
        return str(empty)

    @staticmethod
    def _forget_volatile(workspace: Workspace) -> None:
        # Its last mount left a mark that says "may be torn if the machine crashed since": a step is run again then.
        work = workspace.work / "work"
        if (work / "incompat").exists() and not mounting.is_mounted(workspace.rootfs):
            fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                remove_tree(fd, "incompat")
            finally:
                os.close(fd)

    def mount(self, key: str) -> Path:
        """Mount the tree on its directory in the workspace and return that; once, however often it is called."""
        workspace = ws.load(self.root, key)
        if not mounting.is_mounted(workspace.rootfs):
            mounting.attach(self._mounts(workspace), workspace.rootfs)
        return workspace.rootfs

    def mount_mapped(self, key: str, users: IdMap) -> Path:
        """See Snapshotter. overlayfs takes owners as its layers show them, so each layer is seen through the namespace;
        what is written lands in the upper directory as the image is to have it."""
        workspace = ws.load(self.root, key)
        self.unmount(key)
        (wanted,) = self._mounts(workspace)
        with ExitStack() as seen:

            def through(path: str) -> str:
                target = ws.helper_mount(workspace.path)
                seen.callback(target.rmdir)
                fd = mounting.mapped(path, users)
                try:
                    mounting.place(fd, target)
                finally:
                    os.close(fd)
                # The overlay has mounts of its own as soon as it is made.
                seen.callback(mounting.detach, target)
                return str(target)

            options, top = [], ""
            for option in wanted.options:
                name, _, path = option.partition("=")
                if name == "lowerdir+":
                    option = f"{name}={through(path)}"
                elif name in ("upperdir", "workdir"):  # which must lie in one mount
                    top = top or through(str(workspace.path))
                    option = f"{name}={top}/{Path(path).name}"
                options.append(option)
            with mounting.made_by(users.root):  # for the directories that overlayfs makes itself
                mounting.attach([replace(wanted, options=tuple(options))], workspace.rootfs)
        return workspace.rootfs

    def unmount(self, key: str) -> None:
        """Undo `mount` and `mount_mapped`; idempotent."""
        rootfs = ws.workspace_path(self.root, key) / "rootfs"
        if mounting.is_mounted(rootfs):
            mounting.detach(rootfs)

    def open(self, key: str) -> int:
        """A descriptor of the tree's top, for `dir_fd`: of the mounted tree when it is mounted, else of a mount that
        no other process sees and that ends with the descriptor."""
        workspace = ws.load(self.root, key)
        # Two mounts with one upper directory would not see each other's changes: use the one that is there.
        where = (
            workspace.rootfs
            if mounting.is_mounted(workspace.rootfs)
            else mounting.find_overlay(workspace.upper)
        )
        if where is not None:
            return os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return mounting.open_tree(self._mounts(workspace))

    # --- what was written --------------------------------------------------------------------------

    def _writable(self, key: str) -> Workspace:
        workspace = ws.load(self.root, key)
        if not workspace.writable:
            raise SnapshotReadOnly(f"the tree {key} is read-only")
        return workspace

    def seal(self, key: str) -> Path:
        """End the writing: unmount, and return the directory that holds what was written, in overlayfs's form. It
        may be edited; only `commit` and `discard` may follow."""
        workspace = self._writable(key)
        if not workspace.sealed:
            self.unmount(key)
            ws.save(replace(workspace, sealed=True))
        return workspace.upper

    def commit(self, key: str) -> Layer:
        """See Snapshotter."""
        from boxwright.layer.adopt import adopt_tree

        layer = adopt_tree(self.layers, self.seal(key))
        self.discard(key)
        return layer

    def snapshot_layer(self, key: str, *, omit: Collection[str] = ()) -> Layer:
        """See Snapshotter."""
        from boxwright.snapshot.difference import write_layer

        return write_layer(self.layers, self._writable(key).upper, omit=omit)

    def changes(self, key: str, *, omit: Collection[str] = ()) -> Iterator[Change]:
        """See Snapshotter."""
        from boxwright.snapshot.difference import changes

        workspace = ws.load(self.root, key)
        if not workspace.writable:
            return iter(())
        return changes(workspace.upper, self.layers.stack(workspace.layers), omit=omit)

    def usage(self, key: str) -> int:
        """See Snapshotter."""
        workspace = ws.load(self.root, key)
        return ws.content_bytes(workspace.upper) if workspace.writable else 0
