"""Networks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.network.network import Network

_COLUMNS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
    "Label": "LABEL",
}


def network_create_args(p: Parser) -> None:
    p.add_argument("--attachable", action="store_true", help="Enable manual container attachment")
    p.add_argument(
        "--aux-address",
        action="append",
        metavar="map",
        help="Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])",
    )
    p.add_argument(
        "--config-from", metavar="string", default="", help="The network from which to copy the configuration"
    )
    p.add_argument("--config-only", action="store_true", help="Create a configuration only network")
    p.add_argument(
        "-d",
        "--driver",
        metavar="string",
        default="bridge",
        help='Driver to manage the Network (default "bridge")',
    )
    p.add_argument(
        "--gateway", action="append", metavar="strings", help="IPv4 or IPv6 Gateway for the master subnet"
    )
    p.add_argument("--internal", action="store_true", help="Restrict external access to the network")
    p.add_argument(
        "--ip-range", action="append", metavar="strings", help="Allocate container ip from a sub-range"
    )
    p.add_argument("--ingress", action="store_true", help="Create swarm routing-mesh network")
    p.add_argument(
        "--ipam-driver",
        metavar="string",
        default="default",
        help='IP Address Management Driver (default "default")',
    )
    p.add_argument(
        "--ipam-opt",
        action="append",
        metavar="map",
        help="Set IPAM driver specific options (default map[])",
    )
    p.add_argument(
        "--ipv4", action="store_true", default=True, help="Enable or disable IPv4 address assignment"
    )
    p.add_argument(
        "--ipv6", action="store_true", default=False, help="Enable or disable IPv6 address assignment"
    )
    p.add_argument("--label", action="append", help="Set metadata on a network")
    p.add_argument("--scope", metavar="string", default="", help="Control the network's scope")
    p.add_argument(
        "-o", "--opt", action="append", metavar="map", help="Set driver specific options (default map[])"
    )
    p.add_argument(
        "--subnet",
        action="append",
        metavar="strings",
        help="Subnet in CIDR format that represents a network segment",
    )
    p.add_argument("network", metavar="NETWORK")


def network_create(ctx: Context, args: Namespace) -> int:
    """Print the network's id."""
    from boxwright.container.options import labels, parse_map
    from boxwright.network.driver_options import NetworkInvalid
    from boxwright.network.pools import matched

    if args.scope == "swarm" or args.driver == "overlay":
        raise NetworkInvalid("cannot create a swarm scoped network when swarm is not active")
    if args.ingress:
        raise NetworkInvalid("Ingress network can only be global scope network")
    if args.scope not in ("", "local"):
        raise NetworkInvalid(f"invalid scope {args.scope}", hint="networks are of this host: local")
    network = ctx.engine.networks.create(
        args.network,
        driver=args.driver,
        pools=matched(
            args.subnet,
            ranges=args.ip_range,
            gateways=args.gateway,
            reserved=parse_map(args.aux_address, "auxiliary address"),
        ),
        ipv4=args.ipv4,
        ipv6=args.ipv6,
        internal=args.internal,
        attachable=args.attachable,
        config_only=args.config_only,
        config_from=args.config_from,
        ipam_driver=args.ipam_driver,
        ipam_options=parse_map(args.ipam_opt, "option"),
        labels=labels((), args.label),
        options=parse_map(args.opt, "option"),
    )
    ctx.out(network.id)
    return 0


def network_ls_args(p: Parser) -> None:
    p.add_argument(
        "-f",
        "--filter",
        action="append",
        metavar="filter",
        help='Provide filter values (e.g. "driver=bridge")',
    )
    p.add_table_format()
    p.add_argument("--no-trunc", action="store_true", help="Do not truncate the output")
    p.add_argument("-q", "--quiet", action="store_true", help="Only display network IDs")


