"""How every prune goes: ask, remove, list what went, and say how much space came back."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Parser
    from boxwright.image.maintain import Pruned

TOTAL = "Total reclaimed space: "


def declare(p: Parser, example: str) -> None:
    """The options that all of them have; `example` is a filter."""
    p.add_argument(
        "--filter", action="append", metavar="filter", help=f'Provide filter values (e.g. "{example}")'
    )
    p.add_argument("-f", "--force", action="store_true", help="Do not prompt for confirmation")


def prune(
    ctx: Context,
    act: Callable[[], Pruned],
    *,
    warning: str,
    force: bool,
    kind: str = "",
    total: str = TOTAL,
) -> int:
    """`kind` is what `show` says was removed, '' when that is shown already; `total` begins the last line, '' for
    none."""
    from boxwright.spec.units import human_size

    if not force and not ctx.confirm(f"WARNING! This will remove{warning}"):
        return 0
    pruned = act()
    if kind:
        show(ctx, kind, pruned)
    if total:
        ctx.out(f"{total}{human_size(pruned.bytes)}")
    return 0


def show(ctx: Context, kind: str, pruned: Pruned) -> None:
    """Docker's list of what went; nothing when nothing did."""
    from boxwright.cli.tables import short_id

    if not pruned.removed:
        return
    if kind == "Images":
        lines = [f"{line.action.lower()}: {line.what}" for line in pruned.removed]
    elif kind == "build cache objects":
        lines = [short_id(line.what) for line in pruned.removed]
    else:
        lines = [line.what for line in pruned.removed]
    ctx.out("\n".join([f"Deleted {kind}:", *lines, ""]))
