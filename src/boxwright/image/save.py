"""`save`: images out of the store into one archive that every other tool reads.

The archive is an OCI layout and, with manifest.json, docker's form at once (what docker 25 and newer write):

    blobs/<algorithm>/<hex>   index.json   manifest.json   oci-layout

The same images give the same bytes, on any root: members in the order of the images, no times, no owners.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from boxwright.content.copy import copy_tree
from boxwright.content.lease import Lease
from boxwright.content.progress import Progress
from boxwright.content.store import BESIDE
from boxwright.content.tree import ContentNode, load_tree
from boxwright.content.verify import read_verified
from boxwright.image.archive import NAME_ANNOTATIONS
from boxwright.image.catalog import ImageRow, NoSuchImage, familiar, quick_normal, split
from boxwright.image.store import ImageStore, PlatformAbsent, is_image
from boxwright.image.target import LocalTarget
from boxwright.layer.write import Entry, TarBuilder
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, canonical_json, parse
from boxwright.spec.platform import Platform, choose
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO


class ArchiveSink:
    """A Sink that writes a tar as blobs arrive; `close` writes what names them. Not for several threads."""

    def __init__(self, out: Any, *, platform: Platform | None = None) -> None:
        self._tar = TarBuilder(out)
        self._platform = platform
        self._written: set[Digest] = set()
        self._manifests: dict[Digest, Manifest | Index] = {}
        self._named: dict[Digest, tuple[Descriptor, list[str]]] = {}
        self._dir("blobs")
        self._dir("blobs/sha256")

    def exists(self, desc: Descriptor) -> bool:
        """Whether it was written before."""
        return desc.digest in self._written

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """See content.store.Pusher."""
        if desc.digest in self._written:
            return
        if desc.digest.algorithm != "sha256" and not any(
            d.algorithm == desc.digest.algorithm for d in self._written
        ):
            self._dir(f"blobs/{desc.digest.algorithm}")
        path = f"blobs/{desc.digest.algorithm}/{desc.digest.hex}"
        if desc.media_type in mt.MANIFESTS | mt.INDEXES:
            raw = read_verified(body, desc, limit=MAX_SIZE)
            self._manifests[desc.digest] = parse(raw, desc.media_type)
            self._file(path, raw)
        else:
            self._tar.add(_entry(path, desc.size), body)
        self._written.add(desc.digest)

    def tag(self, name: str, desc: Descriptor) -> None:
        """See content.store.Tagger; `name` is normalised, '' registers the image without a name. Annotations and
        platform of the descriptor are listed, too."""
        for _, names in self._named.values():
            if name in names:
                names.remove(name)
        _, names = self._named.setdefault(desc.digest, (desc, []))
        if name:
            names.append(name)

    def close(self) -> None:
        """Write index.json, manifest.json and oci-layout, and end the archive."""
        entries: list[dict[str, Any]] = []
        for desc, names in self._named.values():
            for name in names:
                if name.startswith(BESIDE):
                    named = {NAME_ANNOTATIONS[1]: name.removeprefix(BESIDE)}
                else:
                    named = {NAME_ANNOTATIONS[0]: name, NAME_ANNOTATIONS[1]: split(name)[1]}
                entries.append(replace(desc, annotations={**desc.annotations, **named}).to_json())
            if not names:
                entries.append(desc.to_json())
        self._file(
            "index.json",
            canonical_json({"schemaVersion": 2, "mediaType": mt.OCI_INDEX, "manifests": entries}),
        )
        self._file(
            "manifest.json",
            canonical_json([e for d, names in self._named.values() if (e := self._docker(d, names))]),
        )
        self._file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._tar.finish()

    def _docker(self, desc: Descriptor, names: Sequence[str]) -> dict[str, Any] | None:
        manifest = self._one(desc)
        if manifest is None:
            return None
        return {
            "Config": f"blobs/{manifest.config.digest.algorithm}/{manifest.config.digest.hex}",
            "RepoTags": [familiar(name) for name in names if not name.startswith(BESIDE)] or None,
            "Layers": [f"blobs/{layer.digest.algorithm}/{layer.digest.hex}" for layer in manifest.layers],
        }

    def _one(self, desc: Descriptor) -> Manifest | None:
        """The manifest that docker's form shows: of an index, the best one for the default platform."""
        content = self._manifests.get(desc.digest)
        if isinstance(content, Manifest):
            return content if is_image(content) else None
        if content is None:
            return None
        here = [(entry, m) for entry in content.manifests if (m := self._one(entry)) is not None]
        ranked = [(n, entry.platform) for n, (entry, _) in enumerate(here) if entry.platform is not None]
        position = choose(self._platform, ranked) if self._platform else None
        return here[position or 0][1] if here else None

    def _dir(self, path: str) -> None:
        self._tar.add(
            Entry(
                path=path,
                type="dir",
                mode=0o755,
                uid=0,
                gid=0,
                mtime_ns=0,
                size=0,
                link="",
                device=(0, 0),
                xattrs={},
            )
        )

    def _file(self, path: str, data: bytes) -> None:
        self._tar.add(_entry(path, len(data)), data)


