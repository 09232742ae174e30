"""The suite of archives on a tar, a directory and a stream; and what a directory alone has: links, which are not
followed."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.content.lease import Lease
from boxwright.image.members import ArchiveInvalid, DirMembers, TarMembers
from boxwright.image.spool import Spool
from suites.members_suite import MembersSuite, make_members
from support.image import engine as engine_at


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    return make_members(tmp_path / "layout")


def packed(top: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(top, ".")
    return out.getvalue()


class TestDirectory(MembersSuite):
    @pytest.fixture
    def members(self, top: Path) -> Iterator[DirMembers]:
        found = DirMembers(top)
        yield found
        found.close()


class TestTar(MembersSuite):
    @pytest.fixture
    def members(self, top: Path, tmp_path: Path) -> Iterator[TarMembers]:
        (tmp_path / "archive.tar").write_bytes(packed(top))
        found = TarMembers(tmp_path / "archive.tar")
        yield found
        found.close()


class TestStream(MembersSuite):
    @pytest.fixture
    def members(self, top: Path, tmp_path: Path) -> Iterator[Spool]:
        services = engine_at(tmp_path / "root").services
        with Lease(services.db, "load") as lease:
            yield Spool(io.BytesIO(packed(top)), services.images_store, lease)


# --- a directory -----------------------------------------------------------------------------------


@pytest.fixture
def members(tmp_path: Path) -> Iterator[DirMembers]:
    (tmp_path / "secret").write_bytes(b"secret")
    top = tmp_path / "layout"
    (top / "blobs").mkdir(parents=True)
    (top / "blobs/one").write_bytes(b"blob")
    (top / "file").symlink_to("blobs/one")
    (top / "folder").symlink_to("blobs")
    (top / "out").symlink_to("../secret")
    (top / "loop").symlink_to("loop")
    os.mkfifo(top / "fifo")
    found = DirMembers(top)
    yield found
    found.close()


@pytest.mark.parametrize(
    "name",
    ["file", "folder/one", "out", "loop", "fifo", "blobs", "none", "", "../secret", "blobs/../file", "a\0b"],
)
def test_links_and_what_is_no_file_are_not(members: DirMembers, name: str) -> None:
    assert not members.has(name)
    with pytest.raises(ArchiveInvalid, match="layout has no"):
        members.size(name)
    with pytest.raises(ArchiveInvalid, match="layout has no"):
        members.open(name)
