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
from boxwright.cli.format import FormatError, Method
from boxwright.cli.tables import (
    align,
    binary_size,
    created_at,
    ellipsis,
    human_size,
    short_id,
    since,
    timestamp,
)
from boxwright.container.text import human_duration


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0B"),
        (1, "1B"),
        (999, "999B"),
        (1000, "1kB"),
        (1240, "1.24kB"),
        (74_800_000, "74.8MB"),
        (124_000_000, "124MB"),
        (1_240_000_000, "1.24GB"),
        (999_900, "1MB"),  # Docker: 1e+03kB
        (2**80, "1.21YB"),
    ],
)
def test_human_size(size: int, expected: str) -> None:
    assert human_size(size) == expected


def test_binary_size() -> None:
    assert [binary_size(n) for n in (0, 1024, 8_000_000, 2 * 1024**3)] == ["0B", "1KiB", "7.629MiB", "2GiB"]


MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # go-units duration_test.go
        (0.45, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (46, "46 seconds"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3 * MINUTE, "3 minutes"),
        (35 * MINUTE + 40, "35 minutes"),
        (45 * MINUTE + 40, "45 minutes"),
        (60 * MINUTE, "About an hour"),
        (1 * HOUR + 45 * MINUTE, "2 hours"),
        (3 * HOUR, "3 hours"),
        (24 * HOUR, "24 hours"),
        (36 * HOUR, "36 hours"),
        (2 * DAY, "2 days"),
        (7 * DAY, "7 days"),
        (13 * DAY + 5 * HOUR, "13 days"),
        (2 * 7 * DAY, "2 weeks"),
        (2 * 7 * DAY + 4 * DAY, "2 weeks"),
        (3 * 7 * DAY, "3 weeks"),
        (4 * 7 * DAY + 3 * DAY, "4 weeks"),
        (1 * 30 * DAY, "4 weeks"),
        (2 * 30 * DAY, "2 months"),
        (23 * 30 * DAY + 3 * 7 * DAY, "23 months"),
        (2 * 365 * DAY, "2 years"),
        (24 * 30 * DAY, "24 months"),
        (3 * 365 * DAY + 2 * 30 * DAY, "3 years"),
    ],
)
def test_human_duration(seconds: float, expected: str) -> None:
    assert human_duration(seconds) == expected


def test_since() -> None:
    assert since("2026-11-23T14:00:00.5Z", now=1795442403.0) == "2 seconds ago"
    assert since(1000.0, now=990.0) == "Less than a second ago"
    assert since("") == since(None) == since("0001-01-01T00:00:00Z") == since(0) == "N/A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2000-02-29T23:59:59Z", 951868799.0),
        ("2026-11-23T14:00:00.123456789Z", 1795442400.123456789),
        ("2026-11-23T15:00:00+01:00", 1795442400.0),
        ("2026-11-23T12:30:00-01:30", 1795442400.0),
        ("2100-03-01T00:00:00Z", 4107542400.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
        ("2026-11-23T14:00:00", None),
        ("2026-13-23T14:00:00Z", None),
    ],
)
def test_timestamp(text: str, expected: float | None) -> None:
    assert timestamp(text) == expected


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
    (tmp_path / "config.json").write_text('{"imagesFormat": ')
    with pytest.raises(tables.ConfigInvalid):
        shown(tmp_path, config_key="imagesFormat")
