"""system df, system prune, system fsck, info, version."""

from __future__ import annotations

from boxwright.cli.tables import short_id, since, table
from boxwright.spec.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.image.usage import CacheUsage, ImageUsage, Usage


# --- df ------------------------------------------------------------------------------------------


def system_df_args(p: Parser) -> None:
    p.add_table_format()
    p.add_argument("-v", "--verbose", action="store_true", help="Show detailed information on space usage")


def system_df(ctx: Context, args: Namespace) -> int:
    """Where the disk space is."""
    usage = ctx.engine.system.df()
    if args.verbose and not args.format:
        _df_details(ctx, usage)
        return 0
    columns = {
        "Type": "TYPE",
        "TotalCount": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
    }
    rows = [
        {
            "Type": part.type,
            "TotalCount": str(part.total),
            "Active": str(part.active),
            "Size": human_size(part.size),
            "Reclaimable": human_size(part.reclaimable)
            + (f" ({part.reclaimable * 100 // part.size}%)" if part.size else ""),
        }
        for part in usage.parts
    ]
    table(ctx, columns, rows, default=tuple(columns), format=args.format)
    return 0


def _df_details(ctx: Context, usage: Usage) -> None:
    ctx.out("Images space usage:\n")
    columns = {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "Size": "SIZE",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
        "Containers": "CONTAINERS",
    }
    table(ctx, columns, (row for image in usage.images for row in _image_rows(image)))
    ctx.out("\nContainers space usage:\n")
    columns = {
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "LocalVolumes": "LOCAL VOLUMES",
        "Size": "SIZE",
        "RunningFor": "CREATED",
        "Status": "STATUS",
        "Names": "NAMES",
    }
    table(ctx, columns, _container_rows(ctx, usage) if usage.containers else ())
    ctx.out("\nLocal Volumes space usage:\n")
    columns = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
    table(
        ctx,
        columns,
        ({"Name": v.name, "Links": str(v.links), "Size": human_size(v.size)} for v in usage.volumes),
    )
    cache = next((part.size for part in usage.parts if part.type == "Build Cache"), 0)
    ctx.out(f"\nBuild cache usage: {human_size(cache)}\n")
    _cache_table(ctx, usage.cache)


def _container_rows(ctx: Context, usage: Usage) -> Iterable[dict[str, Any]]:
    from boxwright.cli.tables import ellipsis
    from boxwright.container.describe import command_text, status_text
    from boxwright.spec.text import go_quote

    for container in ctx.engine.containers.list(all=True):
        yield {
            "ID": short_id(container.id),
            "Image": container.record["image"],
            "Command": go_quote(ellipsis(command_text(container), 20)),
            "LocalVolumes": str(sum(bool(point["name"]) for point in container.record["mounts"])),
            "Size": human_size(usage.containers.get(container.id, 0)),
            "RunningFor": since(container.created),
            "Status": status_text(container.state),
            "Names": container.name,
        }


def _image_rows(item: ImageUsage) -> Iterable[dict[str, Any]]:
    from boxwright.cli.images import image_rows

    for row in image_rows(item.image):
        yield row | {
            "SharedSize": human_size(item.shared),
            "UniqueSize": human_size(item.unique),
            "Containers": str(item.containers),
        }


def _cache_table(ctx: Context, cache: Iterable[CacheUsage], *, format: str = "") -> None:
    columns = {
        "ID": "CACHE ID",
        "CacheType": "CACHE TYPE",
        "Size": "SIZE",
        "CreatedSince": "CREATED",
        "LastUsedSince": "LAST USED",
        "UsageCount": "USAGE",
        "Shared": "SHARED",
        "Description": "DESCRIPTION",
    }
    rows = (
        {
            "ID": short_id(c.entry.key),
            "CacheType": c.entry.kind,
            "Size": human_size(c.size),
            "CreatedSince": since(c.entry.created),
            "LastUsedSince": since(c.entry.last_used),
            "UsageCount": str(c.entry.uses),
            "Shared": str(c.entry.in_use).lower(),
            "Description": c.entry.name,
        }
        for c in cache
    )
    table(
        ctx,
        columns,
        rows,
        default=("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"),
        format=format,
    )


