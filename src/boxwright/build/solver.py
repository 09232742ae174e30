"""The solver: two memoised, mutually recursive questions about a vertex, its key and its result.

A vertex's key is made of its operation and of what its inputs *are* (the names of their stacks of layers, or
the content that would be read of them). So an input's result is asked first; records answer that without
running anything, pulling a base or mounting a tree. First the whole graph is settled from records in one pass
over the database; only what is left gets threads, one a vertex. The semaphore is held around `run` alone:
waiting holds no slot, and one job cannot deadlock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from boxwright.build.cache import apart_keys, apart_open_key, ingredients, open_key, step_keys
from boxwright.build.graph import Outcome, Selection, Tree, Vertex, walk
from boxwright.build.progress import Emit, StepCached, StepDone, StepFailure, StepMissed, StepStarted
from boxwright.errors import BoxwrightError, Cancelled, Invalid
from boxwright.image.steps import Hit, StepCache, StepRecord
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Protocol

    from boxwright.spec.digest import DiffID
else:
    Protocol = object  # what it is for is checked before it runs

_MOST_LAYERS = 1000  # of a stack


class Execution(Protocol):
    """One vertex's operation, with what it needs to run."""

    def select(self, inputs: Sequence[Tree]) -> Selection | None:
        """What would be read of the content-keyed input; None when the operation reads ``none``."""

    def run(self, inputs: Sequence[Tree], selection: Selection | None) -> Outcome:
        """Do it. Runs at most once per key and process; must be safe to repeat after a kill."""


class TooManyLayers(Invalid):
    """A stage stands on more layers than an image can have here. What is kept of each step names all of its layers."""


class LayersLost(Cancelled):
    """Layers of records of another place cannot be had, or are not what it said: the build is begun again without
    those records. Never seen outside a build."""

    def __init__(self, layers: Sequence[DiffID]) -> None:
        super().__init__("a layer of the cache cannot be used, the step is run instead")
        self.layers = frozenset(layers)


class Elsewhere(Protocol):
    """Records of other places than the database. `apart`: whether `find_apart` can know anything."""

    @property
    def apart(self) -> bool: ...

    def find(
        self, vertex: Vertex, trees: Sequence[Tree], selection: Selection | None, key: str
    ) -> Hit | None:
        """What another place has under the key, or knows of the vertex by other means (`Hit.elsewhere`)."""

    def find_apart(self, vertex: Vertex) -> Hit | None:
        """What another place knows of the vertex without what its inputs came to: the whole stack, under no key."""


class SolverHost(Protocol):
    """What the solver needs of the build around it."""

    cancel: threading.Event

    def execution(self, vertex: Vertex) -> Execution:
        """What looks and runs for this vertex; its clock starts now."""

    def hold(self, layers: Iterable[DiffID]) -> None:
        """Keep these layers from the collector until the build ends."""

    def exclusive(self, key: str) -> AbstractContextManager[bool]:
        """Be the only one on this host to run the step of this key."""

    def stamp(self, seconds: float) -> str:
        """A time as configs write it (RFC 3339), or SOURCE_DATE_EPOCH."""

    def leave_thread(self) -> None:
        """This thread is done with the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How one step went. `reason` says why it was a hit or a miss, when that was asked for."""

    vertex: Vertex
    tree: Tree
    cached: bool
    seconds: float
    keys: tuple[str, ...] = ()  # rows that were used
    reason: str = ""
    found: Hit | None = None  # the record of another place
    passed: bool = False  # later steps were found without it: its result is not known, `tree` is empty


class _Slot:
    __slots__ = ("error", "event", "report")

    def __init__(self) -> None:
        self.event = threading.Event()
        self.report: StepReport | None = None
        self.error: BaseException | None = None


Explain = Callable[[Vertex, Sequence[Tree], Selection | None, Hit | None], str]


