"""`network connect` and `disconnect`, also of a running container."""

from __future__ import annotations

import os
from collections.abc import Mapping

from boxwright.container import frames
from boxwright.container.endpoints import NoEndpoint, check_wish, joined
from boxwright.container.job import RestartChange
from boxwright.container.options import check_word
from boxwright.container.records import Container, WrongState
from boxwright.errors import Denied, Unsupported
from boxwright.files.places import Places
from boxwright.network.plan import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.manager import Containers
    from boxwright.image.services import Services
    from boxwright.network.netlink import Netlink
    from boxwright.network.network import Network

_CLONE_NEWNET = 0x40000000


class ConnectionRefused(Denied):
    """The container's network mode has no room for another network."""


def connect(
    services: Services,
    containers: Containers,
    container: Container,
    network: Network,
    wish: Mapping[str, Any],
) -> None:
    """Raises ConnectionRefused, WrongState when it is connected already, AddressTaken."""
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
        _plug(services=services, containers=containers, container=container, network=network, wish=wish)
    containers.catalog.save_record(container, {**container.record, "networks": networks})
    _tell(services=services, container=container, network=network, action="connect")


def _tell(services: Services, container: Container, network: Network, action: str) -> None:
    attributes = {"container": container.id, "name": network.name, "type": network.driver}
    services.tell("network", action, identity=network.id, attributes=attributes)


def _plug(
    services: Services,
    containers: Containers,
    container: Container,
    network: Network,
    wish: Mapping[str, Any],
) -> None:
    from boxwright.container.launch import linked, name_server
    from boxwright.network.files import host_names
    from boxwright.network.namespace import connect as plug

    state = container.state
    endpoint = joined(
        containers.networks,
        network=network,
        container=container,
        wish=wish,
        used=[e["interface"] for e in state.networks.values()],
    )
    outside, inside, namespace = _sockets(state.pid)
    try:
        lock = str(Places(services.root).network_lock)
        plug(
            outside=outside,
            inside=inside,
            namespace=namespace,
            endpoint=endpoint,
            lock=lock,
        )
        _lead(inside, {**state.networks, network.name: endpoint.shown()})
        server = None
        if endpoint.names:
            from boxwright.network.dns import register

            server = name_server(services)
            register(server, container.id, [endpoint])
    except OSError as error:
        containers.networks.release(container.id, network.name)
        raise Unsupported(
            f"cannot connect container {container.name} to network {network.name}: {error}"
        ) from error
    finally:
        outside.close()
        inside.close()
        os.close(namespace)
    change = RestartChange(
        networks={**state.networks, network.name: endpoint.shown()},
        named=endpoint.id if server is not None else "",
        name_server=server,
        joined=endpoint,
    )
    containers.order(container, frames.UPDATE, plain(change))
    own = " ".join(host_names(container.record["hostname"], container.config.domainname))
    new = [f"{address}\t{own}" for address, _ in endpoint.addresses]
    new += [f"{address}\t{' '.join(names)}" for address, names in linked(containers.get, network.name, wish)]
    _hosts(container, lambda lines: [*lines, *new])


def _lead(inside: Netlink, shown: Mapping[str, Any]) -> None:
    """Set the ways out of a container's namespace, whose endpoints are `shown`. Raises OSError."""
    for six, address, gateway in ((False, "address", "gateway"), (True, "address6", "gateway6")):
        leading = [e for e in shown.values() if not e.get("internal") and e.get(address)]
        best = max(leading, key=lambda e: e.get("priority", 0), default=None)
        index = inside.index(best["interface"]) if best is not None else 0
        if best is not None and index:
            inside.add_default_route(index, best[gateway])
        else:
            inside.delete_default_route(six=six)


def _sockets(pid: int) -> tuple[Any, Any, int]:
    """A netlink socket here, one in the container's namespace, and that namespace's descriptor."""
    from boxwright.files import syscalls
    from boxwright.network.netlink import Netlink

    outside = Netlink()
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.libc("setns", namespace, _CLONE_NEWNET)
        try:
            return outside, Netlink(), namespace
        finally:
            syscalls.libc("setns", own, _CLONE_NEWNET)
    finally:
        os.close(own)


def disconnect(services: Services, containers: Containers, container: Container, network: Network) -> None:
    """Raises WrongState when it is not connected."""
    networks: dict[str, Any] = dict(container.record["networks"])
    if network.name not in networks:
        raise WrongState(f"container {container.id} is not connected to network {network.name}")
    state = container.refresh()
    endpoint = state.networks.get(network.name)
    if state.running and endpoint is not None:
        _unplug(
            services=services, containers=containers, container=container, network=network, endpoint=endpoint
        )
    del networks[network.name]
    containers.networks.release(container.id, network.name)
    containers.catalog.save_record(container, {**container.record, "networks": networks})
    _tell(services=services, container=container, network=network, action="disconnect")


def _unplug(
    services: Services,
    containers: Containers,
    container: Container,
    network: Network,
    endpoint: Mapping[str, Any],
) -> None:
    from boxwright.container.remains import dns_directory
    from boxwright.network.dns import unregister

    outside, inside, namespace = _sockets(container.state.pid)
    try:
        index = inside.index(endpoint["interface"])
        if index:
            inside.delete(index)
        _lead(inside, {name: e for name, e in container.state.networks.items() if name != network.name})
        if endpoint["names"]:
            unregister(str(dns_directory(services)), container.id, [endpoint["id"]])
    except OSError as error:
        raise Unsupported(
            f"cannot disconnect container {container.name} from network {network.name}: {error}"
        ) from error
    finally:
        outside.close()
        inside.close()
        os.close(namespace)
    kept = {name: e for name, e in container.state.networks.items() if name != network.name}
    containers.order(container, frames.UPDATE, plain(RestartChange(networks=kept)))
    own = {endpoint[key] for key in ("address", "address6") if endpoint.get(key)}
    _hosts(container, lambda lines: [line for line in lines if line.partition("\t")[0] not in own])


def _hosts(container: Container, change: Any) -> None:
    """Rewrite the file in its place: the container sees this very file."""
    path = container.directory / "hosts"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
