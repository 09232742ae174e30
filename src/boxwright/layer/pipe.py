"""A stream that a second thread makes while it is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from queue import Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_DEPTH = 4  # pieces between the two threads


class _Stopped(Exception):
    """The reader went away."""


class Pipe(io.RawIOBase):
    """`produce` gets a function that takes pieces of bytes; it runs in a thread, which starts with the first read.
    What it raises, the reader raises. `close` stops it and calls `release`."""

    def __init__(
        self, produce: Callable[[Callable[[bytes], None]], None], release: Callable[[], None] = lambda: None
    ) -> None:
        self._produce = produce
        self._release = release
        self._queue: Queue[bytes | BaseException] = Queue(_DEPTH)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._piece = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="layer-pipe", daemon=True)
            self._thread.start()
        while not self._piece and not self._ended:
            item = self._queue.get()
            if isinstance(item, BaseException):
                self._ended = True
                if not isinstance(item, _Stopped):
                    raise item
            else:
                self._piece = memoryview(item)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _run(self) -> None:
        try:
            self._produce(self._put)
            self._queue.put(_Stopped())
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            self._queue.put(error)

    def _put(self, piece: bytes) -> None:
        if self._stopped:
            raise _Stopped
        if piece:
            self._queue.put(piece)

    def close(self) -> None:
        if not self.closed:
            self._stopped = True
            if self._thread is not None:
                while not self._ended:
                    self._ended = isinstance(self._queue.get(), BaseException)
                self._thread.join()
            self._release()
        super().close()
