"""Canonical tars: the same entries give the same bytes, whatever the machine, umask or order of creation.

ustar headers with fixed fields (no user names, no atime or ctime); a PAX header only for what ustar cannot say.
`write_tree` walks siblings in byte order, a directory before what it holds."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping

from boxwright.content.verify import CHUNK
from boxwright.errors import Invalid
from boxwright.layer.scan import BLOCK, BLOCKDEV, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Header
from boxwright.layer.tree import OPAQUE_MARK, WHITEOUT
from boxwright.spec.hints import Protocol
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Final

    from boxwright.layer.tree import PlainFiles

_FLAGS: Final = {
    FILE: b"0",
    HARDLINK: b"1",
    SYMLINK: b"2",
    CHAR: b"3",
    BLOCKDEV: b"4",
    DIR: b"5",
    FIFO: b"6",
    "pax": b"x",
}
_FIRST = 32 << 10  # bytes of buffer before the first are written: most steps write few
_MOST_8 = 0o7777777
_MOST_12 = 0o77777777777


class EntryInvalid(Invalid):
    """A file cannot be kept in a layer."""


class ByteSink(Protocol):
    """Where a tar goes. A memoryview's bytes change after the call."""

    def write(self, data: bytes | memoryview, /) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a tar. `path` is relative, without a leading '/' or './'; '' is the root."""

    path: str
    type: str = FILE  # file, dir, symlink, hardlink, char, block or fifo
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0  # nanoseconds since the epoch
    size: int = 0  # of the data of a file
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class TarBuilder:
    """Writes entries in the order in which they come; a directory must come before what it holds.

    A sink that has `append` and `announce` (LayerWriter) is told the entries, and need not scan what it gets.
    """

    def __init__(self, sink: ByteSink) -> None:
        self._write = getattr(sink, "append", None) or sink.write
        self._announce = getattr(sink, "announce", None)
        # One buffer for headers and contents alike: files are read into it where they belong.
        self._buffer = bytearray(_FIRST)
        self._view = memoryview(self._buffer)
        self._used = 0
        self._room = _FIRST
        self.offset = 0  # bytes of tar so far
        self.entries = 0  # names, the root not counted
        self.content = 0  # bytes of regular files

    # --- for every caller --------------------------------------------------------------------------

    def add(self, entry: Entry, data: BinaryIO | bytes | int | None = None) -> None:
        """Write one entry; `data` of a file gives exactly `entry.size` bytes: bytes, a stream, or a descriptor that
        is read from its position. Raises EntryInvalid when it gives less."""
        kind = entry.type
        self.put(
            os.fsencode(entry.path),
            kind,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            mtime=entry.mtime_ns,
            size=entry.size if kind == FILE else 0,
            link=os.fsencode(entry.link),
            device=entry.device,
            xattrs={os.fsencode(name): value for name, value in entry.xattrs.items()},
        )
        if kind == FILE and entry.size:
            if isinstance(data, bytes):
                if len(data) != entry.size:
                    raise EntryInvalid(
                        f"{entry.path} has {len(data)} bytes, not the {entry.size} that were announced"
                    )
                self.content_bytes(data)
            elif isinstance(data, int):
                self.content_fd(data, entry.size, entry.path)
            elif data is not None:
                self.content_stream(data, entry.size, entry.path)
            else:
                raise EntryInvalid(f"{entry.path} has a size of {entry.size} bytes and no data")

    def whiteout(self, path: str) -> None:
        """Say that what lower layers have at this path is gone."""
        directory, slash, base = os.fsencode(path).rpartition(b"/")
        self.put(directory + slash + WHITEOUT + base, FILE, mode=0, uid=0, gid=0, mtime=0, size=0)

    def opaque(self, path: str) -> None:
        """Say that nothing below this directory comes from lower layers."""
        raw = os.fsencode(path)
        self.put((raw + b"/" if raw else b"") + OPAQUE_MARK, FILE, mode=0, uid=0, gid=0, mtime=0, size=0)

    def finish(self) -> None:
        """Write the end of the archive; the sink stays open."""
        self._emit(bytes(2 * BLOCK))
        self._flush()

    # --- without checks, for this package -------------------------------------------------------------

    def put(
        self,
        name: bytes,
        kind: str,
        *,
        mode: int,
        uid: int,
        gid: int,
        mtime: int,
        size: int,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        xattrs: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """A header; `size` bytes of content must follow for a file."""
        shown = name + b"/" if kind == DIR and name else name or b"./"
        seconds, nanoseconds = divmod(mtime, 1_000_000_000)
        short, prefix = shown, b""
        records: dict[bytes, bytes] = {}
        if len(shown) > 100:
            short, prefix, fits = _split(shown)
            if not fits:
                records[b"path"] = shown
        if len(link) > 100:
            records[b"linkpath"] = link
        if nanoseconds or not 0 <= seconds <= _MOST_12:
            records[b"mtime"] = _time(mtime)
        if uid > _MOST_8 or gid > _MOST_8 or size > _MOST_12:
            records.update(_beyond(uid, gid, size))
        if xattrs:
            records.update({b"SCHILY.xattr." + key: value for key, value in xattrs.items()})
        if records:
            self._put_records(records)
        self._emit(
            _header(
                name=short,
                prefix=prefix,
                mode=mode & 0o7777,
                uid=uid if uid <= _MOST_8 else 0,
                gid=gid if gid <= _MOST_8 else 0,
                size=size if size <= _MOST_12 else 0,
                mtime=seconds if 0 <= seconds <= _MOST_12 else 0,
                kind=kind,
                link=link[:100],
                device=device,
            )
        )
        self.entries += 1 if name else 0
        self.content += size
        if self._announce is not None:
            kept = dict(xattrs) if xattrs else None
            self._announce(
                Header(
                    name,
                    kind,
                    mode & 0o7777,
                    uid,
                    gid,
                    seconds,
                    nanoseconds,
                    size,
                    link,
                    *device,
                    kept,
                    self.offset,
                    None,
                )
            )

    def _put_records(self, records: Mapping[bytes, bytes]) -> None:
        """What the next header has no room for."""
        payload = b"".join(_record(key, records[key]) for key in sorted(records))
        self._emit(
            _header(
                name=b"././@PaxHeader",
                prefix=b"",
                mode=0o644,
                uid=0,
                gid=0,
                size=len(payload),
                mtime=0,
                kind="pax",
                link=b"",
                device=(0, 0),
            )
        )
        self._emit(payload + bytes(-len(payload) % BLOCK))

    def content_bytes(self, data: bytes) -> None:
        """All of a file's content."""
        self._emit(data)
        self._pad(len(data))

    def content_fd(self, fd: int, size: int, path: str | bytes) -> None:
        """A file's content from a descriptor; a file that shrank meanwhile raises EntryInvalid."""
        left = size
        while left:
            if self._used == self._room:
                self._flush()
            count = os.readv(fd, [self._view[self._used : self._used + left]])
            if not count:
                raise EntryInvalid(f"{os.fsdecode(path)} became shorter while it was read")
            self._used += count
            left -= count
        self.offset += size
        self._pad(size)

    def content_stream(self, stream: BinaryIO, size: int, path: str) -> None:
        """A file's content from a stream; one that ends early raises EntryInvalid."""
        left = size
        while left:
            data = stream.read(min(left, CHUNK))
            if not data:
                raise EntryInvalid(f"{path} ends {left} bytes before its size of {size}")
            self._emit(data)
            left -= len(data)
        self._pad(size)

    def content_holes(self, length: int, skip: Callable[[int], None]) -> None:
        """Zeros of a file's content, which the sink takes by its count."""
        self._flush()
        skip(length)
        self.offset += length

    def put_files(self, append: Callable[[PlainFiles], int], files: PlainFiles) -> None:
        """Files that `append` takes to the sink, headers and all; it tells how many bytes they have."""
        self._flush()
        self.offset += append(files)
        self.entries += len(files.names)
        self.content += sum(files.sizes)

    def copied(self, data: bytes) -> None:
        """Bytes of another archive, its headers too."""
        self._emit(data)

    def end_content(self, size: int) -> None:
        """After a content of `size` bytes that came in pieces."""
        self._pad(size)

    def _pad(self, size: int) -> None:
        if size % BLOCK:
            self._emit(_ZEROS[: -size % BLOCK])

    def _emit(self, data: bytes) -> None:
        count = len(data)
        self.offset += count
        end = self._used + count
        if end > self._room:
            self._flush()
            if count >= self._room:
                self._write(data)
                return
            end = count
        self._buffer[self._used : end] = data
        self._used = end

    def _flush(self) -> None:
        if self._used:
            self._write(self._view[: self._used])
            self._used = 0
            if self._room < CHUNK:
                self._buffer = bytearray(CHUNK)
                self._view = memoryview(self._buffer)
                self._room = CHUNK


