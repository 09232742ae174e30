"""What a request carries, parsed once into values: texts, numbers, ranges. What is none is refused with a 400."""

from __future__ import annotations

import re
from typing import NamedTuple

from boxwright.registry.server.errors import (
    PageInvalid,
    RangeInvalid,
    TextInvalid,
    UploadInvalid,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiohttp import web
    from multidict import MultiMapping

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
_DIGITS = re.compile(r"[0-9]+\Z")
_MOST_DIGITS = 18  # what has more is as good as endless, and fits into 64 bits all the same
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z")
_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]+)-([0-9]+)(?:/.*)?\Z")


def is_text(value: str) -> bool:
    """Whether it is text that a database can hold: no NUL, no half of a character."""
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def path(request: web.BaseRequest) -> str:
    """The path, decoded. An absolute form is the same request (RFC 9112, 3.2.2). Raises TextInvalid."""
    raw = request.raw_path
    found = raw if raw.startswith("/") and not ("%" in raw or "?" in raw) else request.path
    if not raw.isascii() or not is_text(found):
        raise TextInvalid("the path of the request is no text")
    return found


def query(request: web.BaseRequest) -> MultiMapping[str]:
    """The query parameters. Raises TextInvalid."""
    found = request.rel_url.query
    for key, value in found.items():
        if not is_text(key) or not is_text(value):
            raise TextInvalid(f"the parameter {key[:40]!r} is no text")
    return found


def whole(text: str) -> int | None:
    """A number in ASCII digits, however many; None when it is none."""
    if not _DIGITS.match(text):
        return None
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def number(request: web.BaseRequest, name: str, default: int, *, least: int, most: int) -> int:
    """A number among the parameters, brought into its range. Raises PageInvalid."""
    text = query(request).get(name, "")
    if not text:
        return default
    found = whole(text)
    if found is None:
        raise PageInvalid(f"{name} is {text[:50]!r}; it must be a whole number")
    return min(max(found, least), most)


def check_range(text: str, size: int) -> None:
    """A ``Range`` of `size` bytes; aiohttp's answer obeys it then. Raises RangeInvalid."""
    headers = {"Content-Range": f"bytes */{size}"}
    match = _RANGE.match(text)
    if not match or text == "bytes=-":
        raise RangeInvalid(f"invalid range {text[:80]!r}", headers=headers)
    first, last = whole(match[1]), whole(match[2])
    backwards = first is not None and last is not None and first > last
    if backwards or (first is not None and first >= size) or (first is None and not last):
        raise RangeInvalid(f"range {text[:80]} is outside of the blob's {size} bytes", headers=headers)
    if max(len(match[1]), len(match[2])) > _MOST_DIGITS:
        raise RangeInvalid("a range of so many digits is not served", headers=headers)


class Chunk(NamedTuple):
    """Where a chunk begins and ends, both counted from 0."""

    first: int
    last: int


def content_range(text: str) -> Chunk:
    """A ``Content-Range`` of an upload. Raises UploadInvalid."""
    match = _CONTENT_RANGE.match(text)
    first, last = (whole(match[1]), whole(match[2])) if match else (None, None)
    if first is None or last is None:
        raise UploadInvalid(f"invalid Content-Range {text[:80]!r}: wanted <first>-<last>")
    return Chunk(first, last)


def host(request: web.BaseRequest) -> str:
    """How the client names this registry; '' when that is no host's name."""
    return request.host if _HOST.match(request.host) else ""
