"""The porcelain, which is the SDK. The command line and the servers are its users.

Each method is one verb of Docker's; the work is in the rooms below. Rooms are made on first use, so that
`Engine().images()` loads and opens only what it needs.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from boxwright.settings import Settings, load

if TYPE_CHECKING:
    from boxwright.content.db import Database
    from boxwright.content.local import LocalStore
    from boxwright.layer.store import LayerStore
    from boxwright.snapshot.snapshotter import Snapshotter


class Engine:
    """Everything that Boxwright does, on one root. Safe to share between threads; holds no lock while idle."""

    def __init__(self, root: str | Path | None = None, *, settings: Settings | None = None) -> None:
        self.settings = settings or load(root=str(root) if root is not None else None)
        self.root = self.settings.root

    # --- rooms ---------------------------------------------------------------------------------

    @cached_property
    def store(self) -> LocalStore:
        """Blobs by digest."""
        from boxwright.content.local import LocalStore

        return LocalStore(self.root)

    @cached_property
    def db(self) -> Database:
        """Names, records, leases."""
        from boxwright.content.db import Database

        assert self.store  # makes the root
        return Database(self.root / "boxwright.db")

    @cached_property
    def layers(self) -> LayerStore:
        """Layers by diff ID."""
        from boxwright.layer.store import LayerStore

        return LayerStore(self.store, self.db)

    @cached_property
    def snapshots(self) -> Snapshotter:
        """Trees over layers, by the driver that this host can use."""
        from boxwright.snapshot.probe import choose_driver

        return choose_driver(self.root, self.layers, wanted=self.settings.driver)
