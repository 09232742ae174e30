"""A tree that COPY and ADD can read: the build context, a tar, another stage's layers."""

from __future__ import annotations

from boxwright.layer.entry import FileAttributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, BinaryIO, Protocol
else:
    Protocol = object  # what it is for is checked before it runs


class TreeNode(FileAttributes, Protocol):
    """Something in a tree. `path` is relative to its top ('' is the top)."""

    @property
    def path(self) -> str: ...


class FileTree(Protocol):
    """A tree that can be read. Paths are relative to its top, clean, without a leading slash."""

    def lstat(self, path: str) -> TreeNode | None:
        """The node itself; None when there is none. Components before the last are not followed either."""

    def resolve(self, path: str, *, follow_last: bool = True) -> TreeNode | None:
        """The node that a path leads to, links followed inside the tree; None when it leads nowhere.
        Raises Invalid for circles."""

    def listdir(self, path: str) -> Sequence[str]:
        """The names in a directory, sorted."""

    def walk(self, path: str) -> Iterator[TreeNode]:
        """All below a directory, without itself: parents before children, names sorted."""

    def open(self, node: Any) -> BinaryIO | bytes:
        """The content of a file of this tree; that of a small one may come as bytes."""

    def digest(self, node: Any) -> str:
        """The sha256 of a file's content, in hex."""


class KnowingTree(FileTree, Protocol):
    """A tree that knows more of its files than it must."""

    def fingerprint(self, node: Any) -> str:
        """Text that stands for all of a node that a copy keeps, except for its name."""

    def explain_missing(self, path: str) -> str:
        """Why there is nothing at a path, if that can be said; a hint."""
