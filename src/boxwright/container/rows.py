"""What the rows of containers say of images, layers and volumes, for those who prune and measure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from boxwright.content.db import Database
from boxwright.spec.values import dataclass


@dataclass(frozen=True, slots=True)
class Holding:
    """What a container keeps. `target` is the digest of its image's manifest or index; `layers` are diff IDs, bottom
    first; `volumes` names, each once."""

    container: str
    target: str
    layers: tuple[str, ...]
    volumes: tuple[str, ...]


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
