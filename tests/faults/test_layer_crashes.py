"""A process that dies at any system call of an ingest leaves the old state or the new one, and garbage that is found."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.layer.adopt import adopt_tree
from boxwright.layer.blobs import ingest_blob, ingest_tar
from boxwright.layer.store import LayerStore
from boxwright.layer.tarstream import open_tar
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from support.layer import layer_store, make_tar, member

TAR = make_tar(member("a/f", data=b"content" * 300), member("b", data=b"x"))
PACKED = gzip.compress(TAR, mtime=0)
DESC = Descriptor(mt.OCI_LAYER_GZIP, Digest.of(PACKED), len(PACKED))
CALLS = ("write", "pwrite", "fsync", "open", "rename", "mkdir", "posix_fadvise", "listdir")


def by_tar(layers: LayerStore) -> None:
    ingest_tar(layers, io.BytesIO(TAR))


def by_blob(layers: LayerStore) -> None:
    ingest_blob(layers, io.BytesIO(PACKED), DESC)


def by_tree(layers: LayerStore) -> None:
    tree = layers.store.root / "work" / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a/f").write_bytes(b"content" * 300)
    os.utime(tree / "a/f", (5, 5))
    os.utime(tree / "a", (5, 5))
    adopt_tree(layers, tree)


def dies_after(count: int, work: Callable[[], None]) -> bool:
    """Run in a child that is gone after so many calls; whether it was."""
    pid = os.fork()
    if pid == 0:
        left = count

        def counted(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return original(*arguments, **more)

            return call

        try:
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


@pytest.mark.parametrize("work", [by_tar, by_blob, by_tree])
def test_a_kill_at_every_call(tmp_path: Path, work: Callable[[LayerStore], None]) -> None:
    count, died = 0, True
    while died:
        root = tmp_path / str(count)
        layer_store(root).all()  # the root itself is there
        died = dies_after(count, lambda root=root: work(layer_store(root)))  # type: ignore[misc]
        layers = layer_store(root)
        for layer in layers.all():
            with open_tar(layer) as tar:
                assert DiffID.of(tar.read()) == layer.diff_id
        known = {layer.path for layer in layers.all()}
        for path in list(layers.leftovers()):
            assert path not in known
            layers.discard(path)
        assert set(layers.root.iterdir()) == known
        if work is not by_tree:
            work(layers)
            assert layers.has(DiffID.of(TAR))
        count += 1
    assert count > 5
