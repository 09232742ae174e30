"""Schemas as ladders, and the store's own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from boxwright.content.db import VERSION, Database
from boxwright.content.migrations import SchemaForeign, SchemaNewer, climb
from boxwright.content.schema import RUNGS
from suites.ladder_suite import LadderSuite, make, old_versions


class TestStore(LadderSuite):
    name, rungs = "store", RUNGS

    def test_the_version_counts_the_rungs(self) -> None:
        assert len(self.rungs) == VERSION

    def test_a_database_that_is_opened_is_brought_forward(self, tmp_path: Path) -> None:
        make(old_versions("store")[0], tmp_path / "boxwright.db")
        with Database(tmp_path / "boxwright.db").read() as sql:
            assert sql.execute("PRAGMA user_version").fetchone() == (VERSION,)
            assert sql.execute("SELECT name FROM volumes").fetchone() == ("v",)

    def test_a_newer_one_is_refused_however_it_is_opened(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "boxwright.db")) as sql:
            sql.execute(f"PRAGMA user_version={VERSION + 1}")
        newer = pytest.raises(SchemaNewer, match=f"schema {VERSION + 1}, this one knows {VERSION}")
        with newer, Database(tmp_path / "boxwright.db").read():
            pass


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_a_rung_may_be_sql_or_what_does_more(tmp_path: Path) -> None:
    """Comments, and a trigger, whose body has statements of its own."""

    def doubles(sql: sqlite3.Connection) -> None:
        for (n,) in sql.execute("SELECT n FROM t").fetchall():
            sql.execute("UPDATE t SET n = ? WHERE n = ?", (2 * n, n))

    first = """
    -- a table; of one column
    CREATE TABLE t (n INTEGER);  -- what it counts
    CREATE TRIGGER twice AFTER INSERT ON t WHEN new.n = 1 BEGIN
        INSERT INTO t VALUES (20);
        INSERT INTO t VALUES (30);
    END;
    INSERT INTO t VALUES (1)
    """
    with closing(_connect(tmp_path / "x.db")) as sql:
        climb(sql, tmp_path / "x.db", [first])
        assert sql.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (20,), (30,)]
        climb(sql, tmp_path / "x.db", [first, doubles])
        assert sql.execute("SELECT n FROM t ORDER BY n").fetchall() == [(2,), (40,), (60,)]
        climb(sql, tmp_path / "x.db", [first, doubles])
        assert sql.execute("PRAGMA user_version").fetchone() == (2,)


def test_the_copy_is_as_private_as_the_original(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(_connect(path)) as sql:
        climb(sql, path, ["CREATE TABLE t (n);"])
        path.chmod(0o600)
        climb(sql, path, ["", "CREATE TABLE u (n);"])
    assert (tmp_path / "x.db.v1").stat().st_mode & 0o777 == 0o600
    assert {p.name for p in tmp_path.iterdir()} == {"x.db", "x.db.v1"}


def test_a_copy_that_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(_connect(path)) as sql:
        climb(sql, path, ["CREATE TABLE t (n);"])
        (tmp_path / "x.db.v1").mkdir()
        with pytest.raises(OSError):
            climb(sql, path, ["", "CREATE TABLE u (n);"])
        assert sql.execute("PRAGMA user_version").fetchone() == (1,)
    assert {p.name for p in tmp_path.iterdir()} == {"x.db", "x.db.v1"}


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(_connect(path)) as sql:
        sql.execute("CREATE TABLE bookmarks (url)")
    before = path.read_bytes()
    with closing(_connect(path)) as sql, pytest.raises(SchemaForeign, match="another program"):
        climb(sql, path, ["CREATE TABLE t (n);"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1])
def test_many_processes_climb_once(tmp_path: Path, version: int) -> None:
    path = tmp_path / "boxwright.db"
    if version:
        make(old_versions("store")[0], path)
    code = "import sys; from pathlib import Path; from boxwright.content.db import Database\nwith Database(Path(sys.argv[1])).write() as s: s.execute(\"INSERT INTO volumes VALUES (?, 0, 0, '')\", (sys.argv[2],))"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(6)]
    assert [c.wait(60) for c in children] == [0] * 6
    with Database(path).read() as sql:
        assert sql.execute("SELECT count(*) FROM volumes").fetchone() == (6 + version,)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
