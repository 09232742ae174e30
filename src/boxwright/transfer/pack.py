"""Compressing a layer on its way to a registry: while it is compressed, it is sent.

The digest that a registry wants to hear first is known last, so the upload is a PATCH without a length, closed by a
PUT with the digest (what skopeo and crane do). If the upload fails, compressing goes on, and the stored blob takes the
ordinary way, which resumes and tries again.
"""

from __future__ import annotations

import threading

from boxwright.content.lease import Lease
from boxwright.content.local import LocalStore
from boxwright.content.progress import Progress
from boxwright.errors import Cancelled, Denied, Invalid, NotFound, Unauthorized, Unavailable, Unsupported
from boxwright.layer.compress import Compressing, arrived_as, compress_layer, known_blobs
from boxwright.layer.store import Layer, LayerStore
from boxwright.registry.client.remote import Remote
from boxwright.spec import mediatypes as mt
from boxwright.spec.compression import layer_type
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID
from boxwright.spec.hints import cast
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO


_WORTH = 4 << 20  # bytes of tar below which a second request costs more than it saves


class Packer:
    """Layers of one root in one compression, for one push."""

    def __init__(
        self,
        layers: LayerStore,
        store: LocalStore,
        lease: Lease,
        *,
        kind: str,
        level: int | None,
        keeping: bool = False,
    ) -> None:
        self._layers, self._store, self._lease, self._kind, self._level = layers, store, lease, kind, level
        self._keeping = keeping  # of layers that came compressed, the form in which they came

    def packs(self, layer: Descriptor) -> bool:
        """Whether a layer of an image is its plain tar, and here as that."""
        plain = layer.media_type in (mt.OCI_LAYER, mt.DOCKER_LAYER)
        return plain and self._layers.has(DiffID(layer.digest.algorithm, layer.digest.hex))

    def pack(
        self,
        layer: Descriptor,
        remote: Remote,
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> tuple[Descriptor, bool]:
        """The compressed form of an uncompressed layer, and whether the registry has it already.

        Raises LayerMissing, DiskFull, Cancelled; what the registry raises is left to the ordinary push.
        """
        found = self._layers.get(DiffID(layer.digest.algorithm, layer.digest.hex))
        made = known_blobs(layers=self._layers, layer=found, kind=self._kind, level=self._level)
        came = arrived_as(self._layers, found, self._kind) if self._keeping else []
        for known in (*came, *made):
            desc = replace(
                known, media_type=layer_type(known.media_type, oci=layer.media_type == mt.OCI_LAYER)
            )
            self._lease.hold("blob", desc.digest)
            with self._store.committing():
                here = self._store.size(desc.digest) == desc.size
            if here:
                return desc, False
            if remote.exists(desc):  # its blob was dropped here, but it is there
                return desc, True
        if found.tar_size < _WORTH:
            desc = compress_layer(
                layers=self._layers, layer=found, store=self._store, kind=self._kind, level=self._level
            )
            self._lease.hold("blob", desc.digest)
            return desc, False
        return self._stream(found=found, shown=layer, remote=remote, progress=progress, stop=stop)

    def _stream(
        self,
        found: Layer,
        shown: Descriptor,
        remote: Remote,
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> tuple[Descriptor, bool]:
        with Compressing(
            layers=self._layers, layer=found, store=self._store, kind=self._kind, level=self._level
        ) as body:
            if progress:
                progress.started(shown)
            sent = None
            try:
                sent = remote.push_unknown(
                    cast("BinaryIO", _ProgressReader(body=body, shown=shown, progress=progress, stop=stop))
                )
            except (Unavailable, Unauthorized, Denied, NotFound, Invalid, Unsupported):
                pass  # the ordinary way meets the same trouble and tells it better
            if stop is not None and stop.is_set():
                raise Cancelled("the push was stopped")
            desc = body.finish()
            self._lease.hold("blob", desc.digest)
        if sent is None:
            return desc, False
        try:
            sent(desc)
        except (Unavailable, NotFound, Invalid):
            return desc, False
        return desc, True


class _ProgressReader:
    """A body for http.client that tells the progress how much of it was read."""

    def __init__(
        self, body: Compressing, shown: Descriptor, progress: Progress | None, stop: threading.Event | None
    ) -> None:
        self._body, self._shown, self._progress, self._stop = body, shown, progress, stop

    def read(self, size: int = -1) -> Any:
        if self._stop is not None and self._stop.is_set():
            raise Cancelled("the push was stopped")
        data = self._body.read(size)
        if data and self._progress:
            self._progress.advanced(self._shown, len(data))
        return data
