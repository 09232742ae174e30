"""One network: what is asked for, what it is, and its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from boxwright.network import driver_options
from boxwright.network.pools import Pool
from boxwright.spec.values import EMPTY, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.network.values import Plumbing


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network. `driver` is bridge, macvlan, ipvlan, host or null; the rest is empty for the last two. `pools` has a
    bridge's IPv4 subnet and its IPv6 one; the other two drivers may have several. `created` is RFC 3339. One that is
    `config_only` is a description for others, of which it is `config_from`."""

    name: str
    id: str
    driver: str
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    bridge: str = ""
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    ipam_driver: str = "default"
    ipam_options: Mapping[str, str] = field(default=EMPTY, hash=False)
    created: str = ""
    labels: Mapping[str, str] = field(default=EMPTY, hash=False)
    options: Mapping[str, str] = field(default=EMPTY, hash=False)

    def of_family(self, *, six: bool) -> tuple[Pool, ...]:
        """Where its containers get addresses of IPv4, or of IPv6."""
        return tuple(p for p in self.pools if p.six is six) if (self.ipv6 if six else self.ipv4) else ()

    @property
    def subnet(self) -> str:
        """Of IPv4; '' = none."""
        return next((p.subnet for p in self.of_family(six=False)), "")

    @property
    def gateway(self) -> str:
        """Of IPv4; '' = none."""
        return next((p.gateway for p in self.of_family(six=False)), "")

    @property
    def subnet6(self) -> str:
        """Of IPv6; '' = none."""
        return next((p.subnet for p in self.of_family(six=True)), "")

    @property
    def gateway6(self) -> str:
        """Of IPv6; '' = none."""
        return next((p.gateway for p in self.of_family(six=True)), "")

    @property
    def parent(self) -> str:
        """The host's interface that macvlan and ipvlan share."""
        return driver_options.parent(self.options, self.id) if self.driver in driver_options.SHARED else ""

    @property
    def mtu(self) -> int:
        """0 = the default route's."""
        return driver_options.mtu(self.options)

    def plumbing(self) -> Plumbing:
        """What the host has of it. Raises Invalid when the record is of no network that could have been made."""
        from boxwright.network.values import Plumbing

        return Plumbing(
            self.id,
            self.bridge,
            *(self.subnet, self.gateway, self.subnet6, self.gateway6),
            mtu=self.mtu or default_mtu(),
            internal=self.internal,
            masquerade=driver_options.masquerade(self.options),
        )

    @property
    def names_resolve(self) -> bool:
        """User networks have DNS; the default one has not, as in Docker."""
        return self.driver == "bridge" and self.name != "bridge"

    def record(self) -> dict[str, Any]:
        """For the database."""
        found = {f: v for f in _RECORDED if (v := getattr(self, f)) != _RECORDED[f]}
        return {**found, "pools": [pool.record() for pool in self.pools]}

    @classmethod
    def from_record(cls, name: str, identity: str, record: str) -> Network:
        """Of a row of the database."""
        found = json.loads(record)
        pools = tuple(Pool(**pool) for pool in found.pop("pools", ()))
        if "subnet" in found:  # a record of a release whose networks had one subnet
            pools = (Pool(**{field: found.pop(field, "") for field in ("subnet", "gateway", "ip_range")}),)
        return cls(name=name, id=identity, pools=pools, **found)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What is asked of a network to be; '' leaves the choice to us. `subnet`, `gateway` and `ip_range` are those of a
    network that has one subnet, before those of `pools`. `config_from` names a network that is `config_only`.
    `created` is RFC 3339."""

    driver: str = "bridge"
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    ipam_driver: str = "default"
    ipam_options: Mapping[str, str] = field(default=EMPTY, hash=False)
    labels: Mapping[str, str] = field(default=EMPTY, hash=False)
    options: Mapping[str, str] = field(default=EMPTY, hash=False)
    created: str = ""

    @property
    def all_pools(self) -> tuple[Pool, ...]:
        """Those that something was said of."""
        first = Pool(subnet=self.subnet, gateway=self.gateway, ip_range=self.ip_range)
        return (first, *self.pools) if first != Pool() else self.pools


# What the record of a network leaves out.
_RECORDED: Mapping[str, object] = {
    "driver": None,
    "bridge": "",
    "internal": False,
    "attachable": False,
    "created": "",
    "labels": {},
    "options": {},
    "ipv4": True,
    "ipv6": False,
    "config_only": False,
    "config_from": "",
    "ipam_driver": "default",
    "ipam_options": {},
}


def default_mtu() -> int:
    """That of the interface of the default route: larger packets would have to be refused on their way out. 0 =
    unknown."""
    try:
        with open("/proc/net/route") as routes:
            for line in routes:
                fields = line.split()
                if len(fields) > 7 and fields[1] == fields[7] == "00000000":
                    return min(int(Path(f"/sys/class/net/{fields[0]}/mtu").read_text()), 65535)
    except (OSError, ValueError):
        pass
    return 0
