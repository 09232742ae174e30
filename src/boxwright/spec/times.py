"""Moments and spans of time as text: RFC 3339, Go's durations, and how long ago something was."""

from __future__ import annotations

import time

from boxwright.errors import Invalid
from boxwright.spec.text import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND = 10**9  # nanoseconds
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
LONGER_UNITS: Mapping[str, int] = {**_UNITS, "d": 86_400 * SECOND, "w": 604_800 * SECOND}
_LONGEST = 2**63 - 1
_MOST_TEXT = 400  # characters; more digits than that say nothing that nanoseconds can hold


LAST = 253_402_300_799  # the end of 9999: no later time can be written


class DurationInvalid(Invalid):
    """A span of time cannot be read; the words are Go's."""


def epoch_seconds(text: str) -> int | None:
    """Unix seconds written as a whole number; None when it is none, or later than the year 9999."""
    return whole_number(text, LAST)


def rfc3339(seconds: float | None = None, *, digits: int | None = None) -> str:
    """UTC, now unless unix `seconds` are given; with `digits` of the fraction, by default as many as it has (Go's
    RFC3339Nano, as image configs carry it)."""
    whole, rest = divmod(time.time_ns() if seconds is None else round(seconds * SECOND), SECOND)
    fraction = f"{rest:09d}".rstrip("0") if digits is None else f"{rest:09d}"[:digits]
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + (f".{fraction}" if fraction else "") + "Z"


def stamp(seconds: float | None = None) -> str:
    """RFC 3339 with all nine digits: what states, logs and events carry, so that they sort as text."""
    return rfc3339(seconds, digits=9)


def unix_seconds(text: str) -> float | None:
    """Unix seconds of an RFC 3339 time; None when it is empty, malformed, or Go's zero time (year 1)."""
    try:
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        clock = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        rest = text[19:]
        fraction = 0.0
        if rest.startswith("."):
            digits = len(rest[1:]) - len(rest[1:].lstrip("0123456789"))
            fraction, rest = float("0" + rest[: digits + 1]), rest[digits + 1 :]
        zone = (
            0
            if rest in ("Z", "z")
            else (int(rest[1:3]) * 3600 + int(rest[4:6]) * 60) * (-1 if rest[0] == "-" else 1)
        )
    except (ValueError, IndexError):
        return None
    if year < 2 or not 1 <= month <= 12:
        return None
    # Days from civil (Howard Hinnant): years begin in March, so that the leap day is the last one.
    shifted = year - (month <= 2)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719468
    return days * 86400 + clock + fraction - zone


def parse_duration(text: str, units: Mapping[str, int] = _UNITS) -> int:
    """Nanoseconds of a Go duration: ``1h30m``, ``1.5s``, ``300ms``, with a sign perhaps. Raises DurationInvalid."""
    sign, rest = (text[0], text[1:]) if text[:1] in ("-", "+") and text else ("", text)
    if rest == "0":
        return 0
    if not rest or len(rest) > _MOST_TEXT:
        raise DurationInvalid(f"time: invalid duration {_quoted(text)}")
    total = at = 0
    while at < len(rest):
        whole, at = _digits(rest, at)
        part = ""
        if rest[at : at + 1] == ".":
            part, at = _digits(rest, at + 1)
        if not whole and not part:
            raise DurationInvalid(f"time: invalid duration {_quoted(text)}")
        end = at
        while end < len(rest) and rest[end] not in ".0123456789":
            end += 1
        unit, at = rest[at:end], end
        if not unit:
            raise DurationInvalid(f"time: missing unit in duration {_quoted(text)}")
        if unit not in units:
            raise DurationInvalid(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
        total += int(whole + part) * units[unit] // 10 ** len(part)
    if total > _LONGEST:
        raise DurationInvalid(f"time: invalid duration {_quoted(text)}")
    return -total if sign == "-" else total


def _digits(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] in "0123456789":
        end += 1
    return text[at:end], end


def _quoted(text: str) -> str:
    from boxwright.spec.text import go_quote

    return go_quote(text)


def format_duration(value: int) -> str:
    """How Go prints a duration of so many nanoseconds: `5m0s`, `100ms`, `1.5s`, `0s`."""
    if value == 0:
        return "0s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if value < size * 1000:
            return sign + _decimal(value, size) + unit
    minutes, rest = divmod(value, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, SECOND) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = f"{part:0{len(str(size)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)


def human_duration(seconds: float) -> str:
    """As go-units HumanDuration: ``About a minute``, ``3 weeks``."""
    whole, minutes, hours = int(seconds), int(seconds / 60), int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for span, name in ((24 * 7 * 2, "days"), (24 * 30 * 2, "weeks"), (24 * 365 * 2, "months")):
        if hours < span:
            return f"{hours // {'days': 24, 'weeks': 168, 'months': 720}[name]} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"
