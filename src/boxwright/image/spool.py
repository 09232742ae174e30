"""An archive that cannot be sought (a pipe, or compressed): one pass, in which every layer becomes ready to run.

The first bytes of a member tell what it is: tars and compressed streams go straight into the layer store, small files
(JSON) are kept in memory, anything else is passed over. So nothing is stored twice, whatever the order of members.
"""

from __future__ import annotations

import io
import re

from boxwright.content.lease import Lease
from boxwright.content.verify import CHUNK
from boxwright.errors import BoxwrightError, Corrupt, Invalid
from boxwright.image.members import (
    ArchiveInvalid,
    StreamPart,
    follow,
    link_of,
    normal,
    old_tar,
    stream_members,
)
from boxwright.image.store import ImageStore
from boxwright.layer.blobs import ingest_blob, ingest_tar
from boxwright.layer.compress import sniff, typed
from boxwright.layer.scan import FILE, HARDLINK, SYMLINK
from boxwright.layer.store import Layer
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import MAX_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


_MEMORY = 64 << 20  # bytes of small files altogether
_MOST_MEMBERS = 100_000
_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)\Z")
_LAYER = re.compile(r".*\.tar(\.(gz|zst|xz|bz2))?\Z")


class Spool:
    """The members of a stream that has passed. `lease` holds the layers that it brought."""

    def __init__(self, raw: BinaryIO, images: ImageStore, lease: Lease) -> None:
        self._images = images
        self._lease = lease
        self._small: dict[str, bytes] = {}
        self._layers: dict[str, Layer] = {}
        self._links: dict[str, str] = {}
        self._large: dict[str, int] = {}
        self._broken: dict[str, BoxwrightError] = {}
        self._used = 0
        for header, data in stream_members(raw):
            name = normal(header.name)
            if (
                len(self._small) + len(self._layers) + len(self._links) + len(self._large) + len(self._broken)
                >= _MOST_MEMBERS
            ):
                raise ArchiveInvalid(f"the archive has more than {_MOST_MEMBERS} members")
            if header.type in (SYMLINK, HARDLINK):
                self._links[name] = link_of(header)
            elif header.type == FILE and name:
                self._take(name, header.size, data)

    def _take(self, name: str, size: int, data: StreamPart) -> None:
        head = data.peek(512)
        kind = sniff(head)
        whole = io.BufferedReader(data, CHUNK)
        plain = (
            kind == "none"
            and len(head) == 512
            and (head[257:262] == b"ustar" or not any(head) or old_tar(head))
        )
        if (_BLOB.match(name) or _LAYER.match(name)) and (plain or kind != "none"):
            try:
                self._layers[name] = (
                    self._plain(name, whole)
                    if plain
                    else self._compressed(name=name, size=size, kind=kind, body=whole)
                )
            except (Invalid, Corrupt) as error:  # only matters when an image needs it
                self._broken[name] = error
        elif size <= MAX_SIZE and self._used + size <= _MEMORY:
            self._small[name] = whole.read()
            self._used += size
        else:
            self._large[name] = size

    def _plain(self, name: str, body: BinaryIO) -> Layer:
        match = _BLOB.match(name)
        expected = DiffID(match[1], match[2]) if match else None
        if expected is not None and self._images.layers.has(expected):
            self._lease.hold("layer", expected)
            if self._images.layers.has(expected):  # held before it was looked at again: it stays
                return self._images.layers.get(expected)
        return ingest_tar(self._images.layers, body, expected=expected)

    def _compressed(self, name: str, size: int, kind: str, body: BinaryIO) -> Layer:
        match = _BLOB.match(name)
        if match is None:
            return ingest_tar(self._images.layers, body)
        desc = Descriptor(typed(mt.OCI_LAYER_GZIP, kind), Digest(match[1], match[2]), size)
        self._lease.hold("blob", desc.digest)
        return ingest_blob(self._images.layers, body, desc)

    # --- Members -------------------------------------------------------------------------------

    def _real(self, name: str) -> str:
        return follow(name, self._links)

    def has(self, name: str) -> bool:
        """See members.Members."""
        name = self._real(name)
        if name in self._broken:
            raise self._broken[name]
        return name in self._small or name in self._layers or name in self._large

    def size(self, name: str) -> int:
        """See members.Members."""
        name = self._real(name)
        if name in self._layers:
            return self._layers[name].tar_size
        if name not in self._small and name not in self._large:
            raise ArchiveInvalid(f"the archive has no {name!r}")
        return self._large.get(name) or len(self._small[name])

    def open(self, name: str) -> BinaryIO:
        """See members.Members; only small files are still at hand."""
        name = self._real(name)
        if name not in self._small:
            raise ArchiveInvalid(f"the archive has no {name!r} that could be a manifest or config")
        return io.BytesIO(self._small[name])

    def layer(self, name: str) -> Layer | None:
        """See archive.Ingesting."""
        name = self._real(name)
        if name in self._broken:
            raise self._broken[name]
        return self._layers.get(name)

    def close(self) -> None:
        """Nothing is held."""
