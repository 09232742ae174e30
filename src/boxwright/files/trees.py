"""The one remover of trees: it follows no link and enters no mount."""

from __future__ import annotations

import errno
import os
import stat

from boxwright.files.entries import set_mode

_DEEPEST = 64  # directories that are held open at once while a tree is removed


def remove_tree(directory: int, name: str) -> None:
    """Remove `name` in the directory with all that is below it, however deep, never through links and never into
    what is mounted below (EBUSY). Nothing there is no error, nor is what somebody else removes meanwhile. Raises OSError."""
    try:
        _remove(directory, name)
    except FileNotFoundError:
        pass


def _remove(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except (IsADirectoryError, PermissionError) as error:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            raise error
    top = _open_writable(directory, name)
    try:
        # What is too deep to hold open is moved up to the top and emptied from there.
        while _empty(top, top, 0, os.fstat(top).st_dev):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=directory)


def _open_writable(directory: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if os.geteuid() != 0:
        mode = os.lstat(name, dir_fd=directory).st_mode
        if mode & 0o700 != 0o700:
            set_mode(directory, name, 0o700)
    return os.open(name, flags, dir_fd=directory)


def _empty(fd: int, top: int, depth: int, device: int) -> bool:
    """Remove what is in the directory; True when something was moved to the top instead."""
    moved = False
    with os.scandir(fd) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        try:
            if not is_directory:
                os.unlink(name, dir_fd=fd)
            elif depth >= _DEEPEST:
                os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=top)
                moved = True
            else:
                moved |= _remove_below(fd, name, top, depth, device)
        except FileNotFoundError:
            continue
    return moved


def _remove_below(fd: int, name: str, top: int, depth: int, device: int) -> bool:
    below = _open_writable(fd, name)
    try:
        if os.fstat(below).st_dev != device:
            raise OSError(errno.EBUSY, "something is mounted there", name)
        moved = _empty(below, top, depth + 1, device)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=fd)
    return moved
