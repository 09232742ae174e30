"""builds ls|inspect|logs|rm, and buildx history over the same."""

from __future__ import annotations

import time

from boxwright.errors import Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser
    from boxwright.image.builds import BuildRecord

_COLUMNS = {
    "Ref": "BUILD ID",
    "Name": "NAME",
    "Status": "STATUS",
    "CreatedAt": "CREATED AT",
    "Duration": "DURATION",
    "Link": "",
}
_SHOWN = ("Ref", "Name", "Status", "CreatedAt", "Duration")
_WORDS = {"running": "Running", "completed": "Completed", "error": "Error"}
_STATUSES = {"error": "failed"}  # what buildx calls it in `inspect`
_WIDEST = 36  # characters of a name in the table


def _common(p: Parser) -> None:
    from boxwright.cli.flags import SUPPRESS

    p.add_argument("--builder", default="", help=SUPPRESS)
    p.add_argument("-D", "--debug", action="store_true", help=SUPPRESS)


def builds_ls_args(p: Parser) -> None:
    """buildx's."""
    p.add_argument(
        "--filter",
        action="append",
        metavar="stringArray",
        help='Provide filter values: status, ref, repository, startedAt, completedAt, duration (e.g., "status=error")',
    )
    p.add_argument("--format", default="", metavar="string", help="Format the output")
    p.add_argument("--local", action="store_true", help="List records for current repository only")
    p.add_argument("--no-trunc", action="store_true", help="Don't truncate output")
    _common(p)
    p.examples = [
        ("Builds that failed today", "boxwright builds ls --filter status=error --filter 'startedAt>24h'"),
    ]


def builds_ls(ctx: Context, args: Namespace) -> int:
    """The latest first."""
    from boxwright.cli.tables import table

    filters = list(args.filter)
    if args.local:
        filters.append("repository=" + _repository())
    found = ctx.engine.builds.list(filters=filters)
    if args.format == "json":
        from boxwright.gotemplate.compile import to_json

        for record in found:
            ctx.out(to_json(_json(record)))
        return 0
    plain = args.format.startswith("table") or not args.format
    rows = [_row(record, short=plain and not args.no_trunc) for record in found]
    table(ctx, _COLUMNS, rows, default=_SHOWN, format=args.format)
    return 0


def _repository() -> str:
    from pathlib import Path

    from boxwright.build.attest.vcs import vcs_of

    source = vcs_of(Path.cwd(), None).get("source", "")
    if not source:
        raise NotFound(
            "could not find the remote of a git repository for the local filter", hint="leave --local out"
        )
    return source


def _json(record: BuildRecord) -> dict[str, Any]:
    from boxwright.spec.times import rfc3339

    body: dict[str, Any] = {
        "ref": record.ref,
        "name": record.name,
        "status": _word(record),
        "created_at": rfc3339(record.started),
        "total_steps": record.total,
        "completed_steps": record.completed,
        "cached_steps": record.cached,
    }
    if record.ended:
        body["completed_at"] = rfc3339(record.ended)
    return dict(sorted(body.items()))


def _word(record: BuildRecord) -> str:
    return _WORDS.get(record.status, record.status.capitalize())


def _row(record: BuildRecord, *, short: bool) -> dict[str, Any]:
    from boxwright.spec.times import human_duration

    name = record.name
    if short and len(name) > _WIDEST:
        name = ".." + name[len(name) - _WIDEST + 2 :]
    return {
        "Ref": record.id,
        "Name": name,
        "Status": _word(record),
        "CreatedAt": human_duration(max(0.0, time.time() - record.started)) + " ago",
        "Duration": _duration(record) + ("+" if record.status == "running" else ""),
        "Link": "",
    }


def _duration(record: BuildRecord) -> str:
    if record.status == "interrupted":
        return ""  # no process saw when
    seconds = record.seconds()
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds) // 60}m {int(seconds) % 60:2d}s"


# --- inspect -----------------------------------------------------------------------------------------


def builds_inspect_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[REF]"
    p.add_argument("ref", nargs="?", metavar="REF", default="")
    p.add_argument("--format", default="pretty", metavar="string", help='"pretty", "json" or a template')
    _common(p)


