"""A tree for a moment: `cp`, `diff` and `export` look at one without a mount that anybody else sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boxwright.rootfs.root import Root
from boxwright.snapshot.snapshotter import Snapshotter


@contextmanager
def mounted_tree(snapshotter: Snapshotter, key: str) -> Iterator[Root]:
    """The tree under the key as a `Root` (its `fd` serves as dir_fd); writes go through to it. Raises NotFound,
    MountFailed."""
    with Root(snapshotter.open(key)) as root:
        yield root
