"""Rate limits that all workers share: one number a client, in memory mapped before the workers are forked."""

from __future__ import annotations

import hashlib
import mmap
import secrets
import time

_SLOTS = 1 << 17  # clients are told apart by hash; two that share a slot share a limit


class Buckets:
    """The generic cell rate algorithm: a slot holds the time at which its client is even again.

    Workers write without locks: a lost update lets one request through too many.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)  # else a client could choose whose slot it fills
        self._times = memoryview(mmap.mmap(-1, _SLOTS * 8)).cast("d")

    def take(self, key: str, rate: float, burst: int) -> float:
        """Count a request; the seconds it comes too early, or 0."""
        slot, now = self._slot(key), time.monotonic()
        even = max(self._times[slot], now)
        wait = even - now - burst / rate
        if wait > 0:
            return wait
        self._times[slot] = even + 1 / rate
        return 0.0

    def give(self, key: str, rate: float) -> None:
        """Take back what `take` counted."""
        self._times[self._slot(key)] -= 1 / rate

    def _slot(self, key: str) -> int:
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest) % _SLOTS
