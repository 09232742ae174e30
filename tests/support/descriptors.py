"""What a block leaves open in this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def descriptors() -> dict[str, str]:
    """Each with what it stands for."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


@contextmanager
def none_left_open(*, but: int = 0) -> Iterator[None]:
    """After the block as many descriptors are open as before, or `but` so many more."""
    gc.collect()  # what earlier tests left open is closed now, and not while it counts
    before = descriptors()
    yield
    after = descriptors()
    new = {number: name for number, name in after.items() if before.get(number) != name}
    assert len(after) <= len(before) + but, f"left open: {new}"
