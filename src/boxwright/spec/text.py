"""JSON text, times and names without `json`, `datetime` and `re`: what starts for every container cannot wait for those."""

from __future__ import annotations

import time
from _json import encode_basestring as _quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def to_json(value: Any) -> str:
    """None, booleans, numbers, text, lists and dicts as JSON."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(str(k))}:{to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(to_json, value)) + "]"
    return repr(value)


def quote(text: str) -> str:
    """A JSON string."""
    return str(_quote(text))


def stamp(moment: float | None = None) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    ns = time.time_ns() if moment is None else int(moment * 1e9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NEXT = _FIRST | frozenset("_.-")


def is_name(text: str) -> bool:
    """Whether a container, volume or network may be called so: ``[a-zA-Z0-9][a-zA-Z0-9_.-]+``."""
    return len(text) > 1 and text[0] in _FIRST and _NEXT.issuperset(text)