def builds_inspect(ctx: Context, args: Namespace) -> int:
    """Of the latest build without a REF; ^1 is the one before."""
    from boxwright.cli.buildrecord import pretty, shown

    record = ctx.engine.builds.get(args.ref)
    body = shown(record, ctx.engine.builds.attachments(record.id))
    if args.format == "json":
        from boxwright.gotemplate.functions import to_indented_json

        ctx.out(to_indented_json(body))
    elif args.format == "pretty":
        for line in pretty(record, body, named=bool(args.ref)):
            ctx.out(line)
    else:
        from boxwright.gotemplate.compile import compile as compile_template

        ctx.out(compile_template(args.format)(body))
    return 0


def builds_attachment_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[REF [DIGEST]]"
    p.add_argument("words", nargs="*", metavar="REF")
    p.add_argument("--platform", default="", metavar="string", help="Platform of attachment")
    p.add_argument("--type", default="", metavar="string", help="Type of attachment")
    _common(p)


def builds_attachment(ctx: Context, args: Namespace) -> int:
    """The bytes of one; of a statement what it says."""
    import json

    from boxwright.cli.buildrecord import types
    from boxwright.spec import intoto

    if len(args.words) > 2:
        raise Invalid("builds inspect attachment takes a REF and a DIGEST")
    ref, digest = (*args.words, "", "")[:2]
    if not (digest or args.platform or args.type):
        raise Invalid("at least one of --type, --platform or DIGEST must be specified")
    wanted = types(args.type)
    for one in ctx.engine.builds.attachments(ref):
        if (
            (not digest or str(one.descriptor.digest) == digest)
            and (not args.platform or one.platform == args.platform)
            and (not wanted or one.type in wanted)
        ):
            raw = ctx.engine.services.store.read(one.descriptor.digest)
            if one.descriptor.media_type == intoto.STATEMENT and not digest:
                ctx.out(json.dumps(intoto.parsed(raw).get("predicate"), indent=2))
            else:
                ctx.out(raw.decode("utf-8", "replace"), end="")
            return 0
    raise NotFound(
        f"no matching attachment found for ref {ref!r}", hint="boxwright builds inspect lists them"
    )


# --- logs --------------------------------------------------------------------------------------------


def builds_logs_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[REF]"
    p.add_argument("ref", nargs="?", metavar="REF", default="")
    p.add_argument(
        "--progress", default="plain", metavar="string", help="Set type of progress output (plain, rawjson)"
    )
    _common(p)


def builds_logs(ctx: Context, args: Namespace) -> int:
    """Everything that the build told, on standard output."""
    if args.progress not in ("plain", "rawjson", "tty", "auto"):
        raise Invalid(f"invalid progress mode {args.progress!r}", hint="plain or rawjson")
    events = ctx.engine.builds.logs(args.ref)
    if args.progress == "rawjson":
        import json

        for event in events:
            ctx.out(json.dumps(event))
        return 0
    for line in _lines(events):
        ctx.out(line)
    return 0


