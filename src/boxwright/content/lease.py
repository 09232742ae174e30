"""Leases: how work in flight keeps the collector away from what it uses.

A process takes a lease, then refers content to it *before* it relies on that content (`Lease.hold`); holding and
collecting are both write transactions, so one of the two comes first. A lease ends with its `with` block, with its
owner's death, or at its expiry; prune never ends a living one. No process outlives a power cut, so its leases need not
either: nothing here waits for the disk."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import TracebackType

from boxwright.content.db import Database
from boxwright.files.disk import DiskError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


def process_identity(pid: int | None = None) -> str:
    """Names a process as no other is ever named: boot id, pid, start time. Empty when there is no such process."""
    pid = os.getpid() if pid is None else pid
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        # A zombie has ended: what is left of it waits for its parent, which may never look. In a container that is
        # the rule, for the program that is process 1 there inherits our orphans and expects none.
        if fields[0] in b"ZXx":
            return ""
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}:{pid}:{fields[19].decode()}"
    except (OSError, IndexError):
        return ""


def process_alive(identity: str) -> bool:
    """Whether the process named by `process_identity` still runs."""
    try:
        pid = int(identity.split(":")[1])
    except (IndexError, ValueError):
        return False
    return process_identity(pid) == identity


class Lease:
    """Use as a context manager. Threads of the owner may share it."""

    def __init__(self, db: Database, purpose: str, *, seconds: float = 0) -> None:
        self._db = db
        self.id = os.urandom(8).hex()
        self._void = db.read_only  # nothing can be written, and nothing be taken away
        if self._void:
            return
        with db.write(durable=False) as sql:
            sql.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?)",
                (self.id, process_identity(), purpose, time.time() + seconds if seconds else 0),
            )

    def hold(self, kind: str, *refs: object) -> None:
        """Keep these ('blob', 'layer' or 'workspace'), whether or not they exist yet."""
        if self._void:
            return
        with self._db.write(durable=False) as sql:
            sql.executemany(
                "INSERT OR IGNORE INTO lease_refs VALUES (?, ?, ?)",
                [(self.id, kind, str(ref)) for ref in refs],
            )

    def release(self) -> None:
        """End the lease; idempotent. Where the disk takes no more it ends with this process: what the work under it
        came to stands."""
        if self._void:
            return
        with suppress(DiskError), self._db.write(durable=False) as sql:
            sql.execute("DELETE FROM leases WHERE id = ?", (self.id,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold_for_process(db: Database, kind: str, ref: object) -> None:
    """Refer content to every lease of this process, in the caller's transaction: what is published is held from
    its first moment, although its name is known only at its end."""
    with db.write(durable=False) as sql:
        sql.execute(
            "INSERT OR IGNORE INTO lease_refs SELECT id, ?, ? FROM leases WHERE owner = ?",
            (kind, str(ref), process_identity()),
        )


def drop_dead(db: Database) -> list[str]:
    """End the leases of dead owners and expired ones; returns the workspaces that they held."""
    now = time.time()
    workspaces: list[str] = []
    with db.write(durable=False) as sql:
        for lease, owner, expires in sql.execute("SELECT id, owner, expires FROM leases").fetchall():
            if (expires and expires < now) or (not expires and not process_alive(owner)):
                workspaces += [
                    r
                    for (r,) in sql.execute(
                        "SELECT ref FROM lease_refs WHERE lease = ? AND kind = 'workspace'", (lease,)
                    )
                ]
                sql.execute("DELETE FROM leases WHERE id = ?", (lease,))
    return workspaces


def in_use(db: Database, kind: str) -> set[str]:
    """References of this kind under leases whose owner lives; nothing is ended."""
    now = time.time()
    with db.read() as sql:
        rows = sql.execute(
            "SELECT r.ref, l.owner, l.expires FROM lease_refs r JOIN leases l ON l.id = r.lease WHERE r.kind = ?",
            (kind,),
        ).fetchall()
    return {ref for ref, owner, expires in rows if (expires > now if expires else process_alive(owner))}


def held(db: Database, kind: str) -> set[str]:
    """Every reference of this kind under any lease."""
    with db.read() as sql:
        return {ref for (ref,) in sql.execute("SELECT ref FROM lease_refs WHERE kind = ?", (kind,))}
