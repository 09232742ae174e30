"""Publishing layers: by tar, blob and tree; equal ones meet; nothing is left over."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import tarfile
import threading
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from boxwright.content.db import Database
from boxwright.content.verify import ContentMismatch, VerifiedReader
from boxwright.errors import Unavailable
from boxwright.files.disk import DiskFull
from boxwright.layer.adopt import adopt_tree
from boxwright.layer.blobs import ingest_blob, ingest_tar
from boxwright.layer.compress import CompressedDataBroken
from boxwright.layer.scan import TarInvalid
from boxwright.layer.store import LayerMissing, LayerStore
from boxwright.layer.tarstream import TreeChanged, open_tar
from boxwright.layer.write import Entry, TarBuilder
from boxwright.layer.writer import LayerMismatch, LayerWriter
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from support.layer import layer_store, make_tar, member

TAR = make_tar(
    member("a/", tarfile.DIRTYPE),
    member("a/f", data=b"content" * 500),
    member("a/g", tarfile.LNKTYPE, linkname="a/f"),
)
ID = DiffID.of(TAR)


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return layer_store(tmp_path / "root")


def only(layers: LayerStore, *names: str) -> None:
    """Nothing else lies about."""
    assert sorted(os.listdir(layers.root)) == sorted(names)
    assert os.listdir(layers.store.root / "ingest") == []


def test_ingest(layers: LayerStore) -> None:
    layer = ingest_tar(layers, io.BytesIO(TAR), expected=ID)
    assert (layer.diff_id, layer.kind, layer.tar_size, layer.bytes, layer.entries) == (
        ID,
        "tar",
        len(TAR),
        3500,
        3,
    )
    assert (
        layer.tar_path.read_bytes() == TAR
        and layers.get(ID) == layer
        and layers.has(ID)
        and layers.all() == [layer]
    )
    with open_tar(layer) as tar:
        assert tar.read() == TAR
    assert layer.devices == (layer.tar_path,)
    only(layers, f"sha256-{ID.hex}")


@pytest.mark.parametrize("data", [b"", bytes(1024), make_tar()])
def test_empty_layers(layers: LayerStore, data: bytes) -> None:
    assert ingest_tar(layers, io.BytesIO(data)).entries == 0


def test_other_algorithms(layers: LayerStore) -> None:
    expected = DiffID("sha512", hashlib.sha512(TAR).hexdigest())
    assert ingest_tar(layers, io.BytesIO(TAR), expected=expected).path.name.startswith("sha512-")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (TAR[:-2000], LayerMismatch),
        (TAR[:1600], TarInvalid),
        (b"x" * 2000, TarInvalid),
        (gzip.compress(TAR)[:-20], CompressedDataBroken),
    ],
)
def test_failures_leave_nothing(layers: LayerStore, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        ingest_tar(layers, io.BytesIO(data), expected=ID)
    only(layers)
    with pytest.raises(LayerMissing):
        layers.get(ID)


def test_a_writer_that_is_left_discards(layers: LayerStore) -> None:
    with LayerWriter(layers) as writer:
        writer.write(TAR)
        assert list(layers.leftovers()) == []
    only(layers)


def test_leftovers_of_the_dead_are_found(layers: LayerStore) -> None:
    (layers.root / ".tmp-dead").mkdir()
    (layers.root / "sha256-norow").mkdir()
    layer = ingest_tar(layers, io.BytesIO(TAR))
    found = sorted(layers.leftovers())
    assert [path.name for path in found] == [".tmp-dead", "sha256-norow"]
    for path in found:
        layers.discard(path)
    only(layers, layer.path.name)


def test_files_without_a_row_are_replaced(layers: LayerStore) -> None:
    layers.path(ID).mkdir()
    (layers.path(ID) / "junk").touch()
    assert sorted(os.listdir(ingest_tar(layers, io.BytesIO(TAR)).path)) == ["index.erofs", "layer.tar"]


def test_remove(layers: LayerStore) -> None:
    layer = ingest_tar(layers, io.BytesIO(TAR))
    with layers.store.sweeping():
        layers.remove(ID)
    assert not layers.has(ID) and not layer.path.exists()
    assert len(os.listdir(layers.store.root / "trash")) == 1


def test_equal_layers_at_once_meet(layers: LayerStore) -> None:
    found: list[object] = []

    def work() -> None:
        found.append(ingest_tar(layers, io.BytesIO(TAR)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(layer == found[0] for layer in found)
    only(layers, f"sha256-{ID.hex}")


def test_a_full_queue_and_a_failing_disk(layers: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    big = make_tar(member("big", data=bytes(12 << 20)))
    with LayerWriter(layers) as writer:
        monkeypatch.setattr(writer, "store", lambda data: (_ for _ in ()).throw(OSError(5, "broken")))
        with pytest.raises(OSError, match="broken"):
            writer.pump(io.BytesIO(big))
    only(layers)


# --- blobs -----------------------------------------------------------------------------------------

PACKED = gzip.compress(TAR, mtime=0)
DESC = Descriptor(mt.OCI_LAYER_GZIP, Digest.of(PACKED), len(PACKED))


class Body(io.RawIOBase):
    """A resumable body that may break off."""

    def __init__(self, data: bytes, *, breaks_at: int = 1 << 60) -> None:
        self.data, self.at, self.breaks_at, self.resumed = data, 0, breaks_at, -1

    def readable(self) -> bool:
        return True

    def resume_at(self, offset: int) -> None:
        self.at = self.resumed = offset

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self.at >= self.breaks_at:
            raise Unavailable("the connection broke")
        piece = self.data[self.at : min(self.at + len(view), self.breaks_at)]
        view[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


def test_a_blob_is_kept_and_becomes_a_layer(layers: LayerStore) -> None:
    layer = ingest_blob(layers, io.BytesIO(PACKED), DESC)
    assert (
        layer.diff_id == ID
        and layers.store.read(DESC.digest) == PACKED
        and layers.by_blob(DESC.digest) == layer
    )
    assert layers.blobs(ID) == [(DESC, "")]
    only(layers, layer.path.name)
    assert ingest_blob(layers, cast(BinaryIO, Body(b"never read", breaks_at=0)), DESC) == layer


def test_a_blob_need_not_be_kept(layers: LayerStore) -> None:
    layer = ingest_blob(layers, io.BytesIO(PACKED), DESC, keep_blob=False)
    assert (
        layer.diff_id == ID
        and layers.store.size(DESC.digest) is None
        and layers.by_blob(DESC.digest) == layer
    )


def test_an_uncompressed_blob_is_virtual(layers: LayerStore) -> None:
    desc = Descriptor(mt.OCI_LAYER, Digest.of(TAR), len(TAR))
    layer = ingest_blob(layers, io.BytesIO(TAR), desc)
    assert (
        layer.diff_id == ID
        and layers.store.size(desc.digest) is None
        and layers.by_blob(desc.digest) == layer
    )
    with open_tar(layer) as blob:
        assert blob.read() == TAR


def test_a_broken_pull_goes_on_where_it_stopped(layers: LayerStore) -> None:
    with pytest.raises(Unavailable):
        ingest_blob(layers, cast(BinaryIO, Body(PACKED, breaks_at=40)), DESC)
    assert os.listdir(layers.store.root / "ingest") and os.listdir(layers.root) == []
    body = Body(PACKED)
    assert ingest_blob(layers, cast(BinaryIO, body), DESC).diff_id == ID
    assert body.resumed == 40 and layers.store.read(DESC.digest) == PACKED
    only(layers, f"sha256-{ID.hex}")


def test_a_body_that_cannot_resume_starts_again(layers: LayerStore) -> None:
    with pytest.raises(Unavailable):
        ingest_blob(layers, cast(BinaryIO, Body(PACKED, breaks_at=40)), DESC)
    assert ingest_blob(layers, io.BytesIO(PACKED), DESC).diff_id == ID


@pytest.mark.parametrize(
    "data",
    [
        PACKED[:-1],
        PACKED + b"x",
        PACKED[:30] + b"!" + PACKED[31:],
        gzip.compress(TAR + b"x"),
        TAR,
        b"",
        b"short",
        PACKED + gzip.compress(b"more"),
    ],
)
def test_other_bytes_than_the_digest_s_are_a_mismatch(layers: LayerStore, data: bytes) -> None:
    with pytest.raises((ContentMismatch, LayerMismatch)):
        ingest_blob(layers, io.BytesIO(data), DESC)
    only(layers)
    assert not list(layers.store.blobs())


def test_a_wrong_resumed_part_is_thrown_away(layers: LayerStore) -> None:
    with layers.store.ingest(f"sha256-{DESC.digest.hex}") as ingest:
        ingest.write(b"\x1f\x8b\x08" + b"?" * 40)
    with pytest.raises(ContentMismatch):
        ingest_blob(layers, cast(BinaryIO, Body(PACKED)), DESC)
    only(layers)


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(b"no tar" * 999, mtime=0), gzip.compress(TAR, mtime=0)[:-9]],
    ids=["no tar", "cut off"],
)
def test_a_bad_layer_with_the_right_digest_is_the_layer_s_fault(layers: LayerStore, packed: bytes) -> None:
    desc = Descriptor(mt.OCI_LAYER_GZIP, Digest.of(packed), len(packed))
    with pytest.raises((TarInvalid, CompressedDataBroken)):
        ingest_blob(layers, io.BytesIO(packed), desc)
    only(layers)


def test_verified_bodies_pass(layers: LayerStore) -> None:
    body = io.BufferedReader(VerifiedReader(io.BytesIO(PACKED), DESC))
    assert ingest_blob(layers, body, DESC).diff_id == ID


# --- trees -----------------------------------------------------------------------------------------


def make_tree(path: Path) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").write_bytes(b"hello")
    (path / "big").write_bytes(os.urandom(1 << 20) * 3)
    (path / "link").symlink_to("sub")
    return path


def test_adopting_a_tree(layers: LayerStore, tmp_path: Path) -> None:
    tree = make_tree(layers.store.root / "work" / "upper")
    layer = adopt_tree(layers, tree)
    assert (
        layer.kind == "tree" and not tree.exists() and (layer.tree_path / "sub/file").read_bytes() == b"hello"
    )
    with open_tar(layer) as stream:
        data = stream.read()
    assert DiffID.of(data) == layer.diff_id and len(data) == layer.tar_size and layer.bytes == 5 + (3 << 20)
    again = ingest_tar(layer_store(tmp_path / "other"), io.BytesIO(data))
    assert (again.diff_id, again.bytes, again.entries) == (layer.diff_id, layer.bytes, layer.entries)
    only(layers, layer.path.name)


def test_an_equal_tree_is_removed(layers: LayerStore) -> None:
    first = make_tree(layers.store.root / "work" / "one")
    import shutil

    second = shutil.copytree(first, layers.store.root / "work" / "two", symlinks=True)
    os.utime(second / "link", ns=(0, os.lstat(first / "link").st_mtime_ns), follow_symlinks=False)
    layer = adopt_tree(layers, first)
    assert adopt_tree(layers, second) == layer
    assert not second.exists()
    only(layers, layer.path.name)


def test_a_tree_changed_behind_our_back_is_told(layers: LayerStore) -> None:
    layer = adopt_tree(layers, make_tree(layers.store.root / "work" / "upper"))
    (layer.tree_path / "sub/file").write_bytes(b"HELLO")
    with pytest.raises(TreeChanged), open_tar(layer) as stream:
        stream.read()


def test_a_tree_s_stream_can_be_closed_early(layers: LayerStore) -> None:
    layer = adopt_tree(layers, make_tree(layers.store.root / "work" / "upper"))
    stream = open_tar(layer)
    assert len(stream.read(100)) == 100
    stream.close()
    assert threading.active_count() == 1 or all(
        thread.name != "layer-pipe" for thread in threading.enumerate()
    )


def test_a_row_is_gone_before_the_files_are(layers: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durably: a row that a power cut brought back would have no files."""
    layer = ingest_tar(layers, io.BytesIO(TAR))
    other = Database(layers.db.path)

    def look(path: Path, trash: Path) -> None:
        with other.read() as sql:
            assert sql.execute("SELECT * FROM layers").fetchall() == []
        assert path.is_dir()

    monkeypatch.setattr("boxwright.layer.store.set_aside", look)
    layers.remove(layer.diff_id)
    other.close()


