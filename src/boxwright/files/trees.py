"""The one remover of trees: it follows no link and enters no mount, also none of the same file system."""

from __future__ import annotations

import errno
import os
import stat
from _struct import pack
from pathlib import Path

from boxwright.files import syscalls
from boxwright.files.entries import set_mode

_DEEPEST = 64  # directories that are held open at once
_NO_XDEV, _NO_SYMLINKS = 0x01, 0x04
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOW = pack("QQQ", _FLAGS, 0, _NO_XDEV | _NO_SYMLINKS)


def remove_tree(directory: int, name: str | bytes) -> None:
    """Remove `name` in the directory with all that is below it, whatever its modes and depth, never through links and
    never into what is mounted there or below (EBUSY). Nothing there is no error, nor is what another process removes
    meanwhile. Raises OSError."""
    _Removal(measured=False).remove(directory, os.fsdecode(name))


def erase(path: Path) -> int:
    """The same for a path; returns the bytes of disk space that were freed. Raises OSError."""
    removal = _Removal(measured=True)
    try:
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        removal.remove(fd, path.name)
    finally:
        os.close(fd)
    return removal.freed


def discard(path: Path) -> None:
    """The same for what is of no use any more: what cannot be removed stays."""
    try:
        erase(path)
    except OSError:
        pass


def set_aside(path: Path, trash: Path) -> None:
    """Rename away what will be deleted, which may take long, with `erase`. Both are on one file system.
    Raises OSError."""
    trash.mkdir(mode=0o700, exist_ok=True)
    path.rename(trash / f"{path.name}.{os.urandom(4).hex()}")


class _Removal:
    """`freed` counts bytes if it is `measured`, for one more system call a file."""

    def __init__(self, *, measured: bool) -> None:
        self._measured, self.freed = measured, 0

    def remove(self, directory: int, name: str) -> None:
        try:
            self._remove(directory, name)
        except FileNotFoundError:
            pass

    def _remove(self, directory: int, name: str) -> None:
        try:
            self._unlink(directory, name)
            return
        except (IsADirectoryError, PermissionError) as error:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
                raise error
        top = _open_writable(directory, name)
        try:
            # What is too deep to hold open is moved up to the top and emptied from there.
            while self._empty(top, top, 0):
                pass
            self._count(os.fstat(top))
        finally:
            os.close(top)
        os.rmdir(name, dir_fd=directory)

    def _empty(self, fd: int, top: int, depth: int) -> bool:
        """Remove what is in the directory; True when something was moved to the top instead."""
        moved = False
        with os.scandir(fd) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in names:
            try:
                if not is_directory:
                    self._unlink(fd, name)
                elif depth >= _DEEPEST:
                    os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=top)
                    moved = True
                else:
                    moved |= self._remove_below(fd=fd, name=name, top=top, depth=depth)
            except FileNotFoundError:
                continue
        return moved

    def _remove_below(self, fd: int, name: str, top: int, depth: int) -> bool:
        below = _open_writable(fd, name)
        try:
            moved = self._empty(below, top, depth + 1)
            self._count(os.fstat(below))
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=fd)
        return moved

    def _unlink(self, fd: int, name: str) -> None:
        info = os.lstat(name, dir_fd=fd) if self._measured else None
        os.unlink(name, dir_fd=fd)
        if info is not None and info.st_nlink == 1:
            self._count(info)

    def _count(self, info: os.stat_result) -> None:
        self.freed += info.st_blocks * 512


def _open_writable(directory: int, name: str) -> int:
    """Raises OSError; EBUSY when something is mounted there."""
    if os.geteuid() != 0:
        mode = os.lstat(name, dir_fd=directory).st_mode
        if mode & 0o700 != 0o700:
            set_mode(directory, name, 0o700)
    try:
        return syscalls.call(syscalls.OPENAT2, directory, os.fsencode(name), _HOW, len(_HOW))
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, "something is mounted there", name) from None
        if not syscalls.missing(error):
            raise OSError(error.errno, error.strerror, name) from None
    fd = os.open(name, _FLAGS, dir_fd=directory)
    if os.fstat(fd).st_dev == os.fstat(directory).st_dev:
        return fd
    os.close(fd)
    raise OSError(errno.EBUSY, "something is mounted there", name)
