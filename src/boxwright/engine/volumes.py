"""`engine.volumes`: directories that outlive containers."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

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

    def inspect(self, volume: str) -> dict[str, Any]:
        """Docker's JSON of a volume. Raises NoSuchVolume."""
        from boxwright.container.describe_networks import inspect_volume

        return inspect_volume(self.get(volume))

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

    def remove(self, volume: str) -> None:
        """Raises NoSuchVolume, VolumeInUse."""
        self._services.containers.volumes.remove(volume, self.users().get(volume, ()))

    def prune(self, *, everything: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove anonymous volumes that no container has, or named ones too. Filters: label, label!. Raises
        FilterInvalid."""
        return self._services.containers.catalog.prune_volumes(filters or {}, everything=everything)
