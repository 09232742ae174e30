"""The services below `build` and `container`, as the engine hands them over."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from boxwright.content.db import Database
from boxwright.content.local import LocalStore
from boxwright.image.store import ImageStore
from boxwright.layer.store import LayerStore
from boxwright.runtime.oci import Runtime
from boxwright.settings import Settings
from boxwright.snapshot.snapshotter import Snapshotter


class Services(Protocol):
    """Each is made on first use."""

    @property
    def root(self) -> Path: ...
    @property
    def settings(self) -> Settings: ...
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
