"""Provenance: from what, by whom and how an image was built, as BuildKit's SLSA predicates say it (v1 and v0.2).

Accounts in URLs, proxies, and the content of secrets are in no field; of secrets and agents only their ids are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.build.attest.asked import Provenance
from boxwright.build.graph import Selection, Vertex
from boxwright.build.request import BuildRequest
from boxwright.build.scope import PROXY_NAMES
from boxwright.errors import Invalid
from boxwright.spec.digest import Digest
from boxwright.spec.platform import Platform, host
from boxwright.spec.reference import Reference
from boxwright.spec.times import rfc3339
from boxwright.spec.urls import public, redacted, redacted_source
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPE_1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_TYPE_02 = "https://mobyproject.org/buildkit@v1"


@dataclass(frozen=True, slots=True)
class Material:
    """Something from elsewhere that the build used: its URI, and what it was (algorithm and hex digest)."""

    uri: str
    algorithm: str
    hex: str

    def to_json(self) -> dict[str, Any]:
        """As both predicates list it."""
        return {"uri": self.uri} | ({"digest": {self.algorithm: self.hex}} if self.hex else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a build when one platform of it is done. `order` are its steps, inputs first; `selections` what
    downloads and repositories were, by vertex; `config` the remote context. Times are unix seconds."""

    identity: str
    request: BuildRequest
    platform: Platform
    order: Sequence[Vertex]
    selections: Mapping[str, Selection | None] = field(default_factory=dict)
    dockerfile: str = "Dockerfile"
    source: bytes = b""
    config: Material | None = None
    vcs: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0
    finished: float = 0.0


def predicate(wanted: Provenance, facts: Facts) -> tuple[str, dict[str, Any]]:
    """The predicate's type and the predicate."""
    from boxwright.spec.intoto import SLSA

    version_1 = _version_1(wanted, facts)
    return SLSA + wanted.version, version_1 if wanted.version == "v1" else _as_version_02(version_1)


def materials(facts: Facts) -> list[Material]:
    """Images, repositories and downloads, each once."""
    found = [facts.config] if facts.config is not None else []
    for vertex in facts.order:
        if (material := _material(vertex, facts)) is not None:
            found.append(material)
    return sorted(dict.fromkeys(found), key=lambda m: m.uri)


def kind_of(vertex: Vertex) -> str:
    """Of which kind its operation is: image, git, http, exec, …; the classes bring git and OpenSSL along."""
    return vertex.op.kind.partition("/")[0]


def _runs(facts: Facts) -> list[Any]:
    """The operations of RUN (`ops.exec.ExecOp`)."""
    return [vertex.op for vertex in facts.order if kind_of(vertex) == "exec"]


def _material(vertex: Vertex, facts: Facts) -> Material | None:
    op: Any = vertex.op
    kind, selection = kind_of(vertex), facts.selections.get(vertex.id)
    if op.reads == "remote" and selection is None:  # the build ended before it was asked for
        return None
    if kind == "image":
        from boxwright.spec.purl import image_purl

        name, _, digest = vertex.base.rpartition("@")
        try:
            found = Digest.parse(digest)
            uri = image_purl(Reference.parse(name), Platform.parse(op.platform))
        except Invalid:  # an image that was named by its ID
            return None
        return Material(uri, found.algorithm, found.hex)
    if kind == "git":
        commit = str(selection.payload if selection is not None else op.ref)
        return git_material(op.url, op.ref, commit)
    if kind == "http":
        said = op.checksum or (selection.payload["digest"] if selection is not None else "")
        return http_material(op.url, said)
    return None


def git_material(url: str, ref: str, commit: str) -> Material:
    """A commit of a repository."""
    return Material(
        public(url) + (f"#{ref}" if ref else ""), "sha256" if len(commit) == 64 else "sha1", commit
    )


def http_material(url: str, digest: str) -> Material:
    """What a URL had."""
    algorithm, _, hexed = digest.partition(":")
    return Material(redacted(url), algorithm, hexed)


