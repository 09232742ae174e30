"""Every lock between processes, and the one order in which they are waited for.

A lock is a file, or a directory, that a process holds with flock(2) for as long as a descriptor is open: it ends with
its process however that ends. Each has a rank; `ORDER` has them all. A thread that has one waits only for those
after it, so that no two processes can wait for each other; an assertion holds the program to it. What does not wait
(`wait=False`) may be tried at any time.

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import errno
import fcntl
import os
from _thread import _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class Rank:
    """A kind of lock. `files` says where its files are, `guards` what happens once at a time. One that `nests` is also
    waited for by a thread that has another of its kind."""

    __slots__ = ("files", "guards", "nests", "number")

    def __init__(self, files: str, guards: str, *, nests: bool = False) -> None:
        self.files, self.guards, self.nests = files, guards, nests
        self.number = -1

    def __repr__(self) -> str:
        return f"the lock {self.files}"


STEP = Rank("locks/<key>", "a build step: two builds of one do its work once")
CACHE_MOUNT = Rank(
    "cache/mounts/<id>/lock",
    "a `RUN --mount=type=cache`, as its `sharing` says; a step takes all of its own, sorted by path",
    nests=True,
)
CONTAINER = Rank(
    "containers/<id>/lock",
    "changes of a container's state; then perhaps of one that it joins, which joins nothing that waits",
    nests=True,
)
VOLUME = Rank(
    "volumes/<name>/lock",
    "what a volume is mounted from: shared by its users, exclusive to unmount it; and volumes/<name> itself, which an "
    "import has and no other waits for",
)
INGEST = Rank("ingest/<key>", "the writer of a download; never waited for")
UPLOAD = Rank("ingest/upload-<target>", "the sender of a blob to a registry; never waited for")
NEW_LAYER = Rank("layers/.tmp-<key>", "the writer of a layer; never waited for")
STORE = Rank(
    "store.lock", "shared by those who publish files and rows together, exclusive for the collector's sweep"
)
MOUNTS = Rank("mounts/lock", "mounting a layer, or taking its mount away")
UNPACK = Rank("mounts/unpack.lock", "unpacking a layer")
NETWORK = Rank("network.lock", "bridges and their rules")
JANITOR = Rank("network.lock.<bridge>", "the process that waits to take a bridge down; never waited for")
NAMES = Rank("<runtime directory>/dns-<root>.lock", "the name server's entries")
FOLDER = Rank(
    "<directory>",
    "reading, changing and writing a small file in a directory that is locked itself: an OCI layout's index.json, "
    "Docker's config.json and contexts, manifest lists, builders, a registry's users",
)
INDEX = Rank("index.lock", "writing `index.json`")
DATABASE = Rank("boxwright.db", "one writing transaction; SQLite's own lock")
JOURNAL = Rank("events/lock", "turning the journal of events; never waited for")
REGISTRY_CATALOG = Rank("<registry storage>/registry.db", "the same of the registry's catalog")
REGISTRY_SCRATCH = Rank(
    "<registry storage>/{metrics,tmp}/<key>",
    "a server that counts; a build, or a rehearsal of the collector; never waited for",
)
REGISTRY_UPLOAD = Rank(
    "<registry storage>/uploads/<id>", "the request that writes an upload; never waited for"
)
REGISTRY_TASK = Rank("<registry storage>/<task>.lock", "the worker that has a task; never waited for")

ORDER = (
    REGISTRY_SCRATCH,
    REGISTRY_TASK,
    REGISTRY_UPLOAD,
    STEP,
    CACHE_MOUNT,
    CONTAINER,
    VOLUME,
    INGEST,
    UPLOAD,
    NEW_LAYER,
    STORE,
    MOUNTS,
    UNPACK,
    NETWORK,
    JANITOR,
    NAMES,
    FOLDER,
    INDEX,
    DATABASE,
    REGISTRY_CATALOG,
    JOURNAL,
)
for _number, _rank in enumerate(ORDER):
    _rank.number = _number


_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class _Thread(_local):
    """What the running thread holds."""

    def __init__(self) -> None:
        self.held: list[Held] = []


_thread = _Thread()


class Held:
    """That the running thread has a lock of this rank, until `release`. Making one asserts the order if it `waits`; for
    locks that are no files of ours, the database's."""

    __slots__ = ("_among", "rank", "shared")

    def __init__(self, rank: Rank, *, shared: bool = False, waits: bool = True) -> None:
        self.rank, self.shared, self._among = rank, shared, _thread.held
        assert not waits or all(_before(other, self) for other in self._among), (
            f"{rank} is waited for with {self._among} held"
        )
        self._among.append(self)

    def __repr__(self) -> str:
        return repr(self.rank)

    def release(self) -> None:
        """Idempotent; any thread may."""
        if self in self._among:
            self._among.remove(self)


def _before(held: Held, wanted: Held) -> bool:
    """Whether a thread that has the one may wait for the other."""
    if held.rank is wanted.rank:
        return held.rank.nests or (held.shared and wanted.shared)
    return held.rank.number < wanted.rank.number


class Lock:
    """A lock that is held until `close`, or the end of the block. `fd` is the file's descriptor."""

    __slots__ = ("_held", "fd")

    def __init__(
        self, rank: Rank, fd: int, *, shared: bool = False, wait: bool = True, polled: bool = False
    ) -> None:
        """Lock what is open, which is then the lock's to close, also on failure. Without `wait`, raises BlockingIOError
        when another has it; `polled` says that the caller will try until it gets it, which is as good as waiting."""
        self.fd = fd
        try:
            self._held = Held(rank, shared=shared, waits=wait or polled)
        except BaseException:
            os.close(fd)
            raise
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BaseException:
            self.close()
            raise

    @classmethod
    def at(
        cls, rank: Rank, path: str | Path, *, shared: bool = False, wait: bool = True, polled: bool = False
    ) -> Self:
        """Lock a file, which is made when it is missing. Raises OSError, and BlockingIOError without `wait`."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return cls(rank, fd, shared=shared, wait=wait, polled=polled)

    @classmethod
    def on(cls, directory: str | Path) -> Self:
        """Lock a directory by itself, so that no file is left in one that is a user's. Where the file system locks none
        (NFS), nothing is waited for. Raises OSError."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return cls(FOLDER, fd)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        lock = cls.__new__(cls)
        lock.fd, lock._held = -1, Held(FOLDER)
        return lock

    def is_at(self, path: str | Path) -> bool:
        """Whether the locked file still has this name: its last holder may have removed it between open and lock."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(path))
        except FileNotFoundError:
            return False

    def turn(self) -> bool:
        """Make a shared lock exclusive, without waiting; when another has it: False, and only `close` may follow."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give it back; idempotent."""
        self._held.release()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
