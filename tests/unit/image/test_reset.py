"""Removing a root takes what the store made, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from boxwright.content.db import Database
from boxwright.content.local import LocalStore
from boxwright.files.places import Places
from boxwright.image.reset import remove_root


def test_a_root_of_ours_goes_whole(tmp_path: Path) -> None:
    root = tmp_path / "root"
    LocalStore(root).put(b"x", "text/plain")
    with Database(root / "boxwright.db").write() as sql:
        sql.execute("INSERT INTO volumes VALUES ('v', 0, 0, '{}')")
    assert remove_root(root) == []
    assert not root.exists()
    assert remove_root(root) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    LocalStore(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    assert [p.name for p in remove_root(tmp_path)] == ["thesis.tex"]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_database_of_another_program_stays(tmp_path: Path) -> None:
    database = tmp_path / "boxwright.db"
    with closing(sqlite3.connect(database)) as sql, sql:
        sql.execute("CREATE TABLE results (year)")
    assert remove_root(tmp_path) == [database]
    database.write_bytes(b"no database, so it is one of ours that was damaged")
    assert remove_root(tmp_path) == []


def test_every_place_under_a_root_goes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    LocalStore(root)
    places = Places(root)
    named = [getattr(places, name) for name, kind in vars(Places).items() if isinstance(kind, property)]
    for path in named:
        if path != places.registry and not path.exists():
            path.mkdir(parents=True)
    assert remove_root(root) == []


def test_copies_of_the_database_go_along(tmp_path: Path) -> None:
    LocalStore(tmp_path / "root")
    (tmp_path / "root/boxwright.db.v1").write_bytes(b"")
    remove_root(tmp_path / "root")
    assert not (tmp_path / "root").exists()
