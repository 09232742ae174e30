"""Where definitions lie: the suite on a directory and on a checkout, and where the two differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.bake.remote import Nothing
from boxwright.bake.trees import Checkout, Directory
from suites.definition_tree_suite import DefinitionTreeSuite, make_definitions


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    return make_definitions(tmp_path / "top")


class TestDirectory(DefinitionTreeSuite):
    @pytest.fixture
    def tree(self, top: Path) -> Directory:
        return Directory(top)


class TestCheckout(DefinitionTreeSuite):
    @pytest.fixture
    def tree(self, top: Path) -> Checkout:
        return Checkout(top)


@pytest.mark.parametrize("path", ["../secret", "out", "up/secret"])
def test_only_the_users_own_files_lead_elsewhere(top: Path, path: str) -> None:
    (top / "out").symlink_to(top.parent / "secret")
    (top / "up").symlink_to("..")
    mine = Directory(top)
    assert mine.read(path, 100) == b"secret" and mine.paths == {path}
    assert Checkout(top).read(path, 100) is None


def test_the_whole_path_is_the_users_or_the_checkouts_own(top: Path) -> None:
    assert Directory(top).read(str(top / "bake.hcl"), 100) == b"target x {}"
    assert Checkout(top).read("/bake.hcl", 100) == b"target x {}"


def test_beside_a_definition_that_is_alone_there_is_nothing() -> None:
    assert Nothing().read("bake.hcl", 100) is None
