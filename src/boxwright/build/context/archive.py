"""A build context that arrives as a tar (standard input, HTTP): unpacked into a directory of its own.

Names are taken as hostile: everything is made below the directory, through descriptors, whatever links the
archive itself brings.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from boxwright.errors import Corrupt, Invalid
from boxwright.files.trees import remove_tree
from boxwright.rootfs.root import Root
from boxwright.spec.times import LAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.layer.scan import Header

_BLOCK = 512
_CHUNK = 1 << 18
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IMPOSSIBLE = (
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ENOENT,
)
_DEVICES = {"char": 0o020000, "block": 0o060000, "fifo": 0o010000}


class ContextArchiveInvalid(Invalid):
    """The archive of a context holds something that cannot be made."""


def is_archive(head: bytes) -> bool:
    """Whether data that begin like this are a tar, compressed or not, rather than a Dockerfile."""
    from boxwright.layer.compress import sniff

    if sniff(head) != "none":
        return True
    block = head[:_BLOCK]
    if len(block) < _BLOCK:
        return False
    if not any(block):
        return True  # an archive without entries
    try:
        said = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return said == sum(block[:148]) + 8 * 32 + sum(block[156:])


@contextmanager
def unpacked_context(
    head: bytes, stream: BinaryIO, parent: Path, told: Callable[[int], object] = lambda newest: None
) -> Iterator[Path]:
    """A directory below `parent` with what the archive `head` + `stream` holds; gone when the block ends. `told` hears
    the time of the newest file, in unix seconds, if there is one.

    Owners are not kept: in an image everything of a context is root's. Raises TarInvalid,
    CompressedDataBroken, ContextArchiveInvalid, DiskFull.
    """
    from boxwright.files.disk import disk_errors
    from boxwright.layer.compress import Prefixed, open_decompressed

    parent.mkdir(parents=True, exist_ok=True)
    name = f"context-{os.urandom(8).hex()}"
    target = parent / name
    target.mkdir(mode=0o755)
    try:
        with disk_errors(str(target)), Root.at(target) as root:
            raw: BinaryIO = io.BufferedReader(Prefixed(head, stream), _CHUNK)
            unpacker = _ContextUnpacker(root)
            unpacker.run(open_decompressed(raw))
        if unpacker.newest.time is not None:
            told(unpacker.newest.time)
        yield target
    finally:
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):
                remove_tree(fd, name)
        finally:
            os.close(fd)


def newest_file(stream: BinaryIO) -> int | None:
    """The time of the newest file of an archive, in unix seconds; None when it has none, or is no archive."""
    from boxwright.layer.compress import open_decompressed
    from boxwright.layer.scan import Scanner

    newest, scanner = _Newest(), Scanner()
    try:
        plain = open_decompressed(stream)
        while chunk := plain.read(_CHUNK):
            for header in scanner.feed(chunk):
                newest.add(header)
        scanner.finish()
    except (Corrupt, Invalid):
        return None
    return newest.time


class _Newest:
    """The newest time of regular files; `time` is None before one has a time since 1970."""

    def __init__(self) -> None:
        self.time: int | None = None

    def add(self, header: Header) -> None:
        if header.type in ("file", "hardlink") and 0 <= header.seconds <= LAST:
            self.time = max(self.time or 0, header.seconds)


class _ContextUnpacker:
    """Writes entries as their headers pass. Directories get their modes last: they may not allow writing."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.newest = _Newest()
        self._file: _File | None = None
        self._modes: dict[str, int] = {}
        self._times: dict[str, int] = {}  # of directories, nanoseconds

    def run(self, stream: BinaryIO) -> None:
        from boxwright.layer.scan import Scanner

        scanner = Scanner()
        try:
            while chunk := stream.read(_CHUNK):
                start = scanner.position
                self._take(memoryview(chunk), start, scanner.feed(chunk))
            scanner.finish()
        finally:
            self._close()
        for path in sorted(self._modes, reverse=True):
            # A later entry may have put a link in the directory's place: it is not followed.
            with suppress(FileNotFoundError, NotADirectoryError), self._root.parent(path) as (fd, name):
                directory = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    os.fchmod(directory, self._modes[path])
                    _date(directory, self._times[path])
                finally:
                    os.close(directory)

    def _take(self, chunk: memoryview, start: int, headers: list[Header]) -> None:
        if self._file is not None:
            self._file.write(chunk)
        for header in headers:
            self._close()
            self.newest.add(header)
            try:
                self._entry(header)
            except OSError as error:
                if error.errno not in _IMPOSSIBLE:
                    raise
                shown = os.fsdecode(header.name)[:200]
                raise ContextArchiveInvalid(
                    f"cannot unpack {shown!r} of the context archive: {error.strerror}"
                ) from error
            if self._file is not None:
                self._file.write(chunk[max(0, header.offset - start) :])
        if self._file is not None and not self._file.left:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _entry(self, header: Header) -> None:
        from boxwright.layer.tree import clean

        path = os.fsdecode(clean(header.name))
        if not path:
            return
        head = path.rpartition("/")[0]
        if header.type == "dir":
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(self._root.lstat(path).st_mode):
                    self._root.remove_tree(path)
            self._root.makedirs(path)
            self._modes[path] = header.mode
            self._times[path] = _time(header)
            return
        if head:
            self._root.makedirs(head)
        self._root.remove_tree(path)
        if header.type == "file":
            fd = self._root.open(path, _NEW, 0o600)
            os.fchmod(fd, header.mode)
            self._file = _File(fd, header)
        elif header.type == "hardlink":
            self._link(path, os.fsdecode(clean(header.link)))
        elif header.type == "symlink":
            with self._root.parent(path) as (fd, name):
                os.symlink(os.fsdecode(header.link), name, dir_fd=fd)
                _date(name, _time(header), fd)
        else:
            self._device(path, header)

    def _link(self, path: str, target: str) -> None:
        try:
            with self._root.parent(target) as (source, old), self._root.parent(path) as (fd, name):
                os.link(old, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError, PermissionError, Invalid) as error:
            raise ContextArchiveInvalid(
                f"the context archive has a hard link {path!r} to {target!r}, which is not in it"
            ) from error

    def _device(self, path: str, header: Header) -> None:
        try:
            with self._root.parent(path) as (fd, name):
                os.mknod(
                    name,
                    _DEVICES[header.type] | header.mode,
                    os.makedev(header.major, header.minor),
                    dir_fd=fd,
                )
                _date(name, _time(header), fd)
        except PermissionError as error:
            raise ContextArchiveInvalid(
                f"the context archive has the device {path!r}, which only root can make"
            ) from error


