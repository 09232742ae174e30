"""Durable writes: directories and small files that appear whole and stay after a power cut; and the errors of a disk
that is full, failing or read-only."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from boxwright.errors import BoxwrightError, Invalid, Unavailable
from boxwright.files import whole
from boxwright.files.whole import fsync_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class DiskError(Unavailable):
    """The disk does not do what is asked of it."""


class DiskFull(DiskError):
    """A write failed for lack of space."""


class DiskFailing(DiskError):
    """The disk reports that it cannot read or write."""


class DiskReadOnly(DiskError):
    """The file system is mounted read-only."""


_BEHIND = 8 << 20  # bytes after which the disk is told to begin


def write_behind(fd: int, before: int, after: int) -> None:
    """Have the disk begin with what was appended to a file while more arrives, so that its final fsync finds little
    left to do. The offsets are the file's size before and after a write; nothing is waited for."""
    begin, end = before // _BEHIND * _BEHIND, after // _BEHIND * _BEHIND
    if end > begin:
        # Of dirty pages, the advice only starts writing (mm/fadvise.c); what is still dirty is not dropped.
        os.posix_fadvise(fd, begin, end - begin, os.POSIX_FADV_DONTNEED)


_FULL = DiskFull, "free some space (boxwright system prune), or choose another --root"
_DISK_ERRORS: dict[int, tuple[type[DiskError], str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EIO: (DiskFailing, "the disk fails, or its connection does; `dmesg` tells what the kernel saw"),
    errno.EROFS: (DiskReadOnly, "mount it writable, or choose another --root"),
}


def disk_error(what: str, code: int) -> DiskError | None:
    """The error that an errno of the disk's is; None for any other."""
    kind, hint = _DISK_ERRORS.get(code, (None, ""))
    return kind(f"cannot write {what}: {os.strerror(code)}", hint=hint) if kind else None


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what a full, failing or read-only disk says into DiskError."""
    try:
        yield
    except OSError as error:
        if (told := disk_error(what, error.errno or 0)) is not None:
            raise told from error
        raise


def on_read_only(path: Path) -> bool:
    """Whether the file system of a file or directory is mounted read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def make_directories(path: Path, *, mode: int = 0o777) -> None:
    """A directory with those above it, durably: what is put there later, and synced, can be found."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for path in reversed(missing):
        path.mkdir(mode, exist_ok=True)
        fsync_dir(path.parent)


def sync_below(fd: int) -> None:
    """Make everything durable that was written to the file system of a descriptor: one syncfs instead of an fsync a
    file, for many files."""
    from boxwright.files import syscalls

    syscalls.libc("syncfs", fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, at_once: bool = True) -> None:
    """`whole.replace` of what is to survive a power cut. Raises DiskError."""
    with disk_errors(str(path)):
        whole.replace(path, data, mode=mode, at_once=at_once)


@contextmanager
def whole_file(path: Path, refused: type[BoxwrightError] = Invalid) -> Iterator[BinaryIO]:
    """A file of the user's: what is written takes its place once all of it is there, durably. A failure leaves an older
    one as it was; a link stays one. A device or a pipe cannot be replaced, and is written as it is. Raises `refused`
    when the file cannot be there, DiskError."""
    if path.exists() and not path.is_file():
        with _placing(path, refused):
            device = open(path, "wb")
        with device:
            yield device
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    temporary = Path(whole.beside(path))
    try:
        with _placing(path, refused):
            out = _nameless(temporary)
        with out:
            yield out
            with disk_errors(str(path)):
                out.flush()
                os.fsync(out.fileno())
            with _placing(path, refused):  # its directory may have been removed meanwhile, or made read-only
                if not os.path.lexists(temporary):
                    # Of a file that is open, by its number; any descriptor makes it the call that follows links.
                    os.link(f"/proc/self/fd/{out.fileno()}", temporary, src_dir_fd=out.fileno())
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    try:
        fsync_dir(path.parent)
    except OSError as error:
        # The directory may be written and not read, or its file system syncs no directories.
        if error.errno not in (errno.EACCES, errno.EINVAL):
            raise


def _nameless(temporary: Path) -> BinaryIO:
    """A file without a name in the directory of `temporary`, which a kill leaves nothing of; where the file system has
    none, or nothing shows open files by their numbers, one of this name. Raises OSError."""
    if os.path.exists("/proc/self/fd"):
        with suppress(OSError):  # what else is wrong, the open of a name tells
            fd = os.open(temporary.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
            return os.fdopen(fd, "wb", buffering=1 << 20)
    return open(temporary, "xb", buffering=1 << 20)


@contextmanager
def _placing(path: Path, refused: type[BoxwrightError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = disk_error(str(path), error.errno or 0)
        raise told or refused(f"cannot write {path}: {error.strerror}") from error
