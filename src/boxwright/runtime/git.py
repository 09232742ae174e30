"""The git program on repositories that others wrote: what it is told, and what it must not be told by them.

Passwords never stand in an argument (every user of the host reads those), in a checkout or in what git says: they are
taken out of the URL and go to git as configuration in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from boxwright.errors import Invalid
from boxwright.spec.urls import public

_PROTOCOLS = "https:http:git:ssh"  # not ext, which runs commands, and not file, which reads this host
# Nothing that a checkout could bring or a template could add is run.
_SAFE = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("submodule.recurse", "false"),
    ("advice.detachedHead", "false"),
)


class GitUrlInvalid(Invalid):
    """A repository's URL cannot be understood."""


def host(url: str) -> str:
    """The server of a URL, or of ``user@server:path``. Raises GitUrlInvalid."""
    if "://" not in url:
        return url.partition("@")[2].partition(":")[0]
    try:
        return urlsplit(url).hostname or ""
    except ValueError as error:
        raise GitUrlInvalid(f"invalid repository URL {public(url)!r}") from error


def split(url: str) -> tuple[str, str]:
    """The URL to tell git, and the Authorization header ('' = none) that a name and password in it stand for. Raises
    GitUrlInvalid."""
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise ValueError(url)  # as other ports do that are none
        if parts.scheme not in ("http", "https") or parts.username is None:
            return url, ""
    except ValueError as error:
        raise GitUrlInvalid(f"invalid repository URL {public(url)!r}") from error
    return public(url), basic(unquote(parts.username), unquote(parts.password or ""))


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    import base64

    return "basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def environment(
    base: Mapping[str, str], url: str = "", authorization: str = "", addresses: Sequence[str] = ()
) -> dict[str, str]:
    """The environment of a git program: `base`, with which protocols it may speak, submodules included, and an
    Authorization header for the server of `url`. With `addresses` it connects to these alone, whatever the name's are
    by then, and follows no redirection; that is for http and https."""
    settings = list(_SAFE)
    if addresses:
        settings.append(("http.followRedirects", "false"))
        parts = urlsplit(url)
        if parts.hostname and ":" not in parts.hostname:  # an address of IPv6 is no name
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            there = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
            settings.append(("http.curloptResolve", f"{parts.hostname}:{port}:{there}"))
    if authorization:
        parts = urlsplit(url)
        settings.append(
            (f"http.{parts.scheme}://{parts.netloc}/.extraHeader", f"Authorization: {authorization}")
        )
    out = {
        **base,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "LC_ALL": "C",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings):
        out[f"GIT_CONFIG_KEY_{number}"], out[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return out
