"""What is remembered of the driver that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.files.places import Places
from boxwright.snapshot import chosen

FOUND = {"driver": "copied", "reason": "so", "userxattr": False}


def test_a_driver_is_known_for_what_was_asked(tmp_path: Path) -> None:
    assert chosen.chosen(tmp_path, "") is None
    chosen.keep(tmp_path, "", FOUND)
    known = chosen.chosen(tmp_path, "")
    assert known is not None and {key: known[key] for key in FOUND} == FOUND
    assert chosen.chosen(tmp_path, "mounted") is None
    assert chosen.chosen(tmp_path / "other", "") is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff"])
def test_what_cannot_be_read_is_found_out_again(tmp_path: Path, text: bytes) -> None:
    Places(tmp_path).driver.write_bytes(text)
    assert chosen.chosen(tmp_path, "") is None


def test_a_driver_that_this_release_does_not_have_is_none(tmp_path: Path) -> None:
    chosen.keep(tmp_path, "", {**FOUND, "driver": "other"})
    assert chosen.chosen(tmp_path, "") is None
