"""How values look to people, and the templates' environment."""

from __future__ import annotations

import hashlib
import time
from functools import cache
from pathlib import Path
from typing import Any

from boxwright.registry.server.auth.users import extra
from boxwright.spec.times import format_duration, human_duration, rfc3339, unix_seconds
from boxwright.spec.units import human_size

_HERE = Path(__file__).parent


def ago(seconds: float) -> str:
    """Unix seconds, seen from now, as Docker says it."""
    return human_duration(max(time.time() - seconds, 0)) + " ago"


def span(seconds: float) -> str:
    """How long something took, as Go writes it."""
    return format_duration(round(seconds) * 10**9)


def count(number: int) -> str:
    """1234 -> 1.2k."""
    for least, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= least:
            return f"{number / least:.3g}{unit}"
    return str(number)


def date(value: float) -> str:
    """Unix seconds as a date and time."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value))


def stamp(value: float) -> str:
    """Unix seconds for machines."""
    return rfc3339(value, digits=0)


def seconds(text: str) -> float:
    """RFC 3339 as unix seconds; 0 when it is none."""
    return unix_seconds(text) or 0.0


def short(digest: str) -> str:
    """Twelve digits, as Docker shows them."""
    return digest.partition(":")[2][:12]


@cache
def static() -> dict[str, tuple[bytes, str]]:
    """Files that the pages name: name -> bytes, media type."""
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    return {
        path.name: (path.read_bytes(), kinds[path.suffix])
        for path in sorted((_HERE / "static").iterdir())
        if path.suffix in kinds
    }


def address(name: str) -> str:
    """A file's URL, which changes with its bytes."""
    return f"/static/{name}?v={hashlib.sha256(static()[name][0]).hexdigest()[:12]}"


@cache
def environment() -> Any:
    """Jinja2 with everything escaped. Raises ExtraMissing."""
    jinja2 = extra("jinja2")
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters.update(
        size=human_size, ago=ago, span=span, count=count, date=date, stamp=stamp, short=short, seconds=seconds
    )
    made.globals.update(address=address)
    return made
