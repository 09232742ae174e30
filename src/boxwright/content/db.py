"""The one database under a root: names, images, layers, step records, leases, containers, volumes, networks.

SQLite in WAL mode: many processes read while one writes, no server, and a kill at any moment leaves either the
old or the new state. Every change of state is one transaction (`write`). Rooms own their SQL; the tables stand
here together so that one version number covers them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright.errors import Corrupt, Unavailable

VERSION = 2

_SCHEMA = """
-- An image: a manifest or index that somebody named, built, loaded or pulled. A root of the collector.
CREATE TABLE images (
    target      TEXT PRIMARY KEY,   -- digest of the manifest or index
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,   -- bytes of the manifest or index itself
    image_id    TEXT NOT NULL,      -- config digest of the platform shown by default
    manifest    TEXT NOT NULL,      -- manifest digest of that platform
    platform    TEXT NOT NULL,
    created     TEXT NOT NULL,      -- RFC 3339, from the config; '' when it says nothing
    bytes       INTEGER NOT NULL,   -- content of its layers, as Docker's SIZE counts it
    labels      TEXT NOT NULL,      -- JSON object
    parent      TEXT NOT NULL DEFAULT '',  -- image_id that it was built or committed from, '' when unknown
    added       REAL NOT NULL,      -- unix seconds
    last_used   REAL NOT NULL
);
CREATE INDEX images_by_id ON images (image_id);
-- Names: normalised references (with tag, or with digest for RepoDigests) -> images.
CREATE TABLE names (
    name     TEXT PRIMARY KEY,
    target   TEXT NOT NULL REFERENCES images (target),
    updated  REAL NOT NULL
);
CREATE INDEX names_by_target ON names (target);
-- Layers on disk under layers/<algorithm>-<hex of the diff ID>/.
CREATE TABLE layers (
    diff_id     TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,      -- 'tar' or 'tree'
    tar_size    INTEGER NOT NULL,   -- bytes of the canonical tar stream
    bytes       INTEGER NOT NULL,   -- content of regular files
    entries     INTEGER NOT NULL,
    added       REAL NOT NULL,
    last_used   REAL NOT NULL
);
-- Compressed forms of layers that are known: diff ID <-> blob.
CREATE TABLE layer_blobs (
    diff_id     TEXT NOT NULL,
    digest      TEXT NOT NULL,      -- of the compressed blob
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    compressor  TEXT NOT NULL,      -- 'gzip:isal-1', 'zstd:3', '' when it came from elsewhere
    origin      TEXT NOT NULL DEFAULT '',  -- repository it can be fetched from again
    PRIMARY KEY (diff_id, digest)
);
CREATE INDEX layer_blobs_by_digest ON layer_blobs (digest);
-- Step records of builds (build.cache).
CREATE TABLE steps (
    key         TEXT PRIMARY KEY,   -- digest of the step's cache key
    lineage     TEXT NOT NULL,      -- what a later build compares itself with when it asks why (target, position)
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    ingredients TEXT NOT NULL,      -- JSON: each part of the key on its own
    layers      TEXT NOT NULL,      -- diff IDs of the resulting tree, bottom first, separated by blanks
    result      TEXT NOT NULL,      -- JSON: whatever else the step yielded
    bytes       INTEGER NOT NULL,
    seconds     REAL NOT NULL,
    created     REAL NOT NULL,
    last_used   REAL NOT NULL,
    uses        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX steps_by_lineage ON steps (lineage, created);
-- Leases: what is in flight. A lease dies with its owner (a process) or at its expiry.
CREATE TABLE leases (
    id       TEXT PRIMARY KEY,
    owner    TEXT NOT NULL,         -- boot id, pid and start time of the owning process
    purpose  TEXT NOT NULL,
    expires  REAL NOT NULL          -- unix seconds; 0 = lives as long as the owner
);
CREATE TABLE lease_refs (
    lease  TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
    kind   TEXT NOT NULL,           -- 'blob', 'layer', 'workspace'
    ref    TEXT NOT NULL,           -- digest, diff ID, or a directory name under work/
    PRIMARY KEY (lease, kind, ref)
);
CREATE TABLE containers (
    id       TEXT PRIMARY KEY,      -- 64 hex digits
    name     TEXT NOT NULL UNIQUE,
    image    TEXT NOT NULL,         -- target digest; a root of the collector
    layers   TEXT NOT NULL,         -- diff IDs, bottom first, separated by blanks; roots too
    created  REAL NOT NULL,
    record   TEXT NOT NULL          -- JSON: everything that does not change after creation
);
-- What refers to content here (signatures, bills of materials): it lives as long as its subject.
CREATE TABLE attached (
    subject     TEXT NOT NULL,      -- digest of a manifest or index
    name        TEXT NOT NULL,      -- the tag by which it is attached ('sha256-<hex>.sig'), '' when the manifest itself says its subject
    target      TEXT NOT NULL,      -- digest of the manifest that refers
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    PRIMARY KEY (subject, name, target)
);
CREATE TABLE volumes (
    name       TEXT PRIMARY KEY,
    created    REAL NOT NULL,
    anonymous  INTEGER NOT NULL,
    record     TEXT NOT NULL
);
CREATE TABLE networks (
    name     TEXT PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    record   TEXT NOT NULL
);
CREATE TABLE addresses (
    network    TEXT NOT NULL,
    address    TEXT NOT NULL,
    container  TEXT NOT NULL,
    PRIMARY KEY (network, address)
);
"""


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
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                self._create(connection, version)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
        self._local.connection, self._local.pid = connection, os.getpid()
        return connection

    def _create(self, connection: sqlite3.Connection, version: int) -> None:
        if version > VERSION:
            raise StoreDamaged(
                f"{self.path} was written by a newer Boxwright (schema {version}, this one knows {VERSION})",
                hint="use that version, or another --root",
            )
        to_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            there = connection.execute("PRAGMA user_version").fetchone()[0]
            for statement in _SCHEMA.split(";\n"):
                # Version 1 had everything but what is attached.
                if statement.strip() and (
                    there == 0 or (there == 1 and "CREATE TABLE attached" in statement)
                ):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs; each statement sees one committed state."""
        with _translated(self.path):
            yield self._connect()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, begun at once so that what it reads stays true until it commits. Nests."""
        with _translated(self.path):
            connection = self._connect()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
            self._local.connection = None


def to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new database to WAL. When several processes open it first, SQLite tells all but one that it is locked,
    without waiting as the connection's timeout says (its busy handler is not asked where that could deadlock)."""
    import time

    deadline = time.monotonic() + 60
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


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
