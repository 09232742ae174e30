"""What a cache says of itself: BuildKit's ``application/vnd.buildkit.cacheconfig.v0``, as values. Pure.

    layers    blobs of layers, each on top of its parent
    records   the key of a step's result, the records of its inputs, the layers that it yielded
    boxwright our own records beside them, which BuildKit does not look at: the key of a step (`build.cache`) and the
              stack of diff IDs that it yielded

Our own records name stacks, not blobs, so that what came before the layers that the cache holds has its key, too:
with ``mode=min`` the steps of other stages have a record and no layer. Everything here comes from outside: sizes,
numbers and links are checked while it is read, and a circle is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from boxwright.errors import Invalid
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import canonical_json
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
OWN = "boxwright"
MAX_SIZE = 8 << 20  # bytes; BuildKit reads 1 MiB
_MOST = 100_000  # layers, records, links of each
_DEEPEST = 4096  # layers above one another
_MOST_NAMED = 1_000_000  # layers of all our records' stacks together
_VERSION = 1


class CacheInvalid(Invalid):
    """What a cache says of itself cannot be, or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayer:
    """A blob on top of the layer with the index `parent` (-1: on nothing). `media_type`, `diff_id`, `size` and
    `created` (RFC 3339) are empty when the manifest that holds the config states them instead."""

    blob: Digest
    parent: int = -1
    media_type: str = ""
    diff_id: DiffID | None = None
    size: int = 0
    created: str = ""

    def to_json(self, annotated: bool) -> dict[str, Any]:
        """`annotated`: with what no manifest says, for places that have none."""
        out: dict[str, Any] = {"blob": str(self.blob), "parent": self.parent}
        if annotated:
            out["annotations"] = {
                "mediaType": self.media_type,
                "diffID": str(self.diff_id),
                "size": self.size,
                "createdAt": self.created or "0001-01-01T00:00:00Z",
            }
        return out


