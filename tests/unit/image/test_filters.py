"""The conditions of --filter."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from boxwright.image.filters import FilterInvalid, duration, flag, labels_match, moment, pattern


def test_flag() -> None:
    assert (
        flag({"dangling": ["True"]}, "dangling") is True
        and flag({}, "dangling") is None
        and flag({"dangling": ["0"]}, "dangling") is False
    )
    for values in (["maybe"], ["true", "false"]):
        with pytest.raises(FilterInvalid):
            flag({"dangling": values}, "dangling")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("1m1ms", 60.001),
        ("", None),
        ("x", None),
        ("10", None),
        ("h", None),
        ("1.2.3s", None),
    ],
)
def test_duration(text: str, expected: float | None) -> None:
    assert duration(text) == expected


@pytest.fixture
def one_hour_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_moment(one_hour_east: None) -> None:
    assert moment("24h", now=100_000.0) == 13_600.0
    assert (
        moment("1795442400")
        == moment("2026-11-23T14:00:00Z")
        == moment("2026-11-23T15:00:00")
        == moment("2026-11-23T15:00")
        == 1795442400.0
    )
    assert moment("2026-11-23") == 1795442400.0 - 15 * 3600
    with pytest.raises(FilterInvalid):
        moment("yesterday")


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("a*", "abc", True),
        ("a*", "a/b", False),
        ("a?c", "abc", True),
        ("[ab]c", "bc", True),
        ("[^a]c", "bc", True),
        ("[^a]c", "ac", False),
        (r"a\*", "a*", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns_are_gos(glob: str, name: str, fits: bool) -> None:
    assert pattern(glob)(name) == fits


def test_label_filters() -> None:
    labels = {"a": "1", "b": ""}
    assert labels_match(labels, {"label": ["a", "a=1", "b="]})
    assert not labels_match(labels, {"label": ["a=2"]})
    assert not labels_match(labels, {"label!": ["a"]})
    assert labels_match(labels, {"label!": ["c"]})
