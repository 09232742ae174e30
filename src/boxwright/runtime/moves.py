"""The wait before a process changes its control group, begun ahead of time.

The kernel moves a process while no thread begins or ends, and takes a grace period to reach that state: 5 to 20 ms for
the first move after a quiet time, 0.1 for those that follow it within 10. A runtime moves the first process of a
container when all else is ready, and so waits. While the container is still being prepared, a thread here has the
kernel move this process to the group that it is in: the wait is over when the runtime comes, and nothing else changed.
"""

from __future__ import annotations

import os
import time
from _thread import start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_GROUPS = "/sys/fs/cgroup"
_PAUSE = 0.004  # seconds between moves: the state outlasts the last one by a grace period
_MOST = 100  # moves, for a preparation that takes long


class Ahead:
    """A context: inside it, moves of processes between control groups do not wait, or less. Where this process may not
    move itself, nothing is done. `find` opens the list to write to (`own_group`)."""

    def __init__(self, find: Callable[[], int] | None = None) -> None:
        self._find = find or own_group
        self._over = False

    def __enter__(self) -> Self:
        try:
            start_new_thread(self._work, ())
        except RuntimeError:  # no more threads may be started here: as slow as it was
            pass
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def _work(self) -> None:
        fd = self._find()
        if fd < 0:
            return
        try:
            for _ in range(_MOST):
                if self._over:
                    break
                os.write(fd, b"0")
                time.sleep(_PAUSE)
        except OSError:  # as slow as it was
            pass
        finally:
            os.close(fd)


def own_group(groups: str = _GROUPS, told: str = "/proc/self/cgroup") -> int:
    """A descriptor of the list of processes of a group that this process is in; -1 when there is none that it can write
    to. The mounted tree may be one that `told` does not speak of: what is taken lists this process."""
    try:
        with open(told) as file:
            lines = [line.rstrip("\n").split(":", 2)[1:] for line in file]
    except OSError:
        return -1
    # The deepest has the fewest processes.
    for names, path in sorted(lines, key=lambda line: -len(line[1])):
        below = names.removeprefix("name=") if names else ""
        for place in (below,) if below else ("", "unified"):
            try:
                fd = os.open(f"{groups}/{place}{path.rstrip('/')}/cgroup.procs", os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if str(os.getpid()).encode() in _all_of(fd).split():
                    return fd
            except OSError:
                pass
            os.close(fd)
    return -1


def _all_of(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 65536):
        pieces.append(piece)
    return b"".join(pieces)
