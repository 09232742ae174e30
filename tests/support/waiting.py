"""Waiting for what other processes and threads do."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(check: Callable[[], object], seconds: float = 10) -> None:
    """Wait until it is true; fails the test when that takes longer."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)
