"""What is said of an image in a registry, by BuildKit's attestation manifests in its index."""

from __future__ import annotations

import base64
import json

from boxwright.content.verify import read_verified
from boxwright.errors import Invalid
from boxwright.registry.client.remote import Remote
from boxwright.spec import intoto
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig, ImageConfigInvalid
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, parse
from boxwright.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_OLDER = "com.docker.reference.digest"
_MOST = 1000  # entries of an index that are looked at
_SIGNED = ("application/vnd.in-toto.spdx+dsse", "application/vnd.in-toto.provenance+dsse")


class Inspected:
    """An image or index in a registry. Each part is fetched when it is asked for, once a platform
    (``linux/amd64``). All raise what the registry raises."""

    def __init__(
        self, remote: Remote, reference: Reference, desc: Descriptor, content: Manifest | Index
    ) -> None:
        self._remote, self.reference, self.desc, self.content = remote, reference, desc, content
        self._images: dict[str, tuple[Digest, Manifest]] | None = None

    def images(self) -> dict[str, tuple[Digest, Manifest]]:
        """Manifests of images by platform, sorted."""
        if self._images is None:
            self._images = dict(sorted(self._listed()))
        return self._images

    def _listed(self) -> Iterator[tuple[str, tuple[Digest, Manifest]]]:
        if isinstance(self.content, Manifest):
            yield self._platform(self.content), (self.desc.digest, self.content)
            return
        for entry in self.content.manifests[:_MOST]:
            if _about(entry) is None and entry.media_type in mt.MANIFESTS:
                manifest = self._manifest(entry)
                platform = str(entry.platform) if entry.platform is not None else self._platform(manifest)
                yield platform, (entry.digest, manifest)

    def configs(self) -> dict[str, Any]:
        """Image configs by platform, as they are written."""
        found = {}
        for platform, (_, manifest) in self.images().items():
            if manifest.config.media_type in mt.CONFIGS:
                raw = self._read(manifest.config, MAX_SIZE)
                try:
                    found[platform] = json.loads(raw)
                except (ValueError, RecursionError) as error:
                    raise ImageConfigInvalid(f"the config of {platform} is not JSON: {error}") from error
        return found

    def provenance(self) -> dict[str, Any]:
        """``{"SLSA": predicate}`` by platform, for those that have one."""
        found = {}
        for platform, predicates in self._predicates(intoto.SLSA).items():
            if predicates:
                found[platform] = {"SLSA": predicates[-1]}
        return found

    def sbom(self) -> dict[str, Any]:
        """``{"SPDX": document, "AdditionalSPDXs": [documents]}`` by platform, for those that have one."""
        found = {}
        for platform, predicates in self._predicates(intoto.SPDX).items():
            if predicates:
                found[platform] = {"SPDX": predicates[0]}
                if predicates[1:]:
                    found[platform]["AdditionalSPDXs"] = predicates[1:]
        return found

    def _predicates(self, kind: str) -> dict[str, list[Any]]:
        said: dict[Digest, list[Manifest]] = {}
        if isinstance(self.content, Index):
            for entry in self.content.manifests[:_MOST]:
                if (subject := _about(entry)) is not None and entry.media_type in mt.MANIFESTS:
                    said.setdefault(subject, []).append(self._manifest(entry))
        return {
            platform: [
                self._predicate(layer)
                for manifest in said.get(digest, ())
                for layer in manifest.layers
                if layer.media_type in (intoto.STATEMENT, *_SIGNED)
                and _is(layer.annotations.get(intoto.PREDICATE_TYPE, ""), kind)
            ]
            for platform, (digest, _) in self.images().items()
        }

    def _predicate(self, layer: Descriptor) -> Any:
        raw = self._read(layer, intoto.LARGEST)
        if layer.media_type in _SIGNED:
            try:
                raw = base64.b64decode(json.loads(raw)["payload"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise intoto.StatementInvalid(f"{layer.digest} is no signed statement") from error
        return intoto.parsed(raw).get("predicate")

    def _manifest(self, entry: Descriptor) -> Manifest:
        content = parse(self._read(entry, MAX_SIZE), entry.media_type)
        if not isinstance(content, Manifest):
            raise intoto.StatementInvalid(f"{entry.digest} is no manifest")
        return content

    def _platform(self, manifest: Manifest) -> str:
        if manifest.config.media_type not in mt.CONFIGS:
            return "unknown"
        return str(ImageConfig.parse(self._read(manifest.config, MAX_SIZE)).platform)

    def _read(self, desc: Descriptor, limit: int) -> bytes:
        return read_verified(self._remote.open(desc), desc, limit=limit)


def _is(named: str, kind: str) -> bool:
    return named.startswith(kind) if kind == intoto.SLSA else named == kind


def _about(entry: Descriptor) -> Digest | None:
    """Which manifest an entry is said of, in the newer and the older spelling."""
    named = entry.annotations.get(intoto.REFERENCE_DIGEST) or entry.annotations.get(_OLDER)
    try:
        return Digest.parse(named) if named else None
    except Invalid:
        return None
