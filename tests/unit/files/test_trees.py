"""Removing trees of any shape, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from boxwright.files import syscalls, trees
from boxwright.files.trees import discard, erase, remove_tree
from support.descriptors import none_left_open


def test_two_remove_one_tree(tmp_path: Path) -> None:
    for round in range(20):
        for number in range(60):
            (tmp_path / f"rm/{number % 7}/{number}").mkdir(parents=True)
            (tmp_path / f"rm/{number % 7}/{number}/file").write_text("")
        both = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(remove_tree, both, "rm") for _ in range(2)]:
                    done.result()
        finally:
            os.close(both)
        assert not (tmp_path / "rm").exists(), round


def test_remove_tree_of_any_depth(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    top = os.dup(fd)
    for _ in range(
        3000
    ):  # far past PATH_MAX, the recursion limit and the number of descriptors that are sane
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(fd)
        fd = below
    os.close(fd)
    with none_left_open():
        remove_tree(top, "d")
        assert os.listdir(top) == []
    os.close(top)


def test_erase_takes_any_tree(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(1500):  # deeper than Python's stack and the longest path
        os.mkdir("d" * 100, dir_fd=here)
        there = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    outside = tmp_path / "outside"
    outside.write_text("safe")
    (deep / "file").write_bytes(b"x" * 10_000)
    (deep / "link").symlink_to(outside)
    assert erase(deep) > 0
    assert os.listdir(tmp_path) == ["outside"] and outside.read_text() == "safe"
    assert erase(tmp_path / "nosuch") == 0


_MOUNTED = """
import os, subprocess, sys
from pathlib import Path
from boxwright.files import syscalls, trees
top, outside = Path(sys.argv[1], "top"), Path(sys.argv[1], "outside")
for path in (top, outside, top / "below" / "mounted"):
    path.mkdir(parents=True, exist_ok=True)
(outside / "kept").write_text("kept")
if sys.argv[2] == "walk":
    syscalls.call = lambda *_: (_ for _ in ()).throw(OSError(38, "no such call"))
kind = ["-t", "tmpfs", "none"] if sys.argv[3] == "tmpfs" else ["--bind", str(outside)]
for at in (top / "below" / "mounted", top):
    subprocess.run(["mount", *kind, str(at)], check=True)
    (at / "inside").write_text("")
    try:
        trees.erase(top)
        sys.exit("nothing stopped it")
    except OSError as error:
        assert error.errno == 16, error
    assert (at / "inside").exists() and (outside / "kept").exists()
    subprocess.run(["umount", str(at)], check=True)
trees.erase(top)
assert not top.exists() and (outside / "kept").exists()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.parametrize(("way", "kind"), [("openat2", "bind"), ("openat2", "tmpfs"), ("walk", "tmpfs")])
def test_a_mount_is_not_entered(way: str, kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", _MOUNTED, str(tmp_path), way, kind],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_removed_is_said_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)

    def refused(*_: object) -> int:
        raise OSError(errno.EXDEV, "another mount")

    monkeypatch.setattr(syscalls, "call", refused)
    with pytest.raises(OSError, match="something is mounted there") as caught:
        erase(tmp_path / "tree")
    assert caught.value.errno == errno.EBUSY
    discard(tmp_path / "tree")
    assert (tmp_path / "tree" / "below").is_dir()


def test_only_what_was_freed_is_counted(tmp_path: Path) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    data = tmp_path / "tree" / "below" / "data"
    data.write_bytes(b"x" * 100_000)
    os.link(data, tmp_path / "second")
    assert erase(tmp_path / "tree") < 100_000
    assert erase(tmp_path / "second") >= 100_000
    assert trees.erase(tmp_path / "tree") == 0
