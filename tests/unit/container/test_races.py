"""What makes something in a tree that a container's processes change meanwhile does not follow a link that one of them
puts in the place of what was just made: it would lead through the host's tree."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.archive import pack, unpack
from boxwright.container.treecopy import TreeCopy
from boxwright.rootfs.mountpoints import MountPoints
from boxwright.rootfs.root import Root


def archive(kind: bytes) -> Callable[[Path, Path], None]:
    def into(tree: Path, work: Path) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            info = tarfile.TarInfo("made")
            info.type, info.mode, info.mtime = kind, 0o4777, 1_000_000_000
            tar.addfile(info)
        data.seek(0)
        with Root.at(tree) as root:
            unpack(root, "/", data, work)

    return into


def copied(make: Callable[[Path], None]) -> Callable[[Path, Path], None]:
    def into(tree: Path, work: Path) -> None:
        make(work / "made")
        (work / "made").chmod(0o4777)
        source, target = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (work, tree))
        try:
            TreeCopy().entry(source, "made", target, "made")
        finally:
            os.close(source)
            os.close(target)

    return into


def directories(tree: Path, work: Path) -> None:
    with Root.at(tree) as root:
        root.makedirs("/made/below", 0o777)


def mount_point(tree: Path, work: Path) -> None:
    MountPoints().prepare(tree, [{"destination": "/made", "type": "tmpfs", "source": "tmpfs", "options": []}])


WAYS = {
    "archive-file": archive(tarfile.REGTYPE),
    "archive-directory": archive(tarfile.DIRTYPE),
    "archive-fifo": archive(tarfile.FIFOTYPE),
    "copy-file": copied(Path.touch),
    "copy-directory": copied(Path.mkdir),
    "copy-fifo": copied(os.mkfifo),
    "makedirs": directories,
    "mount-point": mount_point,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_no_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, kind: str) -> None:
    victim, tree, work = tmp_path / "victim", tmp_path / "tree", tmp_path / "work"
    tree.mkdir()
    work.mkdir()
    (Path.touch if kind == "file" else Path.mkdir)(victim)
    victim.chmod(0o700)
    before = os.stat(victim)
    exchanged = []

    def exchanging(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            result = real(path, *args, **options)
            made = tree / "made"
            if path == "made" and not exchanged and made.exists() and not made.is_symlink():
                made.rename(tree / "moved")
                made.symlink_to(victim)
                exchanged.append(path)
            return result

        return call

    for name in ("mkdir", "mknod", "open"):
        monkeypatch.setattr(os, name, exchanging(getattr(os, name)))
    try:
        WAYS[way](tree, work)
    except OSError:
        pass  # a link is in the way: said, not followed
    monkeypatch.undo()
    after = os.stat(victim)
    assert exchanged
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime_ns,
    )
    assert kind == "file" or not os.listdir(victim)


def test_what_became_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, target = tmp_path / "tree", tmp_path / "target"
    tree.mkdir()
    target.mkdir()
    real = os.open

    def exchanging(path: Any, *args: Any, **options: Any) -> int:
        if path == "f":
            (tree / "f").unlink(missing_ok=True)
            os.mkfifo(tree / "f")
        return real(path, *args, **options)

    source, sink = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (tree, target))
    monkeypatch.setattr(os, "open", exchanging)
    for read in (
        lambda: TreeCopy().entry(source, "f", sink, "f"),
        lambda: pack(source, "f", "f", io.BytesIO()),
    ):
        (tree / "f").unlink(missing_ok=True)
        (tree / "f").write_bytes(b"data")
        with pytest.raises(OSError, match="another file"):
            read()
    os.close(source)
    os.close(sink)
