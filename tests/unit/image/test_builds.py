"""The history of builds: rows and logs, who they are of, when they go."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from boxwright.content.db import Database
from boxwright.errors import Invalid
from boxwright.image import builds
from boxwright.image.buildfilters import chosen
from boxwright.image.builds import BuildRecord, BuildRecords, BuildRuns, NoSuchBuild
from boxwright.image.filters import FilterInvalid


@pytest.fixture
def records(tmp_path: Path) -> BuildRecords:
    return BuildRecords(tmp_path, Database(tmp_path / "boxwright.db"))


def built(records: BuildRecords, identity: str, started: float = 0.0, **fields: Any) -> BuildRecord:
    """A build that is over."""
    started = started or time.time()
    values = {"ended": started + 2, "status": "completed", "total": 3, "completed": 3, "cached": 1, **fields}
    record = BuildRecord(id=identity, started=started, name=f"name of {identity}")
    records.begin(record)
    os.write(fd := records.open_log(identity), b'{"kind":"log","step":1,"data":"x"}\n')
    os.close(fd)
    records.finish(BuildRecord(id=identity, started=started, **values))
    return records.get(identity)


def abandoned(records: BuildRecords, identity: str) -> None:
    """One whose process is gone."""
    records.begin(BuildRecord(id=identity, started=time.time()))
    with records._db.write() as sql:
        sql.execute("UPDATE builds SET owner = 'another-boot:1:1' WHERE id = ?", (identity,))


def test_names(records: BuildRecords) -> None:
    with pytest.raises(NoSuchBuild, match="no records found"):
        records.get()
    for number, identity in enumerate(("abc1", "abd2", "xyz3")):
        built(records, identity, 1000.0 + number)
    assert [records.get(text).id for text in ("", "^0", "^2", "xy", "default/default/abd2")] == [
        "xyz3", "xyz3", "abc1", "xyz3", "abd2",
    ]  # fmt: skip
    for text in ("ab", "nothing", "^3", "default/default/", "../x", "default/default/abd"):
        with pytest.raises(NoSuchBuild):
            records.get(text)
    with pytest.raises(Invalid):
        records.get("^x")


def test_a_build_whose_process_is_gone_was_interrupted(records: BuildRecords) -> None:
    records.begin(BuildRecord(id="mine", started=time.time()))
    abandoned(records, "gone")
    assert (records.get("mine").status, records.get("gone").status) == ("running", "interrupted")
    with pytest.raises(BuildRuns):
        records.remove([records.get("mine")])
    records.remove([records.get("gone")])
    assert [one.id for one in records.all()] == ["mine"]


def test_a_log_that_a_kill_cut(records: BuildRecords) -> None:
    built(records, "one")
    with open(records._places.build_log("one"), "ab") as log:
        log.write(b'\xff\n[1]\n{"kind": 1}\n' + b"[" * 100_000 + b'\n{"kind":"done"')
    assert list(records.events("one")) == [{"kind": "log", "step": 1, "data": "x"}]
    assert list(records.events("none")) == []
    assert oct(records._places.builds.stat().st_mode)[-3:] == "700"


def test_what_a_prune_takes(records: BuildRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "LATEST", 2)
    now = time.time()
    for number in range(4):
        built(records, f"old{number}", now - 30 * 86400 + number)
    built(records, "new", now - 60)
    records.begin(BuildRecord(id="running", started=now))
    stray = records._places.build_log("stray")
    stray.write_bytes(b"")
    os.utime(stray, (now - 9999, now - 9999))
    gone = records.prune(everything=False, before=None)
    assert {one.id for one in gone} == {"old0", "old1", "old2", "old3"} - {"old3"} | {"old3"}
    assert {one.id for one in records.all()} == {"new", "running"} and not stray.exists()
    assert records.prune(everything=True, before=now - 3600) == []
    assert records.prune(everything=True, before=None, keep=True) == []
    assert [one.id for one in records.prune(everything=True, before=None)] == ["new"]
    assert [path.name for path in records._places.builds.iterdir()] == []


def test_the_oldest_go_when_there_are_many(records: BuildRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "MOST", 3)
    for number in range(5):
        built(records, f"b{number}", 1000.0 + number)
    assert [one.id for one in records.all()] == ["b4", "b3", "b2"]
    assert len(list(records._places.builds.iterdir())) == 3


def test_filters(records: BuildRecords) -> None:
    now = time.time()
    source = {"vcs": {"source": "https://example.org/x.git"}}
    built(records, "one", now - 7200, status="error", details=source)
    built(records, "two", now - 60, ended=now + 60)
    abandoned(records, "three")
    everything = records.all()

    def ids(*filters: str) -> list[str]:
        return [one.id for one in chosen(everything, filters)]

    assert ids() == ["three", "two", "one"]
    assert ids("status=error") == ids("repository=example.org") == ids("startedAt<1h") == ["one"]
    assert ids("status!=error") == ids("ref!=one") == ["three", "two"]
    assert ids("status=interrupted") == ["three"]
    assert ids("ref=default/default/two") == ids("ref=tw") == ids("duration>1m") == ["two"]
    assert ids("startedAt>=2001-01-01T00:00:00Z", "status=completed") == ["two"]
    for wrong in (
        "status",
        "status>error",
        "status=well",
        "other=1",
        "startedAt=1h",
        "startedAt>soon",
        "duration<x",
    ):
        with pytest.raises(FilterInvalid):
            ids(wrong)
