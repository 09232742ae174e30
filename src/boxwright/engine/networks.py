"""`engine.networks`: networks, and which containers are in them."""

from __future__ import annotations

from boxwright.spec.arguments import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from boxwright.container.config import EndpointConfig
    from boxwright.engine.services import EngineServices
    from boxwright.image.filters import Filters
    from boxwright.image.maintain import Pruned
    from boxwright.network.network import Network
    from boxwright.network.pools import Pool


@checked
class NetworksAPI:
    """Networks by name, ID or the beginning of an ID."""

    def __init__(self, services: EngineServices) -> None:
        self._services = services

    def list(self) -> Sequence[Network]:
        """Every network, also those that are always there."""
        return self._services.containers.networks.list()

    def get(self, network: str) -> Network:
        """One network. Raises NoSuchNetwork."""
        return self._services.containers.networks.get(network)

    def inspect(self, network: str) -> dict[str, Any]:
        """Docker's JSON of a network. Raises NoSuchNetwork."""
        from boxwright.container.describe_networks import inspect_network

        return inspect_network(self._services.containers, self.get(network))

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        subnet: str = "",
        gateway: str = "",
        ip_range: str = "",
        pools: Sequence[Pool] = (),
        ipv4: bool = True,
        ipv6: bool = False,
        internal: bool = False,
        attachable: bool = False,
        config_only: bool = False,
        config_from: str = "",
        ipam_driver: str = "default",
        ipam_options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Network:
        """Create a network: with one `subnet`, or with `pools` (`network.pools.Pool`). Raises NetworkInvalid,
        NetworkExists, AddressesExhausted, BuiltIn."""
        from boxwright.network.network import NetworkConfig
        from boxwright.spec.times import stamp

        wish = NetworkConfig(
            driver=driver,
            subnet=subnet,
            gateway=gateway,
            ip_range=ip_range,
            pools=tuple(pools),
            ipv4=ipv4,
            ipv6=ipv6,
            internal=internal,
            attachable=attachable,
            config_only=config_only,
            config_from=config_from,
            ipam_driver=ipam_driver,
            ipam_options=dict(ipam_options or {}),
            labels=dict(labels or {}),
            options=dict(options or {}),
            created=stamp(),
        )
        return self._services.containers.networks.create(name, wish)

    def connect(
        self,
        network: str,
        container: str,
        *,
        aliases: Sequence[str] = (),
        ipv4: str = "",
        endpoint: EndpointConfig | None = None,
    ) -> None:
        """Give a container one more interface, also while it runs: with aliases and an IPv4 address, or with all that
        an `endpoint` may have. Raises NoSuchNetwork, NoSuchContainer, ConnectionRefused, WrongState, AddressTaken,
        ContainerConfigInvalid."""
        from boxwright.container.config import EndpointConfig
        from boxwright.container.connect import connect
        from boxwright.container.endpoints import wish_of

        containers = self._services.containers
        wish = wish_of(endpoint or EndpointConfig(network, aliases=tuple(aliases), ipv4=ipv4))
        connect(
            services=self._services,
            containers=containers,
            container=containers.get(container),
            network=self.get(network),
            wish=wish,
        )

    def disconnect(self, network: str, container: str) -> None:
        """Take an interface away. Raises NoSuchNetwork, NoSuchContainer, WrongState."""
        from boxwright.container.connect import disconnect

        containers = self._services.containers
        disconnect(
            services=self._services,
            containers=containers,
            container=containers.get(container),
            network=self.get(network),
        )

    def remove(self, network: str) -> None:
        """Raises NoSuchNetwork, BuiltIn, NetworkInUse."""
        self._services.containers.catalog.remove_network(network)

    def prune(self, *, filters: Filters | None = None) -> Pruned:
        """Remove networks that no container is to join. Filters: until, label, label!. Raises FilterInvalid."""
        return self._services.containers.catalog.prune_networks(filters or {})

    def reload(self) -> None:
        """Make the firewall's rules again, whatever is there of them. Raises Unavailable."""
        self._services.containers.catalog.mend_networks(thoroughly=True)
