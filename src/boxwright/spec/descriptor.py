"""Descriptors: the currency for bytes (image-spec descriptor.md)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

from boxwright.errors import Invalid
from boxwright.spec.digest import Digest
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DescriptorInvalid(Invalid):
    """A descriptor lacks a field or has one of the wrong type."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What bytes are (media type), which (digest) and how many (size, in bytes)."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    data: bytes | None = None

    @classmethod
    def of(cls, content: bytes, media_type: str, **more: Any) -> Descriptor:
        """Describe these bytes; `more` are other fields."""
        return cls(media_type, Digest.of(content), len(content), **more)

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Raises DescriptorInvalid or DigestInvalid."""
        if not isinstance(value, dict):
            raise DescriptorInvalid("a descriptor must be a JSON object")
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if not isinstance(media_type, str) or not isinstance(digest, str):
            raise DescriptorInvalid("a descriptor needs mediaType and digest as text")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise DescriptorInvalid(f"descriptor {digest[:80]} has no valid size")
        annotations, urls, data, platform = (
            value.get("annotations"),
            value.get("urls"),
            value.get("data"),
            value.get("platform"),
        )
        try:
            inline = binascii.a2b_base64(data, strict_mode=True) if isinstance(data, str) else None
        except ValueError as error:
            raise DescriptorInvalid(f"descriptor {digest[:80]} has data that is not base64") from error
        return cls(
            media_type=media_type,
            digest=Digest.parse(digest),
            size=size,
            annotations={str(k): str(v) for k, v in annotations.items()}
            if isinstance(annotations, dict)
            else {},
            platform=Platform.from_json(platform) if isinstance(platform, dict) else None,
            urls=tuple(str(u) for u in urls) if isinstance(urls, list) else (),
            artifact_type=str(value.get("artifactType") or ""),
            data=inline,
        )

    def to_json(self) -> dict[str, Any]:
        """The wire form, empty fields left out."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            out["urls"] = list(self.urls)
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform is not None:
            out["platform"] = self.platform.to_json()
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        if self.data is not None:
            out["data"] = binascii.b2a_base64(self.data, newline=False).decode()
        return out
