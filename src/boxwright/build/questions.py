"""Questions about the Dockerfile of a build: its checks, which every build makes, and what ``--call`` wants to know."""

from __future__ import annotations

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.errors import BoxwrightError, Cancelled
from boxwright.spec.platform import Platform, host
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from boxwright.build.calls import Answer
    from boxwright.build.dockerfile.errors import Warning
    from boxwright.build.dockerfile.lint import CheckRequest, CheckResult
    from boxwright.build.inputs import Inputs
    from boxwright.build.plan import Planner
    from boxwright.build.request import BuildRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """About one Dockerfile, for one platform. `method` is the one of `calls` that the request names; '' is a build."""

    method: str
    request: BuildRequest
    inputs: Inputs
    platform: Platform

    def listed(self) -> Answer:
        """What stands in the file by itself: its targets, or the methods that there are."""
        from boxwright.build import calls
        from boxwright.build.dockerfile import outline

        if self.method == "targets":
            return calls.listed(self.inputs.dockerfile, outline.targets(self.inputs.dockerfile))
        return calls.described()

    def outlined(self, planner: Planner) -> Answer:
        """The parameters of what was planned."""
        from boxwright.build import calls
        from boxwright.build.dockerfile import outline

        dockerfile = self.inputs.dockerfile
        return calls.outlined(dockerfile, outline.outline(dockerfile, self._check_request(planner)))

    def checked(self, make: Callable[[], Planner]) -> tuple[Answer, Sequence[Warning]]:
        """All that is wrong in the file, or may be: of the target's stages, or of all without a target. `make` begins a
        plan."""
        from boxwright.build.calls import checked

        planner: Planner | None = None
        error: BoxwrightError | None = None
        try:
            planner = make()
            planner.plan()
            for stage in planner.stages if not self.request.target else ():
                planner.stage(stage)
        except Cancelled:
            raise
        except BoxwrightError as stopped:
            error = stopped
            if planner is not None and planner.where is not None and not isinstance(error, DockerfileError):
                error = DockerfileError(str(error), ranges=[planner.where])
        found = self.findings(planner)
        answer = checked(self.inputs.dockerfile, found.warnings, error or found.failure or found.error)
        return answer, found.warnings

    def findings(self, planner: Planner | None) -> CheckResult:
        """What is probably not meant, as far as planning came. Raises DockerfileError for options that are wrong."""
        from boxwright.build.dockerfile.lint import check

        planned = planner.warnings if planner is not None else ()
        return check(self.inputs.dockerfile, self._check_request(planner), planned)

    def _check_request(self, planner: Planner | None) -> CheckRequest:
        from boxwright.build.context.local import LocalContext
        from boxwright.build.dockerfile.lint import CheckRequest
        from boxwright.build.scope import platform_args

        context = self.inputs.contexts.get("")
        arguments = {k: v for k, v in self.request.build_args.items() if v is not None}
        return CheckRequest(
            target=self.request.target,
            build_args=arguments,
            predefined=platform_args(host(), self.platform, self.request.target or "default"),
            options=arguments.get("BUILDKIT_DOCKERFILE_CHECK"),
            ignore=context.ignore if isinstance(context, LocalContext) else None,
            is_context=lambda name: bool(self.inputs.named.find(name, self.platform)),
            environments=planner.environments if planner is not None else None,
            everything=self.method == "check",
        )
