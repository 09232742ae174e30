"""Subnets of networks and the addresses in them. Pure, but for a look at the host's routes where none was asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from boxwright.errors import Unavailable
from boxwright.network.driver_options import NetworkInvalid
from boxwright.spec import hashes
from boxwright.spec.values import EMPTY, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Block: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_POOL = tuple(f"172.{n}.0.0/16" for n in range(17, 32)) + tuple(
    f"192.168.{n}.0/20" for n in range(0, 256, 16)
)
_MOST_BLOCKS = 1 << 16  # subnets of 64 bits in a site's 48 (RFC 4193)


class AddressesExhausted(Unavailable):
    """The network has no free address, or no free network is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A subnet of a network. '' leaves the choice to us, or is no range; `reserved` are addresses that no container
    gets, by name. Containers cannot wish for an address in one that was `chosen` by us."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    reserved: Mapping[str, str] = field(default=EMPTY, hash=False)
    chosen: bool = False

    @property
    def six(self) -> bool:
        """Whether it is IPv6's."""
        return ":" in self.subnet

    @property
    def prefix(self) -> int:
        """Length of the subnet's prefix."""
        return int(self.subnet.partition("/")[2] or 0)

    def record(self) -> dict[str, Any]:
        """For the database."""
        return {
            f: v for f in ("subnet", "gateway", "ip_range", "reserved", "chosen") if (v := getattr(self, f))
        }


def settled(pool: Pool, block: Block) -> Pool:
    """The pool with its subnet and gateway. Raises NetworkInvalid."""
    first = next(iter(block.hosts()))
    gateway = address_in(pool.gateway, block, "gateway") if pool.gateway else first
    if pool.ip_range:
        _check_range(pool.ip_range, block)
    for name, text in pool.reserved.items():
        if address_in(text, block, "auxiliary address") == gateway:
            raise NetworkInvalid(
                f"failed to allocate secondary ip address ({name}:{text}): Address already in use"
            )
    return Pool(
        subnet=str(block),
        gateway=str(gateway),
        ip_range=pool.ip_range,
        reserved=pool.reserved,
        chosen=not pool.subnet,
    )


def parse_subnet(text: str) -> Block:
    """Raises NetworkInvalid."""
    try:
        block = ipaddress.ip_network(text)
    except ValueError as error:
        try:
            whole = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise NetworkInvalid(f"invalid subnet {text}: invalid CIDR address: {text}") from error
        raise NetworkInvalid(f"invalid subnet {text}: it should be {whole}") from error
    if block.num_addresses < 4:
        raise NetworkInvalid(f"invalid subnet {text}: it has no room for a gateway and a container")
    return block


def address_in(text: str, block: Block, what: str) -> Address:
    """The address, which a host of the subnet may have. Raises NetworkInvalid."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise NetworkInvalid(f"invalid {what} {text}: {error}") from error
    if address not in block or address in _of_nobody(block) or "%" in text:
        raise NetworkInvalid(f"invalid {what} {text}: it is not in subnet {block}")
    return address


def _of_nobody(block: Block) -> Sequence[Address]:
    """IPv6 has no broadcast, but the first address is any router's (RFC 4291, section 2.6.1)."""
    if isinstance(block, ipaddress.IPv6Network):
        return (block.network_address,)
    return (block.network_address, block.broadcast_address)


def _check_range(text: str, block: Block) -> None:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise NetworkInvalid(f"invalid ip-range {text}: invalid CIDR address: {text}") from error
    if found.version != block.version or not found.subnet_of(block):  # type: ignore[arg-type]
        raise NetworkInvalid(f"no matching subnet for range {text}", hint=f"the network has {block}")


