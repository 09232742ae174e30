"""Networks and volumes as Docker's JSON."""

from __future__ import annotations

from boxwright.spec.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.container.manager import Containers
    from boxwright.container.volumes import Volume
    from boxwright.network.network import Network
    from boxwright.network.pools import Pool


def inspect_network(containers: Containers, network: Network) -> dict[str, Any]:
    """`network inspect`: with the running containers that are connected."""
    connected: dict[str, Any] = {}
    for container in containers.list():
        endpoint = container.state.networks.get(network.name)
        if endpoint is not None:
            shown = {
                "Name": container.name,
                "EndpointID": "",
                "MacAddress": endpoint["mac"],
                "IPv4Address": _with_prefix(endpoint, "address", "prefix"),
                "IPv6Address": _with_prefix(endpoint, "address6", "prefix6"),
            }
            connected[container.id] = shown
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created or "0001-01-01T00:00:00Z",
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": dict(network.ipam_options),
            "Config": [_pool(pool) for pool in network.pools],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": connected,
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _with_prefix(endpoint: Mapping[str, Any], address: str, prefix: str) -> str:
    return f"{endpoint[address]}/{endpoint[prefix]}" if endpoint.get(address) else ""


def _pool(pool: Pool) -> dict[str, Any]:
    shown: dict[str, Any] = {"Subnet": pool.subnet}
    known = (
        ("IPRange", pool.ip_range),
        ("Gateway", pool.gateway),
        ("AuxiliaryAddresses", dict(pool.reserved)),
    )
    return {**shown, **{key: value for key, value in known if value}}


def inspect_volume(volume: Volume) -> dict[str, Any]:
    """`volume inspect`."""
    labels = {**volume.labels, **({"com.docker.volume.anonymous": ""} if volume.anonymous else {})}
    return {
        "CreatedAt": rfc3339(volume.created, digits=0),
        "Driver": "local",
        "Labels": labels or None,
        "Mountpoint": str(volume.data),
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }
