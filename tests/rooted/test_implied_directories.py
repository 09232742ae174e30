"""A layer that only implies /tmp leaves it as the layers below made it, whatever driver shows the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxwright.layer.write import Entry
from boxwright.rootfs.root import Root
from support import REAL_ROOT
from support.snapshot import add_layer, driver, make_layers, why_not

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]


@pytest.mark.parametrize("name", ["mounted", "unpacked", "copied"])
@pytest.mark.parametrize("writable", [True, False])
def test_attributes_from_below(tmp_path: Path, name: str, writable: bool) -> None:
    if reason := why_not(name, tmp_path / "probe"):
        pytest.skip(reason)
    layers = make_layers(tmp_path / "root")
    bottom = add_layer(
        layers,
        {
            "tmp/": None,
            "var": Entry(path="var", type="dir", mode=0o750, uid=3, gid=4),
            "var/tmp": Entry(path="var/tmp", type="dir", mode=0o1777, mtime_ns=5 * 10**9),
            "root": Entry(path="root", type="dir", mode=0o700),
        },
    )
    top = add_layer(layers, {"var/tmp/new": b"n", "root/.profile": b"p", "made/up": b"m"})
    with driver(name, tmp_path / "root", layers) as snapshots:
        if writable:
            snapshots.prepare("key", [bottom, top])
        else:
            snapshots.view("key", [bottom, top])
        with Root(snapshots.open("key")) as tree:
            shown = {path: os.stat(path, dir_fd=tree.fd) for path in ("var", "var/tmp", "root", "made")}
        assert {path: (st.st_mode & 0o7777, st.st_uid, st.st_gid) for path, st in shown.items()} == {
            "var": (0o750, 3, 4),
            "var/tmp": (0o1777, 0, 0),
            "root": (0o700, 0, 0),
            "made": (0o755, 0, 0),
        }
        assert list(snapshots.changes("key")) == []
