"""From a solved build to a cache: which records and layers it holds, and the blobs of these layers.

``mode=max`` holds the layers of every step, ``min`` those of the results. Both hold the records of every step: where
the layers of a step are not in the cache, its record still gives the names that the keys of later steps are made of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from boxwright.build.remotecache.config import CacheConfig, CacheLayer, CacheRecord, OwnRecord
from boxwright.build.remotecache.keys import KnownKeys
from boxwright.build.remotecache.options import CachePlace
from boxwright.build.remotecache.places import CREATED, DIFF_ID
from boxwright.build.remotecache.records import RecordWriter, SolvedStep
from boxwright.spec.compression import EXPORTED
from boxwright.spec.digest import DiffID
from boxwright.spec.times import rfc3339
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.build.graph import Tree, Vertex
    from boxwright.build.remotecache.imports import Imports
    from boxwright.build.solver import Solver
    from boxwright.content.lease import Lease
    from boxwright.image.services import Services
    from boxwright.image.steps import StepCache
    from boxwright.spec.descriptor import Descriptor

_JOBS = 2  # layers that are compressed at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedRecords:
    """What a build yielded, as a cache tells it: our records, the stacks of the results and of every step, and when
    each layer was made (RFC 3339)."""

    own: tuple[OwnRecord, ...]
    results: tuple[tuple[DiffID, ...], ...]
    steps: tuple[SolvedStep, ...]
    created: Mapping[DiffID, str] = field(default_factory=dict)

    def stacks(self, mode: str) -> tuple[tuple[DiffID, ...], ...]:
        """Those whose layers a cache of this mode holds."""
        held = {diff_id for stack in self.results for diff_id in stack}
        apart = [
            step.added for step in self.steps if step.added and (mode == "max" or held.issuperset(step.added))
        ]
        whole = [step.stack for step in self.steps] if mode == "max" else []
        return (*self.results, *whole, *apart)

    def inline(self) -> tuple[CacheRecord, ...]:
        """The records as the only result's image carries them: layers by their place in it."""
        image = self.results[0]
        at = {diff_id: number for number, diff_id in enumerate(image)}

        def place(stack: Sequence[DiffID], created: str) -> dict[str, tuple[Any, ...]]:
            if tuple(stack) == image[: len(stack)]:
                return {"layers": ((len(stack) - 1, created),)}
            if all(diff_id in at for diff_id in stack):
                return {"chains": ((tuple(at[diff_id] for diff_id in stack), created),)}
            return {}

        return self.records(place)

    def records(
        self, place: Callable[[Sequence[DiffID], str], Mapping[str, tuple[Any, ...]]]
    ) -> tuple[CacheRecord, ...]:
        """BuildKit's records of the steps; see RecordWriter."""
        writer = RecordWriter(place)
        for step in self.steps:
            writer.add(step)
        return tuple(writer.records)


def collect(solver: Solver, targets: Sequence[Vertex], cache: StepCache) -> SolvedRecords:
    """Look through a solved build."""
    own: list[OwnRecord] = []
    steps: list[SolvedStep] = []
    created: dict[DiffID, str] = {}
    known = KnownKeys(solver.selections)
    for report in solver.reports(targets):
        vertex, tree = report.vertex, report.tree
        key_there = known.of(vertex)
        if vertex.settled is not None or report.passed:
            steps.append(SolvedStep(vertex=vertex, key=key_there, stack=()))
            continue
        base = solver.report(vertex.inputs[0]) if vertex.op.independent else None
        below = len(base.tree.layers) if base is not None and not base.passed else None
        steps.append(
            SolvedStep(
                vertex=vertex,
                key=key_there,
                stack=tree.layers,
                added=tree.layers[below:] if below is not None else (),
                created=tree.created,
            )
        )
        for key in solver.keys(vertex):
            hit = report.found or cache.find(key)
            if hit is None:
                continue
            if tree.layers:
                created.setdefault(tree.layers[-1], rfc3339(hit.created))
            own.append(
                OwnRecord(
                    key=key, stack=hit.layers, created=hit.created, bytes=hit.bytes, seconds=hit.seconds
                )
            )
    return SolvedRecords(
        own=tuple(own),
        results=_trees(solver.report(t).tree for t in targets),
        steps=tuple(steps),
        created=created,
    )


