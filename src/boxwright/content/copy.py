"""`copy`: every move of an image between two places (pull, push, save, load, registry to registry) is this function.

Children before parents, the name last, so that whoever reads the sink sees either nothing new or all of it.
What the sink has is skipped. Nothing is buffered beyond a manifest.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from boxwright.content.store import Sink, Source
from boxwright.content.verify import ContentMismatch, read_verified
from boxwright.errors import NotFound
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, ManifestInvalid, parse
from boxwright.spec.platform import Platform, choose

_DEEPEST = 8  # nested indexes; a list that contains itself cannot exist, but a liar may serve one


class Progress(Protocol):
    """What a copy tells whoever watches. Called from several threads; `done` may repeat for one digest."""

    def started(self, desc: Descriptor) -> None: ...
    def advanced(self, desc: Descriptor, count: int) -> None: ...
    def done(self, desc: Descriptor, how: str) -> None:
        """`how` is 'copied', 'exists' or 'mounted'."""
        ...


class PlatformMissing(NotFound):
    """The index has no manifest for the wanted platform."""


@dataclass(frozen=True, slots=True)
class Node:
    """One manifest or index with its bytes and the nodes below it."""

    desc: Descriptor
    content: Manifest | Index
    children: tuple[Node, ...] = ()


def load(source: Source, desc: Descriptor, select: Callable[[Index], list[Descriptor]], *, depth: int = 0) -> Node:
    """Read a manifest tree down to image manifests; `select` says which entries of an index to follow."""
    if depth > _DEEPEST:
        raise ManifestInvalid(f"indexes are nested more than {_DEEPEST} deep")
    raw = read_verified(source.open(desc), desc, limit=MAX_SIZE)
    content = parse(raw, desc.media_type)
    if isinstance(content, Manifest):
        return Node(desc, content)
    children = tuple(load(source, entry, select, depth=depth + 1) for entry in select(content) if entry.media_type in mt.INDEXES | mt.MANIFESTS)
    return Node(desc, content, children)


def for_platform(wanted: Platform) -> Callable[[Index], list[Descriptor]]:
    """A `select` that follows only the best match. Raises PlatformMissing when called on an index without one."""

    def select(index: Index) -> list[Descriptor]:
        candidates = [(n, m.platform) for n, m in enumerate(index.manifests) if m.platform is not None and m.platform.os != "unknown"]
        position = choose(wanted, candidates)
        if position is None and candidates:
            raise PlatformMissing(
                f"no matching manifest for {wanted} in the manifest list entries",
                hint="the image has " + ", ".join(sorted({str(p) for _, p in candidates})),
            )
        if position is None:  # nothing says its platform: nested indexes, or a sole manifest
            return list(index.manifests)
        return [index.manifests[position]]

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
) -> Descriptor:
    """Move the image named `source_name` to `sink_name` ('' = leave it unnamed); returns what was resolved.

    When `select` leaves entries of an index out, the index itself is copied all the same, sparse: its digest is
    the image's identity. Raises what the two ends raise; what arrived before a failure stays at the sink.
    """
    root = source.resolve(source_name)
    tree = load(source, root, select)
    return copy_tree(source, tree, sink, sink_name, jobs=jobs, progress=progress)


def copy_tree(source: Source, tree: Node, sink: Sink, sink_name: str, *, jobs: int = 4, progress: Progress | None = None) -> Descriptor:
    """The second half of `copy`, for callers that looked at the tree first."""
    blobs: dict[Any, Descriptor] = {}
    manifests: list[Node] = []
    _collect(tree, blobs, manifests)
    _blobs(source, sink, list(blobs.values()), jobs, progress)
    for node in manifests:
        if not sink.exists(node.desc):
            sink.push(node.desc, io.BytesIO(node.content.raw))
    if sink_name:
        sink.tag(sink_name, tree.desc)
    return tree.desc


def _collect(node: Node, blobs: dict[Any, Descriptor], manifests: list[Node]) -> None:
    for child in node.children:
        _collect(child, blobs, manifests)
    if isinstance(node.content, Manifest):
        for desc in node.content.references():
            known = blobs.setdefault(desc.digest, desc)
            if known.size != desc.size:
                raise ContentMismatch(f"the manifest gives two sizes for {desc.digest}")
    if all(node.desc.digest != other.desc.digest for other in manifests):
        manifests.append(node)


def _blobs(source: Source, sink: Sink, blobs: list[Descriptor], jobs: int, progress: Progress | None) -> None:
    stop = threading.Event()

    def one(desc: Descriptor) -> None:
        if stop.is_set():
            return
        if progress:
            progress.started(desc)
        if sink.exists(desc):
            if progress:
                progress.done(desc, "exists")
            return
        with source.open(desc) as body:
            sink.push(desc, cast(BinaryIO, _Counted(body, desc, progress)) if progress else body)
        if progress:
            progress.done(desc, "copied")

    if jobs <= 1 or len(blobs) <= 1:
        for desc in blobs:
            one(desc)
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="copy") as pool:
        futures = [pool.submit(one, desc) for desc in sorted(blobs, key=lambda d: -d.size)]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        stop.set()
        for future in done:
            future.result()


class _Counted(io.RawIOBase):
    """Tells the progress what passes."""

    def __init__(self, raw: Any, desc: Descriptor, progress: Progress) -> None:
        self._raw, self._desc, self._progress = raw, desc, progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        count: int = self._raw.readinto(buffer) or 0
        if count:
            self._progress.advanced(self._desc, count)
        return count
