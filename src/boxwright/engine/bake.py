"""`engine.bake`: a definition's targets, built on this root."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from boxwright.bake.plan import BakePlan, BakeRequest
    from boxwright.build.progress import Emit
    from boxwright.build.request import BuildResult, SshSource
    from boxwright.engine.services import EngineServices


@contextmanager
def fetched(
    services: EngineServices, request: BakeRequest, progress: Emit | None = None
) -> Iterator[BakeRequest]:
    """The request with what is at the URL that its targets begin with; it is there for the length of the context.
    Raises GitRefMissing, GitRefInvalid, ProgramFailed, DownloadFailed, RequestInvalid."""
    from boxwright.bake.plan import addressed

    request = addressed(request)
    if not request.remote or request.source is not None:
        yield request
        return
    from boxwright.bake.remote import BakeSource, git_accounts
    from boxwright.build.inputs import Fetched
    from boxwright.build.progress import ignore
    from boxwright.build.request import BuildRequest
    from boxwright.content.lease import Lease
    from boxwright.spec.values import replace

    url = request.remote
    with Lease(services.db, "bake") as lease, ExitStack() as stack:
        brought = Fetched(
            services=services,
            request=BuildRequest(
                remote=url, secrets=git_accounts(url, request.environ), ssh=_git_agent(url, request.environ)
            ),
            emit=progress or ignore,
            stack=stack,
            hold=lambda key: lease.hold("workspace", key),
        )
        found = brought.remote(url)
        if isinstance(found, bytes):
            source = BakeSource(url=url, data=found)
        else:
            source = BakeSource(
                url=url, top=found, commit=brought.commits.get("", ""), dated="" in brought.dated
            )
        yield replace(request, source=source)


def _git_agent(url: str, environ: Mapping[str, str]) -> Mapping[str, SshSource]:
    """The agent, or the keys of BUILDX_BAKE_GIT_SSH, for a repository that is reached by SSH."""
    from boxwright.build.gitref import parse_git
    from boxwright.build.options import parse_ssh

    keys = environ.get("BUILDX_BAKE_GIT_SSH", "")
    repository = parse_git(url)
    if repository is None or repository.url.startswith(("http://", "https://", "git://")):
        return {}
    if not keys and not environ.get("SSH_AUTH_SOCK"):
        return {}
    return dict([parse_ssh(f"default={keys}" if keys else "default", environ)])


def check_allowed(request: BakeRequest, plan: BakePlan) -> None:
    """Raises PrivilegesWanted when the targets reach further than they may."""
    from boxwright.bake import allow

    allow.check(
        plan.resolved.targets.values(),
        plan.allowed,
        request.cwd,
        files=files_checked(request),
        paths=plan.paths,
    )


def build_planned(
    services: EngineServices, request: BakeRequest, plan: BakePlan, progress: Emit | None = None
) -> dict[str, BuildResult]:
    """Build what was planned, if it is allowed. Raises PrivilegesWanted, TargetFailed, BuildFailed, Cancelled,
    RequestInvalid."""
    from boxwright.bake.linked import LinkedImages
    from boxwright.bake.run import BuildGround, build_all
    from boxwright.build.progress import ignore
    from boxwright.build.registries import EngineRegistries

    def forget(target: str) -> None:
        services.maintenance.remove([target])  # what other images use by now stays

    check_allowed(request, plan)
    around = BuildGround(
        services=services,
        registries=EngineRegistries(lambda: services.transfers, services.images_store),
        cwd=request.cwd,
        environ=request.environ,
        linked=LinkedImages(services, forget),
        source=request.source,
        jobs=request.jobs,
        tell_provenance=request.tell_provenance,
    )
    return build_all(around, plan.resolved.targets, progress or ignore)


def files_checked(request: BakeRequest) -> bool:
    """Whether paths outside the working directory need to be allowed (BUILDX_BAKE_ENTITLEMENTS_FS=0: they need not, nor
    with BAKE_ALLOW_REMOTE_FS_ACCESS=1 for a definition that is somewhere else)."""
    from boxwright.bake.errors import DefinitionInvalid
    from boxwright.spec.text import go_bool

    checked = True
    for name, means in (("BAKE_ALLOW_REMOTE_FS_ACCESS", False), ("BUILDX_BAKE_ENTITLEMENTS_FS", True)):
        word = request.environ.get(name, "")
        if not word or (name.startswith("BAKE") and not request.remote):
            continue
        known = go_bool(word)
        if known is None:
            raise DefinitionInvalid(f"failed to parse {name} value {word!r}")
        checked = known is means
    return checked
