"""Paths inside an untrusted tree: with openat2 and with the walk, the same answers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.files import syscalls
from boxwright.rootfs import root as module
from boxwright.rootfs.root import Root, UnsafePath, found_in


@pytest.fixture(params=["openat2", "walk"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    if request.param == "walk":
        monkeypatch.setattr(module, "open_in_root", module.walk_in_root)
    (tmp_path / "outside").write_text("secret")
    top = tmp_path / "top"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_text("inside")
    (top / "usr/bin").mkdir(parents=True)
    (top / "bin").symlink_to("usr/bin")
    (top / "absolute").symlink_to("/etc/passwd")
    (top / "escape").symlink_to("../../outside")
    (top / "up").symlink_to("../../../../..")
    (top / "dangling").symlink_to("/nowhere/yet")
    (top / "loop").symlink_to("loop")
    with Root.at(top) as tree:
        yield tree


def text(tree: Root, path: str) -> str | None:
    data = tree.read(path)
    return None if data is None else data.decode()


def test_links_stay_inside(tree: Root) -> None:
    assert text(tree, "/absolute") == "inside"
    assert text(tree, "absolute") == "inside"
    assert text(tree, "up/etc/passwd") == "inside"
    assert text(tree, "../../etc/passwd") == "inside"
    assert text(tree, "escape") is None
    assert text(tree, "/../outside") is None
    assert tree.listdir("up") == tree.listdir("/")


def test_loops_and_missing_files(tree: Root) -> None:
    with pytest.raises(OSError):
        tree.stat("loop")
    assert tree.readlink("loop") == "loop"
    with pytest.raises(FileNotFoundError):
        tree.stat("dangling")
    with pytest.raises(NotADirectoryError):
        tree.stat("etc/passwd/x")
    with pytest.raises(UnsafePath, match="too many levels"):
        tree.resolve("loop/x")


def test_a_file_can_be_made_through_a_link(tree: Root) -> None:
    os.close(tree.open("bin/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    assert tree.lstat("/usr/bin/new").st_mode & 0o777 == 0o600


def test_resolve_keeps_what_is_missing(tree: Root) -> None:
    assert tree.resolve("bin/../x/./y") == "/usr/x/y"
    assert tree.resolve("dangling/a") == "/nowhere/yet/a"
    assert tree.resolve("/up/../../etc") == "/etc"
    assert tree.resolve("") == "/"


def test_resolve_leaves_the_last_link(tree: Root) -> None:
    assert tree.resolve("bin/../../up/absolute", follow_last=False) == "/absolute"
    assert tree.resolve("up/loop", follow_last=False) == "/loop"
    assert tree.resolve("/", follow_last=False) == "/"


def test_where_a_path_leads_in_a_tree_of_the_host(tree: Root, tmp_path: Path) -> None:
    top = tmp_path / "top"
    for path, inside, kind in (
        ("up/bin", "/usr/bin", stat.S_IFDIR),
        ("absolute", "/etc/passwd", stat.S_IFREG),
        ("../..", "/", stat.S_IFDIR),
    ):
        found, mode = found_in(top, path)
        assert (found, stat.S_IFMT(mode)) == (inside, kind)
    for path in ("dangling", "escape", "etc/none"):
        with pytest.raises(FileNotFoundError):
            found_in(top, path)
    with pytest.raises(UnsafePath, match="too many levels"):
        found_in(top, "loop")


def test_makedirs_reports_what_it_made(tree: Root) -> None:
    assert tree.makedirs("bin/a/b", 0o750) == ["/usr/bin/a", "/usr/bin/a/b"]
    assert tree.makedirs("/bin/a/b") == []
    assert tree.lstat("usr/bin/a/b").st_mode & 0o777 == 0o750
    assert tree.makedirs("dangling/c")[0] == "/nowhere"
    with pytest.raises(OSError):
        tree.makedirs("etc/passwd/x")


def test_remove_tree_follows_nothing(tree: Root) -> None:
    tree.makedirs("rm/x")
    with tree.parent("rm/x/link") as (fd, name):
        os.symlink("/etc", name, dir_fd=fd)
    tree.remove_tree("rm")
    tree.remove_tree("rm")
    tree.remove_tree("absolute")
    assert "rm" not in tree.listdir()
    assert text(tree, "etc/passwd") == "inside"


def test_names_that_are_no_names(tree: Root) -> None:
    for path in ("/", "", "a/..", "."):
        with pytest.raises(UnsafePath), tree.parent(path):
            pass
    with pytest.raises(UnsafePath):
        tree.open("a\0b")


def test_special_files_are_not_read(tree: Root) -> None:
    with tree.parent("fifo") as (fd, name):
        os.mkfifo(name, dir_fd=fd)
    assert tree.read("fifo") is None  # and does not block
    assert tree.read("etc") is None
    assert tree.read("etc/passwd", limit=3) == b"ins"


def test_system_calls_report_errors() -> None:
    with pytest.raises(FileNotFoundError):
        syscalls.libc("rmdir", b"/no/such/place")
    assert syscalls.libc("getpid") == os.getpid()


def test_the_public_ctypes_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> object:
        raise ImportError("no _ctypes")

    monkeypatch.setattr(syscalls, "_raw_library", broken)
    named, error = syscalls._library.__wrapped__()
    assert named("getpid")() == os.getpid()
    assert named("rmdir")(b"/no/such/place") & 0xFFFFFFFF == 0xFFFFFFFF
    assert error() == 2