def lowest(pool: Pool, taken: set[str]) -> str:
    """The lowest free address. Raises AddressesExhausted."""
    whole = ipaddress.ip_network(pool.subnet)
    block = ipaddress.ip_network(pool.ip_range, strict=False) if pool.ip_range else whole
    taken = taken | {pool.gateway, *(str(ipaddress.ip_address(text)) for text in pool.reserved.values())}
    # Whole networks are not walked: the lowest free address is among the first len(taken) + 3.
    start = int(block.network_address)
    kind = ipaddress.IPv6Address if pool.six else ipaddress.IPv4Address
    for number in range(start, min(start + len(taken) + 4, start + block.num_addresses)):
        address = kind(number)
        if str(address) not in taken and address not in _of_nobody(whole):
            return str(address)
    raise AddressesExhausted(
        f"no available IPv{whole.version} addresses on this network's address pools",
        hint=f"the subnet is {whole}",
    )


def free(root: str, taken: Iterable[str], *, six: bool) -> Block:
    """A subnet that overlaps neither networks of this root nor routes of the host. Raises AddressesExhausted."""
    used = [ipaddress.ip_network(t) for t in taken if (":" in t) is six] + _host_networks(six=six)
    seed = hashes.sha256(root.encode()).digest()
    if six:
        # A site of our own (RFC 4193), which is another one on another machine.
        site = b"\xfd" + hashes.sha256(seed + _machine()).digest()[:5]
        for n in range(_MOST_BLOCKS):
            block = ipaddress.IPv6Network((site + n.to_bytes(2, "big") + bytes(8), 64))
            if not any(block.overlaps(u) for u in used):
                return block
    else:
        start = int.from_bytes(seed[:2], "big") if root != "/var/lib/boxwright" else 0
        for n in range(len(_POOL)):
            own = ipaddress.IPv4Network(_POOL[(start + n) % len(_POOL)])
            if not any(own.overlaps(u) for u in used):
                return own
    raise AddressesExhausted(
        f"could not find an available, non-overlapping IPv{6 if six else 4} address pool among the defaults",
        hint="give one with --subnet",
    )


def _machine() -> bytes:
    try:
        with open("/etc/machine-id", "rb") as file:
            return file.read(64).strip()
    except OSError:
        return b""


def _host_networks(*, six: bool) -> list[Block]:
    from boxwright.network.netlink import Netlink

    netlink = Netlink()
    try:
        kind = ipaddress.IPv6Network if six else ipaddress.IPv4Network
        return [kind((packed, length), strict=False) for packed, length in netlink.destinations(six=six)]
    except OSError:
        return []
    finally:
        netlink.close()


def matched(
    subnets: Sequence[str], *, ranges: Sequence[str], gateways: Sequence[str], reserved: Mapping[str, str]
) -> tuple[Pool, ...]:
    """Pools of lists, in the order of the subnets: each range, gateway and reserved address goes to the subnet that it
    is in, as the docker client has it. Raises NetworkInvalid."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise NetworkInvalid("every ip-range or gateway must have a corresponding subnet")
    blocks = {text: ipaddress.ip_network(str(parse_subnet(text))) for text in dict.fromkeys(subnets)}
    for one in blocks.values():
        if any(one is not other and one.overlaps(other) for other in blocks.values()):
            raise NetworkInvalid("multiple overlapping subnet configuration is not supported")
    found: dict[str, dict[str, Any]] = {text: {"subnet": text} for text in blocks}
    for what, field_name, texts in (("ip-range", "ip_range", ranges), ("gateway", "gateway", gateways)):
        for text in texts:
            subnet = _home(text.partition("/")[0], blocks, what)
            known = found[subnet].setdefault(field_name, text)
            if known != text:
                raise NetworkInvalid(
                    f"cannot configure multiple {what}s ({text}, {known}) on the same subnet ({subnet})"
                )
    for name, text in reserved.items():
        found[_home(text, blocks, "aux-address")].setdefault("reserved", {})[name] = text
    return tuple(Pool(**pool) for pool in found.values())


def _home(text: str, blocks: Mapping[str, Block], what: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise NetworkInvalid(f"no matching subnet for {what} {text}") from None
    for subnet, block in blocks.items():
        if address in block:
            return subnet
    raise NetworkInvalid(f"no matching subnet for {what} {text}")
