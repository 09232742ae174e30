"""The snapshotter protocol, and `Mount`, the value by which trees pass between packages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from boxwright.layer.store import Layer
from boxwright.spec.digest import DiffID
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Literal, Protocol
else:
    Protocol = object  # `typing` takes 3 ms


@dataclass(frozen=True, slots=True)
class Mount:
    """What mount(2) would be told: 'overlay', 'erofs' or 'bind'."""

    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdMap:
    """Through what a user namespace sees mounts: a descriptor of it, and who its root (user and group) is on the
    host."""

    namespace: int
    root: int


@dataclass(frozen=True, slots=True)
class Change:
    """One line of `docker diff`."""

    path: str  # absolute inside the tree
    kind: Literal["A", "C", "D"]


class Snapshotter(Protocol):
    """Makes trees of stacks of layers, and layers of what was written into a tree. Knows neither images nor registries.

    A key names one tree, in a directory of its own (`snapshot.workspace`), from `prepare` (writable) or `view`
    (read-only) until it is committed or discarded:

        prepare -> (mount, write, unmount)* -> [seal] -> commit | discard
        view -> (mount, unmount)* -> discard

    A step of a build, for example, makes a layer or leaves nothing:

        snapshots.prepare(key, layers, volatile=True)
        try:
            run(command, root=snapshots.mount(key))
            layer = snapshots.commit(key)
        except BaseException:
            snapshots.discard(key)
            raise

    A container's tree has the container's ID as its key and lives as long as the container; the command `commit`
    copies a layer out of it with `snapshot_layer`. The owner of a key is a lease (of kind 'workspace') or a container's
    row: the collector discards keys that have neither.

    All methods may be called from any thread; one key belongs to one caller at a time.
    """

    name: ClassVar[str]  # 'mounted', 'unpacked' or 'copied'
    reason: str  # why this driver and none before it, for `info`

    def prepare(self, key: str, layers: Sequence[DiffID], *, volatile: bool = False) -> None:
        """A writable tree over the layers (bottom first; empty = an empty tree). `volatile` trades durability
        on power loss for speed: for build steps, which can be repeated. Raises Conflict when the key exists,
        LayerMissing."""

    def restore(self, key: str, layers: Sequence[DiffID]) -> None:
        """A prepared tree, not volatile, is made sure of: what a power cut took of its directory is made again. What
        reached the disk of its content stays, where the driver can tell. Nothing is done when it is whole."""

    def view(self, key: str, layers: Sequence[DiffID]) -> None:
        """A read-only tree over the layers."""

    def mounts(self, key: str, *, volatile: bool = False) -> list[Mount]:
        """How to mount the tree; ensures that what it stacks on is mounted. `volatile` says that nothing in it is
        wanted after a power cut, so that nothing waits for the disk, a program's `fsync` and the unmount neither.
        Raises NotFound."""

    def mount(self, key: str) -> Path:
        """Make the tree usable at a directory and return that: ROOT/work/<key>/rootfs, mounted where the driver
        mounts. Idempotent; the mount is in the mount table of the calling process's namespace."""

    def mount_mapped(self, key: str, users: IdMap) -> Path:
        """Like `mount`, for processes in a user namespace: what root owns in the layers, the namespace's root owns
        here, and what it writes root owns in the layer. The calling process cannot make anything in this tree. Ends
        another mount of the key. Raises MountFailed, MountUnsupported."""

    def unmount(self, key: str) -> None:
        """Undo `mount` and `mount_mapped`; idempotent."""

    def open(self, key: str) -> int:
        """A descriptor of the tree's top, mounted or not, for calls with `dir_fd`."""

    def seal(self, key: str) -> Path:
        """End the writing: unmount, and return a directory with what was written in overlayfs's form, to be edited
        in place (times). Only `commit` and `discard` may follow."""

    def commit(self, key: str) -> Layer:
        """Turn what was written into a layer (tree-backed where the driver can) and end the key; seals it first.
        An equal layer that exists is used instead."""

    def snapshot_layer(self, key: str, *, omit: Collection[str] = ()) -> Layer:
        """Like commit, but the key stays usable: the changes are written out as a tar-backed layer (`commit` of a
        container, which goes on living). Empty files, links and directories at the paths of `omit` are left out."""

    def changes(self, key: str, *, omit: Collection[str] = ()) -> Iterator[Change]:
        """What was written, against the layers below, in path order, without empty files, links and directories at the
        paths of `omit`."""

    def usage(self, key: str) -> int:
        """Bytes of what was written, as `docker ps --size` counts: content of regular files, each inode once."""

    def discard(self, key: str) -> None:
        """End the key and remove what was written; idempotent, also for half-made and still mounted keys."""

    def release(self, diff_id: DiffID) -> None:
        """For the collector, before a layer's files go: let go of it (unmount). Trees in use keep what they use."""
