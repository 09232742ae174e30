"""What tests of builds begin with: an engine on a root of its own, and a registry that answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from support.registry import FakeRegistry, running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "root")
    yield engine
    engine.services.registry.http.close()
    engine.services.db.close()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as registry:
        yield registry
