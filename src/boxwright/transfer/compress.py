"""Layers of an archive in docker's own form on their way to a registry: compressed, since registries hold compressed
layers.

Such an archive has no manifests, so no digest is lost. A registry wants to hear a blob's digest first, so a layer is
read and compressed twice, once to know it and once to send it, with nothing kept between: the bytes are the same.
"""

from __future__ import annotations

import threading

from boxwright.content.parallel import in_parallel
from boxwright.content.store import Source
from boxwright.content.tree import ContentNode
from boxwright.content.verify import CHUNK
from boxwright.layer.compress import Compressor
from boxwright.spec import hashes
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Manifest
from boxwright.transfer.rewrite import rewritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class CompressingSource:
    """A Source over another one, which has the layers of `compressed` trees in their compressed form."""

    def __init__(self, source: Source, kind: str = "gzip") -> None:
        self._source, self._compressor = source, Compressor(kind)
        self._plain: dict[Digest, Descriptor] = {}

    def resolve(self, name: str) -> Descriptor:
        """See content.store.Resolver."""
        return self._source.resolve(name)

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher."""
        plain = self._plain.get(desc.digest)
        return self._source.open(desc) if plain is None else self._compressor.stream(self._source.open(plain))

    def compressed(self, tree: ContentNode, *, jobs: int = 4) -> ContentNode:
        """The tree with compressed layers. Raises what reading them raises."""
        layers = {
            layer.digest: layer
            for node in tree.walk()
            if isinstance(node.content, Manifest)
            for layer in node.content.layers
        }
        became: dict[Digest, Descriptor] = {}

        def one(plain: Descriptor) -> None:
            hashed, size = hashes.new("sha256"), 0
            with self._source.open(plain) as tar, self._compressor.stream(tar) as stream:
                while data := stream.read(CHUNK):
                    hashed.update(data)
                    size += len(data)
            desc = Descriptor(self._compressor.media_type(), Digest("sha256", hashed.hexdigest()), size)
            became[plain.digest] = desc
            self._plain[desc.digest] = plain

        in_parallel(
            jobs,
            [d for d in layers.values() if d.media_type in (mt.OCI_LAYER, mt.DOCKER_LAYER)],
            one,
            stop=threading.Event(),
        )
        return rewritten(tree, became)
