"""What is kept of a step comes back as it was, however much it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.content.db import Database
from boxwright.image import steps
from boxwright.image.steps import StepCache, StepRecord


@pytest.mark.parametrize("count", [0, 1, 500])
def test_ingredients_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(steps, "_PACKED_FROM", 1000)
    monkeypatch.setattr(steps, "_PIECE", 777)
    files = {f"src/ü{number}\udcff": f"0644 {number:016x}" for number in range(count)}
    record = StepRecord(
        key="sha256:1",
        lineage="l",
        kind="copy/2",
        name="COPY . .",
        ingredients={"text": "COPY . .", "files": files},
        layers=(),
        result={"log": 1},
        bytes=2,
        seconds=3.0,
        created=4.0,
        last_used=5.0,
        uses=1,
    )
    db = Database(tmp_path / "db")
    cache = StepCache(db)
    cache.add(record, ["sha256:2"])
    assert cache.all() == cache.lineage("l") == [record]
    with db.read() as sql:
        ((kind, size),) = sql.execute(
            "SELECT typeof(ingredients), length(ingredients) FROM steps WHERE key = 'sha256:1'"
        ).fetchall()
    assert kind == ("blob" if count == 500 else "text") and size < 15 * count + 100
    db.close()
