"""A container's places on its networks: what the user asked of each, which one has the default
route, and which ports are published there."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from boxwright.container.config import ContainerConfigInvalid, PortBinding
from boxwright.container.ports import parse_exposed
from boxwright.container.rows import on_record
from boxwright.errors import Denied
from boxwright.network.plan import Endpoint, Port
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.config import EndpointConfig
    from boxwright.container.records import Container
    from boxwright.network.network import Network
    from boxwright.network.networks import Networks


class NoEndpoint(Denied):
    """Nothing can join the network."""


def wish_of(endpoint: EndpointConfig) -> dict[str, Any]:
    """What a container's record remembers of it."""
    known = (
        ("aliases", list(endpoint.aliases)),
        ("ipv4", endpoint.ipv4),
        ("ipv6", endpoint.ipv6),
        ("mac", endpoint.mac),
        ("links", list(endpoint.links)),
        ("link_local", list(endpoint.link_local)),
        ("priority", endpoint.priority),
        ("driver_opts", dict(endpoint.driver_opts)),
    )
    return {key: value for key, value in known if value}


def check_wish(network: Network, wish: Mapping[str, Any]) -> None:
    """Raises ContainerConfigInvalid with all that is wrong, as Docker tells it."""
    from boxwright.network import driver_options, values
    from boxwright.network.driver_options import NetworkInvalid

    wrong = []
    given = _addresses(wish)
    for version, key in ((4, "ipv4"), (6, "ipv6")):
        if wish.get(key) and not _is_address(wish[key], version):
            wrong.append(f"invalid IPv{version} address: {wish[key]}")
        elif wish.get(key) and (why := _out_of_place(network, wish[key], six=version == 6)):
            wrong.append(why)
    if network.name == "bridge" and given:
        wrong.insert(0, _USERS_NETWORKS)
    if network.name == "bridge" and wish.get("aliases"):
        wrong.append("network-scoped aliases are only supported for user-defined networks")
    wrong += [
        f"invalid link-local IP address: {text}"
        for text in wish.get("link_local", ())
        if not _is_address(text)
    ]
    try:
        driver_options.check_endpoint(wish.get("driver_opts") or {})
    except (NetworkInvalid, values.Unfit) as error:
        wrong.append(str(error))
    _refuse(network.name, wrong)


def check_no_wish(mode: str, wish: Mapping[str, Any]) -> None:
    """For the modes that make no interface. Raises ContainerConfigInvalid; the texts are Docker's."""
    if wish.get("aliases"):
        raise ContainerConfigInvalid("network-scoped aliases are only supported for user-defined networks")
    if _addresses(wish):
        _refuse(
            mode, [_USERS_NETWORKS] if mode.startswith("container:") else [_USERS_NETWORKS, _USERS_SUBNETS]
        )
    if wish.keys() - {"mac"}:
        raise ContainerConfigInvalid(
            f"invalid config for network {mode}: options of an interface are for user-defined networks"
        )


_USERS_NETWORKS = "user specified IP address is supported on user defined networks only"
_USERS_SUBNETS = (
    "user specified IP address is supported only when connecting to networks with user configured subnets"
)


def _addresses(wish: Mapping[str, Any]) -> list[str]:
    return [wish[key] for key in ("ipv4", "ipv6") if wish.get(key)]


def _out_of_place(network: Network, address: str, *, six: bool) -> str:
    """Why no container of the network gets this address; '' when one may."""
    subnets = [pool.subnet for pool in network.of_family(six=six) if not pool.chosen]
    if not subnets or network.name == "bridge":
        return _USERS_SUBNETS
    found = ipaddress.ip_address(address)
    if any(found in ipaddress.ip_network(subnet) for subnet in subnets):
        return ""
    return f"no configured subnet or ip-range contain the IP address {address}"


def _refuse(network: str, wrong: list[str]) -> None:
    if wrong:
        several = "\n* " + "\n* ".join(wrong) if len(wrong) > 1 else "\n" + wrong[0]
        raise ContainerConfigInvalid(
            f"invalid config for network {network}: invalid endpoint settings:{several}"
        )


def _is_address(text: str, version: int = 0) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text and version in (0, found.version)