def _trees(trees: Iterable[Tree]) -> tuple[tuple[DiffID, ...], ...]:
    return tuple(tree.layers for tree in trees)


class CacheBlobs:
    """The layers of one build as blobs for one place. A blob that the store has already is used as it is, compressed or
    not, unless the place forces its own compression. A layer that the store lacks is taken from the cache that has
    it."""

    def __init__(self, services: Services, lease: Lease, imports: Imports | None, place: CachePlace) -> None:
        self._services, self._lease, self._imports = services, lease, imports
        self._kind = EXPORTED[place.options.get("compression", "gzip")]
        self._level = place.number("compression-level", None)
        self._force = place.flag("force-compression")

    def descriptors(self, layers: Sequence[DiffID], created: Mapping[DiffID, str]) -> list[Descriptor]:
        """A blob of each layer, annotated. Raises LayerMissing, DiskFull."""
        from boxwright.content.parallel import in_parallel

        found: dict[DiffID, Descriptor] = {}

        def one(diff_id: DiffID) -> None:
            desc = self._descriptor(diff_id)
            made = created.get(diff_id) or desc.annotations.get(CREATED, "")
            notes = {DIFF_ID: str(diff_id), **({CREATED: made} if made else {})}
            found[diff_id] = replace(desc, annotations=notes)

        in_parallel(_JOBS, layers, one, stop=threading.Event())
        return [found[diff_id] for diff_id in layers]

    def _descriptor(self, diff_id: DiffID) -> Descriptor:
        from boxwright.layer.compress import compress_layer, known_blobs

        layers, store = self._services.layers, self._services.store
        if not layers.has(diff_id) and self._imports is not None:
            elsewhere = self._imports.descriptor(diff_id)
            if elsewhere is not None:
                return elsewhere
        layer = layers.get(diff_id)
        known = (
            known_blobs(layers, layer, kind=self._kind, level=self._level)
            if self._force
            else [desc for desc, _ in layers.blobs(diff_id)]
        )
        for desc in known:
            self._lease.hold("blob", desc.digest)
            with store.committing():
                if store.size(desc.digest) == desc.size:
                    return desc
        desc = compress_layer(layers=layers, layer=layer, store=store, kind=self._kind, level=self._level)
        self._lease.hold("blob", desc.digest)
        return desc

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher."""
        from boxwright.image.target import LocalTarget

        diff_id = DiffID.parse(desc.annotations[DIFF_ID])
        if self._imports is not None and not self._services.layers.has(diff_id):
            return self._imports.open(desc)
        return LocalTarget(self._services.images_store, self._lease).open(desc)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated."""
        known = self._services.layers.origins(desc.digest)
        if (
            self._imports is not None
            and self._imports.descriptor(DiffID.parse(desc.annotations[DIFF_ID])) == desc
        ):
            return (*known, *self._imports.origins(desc))
        return known


def arrange(
    solved: SolvedRecords, stacks: Sequence[Sequence[DiffID]], blobs: Mapping[DiffID, Descriptor]
) -> CacheConfig:
    """The config: every layer of the stacks on its parent, BuildKit's records and ours."""
    nodes: dict[tuple[int, DiffID], int] = {}
    for stack in stacks:
        top = -1
        for diff_id in stack:
            top = nodes.setdefault((top, diff_id), len(nodes))
    layers = [_layer(blobs[diff_id], diff_id, parent) for parent, diff_id in nodes]

    def place(stack: Sequence[DiffID], created: str) -> dict[str, tuple[Any, ...]]:
        top = -1
        for diff_id in stack:
            if (top, diff_id) not in nodes:
                return {}
            top = nodes[top, diff_id]
        return {"layers": ((top, created),)}

    return CacheConfig(layers=tuple(layers), records=solved.records(place), own=solved.own)


def _layer(desc: Descriptor, diff_id: DiffID, parent: int) -> CacheLayer:
    return CacheLayer(
        blob=desc.digest,
        parent=parent,
        media_type=desc.media_type,
        diff_id=diff_id,
        size=desc.size,
        created=desc.annotations.get(CREATED, ""),
    )
