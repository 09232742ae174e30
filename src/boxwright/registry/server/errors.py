"""Errors as the wire knows them, and names as the paths hold them (distribution-spec, "Error Codes", "Pulling")."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from boxwright.errors import BoxwrightError
from boxwright.spec.digest import Digest, DigestInvalid

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_UPLOAD = re.compile(r"[0-9a-f]{32}\Z")
_LONGEST_NAME = 255


class RegistryError(BoxwrightError):
    """A request that cannot be served; `code` goes into the body, `http_status` on the status line."""

    code = "UNKNOWN"
    http_status = 500

    def __init__(
        self, message: str, *, detail: object = None, headers: dict[str, str] | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.detail = detail
        self.headers = headers or {}

    def body(self) -> bytes:
        """``{"errors": [{"code", "message", "detail"}]}``"""
        return json.dumps(
            {"errors": [{"code": self.code, "message": str(self), "detail": self.detail}]}
        ).encode()


class RepositoryNameInvalid(RegistryError):
    code, http_status = "NAME_INVALID", 400


class NameUnknown(RegistryError):
    code, http_status = "NAME_UNKNOWN", 404


class TagInvalid(RegistryError):
    code, http_status = "TAG_INVALID", 400


class DigestWrong(RegistryError):
    code, http_status = "DIGEST_INVALID", 400


class SizeWrong(RegistryError):
    code, http_status = "SIZE_INVALID", 400


class BlobUnknown(RegistryError):
    code, http_status = "BLOB_UNKNOWN", 404


class UploadInvalid(RegistryError):
    code, http_status = "BLOB_UPLOAD_INVALID", 400


class UploadUnknown(RegistryError):
    code, http_status = "BLOB_UPLOAD_UNKNOWN", 404


class RangeInvalid(RegistryError):
    code, http_status = "RANGE_INVALID", 416


class ManifestWrong(RegistryError):
    code, http_status = "MANIFEST_INVALID", 400


class ManifestTooLarge(RegistryError):
    code, http_status = "MANIFEST_INVALID", 413


class ManifestUnknown(RegistryError):
    code, http_status = "MANIFEST_UNKNOWN", 404


class ManifestChanged(RegistryError):
    code, http_status = "MANIFEST_INVALID", 412


class ManifestBlobUnknown(RegistryError):
    code, http_status = "MANIFEST_BLOB_UNKNOWN", 400


class TextInvalid(RegistryError):
    code, http_status = "UNSUPPORTED", 400


class PageInvalid(RegistryError):
    code, http_status = "PAGINATION_NUMBER_INVALID", 400


class Unauthenticated(RegistryError):
    code, http_status = "UNAUTHORIZED", 401


class Forbidden(RegistryError):
    code, http_status = "DENIED", 403


class MethodUnsupported(RegistryError):
    code, http_status = "UNSUPPORTED", 405


class EncodingUnsupported(RegistryError):
    code, http_status = "UNSUPPORTED", 415


class TooManyTags(RegistryError):
    code, http_status = "TAG_INVALID", 414


class QuotaExceeded(RegistryError):
    code, http_status = "DENIED", 403


class TooManyRequests(RegistryError):
    code, http_status = "TOOMANYREQUESTS", 429


class ReadOnly(RegistryError):
    code, http_status = "UNSUPPORTED", 405


class BlobTooLarge(RegistryError):
    code, http_status = "SIZE_INVALID", 413


class BodyTooLarge(RegistryError):
    code, http_status = "SIZE_INVALID", 413


class BodyTimeout(RegistryError):
    code, http_status = "BLOB_UPLOAD_INVALID", 408


class Busy(RegistryError):
    code, http_status = "UNAVAILABLE", 503


class UpstreamFailed(RegistryError):
    code, http_status = "UNAVAILABLE", 502


class NoSpace(RegistryError):
    code, http_status = "UNAVAILABLE", 503


class StorageFailing(RegistryError):
    code, http_status = "UNAVAILABLE", 503


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
