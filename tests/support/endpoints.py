"""A container's place on a network, and a port that is published there."""

from __future__ import annotations

from typing import Any

from boxwright.network.plan import Endpoint, Port


def endpoint(**changes: Any) -> Endpoint:
    """On the network ``mine``, 10.0.0.0/24, but for the `changes`."""
    usual: dict[str, Any] = {
        "network": "mine",
        "id": "a" * 64,
        "bridge": "bw-1",
        "subnet": "10.0.0.0/24",
        "gateway": "10.0.0.1",
        "address": "10.0.0.2",
        "prefix": 24,
        "mac": "02:42:0a:00:00:02",
        "interface": "eth0",
        "veth": "veth1",
        "default": True,
        "mtu": 0,
        "internal": False,
        "masquerade": True,
        "host_address": "",
    }
    return Endpoint(**{**usual, **changes})


def port(**changes: Any) -> Port:
    """8080 at every IPv4 address of the host, for 80 of that endpoint, but for the `changes`."""
    usual: dict[str, Any] = {
        "protocol": "tcp",
        "host_ip": "",
        "host_port": 8080,
        "address": "10.0.0.2",
        "port": 80,
        "bridge": "bw-1",
    }
    return Port(**{**usual, **changes})
