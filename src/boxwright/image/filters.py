"""The ``--filter`` conditions, as Docker's engine understands them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.errors import Invalid
from boxwright.spec.times import LONGER_UNITS, SECOND, DurationInvalid, parse_duration

Filters = Mapping[str, Sequence[str]]
PRUNE_FILTERS = ("until", "label", "label!")


class FilterInvalid(Invalid):
    """A filter is unknown or its value cannot be read."""


def check_names(filters: Filters, allowed: Sequence[str]) -> None:
    """Raises FilterInvalid for a filter that this command does not have."""
    for name in filters:
        if name not in allowed:
            raise FilterInvalid(f"invalid filter '{name}'", hint="it can be " + ", ".join(allowed))


def flag(filters: Filters, name: str) -> bool | None:
    """A filter that is true or false; None when it is not given. Raises FilterInvalid."""
    answers = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    meant = {answers.get(text.lower()) for text in filters.get(name, ())}
    if None in meant or len(meant) > 1:
        raise FilterInvalid(f"invalid filter '{name}={filters[name][0]}'", hint="it must be true or false")
    return meant.pop() if meant else None


def duration(text: str) -> float | None:
    """Seconds of a Go duration such as ``1h30m`` (days and weeks too); None when the text is none."""
    try:
        return parse_duration(text, LONGER_UNITS) / SECOND
    except DurationInvalid:
        return None


def moment(text: str, *, now: float | None = None) -> float:
    """Unix seconds of a timestamp: a Go duration before now, unix seconds, a date, RFC 3339. Raises FilterInvalid."""
    ago = duration(text)
    if ago is not None:
        return (time.time() if now is None else now) - ago
    try:
        return float(text)
    except ValueError:
        pass
    seconds = unix_time(text)
    if seconds is None:
        raise FilterInvalid(
            f"invalid time {text!r}",
            hint="wanted a duration such as 24h, a date such as 2026-11-23T14:00:00, or unix seconds",
        )
    return seconds


def unix_time(text: str) -> float | None:
    """Unix seconds of RFC 3339 text or a date, both local where they name no zone; None when it is neither."""
    from datetime import datetime

    try:
        value = datetime.fromisoformat(text)
        return value.timestamp() if value.timestamp() > -62135596800 else 0.0
    except (ValueError, OverflowError, OSError):
        return None


def labels_match(labels: Mapping[str, str], filters: Filters) -> bool:
    """The filters label=key, label=key=value and label!=…: all must hold."""

    def has(wanted: str) -> bool:
        key, equals, value = wanted.partition("=")
        return key in labels and (not equals or labels[key] == value)

    return all(has(w) for w in filters.get("label", ())) and not any(
        has(w) for w in filters.get("label!", ())
    )


def prunable(
    filters: Filters, allowed: Sequence[str] = PRUNE_FILTERS
) -> Callable[[float, Mapping[str, str]], bool]:
    """Whether a prune means what was made at a time (unix seconds) with labels. Raises FilterInvalid."""
    check_names(filters, allowed)
    before = min((moment(text) for text in filters.get("until", ())), default=float("inf"))
    return lambda created, labels: created < before and labels_match(labels, filters)


def pattern(text: str) -> Callable[[str], bool]:
    """Go's path.Match: ``*`` and ``?`` stop at a slash, ``[a-z]`` and ``[^a]`` are classes. Raises FilterInvalid."""
    import re

    out, at = "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[":
            end = text.find("]", at + 1)
            if end < 0:
                raise FilterInvalid(f"syntax error in pattern {text!r}")
            inner = text[at:end]
            negated = inner.startswith("^")
            inner = inner[1:] if negated else inner
            out += "[" + ("^" if negated else "") + re.sub(r"([\\\[\]^&|~])", r"\\\1", inner) + "]"
            at = end + 1
        elif char == "\\" and at < len(text):
            out += re.escape(text[at])
            at += 1
        else:
            out += re.escape(char)
    try:
        compiled = re.compile(out)
    except re.error as error:
        raise FilterInvalid(f"syntax error in pattern {text!r}") from error
    return lambda name: compiled.fullmatch(name) is not None
