"""What the steps of one build share, and which ends with it."""

from __future__ import annotations

import threading

from boxwright.build.views import Views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.ops.stepwire import Wires


class Shared:
    """`views` of trees; `wires` are the networks of RUN steps, made when the first step needs one."""

    def __init__(self) -> None:
        self.views = Views()
        self._wires: Wires | None = None
        self._lock = threading.Lock()

    @property
    def wires(self) -> Wires:
        """Networks that steps use one after the other."""
        with self._lock:
            if self._wires is None:
                from boxwright.build.ops.stepwire import Wires

                self._wires = Wires()
            return self._wires

    def close(self) -> None:
        """Free everything; no step runs any more."""
        self.views.close()
        if self._wires is not None:
            self._wires.close()
