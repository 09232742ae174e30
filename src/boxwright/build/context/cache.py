"""What files contained when they were last read: stat tuple -> digest, kept between builds.

A digest is taken from here only when nothing about the file has changed: inode, device, size, both times
to the nanosecond, mode. As in git, a file that was changed in the very tick in which it was read is never
remembered: a second change in that tick would not show.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from boxwright.build.context import kept
from boxwright.build.context.looks import KEY, NO_XATTRS, changes, changes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.context.node import LocalNode

_MAGIC = b"boxwright context 2\n"
_END = KEY + 32  # of the digest
_TICK = 100_000_000  # ns; kernel clocks tick every 10 ms at worst
_COARSE_TICK = 2_000_000_000  # ns; file systems that only know (even) seconds
_SECOND = 1_000_000_000
_ROOM = 10_000  # entries
_MOST_OPEN = 16  # directories; as objects their entries take three times the room


def was_racy(key: bytes, read_at: int) -> bool:
    """Whether the file with this `stat_key` may have been changed again, unseen, in the tick in which it was read.

    `read_at` (ns since 1970) is when reading began. A modification time in the future tells nothing.
    """
    modified, changed = changes(key)
    coarse = changed % _SECOND == 0 and modified % _SECOND == 0
    if modified <= read_at + _COARSE_TICK:
        changed = max(changed, modified)
    return changed > read_at - (_COARSE_TICK if coarse else _TICK)


def any_racy(keys: Sequence[bytes], read_at: int) -> bool:
    """`was_racy` of any of very many; of files that are older than every clock's tick it is seen at a glance."""
    settled = read_at - _COARSE_TICK
    if all(modified <= settled and changed <= settled for modified, changed in changes_of(keys)):
        return False
    return any(was_racy(key, read_at) for key in keys)


class DigestCache:
    """The remembered digests of one directory tree, in one file. Not for several threads at once.

    The file is read when the first digest is asked for, and of it the directories that files are asked of.
    """

    def __init__(self, path: Path | None) -> None:
        """`path` is the cache file; None keeps nothing. What cannot be read is as if it were not there."""
        self._path = path
        self._packed: dict[str, bytes] | None = None if path is not None else {}
        self._open: dict[str, dict[str, bytes]] = {}  # the one that was used last at the end
        self._last = ""
        self._used: dict[str, set[str]] = {}  # names, of those that are open
        self._changed: set[str] = set()  # those of the open ones that are not packed as they are
        self._kept: set[str] = set()
        self._dirty = False

    def recall(self, node: LocalNode) -> bool:
        """Tell a file's node its content's digest and its extended attributes, as long as its `stat_key` is the one
        that they were read with; whether that was so."""
        folder, _, name = node.path.rpartition("/")
        entry = self._folder(folder).get(name)
        if entry is None or not entry.startswith(node.noted):
            return False
        self._used[folder].add(name)
        node.noted = entry[:_END]
        node._xattrs = marshal.loads(entry[_END:]) if len(entry) > _END else NO_XATTRS
        return True

    def recall_plain(self, folder: str, names: Sequence[str], count: int) -> bytes | None:
        """Of the digests of the contents of these files the first `count` bytes, one after the other, if each is known
        and has no extended attributes. For a directory whose listing is the one that the digests were learnt with: the
        files are not compared again."""
        known, end = self._folder(folder), KEY + count
        try:
            entries = [known[name] for name in names]
        except KeyError:
            return None
        if {*map(len, entries)} != {_END}:
            return None
        self._used[folder].update(names)
        return b"".join([entry[KEY:end] for entry in entries])

    def put(self, path: str, *, key: bytes, digest: bytes, xattrs: Mapping[str, bytes], read_at: int) -> None:
        """Remember what a file contained while its `stat_key` was `key`; `read_at` is when reading it began (ns).
        Racy files are left out."""
        folder, _, name = path.rpartition("/")
        known = self._folder(folder)
        if was_racy(key, read_at):
            if known.pop(name, None) is not None:
                self._changed.add(folder)
                self._dirty = True
            return
        rest = marshal.dumps(dict(xattrs)) if xattrs else b""
        known[name] = key + digest + rest
        self._used[folder].add(name)
        self._changed.add(folder)
        self._dirty = True

    def keep(self, folder: str) -> None:
        """Count a directory as used of which nothing had to be asked."""
        self._kept.add(folder)

    def save(self) -> None:
        """Write the file anew if there is anything new; a failure to do so costs only time later."""
        if self._path is None or not self._dirty:
            return
        assert self._packed is not None
        for folder in list(self._open):
            self._pack(folder)
        fresh = [folder for folder in self._packed if folder in self._kept]
        if self._size(self._packed) > 4 * self._size(fresh) + _ROOM * _END:
            self._packed = {folder: self._packed[folder] for folder in fresh}
        self._dirty = not kept.save(self._path, _MAGIC, self._packed)

    def _size(self, folders: Iterable[str]) -> int:
        assert self._packed is not None
        return sum(len(self._packed[folder]) for folder in folders)

    def _folder(self, path: str) -> dict[str, bytes]:
        known = self._open.get(path)
        if known is None:
            if self._packed is None:
                assert self._path is not None
                self._packed = kept.load(self._path, _MAGIC)
            if len(self._open) >= _MOST_OPEN:
                self._pack(next(iter(self._open)))
            packed = self._packed.get(path)
            known = self._open[path] = marshal.loads(packed) if packed else {}
            # What was packed in this build has been rid of what is not used.
            self._used[path] = set(known) if path in self._kept else set()
        elif path != self._last:
            self._open[path] = self._open.pop(path)
        self._last = path
        return known

    def _pack(self, folder: str) -> None:
        assert self._packed is not None
        known, used = self._open.pop(folder), self._used.pop(folder)
        if len(known) > 4 * len(used) + _ROOM:
            known = {name: known[name] for name in used if name in known}
            self._changed.add(folder)
        if folder in self._changed:
            self._packed[folder] = marshal.dumps(known)
            self._changed.discard(folder)
        self._kept.add(folder)
