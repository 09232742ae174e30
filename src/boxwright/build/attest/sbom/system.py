"""Packages of distributions that keep their database as text: dpkg (Debian) and apk (Alpine)."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.build.attest.sbom.package import Found, Package, line, stanzas, usable
from boxwright.spec.purl import purl

_DPKG = frozenset(("package", "version", "architecture", "status", "source", "maintainer", "homepage"))


def dpkg(data: bytes, found: Found) -> Iterator[Package]:
    """``/var/lib/dpkg/status``, or a file of ``status.d``, which says no status: packages whose files are there."""
    for said in stanzas(data, _DPKG):
        name, version = said.get("package", ""), said.get("version", "")
        state = (said.get("status") or "install ok installed").split()[-1]
        if not usable(name, version) or state in ("not-installed", "config-files"):
            continue
        yield Package(
            kind="dpkg",
            name=name,
            version=version,
            purl=purl(
                "deb",
                name.lower(),
                version,
                namespace=found.distribution.id or "debian",
                qualifiers={
                    "arch": said.get("architecture", ""),
                    "distro": found.distribution.qualifier,
                    "upstream": _upstream(said.get("source", "")),
                },
            ),
            supplier=line(said.get("maintainer", "")),
            homepage=line(said.get("homepage", "")),
            place=found.path,
        )


def _upstream(source: str) -> str:
    """``name (version)`` as ``name@version``."""
    name, _, version = source.partition(" ")
    version = version.strip().removeprefix("(").removesuffix(")")
    return f"{name}@{version}" if usable(name, version) else name if usable(name) else ""


def apk(data: bytes, found: Found) -> Iterator[Package]:
    """``/lib/apk/db/installed``: keys of one letter."""
    for raw in data.replace(b"\r", b"").split(b"\n\n"):
        said: dict[str, str] = {}
        for text in raw.split(b"\n"):
            if text[1:2] == b":":
                said.setdefault(
                    text[:1].decode("ascii", "replace"), text[2:].decode("utf-8", "replace").strip()
                )
        name, version = said.get("P", ""), said.get("V", "")
        if not usable(name, version):
            continue
        origin = said.get("o", "")
        yield Package(
            kind="apk",
            name=name,
            version=version,
            purl=purl(
                "apk",
                name.lower(),
                version,
                namespace=found.distribution.id or "alpine",
                qualifiers={
                    "arch": said.get("A", ""),
                    "distro": found.distribution.qualifier,
                    "upstream": origin if origin != name and usable(origin) else "",
                },
            ),
            license=line(said.get("L", "")),
            supplier=line(said.get("m", "")),
            homepage=line(said.get("U", "")),
            place=found.path,
        )
