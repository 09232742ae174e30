"""`import`: a root file system tar becomes an image of one layer, ready to run when its last byte has arrived."""

from __future__ import annotations

from collections.abc import Iterable

from boxwright.content.lease import Lease
from boxwright.image.catalog import ImageRow
from boxwright.image.changes import apply_changes
from boxwright.image.compose import blank, with_layer, with_values
from boxwright.image.store import ImageStore
from boxwright.layer.blobs import make_layer
from boxwright.spec.config import HistoryEntry
from boxwright.spec.platform import Platform
from boxwright.spec.times import rfc3339
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the image is called and says of itself. `changes` are instructions of a Dockerfile; `source` is what the
    history names; `created` is unix seconds, now when None."""

    name: str = ""
    changes: Iterable[str] = ()
    message: str = ""
    platform: Platform | None = None
    source: str = "-"
    created: float | None = None


def import_image(images: ImageStore, tar: BinaryIO, wish: ImportOptions) -> ImageRow:
    """Store the tar (any compression) as a one-layer image. Raises TarInvalid, Corrupt, DiskFull, ChangeInvalid,
    ReferenceInvalid."""
    # Everything that can be refused is looked at before the first byte is taken.
    values = apply_changes({}, wish.changes)
    names = [images.checked(wish.name, digest=False)] if wish.name else []
    with Lease(images.db, "import"):
        layer = make_layer(images.layers, tar)
        when = rfc3339(wish.created)
        comment = wish.message or f"Imported from {wish.source}"
        config = with_values(blank(wish.platform or images.default_platform, created=when), values)
        config = with_layer(config, layer.diff_id, HistoryEntry(created=when, comment=comment))
        return images.create(config, names=names)
