"""A store on a file system that is mounted read-only: it can be listed, saved from, measured and checked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.engine import Engine
from support import REAL_ROOT, ext4_disk, unmount_below
from support.containers import IMAGE, Root, busybox_root

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root"),
]


def _nothing(root: Path) -> None:
    """As a command leaves it."""


def _forget_log(root: Path) -> None:
    """As after a clean end: SQLite's log is in its file."""
    import sqlite3

    sqlite3.connect(root / "boxwright.db").execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    assert not (root / "boxwright.db-shm").exists()


def _lose_index(root: Path) -> None:
    """As after a power cut: a log, and no shared memory that tells what is in it."""
    (root / "boxwright.db-shm").unlink()
    assert (root / "boxwright.db-wal").stat().st_size


def _older(root: Path) -> None:
    """A schema that cannot be brought forward in its place."""
    import sqlite3

    with sqlite3.connect(root / "boxwright.db") as sql:
        sql.execute("DROP TABLE attached")
        sql.execute("DROP TABLE builds")
        sql.execute("PRAGMA user_version=1")
    sql.close()


@pytest.fixture(params=[_nothing, _forget_log, _lose_index, _older])
def frozen(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Root]:
    with ext4_disk(tmp_path / "disk", "60M") as path, busybox_root(path / "root") as root:
        root.engine.services.db.close()
        root.out("run", "--network", "none", "--name", "done", IMAGE, "true")
        root.out("volume", "create", "data")
        request.param(root.path)
        unmount_below(path)
        subprocess.run(["mount", "-o", "remount,ro", path], check=True)
        yield root
        root.engine.services.db.close()
        subprocess.run(["mount", "-o", "remount,rw", path], check=True)
        root.engine = Engine(settings=root.engine.settings)


def test_it_can_be_looked_at(frozen: Root, tmp_path: Path) -> None:
    assert IMAGE in frozen.out("images", "--format", "{{.Repository}}")
    assert frozen.out("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("done Exited (0)")
    assert frozen.out("volume", "ls", "-q") == "data"
    assert frozen.out("inspect", "-f", "{{.Name}}", "done") == "/done"
    assert "Images" in frozen.out("system", "df") and "data" in frozen.out("system", "df", "-v")
    assert frozen.out("system", "fsck") == "The store is sound."
    frozen.out("save", "-o", str(tmp_path / "saved.tar"), IMAGE)
    assert (tmp_path / "saved.tar").stat().st_size > 1 << 20


def test_it_says_that_it_cannot_be_written(frozen: Root) -> None:
    before = frozen.out("images", "-q"), frozen.out("ps", "-aq")
    for words in (
        ("tag", IMAGE, "other"),
        ("rmi", "-f", IMAGE),
        ("rm", "done"),
        ("create", IMAGE),
        ("volume", "create", "more"),
        ("network", "create", "more"),
        ("system", "prune", "-f"),
        ("import", "-"),
    ):
        failed = frozen.run(*words, check=None)
        assert failed.returncode and "read-only file system" in failed.stderr.lower(), (words, failed.stderr)
        assert "internal error" not in failed.stderr
    assert (frozen.out("images", "-q"), frozen.out("ps", "-aq")) == before