def _lines(events: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """As `build --progress plain` shows them; output of a step line by line, its last line ended or not."""
    from boxwright.build.progress import StepStatus
    from boxwright.cli.progress.view import status_text

    names: dict[int, str] = {}
    rest: dict[tuple[int, int], tuple[float, str]] = {}
    current = 0

    def say(step: int, text: str) -> Iterator[str]:
        nonlocal current
        if current != step:
            if current:
                yield f"#{current} ...\n"
            yield f"#{step} {names.get(step, '')}"
            current = step
        yield f"#{step} {text}"

    for event in events:
        kind, step = event["kind"], int(event.get("step", 0))
        text = str(event.get("text", ""))
        if kind == "started":
            names[step] = str(event.get("name", ""))
        elif kind == "log":
            stream = int(event.get("stream", 1))
            at, before = rest.pop((step, stream), (float(event.get("after", 0)), ""))
            for line in (before + str(event.get("data", ""))).splitlines(keepends=True):
                if not line.endswith(("\n", "\r")):
                    rest[step, stream] = at, line
                    break
                yield from say(step, f"{at:.3f} {line.rstrip()}")
                at = float(event.get("after", 0))
        elif kind == "status":
            sizes = int(event.get("current", 0)), int(event.get("total", 0))
            yield from say(
                step, status_text(StepStatus(step="", id=text, current=sizes[0], total=sizes[1], done=True))
            )
        elif kind == "missed":
            yield from say(step, f"runs because: {text}")
        elif kind in ("cached", "done", "failed"):
            for key in [key for key in rest if key[0] == step]:
                at, line = rest.pop(key)
                yield from say(step, f"{at:.3f} {line.rstrip()}")
            ends = {
                "cached": "CACHED" + (f" ({text})" if text else ""),
                "done": f"DONE {float(event.get('seconds', 0)):.1f}s",
                "failed": "CANCELED" if event.get("cancelled") else f"ERROR: {text}",
            }
            yield from say(step, ends[kind])
            yield ""
            current = 0
    for (step, _), (at, line) in rest.items():  # of a build that runs, or was interrupted
        yield from say(step, f"{at:.3f} {line}")


# --- rm, open ----------------------------------------------------------------------------------------


def builds_rm_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[REF...]"
    p.add_argument("refs", nargs="*", metavar="REF")
    p.add_argument("--all", action="store_true", help="Remove all build records")
    _common(p)


def builds_rm(ctx: Context, args: Namespace) -> int:
    """Records and logs; images stay."""
    from boxwright.cli.several import each

    if args.all:
        if args.refs:
            raise Invalid("rm takes either --all or REFs")
        done = [one.id for one in ctx.engine.builds.list() if one.status != "running"]
        ctx.engine.builds.remove(*done)
        return 0
    if not args.refs:
        raise Invalid("rm requires at least one argument", hint="--all removes every record")

    def remove(ref: str) -> str:
        ctx.engine.builds.remove(ref)
        return ""

    return each(ctx, args.refs, remove)


def builds_open_args(p: Parser) -> None:
    """buildx's."""
    p.usage = "[REF]"
    p.add_argument("ref", nargs="?", metavar="REF", default="")
    _common(p)


def builds_open(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    record = ctx.engine.builds.get(args.ref)
    raise Unsupported(
        "there is no desktop application to open a build record in",
        hint=f"boxwright builds inspect {record.id}, or boxwright builds logs {record.id}",
    )


def builds_export_args(p: Parser) -> None:
    """buildx's, with which its users hear why there is none."""
    from boxwright.cli.flags import SUPPRESS

    p.usage = "[REF...]"
    p.add_argument("refs", nargs="*", metavar="REF")
    p.add_argument("--all", action="store_true", help=SUPPRESS)
    p.add_argument("--finalize", action="store_true", help=SUPPRESS)
    p.add_argument("-o", "--output", default="", help=SUPPRESS)
    _common(p)


def builds_export(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    raise Unsupported(
        "build records are not exported as bundles for Docker Desktop",
        hint="boxwright builds inspect --format json, and boxwright builds logs --progress rawjson, have all of one",
    )


def builds_import_args(p: Parser) -> None:
    """buildx's, likewise."""
    from boxwright.cli.flags import SUPPRESS

    p.usage = "[-]"
    p.add_argument("source", nargs="?", default="")
    p.add_argument("-f", "--file", action="append", default=[], help=SUPPRESS)
    _common(p)


def builds_import(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    raise Unsupported("the history has the builds of this store alone: records of others are not imported")


def builds_trace_args(p: Parser) -> None:
    """buildx's, likewise."""
    from boxwright.cli.flags import SUPPRESS

    builds_open_args(p)
    p.add_argument("--addr", default="", help=SUPPRESS)
    p.add_argument("--compare", default="", help=SUPPRESS)


def builds_trace(ctx: Context, args: Namespace) -> int:
    """Raises Unsupported."""
    raise Unsupported(
        "builds are not traced with OpenTelemetry",
        hint="boxwright builds logs --progress rawjson has the time of everything that a build told",
    )
