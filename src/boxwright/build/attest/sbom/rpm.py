"""Packages of rpm: headers out of its database, which is SQLite (Fedora, RHEL 9) or ndb (SUSE).

The older Berkeley DB hash (RHEL 8 and before) is not read; the document says so where one is found.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

from boxwright.build.attest.sbom.package import Found, Package, line, usable
from boxwright.spec.purl import purl

_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENSE, _URL, _ARCH, _SOURCE = (
    1000, 1001, 1002, 1003, 1011, 1014, 1020, 1022, 1044,
)  # fmt: skip
_TEXTS = (_NAME, _VERSION, _RELEASE, _VENDOR, _LICENSE, _URL, _ARCH, _SOURCE)
_INT32, _STRINGS = 4, (6, 8, 9)
_MOST = 100_000  # packages of one database
_STEPS = 20_000_000  # of SQLite's virtual machine: what a database of our own making could never take
_LARGEST = 32 << 20  # bytes of one header
_LONGEST = 64 << 10  # bytes of one text


def sqlite(data: bytes, found: Found) -> Iterator[Package]:
    """``rpmdb.sqlite``: the headers of its table Packages."""
    connection = sqlite3.connect(":memory:")
    try:
        for header in _rows(connection, data):
            if (package := read_header(header, found)) is not None:
                yield package
    finally:
        connection.close()


def _rows(connection: sqlite3.Connection, data: bytes) -> list[bytes]:
    left = [_STEPS // 1000]

    def step() -> int:
        left[0] -= 1
        return left[0] < 0

    if len(data) > 20 and data[18:20] == b"\x02\x02":  # of a log that is not here: SQLite would look for it
        data = data[:18] + b"\x01\x01" + data[20:]
    rows: list[bytes] = []
    room = len(data)  # headers that lie in the same pages of it would be more
    try:
        connection.deserialize(data)
        connection.set_progress_handler(step, 1000)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON"):
            connection.execute(f"PRAGMA {pragma}")
        (kind,) = connection.execute("SELECT type FROM sqlite_master WHERE name = 'Packages'").fetchone() or (
            "",
        )
        if kind == "table":  # a view could be anything
            wanted = "typeof(blob) = 'blob' AND length(blob) <= ? ORDER BY hnum LIMIT ?"
            for (blob,) in connection.execute(f"SELECT blob FROM Packages WHERE {wanted}", (_LARGEST, _MOST)):
                room -= len(blob)
                if room < 0:
                    break
                rows.append(blob)
    except (sqlite3.Error, OverflowError, MemoryError, UnicodeDecodeError):
        pass  # what was read so far counts; SQLite's messages have names of the file, which may be no text
    return rows


def ndb(data: bytes, found: Found) -> Iterator[Package]:
    """``Packages.db``: slots that say where the headers lie."""
    if data[:4] != b"RpmP" or len(data) < 32:
        return
    (pages,) = struct.unpack_from("<I", data, 12)
    end = min(pages * 4096, len(data), _MOST * 16)
    room = len(data)  # slots that lead to the same header would need more
    for at in range(32, end - 15, 16):
        magic, number, offset, count = struct.unpack_from("<4sIII", data, at)
        start = offset * 16
        if magic != b"Slot" or not number or not count or start + 16 > len(data):
            continue
        begin, _, _, size = struct.unpack_from("<4sIII", data, start)
        header = data[start + 16 : start + 16 + size] if begin == b"BlbS" and size <= _LARGEST else b""
        room -= len(header)
        if room < 0:
            return
        if (package := read_header(header, found)) is not None:
            yield package


def read_header(header: bytes, found: Found) -> Package | None:
    """The package that a header describes; None when it is none."""
    if not 8 <= len(header) <= _LARGEST:
        return None
    entries, size = struct.unpack_from(">II", header)
    start = 8 + entries * 16
    if entries > 100_000 or start + size > len(header):
        return None
    store = header[start : start + size]
    said: dict[int, str] = {}
    for at in range(8, start, 16):
        tag, kind, offset, count = struct.unpack_from(">IIII", header, at)
        if offset >= len(store) or not count:
            continue
        if kind in _STRINGS and tag in _TEXTS and tag not in said:
            text, end, _ = store[offset : offset + _LONGEST].partition(b"\0")
            if end:
                said[tag] = text.decode("utf-8", "replace")
        elif kind == _INT32 and tag == _EPOCH and offset + 4 <= len(store):
            said.setdefault(tag, str(struct.unpack_from(">I", store, offset)[0]))
    name, version = said.get(_NAME, ""), said.get(_VERSION, "")
    release = said.get(_RELEASE, "")
    if not usable(name, version) or (release and not usable(release)) or name == "gpg-pubkey":
        return None
    whole = f"{version}-{release}" if release else version
    return Package(
        kind="rpm",
        name=name,
        version=f"{said[_EPOCH]}:{whole}" if said.get(_EPOCH, "0") != "0" else whole,
        purl=purl(
            "rpm",
            name,
            whole,
            namespace=found.distribution.id,
            qualifiers={
                "arch": said.get(_ARCH, ""),
                "distro": found.distribution.qualifier,
                "epoch": said.get(_EPOCH, ""),
                "upstream": said.get(_SOURCE, ""),
            },
        ),
        license=line(said.get(_LICENSE, "")),
        supplier=line(said.get(_VENDOR, "")),
        homepage=line(said.get(_URL, "")),
        place=found.path,
    )
