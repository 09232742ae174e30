"""What the verbs of the engine share: the services of its root, and above them registries, containers and upkeep."""

from __future__ import annotations

from functools import cached_property

from boxwright.files.places import Places
from boxwright.image.services import Services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.container.manager import Containers
    from boxwright.image.maintain import Maintenance
    from boxwright.image.remove import Use
    from boxwright.registry.client.client import RegistryClient
    from boxwright.transfer.manifest_lists import ManifestLists
    from boxwright.transfer.transfers import Transfers


class EngineServices(Services):
    """The services of one engine. They may change between releases; what is promised is the engine's own verbs."""

    @cached_property
    def containers(self) -> Containers:
        """Containers, with their networks and volumes."""
        from boxwright.container.manager import Containers

        return Containers(self)

    @cached_property
    def registry(self) -> RegistryClient:
        """The registry client; connections and tokens are kept while the engine lives."""
        from boxwright.registry.client.client import RegistryClient
        from boxwright.registry.client.config import from_settings

        return RegistryClient(from_settings(self.settings))

    @cached_property
    def transfers(self) -> Transfers:
        """Pull and push on this root."""
        from boxwright.transfer.transfers import Transfers

        return Transfers(self.registry, lambda: self.images_store)

    @cached_property
    def manifest_lists(self) -> ManifestLists:
        """Manifest lists under work."""
        from boxwright.transfer.manifest_lists import ManifestLists

        return ManifestLists(self.root, self.registry)

    @cached_property
    def maintenance(self) -> Maintenance:
        """Removal, pruning, measuring, checking."""
        from boxwright.container.rows import holdings
        from boxwright.image.maintain import Maintenance

        return Maintenance(
            images=self.images_store,
            holdings=lambda: holdings(self.db),
            uses=self._uses,
            volumes=self._volume_names,
            snapshots=lambda: self.snapshots,
        )

    def _volume_names(self) -> list[str]:
        from boxwright.container.volumes import Volumes

        return [volume.name for volume in Volumes(self.root, self.db).list()]

    def _uses(self) -> list[Use]:
        """Which images containers were made from, and what else they keep."""
        from boxwright.container.rows import holdings
        from boxwright.image.remove import Use

        found = list(holdings(self.db))
        states = self.container_states() if found else {}
        return [
            Use(
                container=one.container,
                target=one.target,
                running=states.get(one.container) in ("running", "paused"),
                layers=one.layers,
                volumes=one.volumes,
            )
            for one in found
        ]

    def container_states(self) -> dict[str, str]:
        """Docker's state word of every container, by ID."""
        from boxwright.container.rows import identities

        found = identities(self.db)
        if not found:
            return {}
        from boxwright.container.records import load_state

        states = {container: load_state(Places(self.root).container(container)) for container in found}
        if any(state.unattended for state in states.values()):
            return {container.id: container.state.status for container in self.containers.list(all=True)}
        return {container: state.status for container, state in states.items()}
