"""Caches as registries and OCI layouts hold them: a manifest whose config is the cache's, or an image that carries its
records in its own config.

The manifest is an image manifest (``image-manifest=true``), or, as before BuildKit 0.21, an index that lists blobs.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from boxwright.build.cache import INLINE, OWN_INLINE
from boxwright.build.remotecache import config as cacheconfig
from boxwright.build.remotecache.config import CacheConfig, CacheInvalid
from boxwright.build.remotecache.places import CREATED, DIFF_ID, LoadedCache
from boxwright.content.verify import read_verified
from boxwright.errors import Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.compression import layer_type
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, parse
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.remotecache.options import CachePlace
    from boxwright.content.store import Fetcher
    from boxwright.spec.platform import Platform

_MOST_IMAGES = 32  # of an index whose images are asked for records


def load(source: Fetcher, target: Descriptor, platforms: Sequence[Platform]) -> list[LoadedCache]:
    """What a manifest says; of an image the records of its config, of an index those of the images that fit. Raises
    CacheInvalid, ManifestInvalid, ContentMismatch and what reading raises."""
    content = parse(_read(source, target), target.media_type)
    entries = content.layers if isinstance(content, Manifest) else content.manifests
    config = content.config if isinstance(content, Manifest) else None
    if config is None or config.media_type != cacheconfig.MEDIA_TYPE:
        config = next((entry for entry in entries if entry.media_type == cacheconfig.MEDIA_TYPE), None)
    if config is not None:
        read = cacheconfig.parse(_read(source, config, cacheconfig.MAX_SIZE))
        return [LoadedCache(read, _annotated(entries))]
    if isinstance(content, Manifest):
        found = inline(source, content)
        return [found] if found is not None else []
    return _images(source, content, platforms)


def _images(source: Fetcher, index: Index, platforms: Sequence[Platform]) -> list[LoadedCache]:
    found = []
    fitting = [
        entry
        for entry in index.manifests
        if entry.media_type in mt.MANIFESTS
        and (entry.platform is None or any(p.rank(entry.platform) is not None for p in platforms))
    ]
    for entry in fitting[:_MOST_IMAGES]:
        manifest = parse(_read(source, entry), entry.media_type)
        if isinstance(manifest, Manifest) and (loaded := inline(source, manifest)) is not None:
            found.append(loaded)
    return found


def inline(source: Fetcher, manifest: Manifest) -> LoadedCache | None:
    """The records that an image carries; None for none. Raises CacheInvalid."""
    if manifest.config.media_type not in mt.CONFIGS or not manifest.layers:
        return None
    config = ImageConfig.parse(_read(source, manifest.config))
    text, own = config.extra.get(INLINE), config.extra.get(OWN_INLINE)
    if (text is None and own is None) or len(config.diff_ids) != len(manifest.layers):
        return None
    try:
        raw = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError as error:
        raise CacheInvalid("the cache in the image's config is not base64") from error
    stack = [(desc.digest, diff_id) for desc, diff_id in zip(manifest.layers, config.diff_ids)]
    made = [entry.created for entry in config.history if not entry.empty_layer]
    blobs = {
        desc.digest: replace(
            desc,
            annotations={DIFF_ID: str(diff_id), CREATED: made[at] if at < len(made) else ""},
        )
        for at, (desc, diff_id) in enumerate(zip(manifest.layers, config.diff_ids))
    }
    return LoadedCache(cacheconfig.parse_inline(raw, stack, own), blobs)


def from_layers(config: CacheConfig) -> LoadedCache:
    """Of a config that stands alone (`CacheLayer.to_json(True)`): its layers say themselves what they are."""
    blobs = {
        layer.blob: Descriptor(
            layer.media_type,
            layer.blob,
            size=layer.size,
            annotations={DIFF_ID: str(layer.diff_id), CREATED: layer.created},
        )
        for layer in config.layers
        if layer.diff_id is not None and mt.is_layer(layer.media_type)
    }
    return LoadedCache(config, blobs)


def compose(
    config: CacheConfig, blobs: Sequence[Descriptor], place: CachePlace
) -> tuple[Manifest | Index, Descriptor, bytes]:
    """The manifest over these layers in the form that the place has, and the config with its descriptor."""
    raw, oci = config.to_json(), place.flag("oci-mediatypes", True)
    desc = Descriptor.of(raw, cacheconfig.MEDIA_TYPE)
    layers = [replace(blob, media_type=layer_type(blob.media_type, oci=oci)) for blob in blobs]
    if place.flag("image-manifest", oci):
        return Manifest.compose(desc, layers), desc, raw
    kind = mt.OCI_INDEX if oci else mt.DOCKER_LIST
    return Index.compose([*layers, desc], media_type=kind), desc, raw


def announced(made: Manifest | Index) -> str:
    """What is said of a manifest that is written."""
    kind = "cache image manifest" if isinstance(made, Manifest) else "manifest"
    return f"writing {kind} {made.descriptor.digest}"


def _annotated(entries: Sequence[Descriptor]) -> dict[Digest, Descriptor]:
    found = {}
    for entry in entries:
        try:
            DiffID.parse(entry.annotations.get(DIFF_ID, ""))
        except Invalid:
            continue  # without it the layer's name is not known, and the record is none
        if mt.is_layer(entry.media_type):
            found[entry.digest] = entry
    return found


def _read(source: Fetcher, desc: Descriptor, limit: int = MAX_SIZE) -> bytes:
    return read_verified(source.open(desc), desc, limit=limit)