def _split(name: bytes) -> tuple[bytes, bytes, bool]:
    """ustar's prefix: (name, prefix, whether that says it all). The first '/' that leaves a short enough name."""
    at = name.find(b"/", max(len(name) - 101, 1), 156)
    if 0 < at < len(name) - 1:
        return name[at + 1 :], name[:at], True
    return name[:100], b"", False


def _time(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return sign + b"%d" % seconds + (b".%09d" % rest).rstrip(b"0") if rest else sign + b"%d" % seconds


def _beyond(uid: int, gid: int, size: int) -> dict[bytes, bytes]:
    """The numbers that are too large for their fields."""
    fields = ((b"uid", uid, _MOST_8), (b"gid", gid, _MOST_8), (b"size", size, _MOST_12))
    return {key: b"%d" % value for key, value, most in fields if value > most}


def _record(key: bytes, value: bytes) -> bytes:
    """A PAX record, whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _header(
    *,
    name: bytes,
    prefix: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    kind: str,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    block = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000%b%07o\0%07o\0%b" % (
        name.ljust(100, b"\0"),
        mode,
        uid,
        gid,
        size,
        mtime,
        _FLAGS[kind],
        link.ljust(100, b"\0"),
        _NO_NAMES,
        *device,
        prefix.ljust(167, b"\0"),
    )
    # Adler-32's low half is the sum modulo 65521, which 512 ASCII characters cannot reach.
    total = zlib.adler32(block, 0) & 0xFFFF if block.isascii() else sum(block)
    return b"%b%06o\0 %b" % (block[:148], total, block[156:])


_NO_NAMES = bytes(64)
_ZEROS = bytes(BLOCK)
