"""Single flight between processes: one lock file a step key, held while the step runs.

Two builds of the same step at once do its work once: the second waits, then finds the record. The lock only
saves work; results are content-addressed, so that losing it (a root on a network disk without locks) is safe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Cancelled
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.places import Places

_POLL = 0.05  # seconds between attempts while another build runs the step


class StepLocks:
    """Locks under ``ROOT/locks/``. A file is removed by its last holder; what a kill leaves behind is reused."""

    def __init__(self, root: Path) -> None:
        self._directory = Places(root).step_locks

    @contextmanager
    def exclusive(self, key: str, cancel: threading.Event) -> Iterator[bool]:
        """Hold the key's lock. Yields whether another build held it first. Raises Cancelled."""
        self._directory.mkdir(exist_ok=True)
        path = self._directory / key.replace(":", "-")
        lock, waited = self._lock(path, cancel)
        with lock:
            try:
                yield waited
            finally:
                path.unlink(missing_ok=True)

    def _lock(self, path: Path, cancel: threading.Event) -> tuple[Lock, bool]:
        waited = False
        while True:
            try:
                lock = Lock.at(locks.STEP, path, wait=False, polled=True)
            except BlockingIOError:
                waited = True
                if cancel.wait(_POLL):
                    raise Cancelled("the build was cancelled") from None
                continue
            if lock.is_at(path):
                return lock, waited
            lock.close()  # the holder before us removed the file between our open and our lock
