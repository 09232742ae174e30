"""Removing a whole root, after its containers and mounts are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from boxwright.content.migrations import is_foreign
from boxwright.errors import Conflict
from boxwright.files import locks
from boxwright.files.places import Places


class StillMounted(Conflict):
    """Something under the root is a mount point, so removing would reach into it."""


def _mounts(places: Places) -> Sequence[Path]:
    """Patterns of where packages mount something of theirs under a root."""
    work, containers = places.workspace("*"), places.container("*")
    return (
        *(containers / "rootfs", work / "rootfs", work / ".mount-*"),
        *(places.volume("*") / "_data", places.mounts / "*"),
    )


def remove_root(root: Path) -> Sequence[Path]:
    """Unmount and remove what the store keeps under `root`; nothing of it may run. Returns what was left there, since
    the store did not make it. Raises StillMounted."""
    from boxwright.files.trees import erase
    from boxwright.snapshot.mount import detach, mounted_below

    ours = [pattern.relative_to(root) for pattern in _mounts(Places(root))]
    for place in reversed(mounted_below(root)):
        inside = place.relative_to(root)
        if any(len(inside.parts) == len(one.parts) and inside.match(str(one)) for one in ours):
            detach(place)
    # What is left was mounted by others: a removal would reach into it, and delete their files.
    if mounted := mounted_below(root):
        raise StillMounted(
            f"{mounted[0]} is still mounted",
            hint="stop what uses it, or unmount it, then try again",
        )
    for path in _made(Places(root)):
        erase(path)
    left = sorted(root.iterdir()) if root.is_dir() else []
    if not left and root.is_dir():
        root.rmdir()
    return left


def _made(places: Places) -> list[Path]:
    """What is made directly under a root. Whatever else is there is another's and stays."""
    root, database = places.root, places.database.name
    ours = () if is_foreign(places.database) else ("", "-wal", "-shm")
    return [
        places.blobs,
        places.builders,
        places.builds,
        places.cache,
        places.containers,
        places.events,
        places.ingests,
        places.layers,
        places.step_locks,
        places.manifest_lists,
        places.mounts,
        places.trash,
        places.volumes,
        places.workspaces,
        # One lock for each bridge; a copy of the database from before each change of its schema.
        *root.glob(f"{places.network_lock.name}.*"),
        *root.glob(f"{database}.v*"),
        *(root / f"{database}{end}" for end in ours),
        places.driver,
        places.index,
        root / locks.INDEX.files,
        places.network_lock,
        places.reserve,
        places.runtime(),
        root / locks.STORE.files,
        places.layout,  # last: as long as it is there, the directory is known to be a store
    ]
