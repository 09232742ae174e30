"""Single flight between processes: one lock file a step key, held while the step runs.

Two builds of the same step at once do its work once: the second waits, then finds the record. The lock only
saves work; results are content-addressed, so that losing it (a root on a network disk without locks) is safe.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Cancelled

_POLL = 0.05  # seconds between attempts while somebody else runs the step


class Flights:
    """Locks under ``ROOT/locks/``. A file is removed by its last holder; what a kill leaves behind is reused."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "locks"

    @contextmanager
    def alone(self, key: str, cancel: threading.Event) -> Iterator[bool]:
        """Hold the key's lock. Yields whether somebody else held it first. Raises Cancelled."""
        self._directory.mkdir(exist_ok=True)
        path = self._directory / key.replace(":", "-")
        fd, waited = self._lock(path, cancel)
        try:
            yield waited
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def _lock(self, path: Path, cancel: threading.Event) -> tuple[int, bool]:
        waited = False
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                waited = True
                if cancel.wait(_POLL):
                    raise Cancelled("the build was cancelled") from None
                continue
            except BaseException:
                os.close(fd)
                raise
            # The holder before us may have removed the file between our open and our lock.
            try:
                if os.stat(path).st_ino == os.fstat(fd).st_ino:
                    return fd, waited
            except FileNotFoundError:
                pass
            os.close(fd)
