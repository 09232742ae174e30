"""URLs as text."""

from __future__ import annotations

import re


def public(url: str) -> str:
    """The URL as it may be shown: without a password, and without a user name that may be a token."""
    head, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    if head in ("http", "https"):
        user = ""
    return f"{head}://{user.partition(':')[0] + '@' if at and user else ''}{host}{slash}{path}"


# The end of a scheme is enough: a long line of digits is none, and would be looked at from each of them.
_ACCOUNT = r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s/?#'\"<>]*@"


def redacted(text: str) -> str:
    """A text without the accounts in its URLs: what is written down may be read by others than who typed it. A name
    without a password stays where it says who asks (``ssh://git@host``)."""
    return re.sub(_ACCOUNT, _kept, text) if "://" in text and "@" in text else text


def redacted_source(data: bytes) -> bytes:
    """The same of a file's bytes, whose lines stay where they are."""
    return redacted(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _kept(found: re.Match[str]) -> str:
    return public(found.group() + "h/")[:-2]
