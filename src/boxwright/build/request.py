"""What a build is asked for, what it answers, and how it fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from boxwright.build.fields import RequestInvalid
from boxwright.errors import BoxwrightError
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

    from boxwright.build.calls import Answer
    from boxwright.build.dockerfile.errors import SourceRange
    from boxwright.build.ops.context import Secret
    from boxwright.build.progress import BuildWarning
    from boxwright.build.remotecache.options import CachePlace


@dataclass(frozen=True, slots=True)
class Output:
    """Where the result goes beside or instead of the store: `type` is image, docker, oci,
    local, tar or cacheonly; `dest` is a path or ``-``; `options` are the others (docs/building.md)."""

    type: str
    dest: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def to_standard_output(self) -> bool:
        """Whether its bytes come on standard output, which then has nothing else."""
        return self.dest == "-" or (self.type in ("tar", "oci") and not self.dest)


@dataclass(frozen=True, slots=True)
class Attest:
    """Something to be said of the result: `type` is provenance or sbom; `options` are its others
    (docs/building.md, "Attestations")."""

    type: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SshSource:
    """What is given to ``RUN --mount=type=ssh``: an agent's socket, or private keys. `raw`: what a step says reaches
    the socket as it is; else an agent is asked for its keys and for signatures, and for nothing else."""

    paths: tuple[Path, ...]
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What is at a URL, on this machine for at least as long as the build: the directory, the commit that it is of, and
    whether its files have the times that were asked for (`dated`)."""

    directory: Path
    commit: str = ""
    dated: bool = False


