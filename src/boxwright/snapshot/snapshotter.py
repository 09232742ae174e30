"""The snapshotter protocol and `Mount`, the currency for trees.

A snapshot is a tree made of a stack of layers, with a writable top (`prepare`) or without (`view`). It lives
under a key in ROOT/work/<key>/ until it is committed or discarded; its owner is a lease ('workspace') or a
container row of that key. The snapshotter knows nothing of images or registries.

Life cycle:  prepare -> (mount, write, unmount)* -> commit | discard       view -> (mount, unmount)* -> discard
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from boxwright.layer.store import Layer
from boxwright.spec.digest import DiffID


@dataclass(frozen=True, slots=True)
class Mount:
    """What mount(2) would be told: 'overlay', 'erofs' or 'bind'."""

    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One line of `docker diff`."""

    path: str  # absolute inside the tree
    kind: Literal["A", "C", "D"]


class Snapshotter(Protocol):
    """All methods may be called from any thread; one key belongs to one caller at a time."""

    name: str  # 'mounted', 'unpacked' or 'copied'

    def prepare(self, key: str, layers: Sequence[DiffID], *, volatile: bool = False) -> None:
        """A writable tree over the layers (bottom first; empty = an empty tree). `volatile` trades durability
        on power loss for speed: for build steps, which can be repeated. Raises Conflict when the key exists,
        LayerMissing."""
        ...

    def view(self, key: str, layers: Sequence[DiffID]) -> None:
        """A read-only tree over the layers."""
        ...

    def mounts(self, key: str) -> list[Mount]:
        """How to mount the tree; ensures that what it stacks on is mounted. Raises NotFound."""
        ...

    def commit(self, key: str) -> Layer:
        """Turn what was written into a layer (tree-backed where the driver can) and end the key. The tree must
        not be mounted any more. An equal layer that exists is used instead."""
        ...

    def snapshot_layer(self, key: str) -> Layer:
        """Like commit, but the key stays usable: the changes are written out as a tar-backed layer (`commit` of a
        container, which goes on living)."""
        ...

    def changes(self, key: str) -> Iterator[Change]:
        """What was written, against the layers below, in path order."""
        ...

    def usage(self, key: str) -> int:
        """Bytes that the writable part takes on disk."""
        ...

    def discard(self, key: str) -> None:
        """End the key and remove what was written; idempotent, also for half-made and still mounted keys."""
        ...
