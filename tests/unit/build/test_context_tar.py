"""Contexts that arrive as a tar."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from boxwright.build.context.archive import ContextArchiveInvalid, is_archive, unpacked_context
from boxwright.build.context.local import LocalContext
from boxwright.errors import Invalid

Entry = tuple[
    str, bytes | str | None, int
]  # name, content (bytes: file, text: link to, None: directory), mode


def archive(*entries: Entry, hard: tuple[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, mode in entries:
            info = tarfile.TarInfo(name)
            info.mode = mode
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        if hard:
            info = tarfile.TarInfo(hard[0])
            info.type, info.linkname = tarfile.LNKTYPE, hard[1]
            tar.addfile(info)
    return out.getvalue()


GOOD = archive(
    ("./", None, 0o755),
    ("./d", None, 0o555),
    ("./d/f", b"x" * 300_000, 0o640),
    ("./e", b"", 0o4755),
    ("./l", "d/f", 0o777),
    ("q/w/e", b"1", 0o644),
    hard=("h", "./e"),
)


@pytest.mark.parametrize(
    "pack",
    [
        lambda d: d,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        zstandard.ZstdCompressor().compress,
        lambda d: gzip.compress(d[:700]) + gzip.compress(d[700:]),
    ],
    ids=["plain", "gzip", "bzip2", "xz", "zstd", "two gzip members"],
)
def test_unpacked(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = pack(GOOD)
    assert is_archive(data[:65536])
    with unpacked_context(data[:1000], io.BytesIO(data[1000:]), tmp_path / "work") as root:
        assert (root / "d/f").read_bytes() == b"x" * 300_000
        assert [oct((root / name).stat().st_mode & 0o7777) for name in ("d", "d/f", "e")] == [
            "0o555",
            "0o640",
            "0o4755",
        ]
        assert (root / "h").samefile(root / "e")
        assert os.readlink(root / "l") == "d/f"
        with LocalContext(root) as context:
            assert [node.path for node in context.walk("")] == [
                "d",
                "d/f",
                "e",
                "h",
                "l",
                "q",
                "q/w",
                "q/w/e",
            ]
            assert {node.uid for node in context.walk("")} == {0}
    assert list((tmp_path / "work").iterdir()) == []


def test_later_entries_replace_earlier_ones(tmp_path: Path) -> None:
    data = archive(
        ("a", b"1", 0o644), ("a", b"2", 0o600), ("b", "a", 0o777), ("b", None, 0o755), ("b/c", b"3", 0o644)
    )
    with unpacked_context(data, io.BytesIO(), tmp_path) as root:
        assert (root / "a").read_bytes() == b"2"
        assert (root / "b/c").read_bytes() == b"3"


def test_nothing_gets_out(tmp_path: Path) -> None:
    data = archive(
        ("out", str(tmp_path), 0o777),
        ("out/evil", b"x", 0o644),
        ("up", "../..", 0o777),
        ("up/evil", b"x", 0o644),
    )
    with unpacked_context(data, io.BytesIO(), tmp_path / "work") as root:
        assert sorted(p.relative_to(root).as_posix() for p in root.rglob("evil"))
    assert not (tmp_path / "evil").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_link_in_a_directorys_place_is_not_followed(tmp_path: Path) -> None:
    """Modes and times of directories are set when everything is there: what a link leads to stays as it is."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    before = victim.stat()
    data = archive(("x", None, 0o777), ("x", str(victim), 0o777))
    with unpacked_context(data[:100], io.BytesIO(data[100:]), tmp_path / "work") as directory:
        assert (directory / "x").is_symlink()
    assert (victim.stat().st_mode, victim.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.parametrize(
    "data",
    [
        archive(("../x", b"x", 0o644)),
        archive(("a", b"x", 0o644), ("a/b", b"x", 0o644)),
        archive(hard=("h", "missing")),
        archive(("a", b"x" * 5000, 0o644))[:2000],
        b"\x1f\x8b\x08" + b"\0" * 100,
    ],
    ids=["leaves", "below a file", "hard link to nothing", "cut off", "no gzip"],
)
def test_refused(data: bytes, tmp_path: Path) -> None:
    from boxwright.errors import BoxwrightError

    with pytest.raises(BoxwrightError), unpacked_context(data, io.BytesIO(), tmp_path / "work"):
        pass
    assert list((tmp_path / "work").iterdir()) == []


def test_errors_name_the_entry(tmp_path: Path) -> None:
    with (
        pytest.raises(ContextArchiveInvalid, match="cannot unpack 'a/b' of the context archive"),
        unpacked_context(archive(("a", b"x", 0o644), ("a/b", b"x", 0o644)), io.BytesIO(), tmp_path),
    ):
        pass
    assert issubclass(ContextArchiveInvalid, Invalid)


@pytest.mark.parametrize("data", [b"", b"FROM scratch\n", b"FROM a\n" * 200, b"#!/bin/sh\n" * 100])
def test_dockerfiles_are_no_archives(data: bytes) -> None:
    assert not is_archive(data)


def test_an_archive_without_entries(tmp_path: Path) -> None:
    assert is_archive(bytes(10240))
    with unpacked_context(bytes(10240), io.BytesIO(), tmp_path) as root:
        assert list(root.iterdir()) == []
