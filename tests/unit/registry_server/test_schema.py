"""The registry's ladder of schemas."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from boxwright.content import db
from boxwright.content.migrations import SchemaNewer
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.registry.server.config import RegistryConfig
from boxwright.registry.server.errors import NoSpace
from boxwright.registry.server.serve import serve
from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.schema import RUNGS
from suites.ladder_suite import LadderSuite, make, old_versions


class TestRegistry(LadderSuite):
    name, rungs = "registry", RUNGS


@pytest.mark.parametrize("fixture", old_versions("registry"), ids=lambda p: p.stem)
def test_a_catalog_that_is_opened_is_brought_forward(tmp_path: Path, fixture: Path) -> None:
    make(fixture, tmp_path / "registry.db")
    catalog = RegistryCatalog(tmp_path / "registry.db")
    assert catalog.tags("acme/app") == ["latest"]
    assert catalog.connection().execute("PRAGMA user_version").fetchone() == (len(RUNGS),)


def test_the_catalog_has_the_durability_and_the_place_of_every_database(tmp_path: Path) -> None:
    catalog = RegistryCatalog(tmp_path / "registry.db")
    sql = catalog.connection()
    assert [sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")] == [
        "wal",
        2,
    ]
    with catalog.write(), pytest.raises(AssertionError, match="is waited for"):
        Lock.at(locks.REGISTRY_UPLOAD, tmp_path / "upload")
    with Lock.at(locks.REGISTRY_UPLOAD, tmp_path / "upload"), catalog.write():
        assert sql.in_transaction
    catalog.close()


def test_a_thread_that_cannot_open_it_tells_that_as_clients_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = RegistryCatalog(tmp_path / "registry.db")
    catalog.close()

    def refused(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(db.sqlite3, "connect", refused)
    with pytest.raises(NoSpace, match="storage is full"):
        catalog.connection()
    with pytest.raises(NoSpace, match="storage is full"), catalog.write():
        pass


def test_caches_see_a_commit_and_no_attempt(tmp_path: Path) -> None:
    catalog = RegistryCatalog(tmp_path / "registry.db")
    before = catalog.version()
    with pytest.raises(ValueError, match="no"), catalog.write():
        raise ValueError("no")
    assert catalog.version() == before
    with catalog.write():
        pass
    assert catalog.version() != before
    catalog.close()


def test_a_newer_registry_is_not_written_into(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "registry.db")) as sql:
        sql.execute(f"PRAGMA user_version={len(RUNGS) + 1}")
    before = (tmp_path / "registry.db").read_bytes()
    with pytest.raises(SchemaNewer, match="newer"):
        RegistryCatalog(tmp_path / "registry.db")
    assert (tmp_path / "registry.db").read_bytes() == before


def test_a_server_that_cannot_open_its_registry_says_nothing_of_listening(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "registry.db")) as sql:
        sql.execute(f"PRAGMA user_version={len(RUNGS) + 1}")
    told: list[str] = []
    with pytest.raises(SchemaNewer):
        serve(RegistryConfig(storage=tmp_path, addr="127.0.0.1:0", workers=1), listening=told.append)
    assert told == []
