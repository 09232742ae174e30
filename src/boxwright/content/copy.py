"""`copy`: every move of an image between two places (pull, push, save, load, registry to registry) is this function.

Children before parents, the name last, so that a reader of the sink sees either nothing new or all of it.
What the sink has is skipped, what its neighbour has is mounted, what arrived before a failure stays and is
resumed. Nothing is buffered beyond a manifest.
"""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from boxwright.content.store import (
    Fetcher,
    Mounter,
    NamedPusher,
    Originated,
    Referring,
    Resumable,
    Sink,
    Source,
)
from boxwright.content.verify import ContentMismatch, read_verified
from boxwright.errors import Cancelled, Corrupt, NotFound
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import Protocol, cast
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, ManifestInvalid, parse
from boxwright.spec.platform import Platform, choose
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, TypeVar

    T = TypeVar("T")


_DEEPEST = 8  # nested indexes and referrers of referrers; a liar may serve more
_MOST_MANIFESTS = 4096  # of one image; a list of lists could otherwise grow without end
_MOST_BYTES = 64 << 20  # of all manifests of one image: they are held in memory
_READERS = 6  # manifests that are read at a time
_POLL = 0.2  # seconds between looks at a blob that another process is fetching
_PATIENCE = 2.0  # seconds that a failed or interrupted copy waits for its other threads


class Progress(Protocol):
    """What a copy tells its observer. Called from several threads; `done` may repeat for one digest."""

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        """Everything that will be looked at, before the first `started`. May be called again, with more or with
        better sizes (a layer that has to be compressed first has none to speak of)."""
        ...

    def started(self, desc: Descriptor) -> None: ...

    def resumed(self, desc: Descriptor, offset: int) -> None:
        """The first `offset` bytes are at the sink already; fewer than were told before after a broken upload."""
        ...

    def advanced(self, desc: Descriptor, count: int) -> None: ...

    def done(self, desc: Descriptor, how: str) -> None:
        """`how` is 'copied', 'exists' or 'mounted'."""
        ...


class PlatformMissing(NotFound):
    """The index has no manifest for the wanted platform."""


@dataclass(frozen=True, slots=True)
class ContentNode:
    """One manifest or index with its bytes and the nodes below it."""

    desc: Descriptor
    content: Manifest | Index
    children: tuple[ContentNode, ...] = ()

    def walk(self) -> Iterator[ContentNode]:
        """Children before parents."""
        for child in self.children:
            yield from child.walk()
        yield self


def load(
    source: Source, desc: Descriptor, select: Callable[[Index], list[Descriptor]], *, jobs: int = _READERS
) -> ContentNode:
    """Read a manifest tree down to image manifests, level by level, each in parallel; `select` says which entries of
    an index to follow.

    Raises ManifestInvalid for a tree that is too deep, too large or contains itself.
    """
    read: dict[tuple[str, Digest, int], Manifest | Index] = {}
    top = _Place(desc)
    level, count, size = [top], 1, desc.size
    while level:
        fresh: dict[tuple[str, Digest, int], Descriptor] = {}
        for place in level:
            _check_place(place)
            if place.key not in read:
                fresh[place.key] = place.desc

        def fetch(wanted: tuple[tuple[str, Digest, int], Descriptor]) -> None:
            key, entry = wanted
            raw = read_verified(source.open(entry), entry, limit=MAX_SIZE)
            try:
                read[key] = parse(raw, entry.media_type)
            except ManifestInvalid as error:
                raise error.__class__(f"{entry.digest}: {error}", hint=error.hint) from error

        in_parallel(jobs, list(fresh.items()), fetch, stop=threading.Event())
        below: list[_Place] = []
        for place in level:
            content = read[place.key]
            if isinstance(content, Index):
                place.below = [
                    _Place(e, (*place.above, place.desc.digest))
                    for e in select(content)
                    if e.media_type in mt.INDEXES | mt.MANIFESTS
                ]
                count, size = count + len(place.below), size + sum(p.desc.size for p in place.below)
                if count > _MOST_MANIFESTS or size > _MOST_BYTES:
                    raise ManifestInvalid(
                        f"the image has more than {_MOST_MANIFESTS} manifests, or they more than {_MOST_BYTES} bytes"
                    )
                below += place.below
        level = below

    def node(place: _Place) -> ContentNode:
        return ContentNode(place.desc, read[place.key], tuple(map(node, place.below)))

    return node(top)


class _Place:
    """A manifest or index in a tree that is being read, and the indexes above it."""

    def __init__(self, desc: Descriptor, above: tuple[Digest, ...] = ()) -> None:
        self.desc, self.above = desc, above
        self.key = (desc.media_type, desc.digest, desc.size)
        self.below: list[_Place] = []


