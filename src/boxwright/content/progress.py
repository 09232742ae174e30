"""The observer of a copy (`Progress`), and the body that reports to it while it is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence

from boxwright.content.store import Resumable
from boxwright.errors import Cancelled
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.hints import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO


class Progress(Protocol):
    """What a copy tells its observer. Called from several threads; `done` may repeat for one digest."""

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """Everything that will be looked at, before the first `started`. May be called again, with more or with
        better sizes (a layer that has to be compressed first has none to speak of)."""
        ...

    def started(self, desc: Descriptor) -> None: ...

    def resumed(self, desc: Descriptor, offset: int) -> None:
        """The first `offset` bytes are at the sink already; fewer than were told before after a broken upload."""
        ...

    def advanced(self, desc: Descriptor, count: int) -> None: ...

    def done(self, desc: Descriptor, how: str) -> None:
        """`how` is 'copied', 'exists' or 'mounted'."""
        ...


class ProgressReader(io.RawIOBase):
    """A body that is opened at its first use, tells the progress what passes, and ends when the copy was stopped."""

    def __init__(
        self,
        opener: Callable[[], BinaryIO],
        desc: Descriptor,
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self._opener, self._desc, self._progress, self._stop = opener, desc, progress, stop
        self._raw: BinaryIO | None = None
        self.resumed = False

    def readable(self) -> bool:
        return True

    def resume_at(self, offset: int) -> None:
        """See content.store.Resumable. A raw body that cannot skip is read up to `offset`."""
        self.resumed = self.resumed or offset > 0
        raw = self._open()
        if isinstance(raw, Resumable):
            raw.resume_at(offset)
        else:
            left = offset
            while left and (data := raw.read(min(left, 1 << 20))):
                left -= len(data)
        if offset and self._progress:
            self._progress.resumed(self._desc, offset)

    def rewind(self, offset: int) -> None:
        """See content.store.Rewindable."""
        self._shut()
        self.resume_at(offset)
        if not offset and self._progress:
            self._progress.resumed(self._desc, 0)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as the raw body has them."""
        if size < 0:
            return self.readall()
        self._check()
        data = self._open().read(size) or b""
        if data and self._progress:
            self._progress.advanced(self._desc, len(data))
        return data

    def readinto(self, buffer: Any) -> int:
        self._check()
        view = memoryview(buffer)
        raw = self._open()
        readinto = getattr(raw, "readinto", None)
        if readinto is None:
            data = raw.read(len(view))
            view[: len(data)] = data
            count = len(data)
        else:
            count = readinto(view) or 0
        if count and self._progress:
            self._progress.advanced(self._desc, count)
        return count

    def close(self) -> None:
        self._shut()
        super().close()

    def _open(self) -> BinaryIO:
        if self._raw is None:
            self._raw = self._opener()
        return self._raw

    def _shut(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _check(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Cancelled("the copy was stopped")
