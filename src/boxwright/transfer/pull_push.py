"""Pull and push: `content.copy` between a registry and the local store, with what each direction needs besides.

Pull takes manifests that are here already from here, so that an image that is up to date costs one HEAD. Push
compresses layers that were made here (they are stored uncompressed) while others are on their way.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO

from boxwright.content.copy import (
    Node,
    Progress,
    copy_tree,
    for_platforms,
    in_parallel,
    load,
    move,
    push_manifests,
)
from boxwright.content.local import BlobMissing, LocalStore
from boxwright.content.store import Sink, Source
from boxwright.content.verify import read_verified
from boxwright.errors import BoxwrightError, Denied, NotFound, Unauthorized, Unsupported
from boxwright.registry.client.errors import AccessDenied, AccessNeeded, UnknownToRegistry
from boxwright.registry.client.remote import Remote
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass, replace

if TYPE_CHECKING:
    from boxwright.transfer.pack import Packer


class PullRefused(Denied):
    """The registry does not let us see the repository, which it may say of one that does not exist."""


class PlatformMismatch(NotFound):
    """The image exists, for another platform only."""


class NoImage(Unsupported):
    """The name points at something else: a chart, a signature, a policy."""


class NothingToPush(NotFound):
    """The index is here without any of its images."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. `target` is the manifest or index that the name points at."""

    reference: Reference
    target: Descriptor
    fresh: bool  # whether anything changed here
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. `target` is what the name now points at in the registry."""

    reference: Reference
    target: Descriptor
    note: str = ""
    blobs: tuple[Descriptor, ...] = ()


class Preferring:
    """A source that takes manifests from the store where it has them, and remembers small documents."""

    def __init__(self, first: LocalStore, second: Remote) -> None:
        self._first, self._second = first, second
        self._read: dict[Digest, bytes] = {}

    def resolve(self, name: str) -> Descriptor:
        """As the second source says, with the size that the content has."""
        desc = self._second.resolve(name)
        size = self._first.size(desc.digest)
        return self._second.measured(desc) if size is None else replace(desc, size=size)

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher."""
        known = self._read.get(desc.digest)
        if known is not None:
            return io.BytesIO(known)
        if desc.media_type in mt.MANIFESTS | mt.INDEXES and self._first.size(desc.digest) == desc.size:
            try:
                return self._first.open(desc)
            except BlobMissing:  # another command removed it just now
                pass
        return self._second.open(desc)

    def read(self, desc: Descriptor) -> bytes:
        """A small document, kept for the copy that follows."""
        if self._first.size(desc.digest) == desc.size:
            try:
                return self._first.read(desc.digest)
            except BlobMissing:
                pass
        self._read[desc.digest] = read_verified(self._second.open(desc), desc, limit=MAX_SIZE)
        return self._read[desc.digest]


def pull(
    remote: Remote,
    reference: Reference,
    sink: Sink,
    store: LocalStore,
    *,
    platforms: Sequence[Platform],
    exact: bool,
    known: Digest | None = None,
    progress: Progress | None = None,
    jobs: int = 4,
    resolved: Callable[[Descriptor], None] | None = None,
) -> Pulled:
    """Bring an image for these platforms into `sink`. `exact` says that they were asked for; `known` is what the
    name pointed at before; `resolved` is told what it points at now, before anything is fetched.

    Raises PullRefused, UnknownToRegistry, PlatformMissing, PlatformMismatch, NoImage, Corrupt, Unavailable.
    """
    source = Preferring(store, remote)
    watcher = _Changes(progress)
    try:
        target = source.resolve(str(reference))
        if resolved:
            resolved(target)
        tree = load(source, target, for_platforms(platforms, source))
    except (AccessNeeded, AccessDenied, UnknownToRegistry, Unauthorized) as error:
        raise _refused(reference, error) from error
    warning = _check_platform(source, tree, platforms, exact, reference)
    copy_tree(source, tree, sink, str(reference), jobs=jobs, progress=watcher)
    return Pulled(reference, target, fresh=watcher.changed or known != target.digest, warning=warning)


def _refused(reference: Reference, error: BoxwrightError) -> BoxwrightError:
    """Registries say "denied" of what does not exist: Docker's sentence for both."""
    if isinstance(error, UnknownToRegistry) and "repository unknown" not in str(error):
        return error
    said = str(error).partition(": ")[2] or str(error)
    return PullRefused(
        f"pull access denied for {reference.familiar_name}, repository does not exist or may require 'docker login': {said}",
        hint=f"boxwright login {reference.domain}" if reference.domain != "docker.io" else "boxwright login",
    )


def _check_platform(
    source: Preferring, tree: Node, platforms: Sequence[Platform], exact: bool, reference: Reference
) -> str:
    """An image without index says its platform only in its config. Returns a warning; raises PlatformMismatch, NoImage."""
    images = [node.content for node in tree.walk() if isinstance(node.content, Manifest)]
    images = [m for m in images if m.config.media_type in mt.CONFIGS]
    odd = [layer for m in images for layer in m.layers if not mt.is_layer(layer.media_type)]
    if odd and not any(all(mt.is_layer(layer.media_type) for layer in m.layers) for m in images):
        raise NoImage(
            f"{reference.familiar} has a layer of the type {odd[0].media_type!r}, which is no file system that can be read here",
            hint=f"boxwright copy {reference.familiar} oci:DIRECTORY fetches whatever a registry has",
        )
    if not isinstance(tree.content, Manifest):
        return ""
    if tree.content.config.media_type not in mt.CONFIGS:
        raise NoImage(
            f"{reference.familiar} is not a container image: its config is {tree.content.config.media_type!r}",
            hint=f"boxwright copy {reference.familiar} oci:DIRECTORY fetches whatever a registry has",
        )
    actual = ImageConfig.parse(source.read(tree.content.config)).on_host().platform
    if any(wanted.rank(actual) is not None for wanted in platforms):
        return ""
    text = f"image with reference {reference.familiar} was found but does not match the specified platform: wanted {platforms[0]}, actual: {actual}"
    if exact:
        raise PlatformMismatch(text)
    return text


