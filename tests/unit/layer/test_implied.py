"""Directories that tars only imply keep the attributes that lower layers give them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from boxwright.layer.blobs import ingest_tar
from boxwright.layer.implied import implies, misshown, write_attributes
from boxwright.layer.store import Layer, LayerStore
from support.layer import layer_store, make_tar, member

D = tarfile.DIRTYPE


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return layer_store(tmp_path / "root")


def ingest(layers: LayerStore, *members: tuple[tarfile.TarInfo, bytes]) -> Layer:
    return ingest_tar(layers, io.BytesIO(make_tar(*members)))


def test_what_counts(layers: LayerStore) -> None:
    assert not implies(ingest(layers, member("f"), member("d/", D), member("d/f")))
    assert not implies(ingest(layers, member("d/f"), member("d/", D)))
    assert implies(ingest(layers, member("d/f")))


def test_most_stacks_have_none(layers: LayerStore) -> None:
    base = ingest(layers, member("tmp/", D, mode=0o1777), member("plain/", D), member("implied/f"))
    assert misshown([base]) == []
    assert misshown([base, ingest(layers, member("plain/f"), member("new/f"), member("implied/g"))]) == []
    assert (
        misshown(
            [
                base,
                ingest(layers, member("tmp/f")),
                ingest(layers, member("tmp/", D, mode=0o700), member("tmp/g")),
            ]
        )
        == []
    )


def test_the_lower_layer_s_word_is_restored(layers: LayerStore, tmp_path: Path) -> None:
    base = ingest(
        layers,
        member("./", D, mode=0o711, mtime=1),
        member("var/", D, mode=0o750, mtime=2),
        member("var/tmp/", D, mode=0o1777, mtime=3),
        member("root/", D, mode=0o700),
    )
    nodes = misshown(
        [base, ingest(layers, member("var/tmp/f")), ingest(layers, member("var/lib/x"), member("gone/y"))]
    )
    assert [(node.path, node.mode) for node in nodes] == [("", 0o711), ("var", 0o750), ("var/tmp", 0o1777)]
    target = tmp_path / "attributes"
    target.mkdir()
    write_attributes(nodes, target)
    found = {
        str(path.relative_to(target)): (path.stat().st_mode & 0o7777, path.stat().st_mtime)
        for path in (target, *target.rglob("*"))
    }
    assert found == {".": (0o711, 1), "var": (0o750, 2), "var/tmp": (0o1777, 3)}


def test_removed_and_replaced_directories_need_nothing(layers: LayerStore) -> None:
    base = ingest(layers, member("a/", D, mode=0o700), member("b/", D, mode=0o700))
    assert (
        misshown(
            [base, ingest(layers, member("a/f")), ingest(layers, member(".wh.a"), member("b", data=b"file"))]
        )
        == []
    )
    assert misshown([base, ingest(layers, member(".wh.a"), member("a/f"))]) == []


def test_a_time_is_an_attribute_too(layers: LayerStore) -> None:
    base = ingest(layers, member("d/", D, mtime=5), member("d/sub/", D, mtime=6), member("other/", D))
    nodes = misshown([base, ingest(layers, member("d/sub/f"), member("other/f"))])
    assert [(node.path, node.mtime_ns) for node in nodes] == [("", 0), ("d", 5 * 10**9), ("d/sub", 6 * 10**9)]


@pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")
def test_owners(layers: LayerStore, tmp_path: Path) -> None:
    base = ingest(layers, member("home/me/", D, uid=1000, gid=1000))
    nodes = misshown([base, ingest(layers, member("home/me/.profile", uid=1000))])
    (tmp_path / "t").mkdir()
    write_attributes(nodes, tmp_path / "t")
    assert (tmp_path / "t/home/me").stat().st_uid == 1000
