"""The catalog: repositories, manifests, tags, referrers, uploads, and which repository may read which blob.

SQLite now; a server database can take its place, since every method is one transaction and none keeps state
between calls. `synchronous=FULL`: what was acknowledged survives a power cut.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxwright.content import reserve
from boxwright.content.db import Database, Schema, StoreBusy
from boxwright.files import locks
from boxwright.files.disk import DiskError, disk_error
from boxwright.registry.server.errors import Busy, ManifestBlobUnknown, NameUnknown, UploadUnknown
from boxwright.registry.server.store.blobs import keep_private, no_space, storage_error
from boxwright.registry.server.store.schema import RUNGS

_SCHEMA = Schema(len(RUNGS), lambda: RUNGS, locks.REGISTRY_CATALOG, cached_statements=256)


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest in a repository."""

    digest: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload's state. `digest` is the hex digest of its first `size` bytes, or ''."""

    id: str
    repository: str
    algorithm: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """What is recorded of a manifest when it is put."""

    digest: str
    media_type: str
    content: bytes
    subject: str | None
    artifact_type: str
    annotations: dict[str, str]
    links: tuple[str, ...]
    needed: tuple[str, ...] = ()  # which of them must be in the repository


Also = Callable[
    [sqlite3.Connection], None
]  # what another part of the registry writes in the same transaction


def _nothing(sql: sqlite3.Connection) -> None:
    return None


class _Connections(Database):
    """Connections whose opening fails as clients are told of it."""

    def _open(self, *, to_write: bool = False) -> sqlite3.Connection:
        with _told():
            return super()._open(to_write=to_write)


