"""Sparse files of a new layer: no reader of it needs to know what a sparse entry is."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from boxwright.layer.blobs import ingest_tar, make_layer
from boxwright.layer.scan import Scanner
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.tarstream import open_tar
from boxwright.layer.view import LayersView
from boxwright.spec.digest import DiffID
from support.layer import layer_store, make_tar, member, raw_header

END = bytes(1024)
SIZE = 3_000_000
DATA = b"d" * 512


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return layer_store(tmp_path / "root")


def records(*pairs: tuple[str, str]) -> bytes:
    payload = b""
    for key, value in pairs:
        body = f" {key}={value}\n".encode()
        length = next(n for n in range(len(body), len(body) + 9) if len(str(n)) + len(body) == n)
        payload += b"%d%b" % (length, body)
    return raw_header(b"pax", flag=b"x", size=len(payload)) + payload + bytes(-len(payload) % 512)


def gnu(name: bytes) -> bytes:
    """Two parts of 512 bytes, one of them at the end."""
    parts = b"%011o\0%011o\0%011o\0%011o\0" % (1024, 512, SIZE - 512, 512)
    return (
        raw_header(name, flag=b"S", size=1024, magic=b"ustar  \0", rest={386: parts, 483: b"%011o\0" % SIZE})
        + DATA * 2
    )


def pax(version: str, name: str) -> bytes:
    where = f"1024,512,{SIZE - 512},512"
    if version == "0.0":
        sparse = [("GNU.sparse.size", str(SIZE)), ("GNU.sparse.numblocks", "2")]
        numbers = where.split(",")
        for at in (0, 2):
            sparse += [("GNU.sparse.offset", numbers[at]), ("GNU.sparse.numbytes", numbers[at + 1])]
        return records(*sparse, ("mtime", "5.5")) + raw_header(name.encode(), size=1024) + DATA * 2
    if version == "0.1":
        sparse = [("GNU.sparse.size", str(SIZE)), ("GNU.sparse.map", where), ("GNU.sparse.name", name)]
        return records(*sparse, ("SCHILY.xattr.user.k", "v")) + raw_header(b"other", size=1024) + DATA * 2
    sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", name)]
    text = f"2\n1024\n512\n{SIZE - 512}\n512\n".encode().ljust(512, b"\0")
    return (
        records(*sparse, ("GNU.sparse.realsize", str(SIZE)))
        + raw_header(b"other", size=1536)
        + text
        + DATA * 2
    )


def archive(*sparse: bytes) -> bytes:
    """The entries between others, which must stay as they are."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in (member("before", data=b"1" * 700), member("n" * 200, data=b"2")):
            tar.addfile(info, io.BytesIO(data))
        size = tar.offset
    after = raw_header(b"after", size=3) + b"end" + bytes(509)
    return plain.getvalue()[:size] + after.join([*sparse, b""]) + END


EVERY = [gnu(b"s"), pax("0.0", "s"), pax("0.1", "s"), pax("1.0", "s")]


def content(layer: Layer, name: str) -> bytes:
    with LayersView([layer]) as view:
        found = view.read(name)
        assert found is not None
        return found


@pytest.mark.parametrize("entry", EVERY, ids=["gnu", "0.0", "0.1", "1.0"])
def test_a_new_layer_has_files_as_a_whole(layers: LayerStore, entry: bytes) -> None:
    layer = make_layer(layers, io.BytesIO(gzip.compress(archive(entry))))
    whole = bytearray(SIZE)
    whole[1024:1536] = whole[SIZE - 512 :] = DATA
    with open_tar(layer) as file:
        raw = file.read()
    assert len(raw) == layer.tar_size and DiffID.of(raw) == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert [m.name for m in tar] == ["before", "n" * 200, "s", "after"]
        assert {m.type for m in tar} == {tarfile.REGTYPE}
        assert not any("GNU.sparse" in key for m in tar for key in m.pax_headers)
        assert [tar.extractfile(m).read() for m in tar] == [b"1" * 700, b"2", bytes(whole), b"end"]  # type: ignore[union-attr]
    assert content(layer, "s") == bytes(whole) and content(layer, "after") == b"end"
    assert layer.devices == (layer.tar_path,)
    assert layer.tar_path.stat().st_blocks * 512 < SIZE // 4, "holes need no room"


def test_what_its_headers_say_of_a_file_stays(layers: LayerStore) -> None:
    layer = make_layer(layers, io.BytesIO(archive(pax("0.0", "a"), pax("0.1", "b"))))
    with LayersView([layer]) as view:
        assert view.resolve("a").mtime_ns == 5_500_000_000  # type: ignore[union-attr]
        assert view.resolve("b").xattrs == {"user.k": b"v"}  # type: ignore[union-attr]


def test_several_and_one_as_the_last_entry(layers: LayerStore) -> None:
    names = [f"s{n}".encode() for n in range(3)]
    data = archive(*map(gnu, names))[: -1024 - 1024] + gnu(b"last")
    layer = make_layer(layers, io.BytesIO(data))
    for name in (*names, b"last"):
        assert content(layer, name.decode())[SIZE - 512 :] == DATA


def test_a_layer_from_elsewhere_keeps_its_bytes(layers: LayerStore) -> None:
    data = archive(gnu(b"s"))
    layer = ingest_tar(layers, io.BytesIO(data), expected=DiffID.of(data))
    assert layer.tar_path.read_bytes() == data
    assert content(layer, "s")[SIZE - 512 :] == DATA


def test_an_archive_without_any_keeps_its_bytes(layers: LayerStore) -> None:
    data = make_tar(member("a", data=b"x")) + b"tail"
    assert make_layer(layers, io.BytesIO(data)).tar_path.read_bytes() == data


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("form", ["gnu", "pax --sparse-version=0.0", "pax --sparse-version=0.1", "pax"])
def test_what_gnu_tar_writes(layers: LayerStore, tmp_path: Path, form: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with open(tree / "holes", "wb") as file:
        for n in range(40):
            file.seek(n * 100_000)
            file.write(b"%d" % n)
        file.truncate(5_000_000)
    os.link(tree / "holes", tree / "name")
    out = tmp_path / "t.tar"
    subprocess.run(
        [
            "tar",
            "--sparse",
            *f"--format={form}".split(),
            "--sort=name",
            "-cf",
            str(out),
            "-C",
            str(tree),
            ".",
        ],
        check=True,
    )
    layer = make_layer(layers, io.BytesIO(out.read_bytes()))
    scanner = Scanner()
    assert all(h.segments is None for h in scanner.feed(layer.tar_path.read_bytes()))
    assert content(layer, "holes") == content(layer, "name") == (tree / "holes").read_bytes()
