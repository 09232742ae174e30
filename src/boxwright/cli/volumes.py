"""Volumes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.container.volumes import Volume

_COLUMNS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Label": "LABEL",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}


def volume_create_args(p: Parser) -> None:
    p.add_argument(
        "-d",
        "--driver",
        metavar="string",
        default="local",
        help='Specify volume driver name (default "local")',
    )
    p.add_argument("--label", action="append", help="Set metadata for a volume")
    p.add_argument(
        "-o", "--opt", action="append", metavar="map", help="Set driver specific options (default map[])"
    )
    p.add_argument("--name", default="", help="==SUPPRESS==")
    p.add_argument("volume", nargs="?", metavar="VOLUME")


def volume_create(ctx: Context, args: Namespace) -> int:
    """Print the volume's name."""
    from boxwright.cli.flags import UsageError
    from boxwright.container.options import labels, parse_map

    if args.name and args.volume:
        raise UsageError(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            prog=ctx.prog,
        )
    name = args.volume or args.name
    volume = ctx.engine.volumes.create(
        name,
        driver=args.driver,
        labels=labels((), args.label),
        options=parse_map(args.opt, "option"),
    )
    ctx.out(volume.name)
    return 0


def volume_ls_args(p: Parser) -> None:
    p.add_argument(
        "-f",
        "--filter",
        action="append",
        metavar="filter",
        help='Provide filter values (e.g. "dangling=true")',
    )
    p.add_argument(
        "--format",
        default="",
        help="Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template",
    )
    p.add_argument("-q", "--quiet", action="store_true", help="Only display volume names")


def volume_ls(ctx: Context, args: Namespace) -> int:
    """List volumes."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.gotemplate.compile import Method
    from boxwright.cli.tables import table
    from boxwright.image.filters import flag, labels_match
    from boxwright.spec.units import human_size

    filters = parse_filters(args.filter, ("dangling", "driver", "label", "name"))
    volumes = ctx.engine.volumes
    used, dangling = volumes.users(), flag(filters, "dangling")

    def wanted(volume: Volume) -> bool:
        if dangling is not None and dangling == bool(used.get(volume.name)):
            return False
        if "driver" in filters and "local" not in filters["driver"]:
            return False
        return labels_match(volume.labels, filters) and (
            "name" not in filters or any(n in volume.name for n in filters["name"])
        )

    def row(volume: Volume) -> dict[str, Any]:
        return {
            "Driver": "local",
            "Name": volume.name,
            "Scope": "local",
            "Mountpoint": str(volume.data),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(volume.labels.items())),
            "Links": str(len(used.get(volume.name, ()))),
            "Size": lambda: human_size(volumes.usage(volume.name)),
            "Label": Method(lambda key: volume.labels.get(key, "")),
            **dict.fromkeys(("Availability", "Group", "Status"), "N/A"),  # of Swarm's volumes
        }

    table(
        ctx,
        _COLUMNS,
        [row(v) for v in volumes.list() if wanted(v)],
        default=("Driver", "Name"),
        format=args.format,
        quiet=args.quiet,
        config_key="volumesFormat",
    )
    return 0


def volume_inspect_args(p: Parser) -> None:
    p.add_argument(
        "-f", "--format", default="", help="Format output using a custom template: 'json' or a Go template"
    )
    p.add_argument("volumes", nargs="+", metavar="VOLUME", complete="volume")


def volume_inspect(ctx: Context, args: Namespace) -> int:
    """Docker's JSON."""
    from boxwright.cli.inspect import show

    return show(
        ctx=ctx,
        names=args.volumes,
        find=lambda name: ("volume", ctx.engine.volumes.inspect(name)),
        template=args.format,
    )


def volume_rm_args(p: Parser) -> None:
    p.add_argument("-f", "--force", action="store_true", help="Force the removal of one or more volumes")
    p.add_argument("volumes", nargs="+", metavar="VOLUME", complete="volume")


def volume_rm(ctx: Context, args: Namespace) -> int:
    """Remove volumes; with -f a missing one is no failure."""
    from boxwright.cli.several import each
    from boxwright.container.volumes import NoSuchVolume

    volumes = ctx.engine.volumes

    def remove(name: str) -> None:
        try:
            volumes.remove(name)
        except NoSuchVolume:
            if not args.force:
                raise

    return each(ctx, args.volumes, remove)


def volume_prune_args(p: Parser) -> None:
    from boxwright.cli.prune import declare

    p.add_argument(
        "-a", "--all", action="store_true", help="Remove all unused volumes, not just anonymous ones"
    )
    declare(p, "label=<label>")


def volume_prune(ctx: Context, args: Namespace) -> int:
    """Remove volumes that no container has."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.prune import prune
    from boxwright.image.filters import flag

    filters = parse_filters(args.filter, ("label", "label!", "all"))
    everything = bool(args.all or flag(filters, "all"))
    filters.pop("all", None)
    what = "all local volumes" if everything else "anonymous local volumes"
    return prune(
        ctx,
        lambda: ctx.engine.volumes.prune(everything=everything, filters=filters),
        warning=f" {what} not used by at least one container.",
        force=args.force,
        kind="Volumes",
    )
