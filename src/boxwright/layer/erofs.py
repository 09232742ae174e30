"""The index of a layer: a metadata-only EROFS image whose file data lie in the layer's tar.

    0      1024  1152            4096
    | zero | sb  | device slots  | inodes, each with its xattrs and short link target … | directories, long targets |

Blocks are 512 bytes because a tar's data begin at such boundaries; the tar is device 1 at block UNIADDR of the
unified address space, the expanded content of sparse files (if there are any) device 2 right behind it. nid =
offset / 32. Format: Linux, Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

import os
import stat
import sys
from array import array
from collections.abc import Iterator
from itertools import accumulate, chain
from struct import Struct

from boxwright.layer.scan import TarInvalid
from boxwright.layer.tree import IMPLIED, OPAQUE, LayerTree, is_whiteout
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final


BLOCK: Final = 512
UNIADDR: Final = 1 << 26  # 32 GiB, far above any index
_MOST_BLOCKS = (1 << 32) - UNIADDR - 2
META: Final = 4096  # bytes; where inodes begin
MAGIC: Final = 0xE0F5E1E2
IMPLIED_AT: Final = (
    1024 + 48
)  # in the uuid's place: how many directories, the root not counted, the tar only implies
SUPER: Final = Struct("<IIIBBHQQIIII16s16sI2xHH38x")
SLOT: Final = Struct("<64sII56x")
INODE: Final = Struct("<HHHHQIIIIqIIB15x")
DIRENT: Final = Struct("<QHBx")
PREFIXES: Final = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))
_ACLS = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_PLAIN, _INLINE = 1 | 0 << 1, 1 | 2 << 1
_FILE_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFLNK: 7,
}
_FLUSH = 1 << 20
_MANY = 8  # plain files from which on they are numbered and written at once
_SOME = 4096  # of them are in memory as they are written
# Columns are moved whole, as the machine has them; the format's numbers begin with their low bytes.
_COLUMNS = sys.byteorder == "little" and (array("H").itemsize, array("I").itemsize) == (2, 4)


class Summary(NamedTuple):
    """What an index holds: content of regular files (hard links once), names, and bytes of expanded sparse files."""

    bytes: int
    entries: int
    sparse: int


class _Output:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: list[bytes] = []
        self._size = 0
        self.position = 0

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self.position += len(data)
        self._size += len(data)
        if self._size >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        view = memoryview(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        while view:
            view = view[os.write(self._fd, view) :]


def encode_xattrs(xattrs: dict[bytes, bytes]) -> bytes:
    """An inode's inline attributes; those that Linux has no name space for are left out."""
    out = bytearray(12)
    for name, value in sorted(xattrs.items()):
        index, rest = _ACLS.get(name, 0), b""
        for prefix, number in PREFIXES:
            if name.startswith(prefix) and len(name) > len(prefix):
                index, rest = number, name[len(prefix) :]
        if index:
            out += bytes((len(rest), index)) + len(value).to_bytes(2, "little") + rest + value
            out += bytes(-len(out) % 4)
    return bytes(out) if len(out) > 12 else b""


