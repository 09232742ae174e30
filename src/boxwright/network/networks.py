"""The networks of a root: making and removing them, their addresses, and what a container's supervisor has to build.

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
from boxwright.network.network import Network, NetworkConfig, default_mtu
from boxwright.network.pools import AddressesExhausted, Pool, address_in, free, lowest, parse_subnet, settled
from boxwright.spec import hashes
from boxwright.spec.times import stamp
from boxwright.spec.values import EMPTY, replace

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


class NoSuchNetwork(NotFound):
    """No network has this name or id."""


class NetworkInUse(Conflict):
    """Containers are connected to the network."""


class NetworkExists(Conflict):
    """The name is taken."""


class AddressTaken(Conflict):
    """The address belongs to another container."""


class BuiltIn(Denied):
    """`bridge`, `host` and `none` cannot be removed or made."""


class Networks:
    """All methods may be called from any thread."""

    def __init__(self, root: Path, db: Database) -> None:
        self._root, self._db = root, db

    # --- reading -------------------------------------------------------------------------------

    def list(self) -> list[Network]:
        """Every network, the built-in ones too, by name."""
        with self._db.read() as sql:
            rows = sql.execute("SELECT name, id, record FROM networks").fetchall()
        stored = [Network.from_record(*row) for row in rows]
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
        """Container id -> address, of IPv4 if it has one."""
        with self._db.read() as sql:
            rows = sql.execute(
                "SELECT container, address FROM addresses WHERE network = ?", (name,)
            ).fetchall()
        return dict(sorted(rows, key=lambda row: ":" not in row[1]))

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
        if wish.config_from:
            wish = self._described(wish)
        if wish.driver in ("host", "null"):
            raise BuiltIn(f'only one instance of "{wish.driver}" network is allowed')
        if wish.driver not in ("bridge", *driver_options.SHARED):
            raise NetworkInvalid(
                f'plugin "{wish.driver}" not found',
                hint=f"there are no plugins here: known are bridge, {', '.join(driver_options.SHARED)}",
            )
        if wish.ipam_driver not in ("default", "null"):
            raise NetworkInvalid(f'plugin "{wish.ipam_driver}" not found', hint="known are default, null")
        if not (wish.ipv4 or wish.ipv6):
            raise NetworkInvalid("IPv4 or IPv6 must be enabled")
        if wish.config_only and (wish.internal or wish.attachable):
            raise NetworkInvalid(
                "configuration network can only contain network specific fields. Network operator fields like "
                "[ ingress | internal | attachable | scope ] are not supported."
            )
        driver_options.check(wish.options, "any" if wish.config_only else wish.driver)
        with self._db.write() as sql:
            network = self._insert(sql=sql, name=name, identity=os.urandom(32).hex(), wish=wish)
        self._tell("create", network)
        return network

    def _described(self, wish: NetworkConfig) -> NetworkConfig:
        """With what the network that it is made from says. Raises NetworkInvalid."""
        source = next((n for n in self.list() if n.name == wish.config_from and n.config_only), None)
        if source is None:
            raise NetworkInvalid(f'configuration network "{wish.config_from}" does not exist')
        own = wish.all_pools or wish.options or wish.labels or wish.ipam_options or wish.ipv6 or not wish.ipv4
        if own or wish.config_only or wish.ipam_driver != "default":
            raise NetworkInvalid(
                "user specified configurations are not supported if the network depends on a configuration network"
            )
        return replace(
            wish,
            **{name: getattr(source, name) for name in ("pools", "options", "labels", "ipv4", "ipv6")},
            ipam_driver=source.ipam_driver,
            ipam_options=source.ipam_options,
        )

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
        taken = [Network.from_record(*row) for row in sql.execute("SELECT name, id, record FROM networks")]
        if any(n.name == name for n in taken):
            raise NetworkExists(f"network with name {name} already exists")
        kept = {name: getattr(wish, name) for name in _KEPT}
        bridge = ""
        if wish.config_only:
            network = Network(name=name, id=identity, driver="null", pools=wish.all_pools, **kept)
        else:
            pools = self._pools(wish, [n for n in taken if not n.config_only])
            if wish.driver == "bridge":
                bridge = driver_options.bridge_name(wish.options)
                if bridge and any(n.bridge == bridge for n in taken):
                    raise NetworkInvalid(f"another network has the bridge name {bridge}")
                bridge = (
                    bridge or "bw-" + hashes.sha256(f"{self._root}\0{identity}".encode()).hexdigest()[:10]
                )
            elif not wish.options.get("parent"):
                kept["internal"] = True  # an interface that leads nowhere
            network = Network(name=name, id=identity, driver=wish.driver, pools=pools, bridge=bridge, **kept)
        sql.execute("INSERT INTO networks VALUES (?, ?, ?)", (name, identity, json.dumps(network.record())))
        return network

    def _pools(self, wish: NetworkConfig, taken: Sequence[Network]) -> tuple[Pool, ...]:
        """What was asked for, and what is missing of it. Raises NetworkInvalid, AddressesExhausted."""
        found: list[Pool] = []
        others = [(n.name, p.subnet) for n in taken for p in n.pools]
        for pool in wish.all_pools:
            if not pool.subnet:
                block = free(str(self._root), [subnet for _, subnet in others], six=False)
            else:
                block = parse_subnet(pool.subnet)
            for name, subnet in others:
                other = ipaddress.ip_network(subnet)
                if wish.driver == "bridge" and block.version == other.version and block.overlaps(other):
                    raise NetworkInvalid(
                        "invalid pool request: Pool overlaps with other one on this address space",
                        hint=f"{name} has {subnet}",
                    )
            found.append(settled(pool, block))
            others.append((wish.driver, str(block)))
        for six, wanted in ((False, wish.ipv4), (True, wish.ipv6)):
            own = [pool for pool in found if pool.six is six]
            if len(own) > 1 and wish.driver == "bridge":
                raise NetworkInvalid("bridge driver doesn't support multiple subnets")
            if wanted and not own and wish.ipam_driver == "default":
                found.append(
                    settled(Pool(), free(str(self._root), [subnet for _, subnet in others], six=six))
                )
        if wish.ipam_driver == "null" and wish.driver == "bridge":
            raise NetworkInvalid(
                "ipv4 pool is empty", hint="a bridge needs addresses; --ipam-driver default gives them"
            )
        return tuple(found)

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
                Network.from_record(*row)
                if row
                else self._insert(
                    sql=sql,
                    name="bridge",
                    identity=network.id,
                    wish=NetworkConfig(options=options, created=stamp()),
                )
            )

    def remove(self, text: str) -> Network:
        """Raises NoSuchNetwork, BuiltIn, NetworkInUse (while a container is connected and runs: the caller's
        knowledge)."""
        network = self.get(text)
        if network.name in BUILT_IN:
            raise BuiltIn(f"{network.name} is a pre-defined network and cannot be removed")
        if network.config_only and any(n.config_from == network.name for n in self.list()):
            raise NetworkInUse(f'configuration network "{network.name}" is in use')
        self.take_down(network)
        with self._db.write() as sql:
            sql.execute("DELETE FROM networks WHERE name = ?", (network.name,))
            sql.execute("DELETE FROM addresses WHERE network = ?", (network.name,))
        if network.bridge:
            (Path(f"{Places(self._root).network_lock}.{network.bridge}")).unlink(missing_ok=True)
        self._tell("destroy", network)
        return network

    def take_down(self, network: Network) -> None:
        """Remove what the host has of it: what uses the network loses its connection. It is made again when needed.
        Raises Unavailable."""
        from boxwright.network import bridge, parents

        for plumbing in self._plumbings([network]):
            self._on_host(bridge.take_down, plumbing)
        if network.parent:
            self._on_host(lambda parent, lock: parents.remove(parent, network.id, lock), network.parent)

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

    def allocate(self, network: Network, container: str, wanted: str = "", *, six: bool = False) -> str:
        """The container's address on the network, of one family: the one it has, the one it wants, or the lowest free
        one; '' where the network has none of the family.

        Raises AddressTaken, AddressesExhausted, NetworkInvalid."""
        pools = network.of_family(six=six)
        if not pools:
            if wanted:
                raise NetworkInvalid(f"no configured subnet or ip-range contain the IP address {wanted}")
            return ""
        asked = str(_wanted(wanted, pools)) if wanted else ""
        with self._db.write(durable=False) as sql:  # who has it will not have outlived a power cut
            rows = sql.execute(
                "SELECT address, container FROM addresses WHERE network = ?", (network.name,)
            ).fetchall()
            own = next((a for a, owner in rows if owner == container and (":" in a) is six), "")
            if own and asked in ("", own):
                return str(own)
            taken = {address for address, _ in rows} | {pool.gateway for pool in pools}
            if asked in taken:
                raise AddressTaken("Address already in use", hint=f"{asked} on network {network.name}")
            address = asked or _lowest(network, pools, taken)
            if own:
                sql.execute("DELETE FROM addresses WHERE network = ? AND address = ?", (network.name, own))
            sql.execute("INSERT INTO addresses VALUES (?, ?, ?)", (network.name, address, container))
        return address

    def allocate_both(
        self,
        network: Network,
        container: str,
        wanted: tuple[str, str],
        *,
        on_record: Callable[[Database, str], bool],
    ) -> tuple[str, str]:
        """A container's addresses of IPv4 and IPv6, while it is `on_record`: one that is removed meanwhile would never
        give them back. Raises OwnerGone and what `allocate` raises."""
        with self._db.write(durable=False):
            if not on_record(self._db, container):
                raise addresses.OwnerGone(f"No such container: {container}")
            four, six = wanted
            return self.allocate(network, container, four), self.allocate(network, container, six, six=True)

    def release(self, container: str, network: str = "") -> None:
        """Give addresses back: on one network, or all."""
        addresses.release(self._db, container, network)

    def endpoint(
        self,
        network: Network,
        container: str,
        *,
        addresses: tuple[str, str],
        wish: Mapping[str, Any] = EMPTY,
        number: int = 0,
        names: Iterable[str] = (),
    ) -> Endpoint:
        """One interface, as `network.namespace` builds it, with its addresses of IPv4 and IPv6; whether it has the way
        out is for `plan.with_ways_out`. `names` count only where the network has a name server; `wish` may have mac,
        driver_opts, link_local and priority."""
        from boxwright.network.plan import Endpoint

        options = wish.get("driver_opts") or {}
        interface = options.get(driver_options.INTERFACE) or f"eth{number}"
        address, address6 = addresses
        pool, pool6 = (_home(text, network.of_family(six=":" in text)) for text in (address, address6))
        routed = driver_options.mode(network.driver, network.options).startswith("l3")
        return Endpoint(
            network=network.name,
            id=network.id,
            bridge=network.bridge,
            subnet=pool.subnet,
            gateway=_ANY if routed and address else pool.gateway,
            address=address,
            prefix=pool.prefix,
            mac=wish.get("mac") or _mac(network, container, address),
            interface=interface,
            veth="veth" + hashes.sha256(f"{self._root}{container}{network.id}".encode()).hexdigest()[:11],
            default=False,
            mtu=network.mtu or default_mtu(),
            internal=network.internal,
            masquerade=driver_options.masquerade(network.options),
            host_address=driver_options.host_address(network.options),
            names=tuple(dict.fromkeys(names)) if network.names_resolve else (),
            subnet6=pool6.subnet,
            gateway6=_ANY6 if routed and address6 else pool6.gateway,
            address6=address6,
            prefix6=pool6.prefix,
            link_local=tuple(wish.get("link_local") or ()),
            sysctls=driver_options.sysctls(options, interface),
            priority=int(wish.get("priority") or 0),
            driver=network.driver,
            parent=network.parent,
            mode=driver_options.mode(network.driver, network.options),
        )


_ANY, _ANY6 = "0.0.0.0", "::"  # out of the interface itself
_KEPT = (
    *("internal", "attachable", "created", "labels", "options", "ipv4", "ipv6", "config_only", "config_from"),
    *("ipam_driver", "ipam_options"),
)


def _mac(network: Network, container: str, address: str) -> str:
    """Of the IPv4 address; else of what is the container's own."""
    packed = (
        ipaddress.IPv4Address(address).packed
        if address
        else bytes.fromhex(hashes.sha256(f"{network.id}{container}".encode()).hexdigest()[:8])
    )
    return "02:42:" + packed.hex(":")


def _home(address: str, pools: Sequence[Pool]) -> Pool:
    """The pool that the address is of; without an address an empty one."""
    if not address:
        return Pool()
    found = ipaddress.ip_address(address)
    return next((pool for pool in pools if found in ipaddress.ip_network(pool.subnet)), Pool())


def _wanted(text: str, pools: Sequence[Pool]) -> object:
    for pool in pools[:-1]:
        try:
            return address_in(text, ipaddress.ip_network(pool.subnet), "address")
        except NetworkInvalid:
            continue
    return address_in(text, ipaddress.ip_network(pools[-1].subnet), "address")


def _lowest(network: Network, pools: Sequence[Pool], taken: set[str]) -> str:
    for pool in pools:
        try:
            return lowest(pool, taken)
        except AddressesExhausted as error:
            last = error
    raise AddressesExhausted(f"{last}: {network.name} ({network.id})", hint=last.hint)
