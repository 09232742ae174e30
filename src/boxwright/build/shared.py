"""What the steps of one build share until the build ends."""

from __future__ import annotations

import threading

from boxwright.build.views import Views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.ops.stepwire import Wires
    from boxwright.runtime.guard import Guard
    from boxwright.runtime.oci import Runtime


class Shared:
    """`views` of trees; `wires`, the networks of RUN steps, and what guards these are made when a step needs them."""

    def __init__(self) -> None:
        self.views = Views()
        self._wires: Wires | None = None
        self._guard: Guard | None = None
        self._lock = threading.Lock()

    @property
    def wires(self) -> Wires:
        """Networks that steps use one after the other."""
        with self._lock:
            if self._wires is None:
                from boxwright.build.ops.stepwire import Wires

                self._wires = Wires()
            return self._wires

    def guard(self, runtime: Runtime) -> Guard:
        """What ends the RUN steps if this process is killed; a build has one runtime."""
        with self._lock:
            if self._guard is None:
                from boxwright.runtime.guard import Guard

                self._guard = Guard(runtime)
            return self._guard

    def close(self) -> None:
        """Free everything; no step runs any more."""
        if self._guard is not None:
            self._guard.close()
        self.views.close()
        if self._wires is not None:
            self._wires.close()
