"""What the rows of volumes and containers claim, for `fsck`: that directories and layers are there."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.container.rows import holdings, identities
from boxwright.container.volumes import NoSuchVolume, Volumes
from boxwright.image.validate import Problem
from boxwright.layer.rows import bytes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.image.services import Services


def check(services: Services, *, repair: bool = False) -> Iterator[Problem]:
    """Every claim that does not hold, beside other commands: those remove rows before what the rows claim. With
    `repair`, a volume's directory is made again; a container without its layers has its own changes still, and is
    kept."""
    yield from _volumes(Volumes(services.root, services.db), repair)
    for one in holdings(services.db):
        there = bytes_of(services.db, one.layers)
        lost = [layer for layer in one.layers if layer not in there]
        if lost and one.container in identities(services.db):
            yield Problem(
                kind="container",
                what=one.container,
                detail=f"its layer {lost[0]} is not in the store",
                state="kept" if repair else "",
            )


def _volumes(volumes: Volumes, repair: bool) -> Iterator[Problem]:
    for volume in volumes.list():
        if volume.data.is_dir():
            continue
        try:
            volumes.get(volume.name)
        except NoSuchVolume:
            continue
        if repair:
            volumes.make_directory(volume.name)
        detail = "its directory was missing, and is empty" if repair else "its directory is missing"
        yield Problem(
            kind="volume", what=volume.name, detail=detail, state="repaired" if repair else "", gone=True
        )