def _check_place(place: _Place) -> None:
    desc = place.desc
    if desc.digest in place.above:
        raise ManifestInvalid(f"the index {desc.digest} contains itself")
    if len(place.above) > _DEEPEST:
        raise ManifestInvalid(f"indexes are nested more than {_DEEPEST} deep")
    if desc.size > MAX_SIZE:
        raise ManifestInvalid(
            f"the manifest {desc.digest} claims {desc.size} bytes; at most {MAX_SIZE} are accepted"
        )


def for_platform(wanted: Platform, source: Fetcher) -> Callable[[Index], list[Descriptor]]:
    """A `select` that follows only the best match. Raises PlatformMissing when called on an index without one, and
    what `source` raises, which is asked for the configs of entries that do not say their platform."""

    def select(index: Index) -> list[Descriptor]:
        candidates = [
            (n, m.platform)
            for n, m in enumerate(index.manifests)
            if m.platform is not None and m.platform.whole and m.platform.os != "unknown"
        ]
        silent = [(n, m) for n, m in enumerate(index.manifests) if m.platform is None or not m.platform.whole]
        position = choose(wanted, candidates)
        if silent and len(index.manifests) > 1 and not any(wanted.rank(p) == 0 for _, p in candidates):
            candidates += [(n, said) for n, entry in silent if (said := _said_by_config(source, entry))]
            position = choose(wanted, candidates)
        nested = [entry for _, entry in silent if entry.media_type in mt.INDEXES]
        if position is None and nested and candidates:
            return nested
        if position is None and candidates:
            raise PlatformMissing(
                f"no matching manifest for {wanted} in the manifest list entries",
                hint="the image has " + ", ".join(sorted({str(p) for _, p in candidates})),
            )
        if position is None:  # nothing says its platform: nested indexes, or a sole manifest
            return list(index.manifests)
        return [index.manifests[position]]

    return select


def _said_by_config(source: Fetcher, entry: Descriptor) -> Platform | None:
    """What the config of an image says that its entry does not; None for anything but an image."""
    if entry.media_type not in mt.MANIFESTS:
        return None
    content = parse(read_verified(source.open(entry), entry, limit=MAX_SIZE), entry.media_type)
    if not isinstance(content, Manifest) or content.config.media_type not in mt.CONFIGS:
        return None
    from boxwright.spec.config import ImageConfig

    raw = read_verified(source.open(content.config), content.config, limit=MAX_SIZE)
    return ImageConfig.parse(raw).on_host().platform


def for_platforms(wanted: Sequence[Platform], source: Fetcher) -> Callable[[Index], list[Descriptor]]:
    """A `select` that follows the best match of each platform. Raises as `for_platform`."""

    def select(index: Index) -> list[Descriptor]:
        chosen: list[Descriptor] = []
        for platform in wanted:
            chosen += [entry for entry in for_platform(platform, source)(index) if entry not in chosen]
        return chosen

    return select


def everything(index: Index) -> list[Descriptor]:
    """A `select` that follows all entries."""
    return list(index.manifests)


def copy(
    source: Source,
    source_name: str,
    sink: Sink,
    sink_name: str,
    *,
    select: Callable[[Index], list[Descriptor]] = everything,
    jobs: int = 4,
    progress: Progress | None = None,
    referrers: bool = False,
) -> Descriptor:
    """Move the image named `source_name` to `sink_name` ('' = leave it unnamed); returns what was resolved.

    When `select` leaves entries of an index out, the index itself is copied all the same, sparse: its digest is
    the image's identity. `referrers` takes along whatever refers to the image (signatures and the like), as far
    as the source knows. Raises what the two ends raise; what arrived before a failure stays at the sink.
    """
    root = source.resolve(source_name)
    tree = load(source, root, select)
    return copy_tree(
        source=source,
        tree=tree,
        sink=sink,
        sink_name=sink_name,
        jobs=jobs,
        progress=progress,
        referrers=referrers,
    )


