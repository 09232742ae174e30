"""Containers: listing, starting, stopping, removing. What relays data is in `cli.container.io`."""

from __future__ import annotations

from boxwright.cli.several import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.container.records import Container

_COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "CreatedAt": "CREATED AT",
    "State": "STATE",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "Label": "LABEL",
}
_DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def _many(p: Parser, kind: str = "container") -> None:
    p.add_argument("containers", nargs="+", metavar="CONTAINER", complete=kind)


# --- ps ----------------------------------------------------------------------------------------


def ps_args(p: Parser) -> None:
    p.add_argument(
        "-a", "--all", action="store_true", help="Show all containers (default shows just running)"
    )
    p.add_argument(
        "-f", "--filter", action="append", metavar="filter", help="Filter output based on conditions provided"
    )
    p.add_table_format()
    p.add_argument(
        "-n",
        "--last",
        type=int,
        default=-1,
        help="Show n last created containers (includes all states) (default -1)",
    )
    p.add_argument(
        "-l", "--latest", action="store_true", help="Show the latest created container (includes all states)"
    )
    p.add_argument("--no-trunc", action="store_true", help="Don't truncate output")
    p.add_argument("-q", "--quiet", action="store_true", help="Only display container IDs")
    p.add_argument("-s", "--size", action="store_true", help="Display total file sizes")


def ps(ctx: Context, args: Namespace) -> int:
    """List containers."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.tables import table
    from boxwright.container.filters import FILTERS, matcher

    last = 1 if args.latest else args.last
    if args.quiet and args.format:
        ctx.warn("Ignoring custom format, because both --format and --quiet are set.")
        args.format = ""
    filters = parse_filters(args.filter, FILTERS)
    show_all = args.all or last > 0 or any(key in filters for key in ("status", "exited"))
    found = list(ctx.engine.containers.list(all=show_all))
    if filters:
        matches = matcher(ctx.engine.containers, ctx.engine.services.images_store, filters)
        found = [c for c in found if matches(c)]
    if last > 0:
        found = found[:last]
    wants_size = args.size or ".Size" in args.format or "json ." in args.format
    row = _row(ctx, trunc=not args.no_trunc, size=wants_size)
    rows = [row(c) for c in found]
    default = (*_DEFAULT, "Size") if args.size else _DEFAULT
    table(ctx, _COLUMNS, rows, default=default, format=args.format, quiet=args.quiet, config_key="psFormat")
    return 0


def _row(ctx: Context, *, trunc: bool, size: bool) -> Callable[[Container], dict[str, Any]]:
    """What makes a row of a container. What is imported, is so once for all of them."""
    from boxwright.cli.tables import created_at, ellipsis, since
    from boxwright.container import describe
    from boxwright.gotemplate.compile import Method
    from boxwright.spec.text import go_quote
    from boxwright.spec.units import human_size

    def command(container: Container) -> str:
        text = describe.command_text(container)
        return go_quote(ellipsis(text, 20) if trunc else text)

    def mounts(container: Container, *, local: bool = False) -> Any:
        names = [m["name"] or m["source"] for m in container.record["mounts"] if not local or m["name"]]
        return str(len(names)) if local else ",".join(ellipsis(n, 15) if trunc else n for n in names)

    def image(container: Container) -> str:
        name: str = container.record["image"]
        return (
            name[:12]
            if trunc and len(name) == 64
            else name.removeprefix("sha256:")[:12]
            if trunc and name.startswith("sha256:")
            else name
        )

    def sizes(container: Container) -> str:
        catalog = ctx.engine.containers.catalog
        return f"{human_size(catalog.size(container))} (virtual {human_size(catalog.root_size(container))})"

    def row(container: Container) -> dict[str, Any]:
        return {
            "ID": container.short_id if trunc else container.id,
            "Image": lambda: image(container),
            "Command": lambda: command(container),
            "RunningFor": lambda: since(container.created),
            "Status": lambda: describe.status_text(container.state),
            "Ports": lambda: describe.ports_text(container),
            "Names": container.name,
            "CreatedAt": lambda: created_at(container.created),
            "State": lambda: container.state.status,
            "Size": (lambda: sizes(container)) if size else "0B",
            "Labels": lambda: ",".join(f"{k}={v}" for k, v in sorted(container.labels.items())),
            "Mounts": lambda: mounts(container),
            "LocalVolumes": lambda: mounts(container, local=True),
            "Networks": lambda: ",".join(describe.networks(container)),
            "Platform": container.record["platform"],
            "Label": Method(lambda key: container.labels.get(key, "")),
        }

    return row


# --- life --------------------------------------------------------------------------------------


def start_args(p: Parser) -> None:
    from boxwright.cli.container.attach import declare_detach_keys

    p.add_argument("-a", "--attach", action="store_true", help="Attach STDOUT/STDERR and forward signals")
    declare_detach_keys(p)
    p.add_argument("-i", "--interactive", action="store_true", help="Attach container's STDIN")
    _many(p)


def start(ctx: Context, args: Namespace) -> int:
    """Start stopped containers; with -a or -i the exit code is the program's."""
    containers = ctx.engine.containers
    if args.attach or args.interactive:
        if len(args.containers) > 1:
            from boxwright.cli.flags import UsageError

            raise UsageError("you cannot start and attach multiple containers at once", prog=ctx.prog)
        from boxwright.cli.container.attach import Attachment

        container = containers.get(args.containers[0])
        if container.state.active:
            return Attachment(ctx, container, None, keys=args.detach_keys, stdin=args.interactive).attached()
        return Attachment(
            ctx, container, None, keys=args.detach_keys, stdin=args.interactive, all_output=True
        ).run()
    return each(ctx, args.containers, lambda name: containers.start(containers.get(name)).close())


