"""Go's duration syntax: `1h30m`, `1.5s`, `300ms`. Values are nanoseconds."""

from __future__ import annotations

import re

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.text import go_quote

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)")
_MAX = 2**63 - 1


def go_duration(text: str) -> int:
    """Nanoseconds of a Go duration. Raises DockerfileError with Go's wording."""
    sign, rest = (text[0], text[1:]) if text[:1] in ("-", "+") and text else ("", text)
    if rest == "0":
        return 0
    if not rest or len(rest) > 400:
        raise DockerfileError(f"time: invalid duration {go_quote(text)}")
    from fractions import Fraction  # slow to import, and few files have a HEALTHCHECK

    total, at = Fraction(0), 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None or not (match[1] or match[3]):
            raise DockerfileError(f"time: invalid duration {go_quote(text)}")
        if not match[4]:
            raise DockerfileError(f"time: missing unit in duration {go_quote(text)}")
        if match[4] not in _UNITS:
            raise DockerfileError(f"time: unknown unit {go_quote(match[4])} in duration {go_quote(text)}")
        number = Fraction(int(match[1] or 0)) + Fraction(int(match[3] or 0), 10 ** len(match[3] or ""))
        total += number * _UNITS[match[4]]
        at = match.end()
    value = int(total)
    if value > _MAX:
        raise DockerfileError(f"time: invalid duration {go_quote(text)}")
    return -value if sign == "-" else value


def format_duration(value: int) -> str:
    """How Go prints a duration: `5m0s`, `100ms`, `1.5s`, `0s`."""
    if value == 0:
        return "0s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if value < size * 1000:
            return sign + _decimal(value, size) + unit
    minutes, rest = divmod(value, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, 10**9) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = f"{part:0{len(str(size)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