def copy_tree(
    source: Source,
    tree: ContentNode,
    sink: Sink,
    sink_name: str,
    *,
    jobs: int = 4,
    progress: Progress | None = None,
    referrers: bool = False,
) -> Descriptor:
    """The second half of `copy`, for callers that looked at the tree first."""
    nodes = _unique([tree])
    attached = _referring(source, nodes, jobs) if referrers else []
    blobs = _blobs_of([*nodes, *attached])
    if progress:
        progress.planned(blobs)
    stop = threading.Event()
    in_parallel(jobs, blobs, lambda desc: move(source, sink, desc, progress=progress, stop=stop), stop=stop)
    push_manifests(sink, nodes[:-1], jobs)
    # What refers to the image goes before its name: a client that sees the name can verify the signature.
    if not sink_name or attached:
        _push_manifest(sink, nodes[-1])
    for node in attached:
        _push_manifest(sink, node)
    if sink_name and isinstance(sink, NamedPusher):
        sink.push_named(sink_name, tree.desc, tree.content.raw)
    elif sink_name:
        _push_manifest(sink, nodes[-1])
        sink.tag(sink_name, tree.desc)
    return tree.desc


def complete_tree(
    source: Source,
    tree: ContentNode,
    sink: Sink,
    *,
    jobs: int = 4,
    progress: Progress | None = None,
    referrers: bool = False,
) -> None:
    """`copy_tree` where the sink has the tree, whole and named: what refers to it may be missing."""
    nodes = _unique([tree])
    there, attached = _blobs_of(nodes), _referring(source, nodes, jobs) if referrers else []
    known = {desc.digest for desc in there}
    blobs = [desc for desc in _blobs_of(attached) if desc.digest not in known]
    if progress:
        progress.planned([*there, *blobs])
        for desc in there:
            progress.started(desc)
            progress.done(desc, "exists")
    stop = threading.Event()
    in_parallel(jobs, blobs, lambda desc: move(source, sink, desc, progress=progress, stop=stop), stop=stop)
    for node in attached:
        _push_manifest(sink, node)


def push_manifests(sink: Sink, nodes: Sequence[ContentNode], jobs: int) -> None:
    """Store these, children before parents: images in parallel, then the indexes over them one after the other."""
    images = [node for node in nodes if isinstance(node.content, Manifest)]
    in_parallel(jobs, images, lambda node: _push_manifest(sink, node), stop=threading.Event())
    for node in nodes:
        if isinstance(node.content, Index):
            _push_manifest(sink, node)


def _push_manifest(sink: Sink, node: ContentNode) -> None:
    if not sink.exists(node.desc):
        sink.push(node.desc, io.BytesIO(node.content.raw))


def _unique(trees: Sequence[ContentNode]) -> list[ContentNode]:
    """Every node once, children first."""
    seen: dict[Digest, ContentNode] = {}
    for tree in trees:
        for node in tree.walk():
            seen.setdefault(node.desc.digest, node)
    return list(seen.values())


def _referring(source: Source, nodes: Sequence[ContentNode], jobs: int) -> list[ContentNode]:
    """The manifests that refer to these, theirs too; subjects first. A level is asked for in parallel."""
    if not isinstance(source, Referring):
        return []
    known = {node.desc.digest for node in nodes}
    found: list[ContentNode] = []
    todo = list(nodes)
    for _ in range(_DEEPEST):
        fresh: list[ContentNode] = []
        said: dict[Digest, Sequence[Descriptor]] = {}

        def ask(node: ContentNode, said: dict[Digest, Sequence[Descriptor]] = said) -> None:
            said[node.desc.digest] = source.referrers(node.desc.digest)

        in_parallel(jobs, todo, ask, stop=threading.Event())
        new = {
            desc.digest: desc for node in todo for desc in said[node.desc.digest] if desc.digest not in known
        }
        trees: dict[Digest, ContentNode] = {}

        def read(desc: Descriptor, trees: dict[Digest, ContentNode] = trees) -> None:
            trees[desc.digest] = load(source, desc, everything, jobs=1)

        in_parallel(jobs, list(new.values()), read, stop=threading.Event())
        for digest in new:
            more = [n for n in _unique([trees[digest]]) if n.desc.digest not in known]
            known.update(n.desc.digest for n in more)
            fresh += more
        found += fresh
        todo = fresh
        if len(found) > _MOST_MANIFESTS:
            raise ManifestInvalid(f"the image has more than {_MOST_MANIFESTS} referrers")
    return found


def _blobs_of(nodes: Sequence[ContentNode]) -> list[Descriptor]:
    """Configs first (the receiver of layers wants to know them), then the largest layers."""
    configs: dict[Digest, Descriptor] = {}
    layers: dict[Digest, Descriptor] = {}
    for node in nodes:
        if not isinstance(node.content, Manifest):
            continue
        for desc in node.content.references():
            known = configs.get(desc.digest) or layers.get(desc.digest)
            if known is not None and known.size != desc.size:
                raise ContentMismatch(f"the manifest gives two sizes for {desc.digest}")
            if known is None:
                (configs if desc is node.content.config else layers)[desc.digest] = desc
    return [*configs.values(), *sorted(layers.values(), key=lambda d: -d.size)]


