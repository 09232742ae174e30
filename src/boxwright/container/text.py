"""Words for spans of time."""

from __future__ import annotations

import calendar
import time


def timestamp(text: str) -> float | None:
    """Unix seconds of a time that a supervisor wrote; None for '' and Go's zero time."""
    if not text or text.startswith("0001"):
        return None
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + (
        float("0" + text[19:].rstrip("Z")) if text[19:20] == "." else 0.0
    )


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
