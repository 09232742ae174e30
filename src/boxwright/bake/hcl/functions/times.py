"""Functions of dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.functions.function import function
from boxwright.bake.hcl.types import HclValue, text

_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")
_TOKEN = re.compile(r"'(?:[^']|'')*'?|([A-Za-z])\1*|[^A-Za-z']+")
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _parsed(given: str) -> datetime:
    found = _STAMP.fullmatch(given)
    try:
        if not found:
            raise ValueError
        zone = UTC
        if found[7] != "Z":
            hours, minutes = int(found[7][1:3]), int(found[7][4:])
            zone = timezone(timedelta(hours=hours, minutes=minutes) * (-1 if found[7][0] == "-" else 1))
        return datetime(*(int(found[at]) for at in range(1, 7)), tzinfo=zone)  # type: ignore[misc,arg-type]
    except (ValueError, OverflowError):
        raise DefinitionInvalid(f"{given!r} is not a valid RFC3339 timestamp") from None


def _shown(when: datetime) -> str:
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    offset = when.strftime("%z")
    return stamp + ("Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}")


def _add(stamp: HclValue, duration: HclValue) -> HclValue:
    found = _DURATION.fullmatch(duration.data)
    if not found:
        raise DefinitionInvalid(f"time: invalid duration {duration.data!r}")
    parts = re.findall(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", duration.data)
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    try:
        moved = _parsed(stamp.data) + timedelta(seconds=-seconds if duration.data[0] == "-" else seconds)
    except OverflowError:
        raise DefinitionInvalid("the date lies outside the calendar") from None
    return text(_shown(moved))


def _format(form: HclValue, stamp: HclValue) -> HclValue:
    when = _parsed(stamp.data)
    out = []
    for found in _TOKEN.finditer(form.data):
        token = found[0]
        if token[0] == "'":
            if len(token) == 1 or token[-1] != "'":
                raise DefinitionInvalid("unterminated literal '")
            out.append("'" if token == "''" else token[1:-1].replace("''", "'"))
        elif found[1]:
            out.append(_verb(token, when))
        else:
            out.append(token)
    return text("".join(out))


def _verb(token: str, when: datetime) -> str:
    offset = when.strftime("%z")
    known = {
        "YY": f"{when.year % 100:02d}",
        "YYYY": f"{when.year:04d}",
        "M": str(when.month),
        "MM": f"{when.month:02d}",
        "MMM": when.strftime("%b"),
        "MMMM": when.strftime("%B"),
        "D": str(when.day),
        "DD": f"{when.day:02d}",
        "EEE": when.strftime("%a"),
        "EEEE": when.strftime("%A"),
        "h": str(when.hour),
        "hh": f"{when.hour:02d}",
        "H": str(when.hour % 12 or 12),
        "HH": f"{when.hour % 12 or 12:02d}",
        "AA": "AM" if when.hour < 12 else "PM",
        "aa": "am" if when.hour < 12 else "pm",
        "m": str(when.minute),
        "mm": f"{when.minute:02d}",
        "s": str(when.second),
        "ss": f"{when.second:02d}",
        "Z": "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}",
        "ZZZ": "UTC" if offset == "+0000" else offset,
        "ZZZZ": offset,
        "ZZZZZ": f"{offset[:3]}:{offset[3:]}",
    }
    if token not in known:
        raise DefinitionInvalid(f'invalid date format verb "{token}"')
    return known[token]


FUNCTIONS = (
    function("timestamp", "", lambda: text(_shown(datetime.now(UTC)))),
    function("timeadd", "timestamp:string duration:string", _add),
    function("formatdate", "format:string time:string", _format),
)
