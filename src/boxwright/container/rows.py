"""What the rows of containers say of images, layers and volumes, for those who prune and measure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from boxwright.content.db import Database
from boxwright.image.holding import Holding


def identities(db: Database) -> list[str]:
    """Of every container."""
    with db.read() as sql:
        return [identity for (identity,) in sql.execute("SELECT id FROM containers")]


def holdings(db: Database) -> Iterator[Holding]:
    """Of every container."""
    with db.read() as sql:
        rows = sql.execute("SELECT id, image, layers, record FROM containers").fetchall()
    for container, target, layers, record in rows:
        names = (point["name"] for point in json.loads(record).get("mounts", ()))
        yield Holding(
            container=container,
            target=target,
            layers=tuple(layers.split()),
            volumes=tuple(sorted({n for n in names if n})),
        )
