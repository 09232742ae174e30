"""Push: `content.copy` from the local store to a registry.

Layers that were made here are stored uncompressed: they are compressed while others are on their way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from boxwright.content.copy import move, push_manifests
from boxwright.content.parallel import in_parallel
from boxwright.content.progress import Progress
from boxwright.content.store import Source
from boxwright.content.tree import ContentNode, for_platforms, load_tree
from boxwright.content.verify import read_verified
from boxwright.errors import NotFound
from boxwright.registry.client.remote import Remote
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass, replace
from boxwright.transfer.restate import Restating, is_attestation
from boxwright.transfer.rewrite import rewritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.image.target import LocalTarget
    from boxwright.spec.platform import Platform
    from boxwright.transfer.lent import LayerLender
    from boxwright.transfer.pack import Packer


_JOBS = 4  # blobs that are sent at a time


class NothingToPush(NotFound):
    """The index is here without any of its images."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. `target` is what the name now points at in the registry."""

    reference: Reference
    target: Descriptor
    note: str = ""
    blobs: tuple[Descriptor, ...] = ()


class _DiffIdProgress:
    """Shows blobs under their diff IDs, as Docker's push does."""

    def __init__(self, inner: Progress | None) -> None:
        self._inner = inner
        self._labels: dict[Digest, Digest] = {}

    def show(self, blob: Descriptor, label: Digest) -> None:
        self._labels[blob.digest] = label

    def _as(self, desc: Descriptor) -> Descriptor:
        return replace(desc, digest=self._labels.get(desc.digest, desc.digest))

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        if self._inner:
            self._inner.planned([self._as(b) for b in blobs])

    def started(self, desc: Descriptor) -> None:
        if self._inner:
            self._inner.started(self._as(desc))

    def resumed(self, desc: Descriptor, offset: int) -> None:
        if self._inner:
            self._inner.resumed(self._as(desc), offset)

    def advanced(self, desc: Descriptor, count: int) -> None:
        if self._inner:
            self._inner.advanced(self._as(desc), count)

    def done(self, desc: Descriptor, how: str) -> None:
        if self._inner:
            self._inner.done(self._as(desc), how)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentImage:
    """An image of the store's blobs on its way to `reference`, by digest without the tag.

    `compression` (a name of `spec.compression`) is that of layers that lie here plain; `keeping` leaves those that came
    compressed as they came. `insecure` goes over plain HTTP too, and takes any certificate. `elsewhere` has layers that
    are not in the store.
    """

    target: Descriptor
    reference: Reference
    compression: str = "gzip"
    level: int | None = None
    keeping: bool = False
    platforms: tuple[Platform, ...] = ()
    by_digest: bool = False
    insecure: bool = False
    elsewhere: LayerLender | None = None


def push(
    source: LocalTarget,
    image: SentImage,
    remote: Remote,
    *,
    packer: Packer | None,
    progress: Progress | None = None,
) -> Pushed:
    """Bring an image of the local store to its reference, or by digest to its repository only, where it then has
    no tag.

    `packer` None = push every layer as it is. Of an index that is here in part, that part is pushed. Raises
    NothingToPush, PlatformMissing and what the registry raises.
    """
    reference, platforms = image.reference, image.platforms
    select = for_platforms(platforms, source) if platforms else lambda index: list(index.manifests)

    def here(index: Index) -> list[Descriptor]:
        return [
            entry
            for entry in select(index)
            if entry.media_type not in mt.MANIFESTS | mt.INDEXES or source.has(entry)
        ]

    tree = load_tree(source, image.target, here)
    tree, note = _part_that_is_here(tree, source.complete, bool(platforms))
    shown = _DiffIdProgress(progress)
    work: dict[Digest, Descriptor] = {}
    for node in tree.walk():
        if isinstance(node.content, Manifest) and not is_attestation(node.content):
            _label(source, node.content, shown)
            for desc in (*reversed(node.content.layers), node.content.config):
                work.setdefault(desc.digest, desc)
    blobs = _send_blobs(source=source, remote=remote, blobs=list(work.values()), packer=packer, shown=shown)
    restating = Restating(source)
    final = rewritten(tree, blobs, restating)
    _send_statements(source=restating, remote=remote, tree=final, progress=progress)
    push_manifests(remote, [node for node in final.walk() if node is not final], _JOBS)
    name = str(reference.with_digest(final.desc.digest)) if image.by_digest else str(reference)
    remote.push_named(name, final.desc, final.content.raw)
    return Pushed(reference=reference, target=final.desc, note=note, blobs=tuple(blobs.values()))


