"""The collector: unreferenced blobs, stale uploads and what retention rules let go, while pushes go on.

Why no push can lose anything. Bytes are taken away only within a write transaction of the catalog that saw no
repository hold them; the process that records that one does (`RegistryCatalog.add_blob`) makes sure of the bytes
within such a transaction too, and can still make them again from its upload. A repository lets go of a blob only when
no manifest of it points there and no client was told of the blob within the grace; a manifest is stored only if, in its
transaction, the repository holds everything that it needs. The transactions are short: a hundred digests each.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from boxwright.errors import Conflict
from boxwright.registry.server.auth.policy import glob
from boxwright.registry.server.config import RegistryConfig, Retention
from boxwright.registry.server.errors import UploadInvalid
from boxwright.registry.server.store.blobs import FileBlobs, FileUpload, try_exclusive_lock
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.scratch import scratch
from boxwright.spec.digest import Digest

_BATCH = 100
# What is kept: by its tags, and what was pushed, pulled or untagged lately. Indexes keep their children, subjects what
# refers to them.
_DEAD = """
WITH RECURSIVE live (digest) AS (
    SELECT digest FROM tags WHERE repository = ?1
    UNION SELECT digest FROM manifests WHERE repository = ?1 AND max(pushed, last_pulled, untagged) >= ?2
    UNION SELECT l.target FROM live JOIN links l ON l.repository = ?1 AND l.manifest = live.digest
    UNION SELECT m.digest FROM live JOIN manifests m ON m.repository = ?1 AND m.subject = live.digest)
