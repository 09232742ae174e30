"""Ways to compress layers: a row for each that is written. `layer.compress` has the code, which also reads others."""

from __future__ import annotations

from boxwright.errors import Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.values import dataclass


class CompressionInvalid(Invalid):
    """A compression, or a level of one, that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """`name` is ours, `exported` that of `--output` and `--cache-to`. Levels are 0 to `most`, and `usual` where none is
    asked for. `oci_only`: exporters write it with OCI's media types alone, as BuildKit's."""

    name: str
    exported: str
    most: int
    usual: int
    oci_only: bool = False

    def media_type(self, oci: bool = True) -> str:
        """Of a layer compressed so, in OCI's or Docker's words."""
        plain = mt.OCI_LAYER if oci else mt.DOCKER_LAYER
        return plain if self.name == "none" else f"{plain}{'+' if oci else '.'}{self.name}"

    def level(self, asked: int | None) -> int:
        """The level to compress with. Raises CompressionInvalid."""
        if asked is not None and not 0 <= asked <= self.most:
            raise CompressionInvalid(
                f"{self.name} has no compression level {asked}", hint=f"choose one from 0 to {self.most}"
            )
        return self.usual if asked is None else asked


COMPRESSIONS = {
    one.name: one
    for one in (
        Compression(name="gzip", exported="gzip", most=9, usual=1),
        Compression(name="zstd", exported="zstd", most=22, usual=3, oci_only=True),
        Compression(name="none", exported="uncompressed", most=0, usual=0),
    )
}
EXPORTED = {one.exported: one.name for one in COMPRESSIONS.values()}


def compression_called(name: str) -> Compression:
    """Raises CompressionInvalid."""
    try:
        return COMPRESSIONS[name]
    except KeyError:
        raise CompressionInvalid(
            f"unknown compression {name!r}", hint=f"choose one of {', '.join(COMPRESSIONS)}"
        ) from None


def compression_of(media_type: str) -> Compression:
    """How a layer of this media type is compressed; of one that is not known, `none`."""
    found = (one for name, one in COMPRESSIONS.items() if media_type.endswith(("+" + name, "." + name)))
    return next(found, COMPRESSIONS["none"])


def layer_type(media_type: str, *, oci: bool) -> str:
    """The media type of a layer that may be distributed, compressed like this one, in OCI's or Docker's words."""
    return compression_of(media_type).media_type(oci)
