"""An image of the store some of whose layers are somewhere else: a registry can mount them, or they flow through."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.image.target import LocalTarget
from boxwright.spec.hints import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.content.lease import Lease
    from boxwright.image.store import ImageStore
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import Digest
    from boxwright.spec.manifest import Manifest


class LayerLender(Protocol):
    """Has blobs that the store has not."""

    def blob(self, digest: Digest) -> Descriptor | None:
        """The blob as the lender describes it; None when it has none."""

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher, for a descriptor of `blob`."""

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated, likewise."""


class LentImage(LocalTarget):
    """The source of such an image."""

    def __init__(self, images: ImageStore, lease: Lease, lender: LayerLender) -> None:
        super().__init__(images, lease)
        self._lender = lender

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher."""
        lent = self._lent(desc)
        return super().open(desc) if lent is None else self._lender.open(lent)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated."""
        lent = self._lender.blob(desc.digest)
        return (*super().origins(desc), *(self._lender.origins(lent) if lent is not None else ()))

    def complete(self, manifest: Manifest) -> bool:
        """Whether everything that a manifest names is here or can be had."""
        return all(self._lent(desc) is not None or self._at_hand(desc) for desc in manifest.references())

    def _lent(self, desc: Descriptor) -> Descriptor | None:
        return None if self._at_hand(desc) else self._lender.blob(desc.digest)

    def _at_hand(self, desc: Descriptor) -> bool:
        return self._store.size(desc.digest) == desc.size or self._layers.by_blob(desc.digest) is not None
