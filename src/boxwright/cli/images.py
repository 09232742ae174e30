"""images, history, tag, rmi, image prune."""

from __future__ import annotations

from boxwright.cli.tables import align, configured, created_at, ellipsis, short_id, since, table
from boxwright.spec.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.image.describe import HistoryLine, ImageSummary

NONE = "<none>"
_COLUMNS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


def images_args(p: Parser) -> None:
    p.add_argument("repository", nargs="?", metavar="REPOSITORY[:TAG]", complete="image")
    p.add_argument(
        "-a", "--all", action="store_true", help="Show all images (default hides intermediate images)"
    )
    p.add_argument("--digests", action="store_true", help="Show digests")
    p.add_argument(
        "-f", "--filter", action="append", metavar="filter", help="Filter output based on conditions provided"
    )
    p.add_table_format()
    p.add_argument("--no-trunc", action="store_true", help="Don't truncate output")
    p.add_argument("-q", "--quiet", action="store_true", help="Only show image IDs")


def images(ctx: Context, args: Namespace) -> int:
    """List images."""
    filters: dict[str, list[str]] = {}
    if args.filter:
        from boxwright.cli.filters import parse_filters
        from boxwright.image.describe import LIST_FILTERS

        filters = parse_filters(args.filter, LIST_FILTERS)
    if args.repository:
        filters.setdefault("reference", []).append(args.repository)
    found = ctx.engine.images.list(all=args.all, filters=filters)
    format = args.format or ("" if args.quiet else configured(ctx, "imagesFormat"))
    if not format and not args.quiet and not args.digests:
        _plain(ctx, found, full=args.no_trunc)
        return 0
    default = ("Repository", "Tag", *(("Digest",) if args.digests else ()), "ID", "CreatedSince", "Size")
    with_digests = args.digests or "Digest" in format
    rows = (row for image in found for row in image_rows(image, digests=with_digests, full=args.no_trunc))
    table(ctx, _COLUMNS, rows, default=default, format=format, quiet=args.quiet)
    return 0


def _plain(ctx: Context, found: Iterable[ImageSummary], *, full: bool) -> None:
    """The default table. It is what people wait for, so no row is made of more than the five texts that it shows."""
    lines = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")]
    for image in found:
        shown = image.id if full else short_id(image.id), since(image.created), human_size(image.size)
        lines += [(repository, tag, *shown) for repository, tag, _ in _names(image, False)]
    for line in align(lines):
        ctx.out(line)


def image_rows(image: ImageSummary, *, digests: bool = False, full: bool = False) -> Iterator[dict[str, Any]]:
    """The lines of one image: one a tag, or digest (docker/cli formatter/image.go)."""
    for repository, tag, digest in _names(image, digests):
        yield {
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "ID": image.id if full else short_id(image.id),
            "CreatedSince": lambda: since(image.created),
            "CreatedAt": lambda: created_at(image.created),
            "Size": lambda: human_size(image.size),
            "Containers": "N/A",
            "VirtualSize": lambda: human_size(image.size),
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
        }


def _names(image: ImageSummary, with_digests: bool) -> Iterator[tuple[str, str, str]]:
    if image.dangling:
        yield NONE, NONE, NONE
        return
    if not image.digests:
        for name in image.tags:
            repository, _, tag = name.rpartition(":")
            yield repository, tag, NONE
        return
    digests: dict[str, list[str]] = {}
    for name in image.digests:
        repository, _, digest = name.partition("@")
        digests.setdefault(repository, []).append(digest)
    for name in image.tags:
        repository, _, tag = name.rpartition(":")
        for digest in (digests.get(repository) if with_digests else None) or (NONE,):
            yield repository, tag, digest
    tagged = {name.rpartition(":")[0] for name in image.tags}
    for repository, found in digests.items():
        if repository not in tagged:
            for digest in found if with_digests else (NONE,):
                yield repository, NONE, digest


# --- history -------------------------------------------------------------------------------------


def history_args(p: Parser) -> None:
    p.add_argument("image", metavar="IMAGE", complete="image")
    p.add_table_format()
    p.add_argument(
        "-H",
        "--human",
        action="store_true",
        default=True,
        help="Print sizes and dates in human readable format",
    )
    p.add_argument("--no-trunc", action="store_true", help="Don't truncate output")
    p.add_argument("-q", "--quiet", action="store_true", help="Only show image IDs")


def history(ctx: Context, args: Namespace) -> int:
    """Show the history of an image."""
    lines = ctx.engine.images.history(args.image)
    columns = {
        "ID": "IMAGE",
        "CreatedSince": "CREATED" if args.human else "CREATED AT",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
    }
    rows = [_history_row(line, human=args.human, full=args.no_trunc) for line in lines]
    table(
        ctx,
        columns,
        rows,
        default=("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
        format=args.format,
        quiet=args.quiet,
    )
    return 0


def _history_row(line: HistoryLine, *, human: bool, full: bool) -> dict[str, Any]:
    by = " ".join(line.created_by.split("\t"))
    return {
        "ID": (line.id if full else short_id(line.id)) or "<missing>",
        "CreatedSince": since(line.created) if human else _rfc3339(line.created),
        "CreatedAt": _rfc3339(line.created),
        "CreatedBy": by if full else ellipsis(by, 45),
        "Size": human_size(line.size) if human else str(line.size),
        "Comment": line.comment,
    }


def _rfc3339(created: str) -> str:
    """Without the fraction, as Docker prints it."""
    head, dot, rest = created.partition(".")
    return head + rest.lstrip("0123456789") if dot else created


# --- tag, rmi, prune -----------------------------------------------------------------------------


def tag_args(p: Parser) -> None:
    p.add_argument("source", metavar="SOURCE_IMAGE[:TAG]", complete="image")
    p.add_argument("target", metavar="TARGET_IMAGE[:TAG]")


def tag(ctx: Context, args: Namespace) -> int:
    """Give an image another name."""
    ctx.engine.images.tag(args.source, args.target)
    return 0


def rmi_args(p: Parser) -> None:
    p.add_argument("image", nargs="+", metavar="IMAGE", complete="image")
    p.add_argument("-f", "--force", action="store_true", help="Force removal of the image")
    p.add_argument("--no-prune", action="store_true", help="Do not delete untagged parents")


def rmi(ctx: Context, args: Namespace) -> int:
    """Remove images; with -f a missing one is no failure."""
    from boxwright.cli.several import Failures
    from boxwright.errors import NotFound

    failures = Failures(ctx, NotFound if args.force else None)
    removed = ctx.engine.images.remove(
        *args.image, force=args.force, prune=not args.no_prune, failed=failures.keep
    )
    for line in removed:
        ctx.out(f"{line.action}: {line.what}")
    return failures.end()


def image_prune_args(p: Parser) -> None:
    from boxwright.cli.prune import declare

    p.add_argument(
        "-a", "--all", action="store_true", help="Remove all unused images, not just dangling ones"
    )
    declare(p, "until=<timestamp>")


def image_prune(ctx: Context, args: Namespace) -> int:
    """Remove unused images."""
    from boxwright.cli.filters import parse_filters
    from boxwright.cli.prune import prune
    from boxwright.image.remove import PRUNE_FILTERS

    filters = parse_filters(args.filter, PRUNE_FILTERS)
    what = "all images without at least one container associated to them"
    return prune(
        ctx,
        lambda: ctx.engine.images.prune(everything=args.all, filters=filters),
        warning=f" {what if args.all else 'all dangling images'}.",
        force=args.force,
        kind="Images",
    )
