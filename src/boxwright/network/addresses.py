"""Which container has which address on a network, for code that gives addresses back."""

from __future__ import annotations

from boxwright.content.lease import held
from boxwright.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.content.db import Database


class OwnerGone(NotFound):
    """The container that was to get an address was removed meanwhile."""


def release(db: Database, owner: str, network: str = "") -> None:
    """Give back the addresses of a container or a step: on one network, or all."""
    with db.write(durable=False) as sql:  # who has one will not have outlived a power cut
        if network:
            sql.execute("DELETE FROM addresses WHERE container = ? AND network = ?", (owner, network))
        else:
            sql.execute("DELETE FROM addresses WHERE container = ?", (owner,))


def release_dead(db: Database, prefix: str) -> None:
    """Give back those of owners, named by their workspaces with this prefix, whose workspace no lease holds any
    more."""
    with db.write(durable=False) as sql:
        rows = sql.execute(
            "SELECT DISTINCT container FROM addresses WHERE substr(container, 1, ?) = ?",
            (len(prefix), prefix),
        ).fetchall()
        if rows:
            living = held(db, "workspace")
            for (owner,) in rows:
                if owner not in living:
                    release(db, owner)