def joined(
    networks: Networks,
    *,
    network: Network,
    container: Container,
    wish: Mapping[str, Any],
    used: Sequence[str],
) -> Endpoint:
    """One interface, with its addresses taken, beside those whose names are `used`; whether it has the way out is for
    `plan.with_ways_out`. Raises NoEndpoint, AddressTaken, AddressesExhausted, NetworkInvalid."""
    if network.config_only:
        raise NoEndpoint("cannot create endpoint on configuration-only network")
    if network.driver in ("host", "null"):
        raise ContainerConfigInvalid(
            f"container cannot be connected to network {network.name} together with others"
        )
    return networks.endpoint(
        network,
        container.id,
        addresses=networks.allocate_both(
            network, container.id, (wish.get("ipv4", ""), wish.get("ipv6", "")), on_record=on_record
        ),
        wish=wish,
        number=next(n for n in range(len(used) + 1) if f"eth{n}" not in used),
        names=names_of(container, wish),
    )


def names_of(container: Container, wish: Mapping[str, Any]) -> list[str]:
    """The container's names on a network that it joins by this wish."""
    return [container.name, *wish.get("aliases", ()), container.short_id]


def bound(
    container: Container, endpoints: Sequence[Endpoint], containers: Sequence[Container], held: list[Any]
) -> tuple[Port, ...]:
    """Host ports, reserved by the sockets in `held` until the rules are there. `containers` are all of the root. Raises
    PortTaken."""
    wanted = list(container.config.ports)
    if container.config.publish_all:
        known = {(p.container_port, p.protocol) for p in wanted}
        exposed = parse_exposed(container.merged.get("ExposedPorts") or ())
        wanted += [PortBinding(*port) for port in exposed if port not in known]
    # The endpoint of the default route answers for all; an internal network publishes nothing, as in Docker, and one
    # that shares an interface of the host is reached there without.
    four = next((e for e in endpoints if e.default and e.driver == "bridge"), None)
    six = next((e for e in endpoints if e.default6 and e.driver == "bridge"), None)
    if not wanted or (four is None and six is None):
        return ()
    from boxwright.network.ports import PortTaken, publishable

    found = []
    usual = four.host_address if four is not None else ""
    for binding in wanted:
        if usual and not binding.host_ip:
            binding = replace(binding, host_ip=usual)
        if binding.host_port:
            _refuse_published(container, binding, port=binding.host_port, containers=containers)
        try:
            host_port, addresses, socket = publishable(
                binding.protocol, binding.host_ip, binding.host_port, six=six is not None
            )
        except PortTaken as error:
            raise PortTaken(
                f"driver failed programming external connectivity on endpoint {container.name}: {error}"
            ) from error
        if socket is not None:
            held.append(socket)
        if not binding.host_port:
            _refuse_published(container, binding, port=host_port, containers=containers)
        for address in addresses:
            endpoint = (six or four) if ":" in address else four
            if endpoint is not None:
                found.append(
                    Port(
                        protocol=binding.protocol,
                        host_ip=address,
                        host_port=host_port,
                        address=endpoint.address6 if endpoint is six and ":" in address else endpoint.address,
                        port=binding.container_port,
                        bridge=endpoint.bridge,
                    )
                )
    return tuple(found)


def _refuse_published(
    container: Container, binding: PortBinding, port: int, containers: Sequence[Container]
) -> None:
    from boxwright.network.ports import PortTaken

    # A published port has no listening socket, only a rule: other containers' are known from their state.
    for other in containers:
        if other.id == container.id:
            continue
        for known in other.state.ports if other.state.active else ():
            if (
                known.protocol == binding.protocol
                and known.host_port == port
                and _overlap(known.host_ip, binding.host_ip)
            ):
                raise PortTaken(
                    f"driver failed programming external connectivity on endpoint {container.name}: "
                    f"Bind for {binding.host_ip or '0.0.0.0'}:{port} failed: port is already allocated",
                    hint=f"container {other.name} has it",
                )


def _overlap(known: str, wanted: str) -> bool:
    """Whether the two addresses of the host have one in common. `known` '' is every IPv4 one, `wanted` '' every one."""
    known = known or "0.0.0.0"
    if not wanted:
        return True
    if (":" in known) is not (":" in wanted):
        return False
    return known == wanted or known in ("0.0.0.0", "::") or wanted in ("0.0.0.0", "::")
