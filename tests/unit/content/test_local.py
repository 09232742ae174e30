"""The content store on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from boxwright.content.local import BlobMissing, IngestBusy, LocalStore
from boxwright.content.verify import ContentMismatch, VerifiedReader, read_verified
from boxwright.errors import Invalid
from boxwright.files.disk import (
    DiskError,
    DiskFailing,
    DiskFull,
    DiskReadOnly,
    disk_errors,
    make_directories,
    write_atomic,
)
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest

DATA = os.urandom(3_000_000)
DESC = Descriptor.of(DATA, "application/octet-stream")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "root")


def test_round_trip(store: LocalStore) -> None:
    with store.ingest("one") as ingest:
        for at in range(0, len(DATA), 700_001):
            ingest.write(DATA[at : at + 700_001])
        assert ingest.commit(DESC.media_type, DESC.digest) == DESC
    assert store.size(DESC.digest) == len(DATA)
    with store.open(DESC) as stream:
        assert stream.read() == DATA
    assert list(store.blobs()) == [DESC.digest]
    assert store.path(DESC.digest).stat().st_mode & 0o777 == 0o444
    assert not list((store.root / "ingest").iterdir())


def test_nothing_is_visible_before_commit(store: LocalStore) -> None:
    with store.ingest("one") as ingest:
        ingest.write(DATA)
        assert store.size(DESC.digest) is None


def test_an_ingest_resumes_where_it_stopped(store: LocalStore) -> None:
    with store.ingest("one") as ingest:
        ingest.write(DATA[:1_500_000])
    with store.ingest("one") as ingest:
        assert ingest.offset == 1_500_000
        ingest.write(DATA[ingest.offset :])
        assert ingest.commit("x", DESC.digest).digest == DESC.digest


def test_a_mismatch_is_thrown_away(store: LocalStore) -> None:
    with store.ingest("one") as ingest:
        ingest.write(b"lies")
        with pytest.raises(ContentMismatch):
            ingest.commit("x", DESC.digest)
    assert not list((store.root / "ingest").iterdir())
    assert store.size(DESC.digest) is None


def test_reset_starts_again(store: LocalStore) -> None:
    with store.ingest("one") as ingest:
        ingest.write(b"garbage")
        ingest.reset()
        ingest.write(DATA)
        assert ingest.commit("x", DESC.digest).size == len(DATA)


def test_one_writer_an_ingest(store: LocalStore) -> None:
    with store.ingest("one"), pytest.raises(IngestBusy):
        store.ingest("one")


@pytest.mark.parametrize("key", ["", "../x", "a/b", "x" * 201])
def test_ingest_keys_are_names(store: LocalStore, key: str) -> None:
    with pytest.raises(Invalid):
        store.ingest(key)


def test_put_is_idempotent_and_repairs_a_short_blob(store: LocalStore) -> None:
    desc = store.put(b"hello", "text/plain")
    assert store.put(b"hello", "text/plain") == desc
    path = store.path(desc.digest)
    path.chmod(0o600)
    path.write_bytes(b"hel")
    store.put(b"hello", "text/plain")
    assert store.read(desc.digest) == b"hello"


def test_sha512(store: LocalStore) -> None:
    desc = store.put(b"hello", "text/plain", algorithm="sha512")
    assert desc.digest.algorithm == "sha512"
    assert store.read(desc.digest) == b"hello"


def test_damage_is_found_on_read(store: LocalStore) -> None:
    desc = store.put(b"hello", "text/plain")
    path = store.path(desc.digest)
    path.chmod(0o600)
    path.write_bytes(b"jello")
    with pytest.raises(ContentMismatch), store.open(desc) as stream:
        stream.read()
    with pytest.raises(ContentMismatch):
        store.read(desc.digest)


def test_missing(store: LocalStore) -> None:
    with pytest.raises(BlobMissing):
        store.open(DESC)
    assert store.size(DESC.digest) is None


def test_a_file_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid):
        LocalStore(tmp_path / "file")


def test_a_full_disk_is_told(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.ingest("one") as ingest:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DiskFull):
            ingest.write(b"x")
    with pytest.raises(DiskFull):
        write_atomic(store.root / "file", b"x")
    monkeypatch.undo()
    assert not (store.root / "file").exists()
    assert not [p for p in store.root.iterdir() if p.name.startswith(".file")]


@pytest.mark.parametrize("said", [len(DATA) - 1, len(DATA) + 1])
def test_a_lying_size_is_found(tmp_path: Path, said: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(DATA)
    desc = Descriptor("x", DESC.digest, said)
    with pytest.raises(ContentMismatch):
        read_verified(open(path, "rb"), desc, limit=said)


def test_a_claim_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    with pytest.raises(ContentMismatch, match="at most"):
        read_verified(open(path, "rb"), Descriptor("x", DESC.digest, 1 << 40), limit=100)


def test_a_reader_may_stop_early(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(DATA)
    with VerifiedReader(open(path, "rb"), Descriptor("x", Digest.of(b"other"), len(DATA))) as reader:
        assert reader.read(10) == DATA[:10]


def test_directories_are_made_with_those_above(tmp_path: Path) -> None:
    for _ in range(2):
        make_directories(tmp_path / "a/b/c", mode=0o700)
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directories(tmp_path / "file/d")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, DiskFull, "No space left"),
        (errno.EDQUOT, DiskFull, "quota"),
        (errno.EIO, DiskFailing, "Input/output error"),
        (errno.EROFS, DiskReadOnly, "Read-only"),
    ],
)
def test_what_is_wrong_with_the_disk_is_named(code: int, kind: type[DiskError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught, disk_errors("a file"):
        raise OSError(code, os.strerror(code))
    assert type(caught.value) is kind and caught.value.hint
    with pytest.raises(PermissionError), disk_errors("a file"):
        raise PermissionError(errno.EACCES, "no")
