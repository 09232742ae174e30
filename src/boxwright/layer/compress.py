"""Layers in and out of compression, streaming: gzip and zstd both ways, xz and bzip2 only in."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from boxwright.content.verify import CHUNK
from boxwright.errors import Corrupt, Invalid
from boxwright.layer.pipe import Pipe
from boxwright.layer.tarstream import open_tar
from boxwright.spec import mediatypes as mt
from boxwright.spec.compression import COMPRESSIONS, compression_called, compression_of
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.content.local import LocalStore
    from boxwright.layer.store import Layer, LayerStore

_XZ_MEMORY = 96 << 20  # bytes; `xz -9` needs 65 MiB


class CompressedDataBroken(Corrupt):
    """Compressed bytes do not decompress."""


class TooLarge(Invalid):
    """Decompressed data exceed the caller's limit."""


def sniff(head: bytes) -> str:
    """'gzip', 'zstd', 'xz', 'bzip2' or 'none', by the first 6 bytes."""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"  # also a skippable frame first
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    if head[:3] == b"BZh" and head[3:4].isdigit():
        return "bzip2"
    return "none"


def typed(media_type: str, kind: str) -> str:
    """The media type of a layer whose bytes are compressed as `kind`: the given one, unless it tells of another way."""
    form = COMPRESSIONS.get(kind)
    if form is None or form.name == "none" or compression_of(media_type) is form:
        return media_type
    return form.media_type()


