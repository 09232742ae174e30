"""``--filter key=value`` as Docker reads it: several values of a key are alternatives, keys must all hold.

``label`` is the exception: all of its values must hold.
"""

from __future__ import annotations

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class FilterInvalid(Invalid):
    """A filter is not ``key=value``, or no filter of this command."""


class FilterMalformed(FilterInvalid):
    """A filter without ``=``: docker/cli finds that while it parses the flags."""

    exit_code = 125


def parse_filters(texts: Iterable[str], allowed: Iterable[str] = ()) -> dict[str, list[str]]:
    """Read the values of ``--filter``. `allowed` empty means every key. Raises FilterInvalid."""
    known = sorted(allowed)
    found: dict[str, list[str]] = {}
    for text in texts:
        if not text:
            continue
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if key.endswith("!"):  # label!=x
            key, value = key, value.strip()
        if not equals:
            raise FilterMalformed(f'invalid argument "{text}" for "--filter" flag: bad format of filter (expected name=value)')
        if known and key not in known:
            from boxwright.cli.suggest import closest

            near = closest(key, known)
            raise FilterInvalid(f"invalid filter '{key}'", hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}")
        found.setdefault(key, []).append(value.strip())
    return found


def flag(filters: Mapping[str, list[str]], key: str, default: bool = False) -> bool:
    """The value of a yes-or-no filter such as dangling. Raises FilterInvalid."""
    values = filters.get(key)
    if not values:
        return default
    answers = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    meant = {answers.get(v.lower()) for v in values}
    if None in meant or len(meant) != 1:
        raise FilterInvalid(f"invalid filter '{key}={values[0]}': wanted true or false")
    return bool(meant.pop())


def labels_match(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether every ``key`` or ``key=value`` holds."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def moment(text: str, *, now: float | None = None) -> float:
    """Unix seconds of ``until``, ``since``: RFC 3339, a date, a Unix time, or a span before now (``1h30m``).

    Raises FilterInvalid.
    """
    import time

    from boxwright.cli.tables import timestamp

    try:
        return float(text)
    except ValueError:
        pass
    if (span := duration(text)) is not None:
        return (time.time() if now is None else now) - span
    padded = text if len(text) > 10 else text + "T00:00:00"
    if len(padded) == 16:
        padded += ":00"
    if len(padded) >= 19:
        tail = padded[19:].lstrip(".0123456789")
        if (found := timestamp(padded if tail else padded + "Z")) is not None:
            # No zone means local time, as for Docker.
            return found if tail else time.mktime((*time.gmtime(found)[:8], -1))
    raise FilterInvalid(f"invalid time {text[:80]!r}", hint="use a span like 24h, a date like 2026-11-23, or an RFC 3339 time")


def duration(text: str) -> float | None:
    """Seconds of a Go duration such as ``1h30m`` or ``1.5s`` (days and weeks too); None when it is none."""
    total, rest = 0.0, text.strip()
    if not rest:
        return None
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmshdw"))]
        if unit not in _UNITS:
            unit = next((u for u in ("ms", "ns", "us", "µs") if unit.startswith(u)), unit[:1])
        try:
            total += float(number) * _UNITS[unit]
        except (ValueError, KeyError):
            return None
        rest = rest[len(unit) :]
    return total
