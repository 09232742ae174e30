"""The keys under which the records of steps (`image.steps`) are kept, and what they are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from boxwright.build.graph import Selection, Tree, Vertex, json_digest
from boxwright.spec.urls import redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


INLINE = "moby.buildkit.cache.v0"  # of an image's config: BuildKit's records, as base64 of JSON
OWN_INLINE = "boxwright.cache.v0"  # of an image's config: ours


def open_key(vertex: Vertex, trees: Sequence[Tree]) -> str:
    """Under this key it is noted that a content-keyed step ran at all on these inputs, whatever the content was: while
    it is not there, the content need not be read to know that it is new."""
    return json_digest(
        {"kind": vertex.op.kind, "op": vertex.op.definition(), "inputs": _names(vertex, trees), "any": True}
    )


def apart_open_key(vertex: Vertex) -> str:
    """Under this key it is noted that a step was once found without its inputs (`apart_keys`): while it is not there,
    nothing need be looked at to know that it will not be."""
    return json_digest({"apart": vertex.id})


def apart_keys(order: Sequence[Vertex], selections: Mapping[str, Selection | None]) -> dict[str, str]:
    """The keys of steps by all that they are made of, down to base images and the content of the context, where what
    their inputs came to is not known. By vertex id, and only where the content is known; inputs come first."""
    found: dict[str, str] = {}
    for vertex in order:
        if vertex.settled is not None:
            found[vertex.id] = json_digest({"tree": vertex.settled.chain})
            continue
        selection = selections.get(vertex.id)
        if vertex.fresh or any(v.id not in found for v in vertex.inputs):
            continue
        if vertex.op.reads in ("local", "remote") and selection is None:
            continue
        read = selection.digest if selection is not None and vertex.op.reads != "input" else None
        below = [found[v.id] for v in vertex.inputs]
        body = {"kind": vertex.op.kind, "op": vertex.op.definition(), "below": below, "files": read}
        found[vertex.id] = json_digest(body)
    return found


def _names(vertex: Vertex, trees: Sequence[Tree]) -> list[str | None]:
    names: list[str | None] = [tree.chain for tree in trees]
    if vertex.op.independent and names:
        names[0] = None
    return names


def step_keys(vertex: Vertex, trees: Sequence[Tree], selection: Selection | None) -> list[str]:
    """The keys under which a step may be found, the one to try first in front.

    A content-keyed vertex input yields two: by the input's name (nothing need be read) and, once `selection` is
    known, by what would be read of it.
    """
    op = vertex.op
    inputs = _names(vertex, trees)
    body: dict[str, object] = {"kind": op.kind, "op": op.definition(), "inputs": inputs}
    if op.reads in ("local", "remote"):
        assert selection is not None
        return [json_digest({**body, "files": selection.digest})]
    keys = [json_digest(body)]
    if selection is not None:
        narrowed = [*inputs]
        for number in op.selects:
            narrowed[number] = None
        keys.append(json_digest({**body, "inputs": narrowed, "files": selection.digest}))
    return keys


def _without_accounts(definition: Mapping[str, object]) -> dict[str, Any]:
    """What a step is, as others may read it: accounts in URLs of its command and variables are left out."""
    text = json.dumps(definition)
    if "://" not in text or "@" not in text:
        return dict(definition)
    found: dict[str, Any] = json.loads(redacted(text))
    return found


def ingredients(vertex: Vertex, trees: Sequence[Tree], selection: Selection | None) -> dict[str, Any]:
    """The parts of a step's key, apart, as plain JSON."""
    out: dict[str, Any] = {
        "text": vertex.text,
        "position": vertex.position,
        "definition": _without_accounts(vertex.op.definition()),
        "inputs": [
            {"text": v.text, "base": v.base, "chain": tree.chain} for v, tree in zip(vertex.inputs, trees)
        ],
    }
    if selection is not None:
        out["files"] = selection.files
        out["selects"] = list(vertex.op.selects)
    return out
