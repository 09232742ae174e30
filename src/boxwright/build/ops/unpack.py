"""ADD of an archive: its entries, re-rooted at the destination, become entries of the layer.

The archive is scanned once; a compressed one is inflated into an unnamed file first, so that the entries can be
written sorted. Names are taken as hostile: the destination is the root of all that is unpacked, for links as well,
those that are there already included (BuildKit changes its root there).
"""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Mapping

from boxwright.build.context.filetree import FileTree, TreeNode
from boxwright.build.ops.context import StepContext
from boxwright.build.ops.target import CopyRefused, LayerBuilder, Planned, hashed
from boxwright.errors import Invalid
from boxwright.files.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.build.ops.attributes import Attributes
    from boxwright.layer.scan import Header

_CHUNK = 1 << 20
_SMALL = 1 << 17
_BLOCK = 512
_MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


class AddedArchiveInvalid(Invalid):
    """A file that looked like an archive is broken, or names something impossible."""


def looks_packed(head: bytes) -> bool:
    """Whether a file that begins so could be an archive: compressed, or a tar's first header (V7 tars, which have
    no magic, are found by their checksum later)."""
    return head.startswith(_MAGICS) or (len(head) >= _BLOCK and _is_header(head[:_BLOCK]))


def _is_header(block: bytes) -> bool:
    try:
        said = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return said == sum(block[:148]) + 256 + sum(block[156:]) and any(block)


def unpack(
    builder: LayerBuilder, dest: str, tree: FileTree, node: TreeNode, attributes: Attributes, ctx: StepContext
) -> bool:
    """Plan the entries of an archive below `dest`; False when the file is no archive and is to be copied.

    Raises AddedArchiveInvalid, CopyRefused, TarInvalid.
    """
    content = tree.open(node)
    with io.BytesIO(content) if isinstance(content, bytes) else content as raw:
        head = raw.read(_BLOCK)
        if not looks_packed(head):
            return False
        packed = not _is_header(head) if len(head) == _BLOCK else True
        spool = _spool(raw=raw, head=head, packed=packed, ctx=ctx)
    if spool is None:
        return False
    top = builder.make_directory(dest, 0o755, *attributes.owner_or_root)
    links: dict[str, str] = {}
    for header in _headers(spool, ctx):
        _entry(builder=builder, top=top, header=header, spool=spool, attributes=attributes, links=links)
    return True