def stop_args(p: Parser) -> None:
    p.add_argument("-s", "--signal", metavar="string", default="", help="Signal to send to the container")
    p.add_argument("-t", "--timeout", "--time", type=int, help="Seconds to wait before killing the container")
    _many(p, "running")


def stop(ctx: Context, args: Namespace) -> int:
    """Stop running containers."""
    containers = ctx.engine.containers
    return each(
        ctx,
        args.containers,
        lambda name: containers.stop(containers.get(name), signal=args.signal, seconds=args.timeout),
    )


restart_args = stop_args


def restart(ctx: Context, args: Namespace) -> int:
    """Stop and start."""
    containers = ctx.engine.containers
    return each(
        ctx,
        args.containers,
        lambda name: containers.restart(containers.get(name), signal=args.signal, seconds=args.timeout),
    )


def kill_args(p: Parser) -> None:
    p.add_argument("-s", "--signal", metavar="string", default="KILL", help="Signal to send to the container")
    _many(p, "running")


def kill(ctx: Context, args: Namespace) -> int:
    """Send a signal."""
    containers = ctx.engine.containers
    from boxwright.container.options import parse_signal

    parse_signal(args.signal)
    return each(ctx, args.containers, lambda name: containers.kill(containers.get(name), args.signal))


def pause_args(p: Parser) -> None:
    _many(p, "running")


def pause(ctx: Context, args: Namespace) -> int:
    """Freeze."""
    containers = ctx.engine.containers
    return each(ctx, args.containers, lambda name: containers.pause(containers.get(name)))


unpause_args = pause_args


def unpause(ctx: Context, args: Namespace) -> int:
    """Thaw."""
    containers = ctx.engine.containers
    return each(ctx, args.containers, lambda name: containers.unpause(containers.get(name)))


def wait_args(p: Parser) -> None:
    _many(p)


def wait(ctx: Context, args: Namespace) -> int:
    """Print exit codes as containers end."""
    containers = ctx.engine.containers
    return each(ctx, args.containers, lambda name: str(containers.wait(containers.get(name))))


def rename_args(p: Parser) -> None:
    p.add_argument("container", metavar="CONTAINER", complete="container")
    p.add_argument("name", metavar="NEW_NAME")


def rename(ctx: Context, args: Namespace) -> int:
    """Give another name."""
    containers = ctx.engine.containers
    containers.rename(containers.get(args.container), args.name)
    return 0


def rm_args(p: Parser) -> None:
    p.add_argument(
        "-f", "--force", action="store_true", help="Force the removal of a running container (uses SIGKILL)"
    )
    p.add_argument("-l", "--link", action="store_true", help="Remove the specified link")
    p.add_argument(
        "-v", "--volumes", action="store_true", help="Remove anonymous volumes associated with the container"
    )
    _many(p)


def rm(ctx: Context, args: Namespace) -> int:
    """Remove containers; with -f a missing one is no failure."""
    from boxwright.container.records import NoSuchContainer

    containers = ctx.engine.containers

    def remove(name: str) -> None:
        containers.remove(containers.get(name), force=args.force, volumes=args.volumes)

    return each(ctx, args.containers, remove, forgiven=NoSuchContainer if args.force else None)


def container_prune_args(p: Parser) -> None:
    from boxwright.cli.prune import declare

    declare(p, "until=<timestamp>")


def container_prune(ctx: Context, args: Namespace) -> int:
    """Remove all stopped containers."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.prune import prune
    from boxwright.image.filters import PRUNE_FILTERS

    filters = parse_filters(args.filter, PRUNE_FILTERS)
    return prune(
        ctx,
        lambda: ctx.engine.containers.prune(filters),
        warning=" all stopped containers.",
        force=args.force,
        kind="Containers",
    )


# --- looking -----------------------------------------------------------------------------------


def container_inspect_args(p: Parser) -> None:
    p.add_object_format()
    p.add_argument("-s", "--size", action="store_true", help="Display total file sizes")
    _many(p)


def container_inspect(ctx: Context, args: Namespace) -> int:
    """Docker's JSON."""
    from boxwright.cli.inspect import show

    return show(
        ctx=ctx,
        names=args.containers,
        find=lambda name: ("container", ctx.engine.containers.inspect(name, size=args.size)),
        template=args.format,
    )


