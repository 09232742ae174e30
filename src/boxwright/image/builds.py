"""Build history: a row for each build, and beside it a log of everything that the build told.

A row is written when a build begins and again when it ends; a build whose process is gone without that was interrupted.
A log is a file of lines under ROOT/builds, appended while the build runs; what is in it is whole, whatever happens.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from boxwright.content.db import Database
from boxwright.content.lease import process_alive, process_identity
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.files.disk import make_directories
from boxwright.files.places import Places
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNNING, COMPLETED, FAILED, CANCELED, INTERRUPTED = "running", "completed", "error", "canceled", "interrupted"
STATUSES = (RUNNING, COMPLETED, FAILED, CANCELED, INTERRUPTED)
MOST = 1000  # builds that are kept; the oldest go when another one ends
OLD = 7 * 86400  # seconds after which a prune takes a build, unless it is among the latest
LATEST = 50
_NEW = 3600  # seconds that a log may be without a row: its build is about to write one
_COLUMNS = "id, owner, started, ended, status, name, total, completed, cached, record"
_LONGEST = 64 << 20  # bytes of a line of a log: what one write of a step can be


class NoSuchBuild(NotFound):
    """The history has no build of this name."""


class BuildRuns(Conflict):
    """The build is not over yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """One build. Times are unix seconds, `ended` 0 while it runs; `details` is plain JSON: what was asked for, what
    came out, what went wrong (docs/building.md, "History")."""

    id: str
    started: float
    ended: float = 0.0
    status: str = RUNNING
    name: str = ""
    total: int = 0  # steps
    completed: int = 0
    cached: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """Its name with those of the builder and its node, as buildx writes it."""
        return f"default/default/{self.id}"

    def seconds(self, now: float | None = None) -> float:
        """How long it took, or takes so far."""
        return max(0.0, (self.ended or (time.time() if now is None else now)) - self.started)


