"""A registry's answers as our errors (distribution-spec, error codes), and small readings of its headers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from boxwright.errors import BoxwrightError, Denied, Invalid, NotFound, Unauthorized, Unavailable, Unsupported
from boxwright.registry.client.http import Reply

TRANSIENT = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 522, 524})
_LONGEST_BODY = 256 * 1024  # bytes of an error document that are read


class RegistryRefused(Invalid):
    """The registry does not accept the request."""


class UnknownToRegistry(NotFound):
    """The registry has no such repository, manifest or blob."""


class AccessNeeded(Unauthorized):
    """The registry wants (other) credentials."""


class AccessDenied(Denied):
    """The registry knows the account and says no."""


class RateLimited(Unavailable):
    """Too many requests."""


class RegistryFailed(Unavailable):
    """The registry answers with a server error."""


class RegistryCannot(Unsupported):
    """The registry does not do this."""


def error_from(reply: Reply, what: str) -> BoxwrightError:
    """The error for a reply that was not wanted; reads and releases it. `what` was wanted ("manifest for x")."""
    said, codes = _explained(reply)
    status = reply.status
    tail = f": {said}" if said else ""
    if status == 401:
        return AccessNeeded(
            f"{what}: unauthorized{tail}" if not said else f"{what}{tail}",
            hint="log in first: boxwright login",
        )
    if status == 403:
        return AccessDenied(f"{what}: denied{tail}" if not said else f"{what}{tail}")
    if status == 404:
        unknown = {
            "MANIFEST_UNKNOWN": "manifest unknown",
            "NAME_UNKNOWN": "repository unknown",
            "BLOB_UNKNOWN": "blob unknown",
        }
        short = next((unknown[c] for c in codes if c in unknown), "")
        return UnknownToRegistry(
            f"{what} not found" + (f": {short}" if short else "") + (tail if said and said != short else "")
        )
    if status == 429:
        return RateLimited(
            f"{what}: too many requests{tail}",
            hint="wait, or log in: accounts have higher limits than anonymous users",
        )
    if status in (405, 501):
        return RegistryCannot(f"{what}: {urlsplit(reply.url).netloc} does not support this{tail}")
    if status >= 500 or status in TRANSIENT:
        return RegistryFailed(f"{what}: {urlsplit(reply.url).netloc} answers with status {status}{tail}")
    return RegistryRefused(f"{what}: {urlsplit(reply.url).netloc} answers with status {status}{tail}")


def _explained(reply: Reply) -> tuple[str, list[str]]:
    """What the body says, and its codes; never raises."""
    try:
        raw = reply.read_all(_LONGEST_BODY)
        body = json.loads(raw) if raw else {}
    except (BoxwrightError, ValueError, RecursionError):
        reply.close()
        return "", []
    errors = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(errors, list):
        text = body.get("message") or body.get("details") if isinstance(body, dict) else ""
        return clean(text or ""), []
    texts, codes = [], []
    for error in errors[:5]:
        if isinstance(error, dict):
            code, message, detail = str(error.get("code") or ""), error.get("message"), error.get("detail")
            codes.append(code)
            text = str(message or code.lower().replace("_", " "))
            if isinstance(detail, str) and detail and detail != message:
                text += f" ({detail})"
            texts.append(clean(text))
    return "; ".join(dict.fromkeys(texts)), codes


def clean(text: object) -> str:
    """A peer's text, fit for a terminal: no control characters, not endless."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()[:400]


def retry_after(reply: Reply) -> float | None:
    """Seconds to wait, from a Retry-After header in either form; None without one."""
    value = reply.header("Retry-After").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def next_link(reply: Reply) -> str:
    """The URL of the next page (RFC 8288), '' on the last. It is on the same host, whatever the link says: a registry
    behind a proxy may not know its own name."""
    for value in reply.headers("Link"):
        for match in re.finditer(r"<([^<>]*)>((?:\s*;\s*[^,;<>]*)*)", value):
            relations = re.search(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,]*))", match[2], re.I)
            if relations and "next" in (relations[1] or relations[2] or "").lower().split():
                path = re.sub(r"\A(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*", "", match[1])
                return urljoin(reply.url, path or "/").partition("#")[0]
    return ""


def content_range(reply: Reply) -> tuple[int, int, int | None] | None:
    """First, last and whole length of a 206; None when it cannot be read."""
    match = re.match(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*\Z", reply.header("Content-Range"))
    return (int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])) if match else None


def json_object(raw: bytes, what: str) -> Mapping[str, object]:
    """A document that must be a JSON object. Raises RegistryRefused."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RegistryRefused(f"{what}: the answer is not JSON") from error
    if not isinstance(body, dict):
        raise RegistryRefused(f"{what}: the answer is not a JSON object")
    return body
