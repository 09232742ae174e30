"""Tree-backed layers: an overlay upper directory taken over as it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from boxwright.files.disk import disk_errors, sync_below
from boxwright.files.trees import discard
from boxwright.layer.walk import write_tree
from boxwright.layer.write import TarBuilder
from boxwright.layer.writer import hold_temporary, make_temporary
from boxwright.spec.digest import DiffID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.store import Layer, LayerStore


class _Hashing:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.hash.update(data)


def adopt_tree(layers: LayerStore, tree: Path) -> Layer:
    """Rename an overlay upper directory, no longer mounted, into place: a 'tree' layer, whose diff ID is that of its
    canonical tar. When an equal layer exists the tree is removed. What cannot be a layer is left where it is. Raises
    Invalid, DiskFull."""
    sink = _Hashing()
    builder = TarBuilder(sink)
    write_tree(tree, builder)
    diff_id = DiffID("sha256", sink.hash.hexdigest())
    with disk_errors(str(layers.root)):
        directory = make_temporary(layers.root)
        lock = hold_temporary(directory)
        try:
            tree.rename(directory / "tree")
            sync_tree(directory)
            return layers.publish(
                directory=directory,
                diff_id=diff_id,
                kind="tree",
                tar_size=builder.offset,
                content=builder.content,
                entries=builder.entries,
            )
        finally:
            discard(directory)  # when an equal layer made it superfluous
            lock.close()


def sync_tree(tree: Path) -> None:
    """Make everything below durable."""
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_below(fd)
    finally:
        os.close(fd)
