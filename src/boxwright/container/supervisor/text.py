"""JSON text and times without `json` and `datetime`, which would double the supervisor's start."""

from __future__ import annotations

import os
import time
from _json import encode_basestring as _quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def to_json(value: Any) -> str:
    """None, booleans, numbers, text, lists and dicts as JSON."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(str(k))}:{to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(to_json, value)) + "]"
    return repr(value)


def quote(text: str) -> str:
    """A JSON string."""
    return str(_quote(text))


def stamp(moment: float | None = None) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    ns = time.time_ns() if moment is None else int(moment * 1e9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


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
