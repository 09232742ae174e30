"""What every ladder of schemas keeps: `tests/data/schemas/<name>-<version>.sql` is a database as that version made it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from boxwright.content.migrations import Rung, SchemaNewer, climb

_SCHEMAS = Path(__file__).parent.parent / "data/schemas"


def old_versions(name: str) -> list[Path]:
    """A file for each version that ever was, oldest first; variants of one version are ``<name>-<version><letter>``."""
    return sorted(_SCHEMAS.glob(f"{name}-*.sql"))


def number_of(fixture: Path) -> int:
    found = re.search(r"-(\d+)[a-z]?$", fixture.stem)
    assert found
    return int(found[1])


def make(fixture: Path, path: Path) -> None:
    """The database of an older version."""
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA journal_mode=WAL")
        sql.executescript(fixture.read_text())
        sql.execute(f"PRAGMA user_version={number_of(fixture)}")


def tables(path: Path) -> dict[str, str]:
    """What there is, by name, without comments and blanks."""
    with closing(sqlite3.connect(path)) as sql:
        rows = sql.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: _plain(text) for name, text in rows}


def _plain(text: str) -> str:
    text = re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", text)).replace(" IF NOT EXISTS", "")
    return text.replace("( ", "(").replace(" )", ")").replace(" ,", ",").strip()


def content(path: Path, names: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    """The rows of tables, by column."""
    with closing(sqlite3.connect(path)) as sql:
        sql.row_factory = sqlite3.Row
        return {name: [dict(row) for row in sql.execute(f"SELECT * FROM {name}")] for name in names}


def own_tables(path: Path) -> list[str]:
    """Those that have rows of their own: no shadow tables of a search index."""
    with closing(sqlite3.connect(path)) as sql:
        rows = sql.execute(
            "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND name NOT LIKE 'sqlite_%'"
        )
        return [name for (name,) in rows]


class LadderSuite:
    """A subclass sets `rungs` and `name`."""

    rungs: Sequence[Rung]
    name: str

    def climbed(self, path: Path, height: int | None = None) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as sql:
            climb(sql, path, self.rungs[:height])

    def test_each_version_is_kept_as_it_was(self, tmp_path: Path) -> None:
        """The rungs below a version still make the tables that it had: none was changed afterwards."""
        versions = old_versions(self.name)
        assert {number_of(v) for v in versions} == set(range(1, len(self.rungs) + 1))
        for fixture in versions:
            if fixture.stem[-1].isalpha():
                continue
            height = number_of(fixture)
            make(fixture, tmp_path / f"old-{height}.db")
            self.climbed(tmp_path / f"new-{height}.db", height)
            assert tables(tmp_path / f"new-{height}.db") == tables(tmp_path / f"old-{height}.db"), fixture

    def test_every_older_version_is_brought_forward_whole(self, tmp_path: Path) -> None:
        self.climbed(tmp_path / "fresh.db")
        for fixture in old_versions(self.name):
            path = tmp_path / f"{fixture.stem}.db"
            make(fixture, path)
            names = own_tables(path)
            before = content(path, names)
            assert sum(map(len, before.values())), "a fixture has rows"
            self.climbed(path)
            with closing(sqlite3.connect(path)) as sql:
                assert sql.execute("PRAGMA user_version").fetchone() == (len(self.rungs),)
                assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert sql.execute("PRAGMA foreign_key_check").fetchall() == []
            assert tables(path) == tables(tmp_path / "fresh.db"), fixture
            for name, rows in content(path, names).items():
                kept = [{k: v for k, v in row.items() if k in set().union(*before[name])} for row in rows]
                assert [row for row in before[name] if row not in kept] == [], name
            if number_of(fixture) < len(self.rungs):
                copy = tmp_path / f"{path.name}.v{number_of(fixture)}"
                assert content(copy, names) == before, "the copy is what was there"
                with closing(sqlite3.connect(copy)) as sql:
                    assert sql.execute("PRAGMA user_version").fetchone() == (number_of(fixture),)

    def test_a_failed_rung_leaves_the_older_version(self, tmp_path: Path) -> None:
        def fails(sql: sqlite3.Connection) -> None:
            sql.execute("CREATE TABLE half_way (a)")
            raise RuntimeError

        path = tmp_path / "x.db"
        self.climbed(path)
        before = tables(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as sql, pytest.raises(RuntimeError):
            climb(sql, path, [*self.rungs, "CREATE TABLE one_more (a);", fails])
        assert tables(path) == before
        self.climbed(path)

    def test_a_newer_version_is_refused_and_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "x.db"
        with closing(sqlite3.connect(path)) as sql:
            sql.execute("CREATE TABLE what_will_be (a)")
            sql.execute(f"PRAGMA user_version={len(self.rungs) + 1}")
        before = path.read_bytes()
        with pytest.raises(SchemaNewer, match="newer"):
            self.climbed(path)
        assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["x.db"]
