"""Package URLs: names of packages of all kinds (the package-url specification and its types)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

_PLAIN = "-._~:"  # what stands unescaped in a name


def purl(
    kind: str,
    name: str,
    version: str = "",
    *,
    namespace: str = "",
    qualifiers: Mapping[str, str] | None = None,
) -> str:
    """``pkg:kind/namespace/name@version?key=value``; parts that are '' are left out, qualifiers sorted by key."""
    path = "/".join(quote(part, safe=_PLAIN) for part in [*namespace.split("/"), name] if part)
    at = "@" + quote(version, safe=_PLAIN) if version else ""
    given = {key: value for key, value in (qualifiers or {}).items() if value}
    query = "&".join(f"{key}={quote(given[key], safe=_PLAIN)}" for key in sorted(given))
    return f"pkg:{kind}/{path}{at}" + (f"?{query}" if query else "")


def image_purl(reference: Reference, platform: Platform | None = None) -> str:
    """``pkg:docker/library-less/name@tag?digest=…&platform=…``: an image, as BuildKit names it."""
    namespace, _, name = reference.familiar_name.rpartition("/")
    tag = reference.tag or ("" if reference.digest else "latest")
    qualifiers = {"digest": reference.digest, "platform": str(platform) if platform is not None else ""}
    return purl("docker", name, tag, namespace=namespace, qualifiers=qualifiers)
