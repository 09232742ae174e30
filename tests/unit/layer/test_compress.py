"""Compression: every form in, two out; damage and bombs are errors."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard

from boxwright.errors import Invalid
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.compress import (
    CompressedDataBroken,
    Compressor,
    TooLarge,
    compress_layer,
    open_decompressed,
    sniff,
    typed,
)
from boxwright.spec import mediatypes as mt
from boxwright.spec.compression import (
    COMPRESSIONS,
    Compression,
    CompressionInvalid,
    compression_of,
    layer_type,
)
from boxwright.spec.digest import Digest
from support.layer import layer_store, make_tar, member

DATA = b"".join(b"%d %s\n" % (n, hashlib.sha256(b"%d" % n).hexdigest().encode()) for n in range(6_000))


def zstd(data: bytes) -> bytes:
    squeeze = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compressobj()
    return squeeze.compress(data) + squeeze.flush()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


class Trickle(io.RawIOBase):
    """Gives a few bytes a read, as a network does."""

    def __init__(self, data: bytes, step: int) -> None:
        self.raw, self.step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        return self.raw.readinto(view[: self.step])


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("parts", [1, 3])
def test_several_members_are_one_stream(kind: str, parts: int) -> None:
    step = len(DATA) // parts + 1
    packed = b"".join(PACK[kind](DATA[at : at + step]) for at in range(0, len(DATA), step))
    assert open_decompressed(io.BytesIO(packed)).read() == DATA
    assert open_decompressed(cast(BinaryIO, Trickle(packed, 4999))).read() == DATA


def test_plain_and_empty_streams_pass() -> None:
    assert open_decompressed(io.BytesIO(DATA)).read() == DATA
    assert open_decompressed(io.BytesIO(b"")).read() == b""
    assert open_decompressed(io.BytesIO(b"ab")).read() == b"ab"


def test_skippable_frames_and_zero_padding() -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert open_decompressed(io.BytesIO(skippable + zstd(DATA) + skippable)).read() == DATA
    assert open_decompressed(io.BytesIO(gzip.compress(DATA) + bytes(100))).read() == DATA


@pytest.mark.parametrize("kind", PACK)
def test_damage_is_told(kind: str) -> None:
    packed = PACK[kind](DATA)
    for broken in (
        packed[:-5],
        packed[: len(packed) // 2],
        packed[:10],
        packed[:200] + b"\xff" * 300 + packed[500:],
    ):
        with pytest.raises(CompressedDataBroken, match=kind):
            open_decompressed(io.BytesIO(broken)).read()


def test_garbage_after_gzip_is_damage() -> None:
    with pytest.raises(CompressedDataBroken):
        open_decompressed(io.BytesIO(gzip.compress(DATA) + b"garbage")).read()


@pytest.mark.parametrize("kind", PACK)
def test_bombs_stop_at_the_limit(kind: str) -> None:
    packed = PACK[kind](bytes(3 << 20))
    stream = open_decompressed(io.BytesIO(packed), limit=1 << 20)
    with pytest.raises(TooLarge):
        while stream.read(65536):
            pass


def test_an_error_of_the_source_stays_what_it_is() -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise ConnectionResetError(104, "reset")

    with pytest.raises(ConnectionResetError):
        open_decompressed(cast(BinaryIO, io.BufferedReader(Failing()))).read()


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("gzip", None),
        ("gzip", 0),
        ("gzip", 3),
        ("gzip", 6),
        ("gzip", 9),
        ("zstd", None),
        ("zstd", 1),
        ("none", None),
    ],
)
def test_compressors_come_back(kind: str, level: int | None) -> None:
    compressor = Compressor(kind, level)
    packed = compressor.stream(io.BytesIO(DATA)).read()
    assert open_decompressed(io.BytesIO(packed)).read() == DATA
    assert Compressor(kind, level).stream(io.BytesIO(DATA)).read() == packed
    if kind == "gzip":
        assert gzip.decompress(packed) == DATA and packed[4:8] == bytes(4)


@pytest.mark.parametrize("form", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_what_is_written_is_known_again(form: Compression) -> None:
    """Its first bytes and its media type tell what it is; each of its ends of the scale of levels works."""
    for level in (0, form.most):
        packed = Compressor(form.name, level).stream(io.BytesIO(DATA)).read()
        assert sniff(packed[:6]) == form.name
        assert open_decompressed(io.BytesIO(packed)).read() == DATA
    for oci in (True, False):
        assert compression_of(form.media_type(oci)) is form
        assert layer_type(form.media_type(oci), oci=not oci) == form.media_type(not oci)
        assert typed(form.media_type(oci), form.name) == form.media_type(oci)
    with pytest.raises(CompressionInvalid, match=f"{form.name} has no compression level {form.most + 1}"):
        Compressor(form.name, form.most + 1)


def test_a_media_type_of_another_compression_is_mended() -> None:
    assert typed(mt.OCI_LAYER_GZIP, "zstd") == mt.OCI_LAYER + "+zstd"
    assert typed(mt.DOCKER_LAYER + ".gzip", "gzip") == mt.DOCKER_LAYER + ".gzip"
    for read_only in ("none", "bzip2"):
        assert typed(mt.OCI_LAYER_GZIP, read_only) == mt.OCI_LAYER_GZIP


def test_media_types_and_names() -> None:
    assert Compressor("gzip").name == "gzip:isal-1" and Compressor("zstd").name == "zstd:3"
    assert Compressor("gzip").media_type(oci=False).endswith("diff.tar.gzip") and Compressor(
        "zstd"
    ).media_type().endswith("tar+zstd")
    for kind, level in (("lzo", None), ("gzip", 10), ("zstd", -1)):
        with pytest.raises(Invalid):
            Compressor(kind, level)


def test_closing_early_ends_the_thread() -> None:
    stream = Compressor("zstd").stream(cast(BinaryIO, Trickle(os.urandom(20 << 20), 1 << 20)))
    assert stream.read(10)
    stream.close()


def test_a_failing_source_fails_the_reader() -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise ConnectionResetError(104, "reset")

    with pytest.raises(ConnectionResetError), Compressor("gzip").stream(cast(BinaryIO, Failing())) as stream:
        stream.read()


def test_a_layer_is_compressed_once(tmp_path: Path) -> None:
    layers = layer_store(tmp_path)
    layer = ingest_tar(layers, io.BytesIO(make_tar(member("a", data=DATA))))
    first = compress_layer(layers, layer, layers.store, "gzip")
    assert compress_layer(layers, layer, layers.store, "gzip") == first
    assert hashlib.sha256(gzip.decompress(layers.store.read(first.digest))).hexdigest() == layer.diff_id.hex
    other = compress_layer(layers, layer, layers.store, "gzip", 9)
    assert other.digest != first.digest
    assert compress_layer(layers, layer, layers.store, "none").digest == Digest("sha256", layer.diff_id.hex)
    assert {made_by for _, made_by in layers.blobs(layer.diff_id)} == {
        "gzip:isal-1",
        Compressor("gzip", 9).name,
    }
    layers.store.path(first.digest).unlink()
    assert compress_layer(layers, layer, layers.store, "gzip", 1) == first
    assert not os.listdir(tmp_path / "ingest")
