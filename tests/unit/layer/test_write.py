"""Canonical bytes: reproducible, readable by everybody, equal to what the index is told."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from boxwright.files.trees import remove_tree
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.scan import Scanner
from boxwright.layer.walk import write_tree
from boxwright.layer.write import Entry, EntryInvalid, TarBuilder
from boxwright.layer.writer import LayerWriter
from support.descriptors import none_left_open
from support.layer import layer_store


def build(*entries: tuple[Entry, bytes | None]) -> bytes:
    out = io.BytesIO()
    builder = TarBuilder(out)
    for entry, data in entries:
        builder.add(entry, data)
    builder.finish()
    assert builder.offset == len(out.getvalue())
    return out.getvalue()


def tar_of(tree: Path) -> bytes:
    out = io.BytesIO()
    write_tree(tree, TarBuilder(out))
    return out.getvalue()


def test_a_plain_entry_is_one_ustar_header() -> None:
    data = build(
        (Entry(path="dir", type="dir", mode=0o755), None),
        (Entry(path="dir/f", mode=0o644, mtime_ns=10**18, size=3), b"abc"),
    )
    assert len(data) == 512 + 1024 + 1024
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        first, second = tar.getmembers()
        assert (first.name, first.type, second.name, second.mtime, second.uname, second.pax_headers) == (
            "dir",
            tarfile.DIRTYPE,
            "dir/f",
            10**9,
            "",
            {},
        )
        file = tar.extractfile(second)
        assert file is not None and file.read() == b"abc"


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        (Entry(path="a/" * 60 + "f"), set()),
        (Entry(path="n" * 101), {"path"}),
        (Entry(path="d" * 160 + "/f"), {"path"}),
        (Entry(path="d" * 155 + "/" + "f" * 100), set()),
        (Entry(path="d" * 100, type="dir"), {"path"}),
        (Entry(path="d" * 99, type="dir"), set()),
        (Entry(path="ü" * 50), set()),
        (Entry(path="f", mtime_ns=1_500_000_000), {"mtime"}),
        (Entry(path="f", mtime_ns=-1_500_000_000), {"mtime"}),
        (Entry(path="f", mtime_ns=-(10**9)), {"mtime"}),
        (Entry(path="f", mtime_ns=(1 << 40) * 10**9), {"mtime"}),
        (Entry(path="f", uid=0o7777777), set()),
        (Entry(path="f", uid=0o10000000, gid=4_000_000_000), {"uid", "gid"}),
        (Entry(path="l", type="symlink", link="t" * 100), set()),
        (Entry(path="l", type="symlink", link="t" * 101), {"linkpath"}),
        (
            Entry(path="f", xattrs={"user.a": b"\0\xff=\n", "trusted.b": b""}),
            {"SCHILY.xattr.user.a", "SCHILY.xattr.trusted.b"},
        ),
        (Entry(path="c", type="char", device=(5, 1)), set()),
    ],
)
def test_a_pax_header_says_only_what_ustar_cannot(entry: Entry, keys: set[str]) -> None:
    data = build((entry, None))
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        (info,) = tar.getmembers()
    assert set(info.pax_headers) == keys
    (header,) = Scanner().feed(data)
    assert header.name.rstrip(b"/") == os.fsencode(entry.path) and header.type == entry.type
    assert (header.mode, header.uid, header.gid, header.seconds * 10**9 + header.nanoseconds) == (
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime_ns,
    )
    assert (header.link.decode(), (header.major, header.minor)) == (entry.link, entry.device)
    assert {name.decode(): value for name, value in (header.xattrs or {}).items()} == dict(entry.xattrs)


@pytest.mark.parametrize("data", [b"ab", b"abcd"])
def test_data_of_another_size_are_refused(data: bytes) -> None:
    with pytest.raises(EntryInvalid):
        build((Entry(path="f", size=3), data))


def test_data_may_come_as_stream_or_descriptor(tmp_path: Path) -> None:
    body = os.urandom(3 << 20)
    (tmp_path / "f").write_bytes(body)
    wanted = build((Entry(path="f", size=len(body)), body))
    for how in ("stream", "fd"):
        out = io.BytesIO()
        builder = TarBuilder(out)
        with (tmp_path / "f").open("rb", buffering=0) as file:
            builder.add(Entry(path="f", size=len(body)), file if how == "stream" else file.fileno())
        builder.finish()
        assert out.getvalue() == wanted
    with pytest.raises(EntryInvalid), (tmp_path / "f").open("rb") as file:
        TarBuilder(io.BytesIO()).add(Entry(path="f", size=len(body) + 1), file)


def make_tree(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        path.chmod(0o640)
        os.utime(path, (1, 5))
    for folder in sorted({p.parent for p in map(root.joinpath, names)} | set(root.rglob("*/")), reverse=True):
        folder.chmod(0o755)
        os.utime(folder, (1, 6))


def test_order_of_creation_and_umask_do_not_show(tmp_path: Path) -> None:
    names = ["b/x", "a.b/z", "a/y", "a-b/q", "top", "a/sub/deep"]
    old = os.umask(0o077)
    try:
        make_tree(tmp_path / "one", names)
        os.umask(0o002)
        make_tree(tmp_path / "two", names[::-1])
    finally:
        os.umask(old)
    first = tar_of(tmp_path / "one")
    assert first == tar_of(tmp_path / "two")
    shown = [header.name.decode() for header in Scanner().feed(first)]
    assert shown == [
        "a/",
        "a/sub/",
        "a/sub/deep",
        "a/y",
        "a-b/",
        "a-b/q",
        "a.b/",
        "a.b/z",
        "b/",
        "b/x",
        "top",
    ] or shown == sorted(shown, key=lambda n: n.rstrip("/").split("/"))


def test_links_sockets_fifos_and_the_root(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "z").write_text("linked")
    (tree / "a").hardlink_to(tree / "z")
    (tree / "s").symlink_to("nowhere")
    os.mkfifo(tree / "p")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tree / "sock"))
    listener.close()
    tree.chmod(0o1777)
    headers = {header.name.decode(): header for header in Scanner().feed(tar_of(tree))}
    assert {name: header.type for name, header in headers.items()} == {
        "./": "dir",
        "a": "file",
        "p": "fifo",
        "s": "symlink",
        "z": "hardlink",
    }
    assert headers["z"].link == b"a" and headers["./"].mode == 0o1777


def test_names_that_mean_removal_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/.wh.x").touch()
    with pytest.raises(EntryInvalid, match=r"\.wh\.x"):
        tar_of(tmp_path / "t")


def test_a_tree_too_deep_is_an_error_and_leaks_no_descriptor(tmp_path: Path) -> None:
    tree = tmp_path / "t"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(950):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with none_left_open(), pytest.raises(EntryInvalid, match="too deep"):
        tar_of(tree)
    above = os.open(tmp_path, os.O_RDONLY)
    remove_tree(above, b"t")  # what cleans up after tests would recurse too deep
    os.close(above)


def test_a_writer_told_the_entries_makes_the_same_index(tmp_path: Path) -> None:
    entries = [
        (
            Entry(
                path="d",
                type="dir",
                mode=0o700,
                uid=5,
                gid=6,
                mtime_ns=7_000_000_001,
                xattrs={"user.d": b"1"},
            ),
            None,
        ),
        (Entry(path="d/" + "f" * 150, size=2000, uid=3_000_000), b"x" * 2000),
        (Entry(path="d/l", type="symlink", link="/t" * 70), None),
        (Entry(path="h", type="hardlink", link="d/" + "f" * 150), None),
        (Entry(path="c", type="char", device=(1, 3)), None),
        (Entry(path="", type="dir", mode=0o711), None),
    ]
    store = layer_store(tmp_path)
    with LayerWriter(store) as writer:
        builder = TarBuilder(writer)
        for entry, data in entries:
            builder.add(entry, data)
        builder.whiteout("gone")
        builder.opaque("d")
        builder.finish()
        layer = writer.commit()
    index, tar = layer.index_path.read_bytes(), layer.tar_path.read_bytes()
    again = ingest_tar(layer_store(tmp_path / "other"), io.BytesIO(tar))
    assert again.index_path.read_bytes() == index
    assert (again.diff_id, again.bytes, again.entries) == (layer.diff_id, layer.bytes, layer.entries)
