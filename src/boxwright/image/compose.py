"""From a config and layers to a manifest. Pure: values in, values out.

The manifest of an image that was made here names its layers *uncompressed*: digest == diff ID, size == tar size.
Such a layer needs no file of its own among the blobs; `image.target` serves it from the layer store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from boxwright.spec import mediatypes as mt
from boxwright.spec.config import HistoryEntry, ImageConfig, ImageConfigInvalid
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.times import rfc3339
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def layer_descriptor(diff_id: DiffID, tar_size: int) -> Descriptor:
    """An uncompressed layer as a manifest names it."""
    return Descriptor(mt.OCI_LAYER, Digest(diff_id.algorithm, diff_id.hex), tar_size)


def compose(
    config: ImageConfig,
    layers: Iterable[Descriptor],
    *,
    annotations: Mapping[str, str] | None = None,
    raw: bytes = b"",
) -> tuple[Manifest, bytes]:
    """The OCI manifest over these layers (bottom first) and the bytes of its config.

    `raw` are the config's own bytes when it came from elsewhere, so that its digest, the image ID, stays.
    Raises ImageConfigInvalid when the config does not list as many layers.
    """
    layers = tuple(layers)
    if len(layers) != len(config.diff_ids):
        raise ImageConfigInvalid(
            f"the config lists {len(config.diff_ids)} layers, the manifest would have {len(layers)}"
        )
    raw = raw or config.to_bytes()
    return Manifest.compose(Descriptor.of(raw, mt.OCI_CONFIG), layers, annotations=annotations), raw


def blank(platform: Platform, *, created: str = "") -> ImageConfig:
    """A config without layers: what ``FROM scratch`` starts with."""
    return ImageConfig(platform=platform, created=created or rfc3339())


def with_layer(config: ImageConfig, diff_id: DiffID, entry: HistoryEntry) -> ImageConfig:
    """One more layer on top, with how it came to be."""
    return replace(
        config,
        diff_ids=(*config.diff_ids, diff_id),
        history=(*config.history, replace(entry, empty_layer=False)),
        created=entry.created or config.created,
    )


def with_values(config: ImageConfig, values: Mapping[str, Any]) -> ImageConfig:
    """The container config (``Env``, ``Cmd``, …) with these keys replaced; a value of None takes the key away."""
    merged = {**config.config, **values}
    return replace(config, config={k: v for k, v in merged.items() if v is not None})


def steps(config: ImageConfig) -> Iterator[tuple[HistoryEntry, DiffID | None]]:
    """History entries, oldest first, each with its layer; layers that the history leaves out come last.

    Tools write histories that are shorter or longer than their layers: entries beyond the last layer have None.
    """
    layers = iter(config.diff_ids)
    for entry in config.history:
        yield entry, None if entry.empty_layer else next(layers, None)
    for diff_id in layers:
        yield HistoryEntry(), diff_id
