"""kill -9 while trees are made, written, mounted and committed: what is left is under work/, and `discard` takes it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from boxwright.layer.tarstream import open_tar
from boxwright.layer.view import LayersView
from boxwright.runtime.process import Stdio, spawn
from support import REAL_ROOT
from support.chance import chance, rounds
from support.snapshot import add_layer, driver, make_layers, mounts_below, why_not

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]

PROGRAM = """
import itertools, os, sys
from pathlib import Path
from support.snapshot import make_layers
from boxwright.snapshot.probe import make
from boxwright.spec.digest import DiffID
root, name = Path(sys.argv[1]), sys.argv[2]
layers = make_layers(root)
snapshots = make(name, root, layers)
stack = [DiffID.parse(d) for d in sys.argv[3:]]
for n in itertools.count():
    key = f"k{os.getpid()}-{n}"
    snapshots.prepare(key, stack, volatile=True)
    tree = snapshots.mount(key)
    (tree / "a").rename(tree / "b")
    (tree / "new").write_text(str(n))
    if n % 3 == 0:
        snapshots.snapshot_layer(key)
    snapshots.discard(key) if n % 3 == 2 else snapshots.commit(key)
"""


@pytest.mark.soak
@pytest.mark.parametrize("name", ["mounted", "unpacked", "copied"])
def test_whatever_is_left_can_be_discarded(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    layers = make_layers(root)
    if reason := why_not(name, root):
        pytest.skip(reason)
    stack = [add_layer(layers, {"d/": None, "d/f": b"f", "a": b"a"})]
    env = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PATH": os.defpath}
    when = chance(name)
    for _ in rounds(6):
        process = spawn(
            [sys.executable, "-c", PROGRAM, str(root), name, *map(str, stack)], env=env, stdio=Stdio(stderr=2)
        )
        time.sleep(0.4)
        time.sleep(when.random() * 0.2)
        assert process.poll() is None, "it must not end by itself"
        process.kill()
        process.wait()
    with driver(name, root, layers) as snapshots:
        for key in os.listdir(root / "work"):
            snapshots.discard(key)
        assert os.listdir(root / "work") == []
        assert all(Path(path).parent == root / "mounts" for path in mounts_below(root))
        # Every layer that has a row is whole.
        for layer in layers.all():
            with open_tar(layer) as tar:
                while tar.read(1 << 20):
                    pass
            with LayersView([layer]) as view:
                assert list(view.walk(""))
        snapshots.prepare("after", stack)
        assert (snapshots.mount("after") / "d/f").read_bytes() == b"f"
