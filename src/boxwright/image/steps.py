"""Step records: what every executed step of a build left behind, and how a later build finds it.

A record is the key's structured ingredients (each part on its own, so that a miss can be explained), the
resulting layers, sizes and times. Records are roots of the collector: while the row is there, its layers are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence

from boxwright.content.db import Database
from boxwright.layer.rows import bytes_of
from boxwright.spec.digest import DiffID
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """The answer of the cache: the layers of the record and what else it keeps."""

    key: str
    layers: tuple[DiffID, ...]
    result: Mapping[str, Any]
    bytes: int
    seconds: float
    created: float  # unix seconds
    elsewhere: bool = False  # a record of another place: its layers may not be here


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A whole record, as `why` and the tools read it. `created` and `last_used` are unix seconds."""

    key: str
    lineage: str
    kind: str
    name: str
    ingredients: Mapping[str, Any]
    layers: tuple[DiffID, ...]
    result: Mapping[str, Any]
    bytes: int
    seconds: float
    created: float
    last_used: float
    uses: int


@dataclass(frozen=True, slots=True)
class StepSummary:
    """What the build cache shows of a record. Times are unix seconds; a use of an alias is a use of its record."""

    key: str
    kind: str
    name: str
    layers: tuple[str, ...]
    bytes: int
    created: float
    last_used: float
    uses: int


ALIAS = "alias"  # the kind of rows that only lead to another one


