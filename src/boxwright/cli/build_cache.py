"""builder prune, buildx prune, buildx du: the build cache, what it takes and what of it goes."""

from __future__ import annotations

from boxwright.cli.flags import SUPPRESS
from boxwright.cli.tables import created_at, short_id, since, table
from boxwright.errors import Invalid
from boxwright.spec.units import human_size, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.image.usage import CacheUsage

_COLUMNS = {
    "ID": "ID",
    "Parents": "PARENTS",
    "CreatedAt": "CREATED AT",
    "Mutable": "MUTABLE",
    "Reclaimable": "RECLAIMABLE",
    "Shared": "SHARED",
    "Size": "SIZE",
    "Description": "DESCRIPTION",
    "UsageCount": "USAGE COUNT",
    "LastUsedAt": "LAST ACCESSED",
    "Type": "TYPE",
}
_DEFAULT = ("ID", "Reclaimable", "Size", "LastUsedAt")


# --- du ------------------------------------------------------------------------------------------


def buildx_du_args(p: Parser) -> None:
    p.add_argument("--filter", action="append", metavar="filter", help="Provide filter values")
    p.add_argument(
        "--format", default="", metavar="string", help="Format the output: table, json, pretty or TEMPLATE"
    )
    p.add_argument("--verbose", action="store_true", help='Shorthand for "--format=pretty"')
    p.add_argument("--builder", default="", metavar="string", help=SUPPRESS)


def buildx_du(ctx: Context, args: Namespace) -> int:
    """Disk usage of the build cache, record by record, and in all."""
    from boxwright.cli.filters import parse_filters

    if args.format and args.verbose:
        raise Invalid("--format and --verbose cannot be used together")
    cache = ctx.engine.builds.cache(filters=parse_filters(args.filter))
    if args.verbose or args.format == "pretty":
        for item in cache:
            _pretty(ctx, item)
    else:
        marked = args.format in ("", "table") or args.format.startswith("table ")
        table(ctx, _COLUMNS, _rows(cache, marked=marked), default=_DEFAULT, format=args.format)
    if args.filter or args.format not in ("", "table", "pretty"):
        return 0
    total, used = sum(c.size for c in cache), sum(c.size for c in cache if c.entry.in_use)
    if used:
        ctx.out(f"Shared:\t\t{human_size(used)}\nPrivate:\t{human_size(total - used)}")
    ctx.out(f"Reclaimable:\t{human_size(total - used)}\nTotal:\t\t{human_size(total)}")
    return 0


def _rows(cache: Iterable[CacheUsage], *, marked: bool) -> Iterable[dict[str, Any]]:
    """`marked`: an asterisk says what is written to, and what images keep too."""
    for item in cache:
        entry = item.entry
        mutable = entry.path is not None
        yield {
            "ID": short_id(entry.key) + ("*" if mutable and marked else ""),
            "Parents": [short_id(parent) for parent in entry.parents],
            "CreatedAt": created_at(entry.created),
            "Mutable": mutable,
            "Reclaimable": not entry.in_use if not marked else str(not entry.in_use).lower(),
            "Shared": entry.in_use,
            "Size": human_size(item.size) + ("*" if entry.in_use and marked else ""),
            "Description": entry.name,
            "UsageCount": entry.uses,
            "LastUsedAt": since(entry.last_used),
            "Type": entry.kind,
        }


def _pretty(ctx: Context, item: CacheUsage) -> None:
    entry = item.entry
    for name, value in (
        ("ID", short_id(entry.key)),
        ("Parents", ", ".join(map(short_id, entry.parents))),
        ("Created at", created_at(entry.created)),
        ("Mutable", str(entry.path is not None).lower()),
        ("Reclaimable", str(not entry.in_use).lower()),
        ("Shared", str(entry.in_use).lower()),
        ("Size", human_size(item.size)),
        ("Description", entry.name),
        ("Usage count", entry.uses),
        ("Last used", since(entry.last_used)),
        ("Type", entry.kind),
    ):
        if value != "":
            ctx.out(f"{name + ':':14}{value}")
    ctx.out()


# --- prune ---------------------------------------------------------------------------------------


def builder_prune_args(p: Parser) -> None:
    from boxwright.cli.prune import declare

    p.add_argument(
        "-a",
        "--all",
        action="store_true",
        help="Remove all build cache, also what images contain and compressed copies of layers",
    )
    declare(p, "until=24h")
    for names, dest, text in (
        (
            ("--keep-storage", "--reserved-space"),
            "keep_storage",
            "Amount of disk space always allowed to keep for cache",
        ),
        (("--max-used-space",), "max_used_space", "Maximum amount of disk space allowed to keep for cache"),
        (("--min-free-space",), "min_free_space", "Target amount of free disk space after pruning"),
    ):
        p.add_argument(*names, dest=dest, default="", metavar="bytes", help=text)
    p.add_argument("--builder", default="", metavar="string", help=SUPPRESS)


def buildx_prune_args(p: Parser) -> None:
    builder_prune_args(p)
    p.add_argument("--verbose", action="store_true", help="Provide a more verbose output")


def builder_prune(ctx: Context, args: Namespace) -> int:
    """Forget build steps, and empty the cache mounts of RUN."""
    return _prune_cache(ctx, args, "Total reclaimed space: ")


def buildx_prune(ctx: Context, args: Namespace) -> int:
    """As `builder prune`, with the last line of buildx."""
    return _prune_cache(ctx, args, "Total:\t", verbose=args.verbose)


def _prune_cache(ctx: Context, args: Namespace, total: str, *, verbose: bool = False) -> int:
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.prune import prune

    filters = parse_filters(args.filter)
    keep, most, free = (
        parse_size(text or "0") for text in (args.keep_storage, args.max_used_space, args.min_free_space)
    )
    known = {item.entry.key: item for item in ctx.engine.builds.cache()} if verbose else {}

    def act() -> Any:
        pruned = ctx.engine.builds.prune(
            everything=args.all, filters=filters, keep=keep, most=most, free=free
        )
        for line in pruned.removed:
            if line.what in known:
                _pretty(ctx, known[line.what])
        return pruned

    return prune(
        ctx,
        act,
        warning=f" all{'' if args.all else ' dangling'} build cache.",
        force=args.force,
        kind="" if verbose else "build cache objects",
        total=total,
    )
