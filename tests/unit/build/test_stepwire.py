"""Networks that steps use one after the other."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from boxwright.build.ops.stepwire import inside


def test_a_network_that_is_gone_leaves_nothing_open(tmp_path: Path) -> None:
    gc.collect()  # what other tests left to it
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError), inside(str(tmp_path / "gone")):
        raise AssertionError("the block has run")
    assert set(os.listdir("/proc/self/fd")) <= before