class _Spool:
    """An uncompressed tar in a file without a name; closed when nothing refers to it any more."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd, self.size = fd, size

    def __del__(self) -> None:
        os.close(self.fd)


def _spool(raw: BinaryIO, head: bytes, packed: bool, ctx: StepContext) -> _Spool | None:
    """The archive inflated; None when what was compressed is no tar."""
    from boxwright.files.disk import disk_errors
    from boxwright.layer.compress import Prefixed, open_decompressed

    stream: BinaryIO = io.BufferedReader(Prefixed(head, raw), _CHUNK)
    if packed:
        stream = open_decompressed(stream)
    directory = Places(ctx.services.root).ingests
    with disk_errors(str(directory)):
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    spool = _Spool(fd, 0)
    first = stream.read(_BLOCK)
    if len(first) < _BLOCK or not _is_header(first):
        return None
    chunk = first
    while chunk:
        ctx.check()
        view = memoryview(chunk)
        with disk_errors(str(directory)):
            while view:
                view = view[os.write(fd, view) :]
        spool.size += len(chunk)
        chunk = stream.read(_CHUNK)
    return spool


def _headers(spool: _Spool, ctx: StepContext) -> list[Header]:
    from boxwright.layer.scan import Scanner

    scanner = Scanner()
    found: list[Header] = []
    while scanner.position < spool.size:
        ctx.check()
        if scanner.skippable:
            scanner.skip(min(scanner.skippable, spool.size - scanner.position))
            continue
        data = os.pread(spool.fd, 1 << 16, scanner.position)
        if not data:
            break
        found += scanner.feed(data)
    scanner.finish()
    return found


def _entry(
    builder: LayerBuilder,
    top: str,
    header: Header,
    spool: _Spool,
    attributes: Attributes,
    links: dict[str, str],
) -> None:
    from boxwright.layer.tree import clean

    name = os.fsdecode(clean(header.name))
    if not name:
        return  # the archive's own root: the destination is what it is
    directory, _, base = name.rpartition("/")
    parent = builder.make_directory(directory, 0o755, top=top)
    path = f"{parent}/{base}" if parent else base
    if header.type == "hardlink":
        _link(builder=builder, top=top, path=path, header=header)
        return
    uid, gid = attributes.owner if attributes.owner is not None else (header.uid, header.gid)
    mtime = header.seconds * 1_000_000_000 + header.nanoseconds
    xattrs = {os.fsdecode(k): v for k, v in header.xattrs.items()} if header.xattrs else {}
    content = (
        _Part(spool=spool, offset=header.offset, size=header.size, segments=header.segments, xattrs=xattrs)
        if header.type == "file"
        else None
    )
    # Every file of an archive may be named again by a hard link.
    identity = (id(spool), header.offset) if header.type == "file" else None
    builder.replace(
        path,
        Planned(
            type=header.type,
            mode=header.mode,
            uid=uid,
            gid=gid,
            mtime_ns=mtime,
            size=header.size if header.type == "file" else 0,
            link=os.fsdecode(header.link),
            device=(header.major, header.minor),
            xattrs=xattrs,
            content=content,
            identity=identity,
            dated=True,
        ),
    )


def _link(builder: LayerBuilder, top: str, path: str, header: Header) -> None:
    from boxwright.layer.tree import clean

    target = os.fsdecode(clean(header.link))
    real = builder.real(target, follow_last=False, top=top)
    found = builder.linkable(real)
    if found is None:
        raise AddedArchiveInvalid(
            f"the archive has a hard link {path!r} to {target!r}, which is no file of it or of its destination"
        )
    if real != path:
        builder.replace(path, found)


class _Part:
    """A file's content within the spool, holes filled with zeros."""

    __slots__ = ("_offset", "_segments", "_size", "_spool", "_xattrs")

    def __init__(
        self, spool: _Spool, offset: int, size: int, segments: array[int] | None, xattrs: Mapping[str, bytes]
    ) -> None:
        self._spool, self._offset, self._size, self._segments, self._xattrs = (
            spool,
            offset,
            size,
            segments,
            xattrs,
        )

    def xattrs(self) -> Mapping[str, bytes]:
        return self._xattrs

    def origin(self) -> object:
        return None

    def digest(self) -> str:
        return hashed(self.open())

    def open(self) -> BinaryIO | bytes:
        if self._segments is None and self._size <= _SMALL:
            return os.pread(self._spool.fd, self._size, self._offset)
        pieces = [(0, self._size)]
        if self._segments is not None:
            pieces = list(zip(self._segments[0::2], self._segments[1::2]))
        return io.BufferedReader(
            _PartReader(spool=self._spool, offset=self._offset, size=self._size, pieces=pieces), _CHUNK
        )


class _PartReader(io.RawIOBase):
    """`pieces` are (place in the file, length) of what is stored, one behind the other from `offset` on."""

    def __init__(self, spool: _Spool, offset: int, size: int, pieces: list[tuple[int, int]]) -> None:
        self._spool, self._offset, self._size = spool, offset, size
        self._pieces = [p for p in pieces if p[1]]
        self._at = 0
        self._done = 0  # bytes of the current piece

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        want = min(len(buffer), self._size - self._at)
        if want <= 0:
            return 0
        if self._pieces and self._pieces[0][0] + self._done <= self._at:
            length = self._pieces[0][1]
            data = os.pread(self._spool.fd, min(want, length - self._done), self._offset)
            if not data:
                raise CopyRefused("the archive ends in the middle of a file")
            buffer[: len(data)] = data
            self._offset += len(data)
            self._done += len(data)
            if self._done == length:
                self._pieces.pop(0)
                self._done = 0
            self._at += len(data)
            return len(data)
        hole = (self._pieces[0][0] if self._pieces else self._size) - self._at
        count = min(want, hole)
        buffer[:count] = bytes(count)
        self._at += count
        return count
