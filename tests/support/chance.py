"""Tests that try what chance brings: their seed is printed, their time is bounded, and both can be set.

BOXWRIGHT_SEED=<number>    the run that was printed, once more
BOXWRIGHT_SOAK=<seconds>   for how long; `make soak` sets it
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator


def seconds_to_run(short: float) -> float:
    """`short` in an ordinary run of the tests."""
    return float(os.environ.get("BOXWRIGHT_SOAK") or short)


def seed_of_run() -> int:
    """Another one each time. Print it."""
    return int(os.environ.get("BOXWRIGHT_SEED") or random.SystemRandom().randrange(1 << 32))


def chance(what: object = "") -> random.Random:
    """The dice of one test, told from those of others by `what`; pytest shows the seed with a failure."""
    seed = seed_of_run()
    print(f"BOXWRIGHT_SEED={seed}")
    return random.Random(f"{seed} {what}")


def rounds(count: int) -> Iterator[int]:
    """So many, and then as many as `make soak` has time for."""
    deadline, number = time.monotonic() + seconds_to_run(0), 0
    while number < count or time.monotonic() < deadline:
        yield number
        number += 1
