"""Networks that steps use one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.build.ops.stepwire import inside
from support.descriptors import none_left_open


def test_a_network_that_is_gone_leaves_nothing_open(tmp_path: Path) -> None:
    with none_left_open(), pytest.raises(FileNotFoundError), inside(str(tmp_path / "gone")):
        raise AssertionError("the block has run")
