"""Rate limits that all workers share: one number a client, in memory mapped before the workers are forked."""

from __future__ import annotations

import mmap
import time
import zlib

_SLOTS = 1 << 17  # clients are told apart by hash; two that share a slot share a limit


class Buckets:
    """The generic cell rate algorithm: a slot holds the time at which its client is even again.

    Workers write without locks: a lost update lets one request through too many.
    """

    def __init__(self) -> None:
        self._times = memoryview(mmap.mmap(-1, _SLOTS * 8)).cast("d")

    def wait(self, key: str, rate: float, burst: int) -> float:
        """Seconds until the next request may come; 0 = now. Nothing is counted."""
        ahead = self._times[self._slot(key)] - time.monotonic()
        return max(0.0, ahead - burst / rate)

    def take(self, key: str, rate: float, burst: int) -> float:
        """Count a request; the seconds it comes too early, or 0."""
        slot, now = self._slot(key), time.monotonic()
        even = max(self._times[slot], now)
        wait = even - now - burst / rate
        if wait > 0:
            return wait
        self._times[slot] = even + 1 / rate
        return 0.0

    @staticmethod
    def _slot(key: str) -> int:
        return zlib.crc32(key.encode()) % _SLOTS