_PACKED_FROM = 2 << 20  # characters: what the files of a context of 40,000 come to
_PIECE = 1 << 20
_MOST_IDS = 100_000
_INSERT = "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class StepCache:
    """The table ``steps``. All methods may be called from any thread."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ids: dict[str, DiffID] = {}  # one value for a layer, which every step above it names

    def find(self, key: str) -> Hit | None:
        """The record of this key, if all its layers are still here."""
        with self._db.read() as sql:
            row = sql.execute(
                "SELECT layers, result, bytes, seconds, created FROM steps WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            layers = row[0].split()
            if not self.present(layers):
                return None
        return Hit(
            key=key,
            layers=tuple(map(self._id, layers)),
            result=json.loads(row[1]),
            bytes=row[2],
            seconds=row[3],
            created=row[4],
        )

    def _id(self, text: str) -> DiffID:
        found = self._ids.get(text)
        if found is None:
            if len(self._ids) >= _MOST_IDS:
                self._ids.clear()
            found = self._ids[text] = DiffID.parse(text)
        return found

    def present(self, layers: Iterable[object]) -> bool:
        """Whether all these layers are in the store."""
        wanted = {str(layer) for layer in layers}
        return not wanted or len(bytes_of(self._db, wanted)) == len(wanted)

    def known(self, key: str) -> bool:
        """Whether there is a row of this key."""
        with self._db.read() as sql:
            return sql.execute("SELECT 1 FROM steps WHERE key = ?", (key,)).fetchone() is not None

    def add(self, record: StepRecord, also: Iterable[str] = ()) -> None:
        """Keep a record, replacing an older one of its key; `also` are further keys that lead to it."""
        layers, result = " ".join(map(str, record.layers)), json.dumps(record.result)
        parts = _packed(json.dumps(record.ingredients, separators=(",", ":")))
        times = (record.seconds, record.created, record.last_used, record.uses)
        with self._db.write() as sql:
            sql.execute(
                _INSERT,
                (
                    record.key,
                    record.lineage,
                    record.kind,
                    record.name,
                    parts,
                    layers,
                    result,
                    record.bytes,
                    *times,
                ),
            )
            for key in also:
                sql.execute(
                    _INSERT, (key, record.lineage, ALIAS, record.name, "{}", layers, result, 0, *times)
                )

    def alias(self, found: str, also: str, lineage: str) -> None:
        """Let `also` lead to what `found` leads to."""
        columns = "layers, result, 0, seconds, created, last_used, uses"
        with self._db.write() as sql:
            sql.execute(
                f"INSERT OR REPLACE INTO steps SELECT ?, ?, ?, name, '{{}}', {columns} FROM steps WHERE key = ?",
                (also, lineage, ALIAS, found),
            )

    def touch(self, used: Iterable[tuple[str, str]]) -> None:
        """Note a use of these (key, lineage) pairs; the lineage becomes the record's, so that the next `why` of
        this project finds it."""
        now = time.time()
        with self._db.write(durable=False) as sql:
            sql.executemany(
                "UPDATE steps SET last_used = ?, uses = uses + 1, lineage = ? WHERE key = ?",
                [(now, lineage, key) for key, lineage in used],
            )

    def lineage(self, lineage: str, limit: int = 400) -> list[StepRecord]:
        """The records of a lineage, last used first."""
        with self._db.read() as sql:
            rows = sql.execute(
                "SELECT * FROM steps WHERE lineage = ? AND kind != ? ORDER BY last_used DESC LIMIT ?",
                (lineage, ALIAS, limit),
            ).fetchall()
        return [_record(row) for row in rows]

    def all(self) -> list[StepRecord]:
        """Every record, last used first."""
        with self._db.read() as sql:
            return [
                _record(row)
                for row in sql.execute(
                    "SELECT * FROM steps WHERE kind != ? ORDER BY last_used DESC", (ALIAS,)
                ).fetchall()
            ]

    # --- what keeps and measures the store -------------------------------------------------------

    def summaries(self) -> list[StepSummary]:
        """Every record, in no order."""
        with self._db.read() as sql:
            rows = sql.execute(
                "SELECT key, kind, name, layers, bytes, created, last_used, uses FROM steps"
            ).fetchall()
        used: dict[tuple[str, str], float] = {}
        for _, _, name, layers, _, _, last, _ in rows:
            used[name, layers] = max(last, used.get((name, layers), 0.0))
        return [
            StepSummary(
                key=key,
                kind=kind,
                name=name,
                layers=tuple(layers.split()),
                bytes=size,
                created=created,
                last_used=used[name, layers],
                uses=uses,
            )
            for key, kind, name, layers, size, created, _, uses in rows
            if kind != ALIAS
        ]

    def stacks(self) -> dict[str, frozenset[str]]:
        """The layers that every row keeps, aliases too, by key."""
        with self._db.read() as sql:
            rows = sql.execute("SELECT key, layers FROM steps").fetchall()
        return {key: frozenset(layers.split()) for key, layers in rows}

    def kept(self) -> set[str]:
        """All layers that a row keeps."""
        with self._db.read() as sql:
            rows = sql.execute("SELECT DISTINCT layers FROM steps").fetchall()
        return {diff_id for (layers,) in rows for diff_id in layers.split()}

    def remove(self, keys: Iterable[str]) -> None:
        """Forget rows, and aliases that lead to no record any more. What they kept is the next sweep's."""
        with self._db.write() as sql:
            sql.executemany("DELETE FROM steps WHERE key = ?", [(key,) for key in keys])
            sql.execute(
                "DELETE FROM steps WHERE kind = ?1 AND (name, layers) NOT IN (SELECT name, layers "
                "FROM steps WHERE kind != ?1)",
                (ALIAS,),
            )


def _packed(text: str) -> str | bytes:
    """As it is, or compressed: SQLite has two more copies of a value in memory while it is written."""
    if len(text) < _PACKED_FROM:
        return text
    import zlib

    packer = zlib.compressobj(1)
    pieces = (text[at : at + _PIECE].encode() for at in range(0, len(text), _PIECE))
    return b"".join([*map(packer.compress, pieces), packer.flush()])


def _unpacked(kept: str | bytes) -> str | bytes:
    if isinstance(kept, str):
        return kept
    import zlib

    return zlib.decompress(kept)


def _record(row: Sequence[Any]) -> StepRecord:
    key, lineage, kind, name, parts, layers, result, size, seconds, created, last_used, uses = row
    return StepRecord(
        key=key,
        lineage=lineage,
        kind=kind,
        name=name,
        ingredients=json.loads(_unpacked(parts)),
        layers=tuple(map(DiffID.parse, layers.split())),
        result=json.loads(result),
        bytes=size,
        seconds=seconds,
        created=created,
        last_used=last_used,
        uses=uses,
    )
