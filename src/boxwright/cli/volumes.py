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


# Options of Swarm's volumes.
_CLUSTER = (
    "--availability",
    "--group",
    "--limit-bytes",
    "--required-bytes",
    "--scope",
    "--secret",
    "--sharing",
    "--topology-preferred",
    "--topology-required",
    "--type",
)


def _refuse_clusters(args: Namespace, names: tuple[str, ...]) -> None:
    from boxwright.container.options import OptionInvalid

    for name in names:
        if name.strip("-").replace("-", "_") in args.given:
            raise OptionInvalid(f"{name} is of cluster volumes, and there is no cluster here")


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
    for option in _CLUSTER:
        p.add_argument(option, help="==SUPPRESS==")
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
    _refuse_clusters(args, _CLUSTER)
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
    p.add_table_format()
    p.add_argument("-q", "--quiet", action="store_true", help="Only display volume names")
    p.add_argument("--cluster", action="store_true", help="==SUPPRESS==")


def volume_ls(ctx: Context, args: Namespace) -> int:
    """List volumes."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.tables import table
    from boxwright.gotemplate.compile import Method
    from boxwright.image.filters import flag, labels_match
    from boxwright.spec.units import human_size

    _refuse_clusters(args, ("--cluster",))
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
    p.add_object_format()
    p.add_argument("-s", "--size", action="store_true", help="Display sizes, and how many containers have it")
    p.add_argument("volumes", nargs="+", metavar="VOLUME", complete="volume")


def volume_inspect(ctx: Context, args: Namespace) -> int:
    """Docker's JSON."""
    from boxwright.cli.inspect import show

    return show(
        ctx=ctx,
        names=args.volumes,
        find=lambda name: ("volume", ctx.engine.volumes.inspect(name, size=args.size)),
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
    if args.all and "all" in filters:
        from boxwright.container.options import OptionInvalid

        raise OptionInvalid("conflicting options: cannot specify both --all and --filter all=1")
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


def volume_export_args(p: Parser) -> None:
    p.add_argument(
        "-o",
        "--output",
        metavar="string",
        default="",
        help="Write to a file, instead of STDOUT",
        complete="file",
    )
    p.add_argument("volume", metavar="VOLUME", complete="volume")
    p.examples = [("Back up a volume", "boxwright volume export -o data.tar data")]


def volume_export(ctx: Context, args: Namespace) -> int:
    """Write a volume as a tar."""
    import sys

    from boxwright.cli.archives import TerminalRefused, output_file

    if args.output and args.output != "-":
        with output_file(args.output) as sink:
            ctx.engine.volumes.export(args.volume, sink)
        return 0
    if ctx.stdout_is_tty:
        raise TerminalRefused("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    sys.stdout.flush()
    ctx.engine.volumes.export(args.volume, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def volume_import_args(p: Parser) -> None:
    p.add_argument("--replace", action="store_true", help="Replace the files that the volume has")
    p.add_argument("volume", metavar="VOLUME", complete="volume")
    p.add_argument("file", nargs="?", default="-", metavar="FILE", complete="file")
    p.description = (
        "Fill a volume, which is made when it is missing, with a tar that may be compressed; `-`, or no file, is "
        "standard input. A volume that has files is refused without --replace. Until all of the archive is on the "
        "disk the volume stays as it was."
    )
    p.examples = [("Restore a volume", "boxwright volume import data data.tar")]


def volume_import(ctx: Context, args: Namespace) -> int:
    """Print the volume's name."""
    from contextlib import ExitStack

    from boxwright.cli.archives import ArchiveMissing, standard_input

    with ExitStack() as opened:
        if args.file == "-":
            source = standard_input(ctx, "requested import from stdin, but stdin is a terminal")
        else:
            try:
                source = opened.enter_context(open(args.file, "rb"))
            except OSError as error:
                raise ArchiveMissing(f"open {args.file}: {(error.strerror or '').lower()}") from error
        ctx.out(ctx.engine.volumes.import_(args.volume, source, replace=args.replace).name)
    return 0
