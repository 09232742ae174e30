"""What containers keep, as their rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from boxwright.container.rows import holdings
from boxwright.container.volumes import Volumes
from boxwright.engine import Engine
from boxwright.image.holding import Holding


def _container(engine: Engine, identity: str, record: dict[str, Any]) -> None:
    with engine.services.db.write() as sql:
        values = identity, identity, "sha256:" + "1" * 64, "", 0.0, json.dumps(record)
        sql.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?)", values)


def test_only_containers_that_mount_a_volume_use_it(tmp_path: Path) -> None:
    """Not those that merely name it: in a label, a network, a path, their own name."""
    engine = Engine(tmp_path)
    for name in ("data", "other", "unused"):
        Volumes(engine.root, engine.services.db).create(name)
    point = {"name": "data", "target": "/data", "source": "/x"}
    _container(engine, "a", {"mounts": [point, {**point, "target": "/again"}], "networks": {}})
    _container(
        engine,
        "b",
        {"mounts": [{"name": "", "target": "/x", "source": "unused"}], "networks": {"unused": {}}},
    )
    _container(engine, "unused", {"mounts": [], "config": {"labels": {"unused": "unused"}}, "networks": {}})
    usage = engine.system.df()
    assert {v.name: v.links for v in usage.volumes} == {"data": 1, "other": 0, "unused": 0}
    volumes = next(part for part in usage.parts if part.type == "Local Volumes")
    assert (volumes.total, volumes.active) == (3, 1)
    assert [one for one in holdings(engine.services.db) if one.volumes] == [
        Holding("a", "sha256:" + "1" * 64, (), ("data",))
    ]
