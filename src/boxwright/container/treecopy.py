"""Copying trees from one directory descriptor to another: for `cp` and for filling new volumes.

Neither tree is trusted: every name is opened from its directory's descriptor, and no symbolic link is followed.
"""

from __future__ import annotations

import os
import stat

from boxwright.errors import Conflict
from boxwright.files.entries import open_regular, set_mode
from boxwright.spec.hints import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


class CopyConflict(Conflict):
    """A directory stands where a file should go, or the other way round."""


class Owner(NamedTuple):
    """Who owns the copies."""

    uid: int
    gid: int


class TreeCopy:
    """`owner` None keeps each owner; `bytes` counts what was copied."""

    def __init__(self, owner: Owner | None = None, *, times: bool = True) -> None:
        self._owner, self._times = owner, times
        self._may_give_away = os.geteuid() == 0  # another user owns all that is copied
        self._links: dict[tuple[int, int], tuple[int, str]] = {}
        self._kept: list[int] = []
        self.bytes = 0

    def contents(self, source: int, target: int) -> None:
        """All that is in one directory into another, which exists."""
        for name in sorted(os.listdir(source)):
            self.entry(source=source, name=name, target=target, new_name=name)

    def entry(self, source: int, name: str, target: int, new_name: str) -> None:
        """One name with all below it; a file replaces a file, directories are merged. Raises CopyConflict, OSError."""
        try:
            self._entry(source=source, name=name, target=target, new_name=new_name)
        finally:
            for fd in self._kept:
                os.close(fd)
            self._kept, self._links = [], {}

    def _entry(self, source: int, name: str, target: int, new_name: str) -> None:
        info = os.lstat(name, dir_fd=source)
        if stat.S_ISSOCK(info.st_mode):
            return
        existing = _mode(target, new_name)
        if stat.S_ISDIR(info.st_mode):
            if existing and not stat.S_ISDIR(existing):
                raise CopyConflict(f'cannot overwrite non-directory "{new_name}" with directory "{name}"')
            self._directory(
                source=source, name=name, target=target, new_name=new_name, exists=existing != 0, info=info
            )
            return
        if existing and stat.S_ISDIR(existing):
            raise CopyConflict(f'cannot overwrite directory "{new_name}" with non-directory "{name}"')
        if existing:
            os.unlink(new_name, dir_fd=target)
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and key in self._links:
            first, first_name = self._links[key]
            os.link(first_name, new_name, src_dir_fd=first, dst_dir_fd=target)
            return
        self._other(source=source, name=name, target=target, new_name=new_name, info=info)
        if info.st_nlink > 1:
            self._kept.append(os.dup(target))
            self._links[key] = (self._kept[-1], new_name)

    def _directory(
        self, source: int, name: str, target: int, new_name: str, exists: bool, info: os.stat_result
    ) -> None:
        if not exists:
            os.mkdir(new_name, 0o700, dir_fd=target)
        below = os.open(name, _DIRECTORY, dir_fd=source)
        inside = os.open(new_name, _DIRECTORY, dir_fd=target)
        try:
            for child in sorted(os.listdir(below)):
                self._entry(source=below, name=child, target=inside, new_name=child)
            self._status(inside, info)
            copy_attributes(below, inside)
            if self._times:
                os.utime(inside, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(below)
            os.close(inside)

    def root(self, source: int, target: int) -> None:
        """Attributes of one directory for another."""
        info = os.fstat(source)
        self._status(target, info)
        copy_attributes(source, target)
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _status(self, fd: int, info: os.stat_result) -> None:
        if self._may_give_away:
            os.fchown(fd, *(self._owner or (info.st_uid, info.st_gid)))
        os.fchmod(fd, stat.S_IMODE(info.st_mode))

    def _other(self, source: int, name: str, target: int, new_name: str, info: os.stat_result) -> None:
        if stat.S_ISREG(info.st_mode):
            read = open_regular(source, name)
            write = os.open(
                new_name,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=target,
            )
            try:
                while count := os.sendfile(write, read, None, _CHUNK):
                    self.bytes += count
                self._status(write, info)
                copy_attributes(read, write)
            finally:
                os.close(read)
                os.close(write)
        else:
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), new_name, dir_fd=target)
            else:
                os.mknod(new_name, info.st_mode, info.st_rdev, dir_fd=target)
                set_mode(target, new_name, stat.S_IMODE(info.st_mode))
            uid, gid = self._owner or (info.st_uid, info.st_gid)
            if self._may_give_away:
                os.chown(new_name, uid, gid, dir_fd=target, follow_symlinks=False)
        if self._times:
            os.utime(new_name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _mode(directory: int, name: str) -> int:
    """0 when there is nothing."""
    try:
        return os.lstat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return 0


def copy_attributes(source: int, target: int) -> None:
    """Extended attributes, but overlayfs's own; a file system without them takes none."""
    for key in os.listxattr(source):
        if not key.startswith("trusted.overlay."):
            try:
                os.setxattr(target, key, os.getxattr(source, key))
            except OSError:
                return
