"""What the container room needs of the rest, as the engine offers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from boxwright.content.db import Database
from boxwright.content.local import LocalStore
from boxwright.image.store import ImageStore
from boxwright.layer.store import LayerStore
from boxwright.runtime.oci import Runtime
from boxwright.snapshot.snapshotter import Snapshotter


class Environment(Protocol):
    """What the settings say that matters here."""

    @property
    def runtime_dir(self) -> Path: ...
    @property
    def trust_host_ca(self) -> str: ...
    @property
    def host_ca_bundle(self) -> Path | None: ...
    @property
    def host_ca_named(self) -> bool: ...
    @property
    def environ(self) -> Mapping[str, str]: ...


class Rooms(Protocol):
    """Each is made on first use."""

    @property
    def root(self) -> Path: ...
    @property
    def settings(self) -> Any: ...
    @property
    def store(self) -> LocalStore: ...
    @property
    def db(self) -> Database: ...
    @property
    def layers(self) -> LayerStore: ...
    @property
    def snapshots(self) -> Snapshotter: ...
    @property
    def images_store(self) -> ImageStore: ...
    @property
    def runtime(self) -> Runtime: ...
    def runtime_for(self, wanted: str) -> Runtime: ...
