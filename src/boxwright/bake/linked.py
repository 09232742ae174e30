"""Images that targets are for each other: kept while a bake needs them, and removed when none does any more.

Several processes may bake the same definition: the image that one has made is the other's, too. The last of them
removes it."""

from __future__ import annotations

import threading

from boxwright.build.step_locks import StepLocks
from boxwright.content.lease import Lease, in_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.image.services import Services

_LOCK = "images of linked targets"


class LinkedImages:
    """`remove` takes an image away, by its digest, unless a name is left."""

    def __init__(self, services: Services, remove: Callable[[str], None]) -> None:
        self._services, self._remove = services, remove
        self._lease: Lease | None = None
        self._before: set[str] = set()
        self._made: set[str] = set()
        self._step_locks = StepLocks(services.root)
        self._never = threading.Event()

    def begin(self) -> None:
        """Look which images there are; before any is made."""
        self._lease = Lease(self._services.db, "bake")
        others = in_use(self._services.db, "linked")
        self._before = {row.target for row in self._services.images_store.rows()} - others

    def keep(self, target: str, *, made: bool) -> bool:
        """Hold an image; whether it is there. `made`: only for other targets. True for what has none."""
        if not target or self._lease is None:
            return True
        with self._step_locks.exclusive(_LOCK, self._never):
            self._lease.hold("image", target)
            if made and target not in self._before:
                self._lease.hold("linked", target)
                self._made.add(target)
            return self._services.images_store.find(target) is not None

    def release(self) -> None:
        """Let go of all, and remove what no other process holds."""
        if self._lease is None:
            return
        self._lease.release()
        with self._step_locks.exclusive(_LOCK, self._never):
            for target in self._made - in_use(self._services.db, "image"):
                self._remove(target)
