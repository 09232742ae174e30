"""`network connect` and `disconnect`, also of a running container."""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.container import frames
from boxwright.container.endpoints import NoEndpoint, check_wish, joined
from boxwright.container.job import RestartChange
from boxwright.container.options import check_word
from boxwright.container.records import Container, WrongState
from boxwright.errors import BoxwrightError, Denied, Unsupported
from boxwright.files.places import Places
from boxwright.network.plan import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.container.manager import Containers
    from boxwright.image.services import Services
    from boxwright.network.live import LiveNetwork
    from boxwright.network.network import Network
    from boxwright.network.plan import Endpoint, NameServer


class ConnectionRefused(Denied):
    """The container's network mode has no room for another network."""


class JoiningHost:
    """What of this host a container that runs is joined to networks with."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def network_of(self, pid: int) -> LiveNetwork:
        """Raises OSError."""
        from boxwright.network.live import LiveNetwork

        return LiveNetwork(pid)

    def name_server(self) -> NameServer:
        """Of the root's user networks. Raises ProgramAbsent."""
        from boxwright.container.launch import name_server

        return name_server(self._services)

    def register(self, server: NameServer, container: str, endpoint: Endpoint) -> None:
        """Make the container's names on a network known. Raises OSError, Unfit."""
        from boxwright.network.dns import register

        register(server, container, [endpoint])

    def unregister(self, container: str, network: str) -> None:
        """Forget its names on a network, which is given by its id. Raises OSError."""
        from boxwright.container.remains import dns_directory
        from boxwright.network.dns import unregister

        unregister(str(dns_directory(self._services)), container, [network])


def connect(
    services: Services,
    containers: Containers,
    container: Container,
    network: Network,
    wish: Mapping[str, Any],
    *,
    host: JoiningHost | None = None,
) -> None:
    """Raises ConnectionRefused, WrongState when it is connected already, AddressTaken, Unsupported."""
    mode = container.config.network
    if mode == "host" or mode.startswith("container:") or network.name == "host":
        raise ConnectionRefused(
            "container sharing network namespace with another container or host cannot be connected to "
            "any other network"
        )
    if mode == "none" or network.name == "none":
        raise ConnectionRefused(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
    networks: dict[str, Any] = dict(container.record["networks"])
    if network.name in networks:
        raise WrongState(f"endpoint with name {container.name} already exists in network {network.name}")
    for what, texts in (("network alias", wish.get("aliases", ())), ("link", wish.get("links", ()))):
        for text in texts:
            check_word(text, what)
    check_wish(network, wish)
    if network.config_only:
        raise NoEndpoint("cannot create endpoint on configuration-only network")
    networks[network.name] = dict(wish)
    state = container.refresh()
    if state.running:
        if network.name == "bridge":
            network = containers.networks.default()
        _plug(
            containers=containers,
            container=container,
            network=network,
            wish=wish,
            host=host or JoiningHost(services),
            lock=str(Places(services.root).network_lock),
        )
    containers.catalog.save_record(container, {**container.record, "networks": networks})
    _tell(services=services, container=container, network=network, action="connect")


def _tell(services: Services, container: Container, network: Network, action: str) -> None:
    attributes = {"container": container.id, "name": network.name, "type": network.driver}
    services.tell("network", action, identity=network.id, attributes=attributes)


def _plug(
    *,
    containers: Containers,
    container: Container,
    network: Network,
    wish: Mapping[str, Any],
    host: JoiningHost,
    lock: str,
) -> None:
    from boxwright.container.launch import linked
    from boxwright.network.files import host_names

    state = container.state
    endpoint = joined(
        containers.networks,
        network=network,
        container=container,
        wish=wish,
        used=[e["interface"] for e in state.networks.values()],
    )
    shown = {**state.networks, network.name: endpoint.shown()}
    try:
        server = host.name_server() if endpoint.names else None
        with host.network_of(state.pid) as live:
            try:
                live.join(endpoint, lock)
                live.lead(shown)
                if server is not None:
                    host.register(server, container.id, endpoint)
            except (OSError, BoxwrightError):
                live.leave(endpoint.interface)
                live.lead(state.networks)
                raise
    except (OSError, BoxwrightError) as error:
        containers.networks.release(container.id, network.name)
        if isinstance(error, BoxwrightError):
            raise
        raise Unsupported(
            f"cannot connect container {container.name} to network {network.name}: {error}"
        ) from error
    change = RestartChange(
        networks=shown,
        named=endpoint.id if server is not None else "",
        name_server=server,
        joined=endpoint,
    )
    containers.order(container, frames.UPDATE, plain(change))
    own = " ".join(host_names(container.record["hostname"], container.config.domainname))
    new = [f"{address}\t{own}" for address, _ in endpoint.addresses]
    new += [f"{address}\t{' '.join(names)}" for address, names in linked(containers.get, network.name, wish)]
    _hosts(container, lambda lines: [*lines, *new])


def disconnect(
    services: Services,
    containers: Containers,
    container: Container,
    network: Network,
    *,
    host: JoiningHost | None = None,
) -> None:
    """Raises WrongState when it is not connected, Unsupported."""
    networks: dict[str, Any] = dict(container.record["networks"])
    if network.name not in networks:
        raise WrongState(f"container {container.id} is not connected to network {network.name}")
    state = container.refresh()
    endpoint = state.networks.get(network.name)
    if state.running and endpoint is not None:
        _unplug(
            containers=containers,
            container=container,
            network=network,
            endpoint=endpoint,
            host=host or JoiningHost(services),
        )
    del networks[network.name]
    containers.networks.release(container.id, network.name)
    containers.catalog.save_record(container, {**container.record, "networks": networks})
    _tell(services=services, container=container, network=network, action="disconnect")


def _unplug(
    *,
    containers: Containers,
    container: Container,
    network: Network,
    endpoint: Mapping[str, Any],
    host: JoiningHost,
) -> None:
    kept = {name: e for name, e in container.state.networks.items() if name != network.name}
    try:
        with host.network_of(container.state.pid) as live:
            live.leave(endpoint["interface"])
            live.lead(kept)
        if endpoint["names"]:
            host.unregister(container.id, endpoint["id"])
    except OSError as error:
        raise Unsupported(
            f"cannot disconnect container {container.name} from network {network.name}: {error}"
        ) from error
    containers.order(container, frames.UPDATE, plain(RestartChange(networks=kept)))
    own = {endpoint[key] for key in ("address", "address6") if endpoint.get(key)}
    _hosts(container, lambda lines: [line for line in lines if line.partition("\t")[0] not in own])


def _hosts(container: Container, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite the file in its place: the container sees this very file."""
    path = container.directory / "hosts"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
