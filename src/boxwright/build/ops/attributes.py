"""What a copied file becomes in the layer: its source's attributes, with what ``--chown`` and ``--chmod`` say."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.build.context.looks import NO_XATTRS
from boxwright.build.dockerfile.chmod import Chmod
from boxwright.build.ops.target import Planned
from boxwright.build.ops.viewtree import ViewTree
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.build.context.filetree import FileTree, TreeNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What ``--chown`` and ``--chmod`` say; None leaves the source's own."""

    owner: tuple[int, int] | None
    chmod: Chmod | None
    mtime: int
    latest: int | None = None  # nanoseconds: kept times are no later (SOURCE_DATE_EPOCH)

    def plan(self, node: TreeNode, *, keep_times: bool, content: NodeContent | None = None) -> Planned:
        """An entry like `node`."""
        uid, gid = self.owner if self.owner is not None else (node.uid, node.gid)
        mode = node.mode
        if self.chmod is not None and node.type != "symlink":
            mode = self.chmod.apply(mode, directory=node.type == "dir")
        # A file's are known when it is read, and then its content is asked for them.
        xattrs = NO_XATTRS if content is not None else node.xattrs
        mtime = self.mtime
        if keep_times:
            mtime = node.mtime_ns if self.latest is None else min(node.mtime_ns, self.latest)
        return Planned(
            # By position: one for each file, and by keywords it takes a microsecond more.
            node.type,
            mode,
            uid,
            gid,
            mtime,
            node.size,
            node.link,
            node.device,
            xattrs,
            content,
            node.identity,
            keep_times,
        )

    @property
    def directory_mode(self) -> int:
        """The mode of directories that are made on the way."""
        return self.chmod.absolute if self.chmod is not None and self.chmod.absolute is not None else 0o755

    @property
    def owner_or_root(self) -> tuple[int, int]:
        return self.owner or (0, 0)


class NodeContent:
    """The bytes of a node of a tree."""

    __slots__ = ("_node", "_tree")

    def __init__(self, tree: FileTree, node: TreeNode) -> None:
        self._tree, self._node = tree, node

    def open(self) -> BinaryIO | bytes:
        return self._tree.open(self._node)

    def xattrs(self) -> Mapping[str, bytes]:
        return self._node.xattrs

    def origin(self) -> object:
        return self._tree.origin(self._node) if isinstance(self._tree, ViewTree) else None

    def digest(self) -> str:
        return self._tree.digest(self._node)
