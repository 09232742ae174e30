"""What ``--metadata-file`` says of a build: buildx's keys, with the digests that registries and archives have."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from boxwright.build.progress import BuildWarning
from boxwright.spec import mediatypes as mt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.request import BuildResult

BUILDER = "default/default"  # the builder and its node, as buildx puts them before a build's name


def metadata(result: BuildResult, *, warnings: bool = False) -> dict[str, Any]:
    """The object for one build (of a bake, for one target); with `warnings` those too (BUILDX_METADATA_WARNINGS)."""
    body: dict[str, Any] = {}
    for platform, told in result.provenance.items():
        several = len(result.provenance) > 1
        body["buildx.build.provenance" + (f"/{platform}" if several else "")] = told
    body["buildx.build.ref"] = f"{BUILDER}/{result.ref}"
    if warnings and result.warnings:
        body["buildx.build.warnings"] = as_buildx(result.warnings)
    if result.caches:
        body["cache.manifest"] = dict(result.caches[-1])
    if result.outputs:
        if result.descriptor.get("mediaType") not in mt.INDEXES:
            body["containerimage.config.digest"] = result.image_id
        body["containerimage.descriptor"] = dict(result.descriptor)
        body["containerimage.digest"] = result.target
        if names := result.outputs[-1].names:
            body["image.name"] = ",".join(names)
    return body


def as_buildx(warnings: Sequence[BuildWarning]) -> list[dict[str, Any]]:
    """Warnings as buildx writes them: texts in base64."""
    return [_warning(one) for one in warnings]


def _warning(one: BuildWarning) -> dict[str, Any]:
    body: dict[str, Any] = {"level": 1, "short": base64.b64encode(one.short.encode()).decode()}
    if one.description:
        body["detail"] = [base64.b64encode(one.description.encode()).decode()]
    if one.url:
        body["url"] = one.url
    if one.line:
        body["range"] = [{"start": {"line": one.line}, "end": {"line": one.end or one.line}}]
    if one.filename:
        source = base64.b64encode(one.source).decode()
        body["sourceInfo"] = {"filename": one.filename, "data": source}
    return body