class OciArchiveSink(ArchiveSink):
    """The same, which also lists what refers to its images (content.store.AttachedByTag), as an OCI layout does.
    Docker's loaders would take that for images."""

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """See content.store.Pusher."""
        super().push(desc, body)
        content = self._manifests.get(desc.digest)
        if content is not None and content.subject is not None:
            self._named.setdefault(desc.digest, (desc, []))

    def tags(self) -> Sequence[str]:
        """Those by which something is attached."""
        return [
            name.removeprefix(BESIDE)
            for _, names in self._named.values()
            for name in names
            if name.startswith(BESIDE)
        ]

    def first_tags(self) -> tuple[Sequence[str], bool]:
        """See content.store.AttachedByTag."""
        return self.tags(), True

    def beside(self, tag: str) -> str:
        """See content.store.AttachedByTag."""
        return BESIDE + tag


def _entry(path: str, size: int) -> Entry:
    return Entry(
        path=path,
        type="file",
        mode=0o644,
        uid=0,
        gid=0,
        mtime_ns=0,
        size=size,
        link="",
        device=(0, 0),
        xattrs={},
    )


@dataclass(slots=True)
class _Chosen:
    row: ImageRow
    names: list[str] = field(default_factory=list)


def select(images: ImageStore, texts: Iterable[str]) -> list[_Chosen]:
    """What `save` means by its arguments: a repository without a tag is all of its tags, an ID has no name.

    Raises NoSuchImage, AmbiguousId, ReferenceInvalid.
    """
    chosen: dict[str, _Chosen] = {}

    def take(row: ImageRow, *names: str) -> None:
        entry = chosen.setdefault(row.target, _Chosen(row))
        entry.names += [name for name in names if name not in entry.names]

    for text in texts:
        repository = _repository(text)
        tagged = (
            images.rows("target IN (SELECT target FROM names WHERE name LIKE ? || ':%')", (repository,))
            if repository
            else []
        )
        if tagged:
            wanted = [
                (row, [n for n in row.names if "@" not in n and split(n)[0] == repository]) for row in tagged
            ]
            for row, names in sorted(wanted, key=lambda item: item[1]):
                if names:
                    take(row, *names)
            if any(names for _, names in wanted):
                continue
        row = images.resolve(text)
        name = quick_normal(text)
        take(row, *([name] if name in row.names else _full_name(text, row)))
    return list(chosen.values())


def _repository(text: str) -> str:
    """The normalised repository when `text` names neither tag nor digest; '' otherwise."""
    from boxwright.errors import Invalid
    from boxwright.spec.reference import Reference

    try:
        reference = Reference.parse(text)
    except Invalid:
        return ""
    return "" if reference.tag or reference.digest else reference.name


def _full_name(text: str, row: ImageRow) -> list[str]:
    from boxwright.errors import Invalid
    from boxwright.spec.reference import Reference

    try:
        name = str(Reference.parse(text).with_default_tag())
    except Invalid:
        return []
    return [name] if name in row.names and "@" not in name else []


def save(
    images: ImageStore,
    texts: Sequence[str],
    out: Any,
    *,
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the images to `out` (anything with ``write``). Raises NoSuchImage, PlatformAbsent, AmbiguousId, Corrupt."""
    with Lease(images.db, "save") as lease:
        chosen = select(images, texts)
        source = LocalTarget(images, lease)
        trees = [
            (entry, _tree(images=images, source=source, row=entry.row, platform=platform)) for entry in chosen
        ]
        sink = ArchiveSink(out, platform=platform or images.default_platform)
        for entry, tree in trees:
            copy_tree(source=source, tree=tree, sink=sink, sink_name="", jobs=1, progress=progress)
            for name in entry.names or [""]:
                # An index's entry may carry annotations that name anything: they are not names here.
                sink.tag(name, Descriptor(tree.desc.media_type, tree.desc.digest, tree.desc.size))
        sink.close()


def _tree(images: ImageStore, source: LocalTarget, row: ImageRow, platform: Platform | None) -> ContentNode:
    """The image's manifests that are here, or with `platform` only the one for it."""

    def here(index: Index) -> list[Descriptor]:
        return [entry for entry in index.manifests if images.store.size(entry.digest) is not None]

    tree = load_tree(source, source.resolve(row.target), here)
    if platform is None:
        return tree
    nodes = [node for node in tree.walk() if isinstance(node.content, Manifest) and is_image(node.content)]
    platforms = [
        (n, node.desc.platform or images.config_of(node.content).platform)
        for n, node in enumerate(nodes)
        if isinstance(node.content, Manifest)
    ]
    position = choose(platform, platforms)
    if position is None:
        raise PlatformAbsent(
            f"the image is not here for {platform}",
            hint="it is here for " + ", ".join(sorted({str(p) for _, p in platforms})),
        )
    return nodes[position]


__all__ = ["ArchiveSink", "NoSuchImage", "save", "select"]
