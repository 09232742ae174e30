"""What the rows of containers say of images, layers and volumes, for pruning and measuring."""

from __future__ import annotations

import json
from collections.abc import Iterator

from boxwright.content.db import Database
from boxwright.image.holding import Holding


def view_key(identity: str, number: int) -> str:
    """Of the tree of an image that a container mounts; `number` is the mount's place in its record."""
    return f"{identity}.{number}"


def identities(db: Database) -> list[str]:
    """Of every container."""
    with db.read() as sql:
        return [identity for (identity,) in sql.execute("SELECT id FROM containers")]


def on_record(db: Database, identity: str) -> bool:
    """Whether there is such a container."""
    with db.read() as sql:
        return bool(sql.execute("SELECT 1 FROM containers WHERE id = ?", (identity,)).fetchone())


def holdings(db: Database) -> Iterator[Holding]:
    """Of every container."""
    with db.read() as sql:
        rows = sql.execute("SELECT id, image, layers, record FROM containers").fetchall()
    for container, target, layers, record in rows:
        points = json.loads(record).get("mounts", ())
        images = {view_key(container, n): p for n, p in enumerate(points) if p.get("kind") == "image"}
        yield Holding(
            container=container,
            target=target,
            layers=tuple(layers.split()),
            volumes=tuple(sorted({p["name"] for p in points if p["name"] and p.get("kind") != "image"})),
            workspaces=tuple(images),
        )
        for point in images.values():
            yield Holding(
                container=container,
                target=point["target_digest"],
                layers=tuple(point["layers"]),
                volumes=(),
            )
