"""A cache in a directory: an OCI layout, as buildx reads and writes it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from boxwright.build.remotecache import manifest
from boxwright.build.remotecache.config import CacheConfig
from boxwright.build.remotecache.options import CachePlace
from boxwright.build.remotecache.places import CacheMissing, LayerFetcher, LoadedCache, no_origins
from boxwright.content.layout import NAME, Layout, LayoutInvalid, NoSuchName
from boxwright.content.verify import read_verified
from boxwright.errors import BoxwrightError
from boxwright.files.disk import disk_errors
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, parse
from boxwright.spec.platform import Platform
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class LocalSource:
    """See places.CacheSource. ``digest=`` names the manifest itself, ``tag=`` the name of one, or ``latest``."""

    def __init__(self, place: CachePlace) -> None:
        self._path = Path(place.options["src"])
        self._tag, self._digest = place.options.get("tag", "latest"), place.options.get("digest", "")
        self._layout: Layout | None = None

    def load(self, platforms: Sequence[Platform]) -> Sequence[LoadedCache]:
        try:
            layout = self._layout = Layout(self._path)
            target = self._by_digest(layout) if self._digest else layout.resolve(self._tag)
        except (LayoutInvalid, NoSuchName) as error:
            raise CacheMissing(f"{self._path} has no cache: {error}") from error
        return manifest.load(layout, target, platforms)

    def _by_digest(self, layout: Layout) -> Descriptor:
        digest = Digest.parse(self._digest)
        try:
            desc = Descriptor(mt.OCI_MANIFEST, digest, layout.blob_path(digest).stat().st_size)
            body = json.loads(read_verified(layout.open(desc), desc, limit=MAX_SIZE))
            kind = body.get("mediaType", desc.media_type)
        except (OSError, ValueError, AttributeError, RecursionError, BoxwrightError) as error:
            raise CacheMissing(f"{self._path} has no manifest {digest}") from error
        return replace(desc, media_type=str(kind))

    def open(self, desc: Descriptor) -> BinaryIO:
        assert self._layout is not None, "nothing is opened that was not loaded"
        return self._layout.open(desc)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        return no_origins(desc)


class LocalSink:
    """See places.CacheSink. With ``reset=true`` nothing is left but what was written now."""

    def __init__(self, place: CachePlace) -> None:
        self._path, self._tag = Path(place.options["dest"]), place.options.get("tag", "latest")
        self._place, self._reset = place, place.flag("reset")

    def write(
        self,
        config: CacheConfig,
        blobs: Sequence[Descriptor],
        source: LayerFetcher,
        told: Callable[[str], None],
    ) -> Descriptor:
        layout = Layout(self._path, create=True)
        for blob in blobs:
            if not layout.exists(blob):
                told(f"writing layer {blob.digest}")
                with source.open(blob) as body:
                    layout.push(blob, body)
        made, desc, raw = manifest.compose(config, blobs, self._place)
        told(f"writing config {desc.digest}")
        layout.push(desc, io.BytesIO(raw))
        target = made.descriptor
        told(manifest.announced(made))
        layout.push(target, io.BytesIO(made.raw))
        layout.tag(self._tag, target)
        if self._reset:
            self._forget(layout, made, target)
        return target

    def _forget(self, layout: Layout, made: Manifest | Index, target: Descriptor) -> None:
        """Leave out of the index what is not this cache, then remove the blobs that nothing leads to. What is no blob
        of ours (another name, another directory) stays."""
        layout.keep_only(
            lambda entry: entry.digest == target.digest and entry.annotations.get(NAME) == self._tag
        )
        wanted = {target.digest, *(desc.digest for desc in parse(made.raw, made.media_type).references())}
        with disk_errors(str(self._path)):
            for digest in layout.blobs():
                if digest not in wanted:
                    layout.blob_path(digest).unlink(missing_ok=True)
