"""What every tree that COPY and ADD read from must do (`build.context.filetree`), whether it is a directory of the
host or layers of an image."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import Invalid

LARGE = os.urandom(1 << 20) + b"end"  # larger than what comes as bytes
LATIN = os.fsdecode(b"caf\xe9")


def make_tree(top: Path) -> Path:
    """The tree of the suite, for an implementation to be made of."""
    (top / "a/deep").mkdir(parents=True)
    (top / "a/file").write_text("content")
    (top / "a/deep/empty").touch()
    (top / "a.txt").write_text("before the directory's content, after its name")
    (top / "large").write_bytes(LARGE)
    (top / LATIN).write_text("not UTF-8")
    (top / "twin").write_text("twins")
    os.link(top / "twin", top / "twin2")
    for name, target in {
        "link": "a/file",
        "up": "../../a",
        "absolute": "/a",
        "a/back": "../large",
        "dangling": "a/nothing",
        "out": "/etc/passwd",
        "loop": "loop2",
        "loop2": "loop",
    }.items():
        (top / name).symlink_to(target)
    (top / "a/file").chmod(0o755)
    return top


def content(tree: Any, path: str) -> bytes:
    found = tree.open(tree.resolve(path))
    if isinstance(found, bytes):
        return found
    with found:
        data: bytes = found.read()
    return data


class FileTreeSuite:
    """A subclass has a fixture `tree`: what `make_tree` makes."""

    def test_a_node_is_what_stands_at_its_path(self, tree: Any) -> None:
        known = {
            "": "dir",
            "a": "dir",
            "a/deep": "dir",
            "a/file": "file",
            "link": "symlink",
            "dangling": "symlink",
        }
        for path, kind in known.items():
            node = tree.lstat(path)
            assert (node.path, node.type) == (path, kind)
        assert tree.lstat("a/file").size == 7 and tree.lstat("a/file").mode & 0o777 == 0o755
        assert tree.lstat("link").link == "a/file" and tree.lstat("up").link == "../../a"

    def test_what_is_not_there_is_none(self, tree: Any) -> None:
        for path in ("nothing", "a/nothing", "a/file/below", "a/deep/empty/x/y", "link/x", "up/file"):
            assert tree.lstat(path) is None, path
        for path in ("nothing", "dangling", "out", "a/file/below"):
            assert tree.resolve(path) is None, path

    def test_links_lead_somewhere_inside_the_tree(self, tree: Any) -> None:
        leads = {
            "link": "a/file",
            "up/file": "a/file",  # the top has nothing above it
            "absolute/deep": "a/deep",
            "a/back": "large",
            "absolute/back": "large",
            "": "",
        }
        for path, real in leads.items():
            assert tree.resolve(path).path == real, path
        assert tree.resolve("absolute/back", follow_last=False).path == "a/back"
        assert tree.resolve("dangling", follow_last=False).type == "symlink"
        with pytest.raises(Invalid):
            tree.resolve("loop")

    def test_names_of_a_directory_are_sorted(self, tree: Any) -> None:
        assert list(tree.listdir("a")) == ["back", "deep", "file"]
        assert list(tree.listdir("a/deep")) == ["empty"]
        names = list(tree.listdir(""))
        assert set(names) >= {"a", "a.txt", "large", LATIN, "out"} and names == sorted(names, key=os.fsencode)

    def test_a_walk_has_parents_first_and_each_once(self, tree: Any) -> None:
        assert [node.path for node in tree.walk("a")] == ["a/back", "a/deep", "a/deep/empty", "a/file"]
        paths = [node.path for node in tree.walk("")]
        assert paths.index("a/file") < paths.index("a.txt")  # a directory's content follows it
        assert len(paths) == len(set(paths)) and "" not in paths
        assert set(paths) >= {"a", "a/deep", "twin", "twin2", LATIN}

    def test_content_and_its_digest(self, tree: Any) -> None:
        wanted = {"a/file": b"content", "a/deep/empty": b"", "large": LARGE, LATIN: b"not UTF-8"}
        for path, data in wanted.items():
            for _ in range(2):  # the second time it may be known
                assert content(tree, path) == data, path
                assert tree.digest(tree.lstat(path)) == hashlib.sha256(data).hexdigest(), path

    def test_two_names_of_a_file_are_known_as_such(self, tree: Any) -> None:
        one, two = tree.lstat("twin"), tree.lstat("twin2")
        assert one.identity is not None and one.identity == two.identity
        assert tree.lstat("a/file").identity is None
        assert content(tree, "twin") == content(tree, "twin2") == b"twins"
