"""Whom of the host a user namespace takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.runtime.userns import DEFAULT_BASE, SIZE, NoUserNamespace, Subordinate, namespace, subordinate
from support import REAL_ROOT


@pytest.mark.parametrize(
    ("uids", "gids", "base"),
    [
        ("", "", DEFAULT_BASE),
        ("boxwright:300000:65536", "boxwright:300000:65536", 300000),
        ("root:500000:65536\nboxwright:300000:65536", "boxwright:300000:70000\nroot:500000:65536", 300000),
        ("boxwright:300000:65535\nroot:500000:65536", "root:500000:65536", 500000),  # too few
        ("boxwright:300000:65536", "boxwright:400000:65536", DEFAULT_BASE),  # other groups
        ("boxwright:300000:65536", "", DEFAULT_BASE),
        ("boxwright:0:65536", "boxwright:0:65536", DEFAULT_BASE),  # the host's own root
        ("root:1000:65536", "root:1000:65536", DEFAULT_BASE),  # the host's own people
        ("boxwright:4294901760:65536", "boxwright:4294901760:65536", DEFAULT_BASE),  # beyond all users
        ("someone:300000:65536", "someone:300000:65536", DEFAULT_BASE),
        ("boxwright:x:y\nboxwright\n::\nboxwright:²:65536", "boxwright:300000:65536", DEFAULT_BASE),
    ],
)
def test_the_range_of_the_host(tmp_path: Path, uids: str, gids: str, base: int) -> None:
    for name, text in (("subuid", uids), ("subgid", gids)):
        (tmp_path / name).write_text(text)
    assert subordinate(tmp_path / "subuid", tmp_path / "subgid") == Subordinate(base, SIZE)


def test_without_files_it_is_the_default(tmp_path: Path) -> None:
    assert subordinate(tmp_path / "none", tmp_path / "none") == Subordinate()
    assert DEFAULT_BASE % SIZE == 0 and DEFAULT_BASE + SIZE < 1 << 31


def test_who_is_who() -> None:
    users = Subordinate(300000)
    assert (users.host(0), users.host(65535)) == (300000, 365535)
    for number in (-1, 65536):
        with pytest.raises(NoUserNamespace, match="does not exist"):
            users.host(number)


@pytest.mark.skipif(not REAL_ROOT, reason="needs root")
def test_a_namespace_that_cannot_be_had() -> None:
    with pytest.raises(NoUserNamespace, match="cannot map users"), namespace(Subordinate((1 << 32) - 10)):
        pass
