"""The one database under a root: names, images, layers, step records, leases, containers, volumes, networks.

SQLite in WAL mode: many processes read while one writes, no server, and a kill at any moment leaves either the
old or the new state. Every change of state is one transaction (`write`), which is durable when it ends. Rooms own
their SQL; the tables stand together in `schema`, so that one version number covers them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Corrupt, Unavailable

# In WAL mode: each commit syncs the log, or the next one that does, and checkpoints.
_SYNCED, _LATER = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
VERSION = 2  # of the schema: as many as there are rungs (`schema.RUNGS`)


class StoreDamaged(Corrupt):
    """The database cannot be read."""


class StoreBusy(Unavailable):
    """Another process holds the database for too long, or it cannot be written."""


class _Connection(sqlite3.Connection):
    """Closed when nobody has it any more: its thread ended, or its database was forgotten."""

    def __del__(self) -> None:
        try:
            self.close()
        except sqlite3.ProgrammingError:  # it could not be opened
            pass


def connect(path: Path, *, cached_statements: int = 128) -> sqlite3.Connection:
    """A connection in autocommit mode that waits a minute for others, and closes when nobody has it any more. It is for
    one thread at a time."""
    return sqlite3.connect(
        path,
        timeout=60,
        isolation_level=None,
        factory=_Connection,
        check_same_thread=False,
        cached_statements=cached_statements,
    )


class Database:
    """Connections to ``boxwright.db``, one a thread. Opening creates what is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        # A connection must not cross a fork: its locks belong to the parent.
        if connection is not None and self._local.pid == os.getpid():
            return connection
        with _translated(self.path):
            connection = connect(self.path)
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                from boxwright.content.migrations import climb
                from boxwright.content.schema import RUNGS

                climb(connection, self.path, RUNGS)
            connection.execute(_SYNCED)
            connection.execute("PRAGMA foreign_keys=ON")
        self._local.connection, self._local.pid = connection, os.getpid()
        return connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs; each statement sees one committed state."""
        with _translated(self.path):
            yield self._connect()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, begun at once so that what it reads stays true until it commits. Nests.

        When it has ended, a power cut does not undo it, unless it is not `durable`: for what nobody was told of, or
        what ends with its process anyway. The next durable one takes it along."""
        with _translated(self.path):
            connection = self._connect()
            if connection.in_transaction:
                assert self._local.durable or not durable, "a durable transaction within one that is not"
                yield connection
                return
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
                if not durable:
                    connection.execute(_SYNCED)

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
            self._local.connection = None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "disk is full" in text or "disk I/O" in text:
            from boxwright.content.local import DiskFull

            raise DiskFull(
                f"cannot write {path}: {text}",
                hint="free some space (boxwright system prune), or choose another --root",
            ) from error
        if "locked" in text:
            raise StoreBusy(
                f"cannot write {path}: {text}", hint="wait for the other command to end"
            ) from error
        raise StoreBusy(
            f"cannot use {path}: {text}",
            hint="check the permissions of the directory, or choose another with --root",
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(
            f"{path} is damaged: {error}", hint="move the root aside, or restore the file from a backup"
        ) from error
