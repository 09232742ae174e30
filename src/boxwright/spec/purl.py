"""Package URLs: names of packages of all kinds (the package-url specification and its types)."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

# What stands unescaped in a name
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:")


def purl(
    kind: str,
    name: str,
    version: str = "",
    *,
    namespace: str = "",
    qualifiers: Mapping[str, str] | None = None,
) -> str:
    """``pkg:kind/namespace/name@version?key=value``; parts that are '' are left out, qualifiers sorted by key."""
    path = "/".join(_escaped(part) for part in [*namespace.split("/"), name] if part)
    at = "@" + _escaped(version) if version else ""
    given = {key: value for key, value in (qualifiers or {}).items() if value}
    query = "&".join(f"{key}={_escaped(given[key])}" for key in sorted(given))
    return f"pkg:{kind}/{path}{at}" + (f"?{query}" if query else "")


def image_purl(reference: Reference, platform: Platform | None = None) -> str:
    """``pkg:docker/library-less/name@tag?digest=…&platform=…``: an image, as BuildKit names it."""
    namespace, _, name = reference.familiar_name.rpartition("/")
    tag = reference.tag or ("" if reference.digest else "latest")
    qualifiers = {"digest": reference.digest, "platform": str(platform) if platform is not None else ""}
    return purl("docker", name, tag, namespace=namespace, qualifiers=qualifiers)


def _escaped(text: str) -> str:
    """As `urllib.parse.quote` does it, which takes a millisecond to import in each build."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode())
