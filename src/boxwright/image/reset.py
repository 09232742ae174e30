"""Removing a whole root, after its containers and mounts are gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from boxwright.errors import Conflict

# What rooms make directly under a root. Whatever else is there is somebody else's and stays.
_FOLDERS = (
    "blobs",
    "cache",
    "containers",
    "ingest",
    "layers",
    "locks",
    "manifest-lists",
    "mounts",
    "trash",
    "volumes",
    "work",
)
_FILES = (
    "boxwright.db",
    "boxwright.db-wal",
    "boxwright.db-shm",
    "driver.json",
    "index.json",
    "index.lock",
    "network.lock",
    "reserve",
    "runtime.json",
    "store.lock",
    "oci-layout",  # last: as long as it is there, the directory is known to be a store
)


class StillMounted(Conflict):
    """Something under the root is a mount point, so removing would reach into it."""


def remove_root(root: Path) -> None:
    """Remove what the store keeps under `root`. Raises StillMounted."""
    # The raw table, since a removal through a mount would delete what is mounted (a container's bind, say).
    prefix = f"{root}/".encode().replace(b" ", b"\\040")
    with open("/proc/self/mountinfo", "rb") as table:
        mounted = [line.split()[4] for line in table if line.split()[4].startswith(prefix)]
    if mounted:
        raise StillMounted(
            f"{os.fsdecode(mounted[0])} is still mounted",
            hint="stop what uses it, or unmount it, then try again",
        )
    for name in _FOLDERS:
        if (root / name).is_dir():
            shutil.rmtree(root / name)
    # One lock for each bridge; a copy of the database from before each change of its schema.
    for path in (*root.glob("network.lock.*"), *root.glob("boxwright.db.v*")):
        path.unlink(missing_ok=True)
    for name in _FILES:
        (root / name).unlink(missing_ok=True)
    if root.is_dir() and not any(root.iterdir()):
        root.rmdir()
