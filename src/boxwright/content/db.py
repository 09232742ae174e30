"""Databases: the one under a root (names, images, layers, step records, leases, containers, volumes, networks), and
with another `Schema` the registry's catalog.

SQLite in WAL mode: many processes read while one writes, no server, and a kill at any moment leaves either the
old or the new state. Every change of state is one transaction (`write`), which is durable when it ends. Each
package owns its SQL; a root's tables stand together in `schema`, so that one version number covers them.
"""

from __future__ import annotations

import errno
import os
import time
from _thread import _local
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright.content import reserve
from boxwright.errors import Corrupt, Unavailable
from boxwright.files import locks
from boxwright.files.locks import Held, Rank
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from boxwright.content.migrations import Rung
    from boxwright.files.disk import DiskError
else:
    import _sqlite3 as sqlite3  # `sqlite3` imports `datetime` to convert what nothing here stores

# In WAL mode: each commit syncs the log, or the next one that does, and checkpoints.
_SYNCED, _LATER = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
_FRESH = 0.2  # seconds for which a copy that was made to be read is looked at
_IDLE = 4  # connections that are kept for other threads
VERSION = 3  # of a root's schema: as many as there are rungs (`schema.RUNGS`)


class StoreDamaged(Corrupt):
    """The database cannot be read."""


class StoreBusy(Unavailable):
    """Another process holds the database for too long, or it cannot be written."""


def _store_rungs() -> Sequence[Rung]:
    from boxwright.content.schema import RUNGS

    return RUNGS


@dataclass(frozen=True)
class Schema:
    """What a kind of database has in it, and how it is used."""

    version: int  # as many as there are rungs
    rungs: Callable[[], Sequence[Rung]]  # asked for when a file is older
    rank: Rank  # of its writing transaction
    copied: bool = False  # small enough to be read from a copy in memory where it cannot be opened
    cached_statements: int = 128  # for each connection


STORE = Schema(VERSION, _store_rungs, locks.DATABASE, copied=True)


class _Connection(sqlite3.Connection):
    """Closed when nothing refers to it any more: its thread ended, or its database was forgotten."""

    def __del__(self) -> None:
        try:
            self.close()
        except sqlite3.ProgrammingError:  # it could not be opened
            pass


def _open(path: Path, schema: Schema) -> sqlite3.Connection:
    """A connection in autocommit mode, for one thread at a time, that waits a minute for others."""
    connection = sqlite3.connect(
        path,
        timeout=60,
        isolation_level=None,
        factory=_Connection,
        check_same_thread=False,
        cached_statements=schema.cached_statements,
    )
    if connection.execute("PRAGMA user_version").fetchone()[0] != schema.version:
        from boxwright.content.migrations import climb

        climb(connection, path, schema.rungs())
    connection.execute(_SYNCED)
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _open_copy(path: Path, schema: Schema) -> sqlite3.Connection:
    """To read where SQLite cannot even open its log: on a read-only file system, on a full disk. A private copy, that
    ends with its connection."""
    import shutil
    import tempfile

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="boxwright-", dir=memory) as directory:
        copy = Path(directory) / path.name
        for _ in range(10):
            before = _stamps(path)
            for end in ("", "-wal"):
                if os.path.exists(f"{path}{end}"):
                    shutil.copyfile(f"{path}{end}", f"{copy}{end}")
            if _stamps(path) == before:  # else another process wrote meanwhile: the two may not fit together
                break
        connection = _open(copy, schema)
        connection.execute("PRAGMA query_only=ON")
        return connection


def _stamps(path: Path) -> list[tuple[int, int]]:
    found = []
    for end in ("", "-wal"):
        try:
            info = os.stat(f"{path}{end}")
        except FileNotFoundError:
            continue
        found.append((info.st_size, info.st_mtime_ns))
    return found


