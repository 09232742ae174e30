"""The services of one root, below `build` and `container`: the engine makes them and hands them over."""

from __future__ import annotations

from functools import cached_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from boxwright.content.db import Database
    from boxwright.content.local import LocalStore
    from boxwright.image.catalog import ImageCatalog
    from boxwright.image.store import ImageStore
    from boxwright.layer.store import LayerStore
    from boxwright.runtime.oci import Runtime
    from boxwright.settings import Settings
    from boxwright.snapshot.snapshotter import Snapshotter


class Services:
    """Each is made on first use, so that a command loads and opens only what it needs. Safe to share between
    threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.root = settings.root

    def tell(self, kind: str, action: str, identity: str, attributes: Mapping[str, str]) -> None:
        """Write down what happened, for `events`."""
        from boxwright.content import journal
        from boxwright.files.places import Places

        events = str(Places(self.root).events)
        journal.tell(events, kind=kind, action=action, identity=identity, attributes=attributes)

    @cached_property
    def store(self) -> LocalStore:
        """Blobs by digest."""
        from boxwright.content.local import LocalStore

        return LocalStore(self.root)

    @cached_property
    def db(self) -> Database:
        """Names, records, leases."""
        from boxwright.content import reserve
        from boxwright.content.db import Database

        reserve.check(self.root)
        from boxwright.files.places import Places

        path = Places(self.root).database
        if not path.exists():  # what only reads rows opens no store
            assert self.store  # makes the root
        return Database(path)

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

    @property
    def driver(self) -> str:
        """The name of `snapshots`. Raises DriverUnknown, DriverUnusable."""
        from boxwright.snapshot.chosen import chosen

        known = chosen(self.root, self.settings.driver)
        return str(known["driver"]) if known else self.snapshots.name

    @cached_property
    def catalog(self) -> ImageCatalog:
        """Names and image rows, to be read only: quick to open."""
        from boxwright.image.catalog import ImageCatalog

        return ImageCatalog(self.root, self.db)

    @cached_property
    def images_store(self) -> ImageStore:
        """Images by name, ID or digest."""
        from boxwright.image.store import ImageStore

        return ImageStore(self.store, self.layers, self.db, platform=self.settings.platform)

    @cached_property
    def runtime(self) -> Runtime:
        """The OCI runtime that this host can use. Raises NoRuntime."""
        return self._runtime(self.settings.runtime)

    def runtime_for(self, wanted: str) -> Runtime:
        """The OCI runtime that a container asks for by name or path, '' for this host's. Raises NoRuntime."""
        return self.runtime if wanted in ("", "io.containerd.runc.v2") else self._runtime(wanted)

    def _runtime(self, wanted: str) -> Runtime:
        from boxwright.runtime.probe import find_runtime

        return find_runtime(self.settings.runtime_dir / "runtime", wanted=wanted, cache=self.root)