SELECT digest FROM manifests WHERE repository = ?1 AND digest NOT IN (SELECT digest FROM live)
"""
_LOOSE = (
    "FROM blobs WHERE repository = ?1 AND added < ?2 AND NOT EXISTS (SELECT 1 FROM links l WHERE "
    "l.repository = ?1 AND l.target = blobs.digest)"
)


class AlreadyCollecting(Conflict):
    """Another process is at it."""


@dataclass
class Collected:
    """What went, or in a rehearsal would go."""

    tags: list[str] = field(default_factory=list)  # repository:tag
    manifests: list[str] = field(default_factory=list)  # repository@digest
    links: int = 0  # blobs that a repository let go of
    blobs: list[str] = field(default_factory=list)
    bytes: int = 0
    uploads: int = 0


@contextmanager
def exclusive_lock(storage: Path) -> Iterator[None]:
    """One collector a storage. Raises AlreadyCollecting."""
    with try_exclusive_lock(storage / "housekeeping.lock") as locked:
        if not locked:
            raise AlreadyCollecting(
                "another process is collecting garbage in this storage", hint="try again when it is done"
            )
        yield


class RegistryCollector:
    """One run. `deleted` is told of every tag and manifest that retention removes, within the transaction:
    (connection, repository, tag, digest), one of the two last being ''."""

    def __init__(
        self,
        config: RegistryConfig,
        catalog: RegistryCatalog,
        blobs: FileBlobs,
        *,
        deleted: Callable[[sqlite3.Connection, str, str, str], None] | None = None,
    ) -> None:
        self._retention, self._rules = config.retention, config.housekeeping
        self._catalog, self._blobs, self._deleted = catalog, blobs, deleted
        self.done = Collected()

    def run(self) -> Collected:
        """Everything, in the order in which one thing frees the next. Raises AlreadyCollecting."""
        with exclusive_lock(self._blobs.root):
            for rule in self._retention:
                self._retain(rule)
            self._let_go()
            self._stale_uploads()
            self._sweep()
        return self.done

    # --- retention -------------------------------------------------------------------------------

    def _retain(self, rule: Retention) -> None:
        fitting = glob(rule.repository)
        for id, name in (
            self._catalog.connection().execute("SELECT id, name FROM repositories ORDER BY name").fetchall()
        ):
            if fitting.match(name):
                self._old_tags(rule, id, name)
                if rule.untagged_after:
                    self._untagged(id, name, time.time() - rule.untagged_after)

    def _old_tags(self, rule: Retention, id: int, name: str) -> None:
        rows = (
            self._catalog.connection()
            .execute(
                "SELECT t.name, t.updated, max(t.updated, coalesce(m.last_pulled, 0)) FROM tags t LEFT "
                "JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest "
                "WHERE t.repository = ? ORDER BY t.updated DESC, t.name DESC",
                (id,),
            )
            .fetchall()
        )
        rows = [row for row in rows if any(glob(pattern).match(row[0]) for pattern in rule.tags)]
        going = set(rows[rule.keep_tags :]) if rule.keep_tags else set()
        if rule.not_pulled_for:
            going |= {row for row in rows if row[2] < time.time() - rule.not_pulled_for}
        for tag, updated, _ in sorted(going):
            with self._catalog.write() as sql:
                # Pushed again meanwhile: then it is new, and stays.
                if not sql.execute(
                    "DELETE FROM tags WHERE repository = ? AND name = ? AND updated = ?",
                    (id, tag, updated),
                ).rowcount:
                    continue
                if self._deleted:
                    self._deleted(sql, name, tag, "")
            self.done.tags.append(f"{name}:{tag}")

    def _untagged(self, id: int, name: str, before: float) -> None:
        digests = [d for (d,) in self._catalog.connection().execute(_DEAD, (id, before))]
        for start in range(0, len(digests), _BATCH):
            batch = digests[start : start + _BATCH]
            with self._catalog.write() as sql:
                still = {d for (d,) in sql.execute(_DEAD, (id, before))}
                batch = [d for d in batch if d in still]
                for digest in batch:
                    self._catalog.drop_manifest(sql, id, digest)
                    if self._deleted:
                        self._deleted(sql, name, "", digest)
            self.done.manifests += [f"{name}@{d}" for d in batch]

    # --- blobs -----------------------------------------------------------------------------------

    def _let_go(self) -> None:
        before = time.time() - self._rules.grace
        for (id,) in self._catalog.connection().execute("SELECT id FROM repositories").fetchall():
            found = (
                self._catalog.connection().execute("SELECT count(*) " + _LOOSE, (id, before)).fetchone()[0]
            )
            if found:
                with self._catalog.write() as sql:
                    found = sql.execute("DELETE " + _LOOSE, (id, before)).rowcount
            self.done.links += found

    def _sweep(self) -> None:
        batch: list[tuple[str, int]] = []
        for digest, size, changed in self._blobs.blobs():
            # Correct without a grace; it spares pushes under way the work of making their blobs again.
            if changed < time.time() - min(self._rules.grace, 600) and not _held(
                self._catalog.connection(), str(digest)
            ):
                batch.append((str(digest), size))
            if len(batch) >= _BATCH:
                self._remove(batch)
                batch = []
        self._remove(batch)
        self._blobs.sweep()

    def _remove(self, batch: list[tuple[str, int]]) -> None:
        if not batch:
            return
        with self._catalog.write() as sql:
            gone = [(d, self._blobs.delete(Digest.parse(d))) for d, _ in batch if not _held(sql, d)]
        self.done.blobs += [d for d, _ in gone]
        self.done.bytes += sum(s for _, s in gone)

    # --- uploads ---------------------------------------------------------------------------------

    def _stale_uploads(self) -> None:
        before = time.time() - self._rules.uploads
        stale = [
            u
            for (u,) in self._catalog.connection().execute(
                "SELECT id FROM uploads WHERE updated < ?", (before,)
            )
        ]
        for upload in stale:
            try:
                writer = self._blobs.writer(upload)
            except UploadInvalid:
                continue  # bytes are coming in right now
            with closing(writer), self._catalog.write() as sql:
                if not sql.execute(
                    "DELETE FROM uploads WHERE id = ? AND updated < ?", (upload, before)
                ).rowcount:
                    continue
                self._blobs.discard(upload)
            self.done.uploads += 1
        known = {u for (u,) in self._catalog.connection().execute("SELECT id FROM uploads")}
        for upload, changed in list(self._blobs.uploads()):
            if upload.partition(".")[0] not in known and changed < time.time() - 86_400:
                self.done.uploads += upload not in stale
                self._blobs.remove_upload_file(upload)


def _held(sql: sqlite3.Connection, digest: str) -> bool:
    return sql.execute("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", (digest,)).fetchone() is not None


# --- rehearsal ---------------------------------------------------------------------------------------


def rehearse(config: RegistryConfig, catalog: RegistryCatalog, blobs: FileBlobs) -> Collected:
    """What a collection would take away: it is made, on a copy of the catalog, and no file is touched. Raises
    AlreadyCollecting."""
    with scratch(config.storage / "tmp") as folder:
        copy = folder / "registry.db"
        with closing(sqlite3.connect(copy)) as target:
            catalog.connection().backup(target)
        rehearsal = RegistryCatalog(copy)
        try:
            return RegistryCollector(config, rehearsal, _Untouched(blobs.root)).run()
        finally:
            rehearsal.close()


class _Untouched(FileBlobs):
    """The blobs as they are; what would change them says what it would have done."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def writer(self, upload: str) -> FileUpload:
        return FileUpload(Path(os.devnull))

    def discard(self, upload: str) -> None:
        return None

    def remove_upload_file(self, name: str) -> None:
        return None

    def delete(self, digest: Digest) -> int:
        return self.size(digest) or 0

    def sweep(self) -> None:
        return None
