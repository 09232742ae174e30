"""What a place of a cache can do, and what comes out of it: the two protocols that all kinds of places implement."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.build.remotecache.config import CacheConfig
from boxwright.errors import BoxwrightError, Corrupt, Denied, NotFound, Unavailable
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.hints import Protocol
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.registry.client.http import Reply
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.platform import Platform

DIFF_ID = "containerd.io/uncompressed"  # annotation of a layer's descriptor
CREATED = "buildkit/createdat"
AGAIN = frozenset({429, 500, 502, 503, 504})  # statuses of a server that is busy


class CacheMissing(NotFound):
    """There is no cache at the place: nothing was written yet, or it was thrown away."""


class CacheDenied(Denied):
    """The place does not let us in, or what proves who we are is not what it takes."""


class CacheUnavailable(Unavailable):
    """The place answers with an error."""


class CacheCorrupt(Corrupt):
    """The place gives other bytes than it was asked for."""


@dataclass(frozen=True, slots=True)
class LoadedCache:
    """A config, and by their digests the layers that can be had, annotated with their diff IDs (DIFF_ID)."""

    config: CacheConfig
    blobs: Mapping[Digest, Descriptor]

    def diff_ids(self, layers: Sequence[int]) -> tuple[DiffID, ...] | None:
        """The stack of these layers; None when one of them cannot be had."""
        found = []
        for at in layers:
            desc = self.blobs.get(self.config.layers[at].blob)
            if desc is None:
                return None
            found.append(DiffID.parse(desc.annotations[DIFF_ID]))
        return tuple(found)


class LayerFetcher(Protocol):
    """Gives the bytes of layers, see content.store.Fetcher."""

    def open(self, desc: Descriptor) -> BinaryIO: ...

    def origins(self, desc: Descriptor) -> Sequence[str]: ...


class CacheSource(LayerFetcher, Protocol):
    """A place that is read."""

    def load(self, platforms: Sequence[Platform]) -> Sequence[LoadedCache]:
        """What it has, without a layer. Raises CacheMissing, CacheInvalid, and what reading it raises."""


class CacheSink(Protocol):
    """A place that is written."""

    def write(
        self,
        config: CacheConfig,
        blobs: Sequence[Descriptor],
        source: LayerFetcher,
        told: Callable[[str], None],
    ) -> Descriptor | None:
        """Store the layers that it lacks, then the config; `told` hears what is done. The manifest, where there is
        one. Raises what writing raises."""


def no_origins(desc: Descriptor) -> Sequence[str]:
    """Of a place that is no registry."""
    return ()


class Reopened(io.RawIOBase):
    """A body over HTTP that is asked for again where it broke off: `opener` is told from which byte."""

    def __init__(self, opener: Callable[[int], Reply], size: int, *, tries: int = 4) -> None:
        self._opener, self._size, self._tries = opener, size, tries
        self._at = 0
        self._reply: Reply | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        wanted = min(len(view), self._size + 1 - self._at)  # one more: a longer body shows that it is another
        while wanted > 0:
            try:
                if self._reply is None:
                    self._reply = self._opener(self._at)
                data = self._reply.read_some(wanted)
            except Unavailable:
                self._drop()
                self._tries -= 1
                if self._tries <= 0:
                    raise
                time.sleep(0.2)
                continue
            if not data and self._at < self._size:
                raise CacheCorrupt(f"the cache has {self._at} bytes of a layer of {self._size}")
            view[: len(data)] = data
            self._at += len(data)
            return len(data)
        return 0

    def _drop(self) -> None:
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def close(self) -> None:
        self._drop()
        super().close()


def refused(status: int, what: str, code: str = "") -> BoxwrightError:
    """The error for an answer; `code` is the server's own word for it."""
    said = f"{what}: the server answers {status}" + (f" ({code[:80]})" if code else "")
    if status == 404:
        return CacheMissing(said)
    if status in (401, 403):
        return CacheDenied(said, hint="check the credentials of the cache, and what they allow")
    return CacheUnavailable(said)
