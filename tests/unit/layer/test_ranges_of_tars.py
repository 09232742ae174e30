"""Ranges of another tar: what follows another as it did there is copied at once, and any difference is kept."""

from __future__ import annotations

import errno
import hashlib
import os
from array import array
from pathlib import Path

import pytest

from boxwright.layer import writer as writing
from boxwright.layer.tree import PlainFiles
from boxwright.layer.write import TarBuilder
from boxwright.layer.writer import LayerMismatch, LayerWriter
from support.layer import layer_store


def folder(number: int) -> PlainFiles:
    names = [b"%03d" % file for file in range(20)]
    sizes = array("q", [number * 700 + file for file in range(20)])
    return PlainFiles(
        directory=b"d%d" % number,
        names=names,
        modes=array("H", [0o644] * 20),
        sizes=sizes,
        uid=0,
        gid=0,
        mtime=10**9,
    )


def write(sink: LayerWriter, source: int | None, *, modes: dict[int, int], offsets: dict[int, int]) -> None:
    """Folders 0 to 9; from `source` where there is one, with the offsets that were noted when there was none."""
    builder = TarBuilder(sink)
    for number in range(10):
        mode = modes.get(number, 0o755)
        builder.put(b"d%d" % number, "dir", mode=mode, uid=0, gid=0, mtime=10**9, size=0)
        files = folder(number)
        if source is not None and number in offsets:
            at = offsets[number]
            builder.put_files(lambda files, at=at: sink.append_range(source, at, files), files)  # type: ignore[misc]
            continue
        if source is None:
            offsets[number] = builder.offset
        for name, size in zip(files.names, files.sizes):
            builder.put(b"d%d/%b" % (number, name), "file", mode=0o644, uid=0, gid=0, mtime=10**9, size=size)
            builder.content_bytes(bytes([number]) * size)
    builder.finish()


@pytest.fixture(params=["kernel", "by hand", "small pieces"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How it is copied; with every copy's length."""
    monkeypatch.setattr(writing, "_BEHIND_FROM", 4096)
    monkeypatch.setattr(writing, "_HASHED", 3000)
    if request.param == "small pieces":
        monkeypatch.setattr(writing, "_AT_ONCE", 10_000)
    if request.param == "by hand":

        def refuse(*_: object, **more: object) -> int:
            raise OSError(errno.EXDEV, "other file system")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    lengths: list[int] = []
    plain = writing.copy_range

    def copy_range(source: int, start: int, target: int, offset: int, length: int) -> None:
        lengths.append(length)
        plain(source=source, start=start, target=target, offset=offset, length=length)

    monkeypatch.setattr(writing, "copy_range", copy_range)
    return lengths


@pytest.mark.parametrize("modes", [{}, {4: 0o700}, {0: 0o711, 5: 0o700, 9: 0o1777}])
@pytest.mark.parametrize("missing", [(), (3,), (0, 9), range(0, 10, 2)])
def test_the_same_bytes(tmp_path: Path, way: list[int], modes: dict[int, int], missing: list[int]) -> None:
    store = layer_store(tmp_path / "store")
    offsets: dict[int, int] = {}
    with LayerWriter(store) as sink:
        write(sink, None, modes={}, offsets=offsets)
        first = sink.commit()
    with LayerWriter(store) as sink:
        write(sink, None, modes=modes, offsets={})
        wanted = sink.commit()
    index = (wanted.tar_path.parent / "index.erofs").read_bytes()
    some = {number: at for number, at in offsets.items() if number not in missing}
    with open(first.tar_path, "rb") as source, LayerWriter(store) as sink:
        write(sink, source.fileno(), modes=modes, offsets=some)
        found = sink.commit(anew=True)
    assert found.diff_id == wanted.diff_id
    data = found.tar_path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == found.diff_id.hex
    assert (found.tar_path.parent / "index.erofs").read_bytes() == index
    if not modes and not missing and len(data) < writing._AT_ONCE:
        assert len(way) == 1, "nothing differs: it is one range"


def test_a_source_that_is_cut_off(tmp_path: Path, way: list[int]) -> None:
    store = layer_store(tmp_path / "store")
    offsets: dict[int, int] = {}
    with LayerWriter(store) as sink:
        write(sink, None, modes={}, offsets=offsets)
        first = sink.commit()
    cut = tmp_path / "cut"
    cut.write_bytes(first.tar_path.read_bytes()[: offsets[9] - 5000])
    with open(cut, "rb") as source, pytest.raises(LayerMismatch), LayerWriter(store) as sink:
        write(sink, source.fileno(), modes={}, offsets=offsets)
        sink.commit()
    assert not [path for path in store.root.iterdir() if path.name.startswith(".tmp")]
