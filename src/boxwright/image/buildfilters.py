"""``--filter`` of the build history, as buildx has it: a key, a comparison and a value."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from boxwright.errors import Invalid
from boxwright.image.builds import STATUSES, BuildRecord
from boxwright.image.filters import FilterInvalid
from boxwright.spec.times import SECOND, parse_duration, unix_seconds

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}
_TEXTS, _TIMES = ("ref", "repository", "status"), ("startedAt", "completedAt", "duration")
Matcher = Callable[[BuildRecord], bool]


def chosen(records: Iterable[BuildRecord], filters: Sequence[str]) -> list[BuildRecord]:
    """Those that fit every filter. Raises FilterInvalid."""
    matchers = [_matcher(text) for text in filters]
    return [one for one in records if all(matches(one) for matches in matchers)]


def _matcher(text: str) -> Matcher:
    found = min(
        ((text.find(sign), -len(sign), sign) for sign in ("!=", "<=", ">=", "=", "<", ">") if sign in text),
        default=None,
    )
    if found is None:
        raise FilterInvalid(f"invalid filter {text!r}", hint="status=error, startedAt>24h")
    sign = found[2]
    key, _, value = text.partition(sign)
    if key in _TEXTS:
        if sign not in ("=", "!="):
            raise FilterInvalid(f"invalid separator for {text!r}, expected = or !=")
        return _text(key, sign, value)
    if key in _TIMES:
        if sign not in _COMPARISONS:
            raise FilterInvalid(f"invalid separator for {text!r}, expected <=, <, >= or >")
        return _time(key, _COMPARISONS[sign], value)
    raise FilterInvalid(f"unsupported filter {text!r}", hint=f"there are {', '.join((*_TEXTS, *_TIMES))}")


def _text(key: str, sign: str, value: str) -> Matcher:
    if key == "status" and value not in STATUSES:
        raise FilterInvalid(f"unknown status {value!r}", hint=f"there are {', '.join(STATUSES)}")

    def matches(record: BuildRecord) -> bool:
        said = {"ref": record.id, "status": record.status, "repository": repository(record)}[key]
        if sign == "!=":
            return said != value
        return said == value if key == "status" else value in said or (key == "ref" and value == record.ref)

    return matches


def repository(record: BuildRecord) -> str:
    """The repository that was built: of the local context, or the context itself; '' for none."""
    source = (record.details.get("vcs") or {}).get("source", "")
    context = str(record.details.get("context", ""))
    return str(source) or (context.partition("#")[0] if "://" in context else "")


def _time(key: str, fits: Callable[[float, float], bool], value: str) -> Matcher:
    try:
        span: float | None = parse_duration(value) / SECOND
    except Invalid:
        span = None
    if key == "duration":
        if span is None:
            raise FilterInvalid(f"invalid duration {value}")
        limit = span
        return lambda record: fits(record.seconds(), limit)
    moment = time.time() - span if span is not None else unix_seconds(value)
    if moment is None:
        raise FilterInvalid(f"invalid time {value}", hint="24h, or 2026-01-02T15:04:05Z")
    return lambda record: fits(record.started if key == "startedAt" else record.ended, moment)
