"""Moments and spans of time as text."""

from __future__ import annotations

import pytest

from boxwright.spec.times import (
    LONGER_UNITS,
    DurationInvalid,
    human_duration,
    parse_duration,
    rfc3339,
    stamp,
    unix_seconds,
)

MINUTE, HOUR, DAY = 60, 3600, 86400


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
    assert unix_seconds(text) == expected


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


def test_rfc3339() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_700_000_000.5) == "2023-11-14T22:13:20.5Z"
    assert rfc3339(1_700_000_000.25, digits=1) == "2023-11-14T22:13:20.2Z"
    assert rfc3339(1_700_000_000.5, digits=0) == "2023-11-14T22:13:20Z"
    assert stamp(1_700_000_000.5) == "2023-11-14T22:13:20.500000000Z"
    assert len(stamp()) == len("2023-11-14T22:13:20.500000000Z")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("100ms", 10**8),
        ("1.5h", 5400 * 10**9),
        (".5us", 500),
        ("-2s", -2 * 10**9),
        ("0.1s", 10**8),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "1x", "s", "1s 2s", "1d", "²s", "9" * 30 + "h", "1" * 5000 + "s"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(DurationInvalid, match="time: "):
        parse_duration(text)


def test_longer_units() -> None:
    assert parse_duration("1w2d", LONGER_UNITS) == 9 * 86_400 * 10**9
