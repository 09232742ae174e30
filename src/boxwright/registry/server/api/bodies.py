"""Small bodies whole, and what they say: forms, JSON. What is none is refused with a 400."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from boxwright.registry.server.api.requests import is_text
from boxwright.registry.server.errors import BodyTooLarge, ManifestWrong, TextInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiohttp import web

    from boxwright.registry.server.api.service import Service


async def body(service: Service, request: web.BaseRequest, most: int) -> bytes:
    """A small body whole. Raises BodyTooLarge beyond `most` bytes."""
    raw = bytearray()
    while piece := await service.read(request):
        raw += piece
        if len(raw) > most:
            raise BodyTooLarge(f"the body has more than {most} bytes")
    return bytes(raw)


async def form(service: Service, request: web.BaseRequest, most: int) -> dict[str, str]:
    """A form of a page or of a token's client. Raises TextInvalid, BodyTooLarge."""
    raw = await body(service, request, most)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True))
    except ValueError as error:
        raise TextInvalid("the form cannot be read") from error


async def json_object(service: Service, request: web.BaseRequest, most: int, wanted: str) -> dict[str, Any]:
    """A body of at most `most` bytes. All its texts are text. Raises BodyTooLarge, and ManifestWrong, which says what
    was `wanted`."""
    raw = await body(service, request, most)
    try:
        found = json.loads(raw)
        right = isinstance(found, dict) and _only_text(found)
    except (ValueError, RecursionError):
        right = False
    if not right:
        raise ManifestWrong(f"the body must be {wanted}")
    return dict(found)


def _only_text(value: object) -> bool:
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, list):
        return all(map(_only_text, value))
    if isinstance(value, dict):
        return all(is_text(key) and _only_text(inner) for key, inner in value.items())
    return True
