"""A full disk during a pull: said so, and the store stays whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright import Engine
from boxwright.files.disk import DiskFull
from boxwright.registry.client.client import RegistryClient
from support import REAL_ROOT, small_disk
from support.registry import client_config, make_image, noise, running

pytestmark = [
    pytest.mark.rooted,
    pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root"),
]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "6m") as path:
        yield path


def test_full_disk(small: Path, tmp_path: Path) -> None:
    engine = Engine(small / "root")
    engine.services.__dict__["registry"] = RegistryClient(client_config(tmp_path))
    with running() as registry:
        registry.add_image("small", "1", make_image({"a": noise(100_000)}))
        registry.add_image("big", "1", make_image({"a": noise(200_000, 2)}, {"b": noise(9_000_000, 3)}))
        engine.images.pull(f"{registry.host}/small:1")
        with pytest.raises(DiskFull) as caught:
            engine.images.pull(f"{registry.host}/big:1")
        assert "No space left" in str(caught.value) and "prune" in caught.value.hint
    assert [row.tags for row in engine.services.catalog.rows()] == [[f"{registry.host}/small:1"]]
    assert engine.system.fsck() == []
    engine.services.registry.close()
    engine.services.db.close()
