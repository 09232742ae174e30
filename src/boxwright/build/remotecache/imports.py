"""Records of other places, asked where our own records have no answer (`solver.Elsewhere`), and the layers that they
name.

A hit moves a config, never a layer: a tree is known before its layers are here, and `bring` fetches those that a later
step really reads. A layer is trusted for its digest alone: the blob must be what the cache says, and inflate to the
diff ID of the record; one that does not is *lost*, no record that names it is used again, and the build goes on from
before them (`solver.LayersLost`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from boxwright.build.graph import Selection, Tree, Vertex
from boxwright.build.progress import Emit, StepDone, StepFailure, StepStarted, StepStatus
from boxwright.build.remotecache.keys import KnownKeys
from boxwright.build.remotecache.options import CachePlace
from boxwright.build.remotecache.places import CREATED, DIFF_ID, CacheCorrupt, CacheSource, LoadedCache
from boxwright.build.remotecache.records import FoundStack, Matcher
from boxwright.errors import BoxwrightError
from boxwright.image.steps import Hit
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.build.remotecache.config import OwnRecord
    from boxwright.content.lease import Lease
    from boxwright.layer.store import LayerStore
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.platform import Platform

Told = Callable[[str, int, int], None]
_JOBS = 4  # layers that are fetched at a time


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """A place with what reads it."""

    place: CachePlace
    open: Callable[[], CacheSource]


class Imports:
    """All places of one build."""

    def __init__(self, places: Sequence[ReadPlace], emit: Emit) -> None:
        self._places = places
        self._emit = emit
        self._own: dict[str, OwnRecord] = {}
        self._matchers: list[Matcher] = []
        self.selections: Callable[[], Mapping[str, Selection | None]] = dict  # of the build's solver
        self._keys = KnownKeys(lambda: self.selections())
        self._blobs: dict[DiffID, list[tuple[Descriptor, CacheSource]]] = {}
        self._sources: dict[Digest, tuple[Descriptor, CacheSource]] = {}
        self._lost: set[DiffID] = set()
        self._lock = threading.Lock()

    # --- what they hold ------------------------------------------------------------------------

    def load(self, platforms: Sequence[Platform]) -> None:
        """Read every place, all at once; one that cannot be read is told of and left out."""
        found: dict[int, tuple[CacheSource, Sequence[LoadedCache]]] = {}

        def read(number: int) -> None:
            if (loaded := self._read(self._places[number], platforms)) is not None:
                found[number] = loaded

        threads = [
            threading.Thread(target=read, args=(number,), name=f"cache {number}", daemon=True)
            for number in range(1, len(self._places))
        ]
        for thread in threads:
            thread.start()
        read(0)
        for thread in threads:
            thread.join()
        for number in sorted(found):
            for loaded in found[number][1]:
                self._take(loaded, found[number][0])

    def _read(
        self, place: ReadPlace, platforms: Sequence[Platform]
    ) -> tuple[CacheSource, Sequence[LoadedCache]] | None:
        step = f"importing cache manifest from {place.place.shown}"
        self._emit(StepStarted(step, step))
        began = time.monotonic()
        try:
            source = place.open()
            loaded = source.load(platforms)
        except BoxwrightError as error:
            self._emit(StepFailure(step, str(error)))
            return None
        if not loaded:
            self._emit(StepStatus(step, "it has no records", done=True))
        self._emit(StepDone(step, time.monotonic() - began))
        return source, loaded

    def _take(self, loaded: LoadedCache, source: CacheSource) -> None:
        self._matchers.append(Matcher(loaded, self._keys))
        for record in loaded.config.own:
            self._own.setdefault(record.key, record)
        for desc in loaded.blobs.values():
            diff_id = DiffID.parse(desc.annotations[DIFF_ID])
            self._blobs.setdefault(diff_id, []).append((desc, source))
            self._sources.setdefault(desc.digest, (desc, source))

    # --- the solver's question -----------------------------------------------------------------

    def find(
        self, vertex: Vertex, trees: Sequence[Tree], selection: Selection | None, key: str
    ) -> Hit | None:
        """See solver.Elsewhere."""
        record = self._own.get(key)
        if record is None or not self._lost.isdisjoint(record.stack):
            return self._buildkit(vertex, key)
        return Hit(
            key=key,
            layers=record.stack,
            result={},
            bytes=record.bytes,
            seconds=record.seconds,
            created=record.created,
            elsewhere=True,
        )

    @property
    def apart(self) -> bool:
        """See solver.Elsewhere."""
        return any(matcher.knows for matcher in self._matchers)

    def find_apart(self, vertex: Vertex) -> Hit | None:
        """See solver.Elsewhere."""
        return self._usable((matcher.whole(vertex) for matcher in self._matchers), "")

    def _buildkit(self, vertex: Vertex, key: str) -> Hit | None:
        """A record of BuildKit's."""
        return self._usable((matcher.find(vertex) for matcher in self._matchers), key)

    def _usable(self, stacks: Iterable[FoundStack | None], key: str) -> Hit | None:
        """The first whose layers can be had, as a hit."""
        from boxwright.spec.times import unix_seconds

        for found in stacks:
            if found is not None and self._lost.isdisjoint(found.layers):
                created = unix_seconds(found.created) or 0  # Go's zero time is in the year 1
                return Hit(
                    key=key,
                    layers=found.layers,
                    result={},
                    bytes=0,
                    seconds=0.0,
                    created=created if created > 0 else time.time(),
                    elsewhere=True,
                )
        return None

    # --- layers --------------------------------------------------------------------------------

    def named(self, layers: Iterable[DiffID]) -> frozenset[DiffID]:
        """Those of these layers that a record of another place names."""
        wanted = frozenset(layers)
        known = {diff_id for record in self._own.values() for diff_id in record.stack}
        return frozenset(wanted & (known | self._blobs.keys()))

    def forget(self, layers: Iterable[DiffID]) -> None:
        """Use no record any more that names one of these."""
        with self._lock:
            self._lost.update(layers)

    def descriptor(self, diff_id: DiffID) -> Descriptor | None:
        """A blob of the layer, where there is one."""
        found = self._blobs.get(diff_id) if diff_id not in self._lost else None
        return found[0][0] if found else None

    def created(self, diff_id: DiffID) -> str:
        """When a layer was made (RFC 3339); '' where no place says."""
        desc = self.descriptor(diff_id)
        return desc.annotations.get(CREATED, "") if desc is not None else ""

    def blob(self, digest: Digest) -> Descriptor | None:
        """A blob as a place describes it; None when none has it."""
        found = self._sources.get(digest)
        return found[0] if found is not None else None

    def open(self, desc: Descriptor) -> BinaryIO:
        """See content.store.Fetcher."""
        return self._sources[desc.digest][1].open(desc)

    def origins(self, desc: Descriptor) -> Sequence[str]:
        """See content.store.Originated."""
        return self._sources[desc.digest][1].origins(desc)

    def bring(self, missing: Sequence[DiffID], layers: LayerStore, lease: Lease, told: Told) -> list[DiffID]:
        """Fetch layers into the store; those that no place can give are returned. Raises DiskFull."""
        from boxwright.content.parallel import in_parallel

        wanted = [d for d in missing if d in self._blobs and d not in self._lost]
        with self._lock:  # one step at a time: two often want the same
            in_parallel(
                _JOBS,
                [d for d in wanted if not layers.has(d)],
                lambda d: self._bring(d, layers, lease=lease, told=told),
                stop=threading.Event(),
            )
        return [d for d in missing if not layers.has(d)]

    def _bring(self, diff_id: DiffID, layers: LayerStore, lease: Lease, told: Told) -> None:
        from boxwright.files.disk import DiskFull
        from boxwright.layer.blobs import ingest_blob

        for desc, source in self._blobs[diff_id]:
            lease.hold("blob", desc.digest)
            try:
                with source.open(desc) as body:
                    told(str(desc.digest), 0, desc.size)
                    layer = ingest_blob(layers, body, desc)
                if layer.diff_id != diff_id:
                    raise CacheCorrupt(f"{desc.digest} is {layer.diff_id}, not {diff_id}")
            except DiskFull:
                raise
            except BoxwrightError as error:
                told(f"{desc.digest} of the cache cannot be used: {error}", 1, 1)
                continue
            told(str(desc.digest), desc.size, desc.size)
            if origins := source.origins(desc):
                layers.note_origin([desc.digest], origins[0])
            return
