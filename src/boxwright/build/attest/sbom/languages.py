"""Packages that installers of languages leave records of: Python's metadata, npm's package.json and lock files."""

from __future__ import annotations

import json
from collections.abc import Iterator

from boxwright.build.attest.sbom.package import Found, Package, line, stanzas, usable
from boxwright.spec.purl import purl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_METADATA = frozenset(
    ("metadata-version", "name", "version", "license", "license-expression", "home-page", "author")
)
_MOST = 100_000  # packages of a lock file
_DEEPEST = 64  # dependencies in dependencies


def python(data: bytes, found: Found) -> Iterator[Package]:
    """``METADATA`` of a dist-info, ``PKG-INFO`` of an egg-info."""
    said = next(stanzas(data, _METADATA), {})
    name, version = said.get("name", ""), said.get("version", "")
    if not usable(name, version):
        return
    yield Package(
        kind="python",
        name=name,
        version=version,
        purl=purl("pypi", name.replace("_", "-").lower(), version),
        license=line(said.get("license-expression") or said.get("license", "")),
        supplier=line(said.get("author", "")),
        homepage=line(said.get("home-page", "")),
        place=found.path,
    )


def npm(data: bytes, found: Found) -> Iterator[Package]:
    """``package.json`` of an installed package."""
    body = _json(data)
    if isinstance(body, dict):
        made = _npm(name=body.get("name"), version=body.get("version"), body=body, found=found)
        if made is not None:
            yield made


def npm_lock(data: bytes, found: Found) -> Iterator[Package]:
    """``package-lock.json`` and ``npm-shrinkwrap.json``, of all versions."""
    body = _json(data)
    if not isinstance(body, dict):
        return
    packages = body.get("packages")
    left = _MOST
    if isinstance(packages, dict):
        for path, entry in packages.items():
            if left and path and isinstance(entry, dict) and not entry.get("link"):
                left -= 1
                name = entry.get("name") or path.rpartition("node_modules/")[2]
                if (
                    made := _npm(name=name, version=entry.get("version"), body=entry, found=found)
                ) is not None:
                    yield made
        return
    todo: list[tuple[Any, int]] = [(body.get("dependencies"), 0)]
    while todo:
        entries, depth = todo.pop()
        if not isinstance(entries, dict) or depth > _DEEPEST:
            continue
        for name, entry in entries.items():
            if left and isinstance(entry, dict):
                left -= 1
                if (
                    made := _npm(name=name, version=entry.get("version"), body=entry, found=found)
                ) is not None:
                    yield made
                todo.append((entry.get("dependencies"), depth + 1))


def _npm(name: Any, version: Any, body: dict[str, Any], found: Found) -> Package | None:
    if not isinstance(name, str) or not isinstance(version, str) or not usable(name, version):
        return None
    scope, slash, rest = name.rpartition("/")
    if slash and (not scope.startswith("@") or "/" in scope):
        return None
    license, author, homepage = (body.get(key) for key in ("license", "author", "homepage"))
    if isinstance(license, dict):
        license = license.get("type")
    if isinstance(author, dict):
        author = author.get("name")
    return Package(
        kind="npm",
        name=name,
        version=version,
        purl=purl("npm", rest.lower(), version, namespace=scope.lower()),
        license=line(license) if isinstance(license, str) else "",
        supplier=line(author) if isinstance(author, str) else "",
        homepage=line(homepage) if isinstance(homepage, str) else "",
        place=found.path,
    )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
