"""context ls, show, inspect, use."""

from __future__ import annotations

from boxwright.cli.contexts import files
from boxwright.errors import BoxwrightError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

_COLUMNS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
    "Current": "CURRENT",
}
_SHOWN = ("Name", "Description", "DockerEndpoint", "Error")
_OVERRIDDEN = (
    "DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context "
    "flag, or unset DOCKER_HOST environment variable."
)


def context_ls_args(p: Parser) -> None:
    p.add_table_format()
    p.add_argument("-q", "--quiet", action="store_true", help="Only show context names")


def context_ls(ctx: Context, args: Namespace) -> int:
    """Every context; a star is behind the name of the one in force."""
    from boxwright.cli.tables import table

    chosen = files.current(ctx)
    rows: list[dict[str, Any]] = []
    plain = args.format in ("", "table") and not args.quiet
    for name in sorted({*files.all_names(ctx), chosen}):
        row: dict[str, Any] = dict.fromkeys(_COLUMNS, "")
        try:
            found = files.saved(ctx, name)
            row |= {
                "Description": str(found.metadata.get("Description", "")),
                "DockerEndpoint": found.docker.get("Host", ""),
            }
        except BoxwrightError as error:
            row["Error"] = str(error)
        row["Name"] = name + (" *" if plain and name == chosen else "")
        rows.append({**row, "Current": name == chosen})
    table(ctx, _COLUMNS, rows, default=_SHOWN, format=args.format, quiet=args.quiet)
    _warn(ctx)
    return 0


def _warn(ctx: Context) -> None:
    if ctx.settings.environ.get("DOCKER_HOST") and not ctx.docker_context:
        ctx.warn(_OVERRIDDEN)


def context_show_args(p: Parser) -> None:
    """It takes none."""


def context_show(ctx: Context, args: Namespace) -> int:
    """The name of the one in force."""
    ctx.out(files.current(ctx))
    return 0


def context_inspect_args(p: Parser) -> None:
    p.add_argument("name", nargs="*", metavar="CONTEXT")
    p.add_object_format()


def context_inspect(ctx: Context, args: Namespace) -> int:
    """What the files say of contexts; of the one in force without a name."""
    from boxwright.cli.inspect import show

    names = args.name or [files.current(ctx)]
    return show(
        ctx=ctx, names=names, find=lambda name: ("context", _inspected(ctx, name)), template=args.format
    )


def context_use_args(p: Parser) -> None:
    p.add_argument("name", metavar="CONTEXT")


def context_use(ctx: Context, args: Namespace) -> int:
    """Make one the current context of Docker's config.json. Boxwright acts on this machine whichever it is, or not at
    all: commands that another engine is meant for are refused."""
    files.saved(ctx, args.name)
    with files.changing(ctx):
        files.saved(ctx, args.name)  # another process may have removed it
        files.make_current(ctx, args.name)
    ctx.out(args.name)
    ctx.err(f'Current context is now "{args.name}"')
    _warn(ctx)
    return 0


def _inspected(ctx: Context, name: str) -> dict[str, Any]:
    found, memory = files.saved(ctx, name), "<IN MEMORY>"
    meta, tls = (files.directory(ctx, name, kind) for kind in ("meta", "tls"))
    unsaved = name == files.DEFAULT
    return {
        "Name": name,
        "Metadata": {} if unsaved else found.metadata,
        "Endpoints": {
            "docker": {
                "Host": str(found.docker.get("Host", "")),
                "SkipTLSVerify": found.docker.get("SkipTLSVerify") is True,
            }
        },
        "TLSMaterial": {} if unsaved else files.material_names(tls),
        "Storage": {
            "MetadataPath": memory if unsaved else str(meta),
            "TLSPath": memory if unsaved else str(tls),
        },
    }
