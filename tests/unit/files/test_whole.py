"""Small files that appear whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import Invalid
from boxwright.files import whole
from boxwright.files.disk import DiskFull, whole_file


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order."""
    made: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> None:
        def called(*args: Any, **options: Any) -> Any:
            directory = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            made.append("fsync of the directory" if directory else name)
            return function(*args, **options)

        monkeypatch.setattr(os, name, called)

    for name in ("fsync", "rename", "link"):
        noted(name, getattr(os, name))
    return made


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["fsync", "rename", "fsync of the directory"]),
        ({"at_once": False}, ["fsync", "rename"]),
        ({"sync": False}, ["rename"]),
    ],
)
def test_a_file_lasts_as_its_writer_says(
    tmp_path: Path, calls: list[str], options: dict[str, bool], expected: list[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old, and longer")
    whole.replace(path, b"new", mode=0o600, **options)
    assert calls == expected
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_relative_name_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole.replace("file", b"1")
    assert whole.create("other", b"2")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


@pytest.mark.parametrize("write", [whole.replace, whole.replace_in_place_of, whole.create])
def test_a_failure_leaves_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], object]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_the_longest_name_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    whole.replace(path, b"new")
    with whole_file(path) as out:
        out.write(b"newer")
    assert path.read_bytes() == b"newer"


def test_a_part_of_an_earlier_writer_is_no_obstacle(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"left by a crash, and longer")
    whole.replace(tmp_path / "file", b"new", temporary=str(part))
    assert (tmp_path / "file").read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def test_the_first_of_several_wins(tmp_path: Path, calls: list[str]) -> None:
    path = tmp_path / "key"
    assert whole.create(path, b"first")
    assert calls == ["fsync", "link", "fsync of the directory"]
    assert not whole.create(path, b"second")
    assert path.read_bytes() == b"first" and path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_what_belongs_to_a_user_stays_as_it_is_but_for_the_content(tmp_path: Path, calls: list[str]) -> None:
    path, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(path)
    whole.replace_in_place_of(link, b"1")
    assert calls == ["fsync", "rename", "fsync of the directory"]
    assert link.is_symlink() and path.read_bytes() == b"1" and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 5678)
    before = path.stat()
    whole.replace_in_place_of(link, b"2")
    after = path.stat()
    assert link.is_symlink() and path.read_bytes() == b"2"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_a_stream_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path, link = tmp_path / "real", tmp_path / "link"
    path.write_bytes(b"old")
    link.symlink_to("real")
    with pytest.raises(ValueError, match="torn"), whole_file(link) as out:
        out.write(b"half")
        raise ValueError("torn")
    assert path.read_bytes() == b"old"
    with whole_file(link) as out:
        out.write(b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


@pytest.mark.parametrize("refusal", [0, errno.EOPNOTSUPP, errno.EISDIR])
def test_a_kill_leaves_nothing_where_files_can_be_nameless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    path, opened, real, nameless = tmp_path / "file", list[int](), os.open, not refusal
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        nameless = False  # not on this file system

    def refusing(name: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            opened.append(flags)
            if refusal:
                raise OSError(refusal, os.strerror(refusal))
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    for text in (b"new", b"newer"):
        with whole_file(path) as out:
            out.write(text)
            out.flush()
            parts = [name for name in os.listdir(tmp_path) if name != "file"]
            assert (parts == []) == nameless
        assert path.read_bytes() == text and os.listdir(tmp_path) == ["file"]
    assert opened


def test_a_pipe_is_written_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(path) as out:
        out.write(b"through")
    assert os.read(reader, 100) == b"through" and stat.S_ISFIFO(path.stat().st_mode)
    os.close(reader)
    with pytest.raises(Invalid, match="cannot write"), whole_file(tmp_path):
        pass


def test_no_room_for_a_new_file_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DiskFull), whole_file(tmp_path / "file"):
        pass
