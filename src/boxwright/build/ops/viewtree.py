"""Layers as a source of COPY: `LayersView` with the manners of a `FileTree`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxwright.build.context.filetree import TreeNode
from boxwright.build.ops.target import hashed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.layer.view import LayersView, ViewNode

_CHUNK = 1 << 20


class ViewTree:
    """A `FileTree` over a view."""

    def __init__(self, view: LayersView) -> None:
        self._view = view
        self._digests: dict[str, str] = {}

    def lstat(self, path: str) -> TreeNode | None:
        node = self._view.lstat(path)  # which follows links on the way
        return _node(node) if node is not None and node.path == path else None

    def resolve(self, path: str, *, follow_last: bool = True) -> TreeNode | None:
        node = self._view.resolve(path, follow_last=follow_last)
        return _node(node) if node is not None else None

    def listdir(self, path: str) -> Sequence[str]:
        node = self._view.resolve(path)
        return self._view.listdir(path) if node is not None and node.type == "dir" else ()

    def walk(self, path: str) -> Iterator[TreeNode]:
        nodes = self._view.walk(path)
        next(nodes, None)
        for node in nodes:
            if node.type != "socket":
                yield _node(node)

    def open(self, node: TreeNode) -> BinaryIO | bytes:
        return self._view.content(node) if node.size < _CHUNK else self._view.open(node)  # type: ignore[arg-type]

    def digest(self, node: TreeNode) -> str:
        known = self._digests.get(node.path)
        if known is None:
            known = self._digests[node.path] = hashed(self.open(node))
        return known

    def origin(self, node: TreeNode) -> object:
        """Equal for a file of one layer, whatever views it is seen through."""
        return self._view.origin(node)  # type: ignore[arg-type]


def _node(node: ViewNode) -> TreeNode:
    # A file with one name needs no identity.
    return node if node.links > 1 and node.type == "file" else node._replace(identity=None)  # type: ignore[arg-type]
