"""What every place that definitions are read from must do (`bake.trees.DefinitionTree`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def make_definitions(top: Path) -> Path:
    """The files of the suite."""
    (top / "sub").mkdir(parents=True)
    (top / "bake.hcl").write_bytes(b"target x {}")
    (top / "sub/compose.yaml").write_bytes(b"services: {}")
    (top / "empty").touch()
    (top / "link").symlink_to("sub/compose.yaml")
    (top / "folder").symlink_to("sub")
    (top / "dangling").symlink_to("nothing")
    os.mkfifo(top / "fifo")
    return top


class DefinitionTreeSuite:
    """A subclass has a fixture `tree`: what `make_definitions` makes."""

    @pytest.mark.parametrize(
        ("path", "data"),
        [
            ("bake.hcl", b"target x {}"),
            ("./sub/compose.yaml", b"services: {}"),
            ("sub/../bake.hcl", b"target x {}"),
            ("link", b"services: {}"),
            ("folder/compose.yaml", b"services: {}"),
            ("empty", b""),
        ],
    )
    def test_a_file_is_read(self, tree: Any, path: str, data: bytes) -> None:
        assert tree.read(path, 100) == data

    def test_no_more_than_was_asked_for(self, tree: Any) -> None:
        assert tree.read("bake.hcl", 6) == b"target" and tree.read("bake.hcl", 11) == b"target x {}"

    @pytest.mark.parametrize("path", ["nothing", "sub", "", ".", "dangling", "fifo", "bake.hcl/x", "a\0b"])
    def test_what_is_no_file_is_none(self, tree: Any, path: str) -> None:
        assert tree.read(path, 100) is None
