"""Definitions for tests of bake: parsed from text, and as they are printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from boxwright.bake import files, requests
from boxwright.bake.allow import Allowed
from boxwright.bake.definition import Config, Outside
from boxwright.bake.hcl.functions.encoding import go_json
from boxwright.bake.resolve import Resolved, resolve

DATA = Path(__file__).parents[1] / "data/bake"
BUILTIN = {"BAKE_CMD_CONTEXT": "cwd://", "BAKE_LOCAL_PLATFORM": "linux/amd64"}


def parsed(
    text: str | bytes, name: str = "docker-bake.hcl", environ: Mapping[str, str] | None = None, **more: Any
) -> Config:
    """One definition; `more` are others by their names, with `__` for a dot."""
    data = text.encode() if isinstance(text, str) else text
    found = [files.File(name, data), *(files.File(n.replace("__", "."), t.encode()) for n, t in more.items())]
    return files.parse(found, Outside(environ=environ or {}, builtin=BUILTIN), Path("/nonexistent"))


def resolved(
    text: str,
    *names: str,
    overrides: Iterable[str] = (),
    name: str = "docker-bake.hcl",
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> Resolved:
    config = parsed(text, name, environ, **more)
    found = resolve(
        config=config,
        names=names or ("default",),
        overrides=list(overrides),
        environ=environ or {},
        allowed=Allowed(),
    )
    requests.settled(found.targets.values(), cwd=Path("/nonexistent"))
    return found


def target(text: str, *names: str, of: str = "default", **more: Any) -> dict[str, Any]:
    """One target as it is printed."""
    shown: dict[str, Any] = resolved(text, *(names or (of,)), **more).targets[of].to_json()
    return shown


def printed(found: Resolved) -> str:
    return go_json(json.dumps(found.to_json(), indent=2, ensure_ascii=False)) + "\n"


def value(expression: str) -> Any:
    """An expression's value, by way of JSON."""
    shown = target(f'v = {expression}\ntarget "default" {{ args = {{ v = jsonencode(v) }} }}')
    return json.loads(shown["args"]["v"].replace("$${", "${").replace("%%{", "%{"))