class Database:
    """Connections to a file, one a thread. Opening one creates what is missing."""

    def __init__(self, path: Path, schema: Schema = STORE) -> None:
        self.path, self._schema = path, schema
        self._local = _local()
        self._idle: list[tuple[int, sqlite3.Connection]] = []  # of threads that ended, with the process

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, for SELECTs of a caller that translates sqlite3's errors itself; each statement
        sees one committed state. Raises StoreBusy, StoreDamaged, DiskError, and what `climb` raises."""
        return self._opened() or self._open()

    def _opened(self, *, to_write: bool = False) -> sqlite3.Connection | None:
        """This thread's, while it is of use."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        # A connection must not cross a fork: its locks belong to the parent.
        if connection is None or self._local.pid != os.getpid():
            return None
        copied = self._local.copied
        # A copy is of its moment, and nothing is written there.
        return connection if not copied or (not to_write and time.monotonic() < copied + _FRESH) else None

    def _open(self, *, to_write: bool = False) -> sqlite3.Connection:
        connection: sqlite3.Connection
        with _translated(self.path):
            copied = self._schema.copied and not to_write and reserve.full(self.path)
            if not copied:
                if self._schema.copied:
                    self._make_room()
                try:
                    connection = self._left() or _open(self.path, self._schema)
                except sqlite3.OperationalError:
                    if not self._schema.copied or not self.read_only:
                        raise
                    copied = True
                except UnicodeDecodeError as error:  # a message with names of the schema, which are no text
                    raise _damaged(self.path, error) from error
            if copied:
                connection = _open_copy(self.path, self._schema)
        self._local.connection, self._local.pid = connection, os.getpid()
        self._local.copied = time.monotonic() if copied else 0.0
        return connection

    def _make_room(self) -> None:
        root = self.path.parent
        if reserve.full(root):
            reserve.spend(root)
            if reserve.full(root) and (told := disk_trouble(self.path, sqlite3.SQLITE_FULL)) is not None:
                raise told

    @property
    def read_only(self) -> bool:
        """Whether its file system is mounted read-only: it can be read, and no process changes anything."""
        from boxwright.files.disk import on_read_only

        return on_read_only(self.path)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """`connection`, with the errors of its statements translated, too."""
        with _translated(self.path):
            yield self.connection()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, begun at once so that what it reads stays true until it commits. Nests.

        When it has ended, a power cut does not undo it, unless it is not `durable`: for what no client was told of, or
        what ends with its process anyway. The next durable one takes it along."""
        with _translated(self.path):
            connection = self._opened(to_write=True) or self._open(to_write=True)
            durable = durable and not getattr(self._local, "later", False)
            if connection.in_transaction:
                assert self._local.durable or not durable, "a durable transaction within one that is not"
                yield connection
                return
            held = Held(self._schema.rank)
            if not durable:
                connection.execute(_LATER)
            self._local.durable = durable
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            finally:
                held.release()
                if not durable:
                    connection.execute(_SYNCED)

    @contextmanager
    def synced_later(self) -> Iterator[None]:
        """What this thread writes within it is durable with the next durable transaction, which must follow."""
        before = getattr(self._local, "later", False)
        self._local.later = True
        try:
            yield
        finally:
            self._local.later = before

    def _left(self) -> sqlite3.Connection | None:
        """A connection that another thread of this process left."""
        try:
            pid, connection = self._idle.pop()
        except IndexError:
            return None
        return connection if pid == os.getpid() else None

    def leave(self) -> None:
        """This thread is done: its connection is another's, who need not open one."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.copied or connection.in_transaction or len(self._idle) >= _IDLE:
            self.close()
            return
        del self._local.connection
        self._idle.append((self._local.pid, connection))

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
            del self._local.connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if not hasattr(error, "sqlite_errorcode"):  # not SQLite says so, but its module: a text that is none
            raise _damaged(path, error) from error
        code = error.sqlite_errorcode & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(
                f"cannot write {path}: {error}", hint="wait for the other command to end"
            ) from error
        if (told := disk_trouble(path, code)) is not None:
            raise told from error
        raise StoreBusy(
            f"cannot use {path}: {error}",
            hint="check the permissions of the directory, or choose another with --root",
        ) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # a statement of ours is wrong, the file is not
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> StoreDamaged:
    return StoreDamaged(
        f"{path} is damaged: {error}", hint="move its directory aside, or restore the file from a backup"
    )


def disk_trouble(path: Path, code: int) -> DiskError | None:
    """What is wrong with the disk when SQLite fails so; None when it is something else."""
    from boxwright.files.disk import disk_error, on_read_only

    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) and on_read_only(path):
        return disk_error(str(path), errno.EROFS)
    if code == sqlite3.SQLITE_IOERR:  # also said of shared memory for which there was no room
        return disk_error(str(path), errno.ENOSPC if reserve.full(path) else errno.EIO)
    return disk_error(str(path), errno.ENOSPC) if code == sqlite3.SQLITE_FULL else None
