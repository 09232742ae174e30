"""Small files of a container on a disk that may be full, and who this process is, for a light process."""

from __future__ import annotations

import os

from boxwright.files import whole

_FULL = (28, 122)  # ENOSPC, EDQUOT


def write_file(path: str, data: bytes, *, sync: bool = False) -> None:
    """Replace a small text file in one step, durably with `sync`. On a full disk it is overwritten in place instead,
    with blanks up to its old length. Raises OSError when not even that can be done."""
    try:
        whole.replace(path, data, mode=0o600, sync=sync)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            raise error from None
        _overwrite(path, data.ljust(size), sync=sync)


def _overwrite(path: str, data: bytes, *, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
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