class RegistryCatalog:
    """What a storage has in its database. `connection` is this thread's, for SELECTs of the modules beside this one and
    of those that have tables of their own."""

    def __init__(self, path: Path) -> None:
        if reserve.full(path.parent):
            raise no_space()
        _private(path)
        self._stamp = _shared_word(path.with_name(path.name + "-stamp"))
        self._data_version, self._recheck = 0, 0.0
        self.path, self._db = path, _Connections(path, _SCHEMA)
        self.connection, self.close = self._db.connection, self._db.close
        self.connection()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Raises Busy, NoSpace, StorageFailing."""
        with _told(), self._db.write() as connection:
            yield connection
        self._stamp[0] = time.time_ns() << 8 & 0xFFFFFFFFFFFFFFFF | secrets.randbits(8)

    def version(self) -> tuple[int, int]:
        """Changes with every commit of any process; for caches.

        A stamp in shared memory, which costs nothing to read and every writer sets to something new after its
        commit. Should a writer die in between, SQLite's own counter tells within half a second.
        """
        now = time.monotonic()
        if now > self._recheck:
            self._recheck = now + 0.5
            self._data_version = self.connection().execute("PRAGMA data_version").fetchone()[0]
        return self._stamp[0], self._data_version

    def counts(self) -> dict[str, int]:
        """How many repositories there are, and uploads under way. Raises sqlite3.Error, Busy, NoSpace,
        StorageFailing."""
        row = self.connection().execute(
            "SELECT (SELECT count(*) FROM repositories), (SELECT count(*) FROM uploads)"
        )
        return dict(zip(("repositories", "uploads"), row.fetchone()))

    # --- repositories ---------------------------------------------------------------------------

    def repository(self, name: str) -> int | None:
        """The repository's row, or None."""
        row = self.connection().execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _need(self, name: str) -> int:
        found = self.repository(name)
        if found is None:
            raise NameUnknown(f"repository {name} is not known to the registry", detail={"name": name})
        return found

    @staticmethod
    def make(sql: sqlite3.Connection, name: str) -> int:
        """The repository's row, made when it is new."""
        now = time.time()
        sql.execute(
            "INSERT OR IGNORE INTO repositories (name, created, updated) VALUES (?, ?, ?)", (name, now, now)
        )
        row: int = sql.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()[0]
        return row

    def repositories(self, *, after: str = "", limit: int | None = None) -> list[str]:
        """Names in order, from the one behind `after` on."""
        rows = self.connection().execute(
            "SELECT name FROM repositories WHERE name > ? ORDER BY name LIMIT ?",
            (after, -1 if limit is None else limit),
        )
        return [name for (name,) in rows]

    # --- blobs ----------------------------------------------------------------------------------

    def blob(self, repository: str, digest: str) -> int | None:
        """Size of a blob that this repository holds."""
        row = (
            self.connection()
            .execute(
                "SELECT b.size FROM blobs b JOIN repositories r ON r.id = b.repository WHERE b.digest = ? "
                "AND r.name = ?",
                (digest, repository),
            )
            .fetchone()
        )
        return row[0] if row else None

    def blob_holders(self, digest: str) -> list[str]:
        """Repositories that hold the blob."""
        rows = self.connection().execute(
            "SELECT r.name FROM blobs b JOIN repositories r ON r.id = b.repository WHERE b.digest = ? LIMIT 100",
            (digest,),
        )
        return [name for (name,) in rows]

    def add_blob(
        self,
        repository: str,
        digest: str,
        size: int,
        *,
        upload: str = "",
        present: Callable[[], object] = bool,
    ) -> None:
        """Record that the repository holds a stored blob; the upload that brought it ends.

        `present` runs within the transaction, where no collector can be at work: it makes sure of the bytes, or
        raises, and then nothing is recorded.
        """
        with self.write() as sql:
            present()
            row = self.make(sql, repository)
            sql.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", (digest, row, size, time.time()))
            if upload:
                sql.execute("DELETE FROM uploads WHERE id = ?", (upload,))

    def touch_blob(self, repository: str, digest: str, before: float) -> bool:
        """A client was told that the blob is here, and may rely on it: make it young again if it was added before
        that time. False when it is gone."""
        row = (
            self.connection()
            .execute(
                "SELECT b.added, b.repository FROM blobs b JOIN repositories r ON r.id = b.repository "
                "WHERE b.digest = ? AND r.name = ?",
                (digest, repository),
            )
            .fetchone()
        )
        if row is None or row[0] >= before:
            return row is not None
        with self.write() as sql:
            return (
                sql.execute(
                    "UPDATE blobs SET added = ? WHERE digest = ? AND repository = ?",
                    (time.time(), digest, row[1]),
                ).rowcount
                > 0
            )

    def remove_blob(self, repository: str, digest: str) -> bool:
        """The repository lets go of the blob; False when it did not hold it."""
        with self.write() as sql:
            return (
                sql.execute(
                    "DELETE FROM blobs WHERE digest = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                    (digest, repository),
                ).rowcount
                > 0
            )

    # --- uploads --------------------------------------------------------------------------------

    def start_upload(self, upload: str, repository: str, algorithm: str, empty_digest: str) -> None:
        now = time.time()
        with self.write() as sql:
            sql.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, 0, ?, ?, ?)",
                (upload, repository, algorithm, empty_digest, now, now),
            )

    def upload(self, upload: str, repository: str) -> UploadRow:
        """Raises UploadUnknown."""
        row = (
            self.connection()
            .execute(
                "SELECT id, repository, algorithm, size, digest FROM uploads WHERE id = ? AND repository = ?",
                (upload, repository),
            )
            .fetchone()
        )
        if row is None:
            raise UploadUnknown("blob upload unknown to registry", detail={"upload": upload})
        return UploadRow(*row)

    def advance_upload(self, upload: str, before: int, size: int, digest: str) -> None:
        """Raises UploadUnknown when the upload ended, or another request moved it meanwhile."""
        with self.write() as sql:
            if not sql.execute(
                "UPDATE uploads SET size = ?, digest = ?, updated = ? WHERE id = ? AND size = ?",
                (size, digest, time.time(), upload, before),
            ).rowcount:
                raise UploadUnknown(
                    "the blob upload ended, or another request continued it", detail={"upload": upload}
                )

    def end_upload(self, upload: str, repository: str) -> None:
        """Raises UploadUnknown."""
        with self.write() as sql:
            if not sql.execute(
                "DELETE FROM uploads WHERE id = ? AND repository = ?", (upload, repository)
            ).rowcount:
                raise UploadUnknown("blob upload unknown to registry", detail={"upload": upload})

    # --- manifests and tags ---------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """By tag or by digest."""
        if ":" in reference:
            query = (
                "SELECT m.digest, m.media_type, c.content FROM repositories r JOIN manifests m ON m.repository = r.id "
                "JOIN contents c ON c.digest = m.digest WHERE r.name = ? AND m.digest = ?"
            )
        else:
            query = (
                "SELECT m.digest, m.media_type, c.content FROM repositories r JOIN tags t ON t.repository = r.id "
                "JOIN manifests m ON m.repository = r.id AND m.digest = t.digest JOIN contents c ON "
                "c.digest = m.digest "
                "WHERE r.name = ? AND t.name = ?"
            )
        row = self.connection().execute(query, (repository, reference)).fetchone()
        return StoredManifest(*row) if row else None

    def has_manifest(self, repository: str, digest: str) -> bool:
        return (
            self.connection()
            .execute(
                "SELECT 1 FROM manifests m JOIN repositories r ON r.id = m.repository WHERE r.name = ? "
                "AND m.digest = ?",
                (repository, digest),
            )
            .fetchone()
            is not None
        )

    def put_manifest(
        self,
        repository: str,
        manifest: ManifestRow,
        tags: Sequence[str],
        *,
        also: Also = _nothing,
        expect: Callable[[str | None], None] | None = None,
    ) -> None:
        """Store the bytes, what they point at, the tags and what is written `also`: all or nothing. Raises
        ManifestBlobUnknown when a collection took what the manifest needs since it was examined, and what `expect`
        raises of the digest that the first tag had."""
        now = time.time()
        with self.write() as sql:
            row = self.make(sql, repository)
            if expect is not None:
                before = sql.execute(
                    "SELECT digest FROM tags WHERE repository = ? AND name = ?", (row, tags[0])
                ).fetchone()
                expect(before[0] if before else None)
            for digest in manifest.needed:
                if not sql.execute(
                    "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1 AND repository = ?2) OR EXISTS "
                    "(SELECT 1 FROM manifests WHERE repository = ?2 AND digest = ?1)",
                    (digest, row),
                ).fetchone()[0]:
                    raise ManifestBlobUnknown(
                        f"the manifest names {digest}, which is not in this repository any more",
                        detail=[{"digest": digest}],
                    )
            sql.execute("UPDATE repositories SET updated = ? WHERE id = ?", (now, row))
            sql.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (manifest.digest, manifest.content))
            sql.execute(
                "INSERT INTO manifests (repository, digest, media_type, size, subject, artifact_type, "
                "annotations, pushed) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET media_type = excluded.media_type, pushed = excluded.pushed",
                (
                    row,
                    manifest.digest,
                    manifest.media_type,
                    len(manifest.content),
                    manifest.subject,
                    manifest.artifact_type,
                    json.dumps(manifest.annotations),
                    now,
                ),
            )
            sql.executemany(
                "INSERT OR IGNORE INTO links VALUES (?, ?, ?)",
                [(row, manifest.digest, target) for target in manifest.links],
            )
            sql.executemany(
                "INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest, "
                "updated = excluded.updated",
                [(row, tag, manifest.digest, now) for tag in tags],
            )
            also(sql)

    def delete_manifest(self, repository: str, digest: str, *, also: Also = _nothing) -> bool:
        """Remove a manifest and every tag to it; False when it was not there."""
        with self.write() as sql:
            row = sql.execute("SELECT id FROM repositories WHERE name = ?", (repository,)).fetchone()
            gone = row is not None and self.drop_manifest(sql, row[0], digest)
            if gone:
                also(sql)
            return gone

    @staticmethod
    def drop_manifest(sql: sqlite3.Connection, repository: int, digest: str) -> bool:
        """The same within the caller's transaction."""
        if not sql.execute(
            "DELETE FROM manifests WHERE repository = ? AND digest = ?", (repository, digest)
        ).rowcount:
            return False
        sql.execute("DELETE FROM tags WHERE repository = ? AND digest = ?", (repository, digest))
        sql.execute("DELETE FROM links WHERE repository = ? AND manifest = ?", (repository, digest))
        sql.execute(
            "DELETE FROM contents WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM manifests WHERE digest = ?)",
            (digest, digest),
        )
        return True

    def count_pulls(self, pulls: Mapping[tuple[str, str], int]) -> None:
        """Add to the counters: (repository, digest) -> times."""
        now = time.time()
        with self.write() as sql:
            for (repository, digest), times in pulls.items():
                sql.execute(
                    "UPDATE repositories SET pulls = pulls + ?, last_pulled = ? WHERE name = ?",
                    (times, now, repository),
                )
                sql.execute(
                    "UPDATE manifests SET last_pulled = ? WHERE repository = (SELECT id FROM repositories "
                    "WHERE name = ?) AND digest = ?",
                    (now, repository, digest),
                )

    def delete_tag(self, repository: str, tag: str, *, also: Also = _nothing) -> bool:
        """False when it was not there."""
        with self.write() as sql:
            gone = (
                sql.execute(
                    "DELETE FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?) AND name = ?",
                    (repository, tag),
                ).rowcount
                > 0
            )
            if gone:
                also(sql)
            return gone

    def tags(self, repository: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Tags in ASCII order. Raises NameUnknown."""
        row = self._need(repository)
        rows = self.connection().execute(
            "SELECT name FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?",
            (row, after, -1 if limit is None else limit),
        )
        return [name for (name,) in rows]

    def referrers(
        self,
        repository: str,
        subject: str,
        *,
        artifact_type: str | None = None,
        after: str = "",
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject this is, in digest order."""
        row = self.repository(repository)
        if row is None:
            return []
        query = (
            "SELECT digest, media_type, size, artifact_type, annotations FROM manifests WHERE "
            "repository = ? AND subject = ? AND digest > ?"
        )
        arguments: list[object] = [row, subject, after]
        if artifact_type is not None:
            query += " AND artifact_type = ?"
            arguments.append(artifact_type)
        found = self.connection().execute(query + " ORDER BY digest LIMIT ?", [*arguments, limit])
        out = []
        for digest, media_type, size, kind, notes in found:
            entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": size}
            if kind:
                entry["artifactType"] = kind
            if notes != "{}":
                entry["annotations"] = json.loads(notes)
            out.append(entry)
        return out


def _private(path: Path) -> None:
    """The database holds secrets of webhooks. What SQLite adds to it later gets its mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        keep_private(path.with_name(name))


def _shared_word(path: Path) -> memoryview:
    """Eight bytes that all processes of this storage see."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Not a hole: writing to a mapped hole when the disk is full ends the process (SIGBUS).
        os.posix_fallocate(fd, 0, 8)
        return memoryview(mmap.mmap(fd, 8)).cast("Q")
    except OSError as error:
        told = disk_error(str(path), error.errno or 0)
        if told is None:
            raise
        raise storage_error(told) from error
    finally:
        os.close(fd)


@contextmanager
def _told() -> Iterator[None]:
    """Trouble of the database as clients are told of it: without a path of the server's."""
    try:
        yield
    except DiskError as error:
        raise storage_error(error) from error
    except StoreBusy as error:
        raise unusable(error.__cause__ or error) from error


def unusable(error: BaseException) -> Busy:
    """The catalog cannot be read or written now, for what SQLite says."""
    return Busy(f"the catalog cannot be used now: {error}", headers={"Retry-After": "1"})
