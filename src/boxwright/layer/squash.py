"""Several layers as one: what the whole stack has and the layers below do not, and whiteouts for what the stack has no
more."""

from __future__ import annotations

import os
from collections.abc import Sequence

from boxwright.layer.nodes import NodeWriter
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.view import LayersView
from boxwright.layer.write import TarBuilder
from boxwright.layer.writer import LayerWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.view import ViewNode


def squash(layers: LayerStore, stack: Sequence[Layer], kept: int) -> Layer:
    """One layer that makes the lowest `kept` layers of the stack into what the stack is. The same layers give the same
    bytes: siblings in byte order, above each entry the directories that it lies in. Raises what reading layers raises,
    DiskFull."""
    with LayersView(stack) as whole, LayersView(stack[:kept]) as below, LayerWriter(layers) as writer:
        builder = TarBuilder(writer)
        _Difference(whole, below, builder).write()
        builder.finish()
        return writer.commit()


class _Difference:
    def __init__(self, whole: LayersView, below: LayersView, builder: TarBuilder) -> None:
        self._whole, self._below = whole, below
        self._builder = builder
        self._writer = NodeWriter(builder, whole)
        # Directories on the way down that are not written yet, outermost first.
        self._waiting: list[ViewNode] = []

    def write(self) -> None:
        for node in self._whole.walk():
            self._waiting = [d for d in self._waiting if node.path.startswith(d.path + "/")]
            old = self._below.lstat(node.path) if node.path else self._below.resolve("")
            if node.type != "dir":
                if (
                    old is None
                    or old.type != node.type
                    or self._whole.origin(node) != self._below.origin(old)
                ):
                    self._write(node)
                continue
            if not node.path:
                self._root(node, old)
            elif old is None or old.type != "dir" or _attributes(old) != _attributes(node):
                self._write(node)
            else:
                self._waiting.append(node)
            if old is not None and old.type == "dir":
                self._gone(node)

    def _root(self, node: ViewNode, old: ViewNode | None) -> None:
        """As `walk.write_tree` tells it: without its time, which no program set and which differs each time."""
        node = node._replace(mtime_ns=0)
        if old is None or _attributes(old._replace(mtime_ns=0)) != _attributes(node):
            self._write(node)

    def _gone(self, directory: ViewNode) -> None:
        there = set(self._whole.listdir(directory.path))
        for name in sorted(set(self._below.listdir(directory.path)) - there, key=os.fsencode):
            self._above()
            self._builder.whiteout(f"{directory.path}/{name}" if directory.path else name)

    def _write(self, node: ViewNode) -> None:
        if node.type == "socket":
            return
        self._above()
        self._writer.add(node)

    def _above(self) -> None:
        for directory in self._waiting:
            self._writer.add(directory)
        self._waiting.clear()


def _attributes(node: ViewNode) -> object:
    return node.mode, node.uid, node.gid, node.mtime_ns, dict(node.xattrs)