def test_a_stack_is_found_at_once(layers: LayerStore) -> None:
    made = []
    for number in range(5):
        with LayerWriter(layers) as writer:
            writer.write(make_tar(member(f"f{number}")))
            made.append(writer.commit())
    names = [layer.diff_id for layer in made]
    wanted = [names[3], names[0], names[3]]
    assert layers.stack(wanted) == [layers.get(name) for name in wanted]
    absent = DiffID.of(b"absent")
    assert layers.missing([names[1], absent, names[2]]) == [absent]
    with pytest.raises(LayerMissing, match=str(absent)):
        layers.stack([names[0], absent])
    layers.remove(names[0])
    assert layers.missing(names) == [names[0]]
    with pytest.raises(LayerMissing):
        layers.stack(names)
    many = [DiffID.of(b"%d" % number) for number in range(1200)]
    assert layers.missing([*many, names[1]]) == many


def large(writer: LayerWriter, size: int = 9 << 20) -> bytes:
    """A layer of one file, by a builder, large enough that a second thread stores it."""
    data = os.urandom(1 << 20) * (size >> 20)
    builder = TarBuilder(writer)
    builder.add(Entry(path="f", size=len(data)), io.BytesIO(data))
    builder.finish()
    return data


def behind() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "layer-behind"]


def test_what_a_second_thread_stores_is_the_same(layers: LayerStore) -> None:
    with LayerWriter(layers) as writer:
        data = large(writer)
        assert behind()
        assert writer.read(4, 512) == data[:4], "what was taken can be read at any time"
        assert not behind()
        layer = writer.commit()
    whole = layer.tar_path.read_bytes()
    assert DiffID.of(whole) == layer.diff_id and whole[512 : 512 + len(data)] == data


def test_a_disk_that_fills_beside_the_builder_ends_it(
    layers: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def full(fd: int, data: Any, offset: int) -> int:
        if threading.current_thread().name == "layer-behind":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFull), LayerWriter(layers) as writer:
        large(writer)
        writer.commit()
    assert not behind() and list(layers.root.iterdir()) == []


def test_a_builder_that_is_left_ends_the_second_thread(layers: LayerStore) -> None:
    with pytest.raises(RuntimeError), LayerWriter(layers) as writer:
        large(writer)
        assert behind()
        raise RuntimeError
    assert not behind() and list(layers.root.iterdir()) == []
