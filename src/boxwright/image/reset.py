"""Removing a whole root, after its containers and mounts are gone."""

from __future__ import annotations

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


# Where rooms mount something of theirs under a root.
_MOUNTS = ("containers/*/rootfs", "work/*/rootfs", "work/*/.mount-*", "volumes/*/_data", "mounts/*")


def remove_root(root: Path) -> None:
    """Unmount and remove what the store keeps under `root`; nothing of it may run. Raises StillMounted."""
    from boxwright.files.trees import erase
    from boxwright.snapshot.mount import detach, mounted_below

    for place in reversed(mounted_below(root)):
        inside = place.relative_to(root)
        if any(len(inside.parts) == p.count("/") + 1 and inside.match(p) for p in _MOUNTS):
            detach(place)
    # What is left was mounted by others: a removal would reach into it, and delete what is there.
    if mounted := mounted_below(root):
        raise StillMounted(
            f"{mounted[0]} is still mounted",
            hint="stop what uses it, or unmount it, then try again",
        )
    # One lock for each bridge; a copy of the database from before each change of its schema.
    more = [path.name for pattern in ("network.lock.*", "boxwright.db.v*") for path in root.glob(pattern)]
    for name in (*_FOLDERS, *more, *_FILES):
        erase(root / name)
    if root.is_dir() and not any(root.iterdir()):
        root.rmdir()
