"""Headers: every dialect, and what each broken one gives."""

from __future__ import annotations

import io
import tarfile

import pytest

from boxwright.layer import pax
from boxwright.layer.scan import Header, Scanner, TarInvalid
from support.layer import make_tar, member, raw_header

END = bytes(1024)


def scan(data: bytes, *, step: int = 1 << 20) -> list[Header]:
    scanner = Scanner()
    out: list[Header] = []
    for at in range(0, len(data), step):
        out += scanner.feed(data[at : at + step])
    scanner.finish()
    assert scanner.position == len(data)
    return out


def extended(*records: tuple[bytes, bytes]) -> bytes:
    payload = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        for size in range(len(body), len(body) + 8):
            if len(str(size)) + len(body) == size:
                payload += str(size).encode() + body
                break
    return raw_header(b"pax", flag=b"x", size=len(payload)) + payload + bytes(-len(payload) % 512)


@pytest.mark.parametrize("step", [1, 7, 511, 512, 513, 4096, 1 << 20])
def test_the_size_of_the_pieces_does_not_matter(step: int) -> None:
    data = make_tar(
        member("a", data=b"1" * 700),
        member("n" * 300, data=b"2"),
        member("d/", tarfile.DIRTYPE),
        member("l", tarfile.SYMTYPE, linkname="x" * 300),
        member("p", pax_headers={"SCHILY.xattr.user.k": "v" * 2000}),
    )
    assert scan(data, step=step) == scan(data)


def test_offsets_are_where_the_data_are() -> None:
    data = make_tar(member("a", data=b"first"), member("b" * 200, data=b"second"))
    for header, body in zip(scan(data), (b"first", b"second"), strict=True):
        assert data[header.offset : header.offset + header.size] == body


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_dialects(form: int) -> None:
    name = "dir/" * 24 + "name"
    (header,) = scan(
        make_tar(member(name, data=b"x", uid=1000, gid=1001, mode=0o640, mtime=1_600_000_000), format=form)
    )
    assert header[:8] == (name.encode(), "file", 0o640, 1000, 1001, 1_600_000_000, 0, 1)


def test_old_headers_have_no_prefix_and_a_slash_means_directory() -> None:
    data = (
        raw_header(b"d/", flag=b"\0", magic=b"")
        + raw_header(b"f", flag=b"\0", magic=b"", prefix=b"junk")
        + END
    )
    assert [(h.name, h.type) for h in scan(data)] == [(b"d/", "dir"), (b"f", "file")]


BIG = b"\x80" + (4_000_000_000).to_bytes(7, "big")
GNU = b"ustar  \0"


def test_go_before_1_8_wrote_a_prefix_into_gnu_headers() -> None:
    data = raw_header(b"foo.txt", uid=BIG, magic=GNU, prefix=b"dir/sub") + END
    assert [(h.name, h.uid) for h in scan(data)] == [(b"dir/sub/foo.txt", 4_000_000_000)]


@pytest.mark.parametrize(
    "prefix",
    [
        b"14500000000\0" + b"14500000000\0",  # times
        b"\x80" + bytes(7) + b"\x65\0\0\1" + b"14500000000\0",
        b"14500000000\0",
        b"\0dir/sub",
        "dïr".encode(),
    ],
)
def test_what_gnu_headers_have_there_is_mostly_no_prefix(prefix: bytes) -> None:
    assert scan(raw_header(b"foo.txt", magic=GNU, prefix=prefix) + END)[0].name == b"foo.txt"


@pytest.mark.parametrize("magic", [b"", b"ustar\x0000", GNU])
def test_a_directory_has_no_data_whatever_its_size_says(magic: bytes) -> None:
    data = raw_header(b"one/", flag=b"\0", size=1, magic=magic) + raw_header(b"two/", flag=b"\0", magic=magic)
    assert [(h.name, h.type, h.size) for h in scan(data + END)] == [(b"one/", "dir", 0), (b"two/", "dir", 0)]


def test_the_size_of_a_directory_in_a_pax_record_is_none_either() -> None:
    data = extended((b"size", b"7"), (b"path", b"one/")) + raw_header(b"x", flag=b"\0")
    assert [h.name for h in scan(data + raw_header(b"y") + END)] == [b"one/", b"y"]


ZEROS = b"0" * 30