@dataclass(frozen=True, slots=True)
class RecordLink:
    """An input of a record: another record, and the selector (a digest, or '') of what is read of it."""

    record: int
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """The key of a result: `digest`, and for each input the records of which any will do. `layers` are stacks by the
    index of their topmost layer, `chains` stacks spelt out; both with the time of their making (RFC 3339)."""

    digest: str
    inputs: tuple[tuple[RecordLink, ...], ...] = ()
    layers: tuple[tuple[int, str], ...] = ()
    chains: tuple[tuple[tuple[int, ...], str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As BuildKit writes it, empty fields left out."""
        out: dict[str, Any] = {}
        if self.layers:
            out["layers"] = [{"layer": at, "createdAt": created} for at, created in self.layers]
        if self.chains:
            out["chains"] = [{"layers": list(stack), "createdAt": created} for stack, created in self.chains]
        out["digest"] = self.digest
        if self.inputs:
            out["inputs"] = [
                [
                    {"selector": link.selector, "link": link.record}
                    if link.selector
                    else {"link": link.record}
                    for link in links
                ]
                for links in self.inputs
            ]
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRecord:
    """One of our records: the key (`build.cache.step_keys`), the stack (diff IDs, bottom first), when it was made
    (unix seconds), the bytes that the step added, and how long it took."""

    key: str
    stack: tuple[DiffID, ...]
    created: float
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """A whole config."""

    layers: tuple[CacheLayer, ...] = ()
    records: tuple[CacheRecord, ...] = ()
    own: tuple[OwnRecord, ...] = field(default=())

    def stack(self, top: int) -> tuple[int, ...]:
        """The layers down from one, bottom first."""
        found = []
        while top != -1:
            found.append(top)
            top = self.layers[top].parent
        return tuple(reversed(found))

    def to_json(self, *, annotated: bool = False) -> bytes:
        """The document; `annotated` as for a layer."""
        body: dict[str, Any] = {}
        if self.layers:
            body["layers"] = [layer.to_json(annotated) for layer in self.layers]
        if self.records:
            body["records"] = [record.to_json() for record in self.records]
        if self.own:
            body[OWN] = own_to_json(self.own)
        return canonical_json(body)


# --- our own records ---------------------------------------------------------------------------


def own_to_json(records: Iterable[OwnRecord]) -> dict[str, Any]:
    """Stacks that share layers say them once."""
    nodes: dict[tuple[int, DiffID], int] = {}
    steps = []
    for record in records:
        top = -1
        for diff_id in record.stack:
            top = nodes.setdefault((top, diff_id), len(nodes))
        steps.append([record.key, top, record.created, record.bytes, round(record.seconds, 3)])
    return {"version": _VERSION, "diffs": [[str(d), parent] for parent, d in nodes], "steps": steps}


def own_from_json(body: object) -> tuple[OwnRecord, ...]:
    """Records of another version are none. Raises CacheInvalid."""
    if not isinstance(body, dict) or body.get("version") != _VERSION:
        return ()
    nodes = _list(body.get("diffs"), "diffs")
    parents: list[tuple[DiffID, int, int]] = []
    for position, node in enumerate(nodes):
        if not isinstance(node, list) or len(node) != 2:
            raise CacheInvalid("a diff of the cache is no pair")
        parent = _index(node[1], position, "a diff's parent")  # made before, so that there are no circles
        depth = 1 + (parents[parent][2] if parent >= 0 else 0)
        if depth > _DEEPEST:
            raise CacheInvalid(f"the cache has more than {_DEEPEST} layers above one another")
        parents.append((_diff_id(node[0]), parent, depth))
    found, named = [], 0
    for step in _list(body.get("steps"), "steps"):
        if not isinstance(step, list) or len(step) != 5:
            raise CacheInvalid("a step of the cache has not five fields")
        key, top, created, size, seconds = step
        at = _index(top, len(parents), "a step's stack")
        named += parents[at][2] if at >= 0 else 0
        if named > _MOST_NAMED:
            raise CacheInvalid(f"the steps of the cache have more than {_MOST_NAMED} layers between them")
        stack: list[DiffID] = []
        while at >= 0:
            diff_id, at, _ = parents[at]
            stack.append(diff_id)
        found.append(
            OwnRecord(
                key=_digest(key),
                stack=tuple(reversed(stack)),
                created=_number(created),
                bytes=int(_number(size)),
                seconds=_number(seconds),
            )
        )
    return tuple(found)


# --- reading -----------------------------------------------------------------------------------


def parse(raw: bytes) -> CacheConfig:
    """Raises CacheInvalid."""
    body = _document(raw)
    if not isinstance(body, dict):
        raise CacheInvalid("the cache's config is no JSON object")
    layers = tuple(_layer(item) for item in _list(body.get("layers"), "layers"))
    records = tuple(_record(item) for item in _list(body.get("records"), "records"))
    return checked(CacheConfig(layers=layers, records=records, own=own_from_json(body.get(OWN))))


def parse_inline(raw: bytes, blobs: Sequence[tuple[Digest, DiffID]], own: object = None) -> CacheConfig:
    """The records that an image's config carries; `blobs` are its layers, each on top of the one before. Raises
    CacheInvalid."""
    records = tuple(_record(item) for item in _list(_document(raw), "records")) if raw else ()
    layers = tuple(
        CacheLayer(blob=blob, parent=position - 1, diff_id=diff_id)
        for position, (blob, diff_id) in enumerate(blobs)
    )
    return checked(CacheConfig(layers=layers, records=records, own=own_from_json(own)))


def checked(config: CacheConfig) -> CacheConfig:
    """The same. Raises CacheInvalid where an index leads nowhere or in a circle."""
    layers, records = config.layers, config.records
    depths: dict[int, int] = {-1: 0}
    for start in range(len(layers)):
        path, at = [], start
        while at not in depths:
            if not -1 <= at < len(layers):
                raise CacheInvalid(f"a layer of the cache stands on layer {at}, which there is not")
            depths[at] = _DEEPEST + 1  # while it is looked at: coming back to it is a circle
            path.append(at)
            at = layers[at].parent
        depth = depths[at]
        for at in reversed(path):
            depth += 1
            if depth > _DEEPEST:
                raise CacheInvalid("layers of the cache stand on one another in a circle")
            depths[at] = depth
    for record in records:
        for at in (*(top for top, _ in record.layers), *(at for stack, _ in record.chains for at in stack)):
            if not 0 <= at < len(layers):
                raise CacheInvalid(f"a record of the cache has layer {at}, which there is not")
        for links in record.inputs:
            if not links:
                raise CacheInvalid("a record of the cache has an input without a record")
            for link in links:
                if not 0 <= link.record < len(records):
                    raise CacheInvalid(
                        f"a record of the cache leads to record {link.record}, which there is not"
                    )
    _no_circles(records)
    return config


def _no_circles(records: Sequence[CacheRecord]) -> None:
    done: set[int] = set()
    for start in range(len(records)):
        open_: set[int] = set()
        stack = [(start, False)]
        while stack:
            at, left = stack.pop()
            if left:
                open_.discard(at)
                done.add(at)
            elif at in open_:
                raise CacheInvalid("records of the cache lead to one another in a circle")
            elif at not in done:
                open_.add(at)
                stack.append((at, True))
                stack.extend((link.record, False) for links in records[at].inputs for link in links)


def _document(raw: bytes) -> object:
    if len(raw) > MAX_SIZE:
        raise CacheInvalid(f"the cache's config has {len(raw)} bytes; at most {MAX_SIZE} are read")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CacheInvalid(f"the cache's config is not JSON: {error}") from error


def _layer(item: object) -> CacheLayer:
    if not isinstance(item, dict):
        raise CacheInvalid("a layer of the cache is no JSON object")
    parent = item.get("parent", 0)  # as Go reads what is left out
    if isinstance(parent, bool) or not isinstance(parent, int):
        raise CacheInvalid("a layer of the cache has a parent that is no number")
    notes = item.get("annotations")
    notes = notes if isinstance(notes, dict) else {}
    size = notes.get("size", 0)
    return CacheLayer(
        blob=Digest.parse(_digest(item.get("blob"))),
        parent=parent,
        media_type=str(notes.get("mediaType", ""))[:200],
        diff_id=_diff_id(notes["diffID"]) if notes.get("diffID") else None,
        size=int(_number(size)),
        created=str(notes.get("createdAt", ""))[:40],
    )


def _record(item: object) -> CacheRecord:
    if not isinstance(item, dict):
        raise CacheInvalid("a record of the cache is no JSON object")
    inputs = tuple(
        tuple(_link(link) for link in _list(links, "links")) for links in _list(item.get("inputs"), "inputs")
    )
    layers, chains = [], []
    for result in _list(item.get("layers"), "results"):
        if not isinstance(result, dict):
            raise CacheInvalid("a result of the cache is no JSON object")
        layers.append((_whole(result.get("layer", 0)), str(result.get("createdAt", ""))[:40]))
    for result in _list(item.get("chains"), "chains"):
        if not isinstance(result, dict):
            raise CacheInvalid("a chain of the cache is no JSON object")
        stack = tuple(_whole(at) for at in _list(result.get("layers"), "chain"))
        if len(stack) > _DEEPEST:
            raise CacheInvalid(f"a chain of the cache has more than {_DEEPEST} layers")
        chains.append((stack, str(result.get("createdAt", ""))[:40]))
    digest = item.get("digest")
    if not isinstance(digest, str) or len(digest) > 200:
        raise CacheInvalid("a record of the cache has no digest")
    return CacheRecord(digest=digest, inputs=inputs, layers=tuple(layers), chains=tuple(chains))


def _link(item: object) -> RecordLink:
    if not isinstance(item, dict):
        raise CacheInvalid("a link of the cache is no JSON object")
    selector = item.get("selector", "")
    if not isinstance(selector, str) or len(selector) > 200:
        raise CacheInvalid("a link of the cache has a selector that is no digest")
    return RecordLink(_whole(item.get("link", 0)), selector)


def _list(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MOST:
        raise CacheInvalid(f"the {what} of the cache are no list, or more than {_MOST}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CacheInvalid("an index in the cache is no whole number")
    return value


def _index(value: object, below: int, what: str) -> int:
    number = _whole(value)
    if not -1 <= number < below:
        raise CacheInvalid(f"{what} in the cache is {number}, which there is not")
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        raise CacheInvalid("a number in the cache is none that can be")
    return float(value)


def _digest(value: object) -> str:
    if not isinstance(value, str):
        raise CacheInvalid("a digest in the cache is no text")
    try:
        return str(Digest.parse(value))
    except Invalid as error:
        raise CacheInvalid(f"a digest in the cache is none: {error}") from error


def _diff_id(value: object) -> DiffID:
    return DiffID.parse(_digest(value))
