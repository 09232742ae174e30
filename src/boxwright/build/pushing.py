"""What a push shows in a build: the bytes that really move, by layer and in all."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from boxwright.build.progress import Emit, StepStatus
from boxwright.spec import mediatypes as mt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import Digest

TOTAL = "pushing layers"
_HOW = {"exists": " already exists", "mounted": " mounted from another repository"}
_EVERY = 0.1  # seconds between two sums


class PushSteps:
    """`content.progress.Progress` as statuses of a step: a line for each blob and one for their sum. With `compressing`
    the size of what is not compressed yet is not known, and not told."""

    def __init__(self, emit: Emit, step: str, *, compressing: bool) -> None:
        self._emit, self._step, self._compressing = emit, step, compressing
        self._lock = threading.Lock()
        self._sizes: dict[Digest, int] = {}  # 0: not known
        self._there: dict[Digest, int] = {}  # bytes that the registry has
        self._resumed: dict[Digest, int] = {}  # of those, what it had before
        self._how: dict[Digest, str] = {}
        self._told = 0.0

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        with self._lock:
            for blob in blobs:
                guess = self._compressing and blob.media_type in (mt.OCI_LAYER, mt.DOCKER_LAYER)
                self._sizes[blob.digest] = 0 if guess else blob.size

    def started(self, desc: Descriptor) -> None:
        with self._lock:
            self._sizes.setdefault(desc.digest, desc.size)

    def resumed(self, desc: Descriptor, offset: int) -> None:
        with self._lock:
            self._there[desc.digest] = self._resumed[desc.digest] = offset

    def advanced(self, desc: Descriptor, count: int) -> None:
        with self._lock:
            self._there[desc.digest] = self._there.get(desc.digest, 0) + count
            size, there = self._sizes.get(desc.digest, 0), self._there[desc.digest]
            if not size or there < size:  # the last bytes are told by `done`
                self._emit(StepStatus(step=self._step, id=str(desc.digest), current=there, total=size))
            self._sum()

    def done(self, desc: Descriptor, how: str) -> None:
        with self._lock:
            if desc.digest in self._how:
                return
            self._how[desc.digest] = how
            if how != "copied":
                self._emit(StepStatus(self._step, str(desc.digest) + _HOW[how], done=True))
                return
            size = self._sizes[desc.digest] = self._there.get(desc.digest, desc.size)
            self._emit(StepStatus(step=self._step, id=str(desc.digest), current=size, total=size, done=True))
            self._sum()

    def finish(self) -> None:
        """All blobs are there."""
        with self._lock:
            moved, _ = self._sums()
            self._emit(StepStatus(step=self._step, id=TOTAL, current=moved, total=moved, done=True))

    def _sum(self) -> None:
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            moved, total = self._sums()
            self._emit(StepStatus(step=self._step, id=TOTAL, current=moved, total=total))

    def _sums(self) -> tuple[int, int]:
        """Bytes that moved, and that are to move; 0 while that is not known."""
        moving = {digest for digest in self._sizes if self._how.get(digest, "copied") == "copied"}
        moved = sum(self._there.get(d, 0) - self._resumed.get(d, 0) for d in moving)
        known = all(self._sizes[d] for d in moving)
        total = sum(self._sizes[d] - self._resumed.get(d, 0) for d in moving) if known else 0
        return moved, total
