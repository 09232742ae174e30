"""Real input: a Debian minbase tar, a busybox root, contexts of many small files. Made once, kept in a cache."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

CACHE = Path(os.environ.get("BOXWRIGHT_BENCH_CACHE") or Path.home() / ".cache/boxwright-bench")


def debian() -> Path:
    """A Debian minbase root file system as a tar (170 MB, 8,700 entries), from the distribution's archive."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tar = CACHE / "debian.tar"
    if not tar.exists():
        part = CACHE / "debian.part.tar"
        subprocess.run(["mmdebstrap", "--variant=minbase", "--quiet", "bookworm", str(part)], check=True)
        part.rename(tar)
    return tar


def busybox(path: Path) -> Path:
    """A root file system of one static binary."""
    program = shutil.which("busybox")
    assert program, "the package busybox-static is missing"
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "etc", "tmp", "root"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(program, "bin/busybox")
        for applet in ("sh", "true", "ls", "cat", "echo"):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        tar.addfile(entry, io.BytesIO(passwd))
    return path


def context(path: Path, files: int, *, total: int, dockerfile: str) -> Path:
    """A build context of `files` files with `total` bytes in directories of a hundred."""
    dice = random.Random(files)
    path.mkdir(parents=True)
    size = total // files
    for number in range(files):
        if number % 100 == 0:
            folder = path / f"src/{number // 100:04d}"
            folder.mkdir(parents=True)
        (folder / f"file{number}.txt").write_bytes(dice.randbytes(max(1, int(size * dice.uniform(0.2, 1.8)))))
    (path / "Dockerfile").write_text(dockerfile)
    return path
