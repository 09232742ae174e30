"""The index against the kernel: what a mounted layer shows is what the standard library reads in its tar."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from boxwright.layer.blobs import ingest_tar
from boxwright.layer.tarstream import open_tar
from support import REAL_ROOT
from support.layer import census, expected, layer_store, make_tar, member, mounted, raw_header

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]


@pytest.fixture(scope="module", autouse=True)
def _kernel(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = layer_store(tmp_path_factory.mktemp("probe"))
    layer = ingest_tar(store, io.BytesIO(make_tar(member("a", data=b"x"))))
    try:
        with mounted(layer):
            pass
    except OSError as error:
        pytest.skip(f"this kernel does not mount an index from files: {error}")


def odd_entries(*, pax: bool) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What archives can say, in the form that both PAX and GNU can write."""
    long = "d" * 200
    out = [
        member("./", tarfile.DIRTYPE, mode=0o711, mtime=1234),
        member("usr/", tarfile.DIRTYPE, mtime=1),
        member("usr/bin/su", data=b"suid", mode=0o4755, uid=0, gid=42, mtime=1_700_000_000),
        member("usr/bin/wall", data=b"x" * 513, mode=0o2755, uid=65534, gid=2_000_000),
        member("tmp", tarfile.DIRTYPE, mode=0o1777),
        member("big", data=os.urandom(300_000), uid=4_000_000_000, gid=3_000_000_000),
        member("empty"),
        member("implied/by/depth/file", data=b"y"),
        member("bin", tarfile.SYMTYPE, linkname="usr/bin"),
        member("dangling", tarfile.SYMTYPE, linkname="/no/such/place", mtime=77),
        member("hard", tarfile.LNKTYPE, linkname="big"),
        member("hard2", tarfile.LNKTYPE, linkname="./usr/bin/su"),
        member("hardsym", tarfile.LNKTYPE, linkname="dangling"),
        member("dev/tty7", tarfile.CHRTYPE, devmajor=4, devminor=7, mode=0o620),
        member("dev/wide", tarfile.BLKTYPE, devmajor=259, devminor=0x12345),
        member("dev/pipe", tarfile.FIFOTYPE, mode=0o600),
        member("n" * 255, data=b"long name"),
        member(f"{long}/{long}/{long}/{'f' * 250}", data=b"deep"),
        member("late", mtime=5_000_000_000),
        member("again", data=b"first"),
        member("again", data=b"second", mode=0o600),
        member("turns", tarfile.DIRTYPE),
        member("turns/below", data=b"gone"),
        member("turns", data=b"now a file"),
        member("was-file", data=b"f"),
        member("was-file", tarfile.DIRTYPE),
        member("was-file/x", data=b"x"),
        member("usr/", tarfile.DIRTYPE, mode=0o700, mtime=99),
        member("ünï/cödé", data="ß".encode()),
        member("-dash", data=b"sorts before the dots"),
        member("!bang/file", data=b"too"),
    ]
    out += [
        member(f"links/{n}", tarfile.SYMTYPE, linkname="t" * n)
        for n in (1, 63, 64, 385, 446, 447, 448, 449, 512, 1600, 4000)
    ]
    out += [member(f"many/{n:05}{'x' * (n % 60)}", data=b"z" * (n % 7)) for n in range(700)]
    if pax:
        out += [
            member("negative", mtime=-5.5, pax_headers={"mtime": "-5.5"}),
            member("precise", pax_headers={"mtime": "1234567890.123456789"}),
            member(
                "attrs",
                data=b"a",
                pax_headers={
                    "SCHILY.xattr.user.one": "1",
                    "SCHILY.xattr.user.empty-ish": " ",
                    "SCHILY.xattr.trusted.t": "t" * 3000,
                    "SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00" * 12,
                },
            ),
            member("attrdir", tarfile.DIRTYPE, pax_headers={"SCHILY.xattr.user.dir": "d"}),
            member(
                "attrlink",
                tarfile.SYMTYPE,
                linkname="q" * 300,
                pax_headers={"SCHILY.xattr.trusted.l": "l" * 100},
            ),
        ]
    return out


def differences(
    found: dict[str, tuple[object, ...]], wanted: dict[str, tuple[object, ...]]
) -> dict[str, object]:
    return {
        path: (found.get(path), wanted.get(path))
        for path in {*found, *wanted}
        if found.get(path) != wanted.get(path)
    }


@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_the_kernel_shows_what_the_archive_says(tmp_path: Path, form: str) -> None:
    data = make_tar(
        *odd_entries(pax=form == "pax"), format=tarfile.PAX_FORMAT if form == "pax" else tarfile.GNU_FORMAT
    )
    layer = ingest_tar(layer_store(tmp_path), io.BytesIO(data))
    with mounted(layer) as root:
        found = census(root)
    assert differences(found, expected(data)) == {}


