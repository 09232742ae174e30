"""What is remembered of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.files.found import boot_id, recall, remember


def test_it_is_good_for_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "new/driver.json"
    remember(path, [boot_id(), 0], {"driver": "mounted"})
    assert recall(path, [boot_id(), 0]) == {"driver": "mounted", "key": [boot_id(), 0]}
    assert recall(path, [boot_id(), 1]) is None and recall(tmp_path / "none", []) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"key": 1}', b"\xff"])
def test_what_another_program_wrote_is_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "driver.json"
    path.write_bytes(content)
    assert recall(path, [1]) is None


def test_where_nothing_can_be_kept_it_is_found_out_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    remember(tmp_path / "file/driver.json", [1], {})
    assert recall(tmp_path / "file/driver.json", [1]) is None