class Solver:
    """Solves one build. `explain` is called for each step when reasons are wanted; `elsewhere` is asked what the
    database does not know."""

    def __init__(
        self,
        cache: StepCache,
        host: SolverHost,
        emit: Emit,
        *,
        jobs: int = 0,
        explain: Explain | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        import os

        self._cache = cache
        self._elsewhere = elsewhere
        self._host = host
        self._emit = emit
        self._explain = explain
        self._slots = threading.BoundedSemaphore(jobs or max(2, os.cpu_count() or 1))
        self._memo: dict[str, _Slot] = {}
        self._selections: dict[str, Selection | None] = {}
        self._lock = threading.Lock()
        self._first_error: BaseException | None = None
        self.failed: Vertex | None = None

    # --- what is asked of it -------------------------------------------------------------------

    def settle(self, targets: Sequence[Vertex]) -> bool:
        """Answer from records what can be answered; whether that was everything. Runs nothing."""
        for vertex in _order(targets):
            if vertex.id not in self._memo and (report := self._recorded(vertex)) is not None:
                self._announce(report)
        apart = self._elsewhere is not None and self._elsewhere.apart
        left = [vertex for vertex in self._needed(targets) if vertex.id not in self._memo]
        if apart or any(self._cache.known(apart_open_key(vertex)) for vertex in left):
            self._settle_apart(targets, self._elsewhere if apart else None)
        return all(target.id in self._memo for target in targets)

    def solve(self, targets: Sequence[Vertex]) -> list[Tree]:
        """The results of the targets. Raises what the first failing step raised; Cancelled."""
        order = _order(targets)
        if not self.settle(targets):
            self._keep_settled(order)
            self._run_rest(targets, order)
        self._touch()
        return [self.report(target).tree for target in targets]

    def report(self, vertex: Vertex) -> StepReport:
        """How a solved vertex went."""
        report = self._memo[vertex.id].report
        assert report is not None
        return report

    def selections(self) -> Mapping[str, Selection | None]:
        """What content-keyed steps read, by their ids: the commit of a repository, the digest of a download."""
        return self._selections

    def reports(self, targets: Sequence[Vertex]) -> list[StepReport]:
        """How everything went that the targets needed, inputs first."""
        return [self.report(vertex) for vertex in _order(targets) if vertex.id in self._memo]

    def keys(self, vertex: Vertex) -> list[str]:
        """The keys of a solved vertex, as far as they are known without reading anything; none on what was passed."""
        known = [self._memo.get(v.id) for v in vertex.inputs]
        if any(slot is None or slot.report is None or slot.report.passed for slot in known):
            return []
        trees = [self.report(v).tree for v in vertex.inputs]
        selection = self._selections.get(vertex.id)
        return (
            step_keys(vertex, trees, selection) if selection or vertex.op.reads in ("none", "input") else []
        )

    def keep_found(self, targets: Sequence[Vertex]) -> None:
        """Records of other places whose layers are here now become our own."""
        apart: Mapping[str, str] = {}
        for report in self.reports(targets):
            vertex, hit = report.vertex, report.found
            if hit is None or not self._cache.present(report.tree.layers):
                continue
            trees = [self.report(v).tree for v in vertex.inputs]
            selection = self._selections.get(vertex.id)
            also = (open_key(vertex, trees),) if vertex.op.reads == "local" else ()
            layers, keys = hit.layers, self.keys(vertex)
            if not keys and any(self.report(v).passed for v in vertex.inputs):
                apart = apart or apart_keys(_order(targets), self._selections)
                keys = [apart[vertex.id]] if vertex.id in apart else []
                also, layers, trees = (apart_open_key(vertex),), report.tree.layers, []
            if not keys:
                continue
            self._cache.add(
                StepRecord(
                    key=keys[-1],
                    lineage=vertex.lineage,
                    kind=vertex.op.kind,
                    name=vertex.name,
                    ingredients=ingredients(vertex, trees, selection),
                    layers=layers,
                    result={},
                    bytes=hit.bytes,
                    seconds=hit.seconds,
                    created=hit.created,
                    last_used=time.time(),
                    uses=1,
                ),
                (*keys[:-1], *also),
            )

    # --- from records --------------------------------------------------------------------------

    def _recorded(self, vertex: Vertex) -> StepReport | None:
        if vertex.settled is not None:
            return StepReport(vertex=vertex, tree=vertex.settled, cached=True, seconds=0.0)
        if vertex.fresh or vertex.op.reads == "remote" or any(v.id not in self._memo for v in vertex.inputs):
            return None
        trees = [self.report(v).tree for v in vertex.inputs]
        selection: Selection | None = None
        also: tuple[str, ...] = ()
        if vertex.op.reads == "local":
            also = (open_key(vertex, trees),)
            if self._elsewhere is None and not self._cache.known(also[0]):
                return None
            selection = self._select(vertex, trees, self._host.execution(vertex))
        hit = self._found(
            vertex=vertex, trees=trees, selection=selection, key=step_keys(vertex, trees, selection)[0]
        )
        return (
            self._hit(vertex=vertex, trees=trees, selection=selection, hit=hit, also=also)
            if hit is not None
            else None
        )

    def _settle_apart(self, targets: Sequence[Vertex], elsewhere: Elsewhere | None) -> None:
        """Ask from the top what is known without what is below, here and in other places: a cache may have the layers
        of a result and not those of the stages that it was copied from. Steps that nothing needs then are passed
        over."""
        order = _order(targets)
        if all(vertex.id in self._memo for vertex in order):
            return
        for vertex in order:
            self._select_apart(vertex)
        keys = apart_keys(order, self._selections)
        for vertex in self._needed(targets):
            if vertex.id in self._memo or vertex.fresh:
                continue
            hit = self._cache.find(keys[vertex.id]) if vertex.id in keys else None
            if hit is None and elsewhere is not None:
                hit = elsewhere.find_apart(vertex)
            if hit is None:
                continue
            report = StepReport(
                vertex=vertex,
                tree=Tree(hit.layers, self._host.stamp(hit.created), hit.bytes),
                cached=True,
                seconds=0.0,
                keys=() if hit.elsewhere else (hit.key, apart_open_key(vertex)),
                reason=self._explain(vertex, (), None, hit) if self._explain else "",
                found=hit if hit.elsewhere else None,
            )
            self._announce(report)
        needed = {vertex.id for vertex in self._needed(targets)}
        for vertex in order:
            if vertex.id not in needed and vertex.id not in self._memo:
                self._announce(StepReport(vertex=vertex, tree=Tree(), cached=True, seconds=0.0, passed=True))

    def _needed(self, targets: Sequence[Vertex]) -> Iterator[Vertex]:
        """From the targets down, each once, and nothing below what is answered when it is come to."""
        seen, waiting = set[str](), list(reversed(targets))
        while waiting:
            vertex = waiting.pop()
            if vertex.id in seen:
                continue
            seen.add(vertex.id)
            yield vertex
            if vertex.id not in self._memo:
                waiting += reversed(vertex.inputs)

    def _select_apart(self, vertex: Vertex) -> None:
        """Look up what a step reads of the context alone. What cannot be found is for the step to tell."""
        known = vertex.id in self._memo or vertex.id in self._selections
        if vertex.op.reads_alone and not known and not vertex.fresh:
            with suppress(BoxwrightError):
                self._select(vertex, (), self._host.execution(vertex))

    def _found(
        self, vertex: Vertex, trees: Sequence[Tree], selection: Selection | None, key: str
    ) -> Hit | None:
        hit = self._cache.find(key)
        if hit is None and self._elsewhere is not None:
            hit = self._elsewhere.find(vertex, trees, selection=selection, key=key)
        return hit

    def _select(self, vertex: Vertex, trees: Sequence[Tree], execution: Execution) -> Selection | None:
        """What a content-keyed step reads; looked up once."""
        if vertex.id not in self._selections:
            self._selections[vertex.id] = execution.select(trees)
        return self._selections[vertex.id]

    def _hit(
        self,
        vertex: Vertex,
        trees: Sequence[Tree],
        selection: Selection | None,
        hit: Hit,
        also: tuple[str, ...] = (),
    ) -> StepReport:
        layers = (*trees[0].layers, *hit.layers) if vertex.op.independent else hit.layers
        tree = Tree(layers, self._host.stamp(hit.created), hit.bytes)
        reason = self._explain(vertex, trees, selection, hit) if self._explain else ""
        return StepReport(
            vertex=vertex,
            tree=tree,
            cached=True,
            seconds=0.0,
            keys=() if hit.elsewhere else (hit.key, *also),
            reason=reason,
            found=hit if hit.elsewhere else None,
        )

    def _announce(self, report: StepReport) -> None:
        slot = self._memo.setdefault(report.vertex.id, _Slot())
        slot.report = report
        slot.event.set()
        if not report.vertex.hidden:
            self._emit(StepStarted(report.vertex.id, report.vertex.name))
            self._emit(StepCached(report.vertex.id, report.reason))

    def _keep_settled(self, order: Sequence[Vertex]) -> None:
        """Hold what was found, then look again: until now the collector could have taken it."""
        found = [
            slot.report
            for v in order
            if (slot := self._memo.get(v.id)) is not None and slot.report is not None
        ]
        recorded = {layer for report in found if report.keys for layer in report.tree.layers}
        self._host.hold([layer for report in found for layer in report.tree.layers])
        if not self._cache.present(recorded):
            for report in found:
                # What stood on it was found without it; that may be gone now.
                if report.passed or (report.keys and not self._cache.present(report.tree.layers)):
                    del self._memo[report.vertex.id]

    def _touch(self) -> None:
        hits = [slot.report for slot in self._memo.values() if slot.report is not None and slot.report.cached]
        used = [(key, report.vertex.lineage) for report in hits for key in report.keys]
        if used:
            self._cache.touch(used)

    # --- by running ----------------------------------------------------------------------------

    def _run_rest(self, targets: Sequence[Vertex], order: Sequence[Vertex]) -> None:
        needed = {vertex.id for vertex in self._needed(targets)}
        rest = [vertex for vertex in order if vertex.id in needed and vertex.id not in self._memo]
        for vertex in rest:
            self._memo[vertex.id] = _Slot()
        started: list[Vertex] = []
        try:
            for vertex in rest:
                threading.Thread(target=self._work, args=(vertex,), name=f"step {vertex.position}").start()
                started.append(vertex)
            self._wait_all(started)
        except BaseException as error:  # noqa: BLE001 - raised below, once the steps have ended
            # Ctrl-C, or no more threads: let the running steps stop and clean up, then go on with the reason.
            self._fail(
                None,
                Cancelled("the build was interrupted") if isinstance(error, KeyboardInterrupt) else error,
            )
            for vertex in rest[len(started) :]:
                self._memo[vertex.id].event.set()
            self._wait_all(started)
        if self._first_error is not None:
            raise self._first_error

    def _wait_all(self, vertices: Sequence[Vertex]) -> None:
        # Not Thread.join: interrupted once, it takes the thread for dead ever after (bpo-45274).
        for vertex in vertices:
            self._memo[vertex.id].event.wait()

    def _work(self, vertex: Vertex) -> None:
        slot = self._memo[vertex.id]
        try:
            slot.report = self._result(vertex)
        except BaseException as error:  # noqa: BLE001 - the thread that waits for the build raises it
            slot.error = error
            self._fail(vertex, error)
        finally:
            self._host.leave_thread()
            slot.event.set()

    def _fail(self, vertex: Vertex | None, error: BaseException) -> None:
        with self._lock:
            first = self._first_error is None
            if first:
                self._first_error, self.failed = error, vertex
        self._host.cancel.set()

    def _wait(self, vertex: Vertex) -> Tree:
        slot = self._memo[vertex.id]
        slot.event.wait()
        if slot.report is None or self._host.cancel.is_set():
            raise Cancelled("the build was cancelled")
        return slot.report.tree

    def _result(self, vertex: Vertex) -> StepReport:
        independent = vertex.op.independent and bool(vertex.inputs)
        # What does not depend on its base need not wait for it.
        trees = [Tree()] if independent else []
        trees += [self._wait(v) for v in vertex.inputs[len(trees) :]]
        visible = not vertex.hidden
        if visible:
            self._emit(StepStarted(vertex.id, vertex.name))
        began = time.monotonic()
        try:
            report = self._find_or_run(vertex, trees)
        except BaseException as error:
            if visible:
                self._emit(StepFailure(vertex.id, str(error), isinstance(error, Cancelled)))
            raise
        if visible:
            seconds = time.monotonic() - began
            self._emit(
                StepCached(vertex.id, report.reason) if report.cached else StepDone(vertex.id, seconds)
            )
        if independent:
            base = self._wait(vertex.inputs[0])
            tree = Tree((*base.layers, *report.tree.layers), report.tree.created, report.tree.bytes)
            report = StepReport(
                vertex=vertex,
                tree=tree,
                cached=report.cached,
                seconds=report.seconds,
                keys=report.keys,
                reason=report.reason,
                found=report.found,
            )
        return report

    def _find_or_run(self, vertex: Vertex, trees: Sequence[Tree]) -> StepReport:
        execution = self._host.execution(vertex)
        op = vertex.op
        if op.reads == "local":
            return self._local(vertex, trees, execution)
        selection = self._select(vertex, trees, execution) if op.reads == "remote" else None
        keys = step_keys(vertex, trees, selection)
        if not vertex.fresh and (
            report := self._held(vertex=vertex, trees=trees, selection=selection, key=keys[0])
        ):
            return report
        if op.reads == "input":
            selection = self._select(vertex, trees, execution)
            keys = step_keys(vertex, trees, selection)
            if not vertex.fresh and (
                report := self._held(vertex=vertex, trees=trees, selection=selection, key=keys[-1])
            ):
                if report.found is None:
                    self._cache.alias(keys[-1], keys[0], vertex.lineage)
                return report
        with self._host.exclusive(keys[-1]):
            if not vertex.fresh and (
                report := self._held(vertex=vertex, trees=trees, selection=selection, key=keys[-1])
            ):
                return report
            return self._run(vertex=vertex, trees=trees, selection=selection, execution=execution)

    def _local(self, vertex: Vertex, trees: Sequence[Tree], execution: Execution) -> StepReport:
        """A step that reads the build context. What surely never ran is run at once: it reads the files anyway, so
        that their digests, and the key, are known when it is done."""
        selection = self._select(vertex, trees, execution)
        also = open_key(vertex, trees)
        with self._host.exclusive(also):
            if not vertex.fresh and (self._elsewhere is not None or self._cache.known(also)):
                key = step_keys(vertex, trees, selection)[0]
                if report := self._held(
                    vertex=vertex, trees=trees, selection=selection, key=key, also=(also,)
                ):
                    return report
            return self._run(
                vertex=vertex, trees=trees, selection=selection, execution=execution, also=(also,)
            )

    def _held(
        self,
        vertex: Vertex,
        trees: Sequence[Tree],
        selection: Selection | None,
        key: str,
        also: tuple[str, ...] = (),
    ) -> StepReport | None:
        """A hit whose layers were held and then seen once more."""
        hit = self._found(vertex=vertex, trees=trees, selection=selection, key=key)
        if hit is None:
            return None
        self._host.hold(hit.layers)
        return (
            self._hit(vertex=vertex, trees=trees, selection=selection, hit=hit, also=also)
            if hit.elsewhere or self._cache.present(hit.layers)
            else None
        )

    def _run(
        self,
        vertex: Vertex,
        trees: Sequence[Tree],
        selection: Selection | None,
        execution: Execution,
        also: tuple[str, ...] = (),
    ) -> StepReport:
        reason = self._explain(vertex, trees, selection, None) if self._explain else ""
        if reason and not vertex.hidden:
            self._emit(StepMissed(vertex.id, reason))
        with self._slots:
            if self._host.cancel.is_set():
                raise Cancelled("the build was cancelled")
            began, at = time.monotonic(), time.time()
            outcome: Outcome = execution.run(trees, selection)
            seconds = time.monotonic() - began
        base = () if vertex.op.independent or not trees else trees[0].layers
        layers = (*base, *outcome.added)
        if len(layers) > _MOST_LAYERS:
            raise TooManyLayers(
                f"the result would have more than {_MOST_LAYERS} layers",
                hint="do more in one RUN or COPY; Docker runs images of 127 layers at most",
            )
        keys = step_keys(vertex, trees, selection)
        record = StepRecord(
            key=keys[-1],
            lineage=vertex.lineage,
            kind=vertex.op.kind,
            name=vertex.name,
            ingredients=ingredients(vertex, trees, selection),
            layers=layers,
            result=outcome.detail,
            bytes=outcome.bytes,
            seconds=seconds,
            created=at,
            last_used=time.time(),
            uses=1,
        )
        self._cache.add(record, (*keys[:-1], *also))
        del record
        if selection is not None:
            selection.forget_files()
        return StepReport(
            vertex=vertex,
            tree=Tree(layers, self._host.stamp(at), outcome.bytes),
            cached=False,
            seconds=seconds,
            keys=(),
            reason=reason,
        )


def _order(targets: Sequence[Vertex]) -> list[Vertex]:
    seen: dict[str, Vertex] = {}
    for target in targets:
        for vertex in walk(target):
            seen.setdefault(vertex.id, vertex)
    return list(seen.values())
