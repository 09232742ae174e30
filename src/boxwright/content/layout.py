"""An OCI image layout directory as both ends of a copy (image-spec image-layout.md).

    DIR/oci-layout   DIR/index.json   DIR/blobs/<algorithm>/<hex>

Names are the annotation ``org.opencontainers.image.ref.name``. Blobs arrive under a temporary name in their
directory and are renamed when they are whole.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from boxwright.content.local import BlobMissing
from boxwright.content.verify import CHUNK, ContentMismatch, VerifiedReader
from boxwright.errors import Invalid, NotFound
from boxwright.files.disk import disk_errors, make_directories, whole_file, write_atomic
from boxwright.files.locks import Lock
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, parse
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

NAME = "org.opencontainers.image.ref.name"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'


# A name by which cosign attaches to a digest; compiled at its first use.
_ATTACHED = r"sha(?:256|512)-[0-9a-f]{64,128}(?:\.\w+)?\Z"


def attaches(name: str) -> bool:
    """Whether it is a name by which cosign attaches to a digest."""
    return re.match(_ATTACHED, name) is not None


class LayoutInvalid(Invalid):
    """The directory is no OCI layout."""


class NoSuchName(NotFound):
    """The layout has no image of this name."""


def _opened(path: Path) -> BinaryIO:
    """A regular file; nothing waits for the other end of a FIFO. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    file = open(fd, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file")
    return file


class Layout:
    """Source and Sink over a directory; with `create`, what is missing is made."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if create:
            try:
                make_directories(path / "blobs/sha256")
            except OSError as error:
                raise LayoutInvalid(f"cannot make an OCI layout in {path}: {error.strerror}") from error
            with Lock.on(path):
                if not (path / "oci-layout").exists():
                    write_atomic(path / "oci-layout", _VERSION)
                if not (path / "index.json").exists():
                    self._write([])
        elif not (path / "index.json").is_file():
            raise LayoutInvalid(f"{path} is no OCI layout: it has no index.json")

    def entries(self) -> list[Descriptor]:
        """What index.json lists. Raises LayoutInvalid."""
        try:
            raw = (self.path / "index.json").read_bytes()
            body = json.loads(raw)
            return [Descriptor.from_json(e) for e in body["manifests"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError, Invalid) as error:
            raise LayoutInvalid(f"{self.path}/index.json cannot be read: {error}") from error

    # --- source --------------------------------------------------------------------------------

    def resolve(self, name: str) -> Descriptor:
        """See content.store.Resolver; '' means the only image. Raises NoSuchName."""
        entries = [e for e in self.entries() if e.media_type in mt.INDEXES | mt.MANIFESTS]
        if name:
            found = [e for e in entries if e.annotations.get(NAME) == name or str(e.digest) == name]
        else:
            found = list(
                {
                    e.digest: e
                    for e in entries
                    if not attaches(e.annotations.get(NAME, "")) and self._subject(e) is None
                }.values()
            )
        if len({e.digest for e in found}) == 1:
            return Descriptor(found[0].media_type, found[0].digest, found[0].size)
        if not entries:
            raise NoSuchName(f"{self.path} has no images")
        names = ", ".join(sorted(e.annotations.get(NAME, str(e.digest)) for e in entries)) or "nothing"
        raise NoSuchName(
            f"{self.path} has no image {name!r}" if name else f"{self.path} has several images; say which",
            hint=f"it has {names}",
        )

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher. Raises BlobMissing."""
        try:
            raw = _opened(self.blob_path(desc.digest))
        except OSError as error:
            raise BlobMissing(f"the layout {self.path} lacks {desc.digest}") from error
        return io.BufferedReader(VerifiedReader(raw, desc), CHUNK)

    def has(self, desc: Descriptor) -> bool:
        """See content.store.Partial."""
        return self.exists(desc)

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """See content.store.Referring: entries of index.json whose manifests have this subject."""
        found = []
        for entry in self.entries():
            subject = self._subject(entry)
            if subject is not None and subject.digest == digest:
                found.append(Descriptor(entry.media_type, entry.digest, entry.size))
        return found

    def tags(self) -> list[str]:
        """Every name in index.json."""
        return sorted({name for e in self.entries() if (name := e.annotations.get(NAME))})

    def first_tags(self) -> tuple[Sequence[str], bool]:
        """See content.store.AttachedByTag."""
        return self.tags(), True

    def beside(self, tag: str) -> str:
        """See content.store.AttachedByTag."""
        return tag

    def _subject(self, entry: Descriptor) -> Descriptor | None:
        if entry.media_type not in mt.INDEXES | mt.MANIFESTS or entry.size > MAX_SIZE:
            return None
        with self.open(entry) as body:
            return parse(body.read(), entry.media_type).subject

    # --- sink ----------------------------------------------------------------------------------

    def exists(self, desc: Descriptor) -> bool:
        """See content.store.Pusher."""
        try:
            return self.blob_path(desc.digest).stat().st_size == desc.size
        except OSError:
            return False

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """See content.store.Pusher. Raises ContentMismatch, DiskFull."""
        final = self.blob_path(desc.digest)
        make_directories(final.parent)
        hashed, size = desc.digest.hasher(), 0
        with whole_file(final) as file:
            while data := body.read(CHUNK):
                hashed.update(data)
                size += len(data)
                with disk_errors(str(final)):
                    file.write(data)
            if hashed.hexdigest() != desc.digest.hex or size != desc.size:
                raise ContentMismatch(f"received bytes are not {desc.digest}")
        if (
            desc.media_type in mt.INDEXES | mt.MANIFESTS
            and parse(final.read_bytes(), desc.media_type).subject is not None
        ):
            self._enter(
                Descriptor(desc.media_type, desc.digest, desc.size)
            )  # or no reader would find what refers

    def tag(self, name: str, desc: Descriptor) -> None:
        """See content.store.Tagger; '' lists the image without a name. Annotations and platform of the descriptor are
        listed, too."""
        annotations = {**desc.annotations, **({NAME: name} if name else {})}
        self._enter(replace(desc, annotations=annotations))

    # --- upkeep --------------------------------------------------------------------------------

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob is, or would be."""
        return self.path / "blobs" / digest.algorithm / digest.hex

    def blobs(self) -> list[Digest]:
        """Every whole blob. Files of other names are none."""
        found = []
        for path in sorted(self.path.glob("blobs/sha*/*")):
            try:
                found.append(Digest.parse(f"{path.parent.name}:{path.name}"))
            except Invalid:
                continue
        return found

    def keep_only(self, wanted: Callable[[Descriptor], bool]) -> None:
        """Leave out of index.json what is not wanted."""
        with Lock.on(self.path):
            self._write([entry for entry in self.entries() if wanted(entry)])

    # --- parts ---------------------------------------------------------------------------------

    def _enter(self, fresh: Descriptor) -> None:
        name = fresh.annotations.get(NAME)
        with Lock.on(self.path):
            entries = self.entries()
            if name:
                entries = [e for e in entries if e.annotations.get(NAME) != name]
            elif any(e.digest == fresh.digest for e in entries):
                return
            self._write([*(e for e in entries if e.digest != fresh.digest or e.annotations.get(NAME)), fresh])

    def _write(self, entries: Sequence[Descriptor]) -> None:
        body = {"schemaVersion": 2, "mediaType": mt.OCI_INDEX, "manifests": [e.to_json() for e in entries]}
        write_atomic(self.path / "index.json", json.dumps(body, separators=(",", ":")).encode())
