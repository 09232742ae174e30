"""`build --explain`: what changed is named, down to the line and the attribute."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright import Engine
from boxwright.build.why import differences


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "root")
    yield engine
    engine.services.db.close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir()
    return tmp_path / "context"


def reason(engine: Engine, context: Path, text: str) -> str:
    """Of the last step."""
    (context / "Dockerfile").write_text(text)
    return engine.build(context, explain=True).steps[-1].reason


def archive(path: Path, **second: Any) -> None:
    """Two files; `second` are fields of the second one."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, fields in (("one", {}), ("two", second)):
            info = tarfile.TarInfo(name)
            info.mtime = 5
            for key, value in fields.items():
                setattr(info, key, value)
            info.size = 0 if info.islnk() else 1
            tar.addfile(info, io.BytesIO(b"x"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": tarfile.LNKTYPE, "linkname": "one"}, "x/two hard link changed"),
        ({"pax_headers": {"SCHILY.xattr.user.a": "1"}}, "x/two extended attributes changed"),
        ({"uid": 7}, "x/two owner changed"),
        ({"mtime": 7}, "x/two time changed"),
        ({"mode": 0o600}, "x/two mode 0644->0600"),
    ],
)
def test_every_attribute_of_a_file(engine: Engine, context: Path, change: dict[str, Any], told: str) -> None:
    text = "FROM scratch AS a\nADD t /x\nFROM scratch\nCOPY --from=a / /\n"
    archive(context / "t")
    reason(engine, context, text)
    archive(context / "t", **change)
    assert told in reason(engine, context, text)


def test_lines_of_a_heredoc(engine: Engine, context: Path) -> None:
    text = "FROM scratch\nCOPY <<E /f\none\ntwo\nthree\nE\n"
    reason(engine, context, text)
    changed = text.replace("two", "2").replace("three\n", "three\nfour\n")
    assert reason(engine, context, changed) == "line 2 changed: two -> 2; line 4 added: four"
    assert reason(engine, context, text.replace("one\n", "")).startswith("line 1 ")


def test_layers_are_gone_only_when_they_are(engine: Engine, context: Path) -> None:
    text = "FROM scratch\nCOPY f /f\n"
    (context / "f").write_text("1")
    reason(engine, context, text)
    with engine.services.db.write() as sql:
        sql.execute("UPDATE steps SET key = 'other' || key")
    assert reason(engine, context, text) == "something changed that the record does not tell apart"
    with engine.services.db.write() as sql:
        sql.execute("DELETE FROM layers")
    assert reason(engine, context, text) == "same ingredients as on record, but the recorded layers are gone"


def test_the_reason_of_an_input_is_the_reason() -> None:
    old = {"inputs": [{"chain": "1"}, {"chain": "1", "text": "mount"}]}
    new = {"inputs": [{"chain": "1"}, {"chain": "2", "text": "mount"}]}
    assert list(differences(old, new, ["", "src/a modified"])) == ["src/a modified"]
    assert list(differences(old, new)) == ["input mount changed"]


def test_records_with_whole_digests_are_compared() -> None:
    """As older versions wrote them."""
    old = {"files": {"a": f"0644 {'ab' * 32}", "b": f"0644 {'cd' * 32}", "to": f"0777 -> {'x' * 16}1"}}
    new = {"files": {"a": f"0644 {'ab' * 8}", "b": f"0644 {'dc' * 8}", "to": f"0777 -> {'x' * 16}2"}}
    assert list(differences(old, new)) == ["b modified", "to modified"]
