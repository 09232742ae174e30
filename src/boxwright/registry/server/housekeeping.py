"""The collector: unreferenced blobs, stale uploads and what retention rules let go, while pushes go on.

Why no push can lose anything. Bytes are taken away only within a write transaction of the catalog that saw no
repository hold them; whoever records that one does (`Catalog.add_blob`) makes sure of the bytes within such a
transaction too, and can still make them again from its upload. A repository lets go of a blob only when no manifest
of it points there and nobody was told of the blob within the grace; a manifest is stored only if, in its
transaction, the repository holds everything that it needs. The transactions are short: a hundred digests each.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from boxwright.errors import Conflict
from boxwright.registry.server.catalog import Catalog
from boxwright.registry.server.config import RegistryConfig, Retention
from boxwright.registry.server.policy import glob
from boxwright.registry.server.storage import FileBlobs, only_one
from boxwright.registry.server.wire import DigestWrong, UploadInvalid

_BATCH = 100
# What a repository's tags keep alive: indexes keep their children, subjects what refers to them.
_LIVE = """
WITH RECURSIVE live (digest) AS (
    SELECT digest FROM tags WHERE repository = ?1
    UNION SELECT l.target FROM live JOIN links l ON l.repository = ?1 AND l.manifest = live.digest
    UNION SELECT m.digest FROM live JOIN manifests m ON m.repository = ?1 AND m.subject = live.digest)
"""
_DEAD = (
    _LIVE
    + "SELECT m.digest FROM manifests m WHERE m.repository = ?1 AND max(m.pushed, m.last_pulled) < ?2 AND m.digest NOT IN (SELECT digest FROM live)"
)
_LOOSE = "FROM blobs WHERE repository = ?1 AND added < ?2 AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repository = ?1 AND l.target = blobs.digest)"


class AlreadyCollecting(Conflict):
    """Another process is at it."""


@dataclass
class Collected:
    """What went, or with `dry_run` would go."""

    tags: list[str] = field(default_factory=list)  # repository:tag
    manifests: list[str] = field(default_factory=list)  # repository@digest
    links: int = 0  # blobs that a repository let go of
    blobs: list[str] = field(default_factory=list)
    bytes: int = 0
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `fsck` found wrong."""

    what: str
    detail: str


@contextmanager
def alone(storage: Path) -> Iterator[None]:
    """One collector a storage. Raises AlreadyCollecting."""
    with only_one(storage / "housekeeping.lock") as mine:
        if not mine:
            raise AlreadyCollecting(
                "another process is collecting garbage in this storage", hint="try again when it is done"
            )
        yield


class Collector:
    """One run. `deleted` is told of every tag and manifest that retention removes, within the transaction:
    (connection, repository, tag, digest), one of the two last being ''."""

    def __init__(
        self,
        config: RegistryConfig,
        catalog: Catalog,
        blobs: FileBlobs,
        *,
        dry_run: bool = False,
        deleted: Callable[[sqlite3.Connection, str, str, str], None] | None = None,
    ) -> None:
        self._retention, self._rules = config.retention, config.housekeeping
        self._catalog, self._blobs, self._dry, self._deleted = catalog, blobs, dry_run, deleted
        self.done = Collected()

    def run(self) -> Collected:
        """Everything, in the order in which one thing frees the next. Raises AlreadyCollecting."""
        with alone(self._blobs.root):
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
                "SELECT t.name, t.updated, max(t.updated, coalesce(m.last_pulled, 0)) FROM tags t LEFT JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest "
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
            if not self._dry:
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
            if not self._dry:
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
            if found and not self._dry:
                with self._catalog.write() as sql:
                    found = sql.execute("DELETE " + _LOOSE, (id, before)).rowcount
            self.done.links += found

    def _sweep(self) -> None:
        batch: list[tuple[str, int]] = []
        for digest, size, changed in self._blobs.blobs():
            # Correct without a grace; it spares pushes under way the work of making their blobs again.
            if changed < time.time() - min(self._rules.grace, 600) and (
                self._dry or not self._held(self._catalog.connection(), str(digest))
            ):
                batch.append((str(digest), size))
            if len(batch) >= _BATCH:
                self._remove(batch)
                batch = []
        self._remove(batch)
        if not self._dry:
            self._blobs.sweep()

    def _held(self, sql: sqlite3.Connection, digest: str) -> bool:
        query = "SELECT 1 FROM blobs WHERE digest = ? LIMIT 1"
        if self._dry:  # links that would be let go count as gone
            query = "SELECT 1 FROM blobs b WHERE digest = ?1 AND (b.added >= ?2 OR EXISTS (SELECT 1 FROM links l WHERE l.repository = b.repository AND l.target = ?1)) LIMIT 1"
            return sql.execute(query, (digest, time.time() - self._rules.grace)).fetchone() is not None
        return sql.execute(query, (digest,)).fetchone() is not None

    def _remove(self, batch: list[tuple[str, int]]) -> None:
        from boxwright.spec.digest import Digest

        if self._dry:
            gone = [(d, s) for d, s in batch if not self._held(self._catalog.connection(), d)]
        elif batch:
            with self._catalog.write() as sql:
                gone = [(d, self._blobs.delete(Digest.parse(d))) for d, _ in batch if not self._held(sql, d)]
        else:
            gone = []
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
            if not self._dry:
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
                if not self._dry:
                    (self._blobs.root / "uploads" / upload).unlink(missing_ok=True)


# --- checking ----------------------------------------------------------------------------------------


def check(catalog: Catalog, blobs: FileBlobs, *, repair: bool = False) -> Iterator[Finding]:
    """Recompute every digest, and follow every link. With `repair`, broken bytes are taken away together with the
    claims of holding them, so that the next push brings them again."""
    from boxwright.spec.digest import Digest

    sql = catalog.connection()
    for (problem,) in sql.execute("PRAGMA quick_check"):
        if problem != "ok":
            yield Finding("catalog", problem)
    broken: list[str] = []
    for digest, _, _ in blobs.blobs():
        try:
            blobs.verify(digest)
        except DigestWrong as error:
            broken.append(str(digest))
            yield Finding(f"blob {digest}", str(error))
    for text, size in sql.execute("SELECT DISTINCT digest, size FROM blobs").fetchall():
        there = blobs.size(Digest.parse(text))
        if there != size and text not in broken:
            broken.append(text)
            yield Finding(
                f"blob {text}",
                "the file is missing" if there is None else f"the file has {there} bytes, not {size}",
            )
    for text, content in sql.execute("SELECT digest, content FROM contents"):
        digest = Digest.parse(text)
        if Digest.of(content, digest.algorithm) != digest:
            yield Finding(f"manifest {text}", "other bytes are stored under this digest")
    for name, tag, text in sql.execute(
        "SELECT r.name, t.name, t.digest FROM tags t JOIN repositories r ON r.id = t.repository "
        "WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = t.repository AND m.digest = t.digest)"
    ):
        yield Finding(f"tag {name}:{tag}", f"its manifest {text} is missing")
    if repair and broken:
        with catalog.write() as write:
            for text in broken:
                write.execute("DELETE FROM blobs WHERE digest = ?", (text,))
                blobs.delete(Digest.parse(text))
        blobs.sweep()
