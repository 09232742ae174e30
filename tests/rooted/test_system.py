"""Images, containers and volumes together: removal, disk usage and pruning, from the command line."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support import REAL_ROOT
from support.images import busybox_tar, have_busybox

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="needs root: real containers"),
    pytest.mark.skipif(not have_busybox(), reason="busybox-static is not installed"),
]

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """The command line on a root of its own; the exit code must be `code`."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "BOXWRIGHT_ROOT": str(tmp_path / "root")}

    def call(*argv: str, code: int = 0, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "boxwright", *argv],
            env=environ,
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode() if code == 0 else done.stderr.decode()

    yield call
    names = call("ps", "-aq").split()
    if names:
        call("rm", "-f", *names)
    call("system", "prune", "-af")
    with open("/proc/self/mounts") as mounts:
        assert str(tmp_path) not in mounts.read()


def sizes(run: Run) -> dict[str, dict[str, str]]:
    return {row["Type"]: row for row in map(json.loads, run("system", "df", "--format", "json").splitlines())}


def test_a_life(run: Run, tmp_path: Path) -> None:
    run("import", "-c", 'CMD ["sh"]', "-", "base:1", stdin=busybox_tar())
    run(
        "run",
        "--name",
        "done",
        "--network",
        "none",
        "-v",
        "kept:/data",
        "base:1",
        "sh",
        "-c",
        "head -c 300000 /dev/zero > /data/f; echo x > /y",
    )
    run("run", "-d", "--name", "lives", "--network", "none", "base:1", "sleep", "60")
    assert "using its referenced image" in run("rmi", "base:1", code=1)
    assert run("rmi", "-f", "base:1") == "Untagged: base:1\n"
    image = run("images", "-q", "--no-trunc").strip()
    assert "cannot be forced" in run("rmi", "-f", image, code=1)
    parts = sizes(run)
    assert (parts["Images"]["Active"], parts["Containers"]["TotalCount"], parts["Containers"]["Active"]) == (
        "1",
        "2",
        "1",
    )
    assert parts["Local Volumes"]["Reclaimable"].startswith("0B") and parts["Images"][
        "Reclaimable"
    ].startswith("0B")
    assert run("image", "prune", "-af").startswith("Total reclaimed space: 0B")
    assert run("inspect", "-f", "{{.Image}}", "lives").strip() == image
    assert json.loads(run("inspect", "kept"))[0]["Name"] == "kept"
    first = run("system", "prune", "-f", "--volumes")
    assert first.startswith("Deleted Containers:\n") and "Deleted Images" not in first
    assert run("exec", "lives", "cat", "/etc/hostname")
    run("rm", "-f", "lives")
    assert f"deleted: {image}" in run("system", "prune", "-af")
    assert sizes(run)["Images"]["Size"] == sizes(run)["Containers"]["Size"] == "0B"
    assert os.listdir(tmp_path / "root/layers") == []
    assert run("system", "fsck") == "The store is sound.\n"


def test_the_parts_are_what_du_sees(run: Run, tmp_path: Path) -> None:
    run("import", "-", "base:1", stdin=busybox_tar())
    for n in range(3):
        run(
            "run",
            "--name",
            f"c{n}",
            "--network",
            "none",
            "-v",
            f"v{n}:/data",
            "base:1",
            "sh",
            "-c",
            f"head -c {n}00000 /dev/urandom | tee /data/f > /f",
        )
    run("commit", "c2", "committed")
    lines = run("system", "df", "-v")
    assert all(f"c{n}" in lines and f"v{n}" in lines for n in range(3))
    from boxwright.engine import Engine
    from boxwright.settings import load

    engine = Engine(settings=load({"HOME": str(tmp_path), "BOXWRIGHT_ROOT": str(tmp_path / "root")}))
    total = engine.system.df().total
    engine.services.db.close()
    # What SQLite has beside its file only while a process, such as an ending supervisor, has it open.
    du = ["du", "-sxB1", "--exclude=*.db-wal", "--exclude=*.db-shm", str(tmp_path / "root")]
    seen = int(subprocess.run(du, capture_output=True, check=True).stdout.split()[0])
    assert abs(total - seen) <= seen / 100


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA user_version=999")


def _nonsense(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE containers SET record = 'no JSON'")


def _no_database(path: Path) -> None:
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [_newer, _nonsense, _no_database, _a_directory])
def test_reset_works_on_any_store(run: Run, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """A running container, a volume that is mounted, and rows that cannot be read: everything ends and goes."""
    root = tmp_path / "root"
    run("import", "-", "base:1", stdin=busybox_tar())
    device = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m")
    run("volume", "create", *device, "vol")
    again = ("--restart", "always", "--network", "none")
    box = run("run", "-d", *again, "-v", "vol:/v", "base:1", "sleep", "600").strip()
    pid = json.loads((root / "containers" / box / "state.json").read_text())["Pid"]
    harm(root / "boxwright.db")
    assert "Removed everything" in run("system", "reset", "-f")
    assert not root.exists() and not os.path.exists(f"/proc/{pid}")
    assert run("images", "-q") == ""
