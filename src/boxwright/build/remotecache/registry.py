"""A cache in a repository of a registry."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence

from boxwright.build.remotecache import manifest
from boxwright.build.remotecache.config import CacheConfig
from boxwright.build.remotecache.options import CachePlace
from boxwright.build.remotecache.places import LayerFetcher, LoadedCache
from boxwright.content.copy import move
from boxwright.content.parallel import in_parallel
from boxwright.content.store import Source
from boxwright.registry.client.remote import Remote
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.hints import cast
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_JOBS = 4  # layers that are sent at a time


class RegistrySource:
    """See places.CacheSource."""

    def __init__(self, place: CachePlace, remote: Remote) -> None:
        self._reference = Reference.parse(place.options["ref"]).with_default_tag()
        self._remote = remote

    def load(self, platforms: Sequence[Platform]) -> Sequence[LoadedCache]:
        target = self._remote.fetch(str(self._reference))
        return manifest.load(self._remote, target, platforms)

    def open(self, desc: Descriptor) -> BinaryIO:
        return self._remote.open(desc)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        return self._remote.origins(desc)


class RegistrySink:
    """See places.CacheSink."""

    def __init__(self, place: CachePlace, remote: Remote) -> None:
        self._reference = Reference.parse(place.options["ref"]).with_default_tag()
        self._remote = remote
        self._place = place

    def write(
        self,
        config: CacheConfig,
        blobs: Sequence[Descriptor],
        source: LayerFetcher,
        told: Callable[[str], None],
    ) -> Descriptor:
        remote = self._remote

        def send(desc: Descriptor) -> None:
            told(f"writing layer {desc.digest}")
            move(cast(Source, source), remote, desc)

        in_parallel(_JOBS, list({desc.digest: desc for desc in blobs}.values()), send, stop=threading.Event())
        made, desc, raw = manifest.compose(config, blobs, self._place)
        told(f"writing config {desc.digest}")
        if not remote.exists(desc):
            remote.push(desc, io.BytesIO(raw))
        target = made.descriptor
        told(manifest.announced(made))
        remote.push_named(str(self._reference), target, made.raw)
        return target
