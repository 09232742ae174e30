"""``--attest``, ``--provenance`` and ``--sbom`` as people write them, and the attestations that they ask
for (docs.docker.com, "Build attestations")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from boxwright.build.fields import RequestInvalid, fields
from boxwright.build.graph import walk
from boxwright.build.request import Attest
from boxwright.errors import Unsupported
from boxwright.spec.text import go_bool
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.graph import Vertex
    from boxwright.build.plan import Plan, PlannedStage

KINDS = ("provenance", "sbom")
_PROVENANCE = ("version", "mode", "builder-id", "reproducible", "filename", "inline-only")
_SBOM = ("generator",)
STAGE, CONTEXT = "BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"
VERSIONS = ("v1", "v0.2")
MODES = ("min", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Which attestation is made, and how. `inline_only`: beside images, and not in the files of other outputs."""

    version: str = "v1"
    mode: str = "min"
    builder_id: str = ""
    reproducible: bool = False
    filename: str = "provenance.json"
    inline_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestations:
    """What is to be said of a build's result."""

    provenance: Provenance | None = None
    sbom: bool = False

    def __bool__(self) -> bool:
        return self.provenance is not None or self.sbom

    def without_inline_only(self) -> Attestations:
        """What an output gets that does not ask for what is only beside images."""
        kept = self.provenance is not None and not self.provenance.inline_only
        return self if kept else replace(self, provenance=None)

    def read(self, plans: Sequence[Plan], build_args: Mapping[str, str | None]) -> list[Vertex]:
        """What has to be made for them alone: stages that are listed beside the result."""
        return [stage.tree for plan in plans if self.sbom for stage in listed(plan, build_args)]


def parse_attest(text: str) -> Attest:
    """``type=sbom``, ``type=provenance,mode=max``. Raises RequestInvalid."""
    values = fields(text, "attestation")
    kind = values.pop("type", "")
    if not kind:
        raise RequestInvalid("attestation type not specified", hint="type=provenance or type=sbom")
    return Attest(kind, values)


def short_form(kind: str, text: str) -> Attest:
    """``--provenance`` and ``--sbom``: whether, or with which options. Raises RequestInvalid."""
    wanted = go_bool(text)
    return (
        Attest(kind, {"disabled": str(not wanted).lower()})
        if wanted is not None
        else parse_attest(f"type={kind},{text}")
    )


def given(attest: Iterable[str], provenance: str = "", sbom: str = "") -> tuple[Attest, ...]:
    """The three options together. Raises RequestInvalid."""
    found = [parse_attest(text) for text in attest]
    return (*found, *(short_form(kind, text) for kind, text in zip(KINDS, (provenance, sbom)) if text))


def attestations(
    asked: Sequence[Attest], build_args: Mapping[str, str], *, by_default: bool = False
) -> Attestations:
    """The attestations that the options ask for; of two of one type the later one counts. `by_default` adds provenance
    (buildx does so for images that are pushed) unless an option refuses it. Raises RequestInvalid, Unsupported."""
    last = {one.type: dict(one.options) for one in asked}
    if unknown := set(last) - set(KINDS):
        raise RequestInvalid(f"unknown attestation type {min(unknown)!r}", hint=" or ".join(KINDS))
    for kind, name in (("provenance", "BUILDKIT_ATTEST_PROVENANCE"), ("sbom", "BUILDKIT_ATTEST_SBOM")):
        if kind not in last and name in build_args:
            last[kind] = dict(short_form(kind, build_args[name] or "true").options)
    provenance = last.get("provenance", {"inline-only": "true"} if by_default else None)
    sbom = last.get("sbom")
    return Attestations(
        provenance=_provenance(provenance) if provenance is not None else None,
        sbom=_sbom(sbom) if sbom is not None else False,
    )


def scanned(value: str, stage: str) -> bool:
    """Whether a value of ``BUILDKIT_SBOM_SCAN_STAGE`` or ``…_CONTEXT`` means this stage: true for every one, or names
    separated by commas."""
    every = go_bool(value)
    return every if every is not None else stage in value.split(",")


def _provenance(options: dict[str, str]) -> Provenance | None:
    if _flag(options.pop("disabled", "false"), "disabled"):
        return None
    _known(options, "provenance", _PROVENANCE)
    version, mode = options.get("version", "v1"), options.get("mode", "min")
    if version not in VERSIONS:
        raise RequestInvalid(f"invalid provenance version {version!r}", hint=" or ".join(VERSIONS))
    if mode not in MODES:
        raise RequestInvalid(f"invalid mode {mode!r} for provenance", hint=" or ".join(MODES))
    filename = options.get("filename") or "provenance.json"
    if "/" in filename or filename in (".", ".."):
        raise RequestInvalid(f"invalid provenance filename {filename!r}: it is a name and no path")
    return Provenance(
        version=version,
        mode=mode,
        builder_id=options.get("builder-id", ""),
        reproducible=_flag(options.get("reproducible", "false"), "reproducible"),
        filename=filename,
        inline_only=_flag(options.get("inline-only", "false"), "inline-only"),
    )


def _sbom(options: dict[str, str]) -> bool:
    if _flag(options.pop("disabled", "false"), "disabled"):
        return False
    _known(options, "sbom", _SBOM)
    generator = options.get("generator", "")
    if generator not in ("", "builtin"):
        raise Unsupported(
            f"generator={generator}: bills of materials are made by the built-in scanner; images that scan are not run",
            hint="leave generator out, or say generator=builtin",
        )
    return True


def _known(options: Mapping[str, Any], kind: str, keys: Sequence[str]) -> None:
    for key in options:
        if key not in keys:
            raise RequestInvalid(
                f"attestation type={kind} does not take {key!r}", hint=f"it takes {', '.join(keys)}"
            )


def _flag(text: str, name: str) -> bool:
    value = go_bool(text)
    if value is None:
        raise RequestInvalid(f"{name}={text!r} is neither true nor false")
    return value


def told_provenance(environ: Mapping[str, str]) -> str:
    """How much provenance the metadata have: BUILDX_METADATA_PROVENANCE, as buildx reads it."""
    text = environ.get("BUILDX_METADATA_PROVENANCE", "")
    return "max" if text == "max" else "" if text == "disabled" or go_bool(text) is False else "min"


def default_attestations(environ: Mapping[str, str]) -> bool:
    """Whether an image that is pushed says how it was built: BUILDX_NO_DEFAULT_ATTESTATIONS, as buildx reads it."""
    return go_bool(environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS", "")) is not True


def artifact_attestations(environ: Mapping[str, str]) -> bool:
    """Whether attestations are OCI artifacts where an output does not say: BUILDX_NO_DEFAULT_OCI_ARTIFACT."""
    return go_bool(environ.get("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "")) is not True


def listed(plan: Plan, given: Mapping[str, str | None]) -> list[PlannedStage]:
    """The stages beside the result that it needs and that are to be listed, too."""
    needed = {vertex.id for vertex in walk(plan.target)}
    return [
        stage
        for stage in plan.stages
        if stage.tree is not plan.target
        and stage.tree.id in needed
        and scanned(told(stage, given, STAGE), stage.name)
    ]


def told(stage: PlannedStage, given: Mapping[str, str | None], name: str) -> str:
    """An ARG of a stage, or the build argument; '' for neither."""
    return stage.args.get(name) or given.get(name) or ""
