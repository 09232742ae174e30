"""Why a step was reused or not (`build --explain`): compare its ingredients with the records of its lineage.

Pure but for one read of the lineage's records. The lineage is a project's stage; the nearest record is the
last used one of the same instruction text, else of the same position and kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from boxwright.build.cache import ingredients
from boxwright.build.context.folders import TOLD
from boxwright.build.graph import Selection, Tree, Vertex
from boxwright.image.steps import Hit, StepCache, StepRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHOWN = 3  # changed files named one by one
_WIDEST = 40  # characters of a line


class Why:
    """Answers for one build; reads each lineage once, as it was when the build began."""

    def __init__(self, cache: StepCache) -> None:
        self._cache = cache
        self._lineages: dict[str, list[StepRecord]] = {}
        self._hidden: dict[str, str] = {}  # why steps that are not shown were run: for those that use them

    def __call__(
        self, vertex: Vertex, trees: Sequence[Tree], selection: Selection | None, hit: Hit | None
    ) -> str:
        """One phrase for the step's line."""
        if hit is not None:
            import time

            return (
                f"on record since {time.strftime('%Y-%m-%d %H:%M', time.localtime(hit.created))}, took "
                f"{hit.seconds:.1f}s then"
            )
        reason = self._miss(vertex, trees, selection)
        if vertex.hidden:
            self._hidden[vertex.id] = reason
        return reason

    def _miss(self, vertex: Vertex, trees: Sequence[Tree], selection: Selection | None) -> str:
        if vertex.fresh:
            return "the cache was not asked (--no-cache)"
        if vertex.lineage not in self._lineages:
            self._lineages[vertex.lineage] = self._cache.lineage(vertex.lineage)
        current = ingredients(vertex, trees, selection)
        near = nearest(vertex.op.kind, current, self._lineages[vertex.lineage])
        if near is None:
            return "no record of this step"
        reasons = [self._hidden.get(v.id, "") for v in vertex.inputs]
        found = list(differences(near.ingredients, current, reasons))
        if not found:
            gone = not self._cache.present(near.layers)
            return (
                "same ingredients as on record, but the recorded layers are gone"
                if gone
                else "something changed that the record does not tell apart"
            )
        return "; ".join(found[:_SHOWN]) + (
            f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        )


def nearest(kind: str, current: Mapping[str, Any], records: Sequence[StepRecord]) -> StepRecord | None:
    """The record to compare with. `records` are in the order of last use."""
    same_kind = [r for r in records if r.kind == kind]
    best: tuple[int, StepRecord] | None = None
    for record in same_kind:
        score = 2 * (record.ingredients.get("text") == current["text"]) + (
            record.ingredients.get("position") == current["position"]
        )
        if score and (best is None or score > best[0]):
            best = score, record
    return best[1] if best is not None else None


def differences(old: Mapping[str, Any], new: Mapping[str, Any], reasons: Sequence[str] = ()) -> Iterator[str]:
    """What differs, the step's own ingredients before what it stands on. `reasons` say of each input why it changed,
    where that is known."""
    before, after = old.get("definition") or {}, new.get("definition") or {}
    lines = list(_lines(_script(before), _script(after)))
    same_text = old.get("text") == new.get("text")
    if lines:
        yield from lines
    elif not same_text:
        yield "instruction changed"
    yield from _definition(before, after, same_text and not lines)
    yield from _files(old.get("files") or {}, new.get("files") or {})
    inputs = old.get("inputs") or [], new.get("inputs") or []
    yield from _inputs(*inputs, new.get("selects") or (), reasons)


def _script(definition: Mapping[str, Any]) -> list[str]:
    """The lines of an instruction's heredocs."""
    texts = [
        *(definition.get("script") or ())[1:],
        *(definition.get("argv") or ()),
        *(part["data"] for part in definition.get("parts") or () if part.get("data")),
    ]
    return [line for text in texts if "\n" in text for line in text.splitlines()]


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """How the lines of a heredoc differ."""
    if old == new or not (old and new):
        return
    from difflib import SequenceMatcher

    for kind, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for i, j in zip_longest(range(i1, i2), range(j1, j2)):
            if i is None:
                yield f"line {j + 1} added: {_short(new[j])}"
            elif j is None:
                yield f"line {i + 1} removed: {_short(old[i])}"
            else:
                yield f"line {j + 1} changed: {_short(old[i])} -> {_short(new[j])}"


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"


_LABELS = {"env": "ENV", "build_args": "ARG"}


def _definition(old: Mapping[str, Any], new: Mapping[str, Any], same_text: bool) -> Iterator[str]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key in _LABELS:
            yield from _values(_LABELS[key], before or {}, after or {})
        elif key == "mounts":
            yield "mounts changed"
        elif key in ("user", "cwd", "network", "platform", "epoch", "security", "hostname", "depth"):
            yield f"{key} changed: {before!r} -> {after!r}"
        elif same_text:
            yield f"{key} changed"


def _values(label: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in [*new, *(n for n in old if n not in new)]:
        if name not in old:
            yield f"{label} {name} added"
        elif name not in new:
            yield f"{label} {name} removed"
        elif old[name] != new[name]:
            yield f"{label} {name} changed"


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        if before is None:
            yield f"{path} added"
        elif after is None:
            yield f"{path} removed"
        else:
            before, *more = before.split("\0")
            after, *more_now = after.split("\0")
            mode, _, content = before.partition(" ")
            mode_now, _, content_now = after.partition(" ")
            if _told(content) != _told(content_now):
                yield f"{path} modified"
            if mode != mode_now:
                yield f"{path} mode {mode}->{mode_now}"
            known, now = (dict(text.split("=", 1) for text in texts) for texts in (more, more_now))
            for name in sorted({*known, *now}):
                if known.get(name) != now.get(name):
                    yield f"{path} {name} changed"


def _told(content: str) -> str:
    """What a record tells of a file: older ones have the whole digest."""
    return content if content.startswith("-> ") else content[:TOLD]


def _inputs(
    old: Sequence[Mapping[str, Any]],
    new: Sequence[Mapping[str, Any]],
    by_content: Sequence[int],
    reasons: Sequence[str],
) -> Iterator[str]:
    if len(old) != len(new):
        yield "number of inputs changed"
        return
    for position, (before, after) in enumerate(zip(old, new)):
        if before.get("chain") == after.get("chain") or position in by_content:
            continue
        if before.get("base") or after.get("base"):
            yield f"base moved {before.get('base') or before.get('text')} -> {after.get('base') or after.get('text')}"
        else:
            reason = reasons[position] if position < len(reasons) else ""
            changed = f"input {after.get('text') or position} changed"
            yield reason or ("parent step changed" if position == 0 else changed)
