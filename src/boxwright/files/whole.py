"""Small files that appear whole: written under a temporary name, which becomes the real one when all is written. Blobs,
layers and directories have writers of their own, which do the same.

A reader finds the old content or the new one, never a part, whenever the writer is killed. What the disk has after a
power cut is the writer's choice: `sync` with `at_once` the new content; `sync` alone the old or the new; neither is
for what is found out again, or ends with the power anyway.

Imported by the supervisor: C modules only. `disk` has what also tells a disk's errors.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def beside(path: str | Path) -> str:
    """A hidden name in the directory of a file, that no other process or thread has."""
    directory, name = os.path.split(path)
    # The longest name that a file can have has no room for more.
    return os.path.join(directory, f".{name[:40]}.{os.getpid()}.{os.urandom(4).hex()}")


def replace(
    path: str | Path,
    data: bytes | tuple[bytes, ...],
    *,
    mode: int = 0o644,
    sync: bool = True,
    at_once: bool = True,
    temporary: str = "",
) -> None:
    """Give a file this content, whose parts need not be put together first. `temporary` is where it is written
    first, for one in a directory whose every file another program reads; the caller has a lock then. Raises OSError,
    with the old file as it was."""
    part = temporary or beside(path)
    try:
        _write(path=part, data=data, mode=mode, how=os.O_TRUNC if temporary else os.O_EXCL, sync=sync)
        os.rename(part, path)
    except BaseException:
        _unlink(part)
        raise
    if sync and at_once:
        fsync_dir(os.path.dirname(path) or ".")


def replace_in_place_of(path: str | Path, data: bytes, *, mode: int = 0o600) -> None:
    """The same for a file that belongs to a user: one that is a link stays a link, and its permissions stay; its owner
    too, where the process may say so. `mode` is for a new one. Raises OSError."""
    path = os.path.realpath(path)
    part = beside(path)
    try:
        fd = _open(part, 0o600, os.O_EXCL)
        try:
            try:
                old = os.stat(path)
            except FileNotFoundError:
                os.fchmod(fd, mode)
            else:
                try:
                    os.fchown(fd, old.st_uid, old.st_gid)
                except PermissionError:
                    pass
                os.fchmod(fd, old.st_mode & 0o777)
            _fill(fd, data, sync=True)
        finally:
            os.close(fd)
        os.rename(part, path)
    except BaseException:
        _unlink(part)
        raise
    fsync_dir(os.path.dirname(path))


def create(path: str | Path, data: bytes, *, mode: int = 0o600) -> bool:
    """A new file, durably; of several writers at once the first wins, and False tells the others. Raises OSError."""
    part = beside(path)
    try:
        _write(path=part, data=data, mode=mode, how=os.O_EXCL, sync=True)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
    finally:
        _unlink(part)
    fsync_dir(os.path.dirname(path) or ".")
    return True


def fsync_dir(path: str | Path) -> None:
    """Make renames in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _open(path: str, mode: int, how: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, mode)


def _write(path: str, data: bytes | tuple[bytes, ...], mode: int, how: int, *, sync: bool) -> None:
    fd = _open(path, mode, how)
    try:
        _fill(fd, data, sync=sync)
    finally:
        os.close(fd)


def _fill(fd: int, data: bytes | tuple[bytes, ...], *, sync: bool) -> None:
    for part in (data,) if isinstance(data, bytes) else data:
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]
    if sync:
        os.fsync(fd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
