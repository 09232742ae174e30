"""The content store on disk: blobs in an OCI layout, written once.

ROOT/oci-layout, index.json     so that other tools can read ROOT as a layout
ROOT/blobs/<algorithm>/<hex>    immutable, read-only files
ROOT/ingest/<key>               bytes on their way in; kept on failure so that a pull can resume
ROOT/store.lock                 shared by committers, exclusive for the collector's sweep
ROOT/index.lock                 held while index.json is written; nothing else is waited for meanwhile
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from boxwright.content.verify import CHUNK, ContentMismatch, VerifiedReader, read_verified
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.files import locks
from boxwright.files.disk import disk_errors, make_directories, write_atomic, write_behind
from boxwright.files.locks import Lock, Rank
from boxwright.files.places import Places
from boxwright.files.whole import fsync_dir
from boxwright.spec import hashes
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Self

_KEY = r"[A-Za-z0-9._+-]{1,200}\Z"  # compiled at its first use


class BlobMissing(NotFound):
    """The store has no such blob."""


class IngestBusy(Conflict):
    """Another process is writing the same ingest."""


class Ingest:
    """A blob on its way in. Leaving the `with` block without `commit` keeps the bytes for a later resume,
    unless `discard` was called. `offset` is how many bytes are there already, hashed."""

    def __init__(self, store: LocalStore, key: str, algorithm: str) -> None:
        self._store = store
        self._path = store.places.ingest(key)
        self._algorithm = algorithm
        while True:
            with disk_errors(str(self._path)):
                try:
                    self._lock = Lock.at(locks.INGEST, self._path, wait=False)
                except BlockingIOError as error:
                    raise IngestBusy(f"another process is writing {key}") from error
            self._fd = self._lock.fd
            if os.fstat(self._fd).st_nlink:
                break
            self._lock.close()  # the collector deleted it between the two
        self._hash = hashes.new(algorithm)
        self.offset = 0
        buffer = bytearray(CHUNK)
        while count := os.readv(self._fd, [buffer]):
            self._hash.update(memoryview(buffer)[:count])
            self.offset += count

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append and hash. Raises DiskFull."""
        view = memoryview(data)
        with disk_errors(str(self._path)):
            while view:
                count = os.write(self._fd, view)
                self._hash.update(view[:count])
                write_behind(self._fd, self.offset, self.offset + count)
                self.offset += count
                view = view[count:]
        return len(data)

    @property
    def digest(self) -> Digest:
        """Of the bytes so far."""
        return Digest(self._algorithm, self._hash.hexdigest())

    def reset(self) -> None:
        """Forget the bytes so far (the peer cannot resume)."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashes.new(self._algorithm)
        self.offset = 0

    def commit(self, media_type: str, expected: Digest | None = None) -> Descriptor:
        """Check, sync, publish under the digest. Raises ContentMismatch (the bytes are thrown away)."""
        digest = Digest(self._algorithm, self._hash.hexdigest())
        if expected is not None and expected != digest:
            self.discard()
            raise ContentMismatch(f"received bytes have digest {digest}, wanted {expected}")
        with disk_errors(str(self._path)):
            os.fsync(self._fd)
        final = self._store.path(digest)
        with self._store.committing(), disk_errors(str(final)):
            make_directories(final.parent)
            self._path.rename(final)
            # Not before the rename: a part that was left read-only by a crash could not be resumed without root.
            os.fchmod(self._fd, 0o444)
            fsync_dir(final.parent)
        return Descriptor(media_type, digest, self.offset)

    def discard(self) -> None:
        """Throw the bytes away."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop writing; what is not committed or discarded stays for a resume."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalStore:
    """Blobs under a root. Opening creates the directories."""

    def __init__(self, root: Path) -> None:
        self.root, self.places = root, Places(root)
        if not self.places.layout.exists():
            self._create()

    def _create(self) -> None:
        try:
            with disk_errors(str(self.root)):
                make_directories(self.root)
                places = self.places
                for path in (places.blobs_of("sha256"), places.ingests, places.layers, places.workspaces):
                    path.mkdir(parents=True, exist_ok=True)
                fsync_dir(places.blobs)
                self.root.chmod(0o710)  # as Docker's: set-uid programs in layers are not for the host's users
                if not places.index.exists():
                    write_atomic(places.index, b'{"schemaVersion":2,"manifests":[]}')
                write_atomic(places.layout, b'{"imageLayoutVersion":"1.0.0"}')
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise Invalid(
                f"cannot use {self.root} as the store: {error.strerror}",
                hint="choose a directory of yours with --root or BOXWRIGHT_ROOT",
            ) from error

    def path(self, digest: Digest) -> Path:
        """Where a blob is or would be."""
        return self.places.blob(digest.algorithm, digest.hex)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Held by a writer that publishes files and rows that belong together, or looks whether a file is here after
        it got a lease on it: without, it may see one that the collector condemned before the lease and removes after
        the look."""
        with self._locked(locks.STORE, shared=True):
            yield

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        """Held by the collector while it takes files away; no writer publishes meanwhile."""
        with self._locked(locks.STORE):
            yield

    def _locked(self, rank: Rank, *, shared: bool = False) -> Lock:
        path = self.root / rank.files
        try:
            return Lock.at(rank, path, shared=shared)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            # Where nothing was ever locked, there is no holder to wait for.
            there = path if path.exists() else self.root
            return Lock(rank, os.open(there, os.O_RDONLY | os.O_CLOEXEC), shared=shared)

    def size(self, digest: Digest) -> int | None:
        """Bytes of a stored blob; None when it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, desc: Descriptor) -> BinaryIO:
        """A verified stream. Raises BlobMissing."""
        return io.BufferedReader(VerifiedReader(self.open_raw(desc.digest), desc), CHUNK)

    def open_raw(self, digest: Digest) -> BinaryIO:
        """The file itself, unverified (it was verified when it was written). Raises BlobMissing."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError as error:
            raise BlobMissing(f"blob {digest} is not in the store") from error

    def read(self, digest: Digest, *, limit: int = MAX_SIZE) -> bytes:
        """All of a small blob, verified. Raises BlobMissing, ContentMismatch."""
        raw = self.open_raw(digest)
        return read_verified(raw, Descriptor("blob", digest, os.fstat(raw.fileno()).st_size), limit=limit)

    def put(self, data: bytes, media_type: str, *, algorithm: str = "sha256") -> Descriptor:
        """Store a small blob; idempotent."""
        digest = Digest.of(data, algorithm)
        with (
            self.committing()
        ):  # before the look: what the collector is about to take away does not count as here
            if self.size(digest) != len(data):
                path = self.path(digest)
                make_directories(path.parent)
                write_atomic(path, data, mode=0o444)
        return Descriptor(media_type, digest, len(data))

    def ingest(self, key: str, *, algorithm: str = "sha256") -> Ingest:
        """Open (or resume) a blob's way in; `key` is a name such as ``sha256-<hex>``. Raises IngestBusy."""
        if not re.match(_KEY, key):
            raise Invalid(f"invalid ingest key {key!r}")
        return Ingest(self, key, algorithm)

    def blobs(self) -> Iterator[Digest]:
        """Every stored blob."""
        for algorithm in ("sha256", "sha512"):
            try:
                names = os.listdir(self.places.blobs_of(algorithm))
            except FileNotFoundError:
                continue
            for name in names:
                if not name.startswith("."):
                    yield Digest(algorithm, name)

    def export_index(self, named: Callable[[], Iterable[Descriptor]]) -> None:
        """Rewrite index.json, by which other tools read ROOT as an OCI layout. `named` is asked under a lock of its
        own, so that of two writers the later one knows more; nothing is written when nothing changed."""
        path = self.places.index
        with self._locked(locks.INDEX):
            body = {
                "schemaVersion": 2,
                "mediaType": mt.OCI_INDEX,
                "manifests": [m.to_json() for m in named()],
            }
            data = json.dumps(body, separators=(",", ":")).encode()
            try:
                if path.read_bytes() == data:
                    return
            except FileNotFoundError:
                pass
            write_atomic(path, data, at_once=False)  # made of rows, which are durable

    def expose(self, digest: Digest, file: Path) -> None:
        """Show a file of the store that is this blob already under its digest, too: one copy with two names."""
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except FileExistsError:
            pass
        except OSError as error:
            # A layout may lack blobs: where links are refused, ROOT is read by us alone.
            if error.errno not in (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
