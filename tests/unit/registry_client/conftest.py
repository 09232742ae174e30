"""Every client that a test made is closed after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.registry import close_clients


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_clients()