class _Plan:
    """First pass: which inode lies where. Directories and sparse files get their size and block here."""

    def __init__(self, tree: LayerTree) -> None:
        self.tree = tree
        self.order = array("I")
        self.nids = array("Q", bytes(8 * len(tree.mode)))
        self.nlinks = array("I", bytes(4 * len(tree.mode)))
        self.runs: list[
            tuple[int, int, int]
        ] = []  # plain files: where in `order`, and the inodes, from and to
        self.folders = array("I")  # directories, in the order of their blocks
        self.long_links: list[int] = []
        self.bodies: dict[int, bytes] = {}  # encoded attributes
        self.packs: dict[int, Callable[..., bytes]] = {}  # so many entries of a directory
        self.position = META
        self.blocks = 0  # of directories and long links
        self.entries = 0
        self.bytes = 0
        self.sparse = 0
        self.implied = -(tree.flags[0] & IMPLIED)  # the root is numbered like the others
        self._number(0)
        todo = [(0, False)]
        while todo:
            folder, covered = todo.pop()
            # Nothing shines through an opaque directory. A whiteout there would only make the kernel list a name that
            # cannot be looked up: overlayfs does not filter directories that exist in one layer alone.
            covered = covered or bool(tree.flags[folder] & OPAQUE)
            if covered:
                self._drop_whiteouts(tree.dirs[folder])
            todo.extend((below, covered) for below in self._folder(folder))
        tree.sparse = {inode: parts for inode, parts in tree.sparse.items() if self.nlinks[inode]}

    def _drop_whiteouts(self, children: dict[bytes, int]) -> None:
        mode, where = self.tree.mode, self.tree.where
        for name in [name for name, child in children.items() if is_whiteout(mode[child], where[child])]:
            del children[name]

    def _folder(self, folder: int) -> list[int]:
        """Lay out one directory and number its children; returns those that are directories, last first."""
        tree, children = self.tree, self.tree.dirs[folder]
        self.entries += len(children)
        children[b"."], children[b".."] = folder, tree.parents[folder]
        ordered = {name: children[name] for name in sorted(children)}
        tree.dirs[folder] = ordered
        tree.size[folder] = _folder_size(ordered)
        tree.where[folder] = self.blocks
        self.blocks += (tree.size[folder] + BLOCK - 1) // BLOCK
        self.folders.append(folder)
        dirs, below = tree.dirs, []
        self.nlinks[folder] += 2
        inodes, start = list(ordered.values()), 0
        for at, (name, child) in enumerate(ordered.items()):
            if child in dirs:
                self._number_files(inodes[start:at])
                start = at + 1
                if name != b"." and name != b"..":
                    self.nlinks[folder] += 1
                    below.append(child)
                    self._number(child)
        self._number_files(inodes[start:])
        below.reverse()
        return below

    def _number_files(self, inodes: list[int]) -> None:
        """Number what stands one after the other in a directory and is none."""
        if len(inodes) >= _MANY and self._number_plain(inodes[0], inodes[-1] + 1, inodes):
            return
        nlinks = self.nlinks
        for inode in inodes:
            if not nlinks[inode]:
                self._number(inode)
            nlinks[inode] += 1

    def _number_plain(self, first: int, end: int, inodes: list[int]) -> bool:
        """The same at once, if these are files with nothing besides content, as they came one after the other."""
        tree = self.tree
        modes, run = tree.mode[first:end], range(first, end)
        if (
            not _COLUMNS
            or end - first != len(inodes)
            or array("I", inodes) != array("I", run)
            or min(modes) < stat.S_IFREG
            or max(modes) > stat.S_IFREG | 0o7777
            or any(tree.flags[first:end])
            or any(self.nlinks[first:end])
            or not tree.xattrs.keys().isdisjoint(run)
            or not tree.sparse.keys().isdisjoint(run)
        ):
            return False
        count, nid = len(inodes), self.position // 32
        self.runs.append((len(self.order), first, end))
        self.order.extend(run)
        self.nids[first:end] = array("Q", range(nid, nid + 2 * count, 2))
        self.nlinks[first:end] = array("I", [1]) * count
        self.bytes += sum(tree.size[first:end])
        self.position += 64 * count
        return True

    def _number(self, inode: int) -> None:
        tree, position = self.tree, self.position
        mode = tree.mode[inode]
        self.implied += tree.flags[inode] & IMPLIED
        size = 64
        if inode in tree.xattrs or tree.flags[inode] & OPAQUE:
            xattrs = dict(tree.xattrs.get(inode, ()))
            if tree.flags[inode] & OPAQUE:
                xattrs[b"trusted.overlay.opaque"] = b"y"
            self.bodies[inode] = body = encode_xattrs(xattrs)
            size += len(body)
        if mode & 0o170000 == stat.S_IFREG:
            self.bytes += tree.size[inode]
            if inode in tree.sparse:
                tree.where[inode] = self.sparse
                self.sparse += (tree.size[inode] + BLOCK - 1) & -BLOCK
        elif inode in tree.links:
            length = tree.size[inode]
            if size + length <= BLOCK:
                # An inline target must not cross a block: begin in the next one when it would.
                if (position + size) % BLOCK + length > BLOCK:
                    position += -position % BLOCK
                tree.where[inode] = -1
                size += length
            else:
                tree.where[inode] = self.blocks
                self.blocks += (length + BLOCK - 1) // BLOCK
                self.long_links.append(inode)
                self.folders.append(inode)
        self.nids[inode] = position // 32
        self.order.append(inode)
        self.position = position + size + -size % 32


def _folder_size(names: dict[bytes, int]) -> int:
    total = 12 * len(names) + sum(map(len, names))
    if total <= BLOCK:
        return total
    full = used = 0
    for name in names:
        need = 12 + len(name)
        if used + need > BLOCK:
            full += 1
            used = 0
        used += need
    return full * BLOCK + used


def write_index(tree: LayerTree, tar_size: int, fd: int) -> Summary:
    """Write the index of a tar of `tar_size` bytes to a file at its start. Uses the tree up. Raises TarInvalid,
    when the addresses do not suffice (2 TiB), and OSError."""
    tree.expand_tail(tar_size)
    plan = _Plan(tree)
    tar_blocks = tar_size // BLOCK
    if tar_blocks + plan.sparse // BLOCK > _MOST_BLOCKS:
        raise TarInvalid("the layer is larger than 2 TiB, sparse files expanded")
    out = _Output(fd)
    folders_at = (plan.position + BLOCK - 1) // BLOCK
    out.write(_front(plan, folders_at + plan.blocks, tar_blocks))
    _inodes(plan=plan, out=out, folders_at=folders_at, sparse_at=UNIADDR + tar_blocks)
    out.write(bytes(folders_at * BLOCK - out.position))
    for inode in plan.folders:
        if inode in tree.links:
            target = tree.links[inode]
            out.write(target + bytes(-len(target) % BLOCK))
        else:
            _folder(plan, inode, out)
    out.flush()
    return Summary(plan.bytes, plan.entries, plan.sparse)


