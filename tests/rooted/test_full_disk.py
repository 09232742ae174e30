"""A disk that a container filled to the last block: looked at, told, and emptied with our own commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import REAL_ROOT, small_disk
from support.containers import IMAGE, Root, busybox_root

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root"),
]
FILL = "dd if=/dev/zero of=/big bs=1M count=500 2>/dev/null; while echo x >> /more; do :; done 2>/dev/null; exit 7"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Root]:
    with small_disk(tmp_path / "small", "90m") as path, busybox_root(path / "root") as root:
        yield root


def test_a_full_disk_can_be_looked_at_and_emptied(small: Root) -> None:
    small.out("tag", IMAGE, "other")
    assert (
        small.run("run", "--network", "none", "--name", "filler", IMAGE, "sh", "-c", FILL, check=7).stderr
        == ""
    )
    assert small.out("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("filler Exited (7)")
    assert small.out("inspect", "-f", "{{.State.ExitCode}}", "filler") == "7"
    refused = small.run("run", "--rm", "--network", "none", IMAGE, "true", check=None)
    assert refused.returncode in (0, 125) and "Traceback" not in refused.stderr, refused.stderr
    assert "filler" in small.out("container", "prune", "-f") or small.out("ps", "-aq") == ""
    assert small.out("rmi", "other").startswith("Untagged: other")
    assert small.out("run", "--rm", "--network", "none", IMAGE, "echo", "room again") == "room again"
    assert small.out("system", "fsck") == "The store is sound."


def test_a_container_that_fills_the_disk_is_removed_with_rm(small: Root) -> None:
    assert small.run("run", "--rm", "--network", "none", IMAGE, "sh", "-c", FILL, check=7).stderr == ""
    assert small.out("ps", "-aq") == "" and list((small.path / "work").iterdir()) == []
    assert small.out("system", "fsck") == "The store is sound."
