"""Tar streams in and out of a tree: `cp -`, the API's archive calls, `export`."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from boxwright.container.treecopy import CopyConflict, Owner
from boxwright.errors import Invalid, Unsupported
from boxwright.files.entries import open_regular, set_mode
from boxwright.rootfs.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO

    from boxwright.layer.scan import Header

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NameRefused(Invalid):
    """An entry of the archive would lie outside."""


class AttributeRefused(Unsupported):
    """The file system does not take an extended attribute of an entry."""


def pack(directory: int, name: str, shown: str, sink: Any, *, xattrs: bool = False) -> None:
    """Write what `name` in a directory is, called `shown`, with all below it, and with `xattrs` their extended
    attributes.

    Raises OSError, EntryInvalid."""
    from boxwright.layer.write import TarBuilder

    builder = TarBuilder(sink)
    _Packer(builder, xattrs=xattrs).add(directory, name, shown)
    builder.finish()


class _Packer:
    def __init__(self, builder: Any, *, xattrs: bool) -> None:
        self._builder, self._xattrs = builder, xattrs
        self._links: dict[tuple[int, int], bytes] = {}

    def add(self, directory: int, name: str, shown: str) -> None:
        info = os.lstat(name, dir_fd=directory)
        path = os.fsencode(shown)
        put = partial(
            self._builder.put,
            os.fsencode(shown),
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            mtime=info.st_mtime_ns,
            xattrs=_attributes(directory, name) if self._xattrs else None,
        )
        if stat.S_ISDIR(info.st_mode):
            fd = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                put("dir", size=0)
                for child in sorted(os.listdir(fd)):
                    self.add(fd, child, f"{shown}/{child}")
            finally:
                os.close(fd)
            return
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and self._links.setdefault(key, path) is not path:
            put("hardlink", size=0, link=self._links[key], xattrs=None)
        elif stat.S_ISLNK(info.st_mode):
            put("symlink", size=0, link=os.fsencode(os.readlink(name, dir_fd=directory)))
        elif stat.S_ISREG(info.st_mode):
            fd = open_regular(directory, name)
            try:
                size = os.fstat(fd).st_size
                put("file", size=size)
                if size:
                    self._builder.content_fd(fd, size, path)
            finally:
                os.close(fd)
        elif not stat.S_ISSOCK(info.st_mode):
            kind = (
                "fifo" if stat.S_ISFIFO(info.st_mode) else "char" if stat.S_ISCHR(info.st_mode) else "block"
            )
            put(kind, size=0, device=(os.major(info.st_rdev), os.minor(info.st_rdev)))


def _attributes(directory: int, name: str) -> dict[bytes, bytes]:
    path = f"/proc/self/fd/{directory}/{name}"
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {os.fsencode(key): os.getxattr(path, key, follow_symlinks=False) for key in names}
    except OSError as error:
        if error.errno == errno.ENOTSUP:  # this file system, or this kind of file, has none
            return {}
        raise


def unpack(
    root: Root, path: str, tar: BinaryIO, spool: Path, *, owner: Owner | None = None, whole: bool = False
) -> None:
    """Lay the archive's entries below a directory of the tree; `spool` is a directory for an unnamed file, `owner` None
    keeps the archive's owners. With `whole` the archive is all of a tree: what it says of its top is done to the
    directory, and extended attributes are set. Raises TarInvalid, NameRefused, AttributeRefused, CopyConflict,
    OSError."""
    from boxwright.layer.compress import open_decompressed

    fd = os.open(spool, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        stream = open_decompressed(tar)
        while data := stream.read(_CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        top = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        with Root(top) as inside:
            _TreeUnpacker(inside, fd, owner, whole=whole).run()
    finally:
        os.close(fd)


class _TreeUnpacker:
    def __init__(self, root: Root, tar: int, owner: Owner | None, *, whole: bool) -> None:
        self._root, self._tar, self._owner, self._whole = root, tar, owner, whole
        self._top = -1  # the directory's time of change
        self._times: list[tuple[str, int]] = []

    def run(self) -> None:
        from boxwright.layer.scan import Scanner

        scanner = Scanner()
        size = os.fstat(self._tar).st_size
        while scanner.position < size:
            if scanner.skippable:
                scanner.skip(min(scanner.skippable, size - scanner.position))
                continue
            for header in scanner.feed(os.pread(self._tar, 1 << 16, scanner.position)):
                self._entry(header)
        scanner.finish()
        for path, moment in reversed(self._times):
            with self._root.parent(path) as (fd, name):
                os.utime(name, ns=(moment, moment), dir_fd=fd, follow_symlinks=False)
        if self._top >= 0:
            os.utime(self._root.fd, ns=(self._top, self._top))

    def _entry(self, header: Header) -> None:
        name = os.fsdecode(header.name).strip("/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise NameRefused(f"the archive has an entry {name!r}, which leads out of it")
        if not parts:
            if self._whole and header.type == "dir":
                self._give(header, self._root.fd)
                self._top = max(0, header.seconds * 10**9 + header.nanoseconds)
            return
        path = "/" + "/".join(parts)
        if len(parts) > 1:
            self._root.makedirs("/" + "/".join(parts[:-1]))
        with self._root.parent(path) as (directory, last):
            self._make(header=header, directory=directory, name=last, path=path)

    def _make(self, header: Header, directory: int, name: str, path: str) -> None:
        try:
            existing = os.lstat(name, dir_fd=directory).st_mode
        except FileNotFoundError:
            existing = 0
        moment = header.seconds * 10**9 + header.nanoseconds
        if header.type == "dir":
            if existing and not stat.S_ISDIR(existing):
                raise CopyConflict(f'cannot overwrite non-directory "{path}" with directory')
            if not existing:
                os.mkdir(name, 0o700, dir_fd=directory)
            fd = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                self._give(header, fd)
            finally:
                os.close(fd)
            self._times.append((path, moment))
            return
        if existing and stat.S_ISDIR(existing):
            raise CopyConflict(f'cannot overwrite directory "{path}" with non-directory')
        if existing:
            os.unlink(name, dir_fd=directory)
        if header.type == "hardlink":
            target = "/" + os.fsdecode(header.link).strip("/")
            with self._root.parent(target) as (other, other_name):
                os.link(other_name, name, src_dir_fd=other, dst_dir_fd=directory, follow_symlinks=False)
            return
        if header.type == "file":
            self._file(header, directory, name)
            return
        if header.type == "symlink":
            os.symlink(os.fsdecode(header.link), name, dir_fd=directory)
        else:
            kind = {"fifo": stat.S_IFIFO, "char": stat.S_IFCHR, "block": stat.S_IFBLK}[header.type]
            os.mknod(name, kind | header.mode, os.makedev(header.major, header.minor), dir_fd=directory)
        if os.geteuid() == 0:
            owner = self._owner or (header.uid, header.gid)
            os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
        self._set_attributes(header, f"/proc/self/fd/{directory}/{name}")
        if header.type != "symlink":
            set_mode(directory, name, header.mode)
        os.utime(name, ns=(moment, moment), dir_fd=directory, follow_symlinks=False)

    def _give(self, header: Header, fd: int) -> None:
        """By descriptor: a process of the container may exchange names while we are here."""
        if os.geteuid() == 0:
            os.fchown(fd, *(self._owner or (header.uid, header.gid)))
        os.fchmod(fd, header.mode)
        self._set_attributes(header, fd)

    def _set_attributes(self, header: Header, where: int | str) -> None:
        """After the owner: a change of that takes capabilities away."""
        for key, value in (header.xattrs or {}).items() if self._whole else ():
            try:
                os.setxattr(where, key, value, follow_symlinks=not isinstance(where, str))
            except OSError as error:
                raise AttributeRefused(
                    f"{os.fsdecode(header.name)!r}: the file system does not take the attribute "
                    f"{os.fsdecode(key)!r}: {(error.strerror or '').lower()}"
                ) from error

    def _file(self, header: Header, directory: int, name: str) -> None:
        out = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
        )
        try:
            if header.segments is None:
                self._copy(out, header.offset, header.size)
            else:
                at = header.offset
                for start, length in zip(header.segments[::2], header.segments[1::2]):
                    os.lseek(out, start, os.SEEK_SET)
                    self._copy(out, at, length)
                    at += length
                os.truncate(out, header.size)
            self._give(header, out)
            moment = header.seconds * 10**9 + header.nanoseconds
            os.utime(out, ns=(moment, moment))
        finally:
            os.close(out)

    def _copy(self, out: int, offset: int, size: int) -> None:
        while size:
            count = os.sendfile(out, self._tar, offset, min(size, _CHUNK))
            if not count:
                raise NameRefused("the archive ends in the middle of a file")
            offset, size = offset + count, size - count
