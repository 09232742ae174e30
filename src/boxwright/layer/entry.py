"""A file's attributes: the same names, units and meanings in every shape that a file has between a disk and a layer.

There is no one class for them: a context's node reads its extended attributes when they are asked for, a view's node
knows in which layers it lies, an index keeps numbers in arrays. docs/architecture.md, "Central types", has what one
would cost.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol
else:
    Protocol = object  # what it is for is checked before it runs


class FileAttributes(Protocol):
    """`type` is file, dir, symlink, char, block or fifo; `mode` the permission bits; `mtime_ns` nanoseconds since 1970;
    `size` counts a file's content; `link` is a symbolic link's target, `device` major and minor of a node; `xattrs` by
    their names. `identity` is equal for the names of one hard-linked file."""

    @property
    def type(self) -> str: ...
    @property
    def mode(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def link(self) -> str: ...
    @property
    def device(self) -> tuple[int, int]: ...
    @property
    def xattrs(self) -> Mapping[str, bytes]: ...
    @property
    def identity(self) -> object: ...
