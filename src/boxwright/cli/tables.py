"""Lists for people: Docker's columns, sizes, ages, short ids; and the same rows through ``--format``.

A row is a mapping from Docker's placeholder (``ID``, ``Repository``…) to its text. A value may be a function
without parameters: it is called only when the column is really shown. A `boxwright.gotemplate.compile.Method` takes
arguments in templates (``{{.Label "key"}}``) and is no part of the JSON.
"""

from __future__ import annotations

import time

from boxwright.cli.printable import printable
from boxwright.errors import Invalid
from boxwright.spec.times import unix_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from boxwright.cli.context import Context

MIN_WIDTH, PADDING = 10, 3  # docker/cli formatter.go: tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)


def table(
    ctx: Context,
    columns: Mapping[str, str],
    rows: Iterable[Mapping[str, Any]],
    *,
    default: Sequence[str] = (),
    format: str = "",
    quiet: bool = False,
    config_key: str = "",
) -> None:
    """Print rows as ``--format`` and ``--quiet`` ask.

    `columns` maps every placeholder to its header, of which ``--quiet`` shows ``ID``, or ``Name`` where
    there is none; `default` names those of the plain table (all when empty).
    `config_key` (``imagesFormat``, ``psFormat``) is looked up in Docker's config.json when no format is given.
    Raises FormatError before anything is printed if the template is wrong.
    """
    if not format and config_key and not quiet:
        format = configured(ctx, config_key)
    if format in ("", "table"):
        if quiet:
            field = "ID" if "ID" in columns else "Name"
            for row in rows:
                ctx.out(str(_value(row[field])))
            return
        fields = default or tuple(columns)
        lines = [[columns[f] for f in fields]]
        lines.extend([_cell(row[f]) for f in fields] for row in rows)
        for line in align(lines):
            ctx.out(line)
        return
    if format == "json":
        from boxwright.gotemplate.compile import to_json

        for row in rows:
            ctx.out(to_json(dict(sorted(row.items()))))
        return
    from boxwright.gotemplate.compile import Method
    from boxwright.gotemplate.compile import compile as compile_template

    rows = (dict(sorted(row.items())) for row in rows)  # {{json .}} has the order of Go's maps
    if format.startswith("table"):
        template = compile_template(format[5:].strip())
        titles = {
            **columns,
            "Label": Method(lambda key: str(key).rpartition(".")[2].replace("-", " ").replace("_", " ")),
        }
        texts = [template.header(titles), *(template(row) for row in rows)]
        for line in align([t.split("\t") for text in texts for t in text.split("\n")]):
            ctx.out(line)
        return
    template = compile_template(format)
    for row in rows:
        ctx.out(template(row))


def align(lines: Sequence[Sequence[str]], *, min_width: int = MIN_WIDTH, padding: int = PADDING) -> list[str]:
    """Lay cells out as Go's tabwriter: a column is a run of lines that have a cell there which is not their last."""
    if len({len(cells) for cells in lines}) == 1:
        columns = list(zip(*lines))
        if all(text.isascii() for column in columns for text in column):  # a thousand lines in a millisecond
            fixed = [max(min_width, max(map(len, column)) + padding) for column in columns[:-1]]
            template = "".join(f"{{:<{width}}}" for width in fixed) + "{}"
            return [template.format(*cells) for cells in lines]
    widths = [[0] * max(len(cells) - 1, 0) for cells in lines]
    deepest = max((len(w) for w in widths), default=0)
    for column in range(deepest):
        start = 0
        while start < len(lines):
            if len(widths[start]) <= column:
                start += 1
                continue
            end = start
            wide = min_width
            while end < len(lines) and len(widths[end]) > column:
                wide = max(wide, display_width(lines[end][column]) + padding)
                end += 1
            for at in range(start, end):
                widths[at][column] = wide
            start = end
    return [
        "".join(c + " " * (w - display_width(c)) for c, w in zip(cells, wide)) + (cells[-1] if cells else "")
        for cells, wide in zip(lines, widths)
    ]


def since(when: str | float | None, *, now: float | None = None) -> str:
    """``5 minutes ago``; ``N/A`` for no time at all, or one that is not after 1970 began."""
    moment = unix_seconds(when) if isinstance(when, str) else when
    if moment is None or moment <= 0:
        return "N/A"
    from boxwright.spec.times import human_duration

    return human_duration(max((time.time() if now is None else now) - moment, 0)) + " ago"


def created_at(when: str | float | None) -> str:
    """``2026-11-23 14:00:00 +0000 UTC``, in local time, as Docker's .CreatedAt; ``N/A`` for no time."""
    moment = unix_seconds(when) if isinstance(when, str) else when
    if moment is None:
        return "N/A"
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment))


def short_id(identity: str) -> str:
    """The first 12 digits of an id, without its algorithm."""
    return identity.rpartition(":")[2][:12]


def ellipsis(text: str, width: int) -> str:
    """Cut to a width in terminal columns, the last one ``…`` (docker/cli formatter.Ellipsis)."""
    if width <= 0:
        return ""
    if display_width(text) <= width:
        return text
    if width == 1:
        return text[0]
    kept = ""
    used = 0
    for character in text:
        used += display_width(character)
        if used > width - 1:
            break
        kept += character
    return kept + "…"


def display_width(text: str) -> int:
    """Columns that a terminal uses for the text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _value(value: Any) -> Any:
    return value() if callable(value) else value


def _cell(value: Any) -> str:
    # A newline or tab in a name would tear the table apart.
    return printable(str(_value(value)), line=True)


class DockerConfigInvalid(Invalid):
    """Docker's config.json cannot be read."""


def configured(ctx: Context, key: str) -> str:
    """The format that Docker's config.json gives for a list; '' when it gives none. Raises DockerConfigInvalid."""
    path = ctx.settings.docker_config / "config.json"
    try:
        raw = path.read_bytes()
    except OSError:
        return ""
    if key.encode() not in raw:
        return ""
    import json

    try:
        value = json.loads(raw).get(key, "")
    except (ValueError, AttributeError, RecursionError) as error:
        raise DockerConfigInvalid(f"{path} is not a valid configuration file: {error}") from error
    return value if isinstance(value, str) else ""
