"""What a manifest must be to be stored, and what is remembered of it (distribution-spec, "Pushing Manifests")."""

from __future__ import annotations

from collections.abc import Callable

from boxwright.errors import BoxwrightError
from boxwright.registry.server.errors import DigestWrong, ManifestBlobUnknown, ManifestTooLarge, ManifestWrong
from boxwright.registry.server.store.catalog import ManifestRow
from boxwright.spec import mediatypes as mt
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, parse

MAX_TAGS = 50  # in one request


def examine(
    content: bytes,
    media_type: str,
    wanted: Digest | None,
    *,
    has_blob: Callable[[str], bool],
    has_manifest: Callable[[str], bool],
    sparse: bool,
    sparse_images: bool = False,
) -> ManifestRow:
    """Check a pushed manifest against its type, its digest and what the repository holds.

    With `sparse`, an index may name children that are not here, with `sparse_images` an image blobs. Raises
    ManifestWrong, ManifestTooLarge, DigestWrong, ManifestBlobUnknown.
    """
    if len(content) > MAX_SIZE:
        raise ManifestTooLarge(f"the manifest has {len(content)} bytes; at most {MAX_SIZE} are accepted")
    digest = Digest.of(content, wanted.algorithm if wanted else "sha256")
    if wanted is not None and wanted != digest:
        raise DigestWrong(f"the manifest's digest is {digest}, not {wanted}", detail={"digest": str(wanted)})
    try:
        manifest = parse(content, media_type)
    except BoxwrightError as error:
        raise ManifestWrong(str(error)) from error
    needed = required(manifest, sparse=sparse, sparse_images=sparse_images)
    if isinstance(manifest, Index):
        missing = [d for d in needed if not has_manifest(str(d))]
        artifact = manifest.artifact_type
    else:
        missing = [d for d in needed if not has_blob(str(d))]
        artifact = manifest.artifact_type or manifest.config.media_type
    try:
        artifact.encode()
    except UnicodeEncodeError as error:  # JSON may hold half a character
        raise ManifestWrong("the manifest's artifact type is no text") from error
    if missing:
        raise ManifestBlobUnknown(
            f"the manifest names {missing[0]}, which is not in this repository",
            detail=[{"digest": str(d)} for d in missing[:20]],
        )
    return ManifestRow(
        digest=str(digest),
        media_type=manifest.media_type,
        content=content,
        subject=str(manifest.subject.digest) if manifest.subject else None,
        artifact_type=artifact,
        annotations=dict(manifest.annotations),
        links=tuple(dict.fromkeys(str(d.digest) for d in manifest.references())),
        needed=tuple(dict.fromkeys(str(d) for d in needed)),
    )


def required(manifest: Manifest | Index, *, sparse: bool, sparse_images: bool) -> list[Digest]:
    """What must be in the repository of a manifest, so that it can be pulled from there."""
    if isinstance(manifest, Index):
        return [] if sparse else [d.digest for d in manifest.manifests]
    if sparse_images:
        return []
    return [d.digest for d in manifest.references() if not mt.is_foreign(d.media_type) and not d.urls]
