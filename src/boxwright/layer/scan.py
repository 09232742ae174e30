"""The streaming scanner of tar headers: bytes in, entries with the offsets of their data out.

Reads v7, ustar, star, GNU (long names, base-256, sparse) and PAX. What is malformed raises TarInvalid, what Go's
archive/tar tolerates (no end mark, no final padding, anything after the end mark) passes. The scanner keeps no
entries: memory is bounded by one header and its extensions, whatever the archive claims.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable
from struct import Struct

from boxwright.layer import pax
from boxwright.layer.pax import TarInvalid as TarInvalid
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


BLOCK: Final = 512
FILE, DIR, SYMLINK, HARDLINK, CHAR, BLOCKDEV, FIFO = (
    "file",
    "dir",
    "symlink",
    "hardlink",
    "char",
    "block",
    "fifo",
)

_FIELDS = Struct("100s8s8s8s12s12s8sc100s8s32x32x8s8s155s12s")
_ZERO = bytes(BLOCK)
_LARGEST = 1 << 50  # bytes of one file, far above any disk
_ADLER = 65521
_NO_ID = 0xFFFFFFFF
_tuple = tuple.__new__
_TYPES = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHAR,
    b"4": BLOCKDEV,
    b"5": DIR,
    b"6": FIFO,
}


class Header(NamedTuple):
    """One entry. Names are as the archive has them; `offset` is where the data start in the stream."""

    name: bytes
    type: str
    mode: int  # permission bits only
    uid: int
    gid: int
    seconds: int
    nanoseconds: int
    size: int  # of the content, holes included; 0 for everything but files
    link: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes] | None
    offset: int
    segments: array[int] | None  # offset, length, offset, … of a sparse file's stored parts


class _Numbers(dict[bytes, int]):
    """Parsed number fields; few different ones occur."""

    def __missing__(self, field: bytes) -> int:
        if len(self) > 4096:
            self.clear()
        value = self[field] = pax.octal(field)
        return value


class _Sums(dict[bytes, int]):
    """What all bytes of a header must add up to (modulo _ADLER), by its checksum field."""

    def __missing__(self, field: bytes) -> int:
        if len(self) > 8192:
            self.clear()
        value = self[field] = pax.octal(field) - 8 * 32 + sum(field)
        return value


class Scanner:
    """Feed it the archive in pieces of any size; call `finish` at the end.

    A reader that can seek may leave out the next `skippable` bytes of the stream by calling `skip`.
    """

    def __init__(self) -> None:
        self.position = 0  # of the next byte to be fed
        self.skippable = 0
        self._padding = 0  # of the skippable bytes, how many may be missing at the end
        self._zeros = 0
        self._carry = b""
        self._numbers = _Numbers()
        self._sums = _Sums()
        self._out: list[Header] = []
        self._payload = bytearray()
        self._wanted = 0
        self._data_at = 0
        self._handler: Callable[[bytes], None] | None = None
        self._extended: pax.Extended | None = None
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None

    def skip(self, count: int) -> None:
        """Pass over bytes that hold no header, without their being fed."""
        assert count <= self.skippable
        self.skippable -= count
        self.position += count

    def feed(self, data: bytes | bytearray | memoryview) -> list[Header]:
        """The entries whose headers end in this piece. Raises TarInvalid."""
        out = self._out = []
        base, at, length = self.position, 0, len(data)
        if self._carry:
            base -= len(self._carry)
            data = self._carry + bytes(data)
            length = len(data)
            self._carry = b""
        self.position = base + length
        while at < length:
            if self.skippable:
                count = min(self.skippable, length - at)
                self.skippable -= count
                at += count
                if at >= length:
                    break
            if self._handler is not None:
                at += self._collect(data[at : at + self._wanted], base + at)
            elif self._zeros == 2:
                break
            elif length - at < BLOCK:
                self._carry = bytes(data[at:])
                break
            else:
                at += BLOCK
                self._header(bytes(data[at - BLOCK : at]), base + at)
        return out

    def finish(self) -> None:
        """Say that the stream has ended. Raises TarInvalid when it was cut off."""
        if self._zeros < 2 and (self._carry or self._handler is not None or self.skippable > self._padding):
            raise TarInvalid("the archive is cut off", hint="fetch or make it again")

    def _collect(self, piece: bytes | bytearray | memoryview, base: int) -> int:
        self._payload += piece
        self._wanted -= len(piece)
        if not self._wanted:
            payload, handler = bytes(self._payload), self._handler
            self._payload.clear()
            self._handler = None
            self._data_at = base + len(piece)  # what a handler reports as the place of the data
            assert handler is not None
            handler(payload)
        return len(piece)

    def _want(self, count: int, handler: Callable[[bytes], None]) -> None:
        self._wanted = count
        self._handler = handler
        if not count:
            self._handler = None
            handler(b"")

    def _header(self, block: bytes, offset: int) -> None:
        if block == _ZERO:
            self._zeros += 1
            return
        if self._zeros:
            raise TarInvalid("the archive has a single zero block in its middle")
        name, mode, uid, gid, size_field, mtime, checksum, flag, link, magic, major, minor, prefix, tail = (
            _FIELDS.unpack(block)
        )
        numbers = self._numbers
        # The low half of Adler-32 is the sum of the bytes modulo a prime: 20 times faster than sum().
        if ((zlib.adler32(block, 0) & 0xFFFF) - self._sums[checksum]) % _ADLER:
            _check_signed(block, pax.octal(checksum))
        digits = size_field[:11]
        try:
            size = int(digits, 8) if digits.isdigit() and size_field[11] <= 32 else pax.octal(size_field)
        except ValueError:
            size = pax.octal(size_field)
        kind = _TYPES.get(flag)
        if kind is None:
            self._special(flag, size)
            return
        name = name.partition(b"\0")[0]
        link = link.partition(b"\0")[0] if link[0] else b""
        if magic[:6] == b"ustar\0" and prefix[0]:
            if tail[8:] == b"tar\0":  # star keeps times in the prefix's last bytes
                prefix = prefix[:131]
            name = prefix.partition(b"\0")[0] + b"/" + name
        elif prefix[0] and magic == b"ustar  \0" and (directory := _mistaken_prefix(prefix)):
            name = directory + b"/" + name
        seconds, nanoseconds, xattrs = numbers[mtime], 0, None
        owner, group = numbers[uid], numbers[gid]
        extended = self._extended
        if extended is not None or self._long_name is not None or self._long_link is not None:
            name, link, size, owner, group, seconds, nanoseconds, xattrs = self._extend(
                name=name, link=link, size=size, uid=owner, gid=group, seconds=seconds
            )
        device_major = device_minor = 0
        if flag == b"\0" and name[-1:] == b"/":  # v7 has no type for directories
            kind = DIR
        if kind is not FILE:
            size = 0
            if kind is CHAR or kind is BLOCKDEV:
                device_major, device_minor = numbers[major], numbers[minor]
        elif not 0 <= size <= _LARGEST:
            raise TarInvalid(f"{name[:200]!r} has the size {size}")
        if not (0 <= owner < _NO_ID and 0 <= group < _NO_ID):
            owner, group = _id(owner), _id(group)
        # Without the named tuple's own __new__, which takes as long as all number fields together.
        header = _tuple(
            Header,
            (
                name,
                kind,
                numbers[mode] & 0o7777,
                owner,
                group,
                seconds,
                nanoseconds,
                size,
                link,
                device_major,
                device_minor,
                xattrs,
                offset,
                None,
            ),
        )
        if flag == b"S" or (extended is not None and extended.sparse):
            self._sparse(header, block, extended)
        else:
            self._out.append(header)
            self._padding = -size % BLOCK
            self.skippable = size + self._padding

    def _pass(self, size: int) -> None:
        self._padding = -size % BLOCK
        self.skippable = size + self._padding

    def _extend(
        self, name: bytes, link: bytes, size: int, uid: int, gid: int, seconds: int
    ) -> tuple[bytes, bytes, int, int, int, int, int, dict[bytes, bytes] | None]:
        """What the extended headers before this one say instead."""
        nanoseconds, xattrs, extended = 0, None, self._extended
        if extended is not None:
            name = extended.path or name
            link = extended.link or link
            size = size if extended.size is None else extended.size
            uid = uid if extended.uid is None else extended.uid
            gid = gid if extended.gid is None else extended.gid
            if extended.mtime is not None:
                seconds, nanoseconds = extended.mtime
            xattrs = extended.xattrs
            self._extended = None
        if self._long_name is not None:
            name, self._long_name = self._long_name, None
        if self._long_link is not None:
            link, self._long_link = self._long_link, None
        return name, link, size, uid, gid, seconds, nanoseconds, xattrs

    def _special(self, flag: bytes, size: int) -> None:
        """Entries that describe the next one (extended headers), or none."""
        if not 0 <= size <= _LARGEST:
            raise TarInvalid(f"an extended header has the size {size}")
        if flag in (b"g", b"V"):  # Docker ignores global PAX headers too
            self._pass(size)
            return
        handlers = {
            b"x": self._on_pax,
            b"X": self._on_pax,
            b"L": self._on_long_name,
            b"K": self._on_long_link,
        }
        handler = handlers.get(flag)
        if handler is None:
            raise TarInvalid(
                f"the archive has an entry of type {flag.decode('latin-1')!r}, which no layer may hold"
            )
        if size > pax.LIMIT:
            raise TarInvalid(f"an extended header claims {size} bytes; at most {pax.LIMIT} are accepted")
        self._want(size + -size % BLOCK, lambda payload: handler(payload[:size]))

    def _on_pax(self, payload: bytes) -> None:
        self._extended = pax.parse(payload)

    def _on_long_name(self, payload: bytes) -> None:
        self._long_name = payload.partition(b"\0")[0]

    def _on_long_link(self, payload: bytes) -> None:
        self._long_link = payload.partition(b"\0")[0]

    # --- sparse files: collect the map, then report the entry with its data's true place ------------

    def _sparse(self, header: Header, block: bytes, extended: pax.Extended | None) -> None:
        stored = header.size
        if header.type != FILE:
            raise TarInvalid(f"{header.name[:200]!r} is sparse and not a file")
        if extended is not None and extended.sparse:
            header = header._replace(size=stored if extended.real_size is None else extended.real_size)
            if extended.segments is None:
                self._map(header=header, stored=stored, text=bytearray(), lines=0)
            else:
                self._emit_sparse(
                    header=header, stored=stored, offset=header.offset, segments=extended.segments
                )
            return
        segments: array[int] = array("q")
        pax.sparse_block(block=block, start=386, count=4, into=segments)
        header = header._replace(size=pax.octal(block[483:495]))
        if block[482]:
            self._want(
                BLOCK,
                lambda more: self._on_sparse_block(
                    header=header, stored=stored, segments=segments, block=more
                ),
            )
        else:
            self._emit_sparse(header=header, stored=stored, offset=header.offset, segments=segments)

    def _on_sparse_block(self, header: Header, stored: int, segments: array[int], block: bytes) -> None:
        pax.sparse_block(block=block, start=0, count=21, into=segments)
        if block[504]:
            self._want(
                BLOCK,
                lambda more: self._on_sparse_block(
                    header=header, stored=stored, segments=segments, block=more
                ),
            )
        else:
            self._emit_sparse(header=header, stored=stored, offset=self._data_at, segments=segments)

    def _map(self, header: Header, stored: int, text: bytearray, lines: int) -> None:
        """GNU 1.0: the map fills whole blocks before the data."""

        def more(block: bytes) -> None:
            text.extend(block)
            found = lines + block.count(b"\n")
            wanted = pax.sparse_map_lines(text)
            if wanted and found >= wanted:
                self._emit_sparse(
                    header=header,
                    stored=stored - len(text),
                    offset=self._data_at,
                    segments=pax.sparse_map(text),
                )
            else:
                self._map(header=header, stored=stored, text=text, lines=found)

        if len(text) + BLOCK > stored or len(text) >= 4 * pax.LIMIT:
            raise TarInvalid(f"{header.name[:200]!r} has a sparse map that does not end")
        self._want(BLOCK, more)

    def _emit_sparse(self, header: Header, stored: int, offset: int, segments: array[int]) -> None:
        if not 0 <= header.size <= _LARGEST:
            raise TarInvalid(f"{header.name[:200]!r} has the size {header.size}")
        pax.check_segments(segments, stored, header.size)
        self._out.append(header._replace(offset=offset, segments=segments))
        self._pass(stored)


def _check_signed(block: bytes, wanted: int) -> None:
    """Some old writers summed signed bytes; anything else is damage."""
    parts = block[:148] + b" " * 8 + block[156:]
    if sum(parts) != wanted and sum(byte - 256 if byte > 127 else byte for byte in parts) != wanted:
        raise TarInvalid(
            "a tar header has a wrong checksum", hint="the file is damaged, or is not a tar archive"
        )


def _mistaken_prefix(field: bytes) -> bytes:
    """GNU headers have times where ustar has a prefix; Go before 1.8 wrote a prefix there all the same. b'' for
    times."""
    try:
        for time in (field[:12], field[12:24]):
            if time[0]:
                pax.octal(time)
    except TarInvalid:
        prefix = field.partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""


def _id(value: int) -> int:
    """A user or group id; negative ones wrap as they do in the kernel."""
    if 0 <= value < 0xFFFFFFFF:
        return value
    if -(1 << 31) <= value < -1:
        return value & 0xFFFFFFFF
    raise TarInvalid(f"the archive has the user or group id {value}")
