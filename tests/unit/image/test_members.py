"""A directory of blobs: what is in it is read, and no link leads out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.image.members import ArchiveInvalid, DirMembers


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


def test_files_are_read(members: DirMembers) -> None:
    for name in ("blobs/one", "./blobs//one", "/blobs/one"):
        assert members.has(name) and members.size(name) == 4
        with members.open(name) as file:
            assert file.read() == b"blob"


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
