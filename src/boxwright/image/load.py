"""`load`: images out of archives and layouts into the store."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from boxwright.content.copy import copy_tree
from boxwright.content.lease import Lease
from boxwright.content.progress import Progress
from boxwright.content.tree import for_platform, load_tree
from boxwright.image.archive import ArchivedImage, ArchiveSource
from boxwright.image.catalog import ImageRow, familiar
from boxwright.image.members import ArchiveInvalid, DirMembers, TarMembers
from boxwright.image.spool import Spool
from boxwright.image.store import ImageStore, NotAnImage
from boxwright.image.target import LocalTarget
from boxwright.layer.compress import open_decompressed, sniff
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID
from boxwright.spec.manifest import Index
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that was loaded; `names` as Docker prints them, empty when the archive gave it none."""

    row: ImageRow
    names: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What Docker prints."""
        return [f"Loaded image: {name}" for name in self.names] or [f"Loaded image ID: {self.row.image_id}"]


def load(
    images: ImageStore,
    source: Path | BinaryIO,
    *,
    platform: Platform | None = None,
    progress: Progress | None = None,
    done: Callable[[Loaded], None] | None = None,
) -> list[Loaded]:
    """Bring in every image of a file (any compression), an OCI layout directory, or a stream.

    `done` hears of each image as it is registered. Raises ArchiveInvalid, TarInvalid, Corrupt, DiskFull, NotAnImage.
    """
    with Lease(images.db, "load") as lease:
        members = open_members(source, images, lease)
        try:
            return _load(
                images=images,
                source=ArchiveSource(members, _known_layers(images, lease)),
                lease=lease,
                platform=platform,
                progress=progress,
                done=done,
            )
        finally:
            members.close()


def _known_layers(images: ImageStore, lease: Lease) -> Callable[[DiffID], int | None]:
    """The bytes of the tar of a layer that is here, and from now on stays."""

    def here(diff_id: DiffID) -> int | None:
        lease.hold("layer", diff_id)
        with images.store.committing():  # what was condemned before it was held is gone when we get the lock
            return images.layers.get(diff_id).tar_size if images.layers.has(diff_id) else None

    return here


def open_members(
    source: Path | BinaryIO, images: ImageStore, lease: Lease
) -> TarMembers | DirMembers | Spool:
    """What to read an archive from: a file in place, a directory, or a stream that is spooled. Raises
    ArchiveInvalid."""
    if not isinstance(source, Path):
        return Spool(open_decompressed(source), images, lease)
    try:
        mode = os.stat(source).st_mode
        if stat.S_ISDIR(mode):
            return DirMembers(source)
        file = open(source, "rb")
    except OSError as error:
        raise ArchiveInvalid(f"cannot open {source}: {error.strerror}") from error
    with file:
        if stat.S_ISREG(mode) and sniff(file.peek(6)[:6]) == "none":
            return TarMembers(source)
        return Spool(open_decompressed(file), images, lease)


def _load(
    images: ImageStore,
    source: ArchiveSource,
    lease: Lease,
    platform: Platform | None,
    progress: Progress | None,
    done: Callable[[Loaded], None] | None,
) -> list[Loaded]:
    loaded: list[Loaded] = []
    skipped: NotAnImage | None = None
    for image in source.images:
        try:
            row = _known(images, image) or _bring(
                images=images, source=source, image=image, lease=lease, platform=platform, progress=progress
            )
        except NotAnImage as error:  # a signature beside the images it signs
            skipped = error
            continue
        loaded.append(Loaded(row, tuple(familiar(name) for name in image.names)))
        if done:
            done(loaded[-1])
    if not loaded:
        raise skipped or ArchiveInvalid("the archive holds no image")
    return loaded


def _known(images: ImageStore, image: ArchivedImage) -> ImageRow | None:
    """An image of docker's form has no manifest of its own: when its config is here, under any, it is the same
    image."""
    if not image.config or images.store.size(image.desc.digest) is not None:
        return None
    for row in images.same_image(image.config):
        resolved = images.resolved(row)
        if str(resolved.image_id) == image.config and images.ready(resolved.layers):
            for name in image.names:
                images.tag(row.target, name)
            return row
    return None


def _bring(
    images: ImageStore,
    source: ArchiveSource,
    image: ArchivedImage,
    lease: Lease,
    platform: Platform | None,
    progress: Progress | None,
) -> ImageRow:
    target = LocalTarget(images, lease, platform=platform)
    choose = for_platform(platform, source) if platform else lambda index: _present(source, index)
    tree = load_tree(source, image.desc, choose)
    copy_tree(source=source, tree=tree, sink=target, sink_name="", jobs=2, progress=progress)
    for name in image.names or ("",):
        target.tag(name, image.desc)
    return target.added[-1]


def _present(source: ArchiveSource, index: Index) -> list[Descriptor]:
    """The entries that the archive really holds: docker saves indexes with one platform of several."""
    return [entry for entry in index.manifests if source.has(entry)]
