"""What one look at a file's status says, and the bytes that stand for all of it that a change of the file changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from struct import Struct
from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    # mode, inode, device, links, size, and when content and anything changed last (ns)
    Look = tuple[int, int, int, int, int, int, int]

_STAT = Struct("<QQqqqI")  # inode, device, size, mtime, ctime, mode
KEY = _STAT.size
NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


def stat_key(status: os.stat_result) -> bytes:
    """The bytes that stand for everything that a change of the file changes."""
    return _STAT.pack(
        status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
    )


# What a listing notes of a file's status, without a call of ours for each of very many.
look: Callable[[os.stat_result], Look] = attrgetter(
    "st_mode", "st_ino", "st_dev", "st_nlink", "st_size", "st_mtime_ns", "st_ctime_ns"
)


def look_key(noted: Look) -> bytes:
    """The `stat_key` of what was noted."""
    mode, inode, device, _, size, modified, changed = noted
    return _STAT.pack(inode, device, size, modified, changed, mode)


def changes(key: bytes) -> tuple[int, int]:
    """When content and anything of the file changed last (ns), by its `stat_key`."""
    _, _, _, modified, changed, _ = _STAT.unpack(key)
    return modified, changed


def changes_of(keys: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """The same of many."""
    return ((modified, changed) for _, _, _, modified, changed, _ in _STAT.iter_unpack(b"".join(keys)))
