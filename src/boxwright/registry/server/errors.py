"""The registry's errors, with the codes of the distribution-spec ("Error Codes")."""

from __future__ import annotations

import json

from boxwright.errors import BoxwrightError


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
