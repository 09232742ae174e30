"""`engine.bake`: a definition's targets, built on this root."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.plan import BakePlan, BakeRequest
    from boxwright.build.progress import Emit
    from boxwright.build.request import BuildResult
    from boxwright.engine.services import EngineServices


def build_planned(
    services: EngineServices, request: BakeRequest, plan: BakePlan, progress: Emit | None = None
) -> dict[str, BuildResult]:
    """Build what was planned, if it is allowed. Raises PrivilegesWanted, TargetFailed, BuildFailed, Cancelled,
    RequestInvalid."""
    from boxwright.bake import allow
    from boxwright.bake.run import BuildGround, build_all
    from boxwright.build.progress import ignore
    from boxwright.build.registries import EngineRegistries

    def forget(target: str) -> None:
        services.maintenance.remove([target])  # what other images use by now stays

    targets = plan.resolved.targets
    allow.check(targets.values(), plan.allowed, request.cwd, files=files_checked(request))
    around = BuildGround(
        services=services,
        registries=EngineRegistries(lambda: services.transfers, services.images_store),
        cwd=request.cwd,
        environ=request.environ,
        forget=forget,
        jobs=request.jobs,
    )
    return build_all(around, targets, progress or ignore)


def files_checked(request: BakeRequest) -> bool:
    """Whether paths outside the working directory need to be allowed (BUILDX_BAKE_ENTITLEMENTS_FS=0: they need not)."""
    from boxwright.bake.errors import DefinitionInvalid
    from boxwright.spec.text import go_bool

    word = request.environ.get("BUILDX_BAKE_ENTITLEMENTS_FS", "")
    known = go_bool(word) if word else True
    if known is None:
        raise DefinitionInvalid(f"failed to parse BUILDX_BAKE_ENTITLEMENTS_FS value {word!r}")
    return known