class _File:
    """A file on its way in; `left` are the stored bytes that are still to come."""

    def __init__(self, fd: int, header: Header) -> None:
        self._fd = fd
        self._header = header
        flat = header.segments
        self._pieces = [(0, header.size)] if flat is None else list(zip(flat[0::2], flat[1::2], strict=True))
        self.left = sum(length for _, length in self._pieces)
        if header.xattrs:
            for key, value in header.xattrs.items():
                if key.startswith(b"user.") or key == b"security.capability":
                    with suppress(OSError):
                        os.setxattr(fd, key, value)

    def write(self, data: memoryview) -> None:
        """Take what belongs to the file from the beginning of `data`."""
        while self.left and data:
            place, length = self._pieces[0]
            if not length:
                self._pieces.pop(0)
                continue
            count = os.pwrite(self._fd, data[:length], place)
            data = data[count:]
            self.left -= count
            self._pieces[0] = (place + count, length - count)

    def close(self) -> None:
        if self._header.segments is not None:
            os.ftruncate(self._fd, self._header.size)
        _date(self._fd, _time(self._header))
        os.close(self._fd)


def _time(header: Header) -> int:
    return header.seconds * 1_000_000_000 + header.nanoseconds


def _date(what: str | int, at: int, directory: int | None = None) -> None:
    """Give an entry its time; one that the file system cannot hold is left out."""
    with suppress(OSError, OverflowError):
        if isinstance(what, int):
            os.utime(what, ns=(at, at))
        else:
            os.utime(what, ns=(at, at), dir_fd=directory, follow_symlinks=False)
