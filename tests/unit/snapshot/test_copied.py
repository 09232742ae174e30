"""The snapshot suite on the driver that needs nothing."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.layer.tarstream import open_tar
from suites.snapshot_suite import SnapshotSuite
from support.snapshot import add_layer, driver, make_layers


class TestCopied(SnapshotSuite):
    driver_name = "copied"


def as_nobody(work: Callable[[], None]) -> int:
    """Run in a child without privileges; returns 0 when it went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def import_all() -> None:
    for name in (
        "boxwright.layer.source",
        "boxwright.layer.writer",
        "boxwright.layer.walk",
        "boxwright.snapshot.copying",
        "boxwright.snapshot.difference",
    ):
        importlib.import_module(name)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_without_root(tmp_path: Path) -> None:
    top = tmp_path / "store"
    top.mkdir()
    if os.geteuid() == 0:
        os.chown(top, 65534, 65534)
        for directory in (tmp_path, *tmp_path.parents):  # pytest makes them for their owner alone
            directory.chmod(directory.stat().st_mode | 0o011)
            if directory.name.startswith("pytest-of-"):
                break

    def work() -> None:
        layers = make_layers(top / "root")
        base = add_layer(layers, {"d/": None, "d/f": b"f", "d/g": b"g", "l": "d"})
        with driver("copied", top / "root", layers) as snapshots:
            snapshots.prepare("k", [base])
            tree = snapshots.mount("k")
            (tree / "d/f").unlink()
            (tree / "d/new").write_text("new")
            (tree / "d/new").chmod(0o400)
            (tree / "locked").mkdir(mode=0o000)
            assert [f"{c.kind} {c.path}" for c in snapshots.changes("k")] == [
                "C /d",
                "D /d/f",
                "A /d/new",
                "A /locked",
            ]
            layer = snapshots.commit("k")
            assert layer.kind == "tar"
            with open_tar(layer) as tar:
                data = tar.read()
            # What this user made is root's in the layer.
            assert data[108:116] == b"0000000\0"
            snapshots.view("v", [base, layer.diff_id])
            assert sorted(os.listdir(snapshots.mount("v") / "d")) == ["g", "new"]

    assert as_nobody(work) == 0
