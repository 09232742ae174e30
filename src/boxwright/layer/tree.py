"""The tree that a tar describes, held compactly: columns of numbers, and one dict of names a directory.

About 200 bytes an entry. Names go in as the archive has them; what comes out can be written as an index: clean
paths, OCI whiteouts turned into overlayfs's (opencontainers/image-spec layer.md; kernel overlayfs.rst), hard
links resolved, later entries in the place of earlier ones.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

from boxwright.layer.scan import BLOCK, CHAR, DIR, FILE, HARDLINK, SYMLINK, Header, TarInvalid
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


WHITEOUT: Final = b".wh."
OPAQUE_MARK: Final = b".wh..wh..opq"
META: Final = b".wh..wh."

# Bits of Tree.flags.
IMPLIED: Final = 1  # a directory that the archive never mentions
OPAQUE: Final = 2

_MOST_ENTRIES = 4_000_000
_MOST_TEXT = 512 << 20  # bytes of names, link targets and attributes together
_LONGEST_NAME = 255
_LONGEST_PATH = 4096
_MOST_STEPS = 1024  # parts of symbolic links on the way to one name
_CACHED_PATHS = 4096
_MODES = {
    FILE: stat.S_IFREG,
    DIR: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    CHAR: stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}


def clean(name: bytes) -> bytes:
    """A path relative to the root: no empty parts, no '.', '..' taken lexically; '' for the root itself.

    Absolute names start at the root. Raises TarInvalid for a name that leaves it, or is longer than Linux allows.
    """
    if name[:2] == b"./":
        name = name[2:]
    if name[-1:] == b"/":
        name = name[:-1]
    if b"//" in name or b"/." in name or name[:1] in (b"/", b"."):
        parts: list[bytes] = []
        absolute = name[:1] == b"/"
        for part in name.split(b"/"):
            if part == b"..":
                if parts:
                    parts.pop()
                elif not absolute:
                    raise TarInvalid(f"the name {_show(name)} leads out of the layer")
            elif part and part != b".":
                parts.append(part)
        name = b"/".join(parts)
    if len(name) > _LONGEST_NAME and (
        len(name) > _LONGEST_PATH or max(map(len, name.split(b"/"))) > _LONGEST_NAME
    ):
        raise TarInvalid(f"the name {_show(name)} is too long")
    return name


def _show(name: bytes) -> str:
    text = name[:200].decode("utf-8", "backslashreplace")
    return repr(text + "…" if len(name) > 200 else text)


class PlainFiles(NamedTuple):
    """Files of one directory as a tar has them one after the other: each is one header without extensions, and its
    content. `mtime` in nanoseconds."""

    directory: bytes
    names: Sequence[bytes]
    modes: Sequence[int]  # permissions
    sizes: Sequence[int]
    uid: int
    gid: int
    mtime: int


def spans(sizes: Iterable[int]) -> list[int]:
    """Bytes that plain files of these sizes take in a tar, each with its header."""
    return [BLOCK + (size + BLOCK - 1 & -BLOCK) for size in sizes]


def is_whiteout(mode: int, where: int) -> bool:
    """Whether an inode is overlayfs's sign for "not here": character device 0/0."""
    return where == 0 and mode & 0o170000 == stat.S_IFCHR


