"""Functions of IP networks."""

from __future__ import annotations

import ipaddress

from boxwright.bake.errors import DefinitionInvalid
from boxwright.bake.hcl.functions.function import function, whole
from boxwright.bake.hcl.types import HclValue, text, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(given: HclValue) -> Network:
    try:
        if "/" not in given.data:
            raise ValueError
        return ipaddress.ip_network(given.data, strict=False)
    except ValueError:
        raise DefinitionInvalid(f"invalid CIDR expression: invalid CIDR address: {given.data}") from None


def _host(prefix: HclValue, wanted: HclValue) -> HclValue:
    network, at = _network(prefix), whole(wanted, "hostnum")
    count = network.num_addresses
    if not -count <= at < count:
        raise DefinitionInvalid(f"prefix of {network.prefixlen} does not accommodate a host numbered {at}")
    return text(str(network[at]))


def _mask(prefix: HclValue) -> HclValue:
    network = _network(prefix)
    if network.version == 6:
        raise DefinitionInvalid("IPv6 addresses cannot have a netmask")
    return text(str(network.netmask))


def _subnet(prefix: HclValue, bits: HclValue, wanted: HclValue) -> HclValue:
    network, more, at = _network(prefix), whole(bits, "newbits"), whole(wanted, "netnum")
    length = network.prefixlen + more
    if more < 0 or length > network.max_prefixlen:
        raise DefinitionInvalid(
            f"insufficient address space to extend prefix of {network.prefixlen} by {more}"
        )
    if not 0 <= at < 1 << more:
        raise DefinitionInvalid(f"prefix extension of {more} does not accommodate a subnet numbered {at}")
    first = int(network.network_address) + (at << (network.max_prefixlen - length))
    return text(f"{type(network.network_address)(first)}/{length}")


def _subnets(prefix: HclValue, *bits: HclValue) -> HclValue:
    network = _network(prefix)
    at, end, out = int(network.network_address), int(network.broadcast_address), []
    for wanted in bits:
        more = whole(wanted, "newbits")
        length = network.prefixlen + more
        if more < 1 or length > network.max_prefixlen:
            raise DefinitionInvalid(f"would extend prefix to {length} bits, which is too long")
        size = 1 << (network.max_prefixlen - length)
        at = (at + size - 1) // size * size
        if at + size - 1 > end:
            raise DefinitionInvalid(
                f"not enough remaining address space for a subnet with a prefix of {length} bits"
            )
        out.append(f"{type(network.network_address)(at)}/{length}")
        at += size
    return texts(out)


FUNCTIONS = (
    function("cidrhost", "prefix:string hostnum:number", _host),
    function("cidrnetmask", "prefix:string", _mask),
    function("cidrsubnet", "prefix:string newbits:number netnum:number", _subnet),
    function("cidrsubnets", "prefix:string newbits:number*", _subnets),
)
