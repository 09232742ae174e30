"""How much a namespace may hold: distinct blobs and manifests of its repositories, and uploads under way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from boxwright.registry.server.errors import QuotaExceeded

# Names below a namespace lie between `namespace/` and `namespace0` ('0' follows '/'); '' is the root's.
_OF_NAMESPACE = "CASE ?1 WHEN '' THEN instr({0}, '/') = 0 ELSE {0} >= ?1 || '/' AND {0} < ?1 || '0' END"
_HERE = _OF_NAMESPACE.format("r.name")
_USED = (
    "SELECT coalesce(sum(size), 0) FROM ("
    f"SELECT b.digest, b.size FROM repositories r JOIN blobs b ON b.repository = r.id WHERE {_HERE} "
    f"UNION SELECT m.digest, m.size FROM repositories r JOIN manifests m ON m.repository = r.id WHERE {_HERE})"
)
_KNOWN = (
    f"SELECT b.size FROM blobs b JOIN repositories r ON r.id = b.repository WHERE b.digest = ?2 AND {_HERE} "
    f"UNION SELECT m.size FROM manifests m JOIN repositories r ON r.id = m.repository WHERE m.digest = ?2 AND {_HERE}"
)
_UPLOADS = f"SELECT id FROM uploads WHERE {_OF_NAMESPACE.format('repository')}"


class Quota:
    """`limits`: namespace -> bytes; ``*`` for those without a row of their own, ``""`` is the root. `uploaded` tells
    the bytes of an upload so far."""

    def __init__(self, limits: Mapping[str, int], uploaded: Callable[[str], int]) -> None:
        self._limits, self._uploaded = dict(limits), uploaded

    def limit(self, repository: str) -> tuple[str, int | None]:
        """The namespace, and its bytes or None."""
        namespace = repository.partition("/")[0] if "/" in repository else ""
        return namespace, self._limits.get(namespace, self._limits.get("*"))

    def used(self, sql: sqlite3.Connection, namespace: str) -> int:
        """Bytes that the repositories of a namespace hold."""
        found: int = sql.execute(_USED, (namespace,)).fetchone()[0]
        return found

    def check(self, sql: sqlite3.Connection, repository: str, digest: str, size: int) -> None:
        """Before `size` more bytes are recorded. What the namespace has already costs nothing. Raises QuotaExceeded."""
        self._left(sql=sql, repository=repository, digest=digest, size=size, in_flight=lambda namespace: 0)

    def check_upload(
        self, sql: sqlite3.Connection, repository: str, digest: str, size: int, *, upload: str
    ) -> int | None:
        """While an upload comes that has `size` bytes, or will have: what all others of its namespace brought counts
        as well. Returns the bytes that are left, None = any. Raises QuotaExceeded."""

        def in_flight(namespace: str) -> int:
            rows = sql.execute(_UPLOADS, (namespace,)).fetchall()
            return sum(self._uploaded(id) for (id,) in rows if id != upload)

        return self._left(sql=sql, repository=repository, digest=digest, size=size, in_flight=in_flight)

    def _left(
        self,
        sql: sqlite3.Connection,
        repository: str,
        digest: str,
        size: int,
        *,
        in_flight: Callable[[str], int],
    ) -> int | None:
        namespace, limit = self.limit(repository)
        if limit is None:
            return None
        known = sql.execute(_KNOWN, (namespace, digest)).fetchone() if digest else None
        if known is not None and size <= known[0]:
            return int(known[0]) - size
        used, coming = self.used(sql, namespace), in_flight(namespace)
        if used + coming + size > limit:
            raise QuotaExceeded(
                f"the namespace {namespace or 'at the root'} holds {used} of {limit} bytes"
                + (f", uploads under way {coming}" if coming else "")
                + f"; {size} more do not fit",
                detail={
                    "namespace": namespace,
                    "used": used,
                    "uploads": coming,
                    "limit": limit,
                    "wanted": size,
                },
            )
        return limit - used - coming - size
