"""The images of a root: registering, naming, looking up. Listing is in `catalog`, removal in `remove`.

Life cycle of an image: its layers, config and manifest are stored (under a lease), `add` makes its row, names
come and go, `remove` or `prune` ends the row, and the collector takes what no row reaches any more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from boxwright.content.db import Database
from boxwright.content.layout import NAME as REF_NAME
from boxwright.content.local import LocalStore
from boxwright.errors import Corrupt, NotFound, Unsupported
from boxwright.files.disk import DiskError
from boxwright.image.catalog import COLUMNS, ImageCatalog, ImageRow, familiar
from boxwright.image.compose import compose, layer_descriptor
from boxwright.layer.store import LayerMissing, LayerStore
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig, ImageConfigInvalid
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import Index, Manifest, canonical_json, parse
from boxwright.spec.platform import Platform, choose, host
from boxwright.spec.reference import Reference, ReferenceInvalid
from boxwright.spec.values import dataclass, replace


class NotAnImage(Unsupported):
    """The manifest is an artifact of another kind: it has no image config or no file system layers."""


class PlatformAbsent(NotFound):
    """The image is here, but not for this platform."""


class ConfigContradiction(Corrupt):
    """A config and its manifest do not fit together."""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """One platform of an image, with everything that running it or building on it needs."""

    name: str  # what was asked for
    target: Descriptor  # manifest or index: the image's identity in the store
    manifest: Manifest
    config: ImageConfig
    layers: tuple[DiffID, ...]  # bottom first

    @property
    def image_id(self) -> Digest:
        """The config's digest."""
        return self.manifest.config.digest


