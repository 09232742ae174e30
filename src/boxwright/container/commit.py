"""`commit` and `diff`: what a container wrote, as an image and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from boxwright.container.records import Container, tell, tree_of
from boxwright.errors import BoxwrightError
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from boxwright.container.catalog import ContainerCatalog
    from boxwright.image.catalog import ImageRow
    from boxwright.image.services import Services
    from boxwright.snapshot.snapshotter import Change

# Of the container's config, what an image keeps (moby daemon/commit.go takes the rest from the image).
_DROPPED = (
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
    "StopTimeout",
    "MacAddress",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOptions:
    """What the image is called and says of itself. `changes` are instructions of a Dockerfile; `created` is RFC 3339,
    '' for now."""

    name: str = ""
    author: str = ""
    message: str = ""
    changes: Sequence[str] = ()
    created: str = ""


def commit(
    services: Services,
    catalog: ContainerCatalog,
    container: Container,
    wish: CommitOptions,
    *,
    paused: AbstractContextManager[None],
) -> ImageRow:
    """The container's tree, read while it is `paused`, as a new image: one more layer on its image's. Raises
    ChangeInvalid, ReferenceInvalid, DiskFull."""
    from boxwright.content.lease import Lease
    from boxwright.image.changes import apply_changes
    from boxwright.image.compose import with_layer
    from boxwright.spec.config import HistoryEntry
    from boxwright.spec.times import rfc3339

    if container.config.rootfs:
        tree_of(services, container).snapshot_layer(container.id)  # says why it cannot be
    if wish.name:
        services.images_store.checked(wish.name)
    values = apply_changes(image_config(container), wish.changes)
    with Lease(services.db, f"commit {container.id}") as lease:
        lease.hold("layer", *container.layers)
        base = _base(services, container)
        try:
            with paused:
                tree = tree_of(services, container)
                layer = tree.snapshot_layer(container.id, omit=_left_out(services, container))
        except (BoxwrightError, OSError):
            catalog.get(container.id)  # another process may have removed it meanwhile: NoSuchContainer then
            raise
        lease.hold("layer", layer.diff_id)
        moment = wish.created or rfc3339()
        entry = HistoryEntry(
            created=moment, created_by=" ".join(container.command), author=wish.author, comment=wish.message
        )
        config = replace(
            with_layer(base, layer.diff_id, entry), config=values, created=moment, author=wish.author
        )
        row = services.images_store.create(
            config, names=[wish.name] if wish.name else (), parent=str(container.record["image_id"])
        )
    reference = services.images_store.tell_made(row, wish.name)
    tell(services, container, "commit", comment=wish.message, imageID=row.image_id, imageRef=reference)
    return row


def _base(services: Services, container: Container) -> Any:
    from boxwright.image.compose import blank
    from boxwright.spec.config import ImageConfig
    from boxwright.spec.platform import Platform

    digest = Digest.parse(container.record["image_id"])
    if services.store.size(digest) is not None:
        return ImageConfig.parse(services.store.read(digest)).on_host()
    # The image was removed by force: its layers are here as long as the container is.
    return replace(
        blank(Platform.parse(container.record["platform"])),
        diff_ids=tuple(DiffID.parse(d) for d in container.layers),
    )


def image_config(container: Container) -> dict[str, Any]:
    """The container's Config without what is only about this container."""
    merged = {k: v for k, v in container.merged.items() if k not in _DROPPED and v not in (None, "", {}, [])}
    for point in container.record["mounts"]:
        # Volumes of the command line stay with the container.
        if point["target"] in (merged.get("Volumes") or {}) and not point["name"]:
            merged["Volumes"] = {k: v for k, v in merged["Volumes"].items() if k != point["target"]}
    return merged


def changes(services: Services, container: Container) -> list[Change]:
    """`diff`: A, C and D, without the mount points that were made for it."""
    made = container.refresh().placeholders
    return list(tree_of(services, container).changes(container.id, omit=made))


def _left_out(services: Services, container: Container) -> set[str]:
    """What a commit leaves out: mount points, and directories that are written only because one was made in them."""
    made = container.refresh().placeholders
    above = {str(parent) for path in made for parent in PurePosixPath(path).parents} - {"/"}
    return {*made, *above} - {change.path for change in changes(services, container)}
