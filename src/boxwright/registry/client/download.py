"""A blob's body from a registry: goes on after a break by Range, and helps a slow stream with parallel ranges."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable

from boxwright.content.verify import ContentMismatch
from boxwright.errors import Unavailable
from boxwright.registry.client.config import ClientConfig
from boxwright.registry.client.errors import content_range
from boxwright.registry.client.http import Reply
from boxwright.registry.client.peers import PeerUnreachable
from boxwright.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


CHUNK = 2 << 20  # bytes of one parallel range
_WORTH = 16 << 20  # bytes that must be left for more streams to pay
_TRIAL = 0.7  # seconds of waiting for the network after which one stream is judged
_PROGRESS = 256 << 10  # bytes after which a break no longer counts towards the tries

Fetch = Callable[[int, "int | None"], Reply]
"""``fetch(first, last)``: a GET from byte `first` on, up to and with `last` when it is given; status 200 or 206."""


class RangesIgnored(Unavailable):
    """The registry sends the whole blob whatever range is asked for."""


class RemoteBlob(io.RawIOBase):
    """The body of `desc`; nothing is requested before the first read. One reader at a time.

    Raises ContentMismatch for other bytes than the descriptor's, Unavailable when the peer fails for good.
    """

    def __init__(
        self,
        fetch: Fetch,
        desc: Descriptor,
        config: ClientConfig,
        pause: Callable[[int], None],
        helpers: threading.Semaphore,
    ) -> None:
        self._fetch, self._desc, self._config, self._pause, self._helpers = (
            fetch,
            desc,
            config,
            pause,
            helpers,
        )
        self._offset = 0
        self._hash: Any = desc.digest.hasher()
        self._reply: Reply | None = None
        self._window: Window | None = None
        self._streams = config.streams
        self._failures = 0
        self._since_failure = 0
        self._waited = 0.0
        self._waited_for = 0

    def readable(self) -> bool:
        return True

    def resume_at(self, offset: int) -> None:
        """See content.store.Resumable."""
        self._offset = min(offset, self._desc.size)
        self._hash = None

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        if size < 0:
            return self.readall()
        left = self._desc.size - self._offset
        if left <= 0:
            self._finish()
            return b""
        data = self._more(min(size, left))
        if self._hash is not None:
            self._hash.update(data)
        self._offset += len(data)
        if self._offset == self._desc.size:
            self._finish()
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._drop()
            self._stop_window()
        super().close()

    def _more(self, size: int) -> bytes:
        while True:
            try:
                if self._window is not None:
                    data = self._window.read(size)
                else:
                    data = self._one_stream(size)
                if data:
                    self._since_failure += len(data)
                    return data
                raise PeerUnreachable(
                    f"the connection ended {self._desc.size - self._offset} bytes before the end of {self._desc.digest}"
                )
            except Unavailable as error:
                self._broken(error)

    def _one_stream(self, size: int) -> bytes:
        if self._reply is None:
            self._reply = self._open()
        started = time.monotonic()
        data = self._reply.read_some(size)
        self._waited += time.monotonic() - started
        self._waited_for += len(data)
        if (
            self._streams > 1
            and self._waited > _TRIAL
            and self._desc.size - self._offset - len(data) > _WORTH
        ):
            self._judge(len(data))
        return data

    def _judge(self, just_read: int) -> None:
        """One stream had its trial; only the time spent waiting for the network counts."""
        slow = self._waited_for / self._waited < self._config.slow
        if slow and self._helpers.acquire(blocking=False):
            self._drop()
            self._window = Window(
                fetch=self._fetch_range,
                start=self._offset + just_read,
                size=self._desc.size,
                streams=self._streams,
            )
        elif not slow:
            self._waited, self._waited_for = 0.0, 0  # judge again later: networks change

    def _broken(self, error: Unavailable) -> None:
        self._drop()
        self._stop_window()
        if isinstance(error, RangesIgnored):
            self._streams = 1
            return
        if self._since_failure >= _PROGRESS:
            self._failures = 0
        self._since_failure = 0
        self._failures += 1
        if self._failures >= self._config.tries:
            raise error
        self._pause(self._failures)

    def _open(self) -> Reply:
        reply = self._fetch(self._offset, None)
        if reply.coded and reply.status == 206:  # a part of something compressed is no part of the blob
            reply.close()
            reply = self._fetch(0, None)
        whole = reply.length
        if reply.coded and reply.status == 200 and whole != self._desc.size:
            # With the blob's own length it is the blob, of which the peer only knows that it is compressed.
            reply.decode()
            whole = None
        if reply.status == 206:
            given = content_range(reply)
            if given is None or given[0] != self._offset:
                reply.close()
                raise PeerUnreachable(
                    f"the registry answers with another range of {self._desc.digest} than was asked for"
                )
            whole = given[2]
        if whole is not None and whole != self._desc.size:
            reply.close()
            raise ContentMismatch(
                f"{self._desc.digest} has {whole} bytes at the registry, the manifest says {self._desc.size}"
            )
        if reply.status == 200:
            self._skip(reply)
        return reply

    def _skip(self, reply: Reply) -> None:
        left = self._offset  # the peer knows no ranges: read again what is here already
        while left:
            data = reply.read_some(min(left, 1 << 20))
            if not data:
                raise PeerUnreachable(
                    f"the connection ended before byte {self._offset} of {self._desc.digest}"
                )
            left -= len(data)

    def _fetch_range(self, first: int, last: int) -> bytes:
        for attempt in range(1, self._config.tries + 1):
            try:
                reply = self._fetch(first, last)
                given = content_range(reply) if reply.status == 206 else None
                if given is None or given[:2] != (first, last) or reply.coded:
                    reply.close()
                    raise RangesIgnored("the registry does not serve ranges")
                data = reply.read_all(last - first + 1)
                if len(data) == last - first + 1:
                    return data
                raise PeerUnreachable("the connection ended inside a range")
            except Unavailable as error:
                if attempt == self._config.tries or isinstance(error, RangesIgnored):
                    raise
                self._pause(attempt)
        raise AssertionError("unreachable")

    def _finish(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            if reply.length is None and reply.read_some(1):
                reply.close()
                raise ContentMismatch(
                    f"{self._desc.digest} goes on after its size of {self._desc.size} bytes"
                )
            reply.release()
        self._stop_window()
        hashed, self._hash = self._hash, None
        if hashed is not None and hashed.hexdigest() != self._desc.digest.hex:
            raise ContentMismatch(
                f"the registry sent other bytes than {self._desc.digest}: their digest is "
                f"{self._desc.digest.algorithm}:{hashed.hexdigest()}"
            )

    def _drop(self) -> None:
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def _stop_window(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None
            self._helpers.release()


class Window:
    """Ranges fetched ahead of a reader by a few threads, at most `streams` + 2 of them in memory."""

    def __init__(self, fetch: Callable[[int, int], bytes], start: int, size: int, streams: int) -> None:
        self._fetch, self._start, self._size = fetch, start, size
        self._count = -(-(size - start) // CHUNK)
        self._changed = threading.Condition()
        self._ready: dict[int, bytes | BaseException] = {}
        self._next = 0  # the next chunk to fetch
        self._current = 0  # the chunk being read
        self._position = 0  # within it
        self._most = streams + 2
        self._closed = False
        for number in range(streams):
            threading.Thread(target=self._work, name=f"range-{number}", daemon=True).start()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b'' at the end. Raises what fetching raised."""
        with self._changed:
            if self._current >= self._count:
                return b""
            while self._current not in self._ready:
                self._changed.wait()
            chunk = self._ready[self._current]
            if isinstance(chunk, BaseException):
                raise chunk
            data = chunk[self._position : self._position + size]
            self._position += len(data)
            if self._position == len(chunk):
                del self._ready[self._current]
                self._current, self._position = self._current + 1, 0
                self._changed.notify_all()
            return data

    def close(self) -> None:
        """Let the threads end with their present request."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (
                    not self._closed and self._next < self._count and self._next - self._current >= self._most
                ):
                    self._changed.wait()
                if self._closed or self._next >= self._count:
                    return
                number = self._next
                self._next += 1
            first = self._start + number * CHUNK
            try:
                result: bytes | BaseException = self._fetch(first, min(first + CHUNK, self._size) - 1)
            except BaseException as error:  # noqa: BLE001 - the reader raises it
                result = error
            with self._changed:
                if not self._closed:
                    self._ready[number] = result
                    self._changed.notify_all()
