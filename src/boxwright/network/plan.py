"""What a container's supervisor has to build of a network: said by `container.launch` and RUN steps, read by
`namespace`.

Values, not text: they cross a socket as `plain` tuples, in the order of their fields. Imported by the supervisor: C
modules only.
"""

from __future__ import annotations

from boxwright.network.values import Forward, Plumbing
from boxwright.spec.values import dataclass, fields, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeVar

    _Value = TypeVar("_Value")


def plain(value: Any) -> Any:
    """Values and tuples of values as tuples of what a socket can carry; other things as they are."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if hasattr(value, "__value_fields__"):
        return tuple(plain(getattr(value, f.name)) for f in fields(value))
    return value


def named(value: Any) -> Any:
    """As `plain`, but each value as its fields by name: for a file, which another release may read."""
    if isinstance(value, tuple):
        return tuple(map(named, value))
    if hasattr(value, "__value_fields__"):
        return {f.name: named(getattr(value, f.name)) for f in fields(value)}
    return value


def made(
    kind: type[_Value], said: Sequence[Any] | Mapping[str, Any], **inner: Callable[[Any], object]
) -> _Value:
    """The value that `plain` or `named` took apart; `inner` makes the fields that are values themselves. Of names,
    unknown ones are passed over. Raises TypeError when one without a default is missing."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if isinstance(said, dict):
        given = {name: said[name] for name in known if name in said}
    else:
        given = dict(zip(known, said, strict=True))
    return kind(**{**given, **{name: make(given[name]) for name, make in inner.items() if name in given}})


def optional(make: Callable[[Any], _Value]) -> Callable[[Any], _Value | None]:
    """`make`, but None for None."""
    return lambda said: None if said is None else make(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A published port: what arrives at `host_ip` ('' = every IPv4 address of the host, '::' = every IPv6 one) and
    `host_port` is for `port` of the container's `address`, behind `bridge`."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    port: int
    bridge: str

    @classmethod
    def of(cls, said: Sequence[Any]) -> Port:
        """From `plain`, or from a state's JSON."""
        return made(cls, said)

    @property
    def forwarded(self) -> bool:
        """Whether a rule leads to the container: its address is of the same family, and not the host's ::1 alone, from
        which the kernel forwards nothing."""
        return ":" not in self.host_ip or (":" in self.address and self.host_ip != "::1")

    @property
    def relayed(self) -> bool:
        """Whether the supervisor hands connections on that no rule leads to the container."""
        return ":" in self.host_ip and (":" not in self.address or self.host_ip in ("::", "::1"))

    def forward(self) -> Forward:
        """What a rule may be made of. Raises Unfit."""
        return Forward(
            kind=self.protocol,
            host_ip=self.host_ip,
            host_port=self.host_port,
            inside=self.address,
            inside_port=self.port,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One interface of a container, with what its network is on the host. `names` are those that the network's name
    server answers for, none where it has no server; `default` has the default route, `default6` that of IPv6; `mtu` 0
    is the kernel's; `host_address` is where ports are published that ask for no address. What ends in 6 is IPv6's; ''
    and 0 stand for a family that the network has not. `link_local` are more addresses, `sysctls` settings of the
    interface (path below /proc/sys/net, value). `driver` is bridge, macvlan or ipvlan; the last two have a `parent`
    on the host and a `mode`, and no bridge."""

    network: str
    id: str
    bridge: str
    subnet: str
    gateway: str
    address: str
    prefix: int
    mac: str
    interface: str
    veth: str
    default: bool
    mtu: int
    internal: bool
    masquerade: bool
    host_address: str
    names: tuple[str, ...] = ()
    subnet6: str = ""
    gateway6: str = ""
    address6: str = ""
    prefix6: int = 0
    default6: bool = False
    link_local: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    driver: str = "bridge"
    parent: str = ""
    mode: str = ""

    @classmethod
    def of(cls, said: Sequence[Any]) -> Endpoint:
        """From `plain`."""
        return made(cls, said)

    def plumbing(self) -> Plumbing:
        """The host's side of its network. Raises Unfit."""
        return Plumbing(
            self.id,
            self.bridge,
            *(self.subnet, self.gateway, self.subnet6, self.gateway6),
            mtu=self.mtu,
            internal=self.internal,
            masquerade=self.masquerade,
        )

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Those of its network, each with the length of its prefix."""
        pairs = ((self.address, self.prefix), (self.address6, self.prefix6))
        return tuple(pair for pair in pairs if pair[0])

    def shown(self) -> Mapping[str, Any]:
        """What the container's state remembers of it."""
        return {name: plain(getattr(self, name)) for name in _SHOWN}


_SHOWN = (
    *(
        "address",
        "gateway",
        "prefix",
        "mac",
        "interface",
        "names",
        "bridge",
        "id",
        "driver",
        "internal",
        "priority",
    ),
    *("address6", "gateway6", "prefix6"),
)


def with_ways_out(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Of each family the endpoint of the highest priority, the first of several, has the default route; none of an
    internal network has."""
    out = list(endpoints)
    for six in (False, True):
        leading = [n for n, e in enumerate(out) if not e.internal and (e.address6 if six else e.address)]
        if leading:
            best = max(leading, key=lambda n: (out[n].priority, -n))
            out[best] = replace(out[best], default6=True) if six else replace(out[best], default=True)
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameServer:
    """Where names on user networks are registered: the directory of the entries, and the program that serves them."""

    directory: str
    program: str

    @classmethod
    def of(cls, said: Sequence[Any]) -> NameServer:
        """From `plain`."""
        return made(cls, said)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """A network namespace of a container. `id` is the container's, or a step's key; `lock` the path of the lock of the
    root's networks. Without endpoints there is only the loopback."""

    id: str
    lock: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[Port, ...] = ()
    name_server: NameServer | None = None

    @classmethod
    def of(cls, said: Sequence[Any]) -> NetworkPlan:
        """From `plain`."""
        return made(
            cls,
            said,
            endpoints=lambda many: tuple(map(Endpoint.of, many)),
            ports=lambda many: tuple(map(Port.of, many)),
            name_server=optional(NameServer.of),
        )

    @property
    def forwarded(self) -> tuple[Port, ...]:
        """Ports that rules lead to the container."""
        return tuple(port for port in self.ports if port.forwarded)

    @property
    def relayed(self) -> tuple[Port, ...]:
        """Ports that the supervisor listens at."""
        return tuple(port for port in self.ports if port.relayed)
