"""Extended headers of a tar: PAX records, numbers, sparse maps. Pure functions over untrusted bytes.

Sources: POSIX.1-2017 pax; GNU tar manual, "Storing Sparse Files"; star(5) for SCHILY.xattr; libarchive's tar(5)
for LIBARCHIVE.xattr. Where readers disagree, this follows Go's archive/tar, which Docker and containerd use.
"""

from __future__ import annotations

from array import array

from boxwright.errors import Invalid
from boxwright.spec.hints import NamedTuple

LIMIT = 1 << 20  # bytes of one extended header; Go's maxSpecialFileSize
_XATTR_NAME = 255
_XATTR_VALUE = 65535
_XATTR_TOTAL = 200_000  # bytes of one entry; an EROFS inode holds 262 KB, ext4 far less
_LONGEST_NUMBER = 64  # characters; some writers pad with zeros
_MOST_SEGMENTS = 1 << 17  # of one sparse file


class TarInvalid(Invalid):
    """The archive is malformed, or holds what no layer may hold."""


class Extended(NamedTuple):
    """What PAX records say of the entry that follows; None where they say nothing."""

    path: bytes | None
    link: bytes | None
    size: int | None
    uid: int | None
    gid: int | None
    mtime: tuple[int, int] | None  # seconds, nanoseconds
    xattrs: dict[bytes, bytes] | None
    sparse: str  # '', '0' (the map is in `segments`) or '1' (the map stands before the data)
    real_size: int | None
    segments: array[int] | None


def octal(field: bytes) -> int:
    """A header's number: octal text, or base-256 when the top bit of its first byte is set. Raises TarInvalid."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if value >> (bits - 1):
            value -= 1 << bits
        if not -(1 << 63) <= value < 1 << 63:
            raise TarInvalid("a number in a tar header does not fit 64 bits")
        return value
    text = field.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    try:
        # int() would take '_', '+' and '0o'.
        if text.isdigit():
            return int(text, 8)
    except ValueError:
        pass
    raise TarInvalid(f"a tar header has the number {text[:24]!r}, which is not octal")


def decimal(text: bytes, *, negative: bool = False) -> int:
    """A PAX number. Raises TarInvalid."""
    sign, digits = (text[:1], text[1:]) if negative and text[:1] == b"-" else (b"", text)
    significant = digits.lstrip(b"0") or b"0"
    if not digits.isdigit() or len(significant) > 19:
        raise TarInvalid(f"a PAX record has the number {text[:24]!r}")
    value = int(sign + significant)
    if value >= 1 << 63:
        raise TarInvalid("a number in a PAX record does not fit 64 bits")
    return value


def time_value(text: bytes) -> tuple[int, int]:
    """A PAX time such as ``-12.5``, as whole seconds (rounded down) and nanoseconds. Raises TarInvalid."""
    whole, dot, fraction = text.partition(b".")
    seconds = decimal(whole, negative=True) if whole not in (b"", b"-") else 0
    if not dot or not fraction:
        return seconds, 0
    if not fraction.isdigit():
        raise TarInvalid(f"a PAX record has the time {text[:24]!r}")
    nanoseconds = int(fraction[:9].ljust(9, b"0"))
    if text[:1] == b"-" and nanoseconds:
        return seconds - 1, 1_000_000_000 - nanoseconds
    return seconds, nanoseconds


def records(payload: bytes) -> list[tuple[bytes, bytes]]:
    """Split ``LENGTH KEY=VALUE\\n`` records. Raises TarInvalid."""
    out: list[tuple[bytes, bytes]] = []
    at = 0
    end = len(payload)
    while at < end:
        blank = payload.find(b" ", at, at + _LONGEST_NUMBER)
        if blank < 0:
            if not payload[at:].strip(b"\0"):
                break
            raise TarInvalid("a PAX record has no length")
        length = payload[at:blank]
        if not length.isdigit():
            raise TarInvalid(f"a PAX record has the length {length!r}")
        stop = at + decimal(length)
        equals = payload.find(b"=", blank, stop)
        if stop > end or stop <= blank + 2 or payload[stop - 1] != 10 or equals <= blank + 1:
            raise TarInvalid("a PAX record is malformed")
        out.append((payload[blank + 1 : equals], payload[equals + 1 : stop - 1]))
        at = stop
    return out


def parse(payload: bytes) -> Extended:
    """Read the payload of an ``x`` header. Raises TarInvalid."""
    values: dict[bytes, bytes] = {}
    xattrs: dict[bytes, bytes] = {}
    sparse_text: list[bytes] = []
    for key, value in records(payload):
        if key.startswith((b"SCHILY.xattr.", b"LIBARCHIVE.xattr.")):
            _add_xattr(xattrs, key, value)
        elif key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            if len(sparse_text) % 2 != (key == b"GNU.sparse.numbytes"):
                raise TarInvalid("a sparse map is out of order")
            sparse_text.append(value)
        else:
            values[key] = value
    for key in (b"path", b"linkpath", b"GNU.sparse.name"):
        if b"\0" in values.get(key, b""):
            raise TarInvalid(f"the PAX record {key.decode()} contains a NUL byte")
    if sparse_text and b"GNU.sparse.map" not in values:
        values[b"GNU.sparse.map"] = b",".join(sparse_text)
    version = values.get(b"GNU.sparse.major", b""), values.get(b"GNU.sparse.minor", b"")
    sparse, segments = "", None
    if version == (b"1", b"0"):
        sparse = "1"
    elif version in ((b"0", b"0"), (b"0", b"1")) or values.get(b"GNU.sparse.map"):
        sparse, segments = "0", _map_of(values.get(b"GNU.sparse.map", b""))
    get = values.get
    size, uid, gid, mtime = get(b"size"), get(b"uid"), get(b"gid"), get(b"mtime")
    real = get(b"GNU.sparse.size") or get(b"GNU.sparse.realsize") if sparse else None
    return Extended(
        (get(b"GNU.sparse.name") if sparse else None) or get(b"path") or None,
        get(b"linkpath") or None,
        decimal(size) if size else None,
        decimal(uid, negative=True) if uid else None,
        decimal(gid, negative=True) if gid else None,
        time_value(mtime) if mtime else None,
        xattrs or None,
        sparse,
        decimal(real) if real else None,
        segments,
    )


def _add_xattr(xattrs: dict[bytes, bytes], key: bytes, value: bytes) -> None:
    name = key.partition(b".xattr.")[2]
    if key.startswith(b"LIBARCHIVE"):
        name, value = _from_libarchive(name, value)
    if not name or b"\0" in name or len(name) > _XATTR_NAME or len(value) > _XATTR_VALUE:
        raise TarInvalid(f"the extended attribute {name[:80]!r} has no valid name or is too large")
    # What overlayfs keeps there would let an archive redirect lookups to other directories.
    if not name.startswith((b"trusted.overlay.", b"user.overlay.")):
        xattrs[name] = value
        if sum(len(n) + len(v) + 8 for n, v in xattrs.items()) > _XATTR_TOTAL:
            raise TarInvalid(f"an entry has more than {_XATTR_TOTAL} bytes of extended attributes")


def _from_libarchive(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Names are URL-encoded, values are base64 without padding."""
    import binascii
    import re

    name = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m.group(1), 16),)), name)
    try:
        return name, binascii.a2b_base64(value + b"=" * (-len(value) % 4))
    except binascii.Error as error:
        raise TarInvalid(f"the extended attribute {name[:80]!r} is not base64") from error


