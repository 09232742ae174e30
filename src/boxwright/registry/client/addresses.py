"""Which hosts are this machine, which are inside our network, and what lies on the way to them (proxies).

`ipaddress` takes 3 ms to load. It is loaded for addresses only, most names of registries being none, and not to find
out that one of IPv4 is this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    Address = IPv4Address | IPv6Address


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


def split(url: str, base: str = "") -> SplitResult | None:
    """The parts of a URL, seen from `base` when it is relative; None for what is none: brackets that do not match, a
    port beyond all ports."""
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def address_of(host: str) -> Address | None:
    """The address that a host literally is, in any spelling that the system takes for one (``127.1``, ``0x7f000001``,
    IPv4 within IPv6); None for a name."""
    bare = _bare(host)
    four = _four_bytes(bare)
    if four is None and ":" not in bare:
        return None
    import ipaddress

    if four is not None:
        return ipaddress.IPv4Address(four)
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _bare(host: str) -> str:
    return host.strip("[]").partition("%")[0]


def _four_bytes(bare: str) -> bytes | None:
    """An address of IPv4 as it goes over the wire; None for a name and for one of IPv6."""
    if not bare or ":" in bare or bare.lower().strip("0123456789abcdef.x"):
        return None
    import socket

    try:
        return socket.inet_aton(bare)
    except (OSError, UnicodeError):
        return None


def within(address: Address, network: str) -> bool:
    """Whether the address lies in a network as ``10.0.0.0/8``; what is no network holds nothing."""
    import ipaddress

    try:
        return address in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its very spelling."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if (four := _four_bytes(_bare(host))) is not None:
        return four[0] == 127  # RFC 1122, 3.2.1.3
    address = address_of(host)
    return address is not None and address.is_loopback


def may_be_sent_to(target: str, from_host: str) -> bool:
    """Whether a peer may send us on to `target` (a host without port): by redirect, upload location or token realm.

    A public registry must not make us call addresses inside our own network (server-side request forgery); this machine
    and link-local addresses, where clouds keep their secrets, are not called on the word of a peer elsewhere, whatever
    name they are given.
    """
    if target.lower() == from_host.lower():
        return True
    literal = address_of(target)
    found = [literal] if literal is not None else _looked_up(target)
    if any(a.is_link_local or a.is_multicast or a.is_unspecified for a in found):
        return False
    if is_loopback(target) or any(a.is_loopback for a in found):
        return is_loopback(from_host) or any(a.is_loopback for a in _looked_up(from_host))
    if literal is not None and not literal.is_global:
        return is_loopback(from_host) or _is_inside(from_host)
    return True


def _is_inside(host: str) -> bool:
    """Whether a host is on a private network; a name is looked up."""
    address = address_of(host)
    if address is not None:
        return not address.is_global
    addresses = _looked_up(host)
    return bool(addresses) and not any(a.is_global for a in addresses)


def _looked_up(host: str) -> list[Address]:
    """The addresses of a name; none when it has none that this machine knows (a proxy may)."""
    import socket

    try:
        found = {
            str(info[4][0]) for info in socket.getaddrinfo(host.encode("idna"), None, type=socket.SOCK_STREAM)
        }
    except (OSError, UnicodeError):
        return []
    return [a for text in found if (a := address_of(text)) is not None]
