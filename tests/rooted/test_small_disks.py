"""Disks that are small, and full to the last block: what is there can be looked at, removed and pruned, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import REAL_ROOT, ext4_disk
from support_containers import IMAGE, Root, busybox_root

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
    small.engine.db.close()
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
    small.engine.db.close()
    _fill(small.path.parent)
    assert small.out("ps", "-aq")
    _fill(small.path.parent)
    small.out(*words)
    assert small.out("ps", "-aq") == ""


CATALOG = """
import sys
from pathlib import Path
from boxwright.registry.server.catalog import Catalog
from boxwright.registry.server.wire import NoSpace
try:
    catalog = Catalog(Path(sys.argv[1]))
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(2000):
        with catalog.write() as sql:
            catalog.make(sql, f"acme/app-{number}")
except NoSpace as error:
    print(error)
"""


@pytest.mark.parametrize("before", [True, False], ids=["full before", "full after"])
def test_a_registrys_catalog_says_that_the_disk_is_full(tmp_path: Path, before: bool) -> None:
    """Its shared memory, and its own word in another file, have their blocks: no write there is SIGBUS."""
    pytest.importorskip("aiohttp")
    with ext4_disk(tmp_path / "disk", "8M", block=1024) as path:
        if before:
            _fill(path)
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        child = subprocess.Popen(
            [sys.executable, "-c", CATALOG, path / "registry.db"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            text=True,
        )
        assert child.stdin is not None and child.stdout is not None
        first = child.stdout.readline()
        if not before:
            assert first == "open\n"
            _fill(path)
        out, _ = child.communicate("\n", timeout=60)
        assert child.returncode == 0 and "storage is full" in first + out
