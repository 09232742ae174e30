"""Blobs in files: they never change. The catalog beside them (`store.catalog`) says which repository holds which.

Several worker processes share one storage and keep nothing of their own, so any request may go to any of them.

    STORAGE/registry.db              the catalog (SQLite)
    STORAGE/blobs/sha256/ab/<hex>    verified content, which no process opens for writing
    STORAGE/uploads/<id>             bytes on their way in
    STORAGE/trash/                   what the collector took away

All of it is the server's own (0700, 0600): what a client may read is for the registry to say.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from boxwright.files import locks, syscalls
from boxwright.files.disk import DiskError, DiskFull, DiskReadOnly, disk_error
from boxwright.files.locks import Lock
from boxwright.registry.server.errors import (
    BlobUnknown,
    DigestWrong,
    NoSpace,
    RegistryError,
    StorageFailing,
    UploadInvalid,
    UploadUnknown,
)
from boxwright.spec.digest import Digest

_UPLOAD_FILE = re.compile(r"[0-9a-f]{32}\Z")
_WRITEBACK = 8 << 20  # bytes after which the disk is told to begin
_RESERVE = 128 << 20  # bytes of disk that an upload may hold without having brought them
_ROOM = 64 << 20  # bytes of disk that uploads leave, or a sixteenth of it
_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1


class UploadWriter(Protocol):
    """Held from the first byte of a request to its end, so that what was hashed is what is stored."""

    def append(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write at the offset; bytes beyond it from an interrupted request are overwritten."""
        ...

    def expect(self, size: int) -> None:
        """The file is said to become this long. It may come otherwise."""
        ...

    def truncate(self, size: int) -> None:
        """Give up what is beyond."""
        ...

    def sync(self) -> None:
        """Make durable what was written."""
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

    def check_room(self) -> None:
        """Before anything is begun. Raises NoSpace when nothing more can be brought."""
        ...

    def writer(self, upload: str) -> UploadWriter:
        """The one writer of an upload; it may outlast several appends. Raises UploadInvalid while there is another."""
        ...

    def digest_of(self, upload: str, size: int, algorithm: str) -> str:
        """Hash the bytes that arrived so far (hex)."""
        ...

    def publish(self, upload: str, digest: Digest, size: int) -> None:
        """Make an upload of this size, whose digest was checked, a blob too, durably; idempotent. Raises
        UploadUnknown when it was discarded meanwhile."""
        ...

    def ensure(self, upload: str, digest: Digest, size: int) -> None:
        """The blob is still there, or is made again: said within the catalog's transaction, after `publish`."""
        ...

    def discard(self, upload: str) -> None:
        """Forget an upload."""
        ...

    def delete(self, digest: Digest) -> int:
        """Remove a blob; returns the bytes freed. Fast: said within a transaction."""
        ...

    def sweep(self) -> None:
        """Finish what `delete` began."""
        ...

    def uploaded(self, upload: str) -> int:
        """Bytes of an upload so far, with those of a request under way; 0 when there is none."""
        ...

    def uploads(self) -> Iterator[tuple[str, float]]:
        """Every upload that has bytes, with the time of its last change."""
        ...

    def blobs(self) -> Iterator[tuple[Digest, int, float]]:
        """Every stored blob with its size and time (unix seconds)."""
        ...