def _label(source: Source, manifest: Manifest, shown: _DiffIdProgress) -> None:
    if manifest.config.media_type in mt.CONFIGS:
        config = ImageConfig.parse(
            read_verified(source.open(manifest.config), manifest.config, limit=MAX_SIZE)
        )
        for layer, diff_id in zip(manifest.layers, config.diff_ids):
            shown.show(layer, Digest(diff_id.algorithm, diff_id.hex))


def _send_blobs(
    source: Source,
    remote: Remote,
    blobs: list[Descriptor],
    packer: Packer | None,
    shown: _DiffIdProgress,
) -> dict[Digest, Descriptor]:
    """Compress what needs it and send everything; returns what became of each descriptor."""
    stop = threading.Event()
    became: dict[Digest, Descriptor] = {}
    shown.planned(blobs)

    def one(desc: Descriptor) -> None:
        blob, there = desc, False
        if packer is not None and packer.packs(desc):
            blob, there = packer.pack(desc, remote, progress=shown, stop=stop)
            shown.show(blob, desc.digest)
            shown.planned([blob])
        became[desc.digest] = blob
        if there:
            shown.done(blob, "copied")
        else:
            shown.resumed(blob, 0)  # a stream that failed halfway does not count
            move(source, remote, blob, progress=shown, stop=stop)

    in_parallel(_JOBS, blobs, one, stop=stop)
    return became


def _send_statements(source: Restating, remote: Remote, tree: ContentNode, progress: Progress | None) -> None:
    """What is said about the images, once their digests are known."""
    stop = threading.Event()
    blobs = {
        desc.digest: desc
        for node in tree.walk()
        if isinstance(node.content, Manifest) and is_attestation(node.content)
        for desc in node.content.references()
    }
    if blobs and progress:
        progress.planned(list(blobs.values()))
    in_parallel(
        _JOBS,
        list(blobs.values()),
        lambda desc: move(source, remote, desc, progress=progress, stop=stop),
        stop=stop,
    )


def _part_that_is_here(
    tree: ContentNode, complete: Callable[[Manifest], bool], asked: bool
) -> tuple[ContentNode, str]:
    """The tree without images whose layers are missing; its note says what was left out."""
    if isinstance(tree.content, Manifest):
        return tree, ""
    children: list[ContentNode] = []
    for child in tree.children:
        part = _part_that_is_here(child, complete, asked)[0] if isinstance(child.content, Index) else child
        if isinstance(part.content, Index) or complete(part.content):
            children.append(part)
    entries = [e for e in tree.content.manifests if e.media_type in mt.MANIFESTS | mt.INDEXES]
    if len(children) == len(entries):
        return replace(tree, children=tuple(children)), ""
    if not children:
        raise NothingToPush(f"no image of the index {tree.desc.digest} is in the store", hint="pull it first")
    platforms = ", ".join(str(c.desc.platform or "?") for c in children)
    if len(children) == 1:
        return (
            children[0],
            ""
            if asked
            else f"Not all multiplatform-content is present and only the available single-platform image "
            f"was pushed ({platforms})",
        )
    kept = {c.desc.digest for c in children}
    index = Index.compose(
        [e for e in tree.content.manifests if e.digest in kept],
        media_type=tree.content.media_type,
        annotations=tree.content.annotations,
    )
    note = (
        ""
        if asked
        else f"Not all multiplatform-content is present and only the available platforms were pushed ({platforms})"
    )
    return ContentNode(index.descriptor, index, tuple(children)), note
