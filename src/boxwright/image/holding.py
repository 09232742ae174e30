"""Which images, layers and trees containers keep: asked of the package that owns their rows."""

from __future__ import annotations

from boxwright.spec.values import dataclass


@dataclass(frozen=True, slots=True)
class Holding:
    """What a container keeps. `target` is the digest of its image's manifest or index; `layers` are diff IDs, bottom
    first; `volumes` names, each once; `workspaces` the keys of its trees beside its own."""

    container: str
    target: str
    layers: tuple[str, ...]
    volumes: tuple[str, ...]
    workspaces: tuple[str, ...] = ()
