"""The layers of a root, by diff ID.

    ROOT/layers/sha256-<hex>/layer.tar    the uncompressed tar, as it arrived
    ROOT/layers/sha256-<hex>/index.erofs  where everything in it lies, in a form that the kernel mounts
    ROOT/layers/sha256-<hex>/tree/        instead of the two: what a build step or container wrote
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boxwright.spec.digest import DiffID


@dataclass(frozen=True, slots=True)
class Layer:
    """A stored layer. `bytes` counts the content of regular files, as Docker's SIZE does."""

    diff_id: DiffID
    kind: Literal["tar", "tree"]
    path: Path
    tar_size: int
    bytes: int
    entries: int

    @property
    def tar_path(self) -> Path:
        return self.path / "layer.tar"

    @property
    def index_path(self) -> Path:
        return self.path / "index.erofs"

    @property
    def tree_path(self) -> Path:
        return self.path / "tree"
