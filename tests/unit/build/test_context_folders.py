"""Directories of a context that did not change are known by their listing, and by nothing that a change could pass."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxwright.build.context import cache as digests
from boxwright.build.context.folders import FolderCache, fold, folders_of
from boxwright.build.context.local import ContextChanged, LocalContext
from boxwright.build.context.tree import fingerprint
from boxwright.build.dockerfile.ignore import IgnoreMatcher
from support.chance import chance

Change = Callable[[Path], Any]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose files are trusted when they are some ticks of the kernel's clock old."""
    monkeypatch.setattr(digests, "_TICK", 20_000_000)
    root = tmp_path / "top"
    for number in range(3):
        for name in ("a", "b", "sub/c", "sub/deep/d", "skip/e", "skip/keep/f"):
            path = root / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}{name}")
    (root / "empty").mkdir()
    (root / "link").symlink_to("0/a")
    os.link(root / "0/a", root / "1/again")
    time.sleep(0.05)
    return root


RULES = (
    None,
    IgnoreMatcher(["*/skip"]),
    IgnoreMatcher(["*/skip", "!*/skip/keep"]),
    IgnoreMatcher(["*", "!0/sub"]),
)


def digest(top: Path, cache: Path | None, ignore: IgnoreMatcher | None = None, pattern: str = ".") -> str:
    with LocalContext(top, ignore, cache) as context:
        return context.entries(pattern).digest()


def plainly(top: Path, ignore: IgnoreMatcher | None = None) -> str:
    """The digest of each node, looked at one by one as those of any tree are."""
    with LocalContext(top, ignore) as context:
        found = context.entries(".", exclude=["nothing-has-this-name"])
        entries = found.sources[0].entries
        summary = fold("", folders_of(entries, lambda node: fingerprint(context, node), times=False))
        assert not found.sources[0].whole and context.summary("").digest == summary.digest
        return found.digest()


@pytest.mark.parametrize("ignore", RULES, ids=["all", "rules", "exceptions", "only"])
def test_a_known_directory_costs_no_node_and_no_digest(
    top: Path, tmp_path: Path, ignore: IgnoreMatcher | None
) -> None:
    first = digest(top, tmp_path / "cache", ignore)
    with LocalContext(top, ignore, tmp_path / "cache") as context:
        found = context.entries(".")
        size = found.size
        assert found.digest() == first == plainly(top, ignore)
        assert set(context._folders) <= {""}, "the top alone is looked up, as any source is"
        assert context._cache._packed is None, "the digests were read"
        assert size == sum(node.size for node in found.sources[0].nodes)


CHANGES: dict[str, Change] = {
    "content": lambda top: (top / "0/sub/c").write_text("other"),
    "same size, time set back": lambda top: _back(top / "0/sub/c"),
    "mode": lambda top: (top / "0/sub/c").chmod(0o711),
    "mode of a directory": lambda top: (top / "0/sub").chmod(0o700),
    "new file": lambda top: (top / "0/sub/new").write_text(""),
    "new directory": lambda top: (top / "empty/d").mkdir(),
    "gone": lambda top: (top / "0/sub/c").unlink(),
    "renamed": lambda top: (top / "0/sub").rename(top / "0/other"),
    "changed places": lambda top: _swap(top / "0/a", top / "0/b"),
    "a link elsewhere": lambda top: _relink(top / "link", "0/b"),
    "a file became a directory": lambda top: ((top / "0/a").unlink(), (top / "0/a").mkdir()),
    "a second name": lambda top: os.link(top / "0/b", top / "2/again"),
    "no second name": lambda top: (top / "1/again").unlink(),
    "a copy instead of a second name": lambda top: _copied(top / "1/again"),
}


def _back(path: Path) -> None:
    status = path.stat()
    path.write_text("x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _swap(one: Path, two: Path) -> None:
    one.rename(one.with_name("x"))
    two.rename(one)
    one.with_name("x").rename(two)


def _relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _copied(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_shows(top: Path, tmp_path: Path, name: str) -> None:
    before = digest(top, tmp_path / "cache")
    CHANGES[name](top)
    after = digest(top, tmp_path / "cache")
    assert after != before
    assert after == plainly(top)
    time.sleep(0.05)
    assert after == digest(top, tmp_path / "cache") == digest(top, tmp_path / "cache")


@pytest.mark.parametrize("attribute", ["0/b", "0/sub"])
def test_extended_attributes_show(top: Path, tmp_path: Path, attribute: str) -> None:
    before = digest(top, tmp_path / "cache")
    try:
        os.setxattr(top / attribute, "user.k", b"1")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    assert digest(top, tmp_path / "cache") == plainly(top) != before


def test_random_changes_show(top: Path, tmp_path: Path) -> None:
    dice = chance(20)
    for _ in range(25):
        change = CHANGES[dice.choice(sorted(CHANGES))]
        try:
            change(top)
        except OSError:  # an earlier change took what it needs
            continue
        time.sleep(dice.choice((0.0, 0.05)))
        ignore = dice.choice(RULES)
        assert digest(top, tmp_path / "cache", ignore) == plainly(top, ignore)


def test_what_is_known_is_known_for_its_rules_and_modes(top: Path, tmp_path: Path) -> None:
    found = {digest(top, tmp_path / "cache", ignore) for ignore in RULES for _ in range(2)}
    assert len(found) == len(RULES)
    (top / "0/b").chmod(0o664)
    time.sleep(0.05)
    with LocalContext(top, None, tmp_path / "cache", umask=0o002) as context:
        assert context.entries(".").digest() in found
    for _ in range(2):
        with LocalContext(top, None, tmp_path / "cache", keep_modes=True) as context:
            assert context.entries(".").digest() not in found


def test_an_inner_directory_is_the_same_from_everywhere(top: Path, tmp_path: Path) -> None:
    one = digest(top, tmp_path / "cache", pattern="0/sub")
    assert one == digest(top, tmp_path / "cache", pattern="0/sub")
    (top / "moved").mkdir()
    (top / "0/sub").rename(top / "moved/sub")
    assert digest(top, tmp_path / "cache", pattern="moved/sub") == one


def test_what_is_fresh_is_not_remembered(top: Path, tmp_path: Path) -> None:
    digest(top, tmp_path / "cache")
    (top / "0/sub/c").write_text("now")
    digest(top, tmp_path / "cache")
    with LocalContext(top, None, tmp_path / "cache") as context:
        assert context._recalled("1/sub") is not None
        assert context._recalled("0/sub") is None


def test_a_link_that_changes_after_it_was_listed_is_noticed(top: Path) -> None:
    with LocalContext(top) as context:
        context._listing("")
        _relink(top / "link", "1/b")
        with pytest.raises(ContextChanged):
            context.lstat("link")


def test_a_damaged_file_counts_as_none(top: Path, tmp_path: Path) -> None:
    first = digest(top, tmp_path / "cache")
    (file,) = (path for path in (tmp_path / "cache").iterdir() if "-" in path.name)
    for damaged in (b"", file.read_bytes()[:-1], b"x" + file.read_bytes()):
        file.write_bytes(damaged)
        assert FolderCache(file).recall("", b"") is None
        assert digest(top, tmp_path / "cache") == first
