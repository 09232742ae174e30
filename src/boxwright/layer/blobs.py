"""Layers that arrive as blobs: one pass from the network to a layer that can be mounted."""

from __future__ import annotations

import io

from boxwright.content.lease import hold_for_process
from boxwright.content.local import Ingest
from boxwright.content.store import Resumable
from boxwright.content.verify import CHUNK, ContentMismatch
from boxwright.errors import Corrupt, Invalid
from boxwright.layer.compress import Prefixed, open_decompressed, sniff, typed
from boxwright.layer.writer import LayerWriter
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.hints import cast
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.layer.store import Layer, LayerStore
    from boxwright.spec.descriptor import Descriptor


class _Tee(io.RawIOBase):
    """Gives what the ingest has already, then what arrives, which it stores and hashes on the way as long as
    `storing`."""

    def __init__(self, body: BinaryIO, ingest: Ingest, kept: BinaryIO | None, desc: Descriptor) -> None:
        self._body = body
        self._readinto = getattr(body, "readinto", None)
        self._ingest = ingest
        self._kept = kept
        self._desc = desc
        self.storing = True
        self.count = ingest.offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._kept is not None:
            count: int = self._kept.readinto(view)  # type: ignore[attr-defined]
            if count:
                return count
            self._kept.close()
            self._kept = None
        if self._readinto is not None:
            count = self._readinto(view) or 0
        else:
            data = self._body.read(len(view))
            count = len(data)
            view[:count] = data
        self.count += count
        if self.count > self._desc.size:
            raise ContentMismatch(
                f"{self._desc.media_type} {self._desc.digest} goes on after its size of {self._desc.size} bytes"
            )
        if self.storing:
            self._ingest.write(view[:count])
        return count


def ingest_tar(
    layers: LayerStore, tar: BinaryIO, *, expected: Digest | None = None, anew: bool = False
) -> Layer:
    """Store a layer that exists elsewhere from its tar, in any compression, byte for byte; `anew` puts it in the
    place of damaged files. Raises TarInvalid, LayerMismatch, Corrupt, DiskFull."""
    with LayerWriter(layers, algorithm=expected.algorithm if expected else "sha256") as writer:
        writer.pump(open_decompressed(tar))
        return writer.commit(expected, anew=anew)


def make_layer(layers: LayerStore, tar: BinaryIO) -> Layer:
    """A new layer from the tar, in any compression, of a file system that is no layer anywhere yet: its bytes stay,
    but for sparse files, which docker and podman refuse in a layer and which are written out. Raises TarInvalid,
    Corrupt, DiskFull."""
    with LayerWriter(layers) as writer:
        writer.pump(open_decompressed(tar))
        if not writer.sparse:
            return writer.commit()
        from boxwright.layer.dense import write_out

        with LayerWriter(layers) as dense:
            write_out(writer, dense)
            return dense.commit()


def ingest_blob(layers: LayerStore, body: BinaryIO, desc: Descriptor, *, keep_blob: bool = True) -> Layer:
    """Store a layer from a blob as a registry serves it, in one pass: the blob is verified, kept under its digest
    when it is compressed, and its tar becomes a layer. A body that is content.store.Resumable goes on where a broken
    ingest stopped. Raises Corrupt (ContentMismatch), TarInvalid, DiskFull, IngestBusy."""
    store = layers.store
    with store.committing():
        known = layers.by_blob(desc.digest)
        if known is not None and (
            not keep_blob or str(known.diff_id) == str(desc.digest) or store.size(desc.digest) == desc.size
        ):
            hold_for_process(layers.db, "layer", known.diff_id)
            return known
    with store.ingest(
        f"{desc.digest.algorithm}-{desc.digest.hex}", algorithm=desc.digest.algorithm
    ) as ingest:
        kept = None
        if isinstance(body, Resumable):
            body.resume_at(ingest.offset)
            kept = (
                open(store.places.ingest(f"{desc.digest.algorithm}-{desc.digest.hex}"), "rb", buffering=0)
                if ingest.offset
                else None
            )
        elif ingest.offset:
            ingest.reset()
        tee = _Tee(body=body, ingest=ingest, kept=kept, desc=desc)
        try:
            return _receive(layers=layers, tee=tee, ingest=ingest, desc=desc, keep_blob=keep_blob)
        except Corrupt:
            ingest.discard()
            raise
        finally:
            if kept is not None:
                kept.close()


def _receive(layers: LayerStore, tee: _Tee, ingest: Ingest, desc: Descriptor, keep_blob: bool) -> Layer:
    head = b""
    while len(head) < 6 and (more := tee.read(6 - len(head))):
        head += more
    stream = cast("BinaryIO", Prefixed(head, cast("BinaryIO", tee)))
    kind = sniff(head)
    if kind == "none" and ingest.offset == len(head):
        # The layer's own file is the blob.
        ingest.discard()
        tee.storing = False
        with LayerWriter(layers, algorithm=desc.digest.algorithm) as writer:
            writer.pump(stream)
            if tee.count != desc.size:
                raise ContentMismatch(
                    f"{desc.media_type} {desc.digest} ends {desc.size - tee.count} bytes before its size of {desc.size}"
                )
            return writer.commit(DiffID(desc.digest.algorithm, desc.digest.hex))
    with LayerWriter(layers) as writer:
        try:
            writer.pump(open_decompressed(stream))
        except (Corrupt, Invalid) as error:
            # Whose fault it is, the digest tells: bytes damaged on their way are fetched again, a bad layer is not.
            _check(tee=tee, ingest=ingest, desc=desc, cause=error)
            ingest.discard()
            raise
        _check(tee=tee, ingest=ingest, desc=desc, cause=None)
        if keep_blob:
            ingest.commit(desc.media_type, desc.digest)
        else:
            ingest.discard()
        layer = writer.commit()
    layers.record_blob(layer.diff_id, replace(desc, media_type=typed(desc.media_type, kind)), compressor="")
    return layer


def _check(tee: _Tee, ingest: Ingest, desc: Descriptor, cause: BaseException | None) -> None:
    """Take what is left of the body, which decompressing may not have needed, and compare."""
    while tee.read(CHUNK):
        pass
    if ingest.offset != desc.size or ingest.digest != desc.digest:
        raise ContentMismatch(
            f"{desc.media_type} {desc.digest} has other bytes: {ingest.offset} with digest {ingest.digest}"
        ) from cause
