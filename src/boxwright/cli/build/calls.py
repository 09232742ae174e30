"""``build --call`` and ``--check``: how they are asked for, and what they show, as buildx does."""

from __future__ import annotations

import os

from boxwright.errors import Invalid
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from boxwright.build.calls import Answer
    from boxwright.build.request import BuildRequest
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace


@dataclass(frozen=True, slots=True)
class Call:
    """A ``--call``: `method` is '' to build, `json` shows the answer as it is."""

    method: str = ""
    json: bool = False
    ignore_status: bool = False


def parse(args: Namespace) -> Call:
    """``--call=check,format=json``, or ``--check``. Raises Invalid, CallUnsupported."""
    text: str = args.call or ("check" if args.check else "")
    if not text:
        return Call()
    from boxwright.build.calls import method_of
    from boxwright.build.fields import fields

    method, form, ignore = "", "text", ""
    for key, value in fields(text, "call").items():
        if key == "format":
            form = value
        elif key == "ignorestatus":
            ignore = value.lower() or "true"
        elif value or method:
            raise Invalid(f"invalid value {text!r} for --call", hint="METHOD[,format=json|text]")
        else:
            method = key
    if form not in ("text", "json"):
        raise Invalid(f"--call has no format {form!r}", hint="text or json")
    if ignore not in ("", "true", "false", "1", "0"):
        raise Invalid(f"invalid ignorestatus value of --call: {ignore}")
    return Call(method_of(method), form == "json", ignore in ("true", "1"))


def show(ctx: Context, call: Call, answer: Answer, request: BuildRequest) -> int:
    """Print the answer; the exit code."""
    if call.json:
        import json

        ctx.out(json.dumps(answer.data, indent=2, ensure_ascii=False))
    else:
        _SHOWN[answer.method](ctx, answer.data, request)
    error = answer.data.get("buildError") if answer.method == "check" else None
    if error is not None:
        if not call.json and answer.data["warnings"]:
            ctx.out()
        ctx.err(f"{ctx.paint('ERROR', 'red')}: {error['message']}")
        for line in _Excerpts(answer.data, request).at(error["location"]):
            ctx.err(line)
        return 1
    return 0 if call.ignore_status else answer.status


def _check(ctx: Context, data: Any, request: BuildRequest) -> None:
    warnings = data["warnings"] or []
    count = len(warnings)
    if count:
        found = "1 warning has" if count == 1 else f"{count} warnings have"
        ctx.out(f"Check complete, {found} been found!")
    elif "buildError" not in data:
        ctx.out("Check complete, no warnings found.")
    excerpts = _Excerpts(data, request)
    for warning in warnings:
        url = f" - {warning['url']}" if "url" in warning else ""
        ctx.out(f"\nWARNING: {warning['ruleName']}{url}\n{warning['detail']}")
        for line in excerpts.at(warning["location"]):
            ctx.out(line)


class _Excerpts:
    """What the answer's places look like in its Dockerfile, which is read once for all of them."""

    def __init__(self, data: Any, request: BuildRequest) -> None:
        import base64

        source = data["sources"][0]
        self._name = str(_place(request) or source["filename"])
        self._text = base64.b64decode(source["data"])

    def at(self, location: Any) -> list[str]:
        """The lines of an excerpt."""
        from boxwright.build.dockerfile.errors import SourceRange, render_excerpt

        ranges = [SourceRange(r["start"]["line"], r["end"]["line"]) for r in location.get("ranges", ())]
        return render_excerpt(self._name, self._text, ranges).splitlines()


def _place(request: BuildRequest) -> Path | str | None:
    """Where the user sees the Dockerfile; None where it has no place of its own."""
    if (
        request.dockerfile_data is not None
        or request.dockerfile_url
        or request.stream is not None
        or request.remote
    ):
        return None
    if request.dockerfile is not None:
        return request.dockerfile
    if request.context is None:
        return None
    name = next(
        (name for name in ("Dockerfile", "dockerfile") if os.path.lexists(request.context / name)), ""
    )
    return request.context / name if name else None


def _outline(ctx: Context, data: Any, request: BuildRequest) -> None:
    if data.get("name") or data.get("description"):
        rows = [("TARGET:", data.get("name") or "(default)")]
        if data.get("description"):
            rows.append(("DESCRIPTION:", data["description"]))
        _table(ctx, rows, 1)
        ctx.out()
    if data.get("args"):
        cells = [(a["name"], a.get("value", ""), a.get("description", "")) for a in data["args"]]
        _table(ctx, [("BUILD ARG", "VALUE", "DESCRIPTION"), *cells], 3)
        ctx.out()
    for key, title in (("secrets", "SECRET"), ("ssh", "SSH")):
        if data.get(key):
            asked = [(one["name"], "true" if one.get("required") else "") for one in data[key]]
            _table(ctx, [(title, "REQUIRED"), *asked], 3)
            ctx.out()


def _targets(ctx: Context, data: Any, request: BuildRequest) -> None:
    rows = [("TARGET", "DESCRIPTION")]
    for one in data["targets"]:
        name = " ".join(filter(None, (one.get("name"), "(default)" if one.get("default") else "")))
        rows.append((name, one.get("description", "")))
    _table(ctx, rows, 1)


def _describe(ctx: Context, data: Any, request: BuildRequest) -> None:
    rows = [("NAME", "VERSION", "DESCRIPTION")]
    rows += [(one["name"].removeprefix("frontend."), one["version"], one["description"]) for one in data]
    _table(ctx, rows, 1)


def _table(ctx: Context, rows: Sequence[tuple[str, ...]], gap: int) -> None:
    from boxwright.cli.tables import align

    for line in align(rows, min_width=0, padding=gap):
        ctx.out(line)


_SHOWN = {
    "check": _check,
    "outline": _outline,
    "targets": _targets,
    "subrequests.describe": _describe,
}