# --- prune ---------------------------------------------------------------------------------------


def system_prune_args(p: Parser) -> None:
    from boxwright.cli.prune import declare

    p.add_argument("-a", "--all", action="store_true", help="Remove all unused images not just dangling ones")
    declare(p, "label=<key>=<value>")
    p.add_argument("--volumes", action="store_true", help="Prune anonymous volumes")


def system_prune(ctx: Context, args: Namespace) -> int:
    """Containers, networks, volumes, images, build cache, in this order."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.prune import prune, show
    from boxwright.image.filters import PRUNE_FILTERS

    filters = parse_filters(args.filter, PRUNE_FILTERS)
    what = ["all stopped containers", "all networks not used by at least one container"]
    what += ["all anonymous volumes not used by at least one container"] if args.volumes else []
    what += (
        ["all images without at least one container associated to them", "all build cache"]
        if args.all
        else ["all dangling images", "unused build cache"]
    )
    warning = ":\n" + "".join(f"  - {w}\n" for w in what)
    if filters:
        warning += "\n  Items to be pruned will be filtered with:\n" + "".join(
            f"  - {k}={v}\n" for k, vs in filters.items() for v in vs
        )
    return prune(
        ctx,
        lambda: ctx.engine.system.prune(
            everything=args.all,
            volumes=args.volumes,
            filters=filters,
            done=lambda kind, pruned: show(ctx, kind, pruned),
        ),
        warning=warning,
        force=args.force,
    )


def system_reset_args(p: Parser) -> None:
    p.add_argument("-f", "--force", action="store_true", help="Do not prompt for confirmation")


def system_reset(ctx: Context, args: Namespace) -> int:
    """Back to an empty root, running containers included."""
    root = ctx.settings.root
    if not args.force and not ctx.confirm(
        f"WARNING! This will remove all containers, images, volumes, networks and build cache in {root}."
    ):
        return 0
    if left := ctx.engine.system.reset():
        names = ", ".join(path.name for path in left[:3]) + (", …" if len(left) > 3 else "")
        ctx.out(f"Removed the store in {root}; left there, as it is not the store's: {names}")
    else:
        ctx.out(f"Removed everything in {root}")
    return 0


def system_fsck_args(p: Parser) -> None:
    p.add_argument(
        "--repair",
        action="store_true",
        help="Make again, or drop, what is broken and can be fetched or built again",
    )


def system_fsck(ctx: Context, args: Namespace) -> int:
    """Recompute every digest of the store."""
    problems = ctx.engine.system.fsck(repair=args.repair)
    for problem in problems:
        state = {"": "", "kept": " (kept: it is the only copy)"}.get(problem.state, f" ({problem.state})")
        ctx.out(f"{problem.kind} {problem.what}: {problem.detail}{state}")
    left = [p for p in problems if p.state in ("", "kept")]
    if not problems:
        ctx.out("The store is sound.")
    elif not args.repair:
        ctx.err("`boxwright system fsck --repair` drops what can be fetched or built again.")
    return 1 if left else 0


# --- info, version -------------------------------------------------------------------------------


def info_args(p: Parser) -> None:
    p.add_object_format()


def info(ctx: Context, args: Namespace) -> int:
    """System-wide information."""
    from boxwright.version import __version__

    said = ctx.engine.system.info()
    if args.format:
        _formatted(
            ctx,
            args.format,
            {
                **said,
                "ClientInfo": {
                    "Debug": ctx.debug,
                    "Version": __version__,
                    "Context": "default",
                    "Plugins": [],
                },
            },
        )
        return 0
    _tell_info(ctx, said)
    return 0


def _tell_info(ctx: Context, said: Mapping[str, Any]) -> None:
    """As Docker's command lays it out."""
    from boxwright.spec.units import binary_size
    from boxwright.version import __version__

    ctx.out(
        f"Client: Boxwright\n Version:    {__version__}\n Context:    default\n Debug Mode: "
        f"{str(ctx.debug).lower()}\n\nServer:"
    )
    for label, key in (
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
    ):
        ctx.out(f" {label}: {said[key]}")
    ctx.out(
        f" Images: {said['Images']}\n Server Version: {said['ServerVersion']}\n Storage Driver: {said['Driver']}"
    )
    for name, value in said["DriverStatus"]:
        ctx.out(f"  {name}: {value}")
    ctx.out(
        f" Logging Driver: {said['LoggingDriver']}\n Cgroup Driver: {said['CgroupDriver']}\n Cgroup "
        f"Version: {said['CgroupVersion']}"
    )
    for name, value in said["CgroupStatus"]:
        ctx.out(f"  {name}: {value}")
    ctx.out(" Plugins:")
    for kind in ("Volume", "Network", "Log"):
        ctx.out(f"  {kind}: {' '.join(said['Plugins'][kind])}")
    ctx.out(f" Runtimes: {' '.join(said['Runtimes'])}\n Default Runtime: {said['DefaultRuntime']}")
    for name, value in said["RuntimeStatus"]:
        ctx.out(f"  {name}: {value}")
    ctx.out(" Security Options:")
    for option in said["SecurityOptions"]:
        fields = dict(part.partition("=")[::2] for part in option.split(","))
        ctx.out(f"  {fields.pop('name')}" + "".join(f"\n   {k.capitalize()}: {v}" for k, v in fields.items()))
    for label, key in (
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
    ):
        ctx.out(f" {label}: {said[key]}")
    ctx.out(
        f" Total Memory: {binary_size(said['MemTotal'])}\n Name: {said['Name']}\n ID: {said['ID']}\n Root "
        f"Dir: {said['DockerRootDir']}"
    )
    for label, key in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        if said[key]:
            ctx.out(f" {label}: {said[key]}")
    for warning in said["Warnings"] or ():
        ctx.warn(warning)


