"""The snapshot suite on the drivers that mount."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxwright.snapshot import mount as mounting
from boxwright.snapshot.probe import choose_driver
from boxwright.snapshot.snapshotter import Mount
from suites.snapshot_suite import SnapshotSuite
from support import REAL_ROOT
from support.snapshot import add_layer, make_layers

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]


@contextmanager
def overlay(top: Path) -> Iterator[Path]:
    """The top of an overlay."""
    for name in ("lower", "upper", "work", "merged"):
        (top / name).mkdir()
    options = (f"lowerdir={top}/lower", f"upperdir={top}/upper", f"workdir={top}/work")
    mounting.attach([Mount("overlay", "overlay", options)], top / "merged")
    try:
        yield top / "merged"
    finally:
        while mounting.is_mounted(top / "merged") and mounting.detach(top / "merged"):
            pass


class TestMounted(SnapshotSuite):
    driver_name = "mounted"


class TestUnpacked(SnapshotSuite):
    driver_name = "unpacked"


class TestCopiedOnAnOverlay(SnapshotSuite):
    """A root in a container without a volume: no overlay can be stacked there, and overlayfs's whiteouts are refused."""

    driver_name = "copied"

    @pytest.fixture
    def tmp_path(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        with overlay(tmp_path_factory.mktemp("overlay")) as top:
            yield top


def test_a_driver_that_works_is_chosen_on_an_overlay(tmp_path: Path) -> None:
    with overlay(tmp_path) as top:
        layers = make_layers(top / "root")
        snapshots = choose_driver(top / "root", layers)
        assert snapshots.name == "copied"
        bottom = add_layer(layers, {"a/": None, "a/f": b"f", "b": b"b"})
        snapshots.prepare("w", [bottom])
        tree = snapshots.mount("w")
        (tree / "b").unlink()
        (tree / "a/f").unlink()
        (tree / "s").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:  # one of the tree's own is no whiteout
            listener.bind(str(tree / "s/own"))
        layer = snapshots.commit("w")
        assert layer.kind == "tar"
        snapshots.view("v", [bottom, layer.diff_id])
        assert sorted(p.name for p in snapshots.mount("v").rglob("*")) == ["a", "s"]
        snapshots.discard("v")
