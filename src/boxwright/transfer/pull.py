"""Pull: `content.copy` from a registry into the local store.

Manifests that are here already are taken from here, so that an image that is up to date costs one HEAD.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from boxwright.content.copy import copy_tree
from boxwright.content.local import BlobMissing, LocalStore
from boxwright.content.progress import Progress
from boxwright.content.store import Sink
from boxwright.content.tree import ContentNode, for_platforms, load_tree
from boxwright.content.verify import read_verified
from boxwright.errors import BoxwrightError, Denied, NotFound, Unauthorized, Unsupported
from boxwright.registry.client.errors import AccessDenied, AccessNeeded, UnknownToRegistry
from boxwright.registry.client.remote import Remote
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Manifest
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


_JOBS = 4  # blobs that are fetched at a time


class PullRefused(Denied):
    """The registry does not let us see the repository, which it may say of one that does not exist."""


class PlatformMismatch(NotFound):
    """The image exists, for another platform only."""


class NoImage(Unsupported):
    """The name points at something else: a chart, a signature, a policy."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. `target` is the manifest or index that the name points at."""

    reference: Reference
    target: Descriptor
    fresh: bool  # whether anything changed here
    warning: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedImage:
    """What a pull is for. `exact` says that the user named the platforms; otherwise they are the default."""

    reference: Reference
    platforms: tuple[Platform, ...]
    exact: bool


def pull(
    remote: Remote,
    wanted: WantedImage,
    sink: Sink,
    store: LocalStore,
    *,
    known: Digest | None = None,
    progress: Progress | None = None,
    resolved: Callable[[Descriptor], None] | None = None,
) -> Pulled:
    """Bring an image into `sink`. `known` is what its name pointed at before; `resolved` is told what it points at
    now, before anything is fetched.

    Raises PullRefused, UnknownToRegistry, PlatformMissing, PlatformMismatch, NoImage, Corrupt, Unavailable.
    """
    source, reference = Preferring(store, remote), wanted.reference
    watcher = _Changes(progress)
    try:
        target = source.resolve(str(reference))
        if resolved:
            resolved(target)
        tree = load_tree(source, target, for_platforms(wanted.platforms, source))
    except (AccessNeeded, AccessDenied, UnknownToRegistry, Unauthorized) as error:
        raise _refused(reference, error) from error
    warning = _check_platform(source, tree, wanted)
    copy_tree(source=source, tree=tree, sink=sink, sink_name=str(reference), jobs=_JOBS, progress=watcher)
    return Pulled(reference, target, fresh=watcher.changed or known != target.digest, warning=warning)


def _refused(reference: Reference, error: BoxwrightError) -> BoxwrightError:
    """Registries say "denied" of what does not exist: Docker's sentence for both."""
    if isinstance(error, UnknownToRegistry) and "repository unknown" not in str(error):
        return error
    said = str(error).partition(": ")[2] or str(error)
    return PullRefused(
        f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
        f"'docker login': {said}",
        hint=f"boxwright login {reference.domain}" if reference.domain != "docker.io" else "boxwright login",
    )


def _check_platform(source: Preferring, tree: ContentNode, wanted: WantedImage) -> str:
    """An image without index says its platform only in its config. Returns a warning; raises PlatformMismatch,
    NoImage."""
    reference, platforms = wanted.reference, wanted.platforms
    images = [node.content for node in tree.walk() if isinstance(node.content, Manifest)]
    images = [m for m in images if m.config.media_type in mt.CONFIGS]
    odd = [layer for m in images for layer in m.layers if not mt.is_layer(layer.media_type)]
    if odd and not any(all(mt.is_layer(layer.media_type) for layer in m.layers) for m in images):
        raise NoImage(
            f"{reference.familiar} has a layer of the type {odd[0].media_type!r}, which is no file system "
            f"that can be read here",
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
    if any(platform.rank(actual) is not None for platform in platforms):
        return ""
    text = (
        f"image with reference {reference.familiar} was found but does not match the specified "
        f"platform: wanted {platforms[0]}, actual: {actual}"
    )
    if wanted.exact:
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
