"""Attestations of images whose manifests change on their way: compressed layers give a manifest another digest, and
what was said about the old one has to be said about the new."""

from __future__ import annotations

import io
from collections.abc import Sequence

from boxwright.content.store import Source
from boxwright.content.tree import ContentNode
from boxwright.content.verify import read_verified
from boxwright.spec import intoto
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class Restating:
    """A Source over another one, which also has the statements that were written anew."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fresh: dict[Digest, bytes] = {}

    def resolve(self, name: str) -> Descriptor:
        """See content.store.Resolver."""
        return self._source.resolve(name)

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher."""
        fresh = self._fresh.get(desc.digest)
        return self._source.open(desc) if fresh is None else io.BytesIO(fresh)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated."""
        return getattr(self._source, "origins", lambda _: ())(desc)

    def again(self, node: ContentNode, old: Digest, new: Descriptor) -> ContentNode:
        """An attestation manifest about the manifest `old` as one about `new`. Raises StatementInvalid."""
        assert isinstance(node.content, Manifest)
        statements = []
        for layer in node.content.layers:
            raw = read_verified(self._source.open(layer), layer, limit=intoto.LARGEST)
            kind = layer.annotations.get(intoto.PREDICATE_TYPE, "")
            statements.append((kind, intoto.moved(raw, old, new.digest)))
        made = intoto.attested(new, statements, artifact=node.content.subject is not None)
        self._fresh.update((desc.digest, raw) for desc, raw in made.blobs)
        return ContentNode(made.entry, made.manifest)


def attesting(index: Index) -> dict[Digest, Digest]:
    """Attestation manifests of an index that are laid out as BuildKit does, with the manifests that they are about."""
    found = {entry.digest: intoto.about(entry) for entry in index.manifests}
    return {digest: subject for digest, subject in found.items() if subject is not None}


def is_attestation(content: Manifest | Index) -> bool:
    """Whether a manifest holds nothing but statements."""
    return (
        isinstance(content, Manifest)
        and bool(content.layers)
        and all(layer.media_type == intoto.STATEMENT for layer in content.layers)
    )
