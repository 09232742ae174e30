"""`engine.volumes`: directories that outlive containers."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, BinaryIO

    from boxwright.container.volumes import Volume
    from boxwright.engine.services import EngineServices
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned


@checked
class VolumesAPI:
    """Volumes by name."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    def list(self) -> Sequence[Volume]:
        """Every volume, by name."""
        return self._services.containers.volumes.list()

    def get(self, volume: str) -> Volume:
        """One volume. Raises NoSuchVolume."""
        return self._services.containers.volumes.get(volume)

    def inspect(self, volume: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's JSON of a volume; `size` adds its UsageData: bytes on disk and how many containers have it. Raises
        NoSuchVolume, VolumeUnmountable."""
        from boxwright.container.describe_networks import inspect_volume

        found = self.get(volume)
        shown = inspect_volume(found)
        if not size:
            return shown
        volumes = self._services.containers.volumes
        with volumes.mounted(found):
            used = volumes.usage(found)
        return {**shown, "UsageData": {"RefCount": len(self.users().get(found.name, ())), "Size": used}}

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """A volume, anonymous without a name; one of that name that is there already. Raises VolumeInvalid,
        VolumeDiffers."""
        volume, _ = self._services.containers.volumes.create(
            name, driver=driver, labels=labels, options=options, anonymous=not name
        )
        return volume

    def users(self) -> dict[str, Sequence[str]]:
        """Volume -> IDs of the containers that have it; volumes without any are missing."""
        return self._services.containers.catalog.volume_users()

    def usage(self, volume: str) -> int:
        """Bytes on disk. Raises NoSuchVolume."""
        return self._services.containers.volumes.usage(self.get(volume))

    def export(self, volume: str, sink: BinaryIO) -> None:
        """Write all of a volume as a tar, with owners, times and extended attributes. Raises NoSuchVolume,
        VolumeUnmountable."""
        from boxwright.container import backup

        backup.export(self._services.containers.volumes, self.get(volume), sink)

    def import_(self, volume: str, source: BinaryIO, *, replace: bool = False) -> Volume:
        """Fill a volume, which is made when it is missing, with a tar that may be compressed. One with files is
        refused, unless they are to be replaced; either all of the archive is there at the end, or nothing has changed.
        Raises VolumeInvalid, VolumeInUse, VolumeNotEmpty, TarInvalid, NameRefused, AttributeRefused."""
        from boxwright.container import backup
        from boxwright.container.volumes import VolumeInUse
        from boxwright.files.places import Places

        containers = self._services.containers
        found, new = containers.volumes.create(volume)
        spool = Places(self._services.root).ingests
        try:
            users = set(self.users().get(found.name, ()))
            running = sorted(c.id for c in containers.list() if c.id in users)
            if running:
                raise VolumeInUse(f"import {found.name}: volume is in use - [{', '.join(running)}]")
            backup.restore(containers.volumes, found, source, spool=spool, replace=replace)
        except BaseException:
            if new:
                self.remove(found.name)
            raise
        return found

    def remove(self, volume: str) -> None:
        """Raises NoSuchVolume, VolumeInUse."""
        self._services.containers.volumes.remove(volume, self.users().get(volume, ()))

    def prune(self, *, everything: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove anonymous volumes that no container has, or named ones too. Filters: label, label!. Raises
        FilterInvalid."""
        return self._services.containers.catalog.prune_volumes(filters or {}, everything=everything)
