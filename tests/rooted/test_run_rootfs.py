"""`--rootfs`: a directory of the host as a container's tree."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, Root, busybox_root
from support.images import busybox_tar

pytestmark = pytest.mark.rooted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with busybox_root(tmp_path_factory.mktemp("rootfs")) as root:
        yield root


@pytest.fixture
def tree(tmp_path: Path) -> str:
    (tmp_path / "tree").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "tree"], input=busybox_tar(), check=True)
    return str(tmp_path / "tree")


def test_a_directory_of_the_host_is_the_tree(root: Root, tree: str) -> None:
    lean = ("run", "--rm", "--network", "none", "--rootfs", tree)
    assert (
        root.out(*lean, "sh", "-c", "echo 1 >/mine; cat /mine; hostname >/dev/null; cat /etc/hosts | wc -l")
        != ""
    )
    assert Path(tree, "mine").read_text() == "1\n"
    assert not os.path.lexists(f"{tree}/.dockerenv")
    assert "No command specified" in root.run(*lean, check=125).stderr
    assert (
        "there is no such directory" in root.run("run", "--rootfs", f"{tree}/none", "true", check=125).stderr
    )


def test_it_is_started_again_looked_at_and_never_removed(root: Root, tree: str) -> None:
    root.run(
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "--rootfs",
        tree,
        "sh",
        "-c",
        "date >>/times; wc -l </times",
    )
    assert [root.out("start", "-a", "box").strip() for _ in range(2)] == ["1", "2"]
    assert root.out("inspect", "-f", "{{.Rootfs}} {{.Config.Image}}", "box") == f"{tree} {tree}"
    assert root.out("ps", "-a", "--format", "{{.Image}}") == tree
    assert "times" in root.out("cp", "box:/times", "-")
    for words in (("diff", "box"), ("commit", "box")):
        assert "directory" in root.run(*words, check=1).stderr
    assert "bin" in root.run("export", "box").stdout
    root.run("system", "df", "-v")
    root.run("system", "prune", "-af", "--volumes", "--filter", "label=none")
    root.run("fsck", check=None)
    before = sorted(os.listdir(tree))
    root.run("rm", "-f", "-v", "box")
    assert sorted(os.listdir(tree)) == before and "times" in before
    assert root.out("images", "-q", IMAGE) != ""