def test_numbers_of_pax_may_be_padded_with_zeros() -> None:
    padded = [(key, ZEROS + value) for key, value in ((b"size", b"3"), (b"uid", b"5"), (b"mtime", b"7.5"))]
    data = extended(*padded, (b"gid", b"-" + ZEROS + b"2")) + raw_header(b"f") + b"abc" + bytes(509)
    (header,) = scan(data + END)
    assert header[3:8] == (5, (1 << 32) - 2, 7, 500_000_000, 3)
    assert pax.records(b"000000000000000025 a=bcd\n") == [(b"a", b"bcd")]


@pytest.mark.parametrize("text", [ZEROS + b"9" * 20, b"9" * 19, b"0x3", b"1_0", b"+3", b"", b" 3"])
def test_numbers_of_pax_that_are_none(text: bytes) -> None:
    with pytest.raises(TarInvalid):
        pax.decimal(text)


def test_star_s_prefix_is_shorter() -> None:
    block = raw_header(b"n", prefix=b"p" * 131, rest={476: b"12345678901\0", 508: b"tar\0"})
    assert scan(block + END)[0].name == b"p" * 131 + b"/n"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"\x80" + (1 << 40).to_bytes(11, "big"), 1 << 40),
        (b"\xff" * 12, -1),
        (b"\xff" * 11 + b"\xfb", -5),
        (b" 644\0\0\0\0\0\0\0\0", 0o644),
        (b"00000000000 ", 0),
        (b"\0" * 12, 0),
    ],
)
def test_numbers(field: bytes, value: int) -> None:
    assert pax.octal(field) == value


@pytest.mark.parametrize("field", [b"9", b"0o17", b"1_0", b"+7", b"-7", b"\x80" + b"\xff" * 11, b"7\x018"])
def test_numbers_that_are_none(field: bytes) -> None:
    with pytest.raises(TarInvalid):
        pax.octal(field)


def test_pax_beats_the_header_for_the_next_entry_only() -> None:
    data = (
        extended(
            (b"path", b"long/name"),
            (b"size", b"3"),
            (b"uid", b"3000000"),
            (b"gid", b"-2"),
            (b"mtime", b"-1.25"),
            (b"SCHILY.xattr.user.a", b"\x00=\n"),
        )
        + raw_header(b"x", size=0)
        + b"abc"
        + bytes(509)
        + raw_header(b"y")
        + END
    )
    first, second = scan(data)
    assert first[:8] == (b"long/name", "file", 0o644, 3_000_000, (1 << 32) - 2, -2, 750_000_000, 3)
    assert first.xattrs == {b"user.a": b"\x00=\n"}
    assert second.name == b"y" and second.xattrs is None


def test_libarchive_s_attributes() -> None:
    (header,) = scan(extended((b"LIBARCHIVE.xattr.user.a%20b", b"aGk")) + raw_header(b"x") + END)
    assert header.xattrs == {b"user.a b": b"hi"}


def test_overlayfs_s_own_attributes_are_not_taken() -> None:
    data = (
        extended(
            (b"SCHILY.xattr.trusted.overlay.redirect", b"/etc"), (b"SCHILY.xattr.user.overlay.opaque", b"y")
        )
        + raw_header(b"x")
        + END
    )
    assert scan(data)[0].xattrs is None


@pytest.mark.parametrize("flag", [b"1", b"2", b"5", b"6"])
def test_types_without_data_have_none_whatever_the_size_says(flag: bytes) -> None:
    data = raw_header(b"x", flag=flag, size=5000, link=b"l") + raw_header(b"y") + END
    assert [h.name for h in scan(data)] == [b"x", b"y"]
    assert scan(data)[0].size == 0


def test_global_headers_and_labels_are_passed_over() -> None:
    payload = b"20 comment=whatever\n"
    data = (
        raw_header(b"g", flag=b"g", size=len(payload))
        + payload
        + bytes(492)
        + raw_header(b"label", flag=b"V")
        + raw_header(b"x")
        + END
    )
    assert [h.name for h in scan(data)] == [b"x"]


@pytest.mark.parametrize("tail", [b"", bytes(512), END, END + b"garbage" * 99, bytes(10240)])
def test_ends(tail: bytes) -> None:
    assert len(scan(raw_header(b"x", size=512) + b"d" * 512 + tail)) == 1