class LayerTree:
    """Inode 0 is the root. `add` what the scanner finds, in order."""

    def __init__(self) -> None:
        self.mode = array("H")
        self.uid = array("I")
        self.gid = array("I")
        self.seconds = array("q")
        self.nanoseconds = array("I")
        self.size = array("q")
        self.where = array("q")  # of data in the tar; a device's number
        self.flags = bytearray()
        columns = (
            self.mode,
            self.uid,
            self.gid,
            self.seconds,
            self.nanoseconds,
            self.size,
            self.where,
            self.flags,
        )
        self._appends = tuple(column.append for column in columns)
        self.dirs: dict[int, dict[bytes, int]] = {}
        self.links: dict[int, bytes] = {}
        self.xattrs: dict[int, dict[bytes, bytes]] = {}
        self.sparse: dict[int, tuple[int, array[int]]] = {}  # data's offset in the tar, segments
        self._text = 0
        self._links = 0
        self.parents: dict[int, int] = {}
        self._make_dir(0, IMPLIED)
        self._hidden = self._make_dir(
            0, IMPLIED
        )  # what lies under AUFS's own names, which hard links may refer to
        self._known: dict[bytes, int] = {}  # paths of directories
        self._last = b""
        self._here = 0
        self._children = self.dirs[0]

    def add(self, header: Header) -> None:
        """Take in one entry. Raises TarInvalid."""
        path = clean(header.name)
        directory, _, base = path.rpartition(b"/")
        if directory != self._last:
            self._here = self._directory(directory)
            self._children = self.dirs[self._here]
            self._last = directory
        children = self._children
        if base[:4] == WHITEOUT:
            self._whiteout(children, base, header)
            return
        if header.type is FILE:
            if not base:
                raise TarInvalid("the archive makes its root something other than a directory")
            existing = children.get(base)
            if existing is not None:
                self._forget(existing)
            number = children[base] = self._make(header, stat.S_IFREG, header.offset)
            if header.segments is not None:
                self.sparse[number] = header.offset, header.segments
            self._text += len(base)
            if self._text > _MOST_TEXT:
                raise TarInvalid(f"the archive has more than {_MOST_TEXT >> 20} MiB of names and attributes")
        elif header.type is DIR:
            self._add_dir(path=path, children=children, base=base, header=header)
        elif header.type is HARDLINK:
            self._add_link(path=path, children=children, base=base, header=header)
        else:
            self._add_other(path=path, children=children, base=base, header=header)

    def add_files(self, files: PlainFiles, at: int) -> int:
        """Take in many plain files of one directory, whose first header stands at this offset of the tar; returns how
        many bytes they have there. Raises TarInvalid."""
        directory = clean(files.directory)
        self._here = self._directory(directory)
        self._children = children = self.dirs[self._here]
        self._last = directory
        first, count = len(self.flags), len(files.names)
        if first + count > _MOST_ENTRIES:
            raise TarInvalid(f"the archive has more than {_MOST_ENTRIES} entries")
        if not children.keys().isdisjoint(files.names):
            for name in files.names:
                if name in children:
                    self._forget(children[name])
        children.update(zip(files.names, range(first, first + count)))
        seconds = files.mtime // 1_000_000_000
        self.mode.extend([stat.S_IFREG | mode for mode in files.modes])
        self.uid.extend([files.uid] * count)
        self.gid.extend([files.gid] * count)
        self.seconds.extend([seconds] * count)
        self.nanoseconds.extend([files.mtime - seconds * 1_000_000_000] * count)
        self.size.extend(files.sizes)
        places = list(accumulate(spans(files.sizes), initial=at + BLOCK))
        end = places.pop()
        self.where.extend(places)
        self.flags += bytes(count)
        self._text += sum(map(len, files.names))
        self._count(b"")
        return end - BLOCK - at

    # --- the kinds ---------------------------------------------------------------------------------

    def _add_dir(self, path: bytes, children: dict[bytes, int], base: bytes, header: Header) -> None:
        here = self._here
        number = children.get(base) if path else 0
        if number is None or number not in self.dirs:
            flags = 0
            if number is not None:
                flags = OPAQUE if is_whiteout(self.mode[number], self.where[number]) else 0
                self._forget(number)
            children[base] = number = self._make_dir(here, flags)
            self._count(base)
        self.mode[number] = stat.S_IFDIR | header.mode
        self.uid[number], self.gid[number] = header.uid, header.gid
        self.seconds[number], self.nanoseconds[number] = header.seconds, header.nanoseconds
        self.flags[number] &= ~IMPLIED
        self.xattrs.pop(number, None)
        if header.xattrs:
            self._set_xattrs(number, header.xattrs)

    def _add_link(self, path: bytes, children: dict[bytes, int], base: bytes, header: Header) -> None:
        target = clean(header.link)
        number = self._find(target)
        if number is None or number in self.dirs or is_whiteout(self.mode[number], self.where[number]):
            what = "is a directory" if number in self.dirs else "is not in the layer"
            raise TarInvalid(f"{_show(path)} is a hard link to {_show(target)}, which {what}")
        if not path:
            raise TarInvalid("the archive makes its root something other than a directory")
        existing = children.get(base)
        if existing is not None and existing != number:
            self._forget(existing)
        children[base] = number
        self._links += 1
        self._count(base)

    def _add_other(self, path: bytes, children: dict[bytes, int], base: bytes, header: Header) -> None:
        if not path:
            raise TarInvalid("the archive makes its root something other than a directory")
        where = 0
        if header.type is SYMLINK:
            if not header.link or len(header.link) > _LONGEST_PATH:
                raise TarInvalid(f"the symbolic link {_show(path)} has a target that is empty or too long")
        elif header.type != "fifo":
            where = _device(header)
        existing = children.get(base)
        if existing is not None:
            self._forget(existing)
        number = children[base] = self._make(header, _MODES[header.type], where)
        if header.type is SYMLINK:
            self.mode[number] |= 0o777  # Linux has no other mode for links, whatever the archive says
            self.links[number] = header.link
            self.size[number] = len(header.link)
            self._text += len(header.link)
        self._count(base)

    def _whiteout(self, children: dict[bytes, int], base: bytes, header: Header) -> None:
        """Whiteouts speak of the layers below only: what this layer holds itself stays (layer.md, "Whiteouts")."""
        if base == OPAQUE_MARK:
            self.flags[self._here] |= OPAQUE
            return
        if base[:8] == META:
            return
        name = base[4:]
        if name in (b"", b".", b".."):
            raise TarInvalid(f"the archive has the whiteout {_show(base)}")
        existing = children.get(name)
        if existing is None:
            children[name] = self._make(header._replace(xattrs=None, size=0), stat.S_IFCHR, 0)
            self._count(name)
        elif existing in self.dirs:
            self.flags[existing] |= OPAQUE

    def expand_tail(self, tar_size: int) -> None:
        """A file that ends in an unpadded last block is read from a copy: the kernel reads whole blocks only."""
        whole = tar_size - tar_size % BLOCK
        for number in range(len(self.mode) - 1, 0, -1) if whole != tar_size else ():
            if (
                self.mode[number] & 0o170000 == stat.S_IFREG
                and number not in self.sparse
                and self.where[number] + self.size[number] > whole
            ):
                self.sparse[number] = self.where[number], array("q", (0, self.size[number]))

    # --- inodes ------------------------------------------------------------------------------------

    def _make(self, header: Header, kind: int, where: int) -> int:
        number = len(self.flags)
        _, _, mode, uid, gid, seconds, nanoseconds, size, _, _, _, xattrs, _, _ = header
        add_mode, add_uid, add_gid, add_seconds, add_nanoseconds, add_size, add_where, add_flags = (
            self._appends
        )
        add_mode(kind | mode)
        add_uid(uid)
        add_gid(gid)
        add_seconds(seconds)
        add_nanoseconds(nanoseconds)
        add_size(size)
        add_where(where)
        add_flags(0)
        if xattrs:
            self._set_xattrs(number, xattrs)
        if number > _MOST_ENTRIES:
            raise TarInvalid(f"the archive has more than {_MOST_ENTRIES} entries")
        return number

    def _make_dir(self, parent: int, flags: int) -> int:
        number = len(self.mode)
        self.mode.append(stat.S_IFDIR | 0o755)
        for column in (self.uid, self.gid, self.seconds, self.nanoseconds, self.size, self.where):
            column.append(0)
        self.flags.append(flags)
        self.dirs[number] = {}
        self.parents[number] = parent
        if number > _MOST_ENTRIES:
            raise TarInvalid(f"the archive has more than {_MOST_ENTRIES} entries")
        return number

    def _count(self, base: bytes) -> None:
        self._text += len(base)
        if self._text > _MOST_TEXT or self._links > _MOST_ENTRIES:
            raise TarInvalid("the archive has too many entries, or too long names and attributes")

    def _set_xattrs(self, number: int, xattrs: dict[bytes, bytes]) -> None:
        self.xattrs[number] = xattrs
        self._text += sum(len(name) + len(value) + 100 for name, value in xattrs.items())

    def _forget(self, number: int) -> None:
        """A name is about to point elsewhere: paths through a directory or symbolic link may no longer hold."""
        if number in self.dirs or number in self.links:
            self._known.clear()
            self._last = b""
            self._here = 0
            self._children = self.dirs[0]

    # --- paths -------------------------------------------------------------------------------------

    def _directory(self, path: bytes) -> int:
        """The directory's inode; made when nothing mentions it. Symbolic links are followed inside the layer."""
        number = self._walk(path, make=True)
        assert number is not None
        return number

    def _find(self, path: bytes) -> int | None:
        """What the path names, its last part not followed; None when there is no such thing."""
        directory, _, base = path.rpartition(b"/")
        parent = self._walk(directory, make=False)
        if not base:
            return 0
        return None if parent is None else self.dirs[parent].get(base)

    def _walk(self, path: bytes, *, make: bool) -> int | None:
        """From the longest prefix that is known, down to the path."""
        known = self._known
        prefix = path
        while prefix and prefix not in known:
            prefix = prefix.rpartition(b"/")[0]
        number: int | None = known[prefix] if prefix else 0
        at = len(prefix)
        while at < len(path):
            start = at + 1 if at else 0
            at = path.find(b"/", start)
            at = len(path) if at < 0 else at
            part = path[start:at]
            if not start and part[:8] == META:
                number = self._hidden
            assert number is not None
            number = self._step(number=number, part=part, path=path, make=make, budget=_MOST_STEPS)
            if number is None:
                return None
            if len(known) >= _CACHED_PATHS:
                known.clear()
            known[path[:at]] = number
        return number

    def _step(self, number: int, part: bytes, path: bytes, make: bool, budget: int) -> int | None:
        """One part down from a directory; through symbolic links, `budget` parts at most."""
        todo = [part]
        while todo:
            part = todo.pop()
            budget -= 1
            if budget < 0:
                raise TarInvalid(f"{_show(path)} leads through too many symbolic links")
            if part == b"..":
                number = self.parents[number]
                continue
            if not part or part == b".":
                continue
            children = self.dirs[number]
            child = children.get(part)
            if child is None or is_whiteout(self.mode[child], self.where[child]):
                if not make:
                    return None
                if len(part) > _LONGEST_NAME:
                    raise TarInvalid(f"the name {_show(part)} is too long")
                child = children[part] = self._make_dir(
                    number, IMPLIED if child is None else IMPLIED | OPAQUE
                )
                self._count(part)
            elif child in self.links:
                target = self.links[child]
                if target[:1] == b"/":
                    number = 0
                todo.extend(target.split(b"/")[::-1])
                continue
            elif child not in self.dirs:
                if not make:
                    return None
                raise TarInvalid(
                    f"the archive has {_show(path)} below {_show(part)}, which is not a directory"
                )
            number = child
        return number


def _device(header: Header) -> int:
    """Linux's new_encode_dev. Raises TarInvalid."""
    if not (0 <= header.major < 1 << 12 and 0 <= header.minor < 1 << 20):
        raise TarInvalid(
            f"{_show(header.name)} is a device {header.major},{header.minor}, which Linux cannot have"
        )
    return (header.minor & 0xFF) | header.major << 8 | (header.minor & ~0xFF) << 12
