"""Disks that are small, and full to the last block: what they hold can be looked at, removed and pruned, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.content.db import Database
from boxwright.registry.server.store.catalog import RegistryCatalog
from support import REAL_ROOT, ext4_disk
from support.containers import IMAGE, Root, busybox_root

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root"),
]


@pytest.fixture(params=[(size, block) for size in ("12M", "40M") for block in (1024, 4096)], ids=str)
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Root]:
    size, block = request.param
    with ext4_disk(tmp_path / "disk", size, block=block) as path, busybox_root(path / "root") as root:
        yield root


def _fill(path: Path) -> None:
    """To the last block, with files of all sizes."""
    number, size = 0, 1 << 20
    while size:
        try:
            with open(path / f"fill{number}", "wb", buffering=0) as file:
                while file.write(bytes(size)) == size:
                    pass
        except OSError:
            size //= 4
        number += 1


def test_every_command_that_looks_or_removes_works(small: Root) -> None:
    small.out("tag", IMAGE, "other")
    small.out("volume", "create", "data")
    small.out("network", "create", "full-net")
    for name in ("one", "two"):
        small.out("create", "--network", "none", "--name", name, IMAGE, "true")
    small.engine.services.db.close()
    for _ in range(3):
        _fill(small.path.parent)
        for words in (
            ("ps", "-aq"),
            ("images", "-q"),
            ("system", "df"),
            ("volume", "ls", "-q"),
            ("inspect", "one"),
        ):
            assert small.out(*words), words
    for words in (
        ("rm", "one"),
        ("volume", "rm", "data"),
        ("network", "rm", "full-net"),
        ("rmi", "other"),
        ("container", "prune", "-f"),
        ("system", "prune", "-af"),
    ):
        small.out(*words)
    assert (small.out("ps", "-aq"), small.out("images", "-q"), small.out("volume", "ls", "-q")) == (
        "",
        "",
        "",
    )
    assert small.out("system", "fsck") == "The store is sound."


@pytest.mark.parametrize("words", [("rm", "-f", "one"), ("system", "prune", "-af")], ids=" ".join)
def test_room_is_made_against_one_who_takes_it(small: Root, words: tuple[str, ...]) -> None:
    small.out("create", "--network", "none", "--name", "one", IMAGE, "true")
    small.engine.services.db.close()
    _fill(small.path.parent)
    assert small.out("ps", "-aq")
    _fill(small.path.parent)
    small.out(*words)
    assert small.out("ps", "-aq") == ""


OPENING = """
import sys
from pathlib import Path
from boxwright.content.db import Database
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.files.disk import DiskFull
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.errors import NoSpace
root = Path(sys.argv[1])
try:
    with Database(root / "boxwright.db").read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (1,)
    with Database(root / "boxwright.db").write() as sql:
        sql.execute("DELETE FROM volumes WHERE name = 'none'")
except DiskFull:
    pass
try:
    RegistryCatalog(root / "registry.db")
except NoSpace:
    pass
"""


def test_no_number_of_free_blocks_ends_a_process(tmp_path: Path) -> None:
    """Blocks smaller than the pages of SQLite's shared memory: with some left, a write there was SIGBUS."""
    pytest.importorskip("aiohttp")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with ext4_disk(tmp_path / "disk", "8M", block=1024) as path:
        database = Database(path / "boxwright.db")
        with database.write() as sql:
            sql.execute("INSERT INTO volumes VALUES ('v', 0, 0, '{}')")
        database.close()
        RegistryCatalog(path / "registry.db").close()
        spare = path / "spare"
        spare.write_bytes(bytes(200 << 10))
        _fill(path)
        for free in (0, 6, 9, 12, 20, 30, 40, 60, 100):
            os.truncate(spare, (200 - free) << 10)
            done = subprocess.run(
                [sys.executable, "-c", OPENING, path], env=environ, capture_output=True, text=True
            )
            assert done.returncode == 0, (free, done.returncode, done.stderr)


def test_a_registrys_own_word_has_its_block(tmp_path: Path) -> None:
    """Every worker writes it after each commit, through a map of the file."""
    pytest.importorskip("aiohttp")
    with ext4_disk(tmp_path / "disk", "8M", block=1024) as path:
        catalog = RegistryCatalog(path / "registry.db")
        assert (path / "registry.db-stamp").stat().st_blocks
        catalog.close()
