"""What files contained when they were last read: stat tuple -> digest, kept between builds.

A digest is taken from here only when nothing about the file has changed: inode, device, size, both times
to the nanosecond, mode. As in git, a file that was changed in the very tick in which it was read is never
remembered: a second change in that tick would not show.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct
from types import MappingProxyType

from boxwright.files import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.context.node import LocalNode

_MAGIC = b"boxwright context 1\n"
_STAT = Struct("<QQqqqI")  # inode, device, size, mtime, ctime, mode
_KEY = _STAT.size
_END = _KEY + 32  # of the digest
_TICK = 100_000_000  # ns; kernel clocks tick every 10 ms at worst
_COARSE_TICK = 2_000_000_000  # ns; file systems that only know (even) seconds
_SECOND = 1_000_000_000
_ROOM = 10_000
NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


def stat_key(status: os.stat_result) -> bytes:
    """The bytes that stand for everything that a change of the file changes."""
    return _STAT.pack(
        status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
    )


def is_racy(status: os.stat_result, read_at: int) -> bool:
    """Whether the file may have been changed again, unseen, in the tick in which it was read.

    `read_at` (ns since 1970) is when reading began. A modification time in the future tells nothing.
    """
    changed = status.st_ctime_ns
    if status.st_mtime_ns <= read_at + _COARSE_TICK:
        changed = max(changed, status.st_mtime_ns)
    coarse = status.st_ctime_ns % _SECOND == 0 and status.st_mtime_ns % _SECOND == 0
    return changed > read_at - (_COARSE_TICK if coarse else _TICK)


class DigestCache:
    """The remembered digests of one directory tree, in one file. Not for several threads at once."""

    def __init__(self, path: Path | None) -> None:
        """`path` is the cache file; None keeps nothing. What cannot be read is as if it were not there."""
        self._path = path
        self._known: dict[str, bytes] = _load(path) if path is not None else {}
        self._used: set[str] = set()
        self._dirty = False

    def recall(self, node: LocalNode) -> bool:
        """Tell a file's node its content's digest and its extended attributes, as long as its `stat_key` is the one
        that they were read with; whether that was so."""
        path = node.path
        entry = self._known.get(path)
        if entry is None or not entry.startswith(node.key):
            return False
        self._used.add(path)
        node.content = entry[_KEY:_END].hex()
        node._xattrs = marshal.loads(entry[_END:]) if len(entry) > _END else NO_XATTRS
        return True

    def put(
        self, path: str, status: os.stat_result, digest: str, xattrs: Mapping[str, bytes], *, read_at: int
    ) -> None:
        """Remember what a file contained; `read_at` is when reading it began (ns). Racy files are left out."""
        if is_racy(status, read_at):
            self._dirty |= self._known.pop(path, None) is not None
            return
        rest = marshal.dumps(dict(xattrs)) if xattrs else b""
        self._known[path] = stat_key(status) + bytes.fromhex(digest) + rest
        self._used.add(path)
        self._dirty = True

    def save(self) -> None:
        """Write the file anew if there is anything new; a failure to do so costs only time later."""
        if self._path is None or not self._dirty:
            return
        if len(self._known) > 4 * len(self._used) + _ROOM:
            self._known = {path: self._known[path] for path in self._used if path in self._known}
        payload = marshal.dumps(self._known)
        body = _MAGIC + hashlib.sha256(payload).digest() + payload
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(self._path, body, sync=False)
            self._dirty = False


def _load(path: Path) -> dict[str, bytes]:
    try:
        body = path.read_bytes()
    except OSError:
        return {}
    head = len(_MAGIC)
    payload = memoryview(body)[head + 32 :]
    # marshal trusts its input: only what this module wrote, whole, gets there.
    if body[:head] != _MAGIC or hashlib.sha256(payload).digest() != body[head : head + 32]:
        return {}
    loaded: dict[str, bytes] = marshal.loads(payload)
    return loaded