def move(
    source: Source,
    sink: Sink,
    desc: Descriptor,
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> str:
    """Bring one blob over; returns how: 'exists', 'mounted' or 'copied'.

    A resumed blob that turns out wrong is fetched once more from its start: the old part may be what was bad.
    """
    if progress:
        progress.started(desc)
    how = "copied"
    if sink.exists(desc):
        how = "exists"
    elif (
        isinstance(sink, Mounter)
        and isinstance(source, Originated)
        and sink.mount(desc, source.origins(desc))
    ):
        how = "mounted"
    else:
        how = _pour(source=source, sink=sink, desc=desc, progress=progress, stop=stop)
    if progress:
        progress.done(desc, how)
    return how


def _pour(
    source: Source, sink: Sink, desc: Descriptor, progress: Progress | None, stop: threading.Event | None
) -> str:
    from boxwright.content.local import IngestBusy

    again = False
    while True:
        with Watched(opener=lambda: source.open(desc), desc=desc, progress=progress, stop=stop) as body:
            try:
                sink.push(desc, cast("BinaryIO", body))
                return "copied"
            except Corrupt:
                if again or not body.resumed:
                    raise
                again = True
            except IngestBusy:  # another process fetches the same blob: let it, and look again
                time.sleep(_POLL)
                if stop is not None and stop.is_set():
                    raise
                if sink.exists(desc):
                    return "exists"


class Watched(io.RawIOBase):
    """A body that is opened at its first use, tells the progress what passes, and ends when the copy was stopped."""

    def __init__(
        self,
        opener: Callable[[], BinaryIO],
        desc: Descriptor,
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self._opener, self._desc, self._progress, self._stop = opener, desc, progress, stop
        self._raw: BinaryIO | None = None
        self.resumed = False

    def readable(self) -> bool:
        return True

    def resume_at(self, offset: int) -> None:
        """See content.store.Resumable. A raw body that cannot skip is read up to `offset`."""
        self.resumed = self.resumed or offset > 0
        raw = self._open()
        if isinstance(raw, Resumable):
            raw.resume_at(offset)
        else:
            left = offset
            while left and (data := raw.read(min(left, 1 << 20))):
                left -= len(data)
        if offset and self._progress:
            self._progress.resumed(self._desc, offset)

    def rewind(self, offset: int) -> None:
        """See content.store.Rewindable."""
        self._shut()
        self.resume_at(offset)
        if not offset and self._progress:
            self._progress.resumed(self._desc, 0)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as the raw body has them."""
        if size < 0:
            return self.readall()
        self._check()
        data = self._open().read(size) or b""
        if data and self._progress:
            self._progress.advanced(self._desc, len(data))
        return data

    def readinto(self, buffer: Any) -> int:
        self._check()
        view = memoryview(buffer)
        raw = self._open()
        readinto = getattr(raw, "readinto", None)
        if readinto is None:
            data = raw.read(len(view))
            view[: len(data)] = data
            count = len(data)
        else:
            count = readinto(view) or 0
        if count and self._progress:
            self._progress.advanced(self._desc, count)
        return count

    def close(self) -> None:
        self._shut()
        super().close()

    def _open(self) -> BinaryIO:
        if self._raw is None:
            self._raw = self._opener()
        return self._raw

    def _shut(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _check(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Cancelled("the copy was stopped")


def in_parallel(jobs: int, items: Sequence[T], work: Callable[[T], object], *, stop: threading.Event) -> None:
    """Do `work` on every item, at most `jobs` at a time. The first failure sets `stop` and is raised.

    The threads are daemons and an interrupt waits for them only briefly: a peer that says nothing for a minute
    must not hold the user's Ctrl-C for as long.
    """
    if jobs <= 1 or len(items) <= 1:
        for item in items:
            work(item)
        return
    todo, endings, ended = deque(items), deque[BaseException | None](), threading.Semaphore(0)

    def run() -> None:
        failed = None
        try:
            while not stop.is_set():
                try:
                    item = todo.popleft()
                except IndexError:
                    break
                work(item)
        except BaseException as error:  # noqa: BLE001 - the thread that waits for all of them raises it
            failed = error
        endings.append(failed)  # before `stop`, so that no thread that stops because of it is heard first
        if failed is not None:
            stop.set()
        ended.release()

    threads = [
        threading.Thread(target=run, name=f"copy-{n}", daemon=True) for n in range(min(jobs, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            ended.acquire()
            if (error := endings.popleft()) is not None:
                raise error
    except BaseException:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join(_PATIENCE / len(threads))
        raise
