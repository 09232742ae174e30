"""--filter."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from boxwright.cli.filters import FilterInvalid, duration, flag, labels_match, moment, parse_filters


def test_parse() -> None:
    assert parse_filters(["label=a=b", "label=c", "dangling=true", ""]) == {"label": ["a=b", "c"], "dangling": ["true"]}
    assert parse_filters(["label!=x"]) == {"label!": ["x"]}


@pytest.mark.parametrize(("text", "hint"), [("labl=x", "did you mean label?"), ("color=red", "there are: dangling, label"), ("label", "")])
def test_wrong(text: str, hint: str) -> None:
    with pytest.raises(FilterInvalid) as caught:
        parse_filters([text], ("label", "dangling"))
    assert caught.value.hint == hint


def test_flag() -> None:
    assert flag({"dangling": ["True"]}, "dangling") and flag({}, "dangling", True) and not flag({"dangling": ["0"]}, "dangling")
    for values in (["maybe"], ["true", "false"]):
        with pytest.raises(FilterInvalid):
            flag({"dangling": values}, "dangling")


def test_labels() -> None:
    labels = {"a": "1", "b": ""}
    assert labels_match(["a", "a=1", "b="], labels) and labels_match([], labels)
    assert not labels_match(["a=2"], labels) and not labels_match(["c"], labels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10s", 10.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("250ms", 0.25), ("2d", 172800.0), ("1w", 604800.0), ("1m1ms", 60.001), ("", None), ("x", None), ("10", None), ("h", None), ("1.2.3s", None)],
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
    assert moment("1795442400") == moment("2026-11-23T14:00:00Z") == moment("2026-11-23T15:00:00") == moment("2026-11-23T15:00") == 1795442400.0
    assert moment("2026-11-23") == 1795442400.0 - 15 * 3600
    with pytest.raises(FilterInvalid):
        moment("yesterday")
