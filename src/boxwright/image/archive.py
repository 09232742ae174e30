"""Archives of images as a Source: what docker, podman, skopeo, buildah and umoci write.

    oci-layout, index.json, blobs/<algorithm>/<hex>     an OCI layout (also what docker 25 and newer save)
    manifest.json, <hex>.json, <hex>/layer.tar …        docker's own form; newer ones have both

Of docker's own form, which has no manifests, the same manifest is composed that Boxwright writes for its own
images, so that the image ID stays the one that docker shows.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence

from boxwright.content.layout import attaches
from boxwright.content.local import BlobMissing
from boxwright.content.store import BESIDE
from boxwright.content.verify import CHUNK, ContentMismatch, VerifiedReader, read_verified
from boxwright.errors import BoxwrightError, Invalid
from boxwright.image.compose import compose, layer_descriptor
from boxwright.image.members import ArchiveInvalid, Members, read_small
from boxwright.layer.compress import open_decompressed, sniff
from boxwright.layer.store import Layer
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.hints import Protocol, cast, runtime_checkable
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, parse
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO


NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MOST_IMAGES = 4096


@runtime_checkable
class Ingesting(Protocol):
    """Members that became layers while the archive streamed by."""

    def layer(self, name: str) -> Layer | None:
        """The layer that this member became."""
        ...


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image of an archive. `names` are normalised; `config` is '' for an index."""

    desc: Descriptor
    names: tuple[str, ...]
    config: str = ""
    subject: str = ""  # what it refers to, as signatures do

    @property
    def attached(self) -> str:
        """The tag by which it is attached to another; '' when it is not."""
        tag = self.desc.annotations.get(NAME_ANNOTATIONS[1], "")
        return tag if attaches(tag) else ""


@dataclass(slots=True)
class _Docker:
    """What manifest.json says, as manifests and where their blobs are."""

    images: list[ArchivedImage] = field(default_factory=list)
    content: dict[Digest, bytes] = field(default_factory=dict)
    members: dict[Digest, str] = field(default_factory=dict)


