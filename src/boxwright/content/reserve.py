"""Space that is set aside for a full disk: to make room in the store takes some itself, since SQLite writes before it
deletes. One file of allocated, unused blocks gives it back piece by piece."""

from __future__ import annotations

import os
from pathlib import Path

from boxwright.files.places import Places

_WHOLE = 4 << 20  # bytes
_PIECE = 256 << 10  # what one command on a full disk gets, at the least
_FULL = 64 << 10  # with less than this a database cannot be opened: shared memory, the beginning of a log
_LOW = 512 << 10  # with less than this a removal may fail half-way
_SHARE = 16  # it is at most this part of what is free: a small disk has a small reserve


def check(root: Path) -> None:
    """Before a database is opened: fill up when there is room."""
    try:
        wanted = min(_WHOLE, _free(root) // _SHARE // _PIECE * _PIECE)
        if wanted and _size(root) < wanted:
            fd = os.open(Places(root).reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, wanted)
            finally:
                os.close(fd)
    except OSError:  # no store yet, one of another user, or one on a file system that allocates nothing
        return


def full(root: Path) -> bool:
    """Whether there is too little room to open a database. SQLite makes sure of one block for each 4 KB of its shared
    memory; where blocks are smaller, what it writes there next would be SIGBUS on a nearly full disk, no error."""
    try:
        return _free(root) < _FULL
    except OSError:
        return False


def spend(root: Path) -> None:
    """Before something is written that makes room: give a part of what is left back when little is free."""
    try:
        if _free(root) < _LOW:
            _give(root, max(_size(root) // 4, _PIECE))
    except OSError:
        return


def _free(root: Path) -> int:
    info = os.statvfs(root)
    return info.f_bavail * info.f_frsize


def _size(root: Path) -> int:
    try:
        return os.stat(Places(root).reserve).st_size
    except FileNotFoundError:
        return 0


def _give(root: Path, count: int) -> None:
    if left := _size(root):
        os.truncate(Places(root).reserve, max(left - count, 0))