@pytest.mark.parametrize(
    "field",
    [
        b"000000000010",
        b"10 \0\0\0\0\0\0\0\0\0",
        b"        10 \0",
        b"00000000010\0",
        b"\x80" + bytes(10) + b"\x08",
    ],
)
def test_sizes_in_every_form(field: bytes) -> None:
    (header,) = scan(raw_header(b"x", size=field) + b"12345678" + bytes(504) + END)
    assert header.size == 8


def test_an_empty_stream_is_an_empty_archive() -> None:
    assert scan(b"") == []
    assert scan(END) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not a tar archive at all " * 40, "checksum|octal"),
        (raw_header(b"x", size=600) + b"d" * 512, "cut off"),
        (raw_header(b"x")[:300], "cut off"),
        (raw_header(b"x", flag=b"x", size=100) + b"12 path=a\n", "cut off"),
        (raw_header(b"x") + bytes(512) + raw_header(b"y"), "single zero block"),
        (raw_header(b"x", size=b"\xff" * 12) + END, "size -1"),
        (raw_header(b"x", size=b"\x80" + b"\x00\x00\x00\x7f" + b"\xff" * 7) + END, "size|fit"),
        (raw_header(b"x", flag=b"M") + END, "type 'M'"),
        (raw_header(b"x", flag=b"x", size=2 << 20) + END, "at most"),
        (raw_header(b"x", flag=b"L", size=b"\xff" * 12) + END, "size -1"),
        (raw_header(b"x", uid=b"\xff" * 8) + END, "id -1"),
        (raw_header(b"x", mode=b"9999999\0") + END, "octal"),
        (extended((b"path", b"a\0b")) + raw_header(b"x") + END, "NUL"),
        (extended((b"size", b"1e9")) + raw_header(b"x") + END, "number"),
        (extended((b"mtime", b"1.5x")) + raw_header(b"x") + END, "time"),
        (extended((b"SCHILY.xattr." + b"k" * 300, b"v")) + raw_header(b"x") + END, "attribute"),
        (extended((b"SCHILY.xattr.user.k", b"v" * 70_000)) + raw_header(b"x") + END, "attribute"),
        (
            extended(*((b"SCHILY.xattr.user.%d" % n, b"v" * 60_000) for n in range(5)))
            + raw_header(b"x")
            + END,
            "more than",
        ),
        (raw_header(b"x", flag=b"x", size=5) + b"9 a=b" + bytes(507) + END, "malformed"),
        (raw_header(b"x", flag=b"x", size=10) + b"0010 a=b\nx" + bytes(502) + END, "malformed"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(TarInvalid, match=why):
        scan(data)


def test_a_signed_checksum_is_right_too() -> None:
    block = bytearray(raw_header("ü".encode() * 20))
    parts = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    block[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in parts)
    assert len(scan(bytes(block) + END)) == 1


@pytest.mark.parametrize("segments", ["5,10,3,2", "0,600", "-1,2", "0,1,2", "0,100,1000,412000"])
def test_sparse_maps_that_lie(segments: str) -> None:
    data = (
        extended((b"GNU.sparse.size", b"2000"), (b"GNU.sparse.map", segments.encode()))
        + raw_header(b"x", size=512)
        + bytes(512)
        + END
    )
    with pytest.raises(TarInvalid):
        scan(data)


def test_skipping_data_finds_the_same() -> None:
    data = make_tar(member("a", data=b"1" * 9000), member("b", data=b"2" * 100))
    scanner, found = Scanner(), []
    while scanner.position < len(data):
        if scanner.skippable:
            scanner.skip(scanner.skippable)
        found += scanner.feed(data[scanner.position : scanner.position + 700])
    scanner.finish()
    assert found == scan(data)


def test_it_reads_what_the_standard_library_writes() -> None:
    data = make_tar(
        member("a/b", data=b"x" * 1000, mtime=5),
        member("ü" * 120, tarfile.SYMTYPE, linkname="ß" * 130),
        member("c", tarfile.CHRTYPE, devmajor=5, devminor=1),
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(h.name.decode(), h.link.decode(), h.major, h.minor) for h in scan(data)] == [
            (m.name, m.linkname, m.devmajor, m.devminor) for m in tar
        ]
