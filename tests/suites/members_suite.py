"""What every archive of images gives its reader (`image.members.Members`), whatever it is kept in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from boxwright.image.members import ArchiveInvalid, read_small
from boxwright.spec.manifest import MAX_SIZE

FILES = {"index.json": b"{}", "blobs/one": b"blob", "blobs/empty": b"", "deep/er/file": b"x" * 5000}
LARGE = "large"  # of more bytes than a manifest may have


def make_members(top: Path) -> Path:
    """The files of the suite, for an archive to be made of, and what no reader may be given."""
    for name, data in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    with (top / LARGE).open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    os.mkfifo(top / "fifo")
    (top / "loop").symlink_to("loop")
    (top / "dangling").symlink_to("nothing")
    (top / "out").symlink_to("../secret")
    return top


class MembersSuite:
    """A subclass has a fixture `members`: what `make_members` makes, beside a file ``secret`` that is no part of it."""

    def test_files_are_found_by_any_spelling(self, members: Any) -> None:
        for name, data in FILES.items():
            for spelled in (name, f"./{name}", f"/{name}", name.replace("/", "//")):
                assert members.has(spelled) and members.size(spelled) == len(data), spelled
                with members.open(spelled) as file:
                    assert file.read() == data, spelled

    def test_several_are_read_at_once(self, members: Any) -> None:
        with members.open("deep/er/file") as one, members.open("blobs/one") as two:
            assert (one.read(2), two.read(2), one.read(1), two.read()) == (b"xx", b"bl", b"x", b"ob")

    @pytest.mark.parametrize("name", ["none", "", "blobs", "fifo", "dangling", "out", "../secret", "a\0b"])
    def test_what_is_no_file_of_it_is_not_there(self, members: Any, name: str) -> None:
        assert not members.has(name)
        for look in (members.size, members.open):
            with pytest.raises(ArchiveInvalid, match=" has no "):
                look(name)

    def test_a_circle_of_links_is_refused_or_not_there(self, members: Any) -> None:
        with pytest.raises(ArchiveInvalid):
            members.open("loop")

    def test_only_small_files_are_read_whole(self, members: Any) -> None:
        assert read_small(members, "blobs/one") == b"blob"
        assert members.has(LARGE) and members.size(LARGE) == MAX_SIZE + 1
        with pytest.raises(ArchiveInvalid, match=f"at most {MAX_SIZE} are accepted"):
            read_small(members, LARGE)