FLAGS = (
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
)  # build arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """Everything that ``build`` takes. `context` is a directory, None for no context at all; `stream` is a
    context that arrives as a tar, or a lone Dockerfile (``-``); `remote` is a Git repository, or the URL of a tar or
    of a Dockerfile."""

    context: Path | None = None
    stream: BinaryIO | None = None
    remote: str = ""
    brought: Mapping[str, Brought] = field(default_factory=dict)  # by URL: what need not be fetched
    dockerfile: Path | None = None  # None: Dockerfile of the context, then dockerfile
    dockerfile_data: bytes | None = None  # the text itself, from `-f -` or an SDK
    dockerfile_url: str = ""  # where to fetch it
    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    build_contexts: Mapping[str, str] = field(default_factory=dict)
    ignore_file: Path | None = None
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    network: str = "default"
    add_hosts: tuple[tuple[str, str], ...] = ()  # name, address
    allow: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    ssh: Mapping[str, Path | SshSource] = field(default_factory=dict)
    ulimits: tuple[str, ...] = ()
    shm_size: int = 0
    memory: int = 0  # of RUN steps, as the following
    memory_swap: int = 0
    cpus: float = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    untrusted: bool = False  # neither RUN nor ADD reaches this machine or its link by the network
    userns: str = "host"  # or auto: RUN steps have users of their own, none of which is the host's root
    jobs: int = 0
    trust_host_ca: bool | None = None  # None: as the settings say
    context_metadata: str = ""  # normalize or keep; '' as the settings say
    explain: bool = False
    call: str = ""  # check, outline, targets: what is asked of the Dockerfile; nothing is built then
    outputs: tuple[Output, ...] = ()
    attests: tuple[Attest, ...] = ()
    default_attestations: bool = True  # an image that is pushed says how it was built
    artifact_attestations: bool = True  # attestations are OCI artifacts where the output does not say
    squash: str = ""  # new: all layers of this build are one; all: those of the base, too
    source_date_epoch: int | None = None  # unix seconds: the latest time in config and history
    rewrite_timestamp: bool = False  # and in new layers
    timestamp: int | None = None  # unix seconds: the only time there, and in new layers
    omit_history: bool = False
    linked: bool = False  # other builds use the image: no layer of it stays in a registry
    tell_provenance: str = ""  # min or max: how much provenance the result has, attested or not
    unset_env: tuple[str, ...] = ()  # names that the image does not get
    unset_labels: tuple[str, ...] = ()
    inherit_labels: bool = True  # of base images and stages
    cache_from: tuple[CachePlace, ...] = ()
    cache_to: tuple[CachePlace, ...] = ()

    @property
    def inline_cache(self) -> bool:
        """Whether the build argument asks for a cache in the image, which is BuildKit's other spelling of
        ``--cache-to type=inline``."""
        return self.flag("BUILDKIT_INLINE_CACHE")

    def flag(self, name: str) -> bool:
        """A build argument that is true or false; without it false. Raises RequestInvalid."""
        from boxwright.spec.text import go_bool

        text = self.build_args.get(name)
        value = go_bool(text) if text else False
        if value is None:
            raise RequestInvalid(f"build argument {name}={text} is neither true nor false")
        return value


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one step went, for reports."""

    name: str
    cached: bool
    seconds: float
    bytes: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputResult:
    """An output that is an image: `target` and `descriptor` are of its manifest or index, pushed as the registry has
    it; `stored` is that of the store, '' when it has none; `image_id` is the digest of its config, of the first
    platform's where there are several."""

    type: str = ""
    dest: str = ""
    names: tuple[str, ...] = ()
    image_id: str = ""
    target: str = ""
    descriptor: Mapping[str, Any] = field(default_factory=dict)
    pushed: bool = False
    stored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What came out. `target` is the digest of the manifest (or index, for several platforms), of a pushed image as its
    registry has it; `image_id` that of the config; both are '' when nothing was to be exported, and of several outputs
    the last one's. `duration` is seconds, `ref` names the build."""

    image_id: str
    target: str
    names: tuple[str, ...]
    steps: tuple[StepResult, ...]
    duration: float
    warnings: tuple[BuildWarning, ...] = ()
    descriptor: Mapping[str, Any] = field(default_factory=dict)
    answer: Answer | None = None  # to the request's `call`
    outputs: tuple[OutputResult, ...] = ()
    caches: tuple[Mapping[str, Any], ...] = ()  # descriptors of the manifests of caches that were written
    provenance: Mapping[str, Any] = field(default_factory=dict)  # by platform, if the request wants it told
    ref: str = ""

    @property
    def stored(self) -> str:
        """The digest by which the store has the image; '' when it is only elsewhere."""
        return next((one.stored for one in reversed(self.outputs) if one.stored), "")

    @property
    def cached(self) -> bool:
        """Whether no step had to run."""
        return all(step.cached for step in self.steps)


class BuildFailed(BoxwrightError):
    """A build failed. `cause` is what stopped it; `step` and `log` say where (`tail`: its last lines with
    their times), `excerpt` shows the lines of the Dockerfile."""

    def __init__(
        self,
        cause: BoxwrightError,
        *,
        step: str = "",
        log: str = "",
        filename: str = "",
        source: bytes = b"",
        ranges: Sequence[SourceRange] = (),
        tail: Sequence[str] = (),
    ) -> None:
        super().__init__(f"failed to solve: {cause}", hint=cause.hint)
        self.cause = cause
        self.step = step
        self.log = log
        self.filename = filename
        self.source = source
        self.ranges = tuple(ranges)
        self.tail = tuple(tail)

    @property
    def http_status(self) -> int:  # type: ignore[override]
        """That of the cause."""
        return self.cause.http_status

    def excerpt(self) -> str:
        """The lines of the Dockerfile that it is about; '' when it is about none."""
        from boxwright.build.dockerfile.errors import render_excerpt

        return render_excerpt(self.filename, self.source, self.ranges) if self.ranges else ""

    def render(self) -> str:
        """What stands above the error's sentence: the step's last output and the lines of the Dockerfile."""
        parts = []
        if self.step and self.tail:
            lines = "".join(f"{line}\n" for line in self.tail)
            parts.append(f"------\n > {self.step}:\n{lines}------\n")
        return "".join(parts) + self.excerpt()
