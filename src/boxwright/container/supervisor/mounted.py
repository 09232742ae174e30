"""What the host has mounted for a container, and takes down when it ends.

A volume's device is mounted once for all containers that have the volume: each holds a lock of it together with the
others, and the one that finds that no other has it any more takes the mount down.

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

from boxwright.files import syscalls
from boxwright.files.locks import VOLUME, Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_DETACH, _NOFOLLOW = 2, 8


class MountShare:
    """That a process uses what is mounted at `place`, until `release`. `lock` is the file that tells the others.
    Raises OSError."""

    __slots__ = ("_lock", "lock", "place")

    def __init__(self, lock: str, place: str) -> None:
        self.lock, self.place = lock, place
        self._lock = Lock.at(VOLUME, lock, shared=True)

    def release(self) -> None:
        """Take the mount down, if no other uses it."""
        # The same lock is turned: one that was closed may still be held by a child that is about to exec.
        if self._lock.turn():
            take_down([self.place])
        self._lock.close()


def unshare(lock: str, place: str) -> None:
    """Take down what is mounted at `place`, unless a process uses it. Idempotent."""
    try:
        with Lock.at(VOLUME, lock, wait=False):
            take_down([place])
    except OSError:  # it is in use, or the volume is gone
        pass


def end(places: Iterable[str], shares: list[MountShare]) -> None:
    """Unmount, and let go of what is shared; idempotent."""
    take_down(places)
    for share in shares:
        share.release()
    shares.clear()


def take_down(places: Iterable[str]) -> None:
    """Unmount, now or when its last user ends; what is no mount is left alone."""
    for place in places:
        try:
            syscalls.libc("umount2", place.encode("utf-8", "surrogateescape"), _DETACH | _NOFOLLOW)
        except OSError:
            pass