class ImageStore(ImageCatalog):
    """All methods may be called from any thread."""

    def __init__(self, store: LocalStore, layers: LayerStore, db: Database, *, platform: str = "") -> None:
        super().__init__(store.root, db)
        self.store = store
        self.layers = layers
        self._platform = platform

    @property
    def default_platform(self) -> Platform:
        """The configured platform, or the host's."""
        return Platform.parse(self._platform) if self._platform else host()

    # --- registering ---------------------------------------------------------------------------

    def create(
        self,
        config: ImageConfig,
        *,
        names: Iterable[str] = (),
        parent: str = "",
        raw_config: bytes = b"",
        annotations: Mapping[str, str] | None = None,
    ) -> ImageRow:
        """Compose and register an image whose layers are all stored; `raw_config` as in `compose`.

        The caller's lease holds the layers. `parent` is the image ID it was made from. Raises LayerMissing.
        """
        stack = [layer_descriptor(d, self.layers.get(d).tar_size) for d in config.diff_ids]
        manifest, raw = compose(config, stack, annotations=annotations, raw=raw_config)
        # The collector waits until the row is there: nothing else holds the two blobs.
        with self.store.committing():
            self.store.put(raw, mt.OCI_CONFIG)
            desc = self.store.put(manifest.raw, manifest.media_type)
            return self.add(desc, names=names, parent=parent)

    def add(
        self,
        desc: Descriptor,
        *,
        names: Iterable[str] = (),
        parent: str = "",
        select_platform: Platform | None = None,
    ) -> ImageRow:
        """Register a stored manifest or index and point these names at it; idempotent.

        The row describes the platform that fits `select_platform` (default: the default platform) best among those
        whose manifest is here. Raises BlobMissing, NotAnImage, ConfigContradiction, LayerMissing, ReferenceInvalid.
        """
        normal = [self.checked(name) for name in names]
        manifest = self._manifest_for(desc, select_platform or self.default_platform, exact=False)
        config = self.config_of(manifest)
        check_shape(config)
        size = sum(self.layers.get(d).bytes for d in config.diff_ids)
        now = time.time()
        target = str(desc.digest)
        values = (
            target,
            desc.media_type,
            desc.size,
            str(manifest.config.digest),
            str(manifest.descriptor.digest),
            str(config.platform),
            config.created,
            size,
            canonical_json(config.labels).decode(),
            parent,
            now,
            now,
        )
        with self.store.committing(), self.db.write() as sql:
            # Told again, an image keeps its age, and its parent unless a new one is named.
            sql.execute(
                f"INSERT INTO images ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (target) DO UPDATE SET "
                "image_id=excluded.image_id, manifest=excluded.manifest, platform=excluded.platform, "
                "bytes=excluded.bytes, "
                "parent=CASE WHEN excluded.parent='' THEN parent ELSE excluded.parent END, "
                "last_used=excluded.last_used",
                values,
            )
            self._expose(manifest, config)
            for name in normal:
                self._point(name, target)
            row = self.rows("target = ?", (target,))[
                0
            ]  # in the transaction: a moment later another process may have pruned it
        if normal:
            self.publish()
        return row

    def _expose(self, manifest: Manifest, config: ImageConfig) -> None:
        """Layers whose blob is their tar, and which are kept as that: the tar gets the blob's name."""
        for diff_id, desc in zip(config.diff_ids, manifest.layers, strict=True):
            if str(desc.digest) == str(diff_id) and self.store.size(desc.digest) is None:
                layer = self.layers.get(diff_id)
                if layer.kind == "tar":
                    self.store.expose(desc.digest, layer.tar_path)

    # --- names ---------------------------------------------------------------------------------

    def tag(self, source: str, name: str) -> ImageRow:
        """Point `name` at the image `source`; what it pointed at before keeps its row. Raises NoSuchImage,
        ReferenceInvalid."""
        normal = self.checked(name)
        with self.store.committing(), self.db.write():
            row = self.resolve(source)
            self._point(normal, row.target)
        self.publish()
        if "@" not in normal:
            self.tell("tag", row, familiar(normal))
        return row

    def tell_made(self, row: ImageRow, name: str = "") -> str:
        """A new image, perhaps with a name, for `events`. The name, as it is shown."""
        self.tell("create", row)
        shown = familiar(self.checked(name)) if name else ""
        if shown:
            self.tell("tag", row, shown)
        return shown

    def publish(self) -> None:
        """Tell other tools the names: index.json says what the database says. A kill between the two is made good by
        the next change of a name, prune or fsck. So is a full disk: the change itself has happened."""

        def named() -> Iterable[Descriptor]:
            with self.db.read() as sql:
                found = sql.execute(
                    "SELECT names.name, media_type, names.target, size FROM names JOIN images ON "
                    "images.target = names.target ORDER BY names.name"
                ).fetchall()
            tagged = {target for name, _, target, _ in found if "@" not in name}
            for name, media_type, target, size in found:
                if "@" not in name or target not in tagged:
                    yield Descriptor(
                        media_type=media_type,
                        digest=Digest.parse(target),
                        size=size,
                        annotations={REF_NAME: familiar(name)},
                    )

        try:
            self.store.export_index(named)
        except DiskError:
            return

    @staticmethod
    def checked(name: str, *, digest: bool = True) -> str:
        """The normal form of a name that is to be set, ``:latest`` added; `digest` allows ``name@digest``, which only
        pulls and pushes set. Raises ReferenceInvalid."""
        reference = Reference.parse(name).with_default_tag()
        if reference.digest and not digest:
            raise ReferenceInvalid("refusing to create a tag with a digest reference")
        if reference.path == "library/sha256":
            raise ReferenceInvalid("refusing to create an ambiguous tag using digest algorithm as name")
        if reference.tag and reference.digest:
            raise ReferenceInvalid(
                f"invalid reference format: {name!r} has a tag and a digest; give one of them"
            )
        return str(reference)

    def _point(self, name: str, target: str) -> None:
        with self.db.write() as sql:
            sql.execute(
                "INSERT INTO names VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "target=excluded.target, updated=excluded.updated",
                (name, target, time.time()),
            )

    def touch(self, target: str) -> None:
        """Note that the image was used now."""
        with self.db.write(durable=False) as sql:
            sql.execute("UPDATE images SET last_used = ? WHERE target = ?", (time.time(), target))

    # --- content -------------------------------------------------------------------------------

    def descriptor(self, row: ImageRow) -> Descriptor:
        """The image's manifest or index."""
        return Descriptor(row.media_type, Digest.parse(row.target), row.size)

    def read(self, desc: Descriptor) -> Manifest | Index:
        """A stored manifest or index. Raises BlobMissing, ContentMismatch, ManifestInvalid."""
        return parse(self.store.read(desc.digest), desc.media_type)

    def resolve_platform(
        self, text: str, platform: Platform | str | None = None, *, digits: int = 1
    ) -> ResolvedImage:
        """The image `text`, for one platform. Without `platform`, the default one, or else the only one there is.
        `digits` as for `resolve`.

        Raises NoSuchImage, AmbiguousId, ReferenceInvalid, PlatformAbsent, PlatformInvalid.
        """
        row = self.resolve(text, digits=digits)
        return self.resolved(row, text, platform)

    def resolved(
        self, row: ImageRow, text: str = "", platform: Platform | str | None = None
    ) -> ResolvedImage:
        """The same for a row at hand."""
        wanted = (Platform.parse(platform) if isinstance(platform, str) else platform) if platform else None
        target = self.descriptor(row)
        manifest = self._manifest_for(target, wanted or self.default_platform, exact=wanted is not None)
        config = self.config_of(manifest)
        check_shape(config)
        if wanted is not None and wanted.rank(config.platform) is None:
            raise PlatformAbsent(
                f"image with reference {text or row.image_id} was found but its platform "
                f"({config.platform}) does not match the specified platform ({wanted})",
                hint=f"boxwright pull --platform {wanted} {text}".rstrip(),
            )
        return ResolvedImage(
            name=text or (row.tags or [row.image_id])[0],
            target=target,
            manifest=manifest,
            config=config,
            layers=config.diff_ids,
        )

    def row_for(self, row: ImageRow, platform: str) -> ImageRow:
        """The row as it would be with this platform as the one shown. Raises PlatformAbsent, PlatformInvalid."""
        found = self.resolved(row, platform=platform)
        content = sum(self.layers.get(d).bytes for d in found.layers)
        return replace(
            row,
            image_id=str(found.image_id),
            manifest=str(found.manifest.descriptor.digest),
            platform=str(found.config.platform),
            created=found.config.created,
            bytes=content,
        )

    def manifests(self, row: ImageRow) -> list[tuple[Descriptor, Manifest]]:
        """Every image manifest of the image that is here, in the order of its index."""
        return self.manifests_of(self.descriptor(row))

    def manifests_of(self, desc: Descriptor) -> list[tuple[Descriptor, Manifest]]:
        """The same below any manifest or index. Raises BlobMissing, ManifestInvalid."""
        content = self.read(desc)
        if isinstance(content, Manifest):
            return [(desc, content)]
        found: list[tuple[Descriptor, Manifest]] = []
        for entry in content.manifests:
            if entry.media_type in mt.INDEXES | mt.MANIFESTS and self.store.size(entry.digest) is not None:
                found += self.manifests_of(entry)
        return found

    def _manifest_for(self, desc: Descriptor, wanted: Platform, *, exact: bool) -> Manifest:
        content = self.read(desc)
        if isinstance(content, Manifest):
            return content
        here = [
            (d, m)
            for d, m in self.manifests_of(desc)
            if is_image(m) and (d.platform is None or d.platform.os != "unknown")
        ]
        if not here:
            raise NotAnImage(f"no image of the index {desc.digest} is in the store")
        platforms = [
            d.platform if d.platform is not None and d.platform.whole else self.config_of(m).platform
            for d, m in here
        ]
        position = choose(wanted, enumerate(platforms))
        if position is None and exact:
            have = ", ".join(sorted(set(map(str, platforms))))
            raise PlatformAbsent(
                f"the image is not here for {wanted}",
                hint=f"it is here for {have}; `boxwright pull --platform {wanted}` fetches another",
            )
        return here[position or 0][1]

    def config_of(self, manifest: Manifest) -> ImageConfig:
        """The stored config of a manifest, as this host takes it. Raises NotAnImage, BlobMissing,
        ConfigContradiction."""
        if not is_image(manifest):
            odd = next((d.media_type for d in manifest.layers if not mt.is_layer(d.media_type)), "")
            what = f"its config is {manifest.config.media_type!r}"
            if manifest.config.media_type in mt.CONFIGS:
                what = f"it has a layer of the type {odd!r}"
            raise NotAnImage(f"the manifest {manifest.descriptor.digest} is not a container image: {what}")
        config = ImageConfig.parse(self.store.read(manifest.config.digest)).on_host()
        if len(config.diff_ids) != len(manifest.layers):
            raise ConfigContradiction(
                f"the image config lists {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}"
            )
        return config

    def ready(self, layers: Sequence[DiffID]) -> bool:
        """Whether every one of these layers is stored."""
        try:
            return all(self.layers.get(d) for d in layers)
        except LayerMissing:
            return False


_TEXTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_MAPS = ("Labels", "Volumes", "ExposedPorts", "Healthcheck")
_TEXT = ("User", "WorkingDir", "StopSignal")


def check_shape(config: ImageConfig) -> None:
    """Readers of a registered config may rely on the types of its parts. Raises ImageConfigInvalid."""
    for key, value in config.config.items():
        listed = isinstance(value, list) and all(isinstance(item, str) for item in value)
        wrong = (
            (key in _TEXTS and not listed)
            or (key in _MAPS and not isinstance(value, dict))
            or (key in _TEXT and not isinstance(value, str))
        )
        if wrong and value is not None:
            raise ImageConfigInvalid(f"the image config has a {key} of the wrong type")
    labels = config.config.get("Labels") or {}
    if not all(isinstance(value, str) for value in labels.values()):
        raise ImageConfigInvalid("the image config has a label that is not text")


def is_image(manifest: Manifest) -> bool:
    """Whether the manifest describes a root file system: an image config over file system layers."""
    return manifest.config.media_type in mt.CONFIGS and all(
        mt.is_layer(layer.media_type) for layer in manifest.layers
    )