def _version_1(wanted: Provenance, facts: Facts) -> dict[str, Any]:
    whole = wanted.mode == "max"
    used = materials(facts)
    local = facts.config is None or any(v.op.reads == "local" for v in facts.order)
    config: dict[str, Any] = {}
    if facts.config is not None:
        config = facts.config.to_json()
    config["path"] = facts.dockerfile
    external = {"configSource": config, "request": _request(facts, whole)}
    internal: dict[str, Any] = {"builderPlatform": str(host())}
    about: dict[str, Any] = {}
    if facts.vcs:
        about["vcs"] = dict(sorted(facts.vcs.items()))
    if whole:
        from boxwright.build.attest.definition import definition, locations

        internal = {"buildConfig": definition(facts.order), **internal}
        about["source"] = {"locations": locations(facts.order), "infos": [_source(facts)]}
    connected = any(op.network != "none" for op in _runs(facts))
    metadata: dict[str, Any] = {
        "invocationId": facts.identity,
        "startedOn": rfc3339(facts.started),
        "finishedOn": rfc3339(facts.finished),
        "buildkit_metadata": about,
        **({"buildkit_hermetic": True} if not local and not connected else {}),
        "buildkit_completeness": {"request": whole, "resolvedDependencies": not local},
        **({"buildkit_reproducible": True} if wanted.reproducible else {}),
    }
    built: dict[str, Any] = {
        "buildType": _TYPE_1,
        "externalParameters": external,
        "internalParameters": internal,
        **({"resolvedDependencies": [m.to_json() for m in used]} if used else {}),
    }
    return {
        "buildDefinition": built,
        "runDetails": {"builder": {"id": wanted.builder_id}, "metadata": metadata},
    }


def _as_version_02(told: dict[str, Any]) -> dict[str, Any]:
    built, run = told["buildDefinition"], told["runDetails"]
    internal, metadata = built["internalParameters"], run["metadata"]
    source = built["externalParameters"]["configSource"]
    renamed = {("entryPoint" if key == "path" else key): value for key, value in source.items()}
    complete = metadata["buildkit_completeness"]
    return {
        "builder": run["builder"],
        "buildType": _TYPE_02,
        **({"materials": built["resolvedDependencies"]} if "resolvedDependencies" in built else {}),
        "invocation": {
            "configSource": renamed,
            "parameters": built["externalParameters"]["request"],
            "environment": {"platform": internal["builderPlatform"]},
        },
        **({"buildConfig": internal["buildConfig"]} if "buildConfig" in internal else {}),
        "metadata": {
            "buildInvocationID": metadata["invocationId"],
            "buildStartedOn": metadata["startedOn"],
            "buildFinishedOn": metadata["finishedOn"],
            "completeness": {
                "parameters": complete["request"],
                "environment": True,
                "materials": complete["resolvedDependencies"],
            },
            "reproducible": metadata.get("buildkit_reproducible", False),
            f"{_TYPE_02}#metadata": metadata["buildkit_metadata"],
            **({f"{_TYPE_02}#hermetic": True} if "buildkit_hermetic" in metadata else {}),
        },
    }


def _request(facts: Facts, whole: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"frontend": "dockerfile.v0"}
    if whole:
        if args := arguments(facts.request):
            out["args"] = args
        mounts = [m for op in _runs(facts) for m in op.mounts]
        for kind, key in (("secret", "secrets"), ("ssh", "ssh")):
            required: dict[str, bool] = {}
            for mount in mounts:
                if mount.type == kind:
                    required[mount.id] = required.get(mount.id, False) or mount.required
            if required:
                out[key] = [
                    {"id": name} if needed else {"id": name, "optional": True}
                    for name, needed in sorted(required.items())
                ]
    if facts.config is None:
        reads = any(v.op.reads == "local" for v in facts.order)
        out["locals"] = [*([{"name": "context"}] if reads else []), {"name": "dockerfile"}]
    return out


def arguments(request: BuildRequest) -> dict[str, str]:
    """The frontend's arguments that the request comes to, by BuildKit's names, without what must not be told: proxies
    are left out, and accounts of URLs."""
    out = {
        f"build-arg:{name}": redacted(value)
        for name, value in request.build_args.items()
        if value is not None and name not in PROXY_NAMES
    }
    out |= {f"label:{name}": redacted(value) for name, value in request.labels.items()}
    out |= {f"context:{name}": redacted(value) for name, value in request.build_contexts.items()}
    if request.target:
        out["target"] = request.target
    if request.no_cache:
        out["no-cache"] = ""
    elif request.no_cache_filter:
        out["no-cache"] = ",".join(request.no_cache_filter)
    if request.network != "default":
        out["force-network-mode"] = request.network
    if request.add_hosts:
        out["add-hosts"] = ",".join(f"{name}={address}" for name, address in request.add_hosts)
    if request.shm_size:
        out["shm-size"] = str(request.shm_size)
    if request.ulimits:
        out["ulimit"] = ",".join(request.ulimits)
    return dict(sorted(out.items()))


def _source(facts: Facts) -> dict[str, Any]:
    import base64

    data = base64.b64encode(redacted_source(facts.source)).decode()
    return {"filename": facts.dockerfile, "language": "Dockerfile", "data": data}
