"""The caches of one build: read before it, asked by its solver, written after it. What the builder knows of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.build.bases import BaseNotFound
from boxwright.build.progress import BuildWarning, Emit, StepDone, StepFailure, StepStarted, StepStatus
from boxwright.build.remotecache.imports import Imports, ReadPlace
from boxwright.build.remotecache.opening import STEPS, left_out, open_sink, open_source
from boxwright.build.remotecache.options import CachePlace
from boxwright.build.solver import LayersLost
from boxwright.errors import BoxwrightError
from boxwright.spec.digest import DiffID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.bases import EngineBases, Registries
    from boxwright.build.graph import Vertex
    from boxwright.build.plan import Plan
    from boxwright.build.remotecache.exports import SolvedRecords
    from boxwright.build.request import BuildRequest
    from boxwright.build.solver import Solver
    from boxwright.content.lease import Lease
    from boxwright.image.services import Services
    from boxwright.image.steps import StepCache
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.platform import Platform


class Caches:
    """Made by `of`; `lease` is the build's."""

    def __init__(
        self,
        services: Services,
        registries: Registries,
        *,
        sources: Sequence[CachePlace],
        sinks: Sequence[CachePlace],
        emit: Emit,
        lease: Callable[[], Lease],
    ) -> None:
        self._services, self._registries, self._emit, self._lease = services, registries, emit, lease
        self._sinks = sinks
        places = [ReadPlace(place, self._opener(place)) for place in sources]
        self.imports = Imports(places, emit) if places else None
        self.inline = any(place.type == "inline" for place in sinks)

    @classmethod
    def of(
        cls,
        request: BuildRequest,
        services: Services,
        registries: Registries,
        *,
        emit: Emit,
        lease: Callable[[], Lease],
    ) -> Caches:
        """The caches that a request names. What is left out is told of."""
        environ = services.settings.environ
        sources = [place.completed(environ) for place in request.cache_from]
        sinks = [place.completed(environ) for place in request.cache_to]
        for place in (*sources, *sinks):
            place.require()
        if request.inline_cache:
            sinks.append(CachePlace(type="inline"))
        for place in (*sources, *sinks):
            if why := left_out(place):
                emit(BuildWarning(rule="", message=why))
        return cls(
            services,
            registries,
            sources=[place for place in sources if not left_out(place)],
            sinks=[place for place in sinks if not left_out(place)],
            emit=emit,
            lease=lease,
        )

    def _opener(self, place: CachePlace) -> Callable[[], Any]:
        return lambda: open_source(place, self._registries, self._services.settings)

    def load(self, platforms: Sequence[Platform]) -> None:
        """Read the places of `--cache-from`."""
        if self.imports is not None:
            self.imports.load(platforms)

    def fetch(
        self, missing: Sequence[DiffID], told: Callable[[str, int, int], None], bases: EngineBases
    ) -> None:
        """Bring layers: those that a place has from there, the others from their base. Raises LayersLost where a record
        promised layers that cannot be had, and what a pull raises."""
        imports = self.imports
        if imports is None:
            bases.fetch(missing, told)
            return
        left = imports.bring(missing, self._services.layers, lease=self._lease(), told=told)
        try:
            if left:
                bases.fetch(left, told)
        except BaseNotFound:
            if not (named := imports.named(left)):
                raise
            raise LayersLost(sorted(named)) from None

    def forget(self, lost: LayersLost) -> None:
        """Use no record any more that names these layers, so that the build can be begun again."""
        assert self.imports is not None
        self.imports.forget(lost.layers)
        names = ", ".join(sorted(map(str, lost.layers)))
        self._emit(BuildWarning(rule="", message=f"{lost}: {names}"))

    # --- after the build -----------------------------------------------------------------------

    def carried(
        self, solver: Solver, plans: Sequence[Plan], records: StepCache, *, same_layers: bool
    ) -> Mapping[str, Any]:
        """What an image's config carries of its own cache (``type=inline``). `same_layers`: the image has the layers of
        its steps, so that BuildKit's records, which count them, can be told too."""
        if not self.inline:
            return {}
        import base64

        from boxwright.build.cache import INLINE, OWN_INLINE
        from boxwright.build.remotecache.config import own_to_json
        from boxwright.build.remotecache.exports import collect
        from boxwright.spec.manifest import canonical_json

        solved = collect(solver, [plan.target for plan in plans], records)
        found: dict[str, Any] = {OWN_INLINE: own_to_json(solved.own)}
        if same_layers and len(plans) == 1:
            raw = canonical_json([record.to_json() for record in solved.inline()])
            found[INLINE] = base64.b64encode(raw).decode()
        return found

    def write(self, solver: Solver, targets: Sequence[Vertex], records: StepCache) -> list[Descriptor]:
        """Fill the places of `--cache-to`; the manifests where there are some. Raises what writing raises, unless the
        place is to be done without (``ignore-error=true``)."""
        from boxwright.build.remotecache.exports import collect

        places = [place for place in self._sinks if place.type != "inline"]
        if not places:
            return []
        solved = collect(solver, targets, records)
        found = []
        for place in places:
            step, began = STEPS[place.type], time.monotonic()
            if len(places) > 1:
                step += f" {place.shown}"
            self._emit(StepStarted(step, step))
            try:
                written = self._write(place, solved, step)
            except BoxwrightError as error:
                self._emit(StepFailure(step, str(error)))
                if not place.flag("ignore-error"):
                    raise
                self._emit(BuildWarning(rule="", message=f"{step}: {error}"))
                continue
            self._emit(StepDone(step, time.monotonic() - began))
            if written is not None:
                found.append(written)
        return found

    def _write(self, place: CachePlace, solved: SolvedRecords, step: str) -> Descriptor | None:
        from boxwright.build.remotecache.exports import CacheBlobs, arrange

        stacks = solved.stacks(place.mode)
        layers = list(dict.fromkeys(diff_id for stack in stacks for diff_id in stack))
        if not layers:
            self._emit(StepStatus(step, "skipping cache export for empty result", done=True))
            return None
        blobs = CacheBlobs(self._services, self._lease(), imports=self.imports, place=place)
        self._emit(StepStatus(step, "preparing build cache for export"))
        made = blobs.descriptors(layers, solved.created)
        self._emit(StepStatus(step, "preparing build cache for export", done=True))
        config = arrange(solved, stacks, dict(zip(layers, made)))
        sink = open_sink(place, self._registries, self._services.settings)
        return sink.write(
            config, made, source=blobs, told=lambda what: self._emit(StepStatus(step, what, done=True))
        )
