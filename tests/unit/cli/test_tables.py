"""Docker's columns, sizes and ages (go-units, formatter.go)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.cli import tables
from boxwright.cli.tables import (
    align,
    created_at,
    ellipsis,
    short_id,
    since,
)
from boxwright.gotemplate.compile import FormatError, Method


def test_since() -> None:
    assert since("2026-11-23T14:00:00.5Z", now=1795442403.0) == "2 seconds ago"
    assert since(1000.0, now=990.0) == "Less than a second ago"
    assert since("") == since(None) == since("0001-01-01T00:00:00Z") == since(0) == "N/A"


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_created_at(utc: None) -> None:
    assert created_at("2026-11-23T14:00:00.5Z") == "2026-11-23 14:00:00 +0000 UTC"
    assert created_at("") == "N/A"


def test_short_id() -> None:
    assert short_id("sha256:" + "ab" * 32) == short_id("ab" * 32) == "abababababab"


def test_ellipsis() -> None:
    assert [ellipsis("abcdef", n) for n in (0, 1, 3, 6, 9)] == ["", "a", "ab…", "abcdef", "abcdef"]
    assert ellipsis("日本語", 4) == "日…"


def test_align_is_gos_tabwriter() -> None:
    assert align([["CONTAINER ID", "IMAGE", "NAMES"], ["0123456789ab", "busybox", "x"]]) == [
        "CONTAINER ID   IMAGE     NAMES",
        "0123456789ab   busybox   x",
    ]
    # A column ends where a line has no cell in it; the last cell of a line is no column.
    assert align([["a", "b", "c"], ["long long long"], ["d", "e"]]) == [
        "a         b         c",
        "long long long",
        "d         e",
    ]
    assert align([["é", "x"], ["日本", "y"]]) == ["é         x", "日本      y"]


COLUMNS = {"ID": "IMAGE ID", "Repository": "REPOSITORY", "Size": "SIZE"}
ROWS: list[dict[str, Any]] = [
    {"ID": "abc", "Repository": "busybox", "Size": lambda: "1MB", "Label": Method(str.upper)},
    {"ID": "def", "Repository": "a\tb\x1b", "Size": lambda: "2MB", "Label": Method(str.upper)},
]


class Context(SimpleNamespace):
    def out(self, text: str) -> None:
        self.lines.append(text)


def shown(tmp_path: Path, **options: Any) -> list[str]:
    ctx: Any = Context(lines=[], settings=SimpleNamespace(docker_config=tmp_path))
    tables.table(ctx, COLUMNS, ROWS, **options)
    lines: list[str] = ctx.lines
    return lines


def test_table(tmp_path: Path) -> None:
    assert shown(tmp_path, default=("Repository", "ID")) == [
        "REPOSITORY   IMAGE ID",
        "busybox      abc",
        "a\\tb\\x1b     def",
    ]
    assert shown(tmp_path, format="table", quiet=True) == ["abc", "def"]
    assert shown(tmp_path, format="{{.ID}}", quiet=True) == ["abc", "def"]
    assert shown(tmp_path, format=r"table {{.ID}}\t{{.Size}}")[:2] == ["IMAGE ID   SIZE", "abc        1MB"]
    assert shown(tmp_path, format='{{.Label "x"}}') == ["X", "X"]
    assert json.loads(shown(tmp_path, format="json")[0]) == {
        "ID": "abc",
        "Repository": "busybox",
        "Size": "1MB",
    }


def test_a_wrong_template_prints_nothing(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        shown(tmp_path, format="{{.ID")


def test_the_configured_format_is_used(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"imagesFormat": "{{.Size}}"}')
    assert shown(tmp_path, config_key="imagesFormat") == ["1MB", "2MB"]
    assert shown(tmp_path, config_key="imagesFormat", quiet=True) == ["abc", "def"]
    assert shown(tmp_path, config_key="imagesFormat", format="table")[0].startswith("IMAGE ID")
    for wrong in ('{"imagesFormat": ', '["imagesFormat"]', '{"imagesFormat":' + "[" * 100_000):
        (tmp_path / "config.json").write_text(wrong)
        with pytest.raises(tables.DockerConfigInvalid):
            shown(tmp_path, config_key="imagesFormat")
