"""Space for a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxwright.content import reserve
from boxwright.files.places import Places


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    now = {"bytes": 1 << 40}
    monkeypatch.setattr(reserve, "_free", lambda root: now["bytes"])
    return now


def size(root: Path) -> int:
    return (Places(root).reserve).stat().st_size


def test_it_is_real_space_and_comes_back_piece_by_piece(tmp_path: Path, free: dict[str, int]) -> None:
    reserve.check(tmp_path)
    assert size(tmp_path) == 4 << 20 and os.stat(Places(tmp_path).reserve).st_blocks * 512 >= 4 << 20
    reserve.spend(tmp_path)
    assert size(tmp_path) == 4 << 20, "there is room enough"
    assert not reserve.full(tmp_path)
    free["bytes"] = 0
    assert reserve.full(tmp_path)
    reserve.check(tmp_path)
    assert size(tmp_path) == 4 << 20, "to look takes nothing"
    reserve.spend(tmp_path)
    assert size(tmp_path) == 3 << 20
    for _ in range(6):
        reserve.spend(tmp_path)
    assert 0 < size(tmp_path) < 1 << 20
    for _ in range(4):
        reserve.spend(tmp_path)
    assert size(tmp_path) == 0
    free["bytes"] = 3 << 20
    reserve.check(tmp_path)
    assert size(tmp_path) == 0, "a little room is not taken away"
    free["bytes"] = 10 << 20
    reserve.check(tmp_path)
    assert size(tmp_path) == 512 << 10, "a small disk has a small one"
    free["bytes"] = 1 << 30
    reserve.check(tmp_path)
    assert size(tmp_path) == 4 << 20


def test_where_there_is_no_store_there_is_none(tmp_path: Path) -> None:
    reserve.check(tmp_path / "nosuch")
    reserve.spend(tmp_path / "nosuch")
    assert os.listdir(tmp_path) == []
