"""events."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser


def events_args(p: Parser) -> None:
    p.add_argument(
        "-f", "--filter", action="append", metavar="filter", help="Filter output based on conditions provided"
    )
    p.add_argument(
        "--format", default="", metavar="string", help="Format output using 'json' or a Go template"
    )
    p.add_argument("--since", default="", metavar="string", help="Show all events created since timestamp")
    p.add_argument("--until", default="", metavar="string", help="Stream events until this timestamp")
    p.examples = [
        ("What containers did in the last hour", "boxwright events --since 1h --until 0s -f type=container")
    ]


def events(ctx: Context, args: Namespace) -> int:
    """Until --until, or for ever."""
    import sys

    from boxwright.cli.filters import parse_filters
    from boxwright.gotemplate.compile import compile
    from boxwright.gotemplate.values import Struct
    from boxwright.image.filters import moment
    from boxwright.spec.events import FILTERS

    filters = parse_filters(args.filter or (), sorted(FILTERS))
    since, until = (moment(text) if text else None for text in (args.since, args.until))
    form = "{{json .}}" if args.format == "json" else args.format
    template = compile(form) if form else None
    try:
        for value in ctx.engine.system.events(since=since, until=until, filters=filters):
            ctx.out(template(Struct(value, "Event")) if template else _line(value))
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    return 0


def _line(value: Mapping[str, Any]) -> str:
    """Docker's: `TIME TYPE ACTION ID (name=value, …)`; always one line, whatever labels hold."""
    from boxwright.cli.printable import printable
    from boxwright.spec.times import SECOND, stamp

    actor = value["Actor"]
    attributes = ", ".join(f"{k}={v}" for k, v in sorted(actor["Attributes"].items()))
    seconds, rest = divmod(value["timeNano"], SECOND)
    shown = f"{stamp(seconds)[:20]}{rest:09d}Z {value['Type']} {value['Action']} {actor['ID']}"
    return printable(shown + (f" ({attributes})" if attributes else ""), line=True)
