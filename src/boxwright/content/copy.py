"""`copy`: every move of an image between two places (pull, push, save, load, registry to registry) is this function.

Children before parents, the name last, so that a reader of the sink sees either nothing new or all of it.
What the sink has is skipped, what its neighbour has is mounted, what arrived before a failure stays and is
resumed. Nothing is buffered beyond a manifest.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence

from boxwright.content.parallel import in_parallel
from boxwright.content.progress import Progress, ProgressReader
from boxwright.content.store import (
    Mounter,
    NamedPusher,
    Originated,
    Referring,
    Sink,
    Source,
)
from boxwright.content.tree import DEEPEST, MOST_MANIFESTS, ContentNode, everything, load_tree
from boxwright.content.verify import ContentMismatch
from boxwright.errors import Corrupt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.hints import cast
from boxwright.spec.manifest import Index, Manifest, ManifestInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_POLL = 0.2  # seconds between looks at a blob that another process is fetching


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
    tree = load_tree(source, root, select)
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
    for _ in range(DEEPEST):
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
            trees[desc.digest] = load_tree(source, desc, everything, jobs=1)

        in_parallel(jobs, list(new.values()), read, stop=threading.Event())
        for digest in new:
            more = [n for n in _unique([trees[digest]]) if n.desc.digest not in known]
            known.update(n.desc.digest for n in more)
            fresh += more
        found += fresh
        todo = fresh
        if len(found) > MOST_MANIFESTS:
            raise ManifestInvalid(f"the image has more than {MOST_MANIFESTS} referrers")
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
        with ProgressReader(
            opener=lambda: source.open(desc), desc=desc, progress=progress, stop=stop
        ) as body:
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