class BuildRecords:
    """The table ``builds`` of one root, with its logs. All methods may be called from any thread."""

    def __init__(self, root: Path, db: Database) -> None:
        self._places, self._db = Places(root), db

    # --- writing -----------------------------------------------------------------------------------

    def begin(self, record: BuildRecord) -> None:
        """A build of this process begins."""
        row = (record.id, process_identity(), record.started, 0.0, RUNNING, record.name, 0, 0, 0)
        with self._db.write(durable=False) as sql:  # a power cut ends the build, too
            sql.execute(
                f"INSERT INTO builds ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, json.dumps(record.details)),
            )

    def finish(self, record: BuildRecord, *, durable: bool = True) -> None:
        """It ended as the record says."""
        with self._db.write(durable=durable) as sql:
            sql.execute(
                "UPDATE builds SET ended = ?, status = ?, total = ?, completed = ?, cached = ?, record = ? "
                "WHERE id = ?",
                (
                    record.ended,
                    record.status,
                    record.total,
                    record.completed,
                    record.cached,
                    json.dumps(record.details),
                    record.id,
                ),
            )
            (count,) = sql.execute("SELECT count(*) FROM builds").fetchone()
        if count > MOST:
            self._forget(self.all()[MOST:])

    def open_log(self, identity: str) -> int:
        """A descriptor that appends to a build's log. Raises OSError."""
        make_directories(self._places.builds, mode=0o700)  # steps may say what only their user should read
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._places.build_log(identity), flags, 0o600)

    # --- reading -----------------------------------------------------------------------------------

    def all(self) -> list[BuildRecord]:
        """Every build, the latest first."""
        with self._db.read() as sql:
            rows = sql.execute(f"SELECT {_COLUMNS} FROM builds ORDER BY started DESC, id").fetchall()
        return [_record(row) for row in rows]

    def get(self, text: str = "") -> BuildRecord:
        """The build of an ID, the beginning of one, or a ref; ``^N`` is the one before the latest N, '' the latest.
        Raises NoSuchBuild, Invalid."""
        found = self.all()
        if not text or text.startswith("^"):
            digits = text[1:] or "0"
            if not digits.isdecimal() or len(digits) > 9:
                raise Invalid(f"invalid offset {digits!r}", hint="^1 is the build before the latest")
            if int(digits) >= len(found):
                if not found:
                    raise NoSuchBuild("no records found", hint="boxwright build makes one")
                raise NoSuchBuild(f"no completed build found with offset {digits}")
            return found[int(digits)]
        path, _, name = text.rpartition("/")
        fitting = [one for one in found if one.id == name]
        if not fitting and not path:  # a ref has the whole ID
            fitting = [one for one in found if one.id.startswith(name)]
        if len(fitting) != 1 or not name:
            what = (
                f"no record found for ref {text!r}"
                if not fitting
                else f"the ref {text!r} is of several builds"
            )
            raise NoSuchBuild(what, hint="boxwright builds ls lists what is kept")
        return fitting[0]

    def events(self, identity: str) -> Iterator[dict[str, Any]]:
        """The lines of a build's log, one after the other; what is no line of ours is left out."""
        try:
            log = open(self._places.build_log(identity), "rb")
        except FileNotFoundError:
            return
        with log:
            while line := log.readline(_LONGEST):
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # the last one, cut by a kill
                if isinstance(event, dict) and isinstance(event.get("kind"), str):
                    yield event

    def counted(self, record: BuildRecord) -> BuildRecord:
        """The same with the steps of a build that has not written how many it had: it runs, or it was killed. As many
        as it told of."""
        if record.ended:
            return record
        steps, over = set[int](), dict[int, bool]()
        for event in self.events(record.id):
            step, kind = event.get("step"), event["kind"]
            if not isinstance(step, int):
                continue
            steps.add(step)
            if kind in ("cached", "done", "failed"):
                over[step] = kind == "cached"
        return replace(record, total=len(steps), completed=len(over), cached=sum(over.values()))

    # --- removing ----------------------------------------------------------------------------------

    def remove(self, records: Sequence[BuildRecord]) -> None:
        """Forget builds. Raises BuildRuns."""
        for record in records:
            if record.status == RUNNING:
                raise BuildRuns(f"the build {record.id} is running", hint="wait for it, or stop it first")
        self._forget(records)

    def prune(self, *, everything: bool, before: float | None, keep: bool = False) -> list[BuildRecord]:
        """Forget builds that are over: all of them, or those older than a week that are not among the latest 50; with
        `before` (unix seconds) only those that ended earlier. `keep`: none. Logs without a build go, too."""
        found = [] if keep else self.all()
        if not everything:
            limit = time.time() - OLD
            found = [one for one in found[LATEST:] if one.started < limit]
        gone = [
            one
            for one in found
            if one.status != RUNNING and (before is None or (one.ended or one.started) < before)
        ]
        self._forget(gone)
        self._sweep()
        return gone

    def _forget(self, records: Iterable[BuildRecord]) -> None:
        gone = [one.id for one in records if one.status != RUNNING]
        if not gone:
            return
        with self._db.write() as sql:
            sql.executemany("DELETE FROM builds WHERE id = ?", [(one,) for one in gone])
        for one in gone:
            self._places.build_log(one).unlink(missing_ok=True)

    def _sweep(self) -> None:
        known = {self._places.build_log(one.id).name for one in self.all()}
        for path in self._places.builds.iterdir() if self._places.builds.is_dir() else ():
            try:
                if path.name not in known and path.stat().st_mtime < time.time() - _NEW:
                    path.unlink()
            except FileNotFoundError:
                continue


def _record(row: Sequence[Any]) -> BuildRecord:
    identity, owner, started, ended, status, name, total, completed, cached, record = row
    if status == RUNNING and not process_alive(owner):
        status = INTERRUPTED
    return BuildRecord(
        id=identity,
        started=started,
        ended=ended,
        status=status,
        name=name,
        total=total,
        completed=completed,
        cached=cached,
        details=json.loads(record),
    )
