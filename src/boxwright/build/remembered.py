"""What the history says of a build beside its log: what it was asked for, of what it was made, and what came out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from boxwright.build.attest.provenance import Facts, arguments, materials
from boxwright.build.attest.vcs import vcs_of, wanted
from boxwright.build.graph import walk
from boxwright.build.request import BuildRequest
from boxwright.spec.urls import public, redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.attest.provenance import Material
    from boxwright.build.plan import Plan
    from boxwright.build.request import OutputResult
    from boxwright.build.solver import Solver
    from boxwright.settings import Settings


def name_of(request: BuildRequest) -> str:
    """What the build is called: ``BUILDKIT_BUILD_NAME``, or the last part of its context's name."""
    given = request.build_args.get("BUILDKIT_BUILD_NAME")
    if given:
        return redacted(given)
    if request.remote:
        return public(request.remote).partition("#")[0].rstrip("/").rpartition("/")[2].removesuffix(".git")
    if request.context is not None and request.stream is None:
        name = os.path.basename(os.path.abspath(request.context)) or "/"
    else:
        name = "-"
    dockerfile = request.dockerfile.name if request.dockerfile is not None else "Dockerfile"
    name = name if dockerfile.lower() == "dockerfile" else f"{name}/{dockerfile}"
    return f"{name} ({request.target})" if request.target else name


def asked(request: BuildRequest, settings: Settings) -> dict[str, Any]:
    """What is known when a build begins."""
    context = request.context if request.stream is None else None
    own = request.dockerfile if request.dockerfile_data is None else None
    found: dict[str, Any] = {
        "context": public(request.remote) if request.remote else str(context.absolute()) if context else "-",
        "dockerfile": _dockerfile(own, context) if request.dockerfile_data is None else "-",
        "arguments": arguments(request),
    }
    if request.platforms:
        found["platforms"] = list(request.platforms)
    if request.tags:
        found["names"] = list(request.tags)
    if context is not None and wanted(settings.environ) and (vcs := vcs_of(context, own)):
        found["vcs"] = vcs
    return found


def _dockerfile(own: Path | None, context: Path | None) -> str:
    if own is None:
        return "Dockerfile"
    if context is not None:
        inside = os.path.relpath(os.path.abspath(own), os.path.abspath(context))
        if not inside.startswith("../"):
            return inside
    return str(own)


def used(
    request: BuildRequest, plans: Sequence[Plan], solver: Solver, commit: str
) -> list[Mapping[str, Any]]:
    """Base images, repositories and downloads, each once."""
    found: dict[str, Mapping[str, Any]] = {}
    for plan in plans:
        facts = Facts(
            identity="",
            request=request,
            platform=plan.platform,
            order=list(walk(plan.target)),
            selections=solver.selections(),
            config=_config(request, commit),
        )
        found.update({material.uri: material.to_json() for material in materials(facts)})
    return list(found.values())


def _config(request: BuildRequest, commit: str) -> Material | None:
    if not request.remote:
        return None
    from boxwright.build.attest.attach import config_of

    return config_of(request, commit)


def came_out(outputs: Sequence[OutputResult]) -> list[dict[str, Any]]:
    """Images that were made, written and pushed."""
    return [
        {
            "type": one.type,
            "names": list(one.names),
            "descriptor": dict(one.descriptor),
            "image": one.image_id,
            "pushed": one.pushed,
        }
        for one in outputs
    ]
