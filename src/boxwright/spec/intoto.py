"""In-toto statements and the manifests that carry them beside an image, as BuildKit lays them out
(docs/attestations/attestation-storage.md there; in-toto attestation v1).

An index has, behind its images, one attestation manifest for each of them: of the platform unknown/unknown, with an
annotation that names the image's manifest. Its layers are statements, each about that manifest's digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from boxwright.errors import Invalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Manifest, canonical_json
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATEMENT = "application/vnd.in-toto+json"
PREDICATE_TYPE = "in-toto.io/predicate-type"
REFERENCE_TYPE, REFERENCE_DIGEST = "vnd.docker.reference.type", "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"
ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"
SPDX = "https://spdx.dev/Document"
SLSA = "https://slsa.dev/provenance/"
LARGEST = 40 << 20  # bytes of a statement: what BuildKit reads of one
_TYPE = "https://in-toto.io/Statement/v1"
_NOWHERE = Platform("unknown", "unknown")


class StatementInvalid(Invalid):
    """The bytes are no in-toto statement."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: a name for people (a package URL, a path) and a digest."""

    name: str
    digest: Digest

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"name": self.name, "digest": {self.digest.algorithm: self.digest.hex}}


@dataclass(frozen=True, slots=True)
class Attested:
    """A manifest of attestations with everything that it names. `blobs` are its config and statements."""

    manifest: Manifest
    blobs: tuple[tuple[Descriptor, bytes], ...]
    image: Descriptor

    @property
    def entry(self) -> Descriptor:
        """As the index lists it."""
        about = {REFERENCE_DIGEST: str(self.image.digest), REFERENCE_TYPE: ATTESTATION}
        return replace(self.manifest.descriptor, annotations=about, platform=_NOWHERE)


def statement(predicate_type: str, subjects: Iterable[Subject], predicate: object) -> bytes:
    """A statement as it is stored."""
    return canonical_json(
        {
            "_type": _TYPE,
            "predicateType": predicate_type,
            "subject": [subject.to_json() for subject in subjects],
            "predicate": predicate,
        }
    )


def parsed(raw: bytes) -> dict[str, Any]:
    """A statement with its `predicateType`, `subject` and `predicate`, the latter any JSON. Raises
    StatementInvalid."""
    try:
        body = json.loads(raw) if len(raw) <= LARGEST else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("predicateType"), str):
        raise StatementInvalid("the blob is no in-toto statement")
    if not isinstance(body.get("subject", []), list):
        raise StatementInvalid("the statement's subject is no list")
    return body


def attested(
    image: Descriptor, statements: Sequence[tuple[str, bytes]], *, artifact: bool = False
) -> Attested:
    """The attestation manifest over statements (predicate type, bytes) about an image's manifest. `artifact`: the form
    with a subject that registries list among the manifest's referrers, instead of the form of an image."""
    layers = tuple(
        Descriptor.of(raw, STATEMENT, annotations={PREDICATE_TYPE: kind}) for kind, raw in statements
    )
    if artifact:
        raw_config, config = b"{}", Descriptor.of(b"{}", mt.OCI_EMPTY, data=b"{}")
    else:
        rootfs = {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]}
        raw_config = canonical_json(
            {"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs}
        )
        config = Descriptor.of(raw_config, mt.OCI_CONFIG)
    manifest = Manifest.compose(
        config,
        layers,
        subject=Descriptor(image.media_type, image.digest, image.size) if artifact else None,
        artifact_type=ARTIFACT if artifact else "",
    )
    blobs = ((config, raw_config), *zip(layers, (raw for _, raw in statements)))
    return Attested(manifest, blobs, Descriptor(image.media_type, image.digest, image.size))


def about(entry: Descriptor) -> Digest | None:
    """Which manifest of its index an entry of an index attests; None when it is no attestation."""
    named = entry.annotations.get(REFERENCE_DIGEST)
    if entry.annotations.get(REFERENCE_TYPE) != ATTESTATION or not named:
        return None
    try:
        return Digest.parse(named)
    except Invalid:
        return None


def moved(raw: bytes, old: Digest, new: Digest) -> bytes:
    """A statement about `old` as one about `new`: the same image after its layers were compressed. Raises
    StatementInvalid."""
    body = parsed(raw)
    for subject in body.get("subject", []):
        digests = subject.get("digest") if isinstance(subject, dict) else None
        if isinstance(digests, dict) and digests.get(old.algorithm) == old.hex:
            subject["digest"] = {new.algorithm: new.hex}
    return canonical_json(body)
