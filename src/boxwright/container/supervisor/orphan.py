"""A container's process whose supervisor was killed: what a new supervisor finds of it.

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import fcntl
import os
import select
from _struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from boxwright.container.supervisor.loop import Loop

UNKNOWN = 255  # the exit code of what ended when no process could hear of it
_GET_INFO, _SIZE = 0xC040FF0B, 64  # PIDFD_GET_INFO of the first struct pidfd_info (linux/pidfd.h)
_WANT_EXIT, _EXIT_AT = 1 << 3, 60
_LOOKS, _PAUSE = 60, 0.05  # a process that has ended is reaped by another: how long that is waited for


def watch(loop: Loop, pidfd: int, ended: Callable[[int | None], None]) -> None:
    """Call `ended` once the process has ended: with its wait status where the kernel gives that to processes that are
    not the parent (Linux 6.15), else with None. Closes the descriptor then."""

    def look(left: int) -> None:
        status = exit_status(pidfd)
        if status is None and left:
            loop.after(_PAUSE, lambda: look(left - 1))
            return
        os.close(pidfd)
        ended(status)

    def ready(events: int) -> None:
        loop.forget(pidfd)
        look(_LOOKS)

    loop.watch(pidfd, select.EPOLLIN, ready)


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that was reaped, by its pidfd; None when it is not told."""
    buffer = bytearray(pack("Q", _WANT_EXIT).ljust(_SIZE, b"\0"))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, buffer)
    except OSError:
        return None
    if not unpack_from("Q", buffer)[0] & _WANT_EXIT:
        return None
    return int(unpack_from("i", buffer, _EXIT_AT)[0])


def pipes(inodes: Sequence[int], pid: int, identity: str) -> dict[int, int]:
    """The reading ends of the pipes that the container writes to: new descriptors of ours -> stream (1, 2). A pipe is
    opened through any process of the container that has it; one that no process has is missing, since nothing writes to
    it any more."""
    wanted = {f"pipe:[{inode}]": stream for stream, inode in enumerate(inodes, 1)}
    found: dict[int, int] = {}
    for process in _processes(pid, identity):
        if not wanted:
            break
        for path in _descriptors(process):
            stream = wanted.get(_target(path))
            fd = _reader(path, inodes[stream - 1]) if stream else -1
            if stream and fd >= 0:
                found[fd] = stream
                del wanted[f"pipe:[{inodes[stream - 1]}]"]
    return found


def _processes(pid: int, identity: str) -> Iterator[int]:
    """The container's first process, then the others: a cgroup's name has the container's id."""
    yield pid
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != pid and belongs(int(name), identity):
            yield int(name)


def belongs(pid: int, identity: str) -> bool:
    """Whether a process is in the container's cgroup."""
    try:
        with open(f"/proc/{pid}/cgroup") as groups:
            return identity in groups.read()
    except OSError:  # it is gone
        return False


def _descriptors(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _reader(path: str, inode: int) -> int:
    """The pipe opened for reading, or -1: the container may put another file there while we look, which is looked at
    and not opened."""
    try:
        seen = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        own = f"/proc/self/fd/{seen}"
        if os.readlink(own) != f"pipe:[{inode}]":
            return -1
        return os.open(own, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    finally:
        os.close(seen)
