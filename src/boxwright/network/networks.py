"""Networks: records, addresses, and what a container's supervisor has to build.

Every root has its own bridge called `bridge` on a subnet that was free when it was first used, so that roots can live
side by side; `host` and `none` always exist. Addresses belong to a container from its first start until it is removed.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from boxwright.content.db import Database
from boxwright.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from boxwright.files.places import Places
from boxwright.network import addresses, driver_options
from boxwright.network.driver_options import NetworkInvalid
from boxwright.spec import hashes
from boxwright.spec.times import stamp
from boxwright.spec.values import EMPTY, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection
    from typing import Any, TypeVar

    from boxwright.network.plan import Endpoint
    from boxwright.network.values import Plumbing

    _What = TypeVar("_What")
    _Answer = TypeVar("_Answer")

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_. -]*[a-zA-Z0-9_.-])?\Z"
BUILT_IN = ("bridge", "host", "none")
_POOL = tuple(f"172.{n}.0.0/16" for n in range(17, 32)) + tuple(
    f"192.168.{n}.0/20" for n in range(0, 256, 16)
)


class NoSuchNetwork(NotFound):
    """No network has this name or id."""


class NetworkInUse(Conflict):
    """Containers are connected to the network."""


class NetworkExists(Conflict):
    """The name is taken."""


class AddressTaken(Conflict):
    """The address belongs to another container."""


class AddressesExhausted(Unavailable):
    """The network has no free address, or no free network is left."""


class BuiltIn(Denied):
    """`bridge`, `host` and `none` cannot be removed or made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network. `driver` is bridge, host or null; the rest is empty but for bridges. `created` is RFC 3339."""

    name: str
    id: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    ip_range: str = ""
    internal: bool = False
    attachable: bool = False
    created: str = ""
    labels: Mapping[str, str] = field(default=EMPTY, hash=False)
    options: Mapping[str, str] = field(default=EMPTY, hash=False)

    @property
    def prefix(self) -> int:
        """Length of the subnet's prefix."""
        return int(self.subnet.partition("/")[2] or 0)

    @property
    def mtu(self) -> int:
        """0 = the default route's."""
        return driver_options.mtu(self.options)

    def plumbing(self) -> Plumbing:
        """What the host has of it. Raises Invalid when the record is of no network that could have been made."""
        from boxwright.network.values import Plumbing

        return Plumbing(
            network=self.id,
            bridge=self.bridge,
            block=self.subnet,
            gateway=self.gateway,
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
        return {f: v for f in _RECORDED if (v := getattr(self, f))}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What is asked of a network to be; '' leaves the choice to us. `created` is RFC 3339."""

    driver: str = "bridge"
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = field(default=EMPTY, hash=False)
    options: Mapping[str, str] = field(default=EMPTY, hash=False)
    created: str = ""


_RECORDED = (
    "driver",
    "subnet",
    "gateway",
    "bridge",
    "ip_range",
    "internal",
    "attachable",
    "created",
    "labels",
    "options",
)


class Networks:
    """All methods may be called from any thread."""

    def __init__(self, root: Path, db: Database) -> None:
        self._root, self._db = root, db

    # --- reading -------------------------------------------------------------------------------

    def list(self) -> list[Network]:
        """Every network, the built-in ones too, by name."""
        with self._db.read() as sql:
            rows = sql.execute("SELECT name, id, record FROM networks").fetchall()
        stored = [_network(*row) for row in rows]
        names = {n.name for n in stored}
        built_in = [self._unborn(name) for name in BUILT_IN if name not in names]
        return sorted(stored + built_in, key=lambda n: n.name)

    def get(self, text: str) -> Network:
        """By name, id, or the beginning of an id. Raises NoSuchNetwork."""
        everything = self.list()
        for network in everything:
            if network.name == text:
                return network
        found = [n for n in everything if n.id.startswith(text)] if text else []
        if len(found) != 1:
            raise NoSuchNetwork(f"network {text} not found")
        return found[0]

    def _unborn(self, name: str) -> Network:
        identity = hashes.sha256(f"{self._root}\0{name}".encode()).hexdigest()
        return Network(name=name, id=identity, driver={"host": "host", "none": "null"}.get(name, "bridge"))

    def members(self, name: str) -> dict[str, str]:
        """Container id -> address."""
        with self._db.read() as sql:
            return dict(
                sql.execute("SELECT container, address FROM addresses WHERE network = ?", (name,)).fetchall()
            )

    # --- making and removing -------------------------------------------------------------------

    def create(
        self,
        name: str,
        wish: NetworkConfig,
    ) -> Network:
        """A user network. Raises NetworkInvalid, NetworkExists, AddressesExhausted, BuiltIn."""
        if not re.match(_NAME, name):
            raise NetworkInvalid(
                f"invalid network name: {name!r}: only letters, digits, blanks and _.- are allowed"
            )
        if name in BUILT_IN or name == "default":
            raise BuiltIn(f"operation is not permitted on predefined {name} network")
        if wish.driver != "bridge":
            raise NetworkInvalid(
                f"could not find plugin {wish.driver} in v1 plugin registry: only the bridge driver is here"
            )
        driver_options.check(wish.options)
        with self._db.write() as sql:
            network = self._insert(sql=sql, name=name, identity=os.urandom(32).hex(), wish=wish)
        self._tell("create", network)
        return network

    def _tell(self, action: str, network: Network) -> None:
        from boxwright.content import journal

        journal.tell(
            str(Places(self._root).events),
            kind="network",
            action=action,
            identity=network.id,
            attributes={"name": network.name, "type": network.driver},
        )

    def _insert(self, sql: Connection, name: str, identity: str, wish: NetworkConfig) -> Network:
        taken = [_network(*row) for row in sql.execute("SELECT name, id, record FROM networks")]
        if any(n.name == name for n in taken):
            raise NetworkExists(f"network with name {name} already exists")
        block = _subnet(wish.subnet) if wish.subnet else self._free([n.subnet for n in taken if n.subnet])
        for other in taken:
            if other.subnet and ipaddress.IPv4Network(other.subnet).overlaps(block):
                raise NetworkInvalid(
                    "invalid pool request: Pool overlaps with other one on this address space",
                    hint=f"{other.name} has {other.subnet}",
                )
        chosen = _address(wish.gateway, block, "gateway") if wish.gateway else next(block.hosts())
        if wish.ip_range:
            _check_range(wish.ip_range, block)
        bridge = driver_options.bridge_name(wish.options)
        if bridge and any(n.bridge == bridge for n in taken):
            raise NetworkInvalid(f"another network has the bridge name {bridge}")
        bridge = bridge or "bw-" + hashes.sha256(f"{self._root}\0{identity}".encode()).hexdigest()[:10]
        network = Network(
            name=name,
            id=identity,
            driver="bridge",
            subnet=str(block),
            gateway=str(chosen),
            bridge=bridge,
            ip_range=wish.ip_range,
            internal=wish.internal,
            attachable=wish.attachable,
            created=wish.created,
            labels=wish.labels,
            options=wish.options,
        )
        sql.execute("INSERT INTO networks VALUES (?, ?, ?)", (name, identity, json.dumps(network.record())))
        return network

    def default(self) -> Network:
        """The network `bridge`, with a subnet from now on. Raises AddressesExhausted."""
        network = self.get("bridge")
        if network.subnet:
            return network

        options = {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
        }
        with self._db.write() as sql:
            row = sql.execute("SELECT name, id, record FROM networks WHERE name = 'bridge'").fetchone()
            return (
                _network(*row)
                if row
                else self._insert(
                    sql=sql,
                    name="bridge",
                    identity=network.id,
                    wish=NetworkConfig(options=options, created=stamp()),
                )
            )

    def _free(self, taken: Iterable[str]) -> ipaddress.IPv4Network:
        used = [ipaddress.IPv4Network(t) for t in taken] + _host_networks()
        start = (
            int.from_bytes(hashes.sha256(str(self._root).encode()).digest()[:2], "big")
            if str(self._root) != "/var/lib/boxwright"
            else 0
        )
        for n in range(len(_POOL)):
            block = ipaddress.IPv4Network(_POOL[(start + n) % len(_POOL)])
            if not any(block.overlaps(u) for u in used):
                return block
        raise AddressesExhausted(
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            hint="give one with --subnet",
        )

    def remove(self, text: str) -> Network:
        """Raises NoSuchNetwork, BuiltIn, NetworkInUse (while a container is connected and runs: the caller's
        knowledge)."""
        network = self.get(text)
        if network.name in BUILT_IN:
            raise BuiltIn(f"{network.name} is a pre-defined network and cannot be removed")
        self.take_down(network)
        with self._db.write() as sql:
            sql.execute("DELETE FROM networks WHERE name = ?", (network.name,))
            sql.execute("DELETE FROM addresses WHERE network = ?", (network.name,))
        (Path(f"{Places(self._root).network_lock}.{network.bridge}")).unlink(missing_ok=True)
        self._tell("destroy", network)
        return network

    def take_down(self, network: Network) -> None:
        """Remove what the host has of it: what uses the network loses its connection. It is made again when needed.
        Raises Unavailable."""
        from boxwright.network import bridge

        for plumbing in self._plumbings([network]):
            self._on_host(bridge.take_down, plumbing)

    def take_down_idle(self) -> None:
        """Remove bridges that nothing uses now from the host. Raises Unavailable."""
        from boxwright.network import bridge

        for plumbing in self._plumbings(self.list()):
            self._on_host(bridge.remove_idle, plumbing)

    def mend(self, *, thoroughly: bool = False) -> bool:
        """Make the rules of networks in use again when another program has removed any, or `thoroughly`; whether they
        were made. Raises Unavailable."""
        from boxwright.network import bridge

        return self._on_host(
            lambda networks, lock: bridge.mend(networks, lock, thoroughly=thoroughly),
            self._plumbings(self.list()),
        )

    def _plumbings(self, networks: Iterable[Network]) -> Sequence[Plumbing]:
        found = []
        for network in networks:
            if network.bridge:
                try:
                    found.append(network.plumbing())
                except Invalid:  # of a record from before names were checked: nothing could be made of it
                    continue
        return found

    def _on_host(self, change: Callable[[_What, str], _Answer], what: _What) -> _Answer:
        try:
            return change(what, str(Places(self._root).network_lock))
        except OSError as error:
            raise Unavailable(
                f"cannot change the bridges and rules of networks: {error.strerror or error}"
            ) from error

    # --- addresses -----------------------------------------------------------------------------

    def allocate(self, network: Network, container: str, wanted: str = "") -> str:
        """The container's address on the network: the one it has, the one it wants, or the lowest free one.

        Raises AddressTaken, AddressesExhausted, NetworkInvalid."""
        block = ipaddress.IPv4Network(network.subnet)
        with self._db.write(durable=False) as sql:  # who has it will not have outlived a power cut
            rows = sql.execute(
                "SELECT address, container FROM addresses WHERE network = ?", (network.name,)
            ).fetchall()
            own = next((address for address, owner in rows if owner == container), "")
            if own and wanted in ("", own):
                return str(own)
            taken = {address for address, _ in rows} | {network.gateway}
            if wanted:
                address = str(_address(wanted, block, "address"))
                if address in taken:
                    raise AddressTaken("Address already in use", hint=f"{address} on network {network.name}")
            else:
                address = _lowest(
                    ipaddress.IPv4Network(network.ip_range, strict=False) if network.ip_range else block,
                    block,
                    taken,
                )
            sql.execute(
                "DELETE FROM addresses WHERE network = ? AND container = ?", (network.name, container)
            )
            sql.execute("INSERT INTO addresses VALUES (?, ?, ?)", (network.name, address, container))
        return address

    def release(self, container: str, network: str = "") -> None:
        """Give addresses back: on one network, or all."""
        addresses.release(self._db, container, network)

    def endpoint(
        self,
        network: Network,
        container: str,
        *,
        address: str,
        default: bool,
        mac: str = "",
        number: int = 0,
        names: Iterable[str] = (),
    ) -> Endpoint:
        """One interface, as `network.namespace` builds it. `names` count only where the network has a name server."""
        from boxwright.network.plan import Endpoint

        packed = ipaddress.IPv4Address(address).packed
        return Endpoint(
            network=network.name,
            id=network.id,
            bridge=network.bridge,
            subnet=network.subnet,
            gateway=network.gateway,
            address=address,
            prefix=network.prefix,
            mac=mac or "02:42:" + packed.hex(":"),
            interface=f"eth{number}",
            veth="veth" + hashes.sha256(f"{self._root}{container}{network.id}".encode()).hexdigest()[:11],
            default=default and not network.internal,
            mtu=network.mtu or default_mtu(),
            internal=network.internal,
            masquerade=driver_options.masquerade(network.options),
            host_address=driver_options.host_address(network.options),
            names=tuple(dict.fromkeys(names)) if network.names_resolve else (),
        )


def _network(name: str, identity: str, record: str) -> Network:
    return Network(name=name, id=identity, **json.loads(record))


def _check_range(text: str, block: ipaddress.IPv4Network) -> None:
    try:
        found = ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise NetworkInvalid(f"invalid ip-range {text}: invalid CIDR address: {text}") from error
    if not found.subnet_of(block):
        raise NetworkInvalid(f"no matching subnet for range {text}", hint=f"the network has {block}")


def _subnet(text: str) -> ipaddress.IPv4Network:
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError as error:
        try:
            whole = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise NetworkInvalid(f"invalid subnet {text}: invalid CIDR address: {text}") from error
        raise NetworkInvalid(f"invalid subnet {text}: it should be {whole}") from error
    if block.num_addresses < 4:
        raise NetworkInvalid(f"invalid subnet {text}: it has no room for a gateway and a container")
    return block


def _address(text: str, block: ipaddress.IPv4Network, what: str) -> ipaddress.IPv4Address:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise NetworkInvalid(f"invalid {what} {text}: {error}") from error
    if address not in block or address in (block.network_address, block.broadcast_address):
        raise NetworkInvalid(f"invalid {what} {text}: it is not in subnet {block}")
    return address


def _lowest(block: ipaddress.IPv4Network, whole: ipaddress.IPv4Network, taken: set[str]) -> str:
    # Whole networks are not walked: the lowest free address is among the first len(taken) + 3.
    start = int(block.network_address)
    for number in range(start, min(start + len(taken) + 4, start + block.num_addresses)):
        address = ipaddress.IPv4Address(number)
        if str(address) not in taken and address not in (whole.network_address, whole.broadcast_address):
            return str(address)
    raise AddressesExhausted(
        "no available IPv4 addresses on this network's address pools", hint=f"the subnet is {whole}"
    )


def _host_networks() -> list[ipaddress.IPv4Network]:
    from boxwright.network.netlink import Netlink

    netlink = Netlink()
    try:
        return [
            ipaddress.IPv4Network((packed, length), strict=False) for packed, length in netlink.destinations()
        ]
    except OSError:
        return []
    finally:
        netlink.close()


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