def network_ls(ctx: Context, args: Namespace) -> int:
    """List networks."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.tables import table
    from boxwright.gotemplate.compile import Method
    from boxwright.image.filters import FilterInvalid, flag, labels_match
    from boxwright.network.networks import BUILT_IN

    filters = parse_filters(args.filter, ("dangling", "driver", "id", "label", "name", "scope", "type"))
    for kind in filters.get("type", ()):
        if kind not in ("builtin", "custom"):
            raise FilterInvalid(f"invalid filter: 'type'='{kind}'", hint="known are builtin, custom")
    dangling = flag(filters, "dangling")
    used = (
        {name for c in ctx.engine.containers.list(all=True) for name in c.record["networks"]}
        if dangling is not None
        else set()
    )

    def wanted(n: Network) -> bool:
        tests: dict[str, Callable[[str], bool]] = {
            "driver": lambda v: n.driver == v,
            "id": lambda v: n.id.startswith(v),
            "name": lambda v: v in n.name,
            "scope": lambda v: v == "local",
            "type": lambda v: (n.name in BUILT_IN) == (v == "builtin"),
        }
        if dangling is not None and (dangling != (n.name not in used) or n.name in BUILT_IN):
            return False
        return labels_match(n.labels, filters) and all(
            any(test(v) for v in filters[key]) for key, test in tests.items() if key in filters
        )

    def row(n: Network) -> dict[str, Any]:
        return {
            "ID": n.id if args.no_trunc else n.id[:12],
            "Name": n.name,
            "Driver": n.driver,
            "Scope": "local",
            "IPv4": str(n.ipv4).lower(),
            "IPv6": str(n.ipv6).lower(),
            "Internal": str(n.internal).lower(),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(n.labels.items())),
            "CreatedAt": n.created,
            "Label": Method(lambda key: n.labels.get(key, "")),
        }

    found = [row(n) for n in ctx.engine.networks.list() if wanted(n)]
    table(
        ctx,
        _COLUMNS,
        found,
        default=("ID", "Name", "Driver", "Scope"),
        format=args.format,
        quiet=args.quiet,
        config_key="networksFormat",
    )
    return 0


def network_inspect_args(p: Parser) -> None:
    p.add_object_format()
    p.add_argument("-v", "--verbose", action="store_true", help="Verbose output for diagnostics")
    p.add_argument("networks", nargs="+", metavar="NETWORK", complete="network")


def network_inspect(ctx: Context, args: Namespace) -> int:
    """Docker's JSON."""
    from boxwright.cli.inspect import show

    return show(
        ctx=ctx,
        names=args.networks,
        find=lambda name: ("network", ctx.engine.networks.inspect(name)),
        template=args.format,
    )


def network_rm_args(p: Parser) -> None:
    p.add_argument("-f", "--force", action="store_true", help="Do not error if the network does not exist")
    p.add_argument("networks", nargs="+", metavar="NETWORK", complete="network")


def network_rm(ctx: Context, args: Namespace) -> int:
    """Remove networks; with -f a missing one is no failure."""
    from boxwright.cli.several import each
    from boxwright.network.networks import NoSuchNetwork

    forgiven = NoSuchNetwork if args.force else None
    return each(ctx, args.networks, ctx.engine.networks.remove, forgiven=forgiven)


def network_prune_args(p: Parser) -> None:
    from boxwright.cli.prune import declare

    declare(p, "until=<timestamp>")


def network_prune(ctx: Context, args: Namespace) -> int:
    """Remove networks that no container uses."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.prune import prune
    from boxwright.image.filters import PRUNE_FILTERS

    filters = parse_filters(args.filter, PRUNE_FILTERS)
    return prune(
        ctx,
        lambda: ctx.engine.networks.prune(filters=filters),
        warning=" all custom networks not used by at least one container.",
        force=args.force,
        kind="Networks",
        total="",
    )


def network_reload_args(p: Parser) -> None:
    """Nothing."""


def network_reload(ctx: Context, args: Namespace) -> int:
    """What another program removed from the host's firewall; the next start of a container does so by itself."""
    ctx.engine.networks.reload()
    return 0


def network_connect_args(p: Parser) -> None:
    p.add_argument(
        "--alias", action="append", metavar="strings", help="Add network-scoped alias for the container"
    )
    p.add_argument("--driver-opt", action="append", metavar="strings", help="driver options for the network")
    p.add_argument(
        "--gw-priority",
        type=int,
        metavar="int",
        default=0,
        help="Highest gw-priority provides the default gateway. Accepts positive and negative values",
    )
    p.add_argument("--ip", metavar="string", default="", help='IPv4 address (e.g., "172.30.100.104")')
    p.add_argument("--ip6", metavar="string", default="", help='IPv6 address (e.g., "2001:db8::33")')
    p.add_argument("--link", action="append", help="Add link to another container")
    p.add_argument(
        "--link-local-ip",
        action="append",
        metavar="strings",
        help="Add a link-local address for the container",
    )
    p.add_argument("network", metavar="NETWORK", complete="network")
    p.add_argument("container", metavar="CONTAINER", complete="container")


def network_connect(ctx: Context, args: Namespace) -> int:
    """Give a container one more interface."""
    from boxwright.container.config import EndpointConfig
    from boxwright.container.options import driver_opts

    endpoint = EndpointConfig(
        args.network,
        aliases=tuple(args.alias),
        ipv4=args.ip,
        ipv6=args.ip6,
        links=tuple(args.link),
        link_local=tuple(args.link_local_ip),
        priority=args.gw_priority,
        driver_opts=driver_opts(args.driver_opt),
    )
    ctx.engine.networks.connect(args.network, args.container, endpoint=endpoint)
    return 0


def network_disconnect_args(p: Parser) -> None:
    p.add_argument(
        "-f", "--force", action="store_true", help="Force the container to disconnect from a network"
    )
    p.add_argument("network", metavar="NETWORK", complete="network")
    p.add_argument("container", metavar="CONTAINER", complete="container")


def network_disconnect(ctx: Context, args: Namespace) -> int:
    """Take an interface away."""
    ctx.engine.networks.disconnect(args.network, args.container)
    return 0
