"""Where a request comes from, when there are proxies before the registry."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_HOPS = 50


def client_address(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """The client's address. `peer` is the address that connected, `forwarded` the values of ``X-Forwarded-For``.

    A proxy appends the address that connected to it, so the list is read from its end, and believed as long as the
    proxy that wrote the entry is trusted. What a client wrote before is never reached.
    """
    if not _within(peer, trusted):
        return peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")][-_MOST_HOPS:]
    client = peer
    while hops and _within(client, trusted):
        address = _address(hops.pop())
        if not address:
            break
        client = address
    return client


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def _address(hop: str) -> str:
    """An address, with a port perhaps; '' for what is none."""
    for text in (hop, hop.rpartition(":")[0]):
        try:
            return str(ipaddress.ip_address(text.strip("[]")))
        except ValueError:
            continue
    return ""


def neighbourhood(address: str) -> str:
    """What one client can choose its addresses from: an IPv4 address, an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