def _map_of(text: bytes) -> array[int]:
    numbers = text.split(b",") if text else []
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_SEGMENTS:
        raise TarInvalid("a sparse map is incomplete or too long")
    return array("q", [decimal(number) for number in numbers])


def sparse_block(block: bytes, start: int, count: int, into: array[int]) -> None:
    """Old GNU: `count` pairs of 12-byte numbers at `start`; an empty one ends the list."""
    if len(into) > 2 * _MOST_SEGMENTS:
        raise TarInvalid("a sparse map is too long")
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            return
        into.append(octal(block[at : at + 12]))
        into.append(octal(block[at + 12 : at + 24]))


def sparse_map_lines(text: bytearray) -> int:
    """GNU 1.0: how many lines the map has, once its first is there; 0 before. Raises TarInvalid."""
    end = text.find(b"\n", 0, _LONGEST_NUMBER)
    if end < 0:
        if len(text) >= _LONGEST_NUMBER:
            raise TarInvalid("a sparse map is malformed")
        return 0
    count = decimal(bytes(text[:end]))
    if count > _MOST_SEGMENTS:
        raise TarInvalid("a sparse map is too long")
    return 1 + 2 * count


def sparse_map(text: bytearray) -> array[int]:
    """The complete map. Raises TarInvalid."""
    lines = bytes(text).split(b"\n")
    return array("q", [decimal(line) for line in lines[1 : sparse_map_lines(text)]])


def check_segments(segments: array[int], stored: int, size: int) -> None:
    """Segments must ascend, stay within the file and account for every stored byte. Raises TarInvalid."""
    end = total = 0
    for at in range(0, len(segments), 2):
        offset, length = segments[at], segments[at + 1]
        if offset < end or length < 0 or offset + length > size:
            raise TarInvalid("a sparse map has overlapping or overlong parts")
        end = offset + length
        total += length
    if total != stored:
        raise TarInvalid(f"a sparse map tells of {total} bytes where {stored} are stored")
