"""From what was asked for to the targets that are to be built: read, evaluate, resolve, settle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from boxwright.bake import allow, files, requests
from boxwright.bake.definition import Outside
from boxwright.bake.environ import AskedVariables
from boxwright.bake.names import CWD, near
from boxwright.bake.resolve import Resolved, resolve
from boxwright.spec.platform import host
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.bake.allow import Allowed
    from boxwright.bake.definition import Config
    from boxwright.bake.remote import BakeSource
    from boxwright.bake.trees import File


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeRequest:
    """What ``bake`` takes. `files` are paths, ``-`` is `stdin`; none are the usual names. `overrides` are
    ``pattern.key=value``; `variables` stand before those of `environ`. `cwd` is where paths begin.

    A definition that is somewhere else is at `remote`, which `addressed` takes from the targets, and after it was
    fetched is `source`; `command` is the directory or URL that it calls BAKE_CMD_CONTEXT."""

    targets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    stdin: bytes | None = None
    cwd: Path = field(default_factory=Path.cwd)
    remote: str = ""
    source: BakeSource | None = None
    command: str = CWD
    jobs: int = 0
    tell_provenance: str = ""  # min or max: how much of it each result has


@dataclass(frozen=True, slots=True, kw_only=True)
class BakePlan:
    """What is to be built, what was allowed, and what is said to people. `paths` are files that were read beside the
    definitions."""

    resolved: Resolved
    allowed: Allowed
    warnings: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()


def addressed(request: BakeRequest) -> BakeRequest:
    """The request with the URLs that stand before its targets in their places: that of the definition, and what it
    calls BAKE_CMD_CONTEXT."""
    from boxwright.build.gitref import is_url

    urls: list[str] = []
    for word in request.targets[:2]:
        if not is_url(word):
            break
        urls.append(word)
    if not urls or request.remote:
        return request
    command = urls[1] if len(urls) > 1 else request.command
    return replace(request, remote=urls[0], command=command, targets=request.targets[len(urls) :])


def configured(request: BakeRequest) -> Config:
    """All that the files say. Raises DefinitionInvalid, DefinitionMissing."""
    environ = AskedVariables({**request.environ, **request.variables})
    around = Outside(
        environ=environ,
        builtin={"BAKE_CMD_CONTEXT": request.command, "BAKE_LOCAL_PLATFORM": str(host())},
    )
    config = files.parse(_files(request), around, request.cwd)
    known = [variable.name for variable in config.variables]
    for name in sorted(request.variables.keys() - environ.asked):
        guess = near(name, known)
        more = f"; did you mean {guess}?" if guess else ""
        config.warnings.append(f"--var {name}: the definition has no such variable{more}")
    return config


def _files(request: BakeRequest) -> list[File]:
    """Those of the repository first, then those of the working directory (``cwd://FILE``)."""
    here = [
        name.removeprefix(CWD) for name in request.files if name.startswith(CWD) or request.source is None
    ]
    found = []
    if request.source is not None:
        found += request.source.files([name for name in request.files if not name.startswith(CWD)])
    if here or request.source is None:
        found += files.read(here, request.cwd, request.stdin)
    return found


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
    requests.settled(
        resolved.targets.values(),
        cwd=request.cwd,
        epoch=request.environ.get("SOURCE_DATE_EPOCH", ""),
        source=request.source,
    )
    return BakePlan(
        resolved=resolved,
        allowed=allowed,
        warnings=tuple(config.warnings),
        paths=frozenset(config.paths),
    )
