"""What several tests share."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "data"
_SYS_ADMIN = 21  # the bit of CAP_SYS_ADMIN


def _may(capability: int) -> bool:
    (effective,) = (
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    return bool(int(effective, 16) >> capability & 1)


REAL_ROOT = _may(_SYS_ADMIN)  # root of an ordinary container may neither mount nor set what overlayfs goes by


def vectors(name: str) -> Any:
    """A table of upstream test vectors (tests/data/vectors, with its licence note)."""
    return json.loads((DATA / "vectors" / name).read_text())


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system in memory of `size` (as mount(8) has it), which ends with the block. Skips where there can be none."""
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        yield path
    finally:
        # Lazily: threads that were stopped in the middle of a layer may hold a file for a moment longer.
        subprocess.run(["umount", "-l", path], check=True)


@contextmanager
def ext4_disk(directory: Path, size: str, *, block: int = 4096) -> Iterator[Path]:
    """A file system in a file of `size` (as truncate(1) has it), with blocks of so many bytes. Skips where there can be
    none; all that is mounted in it ends with it."""
    image, path = directory / "disk", directory / "mounted"
    path.mkdir(parents=True)
    subprocess.run(["truncate", "-s", size, image], check=True)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(block), image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, path], check=False).returncode:
        pytest.skip("loop devices cannot be mounted here")
    try:
        yield path
    finally:
        unmount_below(path)
        subprocess.run(["umount", "-l", path], check=True)


def unmount_below(path: Path) -> None:
    """Take off what is mounted below a directory."""
    with open("/proc/self/mounts") as table:
        places = [line.split()[1] for line in table]
    for place in reversed(places):
        if place.startswith(f"{path}/"):
            subprocess.run(["umount", "-l", place], check=False)
