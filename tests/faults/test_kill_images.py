"""kill -9 at random moments of import, load, rmi and prune, and a disk that is full: the store always works."""

from __future__ import annotations

import gc
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxwright.build.options import outputs as parse_outputs
from boxwright.build.progress import BuildWarning, StepDone, StepFailure
from boxwright.build.request import BuildFailed
from boxwright.engine import Engine
from boxwright.errors import NotFound, Unavailable
from boxwright.files.disk import DiskFull
from support import REAL_ROOT
from support.chance import chance, rounds
from support.image import engine, imported, oci_files, rootfs, saved, sound, tar_of
from support.layer import make_tar, member

ROUNDS = 12


def start(root: Path, *argv: str, stdin: Path | None = None) -> subprocess.Popen[bytes]:
    environ = {"HOME": str(root), "PATH": os.environ["PATH"], "BOXWRIGHT_ROOT": str(root)}
    source = open(stdin, "rb") if stdin else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "boxwright", *argv],
            env=environ,
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    finally:
        if stdin:
            source.close()  # type: ignore[union-attr]


def run_time(root: Path, *argv: str, stdin: Path | None = None) -> float:
    """Seconds of an undisturbed run."""
    begin = time.monotonic()
    process = start(root, *argv, stdin=stdin)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return time.monotonic() - begin


def kill_within(
    seconds: float, root: Path, *argv: str, stdin: Path | None = None, dice: random.Random
) -> None:
    """Start, and kill at some moment of the time that it takes; the start of Python is passed over."""
    process = start(root, *argv, stdin=stdin)
    time.sleep(dice.uniform(seconds * 0.2, seconds * 1.05))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def works(eng: Engine) -> None:
    """The store is sound, holds nothing but what its rows reach, and takes a new image."""
    assert eng.system.fsck() == []
    for image in eng.images.list(all=True):
        assert sound(eng.services.images_store, image.id)
    for name in os.listdir(
        eng.services.layers.root
    ):  # what a writer that was killed this second leaves is left alone
        if name.startswith(".tmp-"):
            os.utime(eng.services.layers.root / name, (1, 1))
    eng.system.collect()
    assert len(os.listdir(eng.services.layers.root)) == len(eng.services.layers.all())
    assert os.listdir(eng.root / "trash") == [] if (eng.root / "trash").exists() else True
    name = f"after:{time.monotonic_ns()}"
    imported(eng, name, name.replace(":", "-"))
    eng.images.remove(name)
    assert eng.system.fsck() == []
    with eng.services.db.read() as sql:
        assert sql.execute("SELECT count(*) FROM leases").fetchone() == (0,)


@pytest.fixture
def dice() -> random.Random:
    return chance()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.tar"
    path.write_bytes(make_tar(*(member(f"f{n}", data=os.urandom(50_000)) for n in range(300))))
    return path


@pytest.mark.soak
def test_import(tmp_path: Path, big: Path, dice: random.Random) -> None:
    took = run_time(tmp_path / "measure", "import", str(big), "x")
    eng = engine(tmp_path / "root")
    imported(eng, "keep")
    for _ in rounds(ROUNDS):
        kill_within(took, eng.root, "import", str(big), "x", dice=dice)
        works(eng)
        assert eng.services.images_store.resolve("keep")
    run_time(eng.root, "import", str(big), "x")
    assert sound(eng.services.images_store, "x")


