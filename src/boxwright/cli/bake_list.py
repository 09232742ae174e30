"""bake --list: the targets or the variables of a definition."""

from __future__ import annotations

from boxwright.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from boxwright.bake.definition import Config
    from boxwright.cli.context import Context


def show(ctx: Context, asked: str, config: Config) -> int:
    """Print them. Raises Invalid, DefinitionInvalid."""
    kind, form = _asked(asked)
    rows = _targets(config) if kind == "targets" else _variables(config)
    if form == "json":
        import json

        from boxwright.bake.hcl.functions.encoding import go_json

        said = [{k: v for k, v in row.items() if v or k == "name"} for row in rows]
        if kind == "targets":
            for row in said:
                row["description"] = _described(row.get("description", ""), row.pop("targets", []))
                if not row["description"]:
                    del row["description"]
                if row.get("group"):
                    row["group"] = row.pop("group")
        ctx.out(go_json(json.dumps(said or None, indent=2, ensure_ascii=False)))
        return 0
    if kind == "targets":
        table = [(r["name"], _described(r["description"], r["targets"])) for r in rows]
        _table(ctx, ("TARGET", "DESCRIPTION"), table)
    else:
        lines = [
            (r["name"], r["type"], "<null>" if r["value"] is None else r["value"], r["description"])
            for r in rows
        ]
        _table(ctx, ("VARIABLE", "TYPE", "VALUE", "DESCRIPTION"), lines)
    return 0


def _asked(asked: str) -> tuple[str, str]:
    from boxwright.bake.entries import csv_fields

    kind, form = "", "table"
    for field in csv_fields(asked):
        key, equals, value = field.partition("=")
        if not equals and field == asked:
            kind = field
        elif not equals:
            raise Invalid(f"invalid value {field}")
        elif key.strip().lower() == "type":
            kind = value
        elif key.strip().lower() == "format":
            form = value
        else:
            raise Invalid(f"unexpected key '{key}' in '{field}'", hint="type and format")
    if kind not in ("targets", "variables"):
        raise Invalid(f"invalid list type {kind!r}", hint="targets or variables")
    if form not in ("table", "json"):
        raise Invalid(f"invalid list format {form!r}", hint="table or json")
    return kind, form


def _described(text: str, members: list[str]) -> str:
    names = ", ".join(sorted(members))
    return f"{text} ({names})" if text and names else text or names


def _targets(config: Config) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"name": t.name, "description": t.get("description") or "", "targets": []} for t in config.targets
    ]
    rows += [
        {"name": g.name, "description": g.description, "targets": g.targets, "group": True}
        for g in config.groups
    ]
    shown = [row for row in rows if not row["name"].startswith("_")]
    return sorted(shown, key=lambda row: str(row["name"]))


def _variables(config: Config) -> list[dict[str, Any]]:
    return [
        {"name": v.name, "description": v.description, "type": v.type, "value": v.value}
        for v in config.variables
    ]


def _table(ctx: Context, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as Go's tabwriter sets them: with tabs, every eight characters."""
    lines = [header, *rows]
    widths = [max(len(line[at]) for line in lines) // 8 * 8 + 8 for at in range(len(header) - 1)]
    for line in lines:
        out = ""
        for at, cell in enumerate(line[:-1]):
            out += cell + "\t" * -(-(widths[at] - len(cell)) // 8)
        ctx.out(out + line[-1])
