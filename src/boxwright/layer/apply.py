"""Unpack a layer into a directory: for hosts that cannot mount an index.

Everything happens by directory descriptors that were opened without following links, so that neither the layer
nor what a container left in the directory can lead anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from boxwright.content.verify import CHUNK
from boxwright.errors import Corrupt, Unsupported
from boxwright.files.disk import disk_errors
from boxwright.files.trees import remove_tree
from boxwright.layer.source import Inode, LayerSource, open_source
from boxwright.layer.store import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_DEEPEST = 900  # one descriptor a level, of the usual 1024
_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = {False: "trusted.overlay.opaque", True: "user.overlay.opaque"}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TooDeep(Unsupported):
    """A tree has more levels than can be unpacked."""


def unpack(
    layer: Layer,
    target: Path | int,
    *,
    overlay: bool = True,
    as_root: bool = True,
    userxattr: bool | None = None,
) -> None:
    """Write a layer's tree into an existing directory (a path, or a descriptor of it).

    With `overlay` the directory becomes an overlay lower: whiteouts are character devices 0/0, opaque directories
    have the xattr (`user.overlay.opaque` with `userxattr`, by default unless `as_root`). Without it the layer is
    applied to what the directory holds: whiteouts remove, other things replace. Unless `as_root`, owners are not
    set and devices are left out; so are devices that even root may not make (in a user namespace). Raises
    LayerMissing, DiskFull, TooDeep."""
    fd = os.open(".", _DIR_FLAGS, dir_fd=target) if isinstance(target, int) else os.open(target, _DIR_FLAGS)
    try:
        source = open_source(layer)
        try:
            with disk_errors(f"the tree of layer {layer.diff_id}"):
                _LayerUnpacker(
                    source,
                    fd,
                    overlay=overlay,
                    as_root=as_root,
                    opaque=_OPAQUE[not as_root if userxattr is None else userxattr],
                ).run()
        finally:
            source.close()
    finally:
        os.close(fd)


def _too_deep(path: bytes) -> TooDeep:
    return TooDeep(f"{os.fsdecode(path[:200])}… lies too deep to be unpacked")


class _LayerUnpacker:
    def __init__(self, source: LayerSource, root: int, *, overlay: bool, as_root: bool, opaque: str) -> None:
        self._source = source
        self._root = root
        self._overlay = overlay
        self._as_root = as_root
        self._opaque = opaque
        self._first: dict[int, bytes] = {}  # where a file with several names was written first
        # A frame: descriptor, path, facts, handle, names to do, the time of a directory that was there before.
        self._stack: list[tuple[int, bytes, Inode, Any, Iterator[tuple[bytes, Any]], int | None]] = []

    def run(self) -> None:
        source = self._source
        try:
            self._enter(
                fd=os.dup(self._root),
                path=b"",
                handle=source.root,
                facts=source.facts(source.root),
                existed=os.stat(self._root).st_mtime_ns,
            )
            while self._stack:
                fd, path, facts, handle, names, existed = self._stack[-1]
                for name, child in names:
                    below = source.facts(child)
                    if below.is_dir:
                        self._dir(parent=fd, path=path, name=name, handle=child, facts=below)
                        break
                    self._other(parent=fd, path=path, name=name, handle=child, facts=below)
                else:
                    # Only now: writing names into a directory changes its time, and it may not let its owner write.
                    if existed is None or not facts.implied or (not path and self._overlay):
                        self._attributes(fd, handle, facts)
                    else:
                        os.utime(fd, ns=(existed, existed))
                    self._stack.pop()
                    os.close(fd)
        finally:
            for frame in self._stack:
                os.close(frame[0])

    def _enter(self, fd: int, path: bytes, handle: Any, facts: Inode, *, existed: int | None) -> None:
        self._stack.append(
            (fd, path, facts, handle, iter(sorted(self._source.children(handle).items())), existed)
        )
        if len(self._stack) > _DEEPEST:
            raise _too_deep(path)
        if facts.opaque:
            if self._overlay:
                os.setxattr(fd, self._opaque, b"y")
            elif existed is not None:
                for name in os.listdir(fd):
                    remove_tree(fd, name)

    def _dir(self, parent: int, path: bytes, name: bytes, handle: Any, facts: Inode) -> None:
        existed: int | None = None
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            st = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(st.st_mode):
                remove_tree(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
            else:
                existed = st.st_mtime_ns
                if not self._as_root:
                    os.chmod(name, 0o700, dir_fd=parent)
        try:
            fd = os.open(name, _DIR_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            raise _too_deep(path) from error  # for the descriptors that this process may have
        self._enter(
            fd=fd,
            path=path + name + b"/",
            handle=handle,
            facts=facts,
            existed=existed,
        )

    def _other(self, parent: int, path: bytes, name: bytes, handle: Any, facts: Inode) -> None:
        if not self._overlay:
            remove_tree(parent, name)
        if facts.is_whiteout:
            if self._overlay:
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
            return
        if facts.links > 1:
            first = self._first.setdefault(facts.identity, path + name)
            if first != path + name:
                os.link(first, name, src_dir_fd=self._root, dst_dir_fd=parent, follow_symlinks=False)
                return
        kind = facts.mode & 0o170000
        if kind == stat.S_IFREG:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
            try:
                self._copy(fd, handle, facts.size)
                self._attributes(fd, handle, facts)
            finally:
                os.close(fd)
        elif kind == stat.S_IFLNK:
            os.symlink(self._source.link(handle), name, dir_fd=parent)
            self._link_attributes(parent=parent, name=name, handle=handle, facts=facts)
        elif kind == stat.S_IFIFO or self._as_root:
            try:
                os.mknod(name, kind | 0o600, facts.rdev, dir_fd=parent)
            except PermissionError:
                self._first.pop(facts.identity, None)
                return
            self._link_attributes(parent=parent, name=name, handle=handle, facts=facts)
            os.chmod(name, facts.mode & 0o7777, dir_fd=parent)
            os.utime(name, ns=(facts.mtime_ns, facts.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _copy(self, fd: int, handle: Any, size: int) -> None:
        if not size:
            return
        source, offset, owned = self._source.place(handle)
        try:
            left = size
            while left:
                if left <= CHUNK:
                    count = os.write(fd, os.pread(source, left, offset))
                else:
                    count = os.copy_file_range(
                        src=source, dst=fd, count=min(left, 1 << 30), offset_src=offset
                    )
                if not count:
                    raise Corrupt(f"a file in the layer ends {left} bytes before its size of {size}")
                offset += count
                left -= count
        finally:
            if owned:
                os.close(source)

    def _attributes(self, fd: int, handle: Any, facts: Inode) -> None:
        """Owner before mode: changing the owner takes set-user-ID bits and capabilities away."""
        if self._as_root:
            os.fchown(fd, facts.uid, facts.gid)
        if facts.has_xattrs:
            for name, value in self._source.xattrs(handle).items():
                self._xattr(fd, name, value)
        os.fchmod(fd, facts.mode & 0o7777)
        os.utime(fd, ns=(facts.mtime_ns, facts.mtime_ns))

    def _link_attributes(self, parent: int, name: bytes, handle: Any, facts: Inode) -> None:
        if self._as_root:
            os.chown(name, facts.uid, facts.gid, dir_fd=parent, follow_symlinks=False)
            for key, value in self._source.xattrs(handle).items() if facts.has_xattrs else ():
                self._xattr(b"/proc/self/fd/%d/%b" % (parent, name), key, value)
        os.utime(name, ns=(facts.mtime_ns, facts.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _xattr(self, where: int | bytes, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(where, name, value, follow_symlinks=not isinstance(where, bytes))
        except OSError as error:
            # A file system without them, or a name that only root may set: the file is still of use.
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL):
                raise
