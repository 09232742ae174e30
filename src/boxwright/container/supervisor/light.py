"""What `content` has too, without its imports."""

from __future__ import annotations

import os


def write_file(path: str, data: bytes) -> None:
    """Replace a small file in one step."""
    part = f"{path}.{os.getpid()}"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.rename(part, path)


def own_identity() -> str:
    """This process for good: boot id, pid, start time, as `content.lease.process_identity` writes it."""
    with open("/proc/self/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
        return f"{boot.read().strip()}:{os.getpid()}:{stat.read().rpartition(b')')[2].split()[19].decode()}"
