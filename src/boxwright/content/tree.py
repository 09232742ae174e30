"""The manifests of one image, as a tree: reading it, and which entries of an index are followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from boxwright.content.parallel import in_parallel
from boxwright.content.store import Fetcher, Source
from boxwright.content.verify import read_verified
from boxwright.errors import NotFound
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE, Index, Manifest, ManifestInvalid, parse
from boxwright.spec.platform import Platform, choose
from boxwright.spec.values import dataclass

DEEPEST = 8  # nested indexes, and referrers of referrers; a liar may serve more
MOST_MANIFESTS = 4096  # of one image; a list of lists could otherwise grow without end
_MOST_BYTES = 64 << 20  # of all manifests of one image: they are held in memory
_READERS = 6  # manifests that are read at a time


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


def load_tree(
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
                if count > MOST_MANIFESTS or size > _MOST_BYTES:
                    raise ManifestInvalid(
                        f"the image has more than {MOST_MANIFESTS} manifests, or they more than {_MOST_BYTES} bytes"
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
    if len(place.above) > DEEPEST:
        raise ManifestInvalid(f"indexes are nested more than {DEEPEST} deep")
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