def test_fsck_accepts_the_index(tmp_path: Path) -> None:
    program = shutil.which("fsck.erofs")
    if program is None:
        pytest.skip("erofs-utils is not installed")
    data = make_tar(*odd_entries(pax=True))
    layer = ingest_tar(layer_store(tmp_path), io.BytesIO(data))
    done = subprocess.run(
        [program, f"--device={layer.tar_path}", str(layer.index_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "blksize 512 isn't supported" in done.stderr:
        pytest.skip("this fsck.erofs knows only blocks of a page (before 1.6)")
    assert done.returncode == 0, done.stderr
    assert "<E>" not in done.stderr + done.stdout


def test_whiteouts_are_overlayfs_s(tmp_path: Path) -> None:
    data = make_tar(
        member(".wh.gone"),
        member("dir/", tarfile.DIRTYPE),
        member("dir/.wh..wh..opq"),
        member("dir/new", data=b"n"),
        member("a/b/.wh.deep"),
        member(".wh..wh.plnk/1.2", data=b"aufs"),
        member("linked", tarfile.LNKTYPE, linkname=".wh..wh.plnk/1.2"),
        member(".wh.back"),
        member("back/", tarfile.DIRTYPE),
        member("kept/", tarfile.DIRTYPE),
        member(".wh.kept"),
        member("own", data=b"own"),
        member(".wh.own"),
        member(".wh.implied"),
        member("implied/x", data=b"x"),
    )
    layer = ingest_tar(layer_store(tmp_path), io.BytesIO(data))
    with mounted(layer) as root:
        found = census(root)
    opaque = {"trusted.overlay.opaque": b"y"}
    assert {
        path for path, node in found.items() if int(node[0], 8) & 0o170000 == 0o020000 and node[4] == 0
    } == {"gone", "a/b/deep"}
    assert {path for path, node in found.items() if node[6] == opaque} == {"dir", "back", "kept", "implied"}
    assert found["linked"][5] == b"aufs" and found["own"][5] == b"own"
    assert not [path for path in found if ".wh." in path]


def gnu_sparse(name: bytes, segments: list[tuple[int, bytes]], size: int) -> bytes:
    """Old GNU form; more than four segments need extension blocks."""
    pairs = [b"%011o\0%011o\0" % (offset, len(data)) for offset, data in segments]
    data = b"".join(piece for _, piece in segments)
    head, extra = pairs[:4], pairs[4:]
    rest = {386: b"".join(head), 482: b"\1" if extra else b"\0", 483: b"%011o\0" % size}
    out = raw_header(name, flag=b"S", size=len(data), magic=b"ustar  \0", rest=rest)
    while extra:
        block, extra = extra[:21], extra[21:]
        out += b"".join(block).ljust(504, b"\0") + (b"\1" if extra else b"\0") + bytes(7)
    return out + data + bytes(-len(data) % 512)


def pax_records(records: list[tuple[str, str]]) -> bytes:
    payload = b""
    for key, value in records:
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length += 1
        payload += str(length).encode() + body
    return raw_header(b"pax", flag=b"x", size=len(payload)) + payload + bytes(-len(payload) % 512)


def pax_sparse(version: str, name: str, segments: list[tuple[int, bytes]], size: int) -> bytes:
    data = b"".join(piece for _, piece in segments)
    if version == "1.0":
        table = b"%d\n" % len(segments) + b"".join(
            b"%d\n%d\n" % (offset, len(piece)) for offset, piece in segments
        )
        data = table + bytes(-len(table) % 512) + data
        records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.realsize", str(size)),
        ]
    elif version == "0.1":
        table_text = ",".join(f"{offset},{len(piece)}" for offset, piece in segments)
        records = [
            ("GNU.sparse.size", str(size)),
            ("GNU.sparse.name", name),
            ("GNU.sparse.map", table_text),
            ("GNU.sparse.numblocks", str(len(segments))),
        ]
    else:
        records = [("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", str(len(segments)))]
        for offset, piece in segments:
            records += [("GNU.sparse.offset", str(offset)), ("GNU.sparse.numbytes", str(len(piece)))]
    shown = name.encode() if version == "0.0" else b"GNUSparseFile.0/x"
    return pax_records(records) + raw_header(shown, size=len(data)) + data + bytes(-len(data) % 512)


def test_sparse_files_are_expanded(tmp_path: Path) -> None:
    segments = [(0, b"A" * 700), (5_000, b"B" * 512), (100_000, b"C" * 3)]
    many = [(n * 2048, bytes([n % 256]) * 512) for n in range(300)]

    def content(parts: list[tuple[int, bytes]], size: int) -> bytes:
        out = bytearray(size)
        for offset, piece in parts:
            out[offset : offset + len(piece)] = piece
        return bytes(out)

    wanted = {
        "plain": b"p" * 600,
        "old": content(segments, 200_000),
        "old-many": content(many, 700_000),
        "hole": bytes(70_000),
        "hard": content(segments, 200_000),
    }
    data = raw_header(b"plain", size=600) + b"p" * 600 + bytes(424)
    data += (
        gnu_sparse(b"replaced", segments, 200_000)
        + gnu_sparse(b"old", segments, 200_000)
        + gnu_sparse(b"old-many", many, 700_000)
    )
    data += (
        gnu_sparse(b"hole", [], 70_000)
        + raw_header(b"hard", flag=b"1", link=b"old")
        + raw_header(b"replaced", size=0)
    )
    for version in ("0.0", "0.1", "1.0"):
        data += pax_sparse(version, f"v{version}", segments, 200_000) + pax_sparse(
            version, f"v{version}-many", many, 700_000
        )
        wanted |= {f"v{version}": content(segments, 200_000), f"v{version}-many": content(many, 700_000)}
    data += bytes(1024)
    wanted["replaced"] = b""

    store = layer_store(tmp_path)
    layer = ingest_tar(store, io.BytesIO(data))
    with mounted(layer) as root:
        assert {path: node[5] for path, node in census(root).items() if path} == wanted
    assert layer.tar_path.read_bytes() == data
    with open_tar(layer) as tar:
        assert tar.read() == data
    assert layer.bytes == sum(len(body) for name, body in wanted.items() if name != "hard")


def test_data_up_to_an_archive_s_unpadded_end_can_be_read(tmp_path: Path) -> None:
    data = raw_header(b"last", size=700) + b"q" * 700
    layer = ingest_tar(layer_store(tmp_path), io.BytesIO(data))
    with mounted(layer) as root:
        assert census(root)["last"][5] == b"q" * 700
