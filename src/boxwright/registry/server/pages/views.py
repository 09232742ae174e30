"""What the pages show of an image: layers beside the instructions that made them, config, referrers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from boxwright.registry.server.store.catalog import RegistryCatalog
from boxwright.registry.server.store.describe import Reader, Variant, config_labels
from boxwright.spec.config import HistoryEntry, ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Index, Manifest

_MOST_ROWS = 500
_NOP = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_ARGUMENTS = re.compile(r"^\|\d+ .*?(?=/bin/sh -c )", re.S)
_KEYWORD = re.compile(
    r"^(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|"
    r"MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)\b\s*(.*)",
    re.S,
)
_KINDS = (
    ("spdx", "SBOM (SPDX)"),
    ("cyclonedx", "SBOM (CycloneDX)"),
    ("syft", "SBOM"),
    ("sbom", "SBOM"),
    ("cosign", "Signature (cosign)"),
    ("notary", "Signature (Notation)"),
    ("sigstore", "Signature (Sigstore)"),
    ("signature", "Signature"),
    ("in-toto", "Attestation (in-toto)"),
    ("slsa", "Provenance"),
    ("vuln", "Vulnerability report"),
    ("sarif", "Scan report"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStep:
    """A row of the history. `share` = per cent of the largest layer; `size` in bytes, None = changed no files."""

    keyword: str
    text: str
    size: int | None = None
    share: int = 0
    digest: str = ""
    media_type: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that speaks about the image."""

    kind: str
    artifact_type: str
    digest: str
    size: int
    created: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """One image, or one artifact. `facts` are rows of the config: name, values."""

    digest: str
    media_type: str
    artifact_type: str
    size: int
    variants: tuple[Variant, ...]
    chosen: Variant | None
    created: str
    author: str
    steps: tuple[HistoryStep, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    labels: Mapping[str, str]
    referrers: tuple[Referrer, ...]
    subject: str


def view(catalog: RegistryCatalog, reader: Reader, reference: str, platform: str) -> ImageView | None:
    """Everything of an image; of several platforms the asked one, else the first that is here. None when unknown."""
    stored, manifest = reader.stored(reference), reader.manifest(reference)
    if stored is None or manifest is None:
        return None
    variants = reader.variants(manifest, stored.digest)
    chosen = next((v for v in variants if v.platform == platform and platform), None) or next(
        (v for v in variants if v.here), None
    )
    image: Manifest | Index | None = manifest
    if isinstance(manifest, Index):
        image = reader.manifest(chosen.digest) if chosen is not None else None
    config = reader.config(image) if isinstance(image, Manifest) else None
    about = [stored.digest, *([chosen.digest] if chosen is not None else [])]
    return ImageView(
        digest=stored.digest,
        media_type=stored.media_type,
        artifact_type=manifest.artifact_type,
        size=chosen.size if chosen is not None else 0,
        variants=variants,
        chosen=chosen,
        created=config.created if config is not None else "",
        author=config.author if config is not None else "",
        steps=tuple(steps(image, config)) if isinstance(image, Manifest) else (),
        facts=tuple(_facts(config)) if config is not None else (),
        labels={
            **(config_labels(config) if config is not None else {}),
            **(image.annotations if isinstance(image, Manifest) else {}),
            **manifest.annotations,
        },
        referrers=tuple(
            _referrers(catalog=catalog, reader=reader, manifest=manifest, subjects=dict.fromkeys(about))
        ),
        subject=str(manifest.subject.digest) if manifest.subject else "",
    )


def steps(manifest: Manifest, config: ImageConfig | None) -> list[HistoryStep]:
    """History aligned with layers: entries that changed files take the layers in turn."""
    most = max((layer.size for layer in manifest.layers), default=0) or 1
    layers = list(manifest.layers[:_MOST_ROWS])
    out = []

    def changed(keyword: str, text: str, layer: Descriptor, created: str = "") -> None:
        out.append(
            HistoryStep(
                keyword=keyword,
                text=text,
                size=layer.size,
                share=-(-layer.size * 100 // most),
                digest=str(layer.digest),
                media_type=layer.media_type,
                created=created,
            )
        )

    for entry in config.history[:_MOST_ROWS] if config is not None else ():
        keyword, text = instruction(entry)
        if entry.empty_layer or not layers:
            out.append(HistoryStep(keyword=keyword, text=text, created=entry.created))
        else:
            changed(keyword=keyword, text=text, layer=layers.pop(0), created=entry.created)
    for layer in layers:  # artifacts, and images whose history says less than their layers
        changed("", layer.annotations.get("org.opencontainers.image.title", ""), layer)
    return out


def instruction(entry: HistoryEntry) -> tuple[str, str]:
    """Keyword and the rest, from the forms in which builders write ``created_by``."""
    text = entry.created_by.strip().removesuffix("# buildkit").strip()
    text = _ARGUMENTS.sub("", text)
    if _NOP.match(text):
        text = _NOP.sub("", text)
    elif text.startswith("/bin/sh -c "):
        text = "RUN " + text.removeprefix("/bin/sh -c ").strip()
    elif text.startswith("RUN /bin/sh -c "):
        text = "RUN " + text.removeprefix("RUN /bin/sh -c ").strip()
    match = _KEYWORD.match(text)
    if match is None:
        return "", text or entry.comment
    return match[1], re.sub(r"[ \t]{2,}(?=&&)", "\n  ", match[2].strip())


def _facts(config: ImageConfig) -> Iterable[tuple[str, tuple[str, ...]]]:
    body = config.config

    def texts(value: Any) -> tuple[str, ...]:
        if isinstance(value, Mapping):
            return tuple(str(k) for k in value)
        if isinstance(value, (list, tuple)):
            return tuple(str(v) for v in value)
        return (str(value),) if value not in (None, "") else ()

    for name, key in (("Entrypoint", "Entrypoint"), ("Command", "Cmd")):
        words = texts(body.get(key))
        if words:
            yield name, (_shell(words),)
    for name, key in (
        ("Working directory", "WorkingDir"),
        ("User", "User"),
        ("Exposed ports", "ExposedPorts"),
        ("Volumes", "Volumes"),
        ("Stop signal", "StopSignal"),
        ("Environment", "Env"),
        ("Shell", "Shell"),
        ("On build", "OnBuild"),
    ):
        values = texts(body.get(key))
        if values:
            yield name, values
    check = body.get("Healthcheck")
    if isinstance(check, dict) and isinstance(check.get("Test"), list):
        yield "Health check", (_shell([str(word) for word in check["Test"][1:]]),)


def _shell(words: Iterable[str]) -> str:
    import shlex

    return shlex.join(words)


def _referrers(
    catalog: RegistryCatalog, reader: Reader, manifest: Manifest | Index, subjects: Iterable[str]
) -> Iterable[Referrer]:
    for subject in subjects:
        for entry in catalog.referrers(reader.repository, subject, limit=100):
            notes = entry.get("annotations", {})
            kind = entry.get("artifactType", "")
            yield Referrer(
                kind=kind_of(kind),
                artifact_type=kind or entry["mediaType"],
                digest=entry["digest"],
                size=entry["size"],
                created=notes.get("org.opencontainers.image.created", ""),
                link=entry["digest"],
            )
        if isinstance(manifest, Index):
            for child in reader.attestations(manifest, subject):
                kind = child.annotations.get("vnd.docker.reference.type", "")
                yield Referrer(
                    kind="Attestation (BuildKit)",
                    artifact_type=kind,
                    digest=str(child.digest),
                    size=child.size,
                    created="",
                    link=str(child.digest),
                )


def kind_of(artifact_type: str) -> str:
    """A name for people."""
    lower = artifact_type.lower()
    return next((name for part, name in _KINDS if part in lower), "Artifact")
