"""Stores, layers and drivers for the tests of snapshots."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from boxwright.content.db import Database
from boxwright.content.local import LocalStore
from boxwright.files.places import Places
from boxwright.layer.store import LayerStore
from boxwright.layer.write import Entry, TarBuilder
from boxwright.layer.writer import LayerWriter
from boxwright.snapshot import mount as mounting
from boxwright.snapshot.probe import make, try_driver
from boxwright.snapshot.snapshotter import Snapshotter
from boxwright.spec.digest import DiffID

EPOCH = 1_000_000_000 * 10**9


def make_layers(root: Path) -> LayerStore:
    """A store on a fresh root."""
    return LayerStore(LocalStore(root), Database(root / "boxwright.db"))


def add_layer(layers: LayerStore, entries: Mapping[str, object]) -> DiffID:
    """A tar-backed layer. 'd/' is a directory, '-name' a whiteout, 'd/!' an opaque mark; values: bytes are content, 'x' is a
    symbolic link's target, ('link', 'x') a hard link, an Entry is itself, None a directory of mode 755."""
    with LayerWriter(layers) as writer:
        builder = TarBuilder(writer)
        for name, value in entries.items():
            if name.startswith("-"):
                builder.whiteout(name[1:])
            elif name.endswith("/!"):
                builder.opaque(name[:-2])
            elif isinstance(value, Entry):
                builder.add(value, b"x" * value.size)
            elif name.endswith("/"):
                builder.add(Entry(path=name[:-1], type="dir", mode=0o755, mtime_ns=EPOCH))
            elif isinstance(value, bytes):
                builder.add(Entry(path=name, size=len(value), mtime_ns=EPOCH), value)
            elif isinstance(value, tuple):
                builder.add(Entry(path=name, type="hardlink", link=value[1], mtime_ns=EPOCH))
            else:
                builder.add(Entry(path=name, type="symlink", mode=0o777, link=str(value), mtime_ns=EPOCH))
        builder.finish()
        return writer.commit().diff_id


def why_not(driver: str, root: Path) -> str:
    """Why a driver cannot be tested here; '' when it can."""
    return try_driver(driver, root)


@contextmanager
def driver(name: str, root: Path, layers: LayerStore, *, alone: bool = True) -> Iterator[Snapshotter]:
    """A driver whose trees and mounts are gone afterwards, whatever the test did; `alone` on its root."""
    snapshots = make(name, root, layers)
    try:
        yield snapshots
    finally:
        if not alone:
            unmount_layers(root)
        else:
            _clean(snapshots, root)


def unmount_layers(root: Path) -> None:
    """Take down the mounts of layers that the trees under a root share."""
    shared = Places(root).mounts
    for path in mounts_below(root):
        if Path(path).parent == shared:
            mounting.detach(Path(path))


def _clean(snapshots: Snapshotter, root: Path) -> None:
    for key in os.listdir(root / "work"):
        if not key.startswith("."):
            snapshots.discard(key)
    unmount_layers(root)
    left = mounts_below(root)
    for path in left:
        mounting.detach(Path(path))
    assert not left, f"mounts were left: {left}"


def mounts_below(root: Path) -> list[str]:
    """What the mount table has below a directory."""
    with open("/proc/self/mounts") as table:
        places = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[1]) for line in table]
    return [place for place in places if place.startswith(str(root))][::-1]


def normalise(tree: Path) -> None:
    """One time for everything, so that equal changes make equal layers."""
    for parent, directories, files in os.walk(tree, topdown=False):
        for name in directories + files:
            os.utime(f"{parent}/{name}", ns=(EPOCH, EPOCH), follow_symlinks=False)
    os.utime(tree, ns=(EPOCH, EPOCH))


def listing(tree: Path) -> dict[str, str]:
    """Everything in a tree, as words that can be compared."""
    out: dict[str, str] = {}
    for parent, directories, files in os.walk(tree):
        for name in directories + files:
            path = Path(parent) / name
            info = path.lstat()
            words = [oct(info.st_mode), f"{info.st_uid}:{info.st_gid}"]
            if path.is_symlink():
                words.append(str(path.readlink()))
            elif path.is_file():
                words.append(path.read_bytes().decode())
            out[str(path.relative_to(tree))] = " ".join(words)
    return out
