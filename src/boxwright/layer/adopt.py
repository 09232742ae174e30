"""Tree-backed layers: an overlay upper directory taken over as it is, and its tar made whenever it is asked for."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from boxwright.content.local import disk_errors
from boxwright.errors import Corrupt
from boxwright.layer.apply import remove
from boxwright.layer.pipe import Pipe
from boxwright.layer.walk import write_tree
from boxwright.layer.write import TarBuilder
from boxwright.layer.writer import hold_temporary, make_temporary
from boxwright.spec.digest import DiffID

if TYPE_CHECKING:
    from boxwright.layer.store import Layer, LayerStore


class TreeChanged(Corrupt):
    """A stored tree no longer gives the tar that its diff ID names."""


class _Hashing:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.hash.update(data)


def adopt_tree(layers: LayerStore, tree: Path) -> Layer:
    """See LayerStore.adopt_tree. Until the rename, a failure leaves the tree where it is."""
    sink = _Hashing()
    builder = TarBuilder(sink)
    write_tree(tree, builder)
    diff_id = DiffID("sha256", sink.hash.hexdigest())
    with disk_errors(str(layers.root)):
        sync_tree(tree)
        directory = make_temporary(layers.root)
        lock = hold_temporary(directory)
        try:
            tree.rename(directory / "tree")
            return layers.publish(
                directory, diff_id, "tree", builder.offset, builder.content, builder.entries
            )
        finally:
            _remove(directory)
            os.close(lock)


def _remove(directory: Path) -> None:
    """What an equal layer made superfluous. What cannot be removed is found by the collector."""
    fd = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove(fd, os.fsencode(directory.name))
    except OSError:
        pass
    finally:
        os.close(fd)


def sync_tree(tree: Path) -> None:
    """Make everything below durable: one syncfs instead of an fsync a file."""
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    finally:
        os.close(fd)


class TreeReader(Pipe):
    """The canonical tar of a 'tree' layer, checked against its diff ID at the end. Reading raises TreeChanged."""

    def __init__(self, layer: Layer) -> None:
        def produce(put: Callable[[bytes], None]) -> None:
            hasher = layer.diff_id.hasher()

            class _Out:
                def write(self, data: bytes | memoryview) -> None:
                    piece = bytes(data)
                    hasher.update(piece)
                    put(piece)

            write_tree(layer.tree_path, TarBuilder(_Out()))
            if hasher.hexdigest() != layer.diff_id.hex:
                raise TreeChanged(
                    f"the tree of layer {layer.diff_id} was changed after it was stored",
                    hint="remove and build the image again",
                )

        super().__init__(produce)
