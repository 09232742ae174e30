"""Networks and volumes as Docker's JSON."""

from __future__ import annotations

from boxwright.spec.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.container.manager import Containers
    from boxwright.container.volumes import Volume
    from boxwright.network.networks import Network


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
                "IPv4Address": f"{endpoint['address']}/{endpoint['prefix']}",
            }
            connected[container.id] = {**shown, "IPv6Address": ""}
    pool: dict[str, str] = {"Subnet": network.subnet} if network.subnet else {}
    if network.ip_range:
        pool["IPRange"] = network.ip_range
    if network.gateway:
        pool["Gateway"] = network.gateway
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created or "0001-01-01T00:00:00Z",
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [pool] if pool else []},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": connected,
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


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
