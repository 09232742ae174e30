"""What a name stands for in a directory whose entries other processes may replace at any moment."""

from __future__ import annotations

import errno
import os
import stat


def open_regular(directory: int, name: str) -> int:
    """A regular file to read, that and nothing else: a process of the tree may have put a fifo or a device, which opens
    with effects or never, in its place. Raises OSError."""
    fd = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory
    )
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.ESTALE, "it is another file now", name)


def set_mode(directory: int, name: str, mode: int) -> None:
    """chmod of what `name` in the directory is, which another process may have exchanged for a link meanwhile: that is
    never followed, since it would lead through the host's tree. Raises OSError."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
