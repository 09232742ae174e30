"""Temporary directories: each is removed when its process ends; when that was killed, as soon as another one is
made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.trees import discard
from boxwright.registry.server.store.blobs import own_directory


@contextmanager
def scratch(top: Path) -> Iterator[Path]:
    """A directory of this process, and of those that it forks, below a directory of the storage. Raises OSError."""
    own_directory(top)
    sweep(top)
    folder, lock = _new(top)
    with lock:
        try:
            yield folder
        finally:
            discard(folder)


def sweep(top: Path) -> None:
    """Remove what processes left that were killed: what no process has a lock on."""
    for old in top.iterdir() if top.is_dir() else ():
        with suppress(OSError), _locked(old):
            discard(old)


def _new(top: Path) -> tuple[Path, Lock]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=top))
        try:
            lock = _locked(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process that looks took it for a dead one's
        if lock.is_at(folder):
            return folder, lock
        lock.close()


def _locked(folder: Path) -> Lock:
    """A process that was forked has the lock too: it is free when the last of them is gone. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return Lock(locks.REGISTRY_SCRATCH, fd, wait=False)
