"""How much a namespace may hold: distinct blobs of its repositories, counted as they are published."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from boxwright.registry.server.wire import QuotaExceeded

_USED = (
    "SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT b.digest, b.size FROM repositories r JOIN blobs b ON b.repository = r.id "
    "WHERE r.name >= ?1 || '/' AND r.name < ?1 || '0')"
)
_USED_ROOT = "SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT b.digest, b.size FROM repositories r JOIN blobs b ON b.repository = r.id WHERE instr(r.name, '/') = 0)"
_HAS = "SELECT 1 FROM blobs b JOIN repositories r ON r.id = b.repository WHERE b.digest = ?1 AND (CASE ?2 WHEN '' THEN instr(r.name, '/') = 0 ELSE r.name >= ?2 || '/' AND r.name < ?2 || '0' END)"


class Quota:
    """`limits`: namespace -> bytes; ``*`` for those without a row of their own, ``""`` is the root."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = dict(limits)

    def limit(self, repository: str) -> tuple[str, int | None]:
        """The namespace, and its bytes or None."""
        namespace = repository.partition("/")[0] if "/" in repository else ""
        return namespace, self._limits.get(namespace, self._limits.get("*"))

    def used(self, sql: sqlite3.Connection, namespace: str) -> int:
        """Bytes of a namespace."""
        found: int = sql.execute(
            _USED if namespace else _USED_ROOT, (namespace,) if namespace else ()
        ).fetchone()[0]
        return found

    def check(self, sql: sqlite3.Connection, repository: str, digest: str, size: int) -> None:
        """Before `size` more bytes; a blob that the namespace has already costs nothing. Raises QuotaExceeded."""
        if not self._limits:
            return
        namespace, limit = self.limit(repository)
        if limit is None:
            return
        used = self.used(sql, namespace)
        if used + size > limit and not (digest and sql.execute(_HAS, (digest, namespace)).fetchone()):
            raise QuotaExceeded(
                f"the namespace {namespace or 'at the root'} holds {used} of {limit} bytes; {size} more do not fit",
                detail={"namespace": namespace, "used": used, "limit": limit, "wanted": size},
            )
