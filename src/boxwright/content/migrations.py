"""Schemas as ladders: rung n, counted from 0, brings a database from version n to version n + 1.

Databases of ours are in WAL mode. The version is SQLite's ``user_version``; 0 is an empty file. A process that opens a
database compares it, and calls `climb` when it is not the newest. All rungs that are missing are climbed in one
transaction, after the database was copied to ``<name>.v<version>`` beside it, so a failure or a crash at any moment
leaves the old version whole.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from boxwright.errors import Corrupt, Unsupported

_STATE = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"

Rung = str | Callable[[sqlite3.Connection], None]  # SQL statements, or what does more than SQL can say


class SchemaNewer(Unsupported):
    """The database was written by a newer Boxwright, which may mean something else by it."""


class SchemaForeign(Corrupt):
    """The file is a database, but not one of ours."""


def climb(connection: sqlite3.Connection, path: Path, rungs: Sequence[Rung]) -> None:
    """Bring the database at `path`, which `connection` has open in autocommit mode, to version ``len(rungs)``. Any
    number of processes may do so at once. Raises SchemaNewer, SchemaForeign and sqlite3.Error; nothing was changed
    then."""
    if _version(connection, path, len(rungs)) == len(rungs):
        return
    _to_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path, len(rungs))  # another process may have been faster
        if 0 < version < len(rungs):
            _copy(path, path.with_name(f"{path.name}.v{version}"))
        for number in range(version, len(rungs)):
            rung = rungs[number]
            if isinstance(rung, str):
                _run(connection, rung)
            else:
                rung(connection)
            connection.execute(f"PRAGMA user_version={number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    # One statement sees one state: another process may be creating the tables.
    version, tables = connection.execute(_STATE).fetchone()
    if version > newest:
        raise SchemaNewer(
            f"{path} was written by a newer Boxwright (schema {version}, this one knows {newest})",
            hint="use that version, or another directory",
        )
    if _foreign(version, tables):
        raise SchemaForeign(
            f"{path} is a database of another program", hint="choose another directory, or move the file"
        )
    return int(version)


def _foreign(version: int, tables: int) -> bool:
    return version < 0 or (version == 0 and tables > 0)


def is_foreign(path: Path) -> bool:
    """Whether the file is a sound database that another program made. Changes nothing there."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return _foreign(*connection.execute(_STATE).fetchone())
    except sqlite3.Error:
        return False


def _to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new database to WAL. When several processes open it first, SQLite tells all but one that it is locked,
    without waiting as the connection's timeout says (its busy handler is not asked where that could deadlock)."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Its statements, within the caller's transaction (`executescript` would commit it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(statement)


def _copy(source: Path, target: Path) -> None:
    """The last committed state, durably; read through a connection of its own, since the caller's is in a
    transaction."""
    part = target.with_name(f".{target.name}.part")  # one process at a time: the caller holds the write lock
    part.unlink(missing_ok=True)
    try:
        os.close(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, source.stat().st_mode & 0o666)
        )
        reader, writer = sqlite3.connect(source), sqlite3.connect(part)
        try:
            writer.execute("PRAGMA synchronous=FULL")
            reader.backup(writer)
        finally:
            reader.close()
            writer.close()
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fd = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
