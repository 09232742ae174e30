"""Which hosts are this machine, which are inside our network, and what lies on the way to them (proxies).

`ipaddress` is loaded for what may be an address only: most names of registries are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress


def proxy_for(scheme: str, host: str, port: int | None, proxies: Mapping[str, str]) -> str:
    """The proxy's URL for a host, '' for none, by Go's rules: NO_PROXY takes domains, addresses, CIDRs and host:port,
    and loopback never goes through a proxy."""

    def value(name: str) -> str:
        return proxies.get(name) or proxies.get(name.lower()) or ""

    proxy = value(f"{scheme.upper()}_PROXY") or value("ALL_PROXY")
    if not proxy or is_loopback(host) or _excluded(host.lower(), port, value("NO_PROXY").lower().split(",")):
        return ""
    return proxy


def _excluded(host: str, port: int | None, rules: Iterable[str]) -> bool:
    address = address_of(host)
    for rule in (r.strip() for r in rules):
        if not rule:
            continue
        if rule == "*":
            return True
        name, colon, number = rule.rpartition(":")
        if colon and number.isdigit() and "]" not in number and (":" not in name or name.startswith("[")):
            if number != str(port):
                continue
            rule = name.strip("[]")
        if address is not None and within(address, rule):
            return True
        if host == rule.lstrip(".") or host.endswith("." + rule.lstrip("*").lstrip(".")):
            return True
    return False


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host literally is; None for a name."""
    bare = host.strip("[]").partition("%")[0]
    if bare.strip("0123456789abcdefABCDEF:."):
        return None
    import ipaddress

    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return None


def within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    """Whether the address lies in a network as ``10.0.0.0/8``; what is no network holds nothing."""
    import ipaddress

    try:
        return address in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its very spelling."""
    address = address_of(host)
    return (
        host.lower() == "localhost"
        or host.lower().endswith(".localhost")
        or (address is not None and address.is_loopback)
    )


def may_be_sent_to(target: str, from_host: str) -> bool:
    """Whether a peer may send us on to `target` (a host without port): by redirect, upload location or token realm.

    A public registry must not make us call addresses inside our own network (server-side request forgery);
    link-local addresses, where clouds keep their secrets, are never called on anybody's word.
    """
    if target.lower() == from_host.lower():
        return True
    address = address_of(target)
    address = getattr(address, "ipv4_mapped", None) or address
    if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
        return False
    if is_loopback(target):
        return is_loopback(from_host)
    if address is not None and not address.is_global:
        return is_loopback(from_host) or _is_inside(from_host)
    return True


def _is_inside(host: str) -> bool:
    """Whether a host is on a private network; a name is looked up."""
    address = address_of(host)
    if address is not None:
        return not address.is_global
    import socket

    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    addresses = [a for text in found if (a := address_of(str(text))) is not None]
    return bool(addresses) and not any(a.is_global for a in addresses)
