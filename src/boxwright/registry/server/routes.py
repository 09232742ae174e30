"""Paths below ``/v2``, and the names, tags and digests in them (distribution-spec, "Endpoints", "Pulling")."""

from __future__ import annotations

import re
from typing import NamedTuple

from boxwright.registry.server.errors import DigestWrong, RepositoryNameInvalid, TagInvalid, UploadUnknown
from boxwright.spec.digest import Digest, DigestInvalid

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_UPLOAD = re.compile(r"[0-9a-f]{32}\Z")
_LONGEST_NAME = 255


class Route(NamedTuple):
    """A parsed ``/v2/`` path. `kind`: base, catalog, manifests, blobs, uploads, upload, tags, referrers, discover."""

    kind: str
    name: str = ""
    reference: str = ""


def parse_route(path: str) -> Route | None:
    """Split from the right, since names hold slashes; None when the path is none of the registry's.

    Raises RepositoryNameInvalid for a path of the right shape with a wrong name.
    """
    if path in ("/v2", "/v2/"):
        return Route("base")
    if not path.startswith("/v2/"):
        return None
    rest = path[4:]
    if rest == "_catalog":
        return Route("catalog")
    if rest == "_oci/ext/discover":
        return Route("discover")
    for middle, kind in (
        ("/blobs/uploads/", "upload"),
        ("/manifests/", "manifests"),
        ("/blobs/", "blobs"),
        ("/referrers/", "referrers"),
    ):
        name, found, reference = rest.rpartition(middle)
        if found and "/" not in reference:
            if (kind == "upload" and not reference) or (kind == "blobs" and reference == "uploads"):
                kind = "uploads"
            return Route(kind, check_name(name), reference)
    for tail, kind in (("/tags/list", "tags"), ("/_oci/ext/discover", "discover")):
        if rest.endswith(tail):
            return Route(kind, check_name(rest[: -len(tail)]))
    return None


def check_name(name: str) -> str:
    """The repository name itself. Raises RepositoryNameInvalid."""
    if len(name) > _LONGEST_NAME or not _NAME.match(name):
        raise RepositoryNameInvalid(f"invalid repository name {name[:300]!r}", detail={"name": name[:300]})
    return name


def check_tag(tag: str) -> str:
    """The tag itself. Raises TagInvalid."""
    if not _TAG.match(tag):
        raise TagInvalid(f"invalid tag {tag[:200]!r}", detail={"tag": tag[:200]})
    return tag


def check_upload(upload: str) -> str:
    """The upload's id itself. Raises UploadUnknown."""
    if not _UPLOAD.match(upload):
        raise UploadUnknown("blob upload unknown to registry")
    return upload


def check_digest(text: str) -> Digest:
    """Raises DigestWrong."""
    try:
        return Digest.parse(text)
    except DigestInvalid as error:
        raise DigestWrong(str(error), detail={"digest": text[:200]}) from error


def is_digest(reference: str) -> bool:
    """Whether a manifest reference means a digest: tags have no colon."""
    return ":" in reference