class ArchiveSource:
    """A Source over members. Raises ArchiveInvalid when they hold no images.

    `here` gives the bytes of a layer's tar that the sink has: docker's archives may leave it out.
    """

    def __init__(self, members: Members, here: Callable[[DiffID], int | None] = lambda diff_id: None) -> None:
        self._members = members
        self._here = here
        self._docker = _Docker()
        if members.has("index.json"):
            self.images = self._oci()
        elif members.has("manifest.json"):
            self._docker = self._docker_form()
            self.images = self._docker.images
        elif members.has("repositories"):
            raise ArchiveInvalid(
                "the archive is in docker's form from before 2016, without a manifest.json",
                hint="load and save it with a newer docker first",
            )
        else:
            raise ArchiveInvalid(
                "the file is no archive of images: it has neither index.json nor manifest.json",
                hint="a root file system goes in with `boxwright import`",
            )

    @property
    def composed(self) -> bool:
        """Whether the archive has no manifests, so that they were made here and no digest is lost with them."""
        return bool(self._docker.images)

    # --- Source --------------------------------------------------------------------------------

    def resolve(self, name: str) -> Descriptor:
        """See content.store.Resolver: a full name, a bare tag of a layout, or '' for the only image."""
        if not name:
            targets = {
                image.desc.digest: image.desc
                for image in self.images
                if not image.subject and not image.attached
            }
            if len(targets) == 1:
                return next(iter(targets.values()))
            raise ArchiveInvalid(
                f"the archive holds {len(targets)} images; say which",
                hint="it has " + ", ".join(n for i in self.images for n in i.names),
            )
        if name.startswith(BESIDE):
            for image in self.images:
                if image.attached == name.removeprefix(BESIDE):
                    return image.desc
        try:
            wanted = str(Reference.parse(name).with_default_tag())
        except Invalid:
            wanted = name
        for image in self.images:
            if (
                wanted in image.names
                or name == image.desc.annotations.get(NAME_ANNOTATIONS[1])
                or name == str(image.desc.digest)
            ):
                return image.desc
        raise BlobMissing(
            f"the archive has no image {name}",
            hint="it has " + ", ".join(n for i in self.images for n in i.names),
        )

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher. Raises BlobMissing."""
        if desc.digest in self._docker.content:
            return io.BytesIO(self._docker.content[desc.digest])
        name = self._docker.members.get(desc.digest, _blob_name(desc.digest))
        if not self._members.has(name):
            raise BlobMissing(
                f"the archive lacks {desc.digest}, which one of its images needs",
                hint="fetch or make the archive again",
            )
        file = self._members.open(name)
        return cast(
            "BinaryIO",
            _Body(
                raw=open_decompressed(file) if desc.digest in self._docker.members else file,
                desc=desc,
                name=name,
                file=file,
            ),
        )

    def has(self, desc: Descriptor) -> bool:
        """See content.store.Partial."""
        return desc.digest in self._docker.content or self._members.has(
            self._docker.members.get(desc.digest, _blob_name(desc.digest))
        )

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """See content.store.Referring."""
        return [
            Descriptor(i.desc.media_type, i.desc.digest, i.desc.size)
            for i in self.images
            if i.subject == str(digest)
        ]

    def tags(self) -> Sequence[str]:
        """Those by which something is attached."""
        return [image.attached for image in self.images if image.attached]

    def first_tags(self) -> tuple[Sequence[str], bool]:
        """See content.store.AttachedByTag."""
        return self.tags(), True

    def beside(self, tag: str) -> str:
        """See content.store.AttachedByTag."""
        return BESIDE + tag

    # --- reading -------------------------------------------------------------------------------

    def _json(self, name: str) -> Any:
        try:
            return json.loads(read_small(self._members, name))
        except (ValueError, RecursionError) as error:
            raise ArchiveInvalid(f"{name} in the archive is not JSON: {error}") from error

    def _oci(self) -> list[ArchivedImage]:
        index = parse(read_small(self._members, "index.json"), mt.OCI_INDEX)
        assert isinstance(index, Index)
        found: dict[Digest, tuple[Descriptor, list[str]]] = {}
        for entry in index.manifests[:_MOST_IMAGES]:
            if entry.media_type not in mt.INDEXES | mt.MANIFESTS:
                continue
            _, names = found.setdefault(entry.digest, (entry, []))
            names += [n for n in _annotated(entry.annotations) if n not in names]
        images = [self._described(desc, names) for desc, names in found.values()]
        if not any(image.names for image in images) and self._members.has("manifest.json"):
            images = self._named_by_docker(images)
        return images

    def _described(self, desc: Descriptor, names: list[str]) -> ArchivedImage:
        try:
            manifest = parse(read_verified(self.open(desc), desc, limit=MAX_SIZE), desc.media_type)
        except BlobMissing:
            return ArchivedImage(desc, tuple(names))
        subject = str(manifest.subject.digest) if manifest.subject is not None else ""
        return ArchivedImage(
            desc=desc,
            names=tuple(names),
            config=str(manifest.config.digest) if isinstance(manifest, Manifest) else "",
            subject=subject,
        )

    def _named_by_docker(self, images: list[ArchivedImage]) -> list[ArchivedImage]:
        tags: dict[str, tuple[str, ...]] = {}
        for entry in self._entries():
            hexed = str(entry.get("Config") or "").rpartition("/")[2].removesuffix(".json")
            tags[f"sha256:{hexed}"] = _tags(entry)
        return [
            ArchivedImage(desc=i.desc, names=tags.get(i.config, i.names), config=i.config, subject=i.subject)
            for i in images
        ]

    def _entries(self) -> Sequence[Mapping[str, Any]]:
        entries = self._json("manifest.json")
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise ArchiveInvalid("manifest.json in the archive is not a list of images")
        if len(entries) > _MOST_IMAGES:
            raise ArchiveInvalid(
                f"the archive lists {len(entries)} images; at most {_MOST_IMAGES} are accepted"
            )
        return entries

    def _docker_form(self) -> _Docker:
        out = _Docker()
        for entry in self._entries():
            name, paths = entry.get("Config"), entry.get("Layers") or []
            if (
                not isinstance(name, str)
                or not isinstance(paths, list)
                or not all(isinstance(p, str) for p in paths)
            ):
                raise ArchiveInvalid("manifest.json in the archive has an image without Config or Layers")
            raw = read_small(self._members, name)
            claimed = name.rpartition("/")[2].removesuffix(".json")
            if len(claimed) == 64 and claimed != Digest.of(raw).hex:
                raise ContentMismatch(
                    f"{name} in the archive has other bytes: their digest is {Digest.of(raw)}"
                )
            config = ImageConfig.parse(raw)
            if len(paths) != len(config.diff_ids):
                raise ArchiveInvalid(
                    f"{name} in the archive lists {len(config.diff_ids)} layers, manifest.json {len(paths)}"
                )
            layers = [
                self._layer(path, diff_id, out) for path, diff_id in zip(paths, config.diff_ids, strict=True)
            ]
            manifest, _ = compose(config, layers, raw=raw)
            out.content[manifest.config.digest] = raw
            out.content[manifest.descriptor.digest] = manifest.raw
            out.images.append(ArchivedImage(manifest.descriptor, _tags(entry), str(manifest.config.digest)))
        return out

    def _layer(self, path: str, diff_id: DiffID, out: _Docker) -> Descriptor:
        known = self._here(diff_id)
        if known is not None:  # whatever the archive has there
            return layer_descriptor(diff_id, known)
        if not path or not self._members.has(path):
            raise ArchiveInvalid(
                f"the archive leaves the layer {diff_id} out, and it is not here",
                hint="load or pull the image that it was saved beside, or save it again",
            )
        ingested = self._members.layer(path) if isinstance(self._members, Ingesting) else None
        if ingested is not None:
            if ingested.diff_id != diff_id:
                raise ContentMismatch(
                    f"{path} in the archive is {ingested.diff_id}, but the image config says {diff_id}"
                )
            return layer_descriptor(diff_id, ingested.tar_size)
        desc = layer_descriptor(diff_id, self._tar_size(path))
        out.members[desc.digest] = path
        return desc

    def _tar_size(self, path: str) -> int:
        with self._members.open(path) as file:
            if sniff(file.read(6)) == "none":
                return self._members.size(path)
        total = 0
        with self._members.open(path) as file, open_decompressed(file) as stream:
            while data := stream.read(CHUNK):
                total += len(data)
        return total


class _Body(io.RawIOBase):
    """A member's bytes, verified here unless the sink says that it does so itself (content.store.Resumable)."""

    def __init__(self, raw: BinaryIO, desc: Descriptor, name: str, file: BinaryIO) -> None:
        self._raw, self._file = raw, file
        self._desc, self._name = desc, name
        self._checked: VerifiedReader | None = None
        self._trusted = False

    def readable(self) -> bool:
        return True

    def resume_at(self, offset: int) -> None:
        """Skip what the sink has; from here on it verifies the whole."""
        self._trusted = True
        while offset and (data := self._raw.read(min(offset, CHUNK))):
            offset -= len(data)

    def readinto(self, buffer: Any) -> int:
        if self._trusted:
            count: int = self._raw.readinto(buffer)  # type: ignore[attr-defined]
            return count
        if self._checked is None:
            self._checked = VerifiedReader(self._raw, self._desc, what=f"{self._name} in the archive")
        return self._checked.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            self._file.close()
        super().close()


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _annotated(annotations: Mapping[str, str]) -> list[str]:
    """The full name that an index entry carries; a bare word is a tag (image-spec annotations.md) and names nothing."""
    for key in NAME_ANNOTATIONS:
        text = annotations.get(key, "")
        if "/" in text or ":" in text:
            return [_name(text)]
    return []


def _tags(entry: Mapping[str, Any]) -> tuple[str, ...]:
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list):
        raise ArchiveInvalid("manifest.json in the archive has RepoTags that are no list")
    return tuple(_name(str(tag)) for tag in tags)


def _name(text: str) -> str:
    try:
        reference = Reference.parse(text).with_default_tag()
        return str(reference.with_tag(reference.tag) if reference.tag else reference)
    except BoxwrightError as error:
        raise ArchiveInvalid(f"an image in the archive has the name {text[:200]!r}: {error}") from error
