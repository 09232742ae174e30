"""BuildKit's records of a build, both ways: which of them a step matches, and those that we write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from boxwright.build.graph import Vertex
from boxwright.build.remotecache.config import CacheRecord, RecordLink
from boxwright.build.remotecache.keys import KeyInput, KnownKeys, StepKey
from boxwright.build.remotecache.places import LoadedCache
from boxwright.spec.digest import DiffID
from boxwright.spec.values import dataclass

_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FoundStack:
    """Layers that a record names, and when they were made (RFC 3339)."""

    layers: tuple[DiffID, ...]
    created: str


class Matcher:
    """Finds the steps of one build among the records of one config."""

    def __init__(self, loaded: LoadedCache, keys: KnownKeys) -> None:
        self._loaded, self._keys = loaded, keys
        self._named: dict[str, list[int]] = {}
        for number, record in enumerate(loaded.config.records):
            self._named.setdefault(record.digest, []).append(number)
        self._known: dict[str, frozenset[int]] = {}

    @property
    def knows(self) -> bool:
        """Whether there is any record of BuildKit's."""
        return bool(self._named)

    def find(self, vertex: Vertex) -> FoundStack | None:
        """What a record yields for the vertex; of layers that do not depend on their base these alone. The newest of
        several."""
        if not self._named:
            return None
        key = self._keys.of(vertex)
        if key is None or key.merged is None:
            return self._newest(self._matched(vertex) or self._by_content(vertex, key))
        for one in key.merged.inputs:  # and not its base, which may not be settled yet
            if one.number >= 0:
                self._matched(vertex.inputs[one.number])
        return self._newest(self._matching(vertex, key.merged))

    def whole(self, vertex: Vertex) -> FoundStack | None:
        """The whole stack that a record yields for the vertex. The records of its inputs need not yield any: a cache of
        ``mode=min`` has the layers of the result, and of other steps the records alone."""
        return self._newest(self._matched(vertex)) if self._named else None

    def _by_content(self, vertex: Vertex, key: StepKey | None) -> frozenset[int]:
        """The records of a vertex that had none while it was not known what it reads of its inputs. What stands on it
        is asked again."""
        if key is None or vertex.fresh or not any(one.number >= 0 and one.contents for one in key.inputs):
            return _NONE
        found = self._matching(vertex, key)
        if found:
            self._known = {
                **{known: numbers for known, numbers in self._known.items() if numbers},
                vertex.id: found,
            }
        return found

    def _matched(self, vertex: Vertex) -> frozenset[int]:
        """The records of a vertex. Those of its inputs are found first, without recursion: a build may have many steps.
        A step whose reads of the context are not known yet has no record, nor have the steps on top of it; they are
        asked again later."""
        known, waiting = self._known, [vertex]  # another thread may put another in its place
        while waiting:
            at = waiting[-1]
            below = [one for one in at.inputs if one.id not in known]
            if below:
                waiting += below
                continue
            waiting.pop()
            if at.id not in known:
                if self._keys.waits(at):
                    return _NONE
                key = self._keys.of(at) if not at.fresh else None  # what is to be made anew is another one
                known[at.id] = self._matching(at, key) if key is not None else _NONE
        return known[vertex.id]

    def _matching(self, vertex: Vertex, key: StepKey) -> frozenset[int]:
        wanted = [self._sources(vertex, one) for one in key.inputs]
        if key.merged is not None:
            wanted.append(frozenset((number, "") for number in self._matching(vertex, key.merged)))
        records = self._loaded.config.records
        return frozenset(
            number
            for number in self._named.get(key.digest, ())
            if len(records[number].inputs) == len(wanted)
            and all(
                any((link.record, link.selector) in sources for link in links)
                for links, sources in zip(records[number].inputs, wanted)
            )
        )

    def _sources(self, vertex: Vertex, one: KeyInput) -> frozenset[tuple[int, str]]:
        found = {(number, "") for content in one.contents for number in self._roots(content)}
        found |= {(number, one.selector) for number in self._roots(one.made)}
        if one.number >= 0:
            known = self._known.get(vertex.inputs[one.number].id, _NONE)
            found |= {(number, one.selector) for number in known}
        return frozenset(found)

    def _roots(self, digest: str) -> Iterator[int]:
        """The records of this name that stand on nothing."""
        records = self._loaded.config.records
        return (number for number in self._named.get(digest, ()) if not records[number].inputs)

    def _newest(self, numbers: frozenset[int]) -> FoundStack | None:
        config, best = self._loaded.config, None
        for number in numbers:
            record = config.records[number]
            stacks = [(config.stack(top), created) for top, created in record.layers]
            for stack, created in (*stacks, *record.chains):
                layers = self._loaded.diff_ids(stack)
                if layers and (best is None or created > best.created):
                    best = FoundStack(layers, created)
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedStep:
    """A step with what it yielded: its stack, the layers of its own where they do not depend on its base, and when it
    was made (RFC 3339)."""

    vertex: Vertex
    key: StepKey | None
    stack: tuple[DiffID, ...]
    added: tuple[DiffID, ...] = ()
    created: str = ""


class RecordWriter:
    """Makes records of solved steps. `place` says where in the cache a stack of layers is, as the fields `layers` or
    `chains` of a record."""

    def __init__(self, place: Callable[[Sequence[DiffID], str], Mapping[str, tuple[object, ...]]]) -> None:
        self._place = place
        self.records: list[CacheRecord] = []
        self._numbers: dict[tuple[str, tuple[tuple[RecordLink, ...], ...]], int] = {}
        self._of: dict[str, int] = {}

    def add(self, step: SolvedStep) -> None:
        """Note a step after those that it stands on."""
        vertex, key = step.vertex, step.key
        if key is None:
            return
        used = (*key.inputs, *(key.merged.inputs if key.merged is not None else ()))
        if not all(one.contents or one.made or vertex.inputs[one.number].id in self._of for one in used):
            return
        inputs = [self._input(vertex, one) for one in key.inputs]
        if key.merged is not None:
            above = [self._input(vertex, one) for one in key.merged.inputs]
            number = self._number(key.merged.digest, above, stack=step.added, created=step.created)
            inputs.append((RecordLink(number),))
        self._of[vertex.id] = self._number(key.digest, inputs, stack=step.stack, created=step.created)

    def _input(self, vertex: Vertex, one: KeyInput) -> tuple[RecordLink, ...]:
        links = [RecordLink(self._number(content, [], stack=(), created="")) for content in one.contents]
        if one.made:
            links.append(RecordLink(self._number(one.made, [], stack=(), created=""), one.selector))
        known = self._of.get(vertex.inputs[one.number].id) if one.number >= 0 else None
        if known is not None:
            links.append(RecordLink(known, one.selector))
        return tuple(links)

    def _number(
        self,
        digest: str,
        inputs: Sequence[tuple[RecordLink, ...]],
        stack: Sequence[DiffID],
        created: str,
    ) -> int:
        identity = digest, tuple(inputs)
        known = self._numbers.get(identity)
        if known is None:
            known = self._numbers[identity] = len(self.records)
            where = self._place(stack, created) if inputs and stack else {}
            self.records.append(CacheRecord(digest=digest, inputs=tuple(inputs), **where))  # type: ignore[arg-type]
        return known
