"""What the kernel killed in a container for want of memory. Imported by the supervisor: C modules only."""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from boxwright.container.supervisor.loop import Loop


def count(files: Sequence[str]) -> int:
    """How many processes, as the first of the files (`job.Job.oom_files`) that is there says."""
    for path in files:
        try:
            with open(path) as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except (OSError, ValueError):
            continue
    return 0


class Watch:
    """Calls `told` whenever more were killed, until `end`, which looks once more. Where the kernel does not wake us,
    that is the only look."""

    def __init__(self, loop: Loop, files: Sequence[str], told: Callable[[], None]) -> None:
        self._loop, self._files, self._told = loop, files, told
        self._seen = 0
        self._open: list[int] = []
        for path in files:
            try:
                self._wake(path)
                return
            except OSError:
                self._close()

    def _wake(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open.append(fd)
        if path.endswith("memory.events"):  # version 2: the file itself
            self._loop.watch(fd, select.EPOLLPRI, lambda events: self._look())
            return
        wakes = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._open.append(wakes)
        with open(f"{os.path.dirname(path)}/cgroup.event_control", "wb", buffering=0) as control:
            control.write(b"%d %d" % (wakes, fd))

        def woken(events: int) -> None:
            os.eventfd_read(wakes)
            self._look()

        self._loop.watch(wakes, select.EPOLLIN, woken)

    def _look(self) -> None:
        found = count(self._files)
        if found > self._seen:
            self._seen = found
            self._told()

    def end(self) -> bool:
        """Whether any was killed."""
        self._look()
        self._close()
        return self._seen > 0

    def _close(self) -> None:
        for fd in self._open:
            self._loop.forget(fd)
            os.close(fd)
        self._open = []