@pytest.mark.soak
@pytest.mark.parametrize("streamed", [False, True], ids=["file", "stdin"])
@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gzip"])
def test_load(tmp_path: Path, big: Path, dice: random.Random, streamed: bool, gz: bool) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(
        tar_of(oci_files([rootfs("a"), big.read_bytes()], name="docker.io/library/x:latest", gz=gz))
    )
    argv = ("load",) if streamed else ("load", "-i", str(archive))
    stdin = archive if streamed else None
    took = run_time(tmp_path / "measure", *argv, stdin=stdin)
    eng = engine(tmp_path / "root")
    for _ in rounds(ROUNDS // 2):
        kill_within(took, eng.root, *argv, stdin=stdin, dice=dice)
        works(eng)
    run_time(eng.root, *argv, stdin=stdin)
    assert sound(eng.services.images_store, "x")


@pytest.mark.soak
@pytest.mark.parametrize("verb", ["rmi", "prune"])
def test_removal(tmp_path: Path, dice: random.Random, verb: str) -> None:
    eng = engine(tmp_path / "root")
    imported(eng, "keep", "keep")
    archives = []
    for n in range(4):
        imported(eng, f"x{n}", *(f"{n}/{m}" for m in range(50)))
        archives.append(saved(eng, f"x{n}"))
    argv = (
        ("rmi", "x0", "x1", "x2", "x3")
        if verb == "rmi"
        else ("image", "prune", "-f", "--all", "--filter", "label!=keep")
    )
    took = run_time(eng.root, *argv)
    for _ in rounds(ROUNDS):
        for archive in archives:
            eng.images.load(io.BytesIO(archive))
        kill_within(took, eng.root, *argv, dice=dice)
        works(eng)
        if verb == "rmi":
            assert sound(eng.services.images_store, "keep")


def test_commands_beside_each_other(tmp_path: Path, big: Path) -> None:
    """Imports, loads, removals and prunes of several processes at once."""
    eng = engine(tmp_path / "root")
    imported(eng, "keep")
    archive = tmp_path / "archive.tar"
    archive.write_bytes(tar_of(oci_files([big.read_bytes()], name="docker.io/library/x:latest")))
    for _ in range(3):
        jobs = [
            start(eng.root, *argv)
            for argv in (
                ("import", str(big), "a:1"),
                ("load", "-i", str(archive)),
                ("image", "prune", "-f"),
                ("import", str(big), "a:2"),
                ("builder", "prune", "-af"),
                ("system", "df"),
                ("image", "prune", "-f"),
                ("images",),
            )
        ]
        for job in jobs:
            _, err = job.communicate(timeout=120)
            assert job.returncode == 0, err
        for name in ("keep", "a:1", "a:2", "x"):
            assert sound(eng.services.images_store, name)
        works(eng)


def open_below(where: Path) -> list[str]:
    """Files under a directory that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        found += [link] if link.startswith(f"{where}/") else []
    return found


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a file system of 6 MB."""
    if not REAL_ROOT:
        pytest.skip("only root can mount a small disk")
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(where)], check=True)
    eng = engine(where / "root")
    yield eng
    eng.services.db.close()
    # The threads of a copy that failed end by themselves, and their connections with the exception that they raised.
    deadline = time.monotonic() + 30
    while held := open_below(where):
        assert time.monotonic() < deadline, held
        gc.collect()
        time.sleep(0.05)
    subprocess.run(["umount", str(where)], check=True)


@pytest.mark.rooted
@pytest.mark.parametrize("how", ["import", "load", "stream"])
def test_a_full_disk(small: Engine, tmp_path: Path, big: Path, how: str) -> None:
    eng = small
    imported(eng, "keep")
    archive = tmp_path / "archive.tar"
    archive.write_bytes(tar_of(oci_files([big.read_bytes()], name="docker.io/library/x:latest", gz=False)))
    attempts: dict[str, Callable[[], object]] = {
        "import": lambda: eng.images.import_(str(big), "x"),
        "load": lambda: eng.images.load(archive),
        "stream": lambda: eng.images.load(io.BytesIO(archive.read_bytes())),
    }
    for _ in range(3):
        with pytest.raises(DiskFull):
            attempts[how]()
        works(eng)
    assert [image.tags for image in eng.images.list()] == [("keep:latest",)]


def fill(path: Path) -> None:
    """Let a file take all that its disk has."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, bytes(4096)):
            pass
    except OSError:
        pass
    finally:
        os.close(fd)


@pytest.mark.rooted
def test_a_disk_that_takes_no_end_of_a_build(small: Engine, tmp_path: Path) -> None:
    """What the build itself came to stands, be it a result or an error."""
    eng, filling = (
        engine(small.root),
        small.root.parent / "filler",
    )  # gone at the end with its threads' connections
    (tmp_path / "c").mkdir()
    (tmp_path / "c/f").write_text("f")
    good, bad = b"FROM scratch\nCOPY f /\n", b"FROM scratch\nCOPY none /\n"
    out = parse_outputs([f"type=local,dest={tmp_path / 'out'}"])
    told: list[str] = []

    def heard(event: object) -> None:
        if isinstance(event, StepFailure) or (isinstance(event, StepDone) and "export" in event.step):
            fill(filling)
        elif isinstance(event, BuildWarning):
            told.append(event.message)

    eng.build(context=tmp_path / "c", dockerfile_data=good, outputs=out, progress=heard)
    assert (tmp_path / "out/f").read_text() == "f" and filling.exists()
    assert told or eng.builds.get().status == "completed"  # it may fit into what the database has already
    filling.unlink()
    assert eng.system.fsck() == []
    told.clear()
    with pytest.raises(BuildFailed) as raised:
        eng.build(context=tmp_path / "c", dockerfile_data=bad, progress=heard)
    assert isinstance(raised.value.cause, NotFound) and filling.exists()
    assert told or eng.builds.get().status == "error"
    filling.unlink()
    assert eng.system.fsck() == []
    eng.build(context=tmp_path / "c", dockerfile_data=good)
    assert eng.builds.get().status == "completed"


@pytest.mark.rooted
def test_not_a_byte_left(small: Engine) -> None:
    eng, filling = small, small.root.parent / "filler"
    imported(eng, "keep")
    fill(filling)
    with pytest.raises(Unavailable):
        imported(eng, "new", *(f"f{n}" for n in range(200)))
    assert eng.system.fsck() == []
    filling.unlink()
    works(eng)
    imported(eng, "new", *(f"f{n}" for n in range(200)))
    assert sound(eng.services.images_store, "new")