class FileUpload:
    """An open upload file, locked against other requests and other workers."""

    def __init__(self, path: Path) -> None:
        try:
            self._lock = Lock.at(locks.REGISTRY_UPLOAD, path, wait=False)
        except BlockingIOError as error:
            raise UploadInvalid("another request is writing this blob upload") from error
        except OSError as error:
            raise _space(error) from error
        self._fd = self._lock.fd
        self._expected = self._reserved = 0
        self._end = (
            self._sent
        ) = -1  # where the file ends, and up to where the disk is at it; -1 = nothing was written

    def expect(self, size: int) -> None:
        self._expected = size

    def append(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        try:
            view = memoryview(data)
            if self._sent < 0:
                self._open(offset)
            if offset + len(view) > self._reserved:
                self._reserve()
            self._leave_room(len(view))
            while view:
                count = os.pwrite(self._fd, view, offset)
                offset += count
                view = view[count:]
            self._end = offset
        except OSError as error:
            raise _space(error) from error
        if offset - self._sent >= _WRITEBACK:
            # The disk works while more arrives; the sync at the end then finds little to do. A failure shows there.
            syscalls.function("sync_file_range")(
                self._fd, self._sent, offset - self._sent, _SYNC_FILE_RANGE_WRITE
            )
            self._sent = offset

    def _open(self, offset: int) -> None:
        """Before the first byte. An upload that was published is a blob's other name: it never changes again."""
        if os.fstat(self._fd).st_nlink > 1:
            raise UploadInvalid("this blob upload is complete; begin another one")
        self._sent = self._reserved = offset

    def _leave_room(self, more: int) -> None:
        """The last of a disk is for the catalog: without it no client could delete anything."""
        if not _room(os.fstatvfs(self._fd), more):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _reserve(self) -> None:
        """Blocks in one stretch for what was announced, a part at a time: the client may lie."""
        length = min(self._expected - self._reserved, _RESERVE)
        if length < _WRITEBACK:
            return
        if (
            syscalls.function("fallocate")(self._fd, _FALLOC_FL_KEEP_SIZE, self._reserved, length)
            & 0xFFFFFFFF
        ):
            code = syscalls.last_error()
            if code in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(code, os.strerror(code))
            self._expected = 0  # a file system that cannot
            return
        self._reserved += length

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._reserved = 0

    def sync(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise _space(error) from error

    def close(self) -> None:
        if self._reserved > self._end >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, self._end)  # gives reserved blocks back
        self._lock.close()


class FileBlobs:
    """Blobs on a local (or shared) file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("blobs", "blobs/sha256", "blobs/sha512", "uploads", "trash"):
            own_directory(root / name)

    def _blob(self, digest: Digest) -> Path:
        return Path(f"{self.root}/blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}")

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

    def check_room(self) -> None:
        if not _room(os.statvfs(self.root), 0):
            raise no_space()

    def writer(self, upload: str) -> FileUpload:
        return FileUpload(self._upload(upload))

    def uploaded(self, upload: str) -> int:
        """Bytes of an upload so far."""
        try:
            return os.stat(self._upload(upload)).st_size
        except FileNotFoundError:
            return 0

    def open_either(self, upload: str, digest: Digest) -> int:
        """A descriptor of the upload, or of the blob that it became: the same file. Raises BlobUnknown."""
        for path in (self._upload(upload), self._blob(digest)):
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        raise BlobUnknown(f"blob {digest} is not here any more")

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
                there = os.fstat(fd).st_size
                if there < size:  # another request cancelled it: what would be stored is not what was checked
                    raise UploadUnknown("the blob upload was cancelled meanwhile")
                if there > size:
                    os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)
            self._link(source, target)
            for folder in (target.parent, target.parent.parent):
                directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
        except FileNotFoundError as error:
            raise UploadUnknown("the blob upload was cancelled meanwhile") from error
        except OSError as error:
            raise _space(error) from error

    def _link(self, source: Path, target: Path) -> None:
        """A second name rather than another one: until the catalog knows the blob, a collector may take it away,
        and then it is made again from the upload."""
        own_directory(target.parent)
        part = source.with_name(source.name + ".link")
        part.unlink(missing_ok=True)
        os.link(source, part)
        os.rename(part, target)
        part.unlink(missing_ok=True)  # renaming one name of a file to another does nothing

    def ensure(self, upload: str, digest: Digest, size: int) -> None:
        if self.size(digest) != size:
            self.publish(upload, digest, size)

    def discard(self, upload: str) -> None:
        self._upload(upload).unlink(missing_ok=True)

    def remove_upload_file(self, name: str) -> None:
        """One that `uploads` named."""
        (self.root / "uploads" / name).unlink(missing_ok=True)

    def delete(self, digest: Digest) -> int:
        path = self._blob(digest)
        try:
            size = path.stat().st_size
            os.rename(
                path, self.root / "trash" / uuid.uuid4().hex
            )  # freeing a large file's blocks takes long
        except FileNotFoundError:
            return 0
        return size

    def sweep(self) -> None:
        with os.scandir(self.root / "trash") as entries:
            for entry in entries:
                Path(entry.path).unlink(missing_ok=True)

    def uploads(self) -> Iterator[tuple[str, float]]:
        for entry in list(os.scandir(self.root / "uploads")):
            try:
                yield entry.name, entry.stat().st_mtime
            except FileNotFoundError:
                continue

    def blobs(self) -> Iterator[tuple[Digest, int, float]]:
        for algorithm in ("sha256", "sha512"):
            for shard in sorted((self.root / "blobs" / algorithm).iterdir()):
                for entry in list(os.scandir(shard)):
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    yield Digest(algorithm, entry.name), stat.st_size, stat.st_ctime

    def verify(self, digest: Digest) -> None:
        """Read a blob and compare. Raises DigestWrong."""
        with open(self._blob(digest), "rb", buffering=0) as file:
            if hashlib.file_digest(file, digest.algorithm).hexdigest() != digest.hex:
                raise DigestWrong(f"stored blob {digest} has other bytes")


def own_directory(path: Path) -> None:
    """A directory of the storage, made when it is new. What older versions left open to others is closed; a storage
    that was not made here (a mount, a directory with other things in it) is left as it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    keep_private(path)


def keep_private(path: Path) -> None:
    """Closed to all but the owner. What is not ours, or cannot be changed, stays."""
    with suppress(OSError):
        mode = stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode)
        if mode & 0o077:
            os.chmod(path, mode & 0o700)


@contextmanager
def try_exclusive_lock(path: Path) -> Iterator[bool]:
    """An exclusive lock, tried once: of all workers one gets True and keeps it until the end of the block, or its
    own."""
    try:
        lock = Lock.at(locks.REGISTRY_TASK, path, wait=False)
    except BlockingIOError:
        yield False
        return
    with lock:
        yield True


def _room(disk: os.statvfs_result, more: int) -> bool:
    return disk.f_bavail * disk.f_frsize >= more + min(_ROOM, disk.f_blocks * disk.f_frsize // 16)


def _space(error: OSError) -> Exception:
    told = disk_error("the registry's storage", error.errno or 0)
    return storage_error(told) if told is not None else error


def storage_error(error: DiskError) -> RegistryError:
    """A disk's trouble as clients are told of it: without a path of the server's."""
    if isinstance(error, DiskFull):
        return no_space()
    what = "is mounted read-only" if isinstance(error, DiskReadOnly) else "is on a disk that fails"
    return StorageFailing(f"the registry's storage {what}", hint=error.hint)


def no_space() -> NoSpace:
    """A full disk, likewise."""
    return NoSpace("the registry's storage is full", hint="free some space, or run garbage collection")
