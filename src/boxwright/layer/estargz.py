"""eStargz: a gzip layer whose files can be fetched one by one (containerd/stargz-snapshotter, docs/estargz.md).

The blob is the layer's tar, byte for byte, in many gzip members: one begins at every file's content and at every chunk
of a large one. Behind the tar follows, as one more entry, the table that tells where each lies (TOC), and in the last
51 bytes where the table is. So the blob inflates to another tar than the layer: it has a diff ID of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct

from boxwright.errors import Unsupported
from boxwright.layer.compress import Compressor
from boxwright.layer.reader import TarReader
from boxwright.layer.tarstream import open_tar
from boxwright.layer.write import Entry, TarBuilder
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID
from boxwright.spec.times import rfc3339
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.content.local import Ingest, LocalStore
    from boxwright.layer.scan import Header
    from boxwright.layer.store import Layer

TOC_NAME = "stargz.index.json"
TOC_DIGEST = "containerd.io/snapshot/stargz/toc.digest"  # annotation of the layer's descriptor
UNCOMPRESSED_SIZE = "io.containers.estargz.uncompressed-size"  # the same
_CHUNK = 4 << 20  # bytes of a file's content in one member
_PIECE = 1 << 20
_FIRST, _LAST = -62135596800, 253402300799  # unix seconds that RFC 3339 can write
_TYPES = {"file": "reg"}  # the others are called alike


class NoEStargz(Unsupported):
    """The layer has what an eStargz cannot say."""


def make_estargz(layer: Layer, store: LocalStore, level: int | None = None) -> tuple[Descriptor, DiffID]:
    """The layer as an eStargz blob of the store, with the annotations that its readers need, and the diff ID of what it
    inflates to. The same layer gives the same bytes. Raises NoEStargz, TarInvalid, DiskFull."""
    ingest = store.ingest(f"estargz-{os.urandom(16).hex()}")
    try:
        writing = _Writing(ingest, Compressor("gzip", level))
        with TarReader(open_tar(layer), writing.put) as reader:
            writing.take(reader)
        toc = writing.finish()
        desc = ingest.commit(mt.OCI_LAYER_GZIP)
    except BaseException:
        ingest.discard()
        raise
    finally:
        ingest.close()
    notes = {TOC_DIGEST: toc, UNCOMPRESSED_SIZE: str(writing.size)}
    return replace(desc, annotations=notes), DiffID("sha256", writing.tar.hexdigest())


class _Writing:
    """A blob on its way: members out, the table beside them."""

    def __init__(self, ingest: Ingest, compressor: Compressor) -> None:
        self._ingest, self._compressor = ingest, compressor
        self._member: Any = None
        self._entries: list[dict[str, Any]] = []
        self.tar = hashlib.sha256()  # of what the blob inflates to
        self.size = 0  # of that, in bytes

    def put(self, data: bytes) -> None:
        """Bytes into the member that is open, or into a new one."""
        if self._member is None:
            self._member = self._compressor.begin()
        self.tar.update(data)
        self.size += len(data)
        self._ingest.write(self._member.compress(data))

    def _cut(self) -> int:
        """End the member; where the next one begins."""
        if self._member is not None:
            self._ingest.write(self._member.flush())
            self._member = None
        return self._ingest.offset

    def take(self, reader: TarReader) -> None:
        """The whole archive."""
        for header in reader.entries():
            entry = _entry(header)
            self._entries.append(entry)
            if header.type != "file":
                continue
            whole, done = hashlib.sha256(), 0
            while done < header.size:
                size = min(_CHUNK, header.size - done)
                entry["offset"] = self._cut()
                if done:
                    entry["chunkOffset"] = done
                if done + size < header.size:
                    entry["chunkSize"] = size
                entry["chunkDigest"] = f"sha256:{self._chunk(reader, size, whole)}"
                done += size
                if done < header.size:
                    entry = {"name": entry["name"], "type": "chunk"}
                    self._entries.append(entry)
            first = next(e for e in reversed(self._entries) if e["type"] == "reg")
            first["digest"] = f"sha256:{whole.hexdigest()}"

    def _chunk(self, reader: TarReader, size: int, whole: Any) -> str:
        hashed = hashlib.sha256()
        while size:
            data = reader.content(min(size, _PIECE))
            hashed.update(data)
            whole.update(data)
            self.put(data)
            size -= len(data)
        return hashed.hexdigest()

    def finish(self) -> str:
        """The table and the footer; the digest of the table."""
        at = self._cut()
        body = json.dumps({"version": 1, "entries": self._entries}, indent="\t", ensure_ascii=False).encode()
        builder = TarBuilder(_EstargzSink(self))
        builder.add(Entry(path=TOC_NAME, mode=0o444, size=len(body)), body)
        builder.finish()
        self._cut()
        self._ingest.write(footer(at))
        return f"sha256:{hashlib.sha256(body).hexdigest()}"


class _EstargzSink:
    def __init__(self, writing: _Writing) -> None:
        self._writing = writing

    def write(self, data: bytes | memoryview) -> None:
        self._writing.put(bytes(data))


def footer(toc_offset: int) -> bytes:
    """An empty gzip member, always of 51 bytes, that says in its extra field where the table's member begins."""
    field = b"%016xSTARGZ" % toc_offset
    extra = b"SG" + struct.pack("<H", len(field)) + field
    return (
        b"\x1f\x8b\x08\x04\0\0\0\0\0\xff"
        + struct.pack("<H", len(extra))
        + extra
        + b"\1\0\0\xff\xff"
        + bytes(8)
    )


def _entry(header: Header) -> dict[str, Any]:
    name = _text(header.name)
    if name.strip("./") == TOC_NAME:
        raise NoEStargz(f"the layer has a file {TOC_NAME}, which is the name of an eStargz's own table")
    found: dict[str, Any] = {"name": name, "type": _TYPES.get(header.type, header.type)}
    seconds = header.seconds + (header.nanoseconds >= 500_000_000)
    link = _text(header.link) if header.type in ("symlink", "hardlink") else ""
    values: dict[str, Any] = {
        "size": header.size,
        "modtime": rfc3339(seconds) if seconds and _FIRST <= seconds <= _LAST else "",
        "linkName": link,
        "mode": header.mode,
        "uid": header.uid,
        "gid": header.gid,
        "devMajor": header.major,
        "devMinor": header.minor,
        "xattrs": {_text(k): base64.b64encode(v).decode() for k, v in (header.xattrs or {}).items()},
    }
    return {**found, **{key: value for key, value in values.items() if value}}


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NoEStargz(
            f"the name {raw!r} is not UTF-8, and an eStargz's table is JSON", hint="compression=gzip or zstd"
        ) from error
