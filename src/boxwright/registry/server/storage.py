"""Where a registry keeps things: blobs that never change, and a catalog in which every change is a transaction.

Several worker processes share one storage and keep nothing of their own, so any request may go to any of them.

    STORAGE/registry.db              the catalog (SQLite)
    STORAGE/blobs/sha256/ab/<hex>    verified content, read-only
    STORAGE/uploads/<id>             bytes on their way in
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from boxwright.registry.server.wire import DigestWrong, NoSpace, UploadInvalid, UploadUnknown
from boxwright.spec.digest import Digest

_UPLOAD_FILE = re.compile(r"[0-9a-f]{32}\Z")


class UploadWriter(Protocol):
    """Held from the first byte of a request to its end, so that what was hashed is what is stored."""

    def append(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write at the offset; bytes beyond it from an interrupted request are overwritten."""
        ...

    def close(self) -> None: ...


class BlobStorage(Protocol):
    """Immutable blobs and growing uploads. An object store can implement this: an upload is a multipart one."""

    def size(self, digest: Digest) -> int | None:
        """Bytes of a stored blob; None when it is not here."""
        ...

    def path(self, digest: Digest) -> Path | None:
        """A local file to send from the kernel; None when the storage has none."""
        ...

    def writer(self, upload: str) -> UploadWriter:
        """The one writer of an upload; it may outlast several appends. Raises UploadInvalid while there is another."""
        ...

    def digest_of(self, upload: str, size: int, algorithm: str) -> str:
        """Hash what is there (hex)."""
        ...

    def publish(self, upload: str, digest: Digest, size: int) -> None:
        """Turn an upload of this size, whose digest was checked, into a blob, durably; idempotent."""
        ...

    def discard(self, upload: str) -> None:
        """Forget an upload."""
        ...

    def delete(self, digest: Digest) -> int:
        """Remove a blob; returns the bytes freed."""
        ...

    def blobs(self) -> Iterator[tuple[Digest, int, float]]:
        """Every stored blob with its size and time (unix seconds)."""
        ...


class FileUpload:
    """An open upload file, locked against other requests and other workers."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _space(error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise UploadInvalid("another request is writing this blob upload") from error

    def append(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        try:
            view = memoryview(data)
            while view:
                count = os.pwrite(self._fd, view, offset)
                offset += count
                view = view[count:]
        except OSError as error:
            raise _space(error) from error

    def close(self) -> None:
        os.close(self._fd)


class FileBlobs:
    """Blobs on a local (or shared) file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("blobs/sha256", "blobs/sha512", "uploads"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def _blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def _upload(self, upload: str) -> Path:
        if not _UPLOAD_FILE.match(upload):
            raise UploadUnknown("blob upload unknown to registry")
        return self.root / "uploads" / upload

    def size(self, digest: Digest) -> int | None:
        try:
            return os.stat(self._blob(digest)).st_size
        except FileNotFoundError:
            return None

    def path(self, digest: Digest) -> Path | None:
        return self._blob(digest)

    def writer(self, upload: str) -> FileUpload:
        return FileUpload(self._upload(upload))

    def digest_of(self, upload: str, size: int, algorithm: str) -> str:
        state = hashlib.new(algorithm)
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        with open(self._upload(upload), "rb", buffering=0) as file:
            while size > 0 and (count := file.readinto(view[: min(size, len(buffer))])):
                state.update(view[:count])
                size -= count
        return state.hexdigest()

    def publish(self, upload: str, digest: Digest, size: int) -> None:
        source, target = self._upload(upload), self._blob(digest)
        try:
            fd = os.open(source, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
                os.fchmod(fd, 0o444)
            finally:
                os.close(fd)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(source, target)
            for folder in (target.parent, target.parent.parent):
                directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
        except OSError as error:
            raise _space(error) from error

    def discard(self, upload: str) -> None:
        self._upload(upload).unlink(missing_ok=True)

    def delete(self, digest: Digest) -> int:
        path = self._blob(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def blobs(self) -> Iterator[tuple[Digest, int, float]]:
        for algorithm in ("sha256", "sha512"):
            for shard in sorted((self.root / "blobs" / algorithm).iterdir()):
                for entry in os.scandir(shard):
                    stat = entry.stat()
                    yield Digest(algorithm, entry.name), stat.st_size, stat.st_mtime

    def verify(self, digest: Digest) -> None:
        """Read a blob and compare. Raises DigestWrong."""
        with open(self._blob(digest), "rb", buffering=0) as file:
            if hashlib.file_digest(file, digest.algorithm).hexdigest() != digest.hex:
                raise DigestWrong(f"stored blob {digest} has other bytes")


def _space(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("the registry's storage is full", hint="free some space, or run garbage collection")
    return error