def port_args(p: Parser) -> None:
    p.add_argument("container", metavar="CONTAINER", complete="running")
    p.add_argument("port", nargs="?", metavar="PRIVATE_PORT[/PROTO]")


def port(ctx: Context, args: Namespace) -> int:
    """List published ports."""
    from boxwright.container import describe
    from boxwright.container.ports import NoSuchPort, port_range

    container = ctx.engine.containers.get(args.container)
    ports = describe.port_map(container)

    def shown(binding: dict[str, str]) -> str:
        address = binding["HostIp"]
        return f"[{address}]:{binding['HostPort']}" if ":" in address else f"{address}:{binding['HostPort']}"

    if args.port:
        number, _, protocol = args.port.partition("/")
        port_range(number, "port")
        key = f"{number}/{protocol or 'tcp'}"
        if not ports.get(key):
            raise NoSuchPort(f"No public port '{args.port}' published for {args.container}")
        for binding in ports[key]:
            ctx.out(shown(binding))
        return 0
    for key in sorted(ports):
        for binding in ports[key] or ():
            ctx.out(f"{key} -> {shown(binding)}")
    return 0


def update_args(p: Parser) -> None:
    from boxwright.cli.container.options import said

    for name, kind, parse, text in (
        ("--cpus", "decimal", "parse_cpus", "Number of CPUs"),
        ("--cpuset-cpus", "string", "", "CPUs in which to allow execution (0-3, 0,1)"),
        ("--cpuset-mems", "string", "", "MEMs in which to allow execution (0-3, 0,1)"),
        ("--memory-reservation", "bytes", "parse_size", "Memory soft limit"),
        (
            "--memory-swap",
            "bytes",
            "parse_swap",
            "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
        ),
        ("--restart", "string", "", "Restart policy to apply when a container exits"),
    ):
        p.add_argument(name, metavar=kind, default="", help=text, type=said(parse) if parse else None)
    p.add_argument(
        "-m",
        "--memory",
        metavar="bytes",
        default="",
        help="Memory limit",
        type=said("parse_size", "boxwright.spec.units"),
    )
    p.add_argument("-c", "--cpu-shares", type=int, default=0, help="CPU shares (relative weight)")
    p.add_argument(
        "--cpu-period", type=int, default=0, help="Limit CPU CFS (Completely Fair Scheduler) period"
    )
    p.add_argument(
        "--cpu-rt-period", type=int, default=0, help="Limit the CPU real-time period in microseconds"
    )
    p.add_argument(
        "--cpu-rt-runtime", type=int, default=0, help="Limit the CPU real-time runtime in microseconds"
    )
    p.add_argument("--cpu-quota", type=int, default=0, help="Limit CPU CFS (Completely Fair Scheduler) quota")
    p.add_argument(
        "--pids-limit", type=int, default=0, help="Tune container pids limit (set -1 for unlimited)"
    )
    p.add_argument(
        "--blkio-weight",
        type=said("parse_weight"),
        metavar="uint16",
        default=0,
        help="Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    )
    p.add_argument(
        "--kernel-memory", default="", help="==SUPPRESS==", type=said("parse_size", "boxwright.spec.units")
    )
    _many(p)


def update(ctx: Context, args: Namespace) -> int:
    """Change limits and the restart policy."""
    from boxwright.cli.container.options import say_what_is_ignored, within_reach
    from boxwright.container import options
    from boxwright.container.config import ContainerConfig
    from boxwright.spec.values import replace

    names = (
        "memory",
        "memory_reservation",
        "memory_swap",
        "cpu_shares",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpuset_cpus",
        "cpuset_mems",
        "pids_limit",
        "blkio_weight",
    )
    changed: dict[str, Any] = {key: getattr(args, key) for key in names if key in args.given}
    if "cpus" in args.given:
        changed["nano_cpus"] = args.cpus
    restart = options.parse_restart(args.restart) if "restart" in args.given else None
    say_what_is_ignored(ctx, args)

    def change(config: ContainerConfig) -> ContainerConfig:
        config = within_reach(ctx, replace(config, limits=replace(config.limits, **changed)))
        return replace(config, restart=restart) if restart is not None else config

    if not args.given - {"containers"}:
        from boxwright.cli.flags import UsageError

        raise UsageError("you must provide one or more flags when using this command", prog=ctx.prog)
    containers = ctx.engine.containers
    return each(ctx, args.containers, lambda name: containers.update(containers.get(name), change))
