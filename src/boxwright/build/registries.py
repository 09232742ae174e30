"""Bases from registries: a manifest and a config to plan with, the whole image when a step needs its layers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from boxwright.build.bases import BaseNotFound, PushedImage
from boxwright.build.named import LAYOUT
from boxwright.build.planning import Base
from boxwright.content.verify import read_verified
from boxwright.errors import NotFound
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Manifest, parse
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.content.layout import Layout
    from boxwright.content.progress import Progress
    from boxwright.content.store import Fetcher
    from boxwright.image.store import ImageStore
    from boxwright.registry.client.http import Http
    from boxwright.registry.client.remote import Remote
    from boxwright.transfer.transfers import Transfers

_JOBS = 4  # layers at a time

Told = Callable[[str, int, int], None]


class EngineRegistries:
    """Transfers between registries and the store as `bases.Registries`."""

    def __init__(self, transfers: Callable[[], Transfers], images: ImageStore) -> None:
        self._transfers = transfers  # made when it is needed: most builds ask no registry
        self._images = images

    def peek(self, name: str, platform: Platform) -> Base:
        """See Registries. Raises BaseNotFound, Unavailable, Unauthorized."""
        if name.startswith(LAYOUT):
            return _peek_layout(name, platform)
        reference = Reference.parse(name).with_default_tag()
        remote = self._transfers().client.remote(reference)
        try:
            target = remote.fetch(str(reference))
        except NotFound as error:
            raise BaseNotFound(
                f"{reference}: not found",
                hint=error.hint
                or f"`boxwright search {reference.familiar_name}` may find it under another name",
            ) from error
        manifest = _manifest(source=remote, desc=target, platform=platform, name=str(reference))
        pinned = f"{reference.name}:{reference.tag}@{target.digest}" if reference.tag else str(reference)
        return Base(
            name=str(reference),
            digest=str(target.digest),
            config=_config(remote, manifest),
            image_id=str(manifest.config.digest),
            pinned=pinned,
        )

    def pull(self, name: str, platform: Platform, emit: Told) -> None:
        """See Registries; the image gets its tag too, so that the next build finds it here."""
        if name.startswith(LAYOUT):
            self._bring(name, platform, emit)
            return
        reference = Reference.parse(name)
        exact = str(reference.with_digest(Digest.parse(reference.digest))) if reference.digest else name
        pulled = self._transfers().pull(exact, platform=str(platform), progress=_Progress(emit))
        if reference.tag and reference.digest:
            name = self._images.checked(str(reference.with_tag(reference.tag)), digest=False)
            self._images.tag(str(pulled[0].target.digest), name)

    def _bring(self, name: str, platform: Platform, emit: Told) -> None:
        """Bring the layers of an image of a layout. Raises BaseNotFound, ContentMismatch, Corrupt."""
        from boxwright.content.copy import move
        from boxwright.content.lease import Lease
        from boxwright.content.parallel import in_parallel
        from boxwright.image.target import LocalTarget

        layout, target = _in_layout(name)
        manifest = _manifest(source=layout, desc=target, platform=platform, name=name)
        progress = _Progress(emit)
        progress.planned(manifest.layers)
        with Lease(self._images.db, f"base {name}") as lease:
            sink = LocalTarget(self._images, lease)
            stop = threading.Event()
            in_parallel(
                _JOBS,
                manifest.layers,
                lambda desc: move(layout, sink, desc, progress=progress, stop=stop),
                stop=stop,
            )

    def push(self, image: PushedImage, progress: Progress) -> Descriptor:
        """See Registries. Raises AccessDenied, Unavailable."""
        from boxwright.transfer.push import SentImage

        sent = SentImage(
            target=image.target,
            reference=Reference.parse(image.name).with_default_tag(),
            compression="gzip" if image.compress else "none",
            keeping=True,
            by_digest=image.by_digest,
            insecure=image.insecure,
            elsewhere=image.elsewhere,
        )
        return self._transfers().send(sent, progress=progress).target

    def remote(self, name: str, *, push: bool = False, insecure: bool = False) -> Remote:
        """See Registries."""
        return self._transfers().client.remote(Reference.parse(name), push=push, insecure=insecure)

    def http(self) -> Http:
        """See Registries."""
        return self._transfers().client.http


def _in_layout(name: str) -> tuple[Layout, Descriptor]:
    """The layout and the image in it that a name of `named.parse_value` means."""
    from pathlib import Path

    from boxwright.content.layout import Layout

    path, _, digest = name.removeprefix(LAYOUT).rpartition("@")
    layout = Layout(Path(path))
    return layout, layout.resolve(digest)


def _peek_layout(name: str, platform: Platform) -> Base:
    layout, target = _in_layout(name)
    manifest = _manifest(source=layout, desc=target, platform=platform, name=name)
    return Base(
        name=name.rpartition("@")[0],
        digest=str(target.digest),
        config=_config(layout, manifest),
        image_id=str(manifest.config.digest),
        pinned=name,
    )


def _config(source: Fetcher, manifest: Manifest) -> ImageConfig:
    raw = read_verified(source.open(manifest.config), manifest.config, limit=MAX_SIZE)
    return ImageConfig.parse(raw).on_host()


def _manifest(source: Fetcher, desc: Descriptor, platform: Platform, name: str) -> Manifest:
    from boxwright.content.tree import PlatformMissing, for_platform

    select = for_platform(platform, source)
    for _ in range(4):  # an index in an index in an index is a joke
        content = parse(read_verified(source.open(desc), desc, limit=MAX_SIZE), desc.media_type)
        if isinstance(content, Manifest):
            return content
        try:
            chosen = select(content)
        except PlatformMissing as error:
            raise BaseNotFound(
                f"{name}: no match for platform in manifest: not found",
                hint=f"wanted {platform}; {error.hint}",
            ) from error
        if not chosen:
            break
        desc = chosen[0]
    raise BaseNotFound(f"{name}: its index leads to no image")


class _Progress:
    """`content.progress.Progress` as the status of a step."""

    def __init__(self, emit: Told) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._sizes: dict[Digest, int] = {}
        self._done: dict[Digest, int] = {}

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        with self._lock:
            self._sizes.update({b.digest: b.size for b in blobs})

    def started(self, desc: Descriptor) -> None:
        self._emit(str(desc.digest), 0, desc.size)

    def resumed(self, desc: Descriptor, offset: int) -> None:
        self._count(desc, offset, False)

    def advanced(self, desc: Descriptor, count: int) -> None:
        self._count(desc, count, True)

    def done(self, desc: Descriptor, how: str) -> None:
        self._emit(str(desc.digest), desc.size, desc.size)

    def _count(self, desc: Descriptor, count: int, add: bool) -> None:
        with self._lock:
            now = count + (self._done.get(desc.digest, 0) if add else 0)
            self._done[desc.digest] = now
        if now < desc.size:
            self._emit(str(desc.digest), now, desc.size)
