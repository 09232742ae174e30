"""Views of trees in one build, whose steps look at nearly the same layers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.source import SharedSources
    from boxwright.layer.store import Layer
    from boxwright.layer.view import LayersView


class Views:
    """Makes the views of a build. Safe to use from several threads."""

    def __init__(self) -> None:
        self._shared: SharedSources | None = None
        self._lock = threading.Lock()

    def of(self, layers: Sequence[Layer]) -> LayersView:
        """The merged tree of these layers, bottom first. Raises LayerMissing."""
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
