"""buildx ls, create, use, inspect, rm, stop, version, and what buildx has that cannot be had here."""

from __future__ import annotations

import os

from boxwright.errors import BoxwrightError, Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.image.builders import Builders, NamedBuilder

_TEXT = "string"
# The release of buildx whose commands these are: scripts ask for it to know what they may type.
COMMANDS_OF = "v0.29.1"


def builders(ctx: Context) -> Builders:
    """The builders of the chosen root."""
    from boxwright.image.builders import Builders

    return Builders(ctx.settings.root)


def check_builder(ctx: Context, name: str) -> None:
    """Raises NoSuchBuilder when `--builder`, or else BUILDX_BUILDER, names none. All of them build in the same way."""
    name = name or ctx.settings.environ.get("BUILDX_BUILDER", "")
    if name:
        builders(ctx).get(name)


def _engine_version() -> str:
    from boxwright.version import __version__

    return f"boxwright-{__version__}"


# --- ls, inspect ---------------------------------------------------------------------------------


def buildx_ls_args(p: Parser) -> None:
    p.add_argument("--format", default="", metavar=_TEXT, help="Format the output")
    p.add_argument("--no-trunc", action="store_true", help="Don't truncate output")


def buildx_ls(ctx: Context, args: Namespace) -> int:
    """Every name of the builder, with its nodes."""
    from boxwright.cli.tables import table
    from boxwright.image.builders import platforms_here

    found = builders(ctx)
    current = found.current
    if args.format == "json":
        from boxwright.gotemplate.compile import to_json

        for one in found.list():
            ctx.out(to_json({**_described(one), "Current": one.name == current}))
        return 0
    plain = args.format in ("", "table")
    rows: list[Mapping[str, Any]] = []
    for one in found.list():
        mark = "*" if one.name == current and plain else ""
        row = {"Name": one.name + mark, "DriverEndpoint": one.driver, "Current": one.name == current}
        rows.append({**dict.fromkeys(_COLUMNS, ""), **row, "LastActivity": _moment(one.created)})
        indent = " \\_ " if plain else ""
        platforms = platforms_here(one.platforms)
        if len(platforms) > 4 and not args.no_trunc and plain:
            platforms = [*platforms[:4], "…"]
        for node in one.nodes:
            rows.append(
                {
                    **dict.fromkeys(_COLUMNS, ""),
                    "Name": f"{indent}{node}",
                    "DriverEndpoint": f"{indent}{one.endpoint}",
                    "Status": "running",
                    "Buildkit": _engine_version(),
                    "Platforms": ", ".join(platforms),
                    "Current": one.name == current,
                }
            )
    table(
        ctx,
        _COLUMNS,
        rows,
        default=("Name", "DriverEndpoint", "Status", "Buildkit", "Platforms"),
        format=args.format,
    )
    return 0


_COLUMNS = {
    "Name": "NAME/NODE",
    "DriverEndpoint": "DRIVER/ENDPOINT",
    "LastActivity": "LAST ACTIVITY",
    "Status": "STATUS",
    "Buildkit": "BUILDKIT",
    "Platforms": "PLATFORMS",
    "Current": "CURRENT",
    "Error": "ERROR",
}


def _moment(seconds: float) -> str:
    from boxwright.spec.times import rfc3339

    return rfc3339(int(seconds)) if seconds else ""


def _described(one: NamedBuilder) -> dict[str, Any]:
    from boxwright.image.builders import platforms_here

    nodes = [
        {
            "Name": node,
            "Endpoint": one.endpoint,
            "Status": "running",
            "Version": _engine_version(),
            "Platforms": platforms_here(one.platforms),
        }
        for node in one.nodes
    ]
    return {
        "Name": one.name,
        "Driver": one.driver,
        "LastActivity": _moment(one.created) or "0001-01-01T00:00:00Z",
        "Dynamic": False,
        "Nodes": nodes,
    }


def buildx_inspect_args(p: Parser) -> None:
    p.add_argument("name", nargs="?", default="", metavar="NAME")
    p.add_argument("--bootstrap", action="store_true", help="Ensure builder has booted before inspecting")
    p.add_argument(
        "--builder", dest="chosen", default="", metavar=_TEXT, help="Override the configured builder instance"
    )


