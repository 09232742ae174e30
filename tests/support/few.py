"""Containers that do not run: a store of files and rows, and one tree that is a directory."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from boxwright.container.config import ContainerConfig
from boxwright.container.records import Container, directory_of
from boxwright.content import journal
from boxwright.content.db import Database
from boxwright.snapshot.snapshotter import Change, Mount
from boxwright.spec.events import event


class Trees:
    """A snapshotter that remembers what it was told to discard, and whose one tree is a directory."""

    name = "overlayfs"

    def __init__(self, tree: Path) -> None:
        self.discarded: list[str] = []
        self.viewed: list[tuple[str, ...]] = []
        self.tree = tree
        self.found: list[Change] = []

    def restore(self, key: str, layers: Sequence[object]) -> None:
        pass

    def open(self, key: str) -> int:
        return os.open(self.tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def changes(self, key: str, *, omit: Collection[str] = ()) -> list[Change]:
        return [change for change in self.found if change.path not in omit]

    def view(self, key: str, layers: Sequence[object]) -> None:
        self.viewed.append((key, *map(str, layers)))

    def mount(self, key: str) -> Path:
        return self.tree

    def mounts(self, key: str, *, volatile: bool = False) -> list[Mount]:
        return [Mount("overlay", key, ("volatile",) if volatile else ())]

    def discard(self, key: str) -> None:
        self.discarded.append(key)

    def usage(self, key: str) -> int:
        return 100


class Few:
    """The services that are needed when nothing runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.db, self.snapshots = root, Database(root / "boxwright.db"), Trees(root / "tree")
        self.driver = self.snapshots.name

    def tell(self, kind: str, action: str, identity: str, attributes: Mapping[str, str]) -> None:
        """As the services do."""
        journal.append(str(self.root / "events"), event(kind, action, identity, attributes))


def added(few: Few, identity: str, name: str, created: float = 1.0, **record: Any) -> Container:
    whole = {
        "config": ContainerConfig(image="image").to_json(),
        "merged": {},
        "mounts": [],
        "networks": {},
        "hostname": "h",
        **record,
    }
    with few.db.write() as sql:
        sql.execute(
            "INSERT INTO containers VALUES (?, ?, 'sha256:1', '', ?, ?)",
            (identity, name, created, json.dumps(whole)),
        )
    directory = directory_of(few.root, identity)
    directory.mkdir(parents=True)
    return Container(identity, name, "sha256:1", (), created, whole, directory)


def recorded(directory: Path, **record: Any) -> Container:
    """A container that no database knows, with its files in `directory`."""
    return Container(
        id="a" * 64,
        name="name",
        target="sha256:x",
        layers=(),
        created=0.0,
        record={"config": {"image": "img"}, **record},
        directory=directory,
    )
