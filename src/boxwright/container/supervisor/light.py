"""What `content` has too, without its imports."""

from __future__ import annotations

import os

_FULL = (28, 122)  # ENOSPC, EDQUOT


def write_file(path: str, data: bytes, *, sync: bool = False) -> None:
    """Replace a small text file in one step, durably with `sync`. On a full disk it is overwritten in place instead,
    with blanks up to its old length. Raises OSError when not even that can be done."""
    part = f"{path}.{os.getpid()}"
    try:
        _write(part, data, os.O_CREAT | os.O_TRUNC, sync)
        os.rename(part, path)
        if sync:
            _sync_directory(os.path.dirname(path))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        try:
            if os.path.exists(part):
                os.unlink(part)
            size = os.stat(path).st_size
        except FileNotFoundError:
            raise error from None
        _write(path, data.ljust(size), 0, sync)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(path: str, data: bytes, flags: int, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(_FULL[0], "No space left on device", path)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def own_identity() -> str:
    """This process for good: boot id, pid, start time, as `content.lease.process_identity` writes it."""
    with open("/proc/self/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
        return f"{boot.read().strip()}:{os.getpid()}:{stat.read().rpartition(b')')[2].split()[19].decode()}"
