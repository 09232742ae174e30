"""Names that are gone, as a tree on disk says it: overlayfs's character device 0/0, and what stands for it where that
cannot be made.

An overlay refuses to hold another overlay's whiteouts (kernel, overlayfs: "Don't allow creation of whiteout on
overlay"), so on a root that is on one a socket of a mode that no program gives stands for it: sockets are what no
layer holds, they can be made by any user and on every file system. Such a tree is written out as a tar, never kept.
"""

from __future__ import annotations

import os
import stat

_MODE = 0o5000  # set-user-ID and sticky, and no user may do anything with it


def make(path: str, directory: int) -> None:
    """Say that a name is gone. Raises OSError."""
    try:
        os.mknod(path, stat.S_IFCHR, 0, dir_fd=directory)
    except PermissionError:
        os.mknod(path, stat.S_IFSOCK, dir_fd=directory)
        os.chmod(path, _MODE, dir_fd=directory)


def is_whiteout(info: os.stat_result) -> bool:
    """Whether a name of an upper directory says that what lies below it is gone."""
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFSOCK:
        return stat.S_IMODE(info.st_mode) == _MODE
    return kind == stat.S_IFCHR and info.st_rdev == 0


def are_overlayfs(directory: int) -> bool:
    """Whether whiteouts in this directory are those that overlayfs knows, found out by making one. Raises OSError."""
    name = f".whiteout-{os.getpid()}-{os.urandom(4).hex()}"
    make(name, directory)
    try:
        return stat.S_ISCHR(os.lstat(name, dir_fd=directory).st_mode)
    finally:
        os.unlink(name, dir_fd=directory)
