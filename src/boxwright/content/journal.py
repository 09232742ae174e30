"""What happened in a root, a line an event: written by any process, read by any number of followers.

A line goes to the end of the file in one write, so that writers need no lock. A full file is renamed aside and one such
is kept: the journal never takes more than twice its size. It is not waited for on the disk; a power cut takes the last
lines. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import os
import select

from boxwright.files import locks, syscalls
from boxwright.files.locks import Lock
from boxwright.spec.events import event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FULL = 2 << 20  # bytes
_CHANGES = 0x2 | 0x100 | 0x80  # IN_MODIFY, IN_CREATE, IN_MOVED_TO
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000
_CHUNK = 1 << 18


def tell(directory: str, *, kind: str, action: str, identity: str, attributes: Mapping[str, str]) -> None:
    """Add an event of now (`spec.events`), as `append` does; '' is no journal, and none is told."""
    if directory:
        append(directory, event(kind, action, identity, attributes=attributes))


def append(directory: str, line: bytes, *, full: int = FULL) -> None:
    """Add a line, which has no newline. What cannot be written (a full disk, a root that was removed) is not told:
    what happened has happened."""
    try:
        try:
            fd = _open(directory)
        except FileNotFoundError:
            os.mkdir(directory, 0o700)
            fd = _open(directory)
        try:
            # A newline in front, too: the line before may have been cut short by a full disk.
            os.write(fd, b"\n" + line + b"\n")
            if os.fstat(fd).st_size > full:
                _turn(directory, fd)
        finally:
            os.close(fd)
    except OSError:
        pass


def _open(directory: str) -> int:
    return os.open(f"{directory}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _turn(directory: str, fd: int) -> None:
    with Lock.at(locks.JOURNAL, f"{directory}/lock", wait=False):
        if os.fstat(fd).st_ino == os.stat(f"{directory}/log").st_ino:  # not turned by another meanwhile
            os.rename(f"{directory}/log", f"{directory}/log.1")


def lines(
    directory: str, *, follow: bool = False, seconds: float | None = None, ended: int = -1
) -> Iterator[bytes]:
    """Every line that is kept, oldest first; then, with `follow`, those to come, for so many `seconds` (None = for
    ever), or until the descriptor `ended` is readable. Nothing is read, and no time passes, between two changes of the
    directory."""
    import time

    deadline = None if seconds is None else time.monotonic() + seconds
    watch = _watch(directory) if follow else -1
    old = new = -1
    try:
        # In this order: a file that is turned between the two is found twice, not never.
        new, old = _reader(f"{directory}/log"), _reader(f"{directory}/log.1")
        if old >= 0 and (new < 0 or os.fstat(old).st_ino != os.fstat(new).st_ino):
            yield from _whole(old, [b""])
        kept = [b""]
        poller = select.poll()
        while True:
            if new >= 0:
                yield from _whole(new, kept)
            if not follow:
                return
            latest = _reader(f"{directory}/log")
            if latest >= 0 and (new < 0 or os.fstat(latest).st_ino != os.fstat(new).st_ino):
                if new >= 0:  # it was renamed aside; what came to it meanwhile
                    yield from _whole(new, kept)
                    os.close(new)
                new, kept = latest, [b""]
                continue
            if latest >= 0:
                os.close(latest)
            poller.register(watch, select.POLLIN)
            if ended >= 0:
                poller.register(ended, select.POLLIN)
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            ready = [fd for fd, _ in poller.poll(None if left is None else left * 1000)]
            if ended in ready:
                return
            if ready:
                os.read(watch, _CHUNK)
    finally:
        for fd in (watch, old, new):
            if fd >= 0:
                os.close(fd)


def _watch(directory: str) -> int:
    os.makedirs(directory, 0o700, exist_ok=True)
    watch = syscalls.libc("inotify_init1", _NONBLOCK | _CLOEXEC)
    try:
        syscalls.libc("inotify_add_watch", watch, os.fsencode(directory), _CHANGES)
    except OSError:
        os.close(watch)
        raise
    return watch


def _reader(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _whole(fd: int, kept: list[bytes]) -> Iterator[bytes]:
    """Lines from here to the end; `kept` has the beginning of one that is not there yet."""
    while data := os.read(fd, _CHUNK):
        *found, kept[0] = (kept[0] + data).split(b"\n")
        for line in found:
            if line:
                yield line
