"""The tar of a stored layer: the file that it is kept as, or made from its tree while it is read."""

from __future__ import annotations

import io
from collections.abc import Callable

from boxwright.errors import Corrupt
from boxwright.layer.pipe import Pipe
from boxwright.layer.store import Layer, LayerMissing
from boxwright.layer.walk import write_tree
from boxwright.layer.write import TarBuilder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class TreeChanged(Corrupt):
    """A stored tree no longer gives the tar that its diff ID names."""


def open_tar(layer: Layer) -> BinaryIO:
    """The layer's uncompressed tar as a stream, byte for byte. Raises LayerMissing; reading raises TreeChanged."""
    if layer.kind == "tree":
        return io.BufferedReader(TreeReader(layer), 1 << 20)
    try:
        return open(layer.tar_path, "rb", buffering=0)
    except FileNotFoundError as error:
        raise LayerMissing(
            f"layer {layer.diff_id} has lost its files", hint="pull or build the image again"
        ) from error


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
