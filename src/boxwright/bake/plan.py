"""From what was asked for to the targets that are to be built: read, evaluate, resolve, settle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from boxwright.bake import allow, files, requests
from boxwright.bake.definition import Outside
from boxwright.bake.resolve import Resolved, resolve
from boxwright.errors import Unsupported
from boxwright.spec.platform import host
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.allow import Allowed
    from boxwright.bake.definition import Config
    from boxwright.bake.files import File


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeRequest:
    """What ``bake`` takes. `files` are paths, ``-`` is `stdin`; none are the usual names. `overrides` are
    ``pattern.key=value``; `variables` stand before those of `environ`. `cwd` is where paths begin; `command` is the
    directory or URL that a remote definition calls BAKE_CMD_CONTEXT."""

    targets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    stdin: bytes | None = None
    cwd: Path = field(default_factory=Path.cwd)
    command: str = "cwd://"
    jobs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BakePlan:
    """What is to be built, what was allowed, and what is said to people."""

    resolved: Resolved
    allowed: Allowed
    warnings: tuple[str, ...] = ()


class RemoteDefinition(Unsupported):
    """A definition that lies in a repository or at a URL."""


def configured(request: BakeRequest) -> Config:
    """All that the files say. Raises DefinitionInvalid, DefinitionMissing, RemoteDefinition."""
    from boxwright.build.gitref import is_url
    from boxwright.spec.urls import public

    remote = next((word for word in (*request.targets[:1], *request.files) if is_url(word)), "")
    if remote:
        raise RemoteDefinition(
            f"{public(remote)}: definitions are read from files of this machine",
            hint="clone the repository and run bake in it; contexts may be URLs",
        )
    return _configured(request, files.read(request.files, request.cwd, request.stdin))


def _configured(request: BakeRequest, found: list[File]) -> Config:
    around = Outside(
        environ={**request.environ, **request.variables},
        builtin={"BAKE_CMD_CONTEXT": request.command, "BAKE_LOCAL_PLATFORM": str(host())},
    )
    return files.parse(found, around, request.cwd)


def planned(request: BakeRequest) -> BakePlan:
    """The targets that the request means, whole. Raises DefinitionInvalid, DefinitionMissing."""
    allowed = allow.parse(request.allow)
    config = configured(request)
    resolved = resolve(
        config=config,
        names=request.targets or ("default",),
        overrides=request.overrides,
        environ=request.environ,
        allowed=allowed,
    )
    requests.settled(resolved.targets.values(), request.environ.get("SOURCE_DATE_EPOCH", ""))
    return BakePlan(resolved=resolved, allowed=allowed, warnings=tuple(config.warnings))
