"""URLs as text."""

from __future__ import annotations


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
