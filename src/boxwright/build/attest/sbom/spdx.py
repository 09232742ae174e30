"""A bill of materials as a document of SPDX 2.3 (JSON). The same packages give the same bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from boxwright.build.attest.sbom.package import Package
from boxwright.build.attest.sbom.scan import Scanned
from boxwright.spec.manifest import canonical_json
from boxwright.spec.times import rfc3339, unix_seconds
from boxwright.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT = "SPDXRef-DocumentRoot"
_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")
_NONE = "NOASSERTION"
_SAID = {
    "dpkg": "the database of dpkg",
    "apk": "the database of apk",
    "rpm": "the database of rpm",
    "python": "metadata of an installed Python package",
    "npm": "a package.json or lock file of npm",
    "go": "the modules that a Go program was linked with",
    "cargo": "the crates that a Rust program was built from",
}


def document(scanned: Scanned, name: str, created: str) -> dict[str, Any]:
    """The document about something called `name` (a stage, an image's name) that was made at `created` (RFC 3339)."""
    groups: dict[str, list[Package]] = {}
    for package in scanned.packages:
        groups.setdefault(package.purl, []).append(package)
    packages = [_package(found) for found in groups.values()]
    root = {
        "name": name,
        "SPDXID": _ROOT,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
        "primaryPackagePurpose": "CONTAINER",
    }
    about = "SPDXRef-DOCUMENT"
    relations = [
        _relation(about, "DESCRIBES", _ROOT),
        *(_relation(_ROOT, "CONTAINS", p["SPDXID"]) for p in packages),
    ]
    seconds = unix_seconds(created)
    body: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": about,
        "name": name,
        "documentNamespace": "",
        "creationInfo": {
            "created": rfc3339(float(int(seconds or 0))),
            "creators": [f"Tool: boxwright-{__version__}"],
        },
        "packages": [root, *packages],
        "relationships": relations,
    }
    if scanned.notes:
        body["comment"] = "; ".join(scanned.notes)
    named = hashlib.sha256(canonical_json(body)).hexdigest()[:32]
    body["documentNamespace"] = f"https://spdx.org/spdxdocs/{_UNFIT.sub('-', name) or 'image'}-{named}"
    return body


def _package(found: Sequence[Package]) -> dict[str, Any]:
    first = found[0]
    named = hashlib.sha256(first.purl.encode()).hexdigest()[:16]
    places = ", ".join(f"/{one.place}" for one in found)
    out: dict[str, Any] = {
        "name": first.name,
        "SPDXID": f"SPDXRef-Package-{first.kind}-{_UNFIT.sub('-', first.name)[:64]}-{named}",
        **({"versionInfo": first.version} if first.version else {}),
        **({"supplier": _supplier(first.supplier)} if first.supplier else {}),
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        **({"homepage": first.homepage} if _is_url(first.homepage) else {}),
        "sourceInfo": f"found in {_SAID[first.kind]}: {places}",
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        **({"licenseComments": f"the package says: {first.license}"} if first.license else {}),
        "copyrightText": _NONE,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": first.purl}
        ],
    }
    layers = sorted({one.layer for one in found if one.layer})
    if layers:
        out["comment"] = "layerID: " + ", ".join(layers)
    return out


def _supplier(text: str) -> str:
    """``Name <address>`` with the address as SPDX has it."""
    found = re.fullmatch(r"([^<>()]+?)\s*<([^<>()\s]+@[^<>()\s]+)>", text)
    return f"Organization: {found[1]} ({found[2]})" if found else "Organization: " + re.sub(r"[()]", "", text)


def _is_url(text: str) -> bool:
    return re.fullmatch(r"https?://[A-Za-z0-9.-]+(?::\d+)?(?:/[\x21-\x7e]*)?", text) is not None


def _relation(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}
