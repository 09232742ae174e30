"""What a repository or an image says of itself, read from its manifests and configs for people and for search.

Everything here was pushed by a client: it is read with limits, and what makes no sense is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from boxwright.errors import BoxwrightError
from boxwright.registry.server.store.blobs import BlobStorage
from boxwright.registry.server.store.catalog import RegistryCatalog, StoredManifest
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import Index, Manifest, parse

_NOTE = "org.opencontainers.image."
_MOST_CONFIG = 4 * 1024 * 1024  # bytes; configs are kilobytes
_MOST_CHILDREN = 100
_MOST_TEXT = 16_384  # characters of a description or of all labels
_SURROGATES = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_ATTESTATION = "vnd.docker.reference.digest"  # BuildKit's mark on a child that speaks about another child


@dataclass(frozen=True, slots=True)
class About:
    """What search knows of a repository. `labels` holds annotations and the config's labels."""

    title: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()

    def label(self, name: str) -> str:
        """A predefined annotation, such as ``source``; '' when absent."""
        return self.labels.get(_NOTE + name, "")


@dataclass(frozen=True, slots=True)
class Variant:
    """One platform of an image. `size` is what a pull transfers, in bytes; `here` = the manifest is in the
    repository."""

    digest: str
    platform: str
    size: int
    here: bool = True


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag as lists show it. Times are unix seconds."""

    name: str
    digest: str
    media_type: str
    updated: float
    variants: tuple[Variant, ...]

    @property
    def size(self) -> int:
        """Of the first platform: what one pull transfers."""
        return self.variants[0].size if self.variants else 0


class Reader:
    """Reads one repository; every call blocks."""

    def __init__(self, catalog: RegistryCatalog, blobs: BlobStorage, repository: str) -> None:
        self._catalog, self._blobs = catalog, blobs
        self.repository = repository
        self._configs: dict[str, ImageConfig | None] = {}

    def stored(self, reference: str) -> StoredManifest | None:
        """By tag or digest."""
        return self._catalog.manifest(self.repository, reference)

    def manifest(self, reference: str) -> Manifest | Index | None:
        """Parsed; None when it is not here or cannot be read any more."""
        found = self.stored(reference)
        return _parsed(found) if found is not None else None

    def config(self, manifest: Manifest) -> ImageConfig | None:
        """The image's config, when it is one and this repository holds it: another repository's is not ours to show."""
        digest = str(manifest.config.digest)
        if digest not in self._configs:
            self._configs[digest] = self._read_config(manifest.config)
        return self._configs[digest]

    def _read_config(self, wanted: Descriptor) -> ImageConfig | None:
        if wanted.media_type not in mt.CONFIGS:
            return None
        size = self._catalog.blob(self.repository, str(wanted.digest))
        if size is None or size > _MOST_CONFIG:
            return None
        path = self._blobs.path(wanted.digest)
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                return ImageConfig.parse(_readable(file.read()))
        except (OSError, BoxwrightError, TypeError, ValueError, AttributeError):
            return None  # what was pushed need not make sense

    def children(self, index: Index) -> Iterator[Descriptor]:
        """The images of an index, without attestations."""
        shown = 0
        for child in index.manifests:
            if _ATTESTATION in child.annotations or shown >= _MOST_CHILDREN:
                continue
            shown += 1
            yield child

    def attestations(self, index: Index, digest: str) -> list[Descriptor]:
        """What an index carries about one of its images (BuildKit's SBOM and provenance)."""
        return [c for c in index.manifests[:1000] if c.annotations.get(_ATTESTATION) == digest]

    def variants(self, manifest: Manifest | Index, digest: str) -> tuple[Variant, ...]:
        """The platforms of an image; the one of a plain manifest comes from its config."""
        if isinstance(manifest, Manifest):
            config = self.config(manifest)
            return (Variant(digest, _platform(config), _pull_size(manifest)),)
        found = []
        for child in self.children(manifest):
            inner = self.manifest(str(child.digest))
            platform = str(child.platform) if child.platform is not None else ""
            if not platform and isinstance(inner, Manifest):
                platform = _platform(self.config(inner))
            size = _pull_size(inner) if isinstance(inner, Manifest) else 0
            found.append(
                Variant(digest=str(child.digest), platform=platform, size=size, here=inner is not None)
            )
        return tuple(found)

    def tags(self, *, limit: int, offset: int = 0) -> list[Tag]:
        """Newest first."""
        rows = (
            self._catalog.connection()
            .execute(
                "SELECT t.name, t.digest, m.media_type, t.updated, c.content FROM repositories r JOIN "
                "tags t ON t.repository = r.id "
                "JOIN manifests m ON m.repository = r.id AND m.digest = t.digest JOIN contents c ON "
                "c.digest = t.digest "
                "WHERE r.name = ? ORDER BY t.updated DESC, t.name LIMIT ? OFFSET ?",
                (self.repository, limit, offset),
            )
            .fetchall()
        )
        return [
            Tag(
                name=name,
                digest=digest,
                media_type=kind,
                updated=updated,
                variants=self._variants(digest, kind, content),
            )
            for name, digest, kind, updated, content in rows
        ]

    def _variants(self, digest: str, kind: str, content: bytes) -> tuple[Variant, ...]:
        manifest = _parsed(StoredManifest(digest, kind, content))
        return self.variants(manifest, digest) if manifest is not None else ()

    def about(self) -> About:
        """From the tag ``latest``, else the newest tag, else nothing."""
        row = (
            self._catalog.connection()
            .execute(
                "SELECT m.digest, m.media_type, c.content FROM repositories r JOIN tags t ON t.repository "
                "= r.id JOIN manifests m ON m.repository = r.id AND m.digest = t.digest "
                "JOIN contents c ON c.digest = m.digest WHERE r.name = ? ORDER BY t.name <> 'latest', "
                "t.updated DESC LIMIT 1",
                (self.repository,),
            )
            .fetchone()
        )
        manifest = _parsed(StoredManifest(*row)) if row else None
        if manifest is None:
            return About()
        notes: dict[str, str] = {}
        first: Manifest | None = manifest if isinstance(manifest, Manifest) else None
        if isinstance(manifest, Index):
            for child in self.children(manifest):
                inner = self.manifest(str(child.digest))
                if isinstance(inner, Manifest):
                    first = inner
                    break
        if first is not None:
            config = self.config(first)
            if config is not None:
                notes.update(config_labels(config))
            notes.update(first.annotations)
        notes.update(manifest.annotations)
        labels = _clipped(notes)
        platforms = dict.fromkeys(v.platform for v in self.variants(manifest, row[0]) if v.platform)
        return About(
            title=labels.get(_NOTE + "title", "")[:200],
            description=labels.get(_NOTE + "description", "")[:_MOST_TEXT],
            labels=labels,
            platforms=tuple(platforms),
        )


def config_labels(config: ImageConfig) -> dict[str, str]:
    """The config's labels; none when the pusher put something else there."""
    labels = config.config.get("Labels")
    return {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}


def _readable(raw: bytes) -> bytes:
    """JSON may hold half a character (a lone surrogate), which neither a database nor a page can."""
    return _SURROGATES.sub(lambda match: match[1] or rb"\ufffd", raw) if b"\\u" in raw else raw


def _parsed(found: StoredManifest) -> Manifest | Index | None:
    try:
        return parse(_readable(found.content), found.media_type)
    except BoxwrightError:
        return None


def _platform(config: ImageConfig | None) -> str:
    return str(config.platform) if config is not None else ""


def _pull_size(manifest: Manifest) -> int:
    return sum(d.size for d in manifest.references())


def _clipped(notes: Mapping[str, str]) -> dict[str, str]:
    out, left = {}, _MOST_TEXT
    for key, value in sorted(notes.items(), key=lambda item: not item[0].startswith(_NOTE)):
        left -= len(key) + len(value)
        if left < 0:
            break
        out[key] = value
    return out