def version_args(p: Parser) -> None:
    p.add_object_format()


def version(ctx: Context, args: Namespace) -> int:
    """Version information in Docker's two parts, which here are one program."""
    server = ctx.engine.system.version()
    client = {
        "Platform": server["Platform"],
        "Version": server["Version"],
        "ApiVersion": server["ApiVersion"],
        "DefaultAPIVersion": server["ApiVersion"],
        "GitCommit": "",
        "GoVersion": "",
        "PythonVersion": server["PythonVersion"],
        "Os": server["Os"],
        "Arch": server["Arch"],
        "BuildTime": "",
        "Context": "default",
    }
    if args.format:
        _formatted(ctx, args.format, {"Client": client, "Server": server})
        return 0
    os_arch = f"{server['Os']}/{server['Arch']}"
    ctx.out(
        f"Client: Boxwright\n Version:           {client['Version']}\n API version:       {client['ApiVersion']}"
    )
    ctx.out(
        f" Python version:    {client['PythonVersion']}\n OS/Arch:           {os_arch}\n Context:           default\n"
    )
    ctx.out("Server: Boxwright (no daemon: the same program)\n Engine:")
    ctx.out(
        f"  Version:          {server['Version']}\n  API version:      {server['ApiVersion']} (minimum "
        f"version {server['MinAPIVersion']})"
    )
    ctx.out(f"  OS/Arch:          {os_arch}\n  Kernel version:   {server['KernelVersion']}")
    for component in server["Components"][1:]:
        ctx.out(f" {component['Name']}:\n  Version:          {component['Version']}")
    return 0


def _formatted(ctx: Context, template: str, value: Any) -> None:
    from boxwright.gotemplate.compile import compile, to_json

    ctx.out(to_json(value) if template == "json" else compile(template)(value))