class Prefixed(io.RawIOBase):
    """A stream whose first bytes were read already, and perhaps with some more behind it."""

    def __init__(self, head: bytes, raw: BinaryIO, tail: bytes = b"") -> None:
        self._head = head
        self._tail = tail
        self._raw = raw
        self._readinto = getattr(raw, "readinto", None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._head:
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        if self._readinto is not None:
            count = self._readinto(view) or 0
        else:
            data = self._raw.read(len(view))
            count = len(data)
            view[:count] = data
        if not count and self._tail:
            self._head, self._tail = self._tail, b""
            return self.readinto(view)
        return count


class _Blockwise(io.RawIOBase):
    """xz or bzip2 by their decompressor objects: several streams one after the other, bounded output."""

    def __init__(self, make: Callable[[], Any], raw: BinaryIO) -> None:
        self._make = make
        self._object = make()
        self._raw = raw
        self._fresh = True  # whether the current stream has had no byte yet

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while True:
            data = b""
            if self._object.eof:
                data = self._object.unused_data.lstrip(b"\0")
                self._object, self._fresh = self._make(), True
            if not data and (self._fresh or self._object.needs_input):
                data = self._raw.read(CHUNK // 4)
                if self._fresh:
                    data = data.lstrip(b"\0") if data else data
                if not data:
                    if self._fresh:
                        return 0
                    raise EOFError
            self._fresh = False
            out = self._object.decompress(data, len(view))
            if out:
                view[: len(out)] = out
                return len(out)


class _Marked(io.RawIOBase):
    """zstd frames, followed by one of our own: `zstandard` ends without a word when its input is cut off, but
    then the mark does not come out at the end."""

    MARK = b"boxwright's end!"
    _FRAME = b"\x28\xb5\x2f\xfd\x20\x10\x81\x00\x00" + MARK  # single segment of 16 bytes, one raw last block

    def __init__(self, raw: BinaryIO) -> None:
        from zstandard import ZstdDecompressor

        source = Prefixed(b"", raw, self._FRAME)
        self._inner = ZstdDecompressor().stream_reader(
            cast("BinaryIO", source), read_size=CHUNK // 4, read_across_frames=True
        )
        self._tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        keep = len(self.MARK)
        while True:
            held = len(self._tail)
            view[:held] = self._tail
            count = self._inner.readinto(view[held:])
            if not count:
                if self._tail != self.MARK:
                    raise EOFError
                return 0
            total = held + count
            ready = max(total - keep, 0)
            self._tail = bytes(view[ready:total])
            if ready:
                return ready


class _Inflated(io.RawIOBase):
    """The decompressor, with its errors translated and its output counted. At its end the compressed stream has
    been read to its end too, so that a hash over that stream has seen it all."""

    def __init__(self, kind: str, raw: BinaryIO, limit: int | None) -> None:
        self._kind = kind
        self._inner, self._errors = _open(kind, raw)
        self._raw = raw
        self._limit = limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count: int = self._inner.readinto(buffer)
        except self._errors as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise CompressedDataBroken(
                f"the {self._kind} stream is damaged: {str(error) or 'it ends too early'}"
            ) from error
        if not count:
            while self._raw.read(CHUNK):
                pass
        self._count += count
        if self._limit is not None and self._count > self._limit:
            raise TooLarge(f"the {self._kind} stream expands to more than {self._limit} bytes")
        return count


def _open(kind: str, raw: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """A decompressor with `readinto`, and what it raises for bad data."""
    if kind == "gzip":
        from gzip import BadGzipFile

        from isal import isal_zlib

        damaged = cast("type[Exception]", isal_zlib.IsalError)
        # Its private name is the only reader in C that goes on after a member's end; decompressobj stops there.
        return isal_zlib._GzipReader(raw, CHUNK // 4), (EOFError, BadGzipFile, damaged)
    if kind == "zstd":
        from zstandard import ZstdError

        return _Marked(raw), (EOFError, ZstdError)
    if kind == "xz":
        import lzma

        return _Blockwise(lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), raw), (EOFError, lzma.LZMAError)
    if kind == "bzip2":
        import bz2

        return _Blockwise(bz2.BZ2Decompressor, raw), (EOFError, OSError)
    return raw, ()


def open_decompressed(raw: BinaryIO, *, limit: int | None = None) -> BinaryIO:
    """The tar in a stream of any compression, which its first bytes tell. More than `limit` bytes raise TooLarge,
    damage raises CompressedDataBroken. `raw` stays open."""
    head = b""
    while len(head) < 6 and (more := raw.read(6 - len(head))):
        head += more
    source = cast("BinaryIO", Prefixed(head, raw))
    return io.BufferedReader(_Inflated(sniff(head), source, limit), CHUNK // 8)


class Compressor:
    """One of `COMPRESSIONS` at one level. Equal input gives equal output on one kind of machine only."""

    def __init__(self, kind: str, level: int | None = None) -> None:
        self._form = compression_called(kind)
        self._make, self.name = _compressor(kind, self._form.level(level))

    def begin(self) -> Any:
        """A compressor object of zlib's interface, for one stream. Not for 'none'."""
        assert self._make is not None
        return self._make()

    def media_type(self, oci: bool = True) -> str:
        """Of a layer compressed so, in OCI's or Docker's words."""
        return self._form.media_type(oci)

    def stream(self, raw: BinaryIO) -> BinaryIO:
        """`raw` compressed, in a second thread while it is read. Close it; `raw` stays open."""
        if self._make is None:
            return raw
        compressor = self._make()

        def produce(put: Callable[[bytes], None]) -> None:
            while data := raw.read(CHUNK):
                put(compressor.compress(data))
            put(compressor.flush())

        return io.BufferedReader(Pipe(produce), CHUNK // 8)


def _compressor(kind: str, level: int) -> tuple[Callable[[], Any] | None, str]:
    """How to make a compressor object, and the name that says so. Headers hold no time and no file name."""
    if kind == "none":
        return None, "none"
    if kind == "zstd":
        from zstandard import ZstdCompressor

        return lambda: ZstdCompressor(level=level, write_checksum=True).compressobj(), f"zstd:{level}"
    if level <= 3:
        from isal import isal_zlib

        return lambda: isal_zlib.compressobj(level, isal_zlib.DEFLATED, 31), f"gzip:isal-{level}"
    try:
        from zlib_ng import zlib_ng  # type: ignore[import-not-found,unused-ignore]

        return lambda: zlib_ng.compressobj(level, zlib_ng.DEFLATED, 31), f"gzip:zlibng-{level}"
    except ImportError:
        import zlib

        return lambda: zlib.compressobj(level, zlib.DEFLATED, 31), f"gzip:zlib-{level}"


def known_blobs(layers: LayerStore, layer: Layer, kind: str, level: int | None = None) -> list[Descriptor]:
    """Compressed forms of the layer that are as good as compressing it now, stored here or not: those that this
    compressor made, and when no level was asked for before them those of this kind in which the layer came. What
    another level made is not one of them: the same build gives the same bytes on every root."""
    compressor = Compressor(kind, level)
    wanted = (compressor.media_type(), compressor.media_type(False))
    known = layers.blobs(layer.diff_id)
    came = [d for d, by in known if not by and d.media_type in wanted] if level is None else []
    return came + [d for d, by in known if by == compressor.name]


def arrived_as(layers: LayerStore, layer: Layer, kind: str) -> list[Descriptor]:
    """The compressed forms in which the layer came here, stored or not, those of this kind first."""
    found = [d for d, by in layers.blobs(layer.diff_id) if not by]
    return sorted(found, key=lambda d: not d.media_type.endswith(kind))


class Compressing(io.RawIOBase):
    """A layer as a compressed body that is kept as a blob while it is read. `finish` reads what is left, publishes
    the blob and returns its descriptor; closing before that throws the bytes away."""

    def __init__(
        self, layers: LayerStore, layer: Layer, store: LocalStore, kind: str, level: int | None = None
    ) -> None:
        self._layers, self._layer = layers, layer
        self._compressor = Compressor(kind, level)
        self._ingest = store.ingest(f"compress-{os.urandom(16).hex()}")
        self._done: Descriptor | None = None
        try:
            self._tar = open_tar(layer)
            self._stream = self._compressor.stream(self._tar)
        except BaseException:
            self._ingest.discard()
            self._ingest.close()
            raise

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count: int = self._stream.readinto(view)  # type: ignore[attr-defined]
        self._ingest.write(view[:count])
        return count

    def finish(self) -> Descriptor:
        """Raises DiskFull and what reading the layer raises."""
        if self._done is None:
            buffer = bytearray(CHUNK)
            while self.readinto(buffer):
                pass
            self._done = self._ingest.commit(self._compressor.media_type())
            self._layers.record_blob(self._layer.diff_id, self._done, compressor=self._compressor.name)
        return self._done

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._tar.close()
            if self._done is None:
                self._ingest.discard()
            self._ingest.close()
        super().close()


def compress_layer(
    layers: LayerStore, layer: Layer, store: LocalStore, kind: str, level: int | None = None
) -> Descriptor:
    """The layer as a compressed blob in the store (for 'none' the virtual one); one that is known and here is used."""
    if kind == "none":
        return Descriptor(mt.OCI_LAYER, Digest(layer.diff_id.algorithm, layer.diff_id.hex), layer.tar_size)
    for desc in known_blobs(layers=layers, layer=layer, kind=kind, level=level):
        if store.size(desc.digest) == desc.size:
            return desc
    with Compressing(layers=layers, layer=layer, store=store, kind=kind, level=level) as body:
        return body.finish()
