"""A stack of layers copied out into a directory, without mounting."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from boxwright.layer.store import Layer
from boxwright.layer.view import LayersView, ViewNode

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_KINDS = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}


def copy_layers(layers: Sequence[Layer], target: Path) -> None:
    """Fill the empty directory with the merged tree. What this process may not do (owners, devices, some
    attributes) is left out. The top keeps its own mode and owner, as an overlay's does. Raises OSError."""
    top = os.open(target, _DIRECTORY)
    try:
        with LayersView(layers) as view:
            _Copier(view, top).run()
    finally:
        os.close(top)


class _Copier:
    """Every path is taken from the top, and leads through directories that were made here."""

    def __init__(self, view: LayersView, top: int) -> None:
        self._view = view
        self._top = top
        self._privileged = os.geteuid() == 0
        self._first: dict[tuple[int, int], str] = {}
        self._directories: list[ViewNode] = []

    def run(self) -> None:
        for node in self._view.walk(""):
            if not node.path:
                continue
            if node.type == "dir":
                os.mkdir(node.path, 0o700, dir_fd=self._top)
                self._directories.append(node)
            elif (
                node.links > 1
                and (first := self._first.setdefault(node.identity, node.path)) is not node.path
            ):
                os.link(first, node.path, src_dir_fd=self._top, dst_dir_fd=self._top, follow_symlinks=False)
            else:
                self._make(node)
        for node in reversed(self._directories):  # their times and modes, once nothing more is made in them
            fd = os.open(node.path, _DIRECTORY, dir_fd=self._top)
            try:
                if self._privileged:
                    os.fchown(fd, node.uid, node.gid)
                set_xattrs(fd, node.xattrs)
                os.fchmod(fd, node.mode)
                os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
            finally:
                os.close(fd)

    def _make(self, node: ViewNode) -> None:
        if node.type == "file":
            out = os.open(node.path, _FILE, 0o600, dir_fd=self._top)
            try:
                with self._view.open(node) as content:
                    while chunk := content.read(_CHUNK):
                        view = memoryview(chunk)
                        while view:
                            view = view[os.write(out, view) :]
                self._owner(node)
                set_xattrs(out, node.xattrs)
            finally:
                os.close(out)
        elif node.type == "symlink":
            os.symlink(node.link, node.path, dir_fd=self._top)
            self._owner(node)
        else:
            try:
                os.mknod(node.path, _KINDS[node.type] | 0o600, os.makedev(*node.device), dir_fd=self._top)
            except PermissionError:
                self._first.pop(node.identity, None)
                return
            self._owner(node)
        if node.type != "symlink":
            os.chmod(node.path, node.mode, dir_fd=self._top)
        os.utime(node.path, ns=(node.mtime_ns, node.mtime_ns), dir_fd=self._top, follow_symlinks=False)

    def _owner(self, node: ViewNode) -> None:
        if self._privileged:
            os.chown(node.path, node.uid, node.gid, dir_fd=self._top, follow_symlinks=False)


def set_xattrs(where: int, xattrs: object) -> None:
    """Set what may be set: other names need privileges, or another file system. Raises OSError."""
    assert hasattr(xattrs, "items")
    for key, value in xattrs.items():
        try:
            os.setxattr(where, key, value)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):
                raise
