"""Image manifests and indexes, OCI and Docker schema 2 (image-spec manifest.md, image-index.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from boxwright.errors import Invalid, Unsupported
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_SIZE = 8 * 1024 * 1024  # bytes; registries accept at least 4 MiB, the field's clients read up to 8


class ManifestInvalid(Invalid):
    """The bytes are no manifest or index, or contradict themselves."""


class SchemaUnsupported(Unsupported):
    """Docker schema 1, which the field has dropped."""


def canonical_json(value: object) -> bytes:
    """The one serialisation that Boxwright writes: no spaces, keys in the order given, UTF-8. What is no UTF-8 in the
    name of a file or in an argument becomes U+FFFD, as Go writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One platform's image (or an artifact): a config and layers, bottom first. `raw` is the exact bytes."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    raw: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @classmethod
    def compose(
        cls,
        config: Descriptor,
        layers: Iterable[Descriptor],
        *,
        media_type: str = mt.OCI_MANIFEST,
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
        artifact_type: str = "",
    ) -> Manifest:
        """Write a new manifest; the same arguments give the same bytes."""
        layers = tuple(layers)
        body: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
        if artifact_type:
            body["artifactType"] = artifact_type
        body["config"] = config.to_json()
        body["layers"] = [layer.to_json() for layer in layers]
        if subject is not None:
            body["subject"] = subject.to_json()
        if annotations:
            body["annotations"] = dict(sorted(annotations.items()))
        return cls(
            media_type=media_type,
            config=config,
            layers=layers,
            raw=canonical_json(body),
            annotations=dict(annotations or {}),
            subject=subject,
            artifact_type=artifact_type,
        )

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor.of(self.raw, self.media_type)

    def references(self) -> tuple[Descriptor, ...]:
        """Everything this manifest points down to."""
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """Several manifests under one name: platforms, attestations, nested indexes."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    raw: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @classmethod
    def compose(
        cls,
        manifests: Iterable[Descriptor],
        *,
        media_type: str = mt.OCI_INDEX,
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
        artifact_type: str = "",
    ) -> Index:
        """Write a new index; the same arguments give the same bytes."""
        manifests = tuple(manifests)
        body: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
        if artifact_type:
            body["artifactType"] = artifact_type
        body["manifests"] = [m.to_json() for m in manifests]
        if subject is not None:
            body["subject"] = subject.to_json()
        if annotations:
            body["annotations"] = dict(sorted(annotations.items()))
        return cls(
            media_type=media_type,
            manifests=manifests,
            raw=canonical_json(body),
            annotations=dict(annotations or {}),
            subject=subject,
            artifact_type=artifact_type,
        )

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor.of(self.raw, self.media_type)

    def references(self) -> tuple[Descriptor, ...]:
        """Everything this index points down to."""
        return self.manifests


def parse(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or index; `media_type` is what the transport said (parameters ignored).

    Raises ManifestInvalid, SchemaUnsupported.
    """
    if len(raw) > MAX_SIZE:
        raise ManifestInvalid(f"the manifest has {len(raw)} bytes; at most {MAX_SIZE} are accepted")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"the manifest is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ManifestInvalid("the manifest is not a JSON object")
    kind, is_index = _kind_of(body, media_type.partition(";")[0].strip())
    try:
        subject = Descriptor.from_json(body["subject"]) if body.get("subject") else None
        annotations = {} if body.get("annotations") is None else body["annotations"]
        if not isinstance(annotations, dict):
            raise ManifestInvalid("annotations must be a JSON object")
        annotations = {str(k): str(v) for k, v in annotations.items()}
        artifact = str(body.get("artifactType") or "")
        if is_index:
            entries = body.get("manifests")
            if not isinstance(entries, list):
                raise ManifestInvalid("the index has no list of manifests")
            return Index(
                media_type=kind or mt.OCI_INDEX,
                manifests=tuple(map(Descriptor.from_json, entries)),
                raw=raw,
                annotations=annotations,
                subject=subject,
                artifact_type=artifact,
            )
        layers = body.get("layers")
        if not isinstance(layers, list) or "config" not in body:
            raise ManifestInvalid("the manifest needs a config and a list of layers")
        return Manifest(
            media_type=kind or mt.OCI_MANIFEST,
            config=Descriptor.from_json(body["config"]),
            layers=tuple(map(Descriptor.from_json, layers)),
            raw=raw,
            annotations=annotations,
            subject=subject,
            artifact_type=artifact,
        )
    except ManifestInvalid:
        raise
    except Invalid as error:
        raise ManifestInvalid(f"the manifest is invalid: {error}") from error


def _kind_of(body: dict[str, Any], said: str) -> tuple[str, bool]:
    """Its media type, '' when neither the document nor the transport says one, and whether it is an index. Raises
    ManifestInvalid, SchemaUnsupported."""
    own = body.get("mediaType")
    if own is not None and not isinstance(own, str):
        raise ManifestInvalid("the manifest's mediaType is no text")
    if body.get("schemaVersion") == 1 or said in (mt.DOCKER_SCHEMA1, mt.DOCKER_SCHEMA1_SIGNED):
        raise SchemaUnsupported(
            "the image uses Docker schema 1, which is no longer supported",
            hint="build or push it again with any tool made after 2017",
        )
    if body.get("schemaVersion") != 2:
        raise ManifestInvalid("the manifest has no schemaVersion 2")
    if own and said and own != said and said in mt.INDEXES | mt.MANIFESTS:
        raise ManifestInvalid(f"the manifest calls itself {own} and was served as {said}")
    kind = own or (said if said in mt.INDEXES | mt.MANIFESTS else "")
    is_index = kind in mt.INDEXES or (not kind and "manifests" in body)
    if is_index and ("layers" in body or "config" in body):
        raise ManifestInvalid("the manifest claims to be an index and an image at once")
    if not is_index and kind in mt.MANIFESTS and "manifests" in body:
        raise ManifestInvalid("the manifest claims to be an image and an index at once")
    if kind and kind not in mt.INDEXES | mt.MANIFESTS:
        raise ManifestInvalid(f"unknown manifest type {kind!r}")
    return kind, is_index