def buildx_inspect(ctx: Context, args: Namespace) -> int:
    """One builder, as buildx lists it; it always runs, so that there is nothing to boot."""
    from boxwright.image.builders import platforms_here

    name = args.name or args.chosen or ctx.settings.environ.get("BUILDX_BUILDER", "")
    one = builders(ctx).get(name)
    rows = [("Name", one.name), ("Driver", one.driver)]
    if one.created:
        rows.append(("Last Activity", _moment(one.created)))
    _aligned(ctx, rows)
    ctx.out("\nNodes:")
    for at, node in enumerate(one.nodes):
        if at:
            ctx.out()
        rows = [("Name", node), ("Endpoint", one.endpoint)]
        if one.options:
            rows.append(("Driver Options", " ".join(one.options)))
        rows.append(("Status", "running"))
        if one.flags:
            rows.append(("BuildKit daemon flags", " ".join(one.flags)))
        rows += [
            ("BuildKit version", _engine_version()),
            ("Platforms", ", ".join(platforms_here(one.platforms))),
        ]
        _aligned(ctx, rows)
    return 0


def _aligned(ctx: Context, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        ctx.out(f"{name + ':':{width}}{value}")


# --- create, use, rm, stop -----------------------------------------------------------------------


def buildx_create_args(p: Parser) -> None:
    p.usage = "[CONTEXT|ENDPOINT]"
    p.add_argument("endpoint", nargs="?", default="", metavar="CONTEXT|ENDPOINT")
    for name, text in (
        ("--append", "Append a node to builder instead of changing it"),
        ("--bootstrap", "Boot builder after creation"),
        ("--leave", "Remove a node from builder instead of changing it"),
        ("--use", "Set the current builder instance"),
    ):
        p.add_argument(name, action="store_true", help=text)
    p.add_argument(
        "--buildkitd-config",
        "--config",
        dest="config",
        default="",
        metavar=_TEXT,
        help="BuildKit daemon config file",
    )
    p.add_argument(
        "--buildkitd-flags", "--flags", dest="flags", default="", metavar=_TEXT, help="BuildKit daemon flags"
    )
    p.add_argument("--driver", default="", metavar=_TEXT, help='Driver to use ("docker-container", "docker")')
    p.add_argument("--driver-opt", action="append", metavar="stringArray", help="Options for the driver")
    p.add_argument("--name", default="", metavar=_TEXT, help="Builder instance name")
    p.add_argument("--node", default="", metavar=_TEXT, help="Create/modify node with given name")
    p.add_argument(
        "--platform", action="append", metavar="stringArray", help="Fixed platforms for current node"
    )


def buildx_create(ctx: Context, args: Namespace) -> int:
    """Give the builder one more name, which is printed."""
    from boxwright.image.builders import NamedBuilder

    found = builders(ctx)
    if args.leave:
        if not args.name or not args.node:
            raise Invalid("leave requires --name and --node")
        found.leave(args.name, args.node)
        ctx.out(args.name)
        return 0
    if args.append and not args.name:
        raise Invalid("append requires a builder name", hint="--name")
    if args.endpoint.startswith(("tcp://", "ssh://", "kubernetes://")):
        raise Unsupported(f"{args.endpoint} is another machine, and Boxwright builds on this one")
    for option, value in (("--buildkitd-flags", args.flags), ("--buildkitd-config", args.config)):
        if value:
            ctx.warn(f"{option} has no effect: there is no BuildKit daemon")
    for value in args.driver_opt:
        ctx.warn(f"--driver-opt {value} has no effect: steps run on this machine")
    platforms = [word.strip() for value in args.platform for word in value.split(",")]
    made = found.create(
        NamedBuilder(
            name=args.name or f"builder-{os.urandom(4).hex()}",
            driver=args.driver or "docker-container",
            nodes=(args.node,) if args.node else (),
            endpoint=args.endpoint or "default",
            platforms=tuple(_parsed(word) for word in platforms),
            flags=tuple(args.flags.split()),
            options=tuple(args.driver_opt),
        ),
        append=args.append,
    )
    if args.use:
        found.use(made.name)
    ctx.out(made.name)
    return 0


def _parsed(word: str) -> str:
    from boxwright.spec.platform import Platform

    return str(Platform.parse(word))


def buildx_use_args(p: Parser) -> None:
    p.add_argument("name", metavar="NAME")
    p.add_argument("--default", action="store_true", help="Set builder as default for current context")
    p.add_argument(
        "--global", dest="everywhere", action="store_true", help="Builder persists context changes"
    )


def buildx_use(ctx: Context, args: Namespace) -> int:
    """Make a name the current one. There is one context, so that it is always its default."""
    builders(ctx).use(args.name)
    return 0


def buildx_rm_args(p: Parser) -> None:
    p.add_argument("names", nargs="*", metavar="NAME")
    p.add_argument("--all-inactive", action="store_true", help="Remove all inactive builders")
    p.add_argument("-f", "--force", action="store_true", help="Do not prompt for confirmation")
    p.add_argument("--keep-daemon", action="store_true", help="Keep the BuildKit daemon running (always so)")
    p.add_argument("--keep-state", action="store_true", help="Keep BuildKit state (always so)")
    p.add_argument(
        "--builder", dest="chosen", default="", metavar=_TEXT, help="Override the configured builder instance"
    )


def buildx_rm(ctx: Context, args: Namespace) -> int:
    """Forget names. The builder and its cache stay: they are the others' too."""
    from boxwright.cli.several import Failures, each
    from boxwright.image.builders import NoSuchBuilder

    if args.all_inactive:
        if args.names:
            raise Invalid("cannot specify builder name when --all-inactive is set")
        return 0  # none is ever inactive
    found = builders(ctx)

    def remove(name: str) -> str:
        try:
            found.remove(name)
        except NoSuchBuilder as error:
            raise NoSuchBuilder(f"failed to remove {name}: {error}") from error
        ctx.err(f"{name} removed")
        return ""

    def say(error: BoxwrightError) -> None:
        ctx.err(str(error))

    names = args.names or [args.chosen or found.current]
    code = each(ctx, names, remove, failures=Failures(ctx, say=say))
    if code:
        ctx.err(f"{ctx.paint('ERROR', 'red')}: failed to remove one or more builders")
    return code


def buildx_stop_args(p: Parser) -> None:
    p.add_argument("name", nargs="?", default="", metavar="NAME")
    p.add_argument(
        "--builder", dest="chosen", default="", metavar=_TEXT, help="Override the configured builder instance"
    )


def buildx_stop(ctx: Context, args: Namespace) -> int:
    """Nothing runs between builds, so that there is nothing to stop."""
    builders(ctx).get(args.name or args.chosen)
    return 0


# --- version, and what is not here ---------------------------------------------------------------


def buildx_version_args(p: Parser) -> None:
    """None."""


def buildx_version(ctx: Context, args: Namespace) -> int:
    """Whose commands these are, and who answers them."""
    from boxwright.version import __version__

    ctx.out(f"github.com/boxwright/boxwright {COMMANDS_OF} boxwright-{__version__}")
    return 0


def buildx_install_args(p: Parser) -> None:
    """None."""


def buildx_install(ctx: Context, args: Namespace) -> int:
    """`build` is buildx's already, and there is no other builder for `uninstall` to go back to: like there, not a word,
    and Docker's configuration stays as it is."""
    return 0


buildx_uninstall, buildx_uninstall_args = buildx_install, buildx_install_args


def _absent(p: Parser) -> None:
    p.add_argument("words", nargs="...", metavar="ARG")


buildx_dial_stdio_args = buildx_dap_args = buildx_debug_args = buildx_policy_args = _absent


def buildx_dial_stdio(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    raise Unsupported("there is no BuildKit daemon to speak to: builds run in the command that starts them")


def buildx_dap(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    raise Unsupported(
        "builds have no debugger", hint="RUN lines of their own, or `build --target STAGE` and `run -it`"
    )


buildx_debug = buildx_dap


def buildx_policy(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    raise Unsupported(
        "source policies in Rego are not read", hint="pin images by digest, downloads by --checksum"
    )
