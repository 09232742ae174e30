"""Networks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.network.networks import Network

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
    p.add_argument("--label", action="append", help="Set metadata on a network")
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
    from boxwright.cli.flags import UsageError
    from boxwright.container.options import labels, parse_map
    from boxwright.spec.times import stamp

    for values in (args.subnet, args.gateway, args.ip_range):
        if len(values) > 1:
            raise UsageError("a bridge network has one subnet, gateway and range", prog=ctx.prog)
    if (args.gateway or args.ip_range) and not args.subnet:
        raise UsageError("every ip-range or gateway must have a corresponding subnet", prog=ctx.prog)
    network = ctx.engine.containers.networks.create(
        args.network,
        driver=args.driver,
        subnet="".join(args.subnet),
        gateway="".join(args.gateway),
        ip_range="".join(args.ip_range),
        internal=args.internal,
        attachable=args.attachable,
        labels=labels((), args.label),
        options=parse_map(args.opt, "option"),
        created=stamp(),
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
    p.add_argument(
        "--format",
        default="",
        help="Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template",
    )
    p.add_argument("--no-trunc", action="store_true", help="Do not truncate the output")
    p.add_argument("-q", "--quiet", action="store_true", help="Only display network IDs")


def network_ls(ctx: Context, args: Namespace) -> int:
    """List networks."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.gotemplate.compile import Method
    from boxwright.cli.tables import table
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
            "IPv4": "true",
            "IPv6": "false",
            "Internal": str(n.internal).lower(),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(n.labels.items())),
            "CreatedAt": n.created,
            "Label": Method(lambda key: n.labels.get(key, "")),
        }

    found = [row(n) for n in ctx.engine.containers.networks.list() if wanted(n)]
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
    p.add_argument(
        "-f", "--format", default="", help="Format output using a custom template: 'json' or a Go template"
    )
    p.add_argument("-v", "--verbose", action="store_true", help="Verbose output for diagnostics")
    p.add_argument("networks", nargs="+", metavar="NETWORK", complete="network")


def network_inspect(ctx: Context, args: Namespace) -> int:
    """Docker's JSON."""
    from boxwright.cli.inspect import show

    return show(ctx, args.networks, lambda name: ("network", ctx.engine.network_inspect(name)), args.format)


def network_rm_args(p: Parser) -> None:
    p.add_argument("-f", "--force", action="store_true", help="Do not error if the network does not exist")
    p.add_argument("networks", nargs="+", metavar="NETWORK", complete="network")


def network_rm(ctx: Context, args: Namespace) -> int:
    """Remove networks."""
    from boxwright.cli.container.commands import each, tell
    from boxwright.network.networks import NoSuchNetwork

    containers = ctx.engine.containers
    if not args.force:
        return each(ctx, args.networks, containers.remove_network)
    known = []
    for name in args.networks:
        try:
            known.append(containers.networks.get(name).name)
        except NoSuchNetwork as error:
            tell(ctx, error)
    return each(ctx, known, containers.remove_network)


def network_prune_args(p: Parser) -> None:
    p.add_argument(
        "--filter", action="append", metavar="filter", help='Provide filter values (e.g. "until=<timestamp>")'
    )
    p.add_argument("-f", "--force", action="store_true", help="Do not prompt for confirmation")


def network_prune(ctx: Context, args: Namespace) -> int:
    """Remove networks that no container uses."""
    from boxwright.cli.filters import parse_filters
    from boxwright.image.filters import labels_match, moment
    from boxwright.spec.times import unix_seconds

    filters = parse_filters(args.filter, ("until", "label", "label!"))
    if not args.force and not ctx.confirm(
        "WARNING! This will remove all custom networks not used by at least one container."
    ):
        return 0
    before = min((moment(t) for t in filters.get("until", ())), default=None)

    def wanted(n: Network) -> bool:
        return (before is None or (unix_seconds(n.created) or 0) < before) and labels_match(n.labels, filters)

    removed = ctx.engine.containers.prune_networks(wanted)
    if removed:
        ctx.out("Deleted Networks:")
        for name in removed:
            ctx.out(name)
        ctx.out()
    return 0


def network_reload_args(p: Parser) -> None:
    """Nothing."""


def network_reload(ctx: Context, args: Namespace) -> int:
    """What another program removed from the host's firewall; the next start of a container does so by itself."""
    ctx.engine.containers.mend_networks(thoroughly=True)
    return 0


def network_connect_args(p: Parser) -> None:
    p.add_argument(
        "--alias", action="append", metavar="strings", help="Add network-scoped alias for the container"
    )
    p.add_argument("--driver-opt", action="append", metavar="strings", help="driver options for the network")
    p.add_argument("--ip", metavar="string", default="", help='IPv4 address (e.g., "172.30.100.104")')
    p.add_argument("--link", action="append", help="Add link to another container")
    p.add_argument("network", metavar="NETWORK", complete="network")
    p.add_argument("container", metavar="CONTAINER", complete="container")


def network_connect(ctx: Context, args: Namespace) -> int:
    """Give a container one more interface."""
    from boxwright.container.connect import connect

    containers = ctx.engine.containers
    wish = {k: v for k, v in (("aliases", args.alias), ("ipv4", args.ip)) if v}
    connect(
        ctx.engine, containers, containers.get(args.container), containers.networks.get(args.network), wish
    )
    return 0


def network_disconnect_args(p: Parser) -> None:
    p.add_argument(
        "-f", "--force", action="store_true", help="Force the container to disconnect from a network"
    )
    p.add_argument("network", metavar="NETWORK", complete="network")
    p.add_argument("container", metavar="CONTAINER", complete="container")


def network_disconnect(ctx: Context, args: Namespace) -> int:
    """Take an interface away."""
    from boxwright.container.connect import disconnect

    containers = ctx.engine.containers
    disconnect(ctx.engine, containers, containers.get(args.container), containers.networks.get(args.network))
    return 0
