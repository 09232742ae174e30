"""Views of trees in one build, whose steps look at nearly the same layers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.source import SharedSources
    from boxwright.layer.store import Layer, LayerStore
    from boxwright.layer.view import LayersView
    from boxwright.spec.digest import DiffID


class Views:
    """Makes the views of a build. Safe to use from several threads."""

    def __init__(self) -> None:
        self._shared: SharedSources | None = None
        self._held: set[str] = set()  # by the hex of their diff IDs
        self._found: dict[str, Layer] = {}  # of those
        self._lock = threading.Lock()

    def held(self, layers: Iterable[DiffID]) -> None:
        """The collector leaves these alone while the build goes on: once found, they are not asked for again."""
        self._held.update(layer.hex for layer in layers)

    def of(self, diff_ids: Sequence[DiffID], store: LayerStore) -> LayersView:
        """The merged tree of these layers, bottom first. Raises LayerMissing."""
        asked = [diff_id for diff_id in diff_ids if diff_id.hex not in self._found]
        held = [diff_id.hex for diff_id in asked if diff_id.hex in self._held]
        here = {layer.diff_id.hex: layer for layer in store.stack(asked)} if asked else {}
        self._found.update((name, here[name]) for name in held)
        found = self._found
        return self._view([here.get(name) or found[name] for name in [diff_id.hex for diff_id in diff_ids]])

    def _view(self, layers: Sequence[Layer]) -> LayersView:
        from boxwright.layer.source import SharedSources
        from boxwright.layer.view import LayersView

        with self._lock:
            if self._shared is None:
                self._shared = SharedSources()
        return LayersView(layers, self._shared)

    def close(self) -> None:
        """Free what the views read; none is used any more."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None
