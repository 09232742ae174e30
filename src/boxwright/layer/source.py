"""Reading a stored layer without mounting it, the same way for both kinds.

Facts are overlayfs's: a whiteout is a character device 0/0, an opaque directory says so. Directories and files are
known by a handle that only their source understands: an inode's number in the index, or a path below the tree.
"""

from __future__ import annotations

import io
import mmap
import os
import stat
import struct
import threading

from boxwright.errors import Corrupt
from boxwright.layer import erofs
from boxwright.layer.store import Layer, LayerMissing
from boxwright.layer.tree import IMPLIED
from boxwright.spec.hints import NamedTuple, Protocol, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.spec.digest import DiffID

_SMALL = 1 << 16  # bytes of an index that are not worth a mapping
_MOST_KEPT = 16 << 20  # bytes of small indexes
_FEW_NAMES = 32  # in a layer whose names are known without asking it

_OPAQUE = b"overlay.opaque"
_PREFIXES = {number: prefix for prefix, number in erofs.PREFIXES} | {
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
}


class IndexBroken(Corrupt):
    """An index does not say what it should."""


class Inode(NamedTuple):
    """One inode. `mode` has the type's bits; `identity` is equal for hard links of one file and nothing else."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int  # nanoseconds
    size: int
    rdev: int
    links: int
    identity: int
    implied: bool  # a directory that the tar does not mention: a lower layer's attributes hold
    opaque: bool
    has_xattrs: bool

    @property
    def is_dir(self) -> bool:
        return self.mode & 0o170000 == stat.S_IFDIR

    @property
    def is_whiteout(self) -> bool:
        return self.rdev == 0 and self.mode & 0o170000 == stat.S_IFCHR


Standing = tuple[str, "Any", Inode]  # a name in a layer: the hex of its diff ID, the handle


class LayerSource(Protocol):
    """Safe to share between threads. `H` below stands for a handle."""

    root: Any

    def facts(self, handle: Any) -> Inode: ...
    def child(self, handle: Any, name: bytes) -> Any: ...  # None when there is none
    def children(self, handle: Any) -> dict[bytes, Any]: ...
    def link(self, handle: Any) -> bytes: ...
    def xattrs(self, handle: Any) -> dict[bytes, bytes]: ...
    def place(self, handle: Any) -> tuple[int, int, bool]: ...  # descriptor, offset, whether to close it
    def close(self) -> None: ...


def open_source(layer: Layer) -> LayerSource:
    """Raises LayerMissing when the files are gone."""
    try:
        return TarSource(layer) if layer.kind == "tar" else TreeSource(layer)
    except FileNotFoundError as error:
        raise _lost(layer) from error


def _lost(layer: Layer) -> LayerMissing:
    return LayerMissing(f"layer {layer.diff_id} has lost its files", hint="pull or build the image again")


class SharedSources:
    """Layers that several views read, each opened once: a build has a view for every step, of nearly the same layers.

    Only those are kept that hold no descriptor while their contents are not read, up to `_MOST_KEPT` bytes. Of layers
    of few names it is known which names they have (`standing`), so that a view of many need not ask each of them. Safe
    to share between threads; `close` when no view is in use any more.
    """

    def __init__(self) -> None:
        self._kept: dict[str, LayerSource] = {}  # by the hex of their diff IDs
        self._known: set[str] = set()  # those of few names
        self._standing: dict[bytes, list[Standing]] = {}
        self._room = _MOST_KEPT
        self._lock = threading.Lock()

    def open(self, layer: Layer) -> tuple[LayerSource, bool]:
        """The layer's source, and whether it stays ours: the caller does not close it. Raises LayerMissing."""
        name = layer.diff_id.hex
        if (ready := self._kept.get(name)) is not None:
            return ready, True
        with self._lock:
            kept = self._kept.get(name)
            if kept is None:
                kept = open_source(layer)
                if not isinstance(kept, TarSource) or not kept.small or kept.small > self._room:
                    return kept, False
                self._room -= kept.small
                if kept.inodes <= _FEW_NAMES:
                    self._note(name, kept)
                self._kept[name] = kept
            return kept, True

    def _note(self, layer: str, source: TarSource) -> None:
        todo: list[tuple[bytes, int]] = [(b"", source.root)]
        while todo:
            above, directory = todo.pop()
            for name, handle in source.children(directory).items():
                path = above + b"/" + name if above else name
                facts = source.facts(handle)
                self._standing.setdefault(path, []).append((layer, handle, facts))
                if facts.is_dir:
                    todo.append((path, handle))
        self._known.add(layer)

    def knows(self, layer: DiffID) -> bool:
        """Whether `standing` tells all names of this layer."""
        return layer.hex in self._known

    def standing(self, path: bytes) -> list[Standing]:
        """The layers of few names that were opened and have this path, in no order."""
        return self._standing.get(path, [])

    def close(self) -> None:
        """Free what was opened."""
        with self._lock:
            for source in self._kept.values():
                source.close()
            self._kept.clear()
            self._known.clear()
            self._standing.clear()