class _Changes:
    """Passes progress on and notes whether anything came that was not here."""

    def __init__(self, inner: Progress | None) -> None:
        self._inner = inner
        self.changed = False

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        if self._inner:
            self._inner.planned(blobs)

    def started(self, desc: Descriptor) -> None:
        if self._inner:
            self._inner.started(desc)

    def resumed(self, desc: Descriptor, offset: int) -> None:
        if self._inner:
            self._inner.resumed(desc, offset)

    def advanced(self, desc: Descriptor, count: int) -> None:
        if self._inner:
            self._inner.advanced(desc, count)

    def done(self, desc: Descriptor, how: str) -> None:
        self.changed = self.changed or how != "exists"
        if self._inner:
            self._inner.done(desc, how)


# --- push -----------------------------------------------------------------------------------------


class _Shown:
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


def push(
    source: Source,
    target: Descriptor,
    remote: Remote,
    reference: Reference,
    store: LocalStore,
    *,
    packer: Packer | None,
    present: Callable[[Manifest], bool],
    platforms: Sequence[Platform] = (),
    progress: Progress | None = None,
    jobs: int = 4,
) -> Pushed:
    """Bring the image `target` of the local store to `reference`.

    `packer` None = push every layer as it is. `present` says whether an image is here whole: of an index that is
    here in part, only that part is pushed. Raises NothingToPush, PlatformMissing and what the registry raises.
    """
    select = for_platforms(platforms, source) if platforms else lambda index: list(index.manifests)

    def here(index: Index) -> list[Descriptor]:
        return [
            entry
            for entry in select(index)
            if entry.media_type not in mt.MANIFESTS | mt.INDEXES or store.size(entry.digest) == entry.size
        ]

    tree = load(source, target, here)
    tree, note = _part_that_is_here(tree, present, bool(platforms))
    shown = _Shown(progress)
    work: dict[Digest, Descriptor] = {}
    for node in tree.walk():
        if isinstance(node.content, Manifest):
            _label(source, node.content, shown)
            for desc in (*reversed(node.content.layers), node.content.config):
                work.setdefault(desc.digest, desc)
    blobs = _send_blobs(source, remote, list(work.values()), packer, shown, jobs)
    final = rewritten(tree, blobs)
    push_manifests(remote, [node for node in final.walk() if node is not final], jobs)
    remote.push_named(str(reference), final.desc, final.content.raw)
    return Pushed(reference, final.desc, note, tuple(blobs.values()))


def _label(source: Source, manifest: Manifest, shown: _Shown) -> None:
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
    shown: _Shown,
    jobs: int,
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

    in_parallel(jobs, blobs, one, stop=stop)
    return became


def _part_that_is_here(tree: Node, present: Callable[[Manifest], bool], asked: bool) -> tuple[Node, str]:
    """The tree without images whose layers are missing; its note says what was left out."""
    if isinstance(tree.content, Manifest):
        return tree, ""
    children: list[Node] = []
    for child in tree.children:
        part = _part_that_is_here(child, present, asked)[0] if isinstance(child.content, Index) else child
        if isinstance(part.content, Index) or present(part.content):
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
            else f"Not all multiplatform-content is present and only the available single-platform image was pushed ({platforms})",
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
    return Node(index.descriptor, index, tuple(children)), note


def rewritten(node: Node, blobs: dict[Digest, Descriptor]) -> Node:
    """The tree with compressed layers named in its manifests; the same bytes where nothing changed."""
    content = node.content
    if isinstance(content, Manifest):
        layers = tuple(_as_entry(layer, blobs.get(layer.digest, layer)) for layer in content.layers)
        if all(a.digest == b.digest for a, b in zip(layers, content.layers)):
            return node
        fresh = Manifest.compose(
            content.config,
            layers,
            media_type=mt.OCI_MANIFEST if content.config.media_type == mt.OCI_CONFIG else content.media_type,
            annotations=content.annotations,
            subject=content.subject,
            artifact_type=content.artifact_type,
        )
        return Node(
            replace(fresh.descriptor, platform=node.desc.platform, annotations=node.desc.annotations), fresh
        )
    children = tuple(rewritten(child, blobs) for child in node.children)
    changed = {
        old.desc.digest: new.desc
        for old, new in zip(node.children, children)
        if old.desc.digest != new.desc.digest
    }
    if not changed:
        return node
    index = Index.compose(
        [changed.get(e.digest, e) for e in content.manifests],
        media_type=content.media_type,
        annotations=content.annotations,
        subject=content.subject,
    )
    return Node(index.descriptor, index, children)


def _as_entry(old: Descriptor, new: Descriptor) -> Descriptor:
    if old.digest == new.digest:
        return old
    return Descriptor(new.media_type, new.digest, new.size, old.annotations)