def _front(plan: _Plan, blocks: int, tar_blocks: int) -> bytes:
    slots = [SLOT.pack(b"tar", tar_blocks, UNIADDR)]
    if plan.sparse:
        slots.append(SLOT.pack(b"sparse", plan.sparse // BLOCK, UNIADDR + tar_blocks))
    head = SUPER.pack(
        MAGIC,
        0,
        2,
        9,
        0,
        plan.nids[0],
        len(plan.order),
        0,
        0,
        blocks,
        0,
        0,
        plan.implied.to_bytes(16, "little"),
        b"boxwright-1",
        8,
        len(slots),
        9,
    )
    front = bytes(1024) + head + b"".join(slots)
    return front + bytes(META - len(front))


def _inodes(plan: _Plan, out: _Output, folders_at: int, sparse_at: int) -> None:
    tree, pack = plan.tree, INODE.pack
    mode, size, where, links, bodies, segments = (
        tree.mode,
        tree.size,
        tree.where,
        tree.links,
        plan.bodies,
        tree.sparse,
    )
    uid, gid, seconds, nanoseconds, nlinks, nids, flags = (
        tree.uid,
        tree.gid,
        tree.seconds,
        tree.nanoseconds,
        plan.nlinks,
        plan.nids,
        tree.flags,
    )
    at, runs = 0, iter(plan.runs)
    run, first, end = next(runs, (len(plan.order), 0, 0))
    while at < len(plan.order):
        if at == run:
            out.write(bytes(nids[first] * 32 - out.position))
            for some in range(first, end, _SOME):
                out.write(_plain(plan, some, min(some + _SOME, end)))
            at += end - first
            run, first, end = next(runs, (len(plan.order), 0, 0))
            continue
        number = plan.order[at]
        at += 1
        bits, layout, start = mode[number], _PLAIN, where[number]
        body = bodies.get(number, b"")
        tail = b""
        kind = bits & 0o170000
        if kind == stat.S_IFREG:
            start = sparse_at + start // BLOCK if number in segments else UNIADDR + (start >> 9)
        elif kind == stat.S_IFDIR:
            start += folders_at
        elif kind == stat.S_IFLNK:
            if start < 0:
                layout, start, tail = _INLINE, 0, links[number]
            else:
                start += folders_at
        record = pack(
            layout,
            (len(body) - 12) // 4 + 1 if body else 0,
            bits,
            0,
            size[number],
            start,
            number + 1,
            uid[number],
            gid[number],
            seconds[number],
            nanoseconds[number],
            nlinks[number],
            flags[number] & IMPLIED,
        )
        gap = nids[number] * 32 - out.position
        if gap or body or tail:
            record = bytes(gap) + record + body + tail
            record += bytes(-(len(record) - gap) % 32)
        out.write(record)


def _plain(plan: _Plan, first: int, end: int) -> bytes:
    """The inodes of a run of plain files, column by column: `INODE` of each."""
    tree, count = plan.tree, end - first
    records = bytearray(INODE.size * count)
    with memoryview(records) as view:
        halves, words, longs = view.cast("H"), view.cast("I"), view.cast("q")
        halves[0::32] = array("H", [_PLAIN]) * count
        halves[2::32] = tree.mode[first:end]
        longs[1::8] = tree.size[first:end]
        words[4::16] = array("I", [UNIADDR + (where >> 9) for where in tree.where[first:end]])
        words[5::16] = array("I", range(first + 1, end + 1))
        words[6::16] = tree.uid[first:end]
        words[7::16] = tree.gid[first:end]
        longs[4::8] = tree.seconds[first:end]
        words[10::16] = tree.nanoseconds[first:end]
        words[11::16] = plan.nlinks[first:end]
        for column in (halves, words, longs):
            column.release()
    return bytes(records)


def _folder(plan: _Plan, folder: int, out: _Output) -> None:
    nids, mode = plan.nids, plan.tree.mode
    children = plan.tree.dirs[folder]
    names, packs = list(children), plan.packs
    places = array("Q", [nids[inode] for inode in children.values()])
    kinds = bytes([_FILE_TYPES[mode[inode] & 0o170000] for inode in children.values()])
    start = used = 0
    for at, name in enumerate((*names, bytes(BLOCK))):
        need = 12 + len(name)
        if used + need > BLOCK:
            told = names[start:at]
            count = at - start
            if (pack := packs.get(count)) is None:
                pack = packs[count] = Struct("<" + DIRENT.format[1:] * count).pack
            offsets = accumulate(map(len, told), initial=12 * count)
            head = pack(*chain.from_iterable(zip(places[start:at], offsets, kinds[start:at])))
            out.write(b"".join((head, *told, bytes(BLOCK - used))))
            start, used = at, 0
        used += need


def sparse_parts(tree: LayerTree) -> Iterator[tuple[int, int, int]]:
    """After `write_index`: what to copy from the tar to the second device: (offset there, offset here, length)."""
    for inode, (data, segments) in tree.sparse.items():
        at = data
        for n in range(0, len(segments), 2):
            yield at, tree.where[inode] + segments[n], segments[n + 1]
            at += segments[n + 1]