class TarSource:
    """The index by mmap, or read when it is small; contents from the tar by their offsets."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._map: bytes | mmap.mmap
        self.small = 0  # bytes of an index that was read
        with open(layer.index_path, "rb", buffering=0) as file:
            begin = file.read(_SMALL)
            if not begin:
                raise IndexBroken(
                    f"{layer.index_path} is empty", hint="`boxwright system fsck --repair` makes it again"
                )
            if len(begin) < _SMALL:
                self._map, self.small = begin, len(begin)
            else:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._fds: list[int] = []
        self._opening = threading.Lock()
        try:
            fields = erofs.SUPER.unpack_from(self._map, 1024)
            if fields[0] != erofs.MAGIC or fields[13] != b"boxwright-1".ljust(16, b"\0"):
                raise IndexBroken(
                    f"{layer.index_path} is not an index",
                    hint="`boxwright system fsck --repair` makes it again",
                )
            self.root, self.inodes = fields[5], fields[6]
            self._starts = [erofs.SLOT.unpack_from(self._map, 1152 + 128 * n)[2] for n in range(fields[15])]
            self._root_facts = self._facts(self.root)
            self._root_children: dict[bytes, int] | None = None
        except struct.error as error:
            raise IndexBroken(f"{layer.index_path} is too short") from error

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        if isinstance(self._map, mmap.mmap):
            self._map.close()

    def _inode(self, nid: int) -> tuple[int, ...]:
        try:
            return erofs.INODE.unpack_from(self._map, nid * 32)
        except struct.error as error:
            raise IndexBroken(f"{self._layer.index_path} points beyond its end") from error

    def facts(self, handle: int) -> Inode:
        return self._root_facts if handle == self.root else self._facts(handle)

    def _facts(self, handle: int) -> Inode:
        _, icount, mode, _, size, start, _, uid, gid, seconds, nanoseconds, links, flags = self._inode(handle)
        kind = mode & 0o170000
        rdev = 0
        if kind == stat.S_IFCHR or kind == stat.S_IFBLK:
            rdev = os.makedev(start >> 8 & 0xFFF, start & 0xFF | start >> 12 & 0xFFF00)
        opaque = (
            bool(icount) and kind == stat.S_IFDIR and self._entries(handle, icount).get((4, _OPAQUE)) == b"y"
        )
        return Inode(
            mode,
            uid,
            gid,
            seconds * 1_000_000_000 + nanoseconds,
            size,
            rdev,
            links,
            handle,
            bool(flags & IMPLIED),
            opaque,
            icount > 0,
        )

    def children(self, handle: int) -> dict[bytes, int]:
        if handle != self.root or not self.small:
            return self._children(handle)
        if self._root_children is None:
            self._root_children = self._children(handle)
        return self._root_children

    def _children(self, handle: int) -> dict[bytes, int]:
        fields = self._inode(handle)
        size, at = fields[4], fields[5] * erofs.BLOCK
        out: dict[bytes, int] = {}
        try:
            for offset in range(0, size, erofs.BLOCK):
                out.update(self._names(at + offset, min(size - offset, erofs.BLOCK)))
            del out[b"."], out[b".."]
        except (struct.error, LookupError) as error:
            raise self._damaged() from error
        return out

    def _names(self, at: int, length: int) -> dict[bytes, int]:
        """Those of one block of a directory, in order. Raises struct.error, LookupError."""
        block = self._map[at : at + length]
        count = int.from_bytes(block[8:10], "little") // 12
        dirents = list(erofs.DIRENT.iter_unpack(block[: 12 * count]))
        ends = [start for _, start, _ in dirents[1:]]
        ends.append(length)
        out = {block[start:end]: nid for (nid, start, _), end in zip(dirents, ends)}
        # Only the last name of a block that is not the last may be followed by zeros.
        name, nid = block[dirents[-1][1] : length], dirents[-1][0]
        if name[-1:] == b"\0":
            del out[name]
            out[name.rstrip(b"\0")] = nid
        return out

    def _damaged(self) -> IndexBroken:
        return IndexBroken(f"{self._layer.index_path} has a damaged directory")

    def child(self, handle: int, name: bytes) -> int | None:
        if handle == self.root and self.small:
            return self.children(handle).get(name)
        if name in (b".", b".."):
            return None
        fields = self._inode(handle)
        size, at = fields[4], fields[5] * erofs.BLOCK
        low, high = 0, (size - 1) // erofs.BLOCK
        try:
            while low < high:  # the last block whose first name is not behind this one
                middle = (low + high + 1) // 2
                if next(iter(self._names(at + middle * erofs.BLOCK, erofs.BLOCK))) > name:
                    high = middle - 1
                else:
                    low = middle
            return self._names(at + low * erofs.BLOCK, min(size - low * erofs.BLOCK, erofs.BLOCK)).get(name)
        except (struct.error, LookupError) as error:
            raise self._damaged() from error

    def link(self, handle: int) -> bytes:
        fields = self._inode(handle)
        size, at = fields[4], fields[5] * erofs.BLOCK
        if fields[0] >> 1:
            at = handle * 32 + 64 + (fields[1] * 4 + 8 if fields[1] else 0)
        return self._map[at : at + size]

    def xattrs(self, handle: int) -> dict[bytes, bytes]:
        icount = self._inode(handle)[1]
        if not icount:
            return {}
        entries = self._entries(handle, icount)
        return {
            _PREFIXES[index] + rest: value
            for (index, rest), value in entries.items()
            if (index, rest) != (4, _OPAQUE)
        }

    def _entries(self, handle: int, icount: int) -> dict[tuple[int, bytes], bytes]:
        at, end = handle * 32 + 64 + 12, handle * 32 + 64 + icount * 4 + 8
        data, out = self._map, {}
        while at < end:
            name, index, size = data[at], data[at + 1], int.from_bytes(data[at + 2 : at + 4], "little")
            out[index, data[at + 4 : at + 4 + name]] = data[at + 4 + name : at + 4 + name + size]
            at += 4 + name + size
            at += -at % 4
        return out

    def place(self, handle: int) -> tuple[int, int, bool]:
        start = self._inode(handle)[5]
        device = len(self._starts) - 1
        while device and start < self._starts[device]:
            device -= 1
        return self._device(device), (start - self._starts[device]) * erofs.BLOCK, False

    def _device(self, number: int) -> int:
        with self._opening:
            if not self._fds:
                try:
                    for path in self._layer.devices:
                        self._fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                except FileNotFoundError as error:
                    raise _lost(self._layer) from error
            return self._fds[number]


class TreeSource:
    """An overlay upper directory that no process writes any more. Handles are paths, each part of which was looked at
    and is a directory, so no symbolic link is ever followed."""

    def __init__(self, layer: Layer) -> None:
        self._fd = os.open(layer.tree_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.root = b"."

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def facts(self, handle: bytes) -> Inode:
        st = os.stat(handle, dir_fd=self._fd, follow_symlinks=False)
        kind = st.st_mode & 0o170000
        names: list[str] = []
        # Asking costs a system call or three; links and special files can only have what needs privilege.
        if kind in (stat.S_IFDIR, stat.S_IFREG):
            names = self._names(handle)
        opaque = kind == stat.S_IFDIR and any(
            name in names and os.getxattr(self._proc(handle), name) == b"y"
            for name in ("trusted.overlay.opaque", "user.overlay.opaque")
        )
        rdev = st.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        return Inode(
            st.st_mode,
            st.st_uid,
            st.st_gid,
            st.st_mtime_ns,
            st.st_size,
            rdev,
            st.st_nlink,
            st.st_ino,
            False,
            opaque,
            bool(names),
        )

    def _proc(self, handle: bytes) -> bytes:
        return b"/proc/self/fd/%d/%b" % (self._fd, handle)

    def _names(self, handle: bytes) -> list[str]:
        try:
            return os.listxattr(self._proc(handle), follow_symlinks=False)
        except OSError:
            return []

    def children(self, handle: bytes) -> dict[bytes, bytes]:
        fd = os.open(handle, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        prefix = b"" if handle == b"." else handle + b"/"
        return {raw: prefix + raw for raw in map(os.fsencode, names)}

    def child(self, handle: bytes, name: bytes) -> bytes | None:
        path = name if handle == b"." else handle + b"/" + name
        try:
            os.stat(path, dir_fd=self._fd, follow_symlinks=False)
        except (OSError, ValueError):  # the second of a NUL, which a tar's links may have
            return None
        return path

    def link(self, handle: bytes) -> bytes:
        return os.readlink(handle, dir_fd=self._fd)

    def xattrs(self, handle: bytes) -> dict[bytes, bytes]:
        out = {}
        for name in self._names(handle):
            if not name.startswith(("trusted.overlay.", "user.overlay.")) and (
                not name.startswith("security.") or name == "security.capability"
            ):
                out[os.fsencode(name)] = os.getxattr(self._proc(handle), name, follow_symlinks=False)
        return out

    def place(self, handle: bytes) -> tuple[int, int, bool]:
        return (
            os.open(handle, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd),
            0,
            True,
        )


class Slice(io.RawIOBase):
    """A part of a file by its descriptor, which other readers may use too."""

    def __init__(self, fd: int, offset: int, size: int, owned: bool) -> None:
        self._fd, self._begin, self._at, self._end, self._owned = fd, offset, offset, offset + size, owned

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: self._begin, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = min(max(start + offset, self._begin), self._end)
        return self._at - self._begin

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._end - self._at]
        count = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed and self._owned:
            os.close(self._fd)
        super().close()


def open_content(source: LayerSource, handle: Any, size: int) -> BinaryIO:
    """A file's content as a stream."""
    fd, offset, owned = source.place(handle)
    return cast("BinaryIO", io.BufferedReader(Slice(fd=fd, offset=offset, size=size, owned=owned), 1 << 16))


def read_content(source: LayerSource, handle: Any, size: int) -> bytes:
    """All of a file's content."""
    fd, offset, owned = source.place(handle)
    try:
        data = os.pread(fd, size, offset)
        while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
            data += more
        return data
    finally:
        if owned:
            os.close(fd)
