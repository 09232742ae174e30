"""What the rows of layers say, for code that opens no store of layers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from boxwright.content.db import Database


def bytes_of(db: Database, diff_ids: Iterable[object]) -> dict[str, int]:
    """Content bytes of those of these layers that are stored, by diff ID."""
    wanted = tuple({str(diff_id) for diff_id in diff_ids})
    marks = ",".join("?" * len(wanted))
    with db.read() as sql:
        rows = sql.execute(f"SELECT diff_id, bytes FROM layers WHERE diff_id IN ({marks})", wanted)
        return dict(rows.fetchall())
