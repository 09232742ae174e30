"""Tests that try what chance brings: their seed is printed, their time is bounded, and both can be set.

BOXWRIGHT_SEED=<number>    the run that was printed, once more
BOXWRIGHT_SOAK=<seconds>   for how long; `make soak` sets it
"""

from __future__ import annotations

import os
import random


def seconds_to_run(short: float) -> float:
    """`short` in an ordinary run of the tests."""
    return float(os.environ.get("BOXWRIGHT_SOAK") or short)


def seed_of_run() -> int:
    """Another one each time. Print it."""
    return int(os.environ.get("BOXWRIGHT_SEED") or random.SystemRandom().randrange(1 << 32))
