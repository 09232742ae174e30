"""A layer's tar as a directory that overlayfs can stack: whiteouts are character devices 0/0, opaque directories
carry the attribute that overlayfs looks for.

The tar was scanned when it came in: names are clean, links resolved, later entries in the place of earlier ones.
Everything is made by directory descriptor, children before their directory's own times and mode.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from boxwright.layer.store import Layer
from boxwright.layer.tree import OPAQUE, Tree
from boxwright.layer.writer import copy_range, scan_file

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack_layer(layer: Layer, target: Path, *, opaque: str) -> None:
    """Fill the empty directory from a tar-backed layer; `opaque` is the attribute's name. What this process may not
    do (owners, devices, ``trusted.`` attributes without root) is left out. Raises OSError."""
    tar = os.open(layer.tar_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        tree = Tree()
        scan_file(tar, layer.tar_size, tree)
        _Unpacker(tree, tar, target, opaque).run()
    finally:
        os.close(tar)


class _Unpacker:
    """Every path is taken from the top's descriptor, and leads through directories that were made here."""

    def __init__(self, tree: Tree, tar: int, target: Path, opaque: str) -> None:
        self._tree = tree
        self._tar = tar
        self._top = os.open(target, _DIRECTORY)
        self._opaque = opaque
        self._privileged = os.geteuid() == 0
        self._first: dict[int, bytes] = {}  # inode -> its first name, for hard links

    def run(self) -> None:
        try:
            self._fill()
            self._finish_directory(0, b".")
        finally:
            os.close(self._top)

    def _fill(self) -> None:
        """Without recursion: a layer may be deeper than Python's stack."""
        dirs = self._tree.dirs
        todo = [(0, b"", iter(sorted(dirs[0].items())))]
        while todo:
            inode, prefix, names = todo[-1]
            for name, child in names:
                path = prefix + name
                if child in dirs:
                    os.mkdir(path, 0o700, dir_fd=self._top)
                    todo.append((child, path + b"/", iter(sorted(dirs[child].items()))))
                    break
                self._make(child, path)
            else:
                todo.pop()
                if inode:
                    self._finish_directory(inode, prefix[:-1])

    def _make(self, inode: int, path: bytes) -> None:
        first = self._first.setdefault(inode, path)
        if first is not path:
            os.link(first, path, src_dir_fd=self._top, dst_dir_fd=self._top, follow_symlinks=False)
            return
        mode, where = self._tree.mode[inode], self._tree.where[inode]
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFREG:
            self._file(inode, path)
            return
        if kind == stat.S_IFLNK:
            os.symlink(self._tree.links[inode], path, dir_fd=self._top)
        else:
            try:
                os.mknod(path, kind | 0o600, _device(where), dir_fd=self._top)
            except PermissionError:
                if where == 0:  # a whiteout needs no privilege: without it the layer would be another
                    raise
                del self._first[inode]
                return
        self._status(inode, path)

    def _file(self, inode: int, path: bytes) -> None:
        out = os.open(path, _FILE, 0o600, dir_fd=self._top)
        try:
            size = self._tree.size[inode]
            if inode in self._tree.sparse:
                at, segments = self._tree.sparse[inode]
                os.ftruncate(out, size)
                for n in range(0, len(segments), 2):
                    copy_range(self._tar, at, out, segments[n], segments[n + 1])
                    at += segments[n + 1]
            elif size:
                self._copy(out, self._tree.where[inode], size)
            self._status(inode, path, out)
        finally:
            os.close(out)

    def _copy(self, out: int, start: int, size: int) -> None:
        while size:
            try:
                count = os.copy_file_range(self._tar, out, size, start)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                count = 0
            if not count:  # another file system, or a torn tar, which this tells
                copy_range(self._tar, start, out, os.lseek(out, 0, os.SEEK_CUR), size)
                return
            start, size = start + count, size - count

    def _status(self, inode: int, path: bytes, out: int = -1) -> None:
        """Owner first, since it clears set-id bits; times last."""
        tree = self._tree
        if self._privileged:
            os.chown(path, tree.uid[inode], tree.gid[inode], dir_fd=self._top, follow_symlinks=False)
        if out >= 0:
            self._xattrs(inode, out)
        mode = tree.mode[inode]
        if not stat.S_ISLNK(mode):
            os.chmod(path, mode & 0o7777, dir_fd=self._top)
        time = tree.seconds[inode] * 10**9 + tree.nanoseconds[inode]
        os.utime(path, ns=(time, time), dir_fd=self._top, follow_symlinks=False)

    def _finish_directory(self, inode: int, path: bytes) -> None:
        fd = os.open(path, _DIRECTORY, dir_fd=self._top)
        try:
            self._directory_status(inode, fd)
        finally:
            os.close(fd)

    def _directory_status(self, inode: int, fd: int) -> None:
        tree = self._tree
        if self._privileged:
            os.fchown(fd, tree.uid[inode], tree.gid[inode])
        self._xattrs(inode, fd)
        if tree.flags[inode] & OPAQUE:
            os.setxattr(fd, self._opaque, b"y")
        os.fchmod(fd, tree.mode[inode] & 0o7777)
        time = tree.seconds[inode] * 10**9 + tree.nanoseconds[inode]
        os.utime(fd, ns=(time, time))

    def _xattrs(self, inode: int, fd: int) -> None:
        for key, value in self._tree.xattrs.get(inode, {}).items():
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):
                    raise


def _device(encoded: int) -> int:
    """Linux's new_encode_dev back to what mknod takes."""
    return os.makedev(encoded >> 8 & 0xFFF, (encoded & 0xFF) | (encoded >> 12 & 0xFFF00))
