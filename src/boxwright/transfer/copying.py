"""`copy` with a registry at one end or both, signatures included."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from boxwright.content.copy import complete_tree, copy_tree
from boxwright.content.parallel import in_parallel
from boxwright.content.progress import Progress
from boxwright.content.store import AttachedByTag, Partial, Referring, Sink, Source
from boxwright.content.tree import ContentNode, everything, for_platforms, load_tree
from boxwright.errors import BoxwrightError, NotFound
from boxwright.registry.client.remote import Remote
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.hints import Protocol, cast
from boxwright.spec.manifest import Index
from boxwright.spec.platform import Platform
from boxwright.spec.values import dataclass

_COSIGN = ("sig", "att", "sbom")  # tags sha256-<hex>.<kind>, by which cosign attaches what has no subject


class _AttachingSource(AttachedByTag, Source, Protocol):
    """A source of that kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """What is copied: all platforms or these, with or without what refers to the image; how many blobs at a time."""

    platforms: tuple[Platform, ...] = ()
    referrers: bool = True
    jobs: int = 6


def copy_between(
    start: tuple[Source, str],
    end: tuple[Sink, str],
    options: CopyOptions,
    *,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Descriptor:
    """`content.copy` of an image under its name at each end. Raises what the two ends raise.

    From a place that holds an index in part, that part is copied, and `note` hears of it. What has no digest to keep
    (docker's own archives) gets its layers compressed on its way to a registry.
    """
    (source, source_name), (sink, sink_name) = start, end
    jobs, referrers = options.jobs, options.referrers
    root = source.fetch(source_name) if isinstance(source, Remote) else source.resolve(source_name)
    composed = isinstance(sink, Remote) and getattr(source, "composed", False)
    known = _ask(source, root, end, options=options, composed=composed)
    tree = known.tree
    if note and not options.platforms and (text := _left_out(tree)):
        note(text)
    if known.tags is not None:
        attaching = cast(_AttachingSource, source)
        _copy_attached(attaching, tree, sink, tags=known.tags, jobs=jobs, progress=progress)
    if composed:
        from boxwright.transfer.compress import CompressingSource

        source = CompressingSource(source)
        tree = source.compressed(tree, jobs=jobs)
        root, referrers = tree.desc, False
    if known.named:
        complete_tree(source, tree, sink, jobs=jobs, progress=progress, referrers=referrers)
        return root
    copy_tree(
        source=source,
        tree=tree,
        sink=sink,
        sink_name=sink_name,
        jobs=jobs,
        progress=progress,
        referrers=referrers,
    )
    if not sink_name:
        sink.tag("", root)  # without a name, but to be found
    return root


@dataclass(frozen=True, slots=True)
class _Known:
    """What both ends said before anything is copied: the tree of the source, its tags and whether these are all (None:
    it was not asked, or does not tell), and whether the sink has the image and named it."""

    tree: ContentNode
    tags: tuple[Sequence[str], bool] | None
    named: bool


def _ask(
    source: Source, root: Descriptor, end: tuple[Sink, str], options: CopyOptions, *, composed: bool
) -> _Known:
    """All questions at once. `composed`: no registry can have the image as it is here."""
    sink, sink_name = end
    platforms = options.platforms
    tree: list[ContentNode] = []
    tags: list[tuple[Sequence[str], bool]] = []
    named: list[bool] = []

    def read() -> None:
        wanted = for_platforms(platforms, source) if platforms else lambda index: _held(source, index)
        tree.append(load_tree(source, root, wanted, jobs=options.jobs))

    def ask() -> None:
        try:
            tags.append(cast(_AttachingSource, source).first_tags())
        except BoxwrightError:  # some registries do not list; then there is nothing to go by
            pass

    def look() -> None:
        named.append(cast(Remote, sink).names(sink_name, root))

    by_tag = options.referrers and isinstance(source, AttachedByTag) and isinstance(sink, AttachedByTag)
    # A registry took an image with all that it is made of; an index may be there in part.
    looks = isinstance(sink, Remote) and sink_name and root.media_type in mt.MANIFESTS and not composed
    questions = [read, *([ask] if by_tag else []), *([look] if looks else [])]
    if isinstance(source, Remote) and root.media_type in mt.MANIFESTS:
        questions.pop(0)()  # which came with its name
    in_parallel(options.jobs, questions, lambda question: question(), stop=threading.Event())
    return _Known(tree[0], tags[0] if tags else None, any(named))


def _copy_attached(
    source: _AttachingSource,
    tree: ContentNode,
    sink: Sink,
    *,
    tags: tuple[Sequence[str], bool],
    jobs: int,
    progress: Progress | None,
) -> None:
    """What is attached to the images of a tree by tags."""
    for tag, node in _attached_by_tag(source, tree, tags=tags[0], complete=tags[1], jobs=jobs):
        copy_tree(
            source=source,
            tree=node,
            sink=sink,
            sink_name=cast(AttachedByTag, sink).beside(tag),
            jobs=jobs,
            progress=progress,
        )


def bring_attached(
    source: Source, target: Descriptor, sink: Sink, *, jobs: int = 6, progress: Progress | None = None
) -> None:
    """What refers to an image that the sink has already, as far as the source knows both. Raises what the two ends
    raise."""
    if not (
        isinstance(source, Partial)
        and source.has(target)
        and isinstance(source, AttachedByTag)
        and isinstance(source, Referring)
    ):
        return
    tree = load_tree(source, target, lambda index: _held(source, index), jobs=jobs)
    attaching = cast(_AttachingSource, source)
    _copy_attached(attaching, tree, sink, tags=source.first_tags(), jobs=jobs, progress=progress)
    if any(source.referrers(node.desc.digest) for node in tree.walk()):
        copy_tree(
            source=source, tree=tree, sink=sink, sink_name="", jobs=jobs, progress=progress, referrers=True
        )


def _held(source: Source, index: Index) -> list[Descriptor]:
    """What a partial source has of an index; all of it elsewhere, and where nothing is there, so that the lack is
    told."""
    found = [entry for entry in index.manifests if source.has(entry)] if isinstance(source, Partial) else []
    return found or everything(index)


def _left_out(tree: ContentNode) -> str:
    """What to say of an index whose images were not all there; '' when they were."""
    indexes = [node for node in tree.walk() if isinstance(node.content, Index)]
    if all(
        len(node.children)
        == sum(e.media_type in mt.INDEXES | mt.MANIFESTS for e in node.content.references())
        for node in indexes
    ):
        return ""
    platforms = {
        str(child.desc.platform)
        for node in indexes
        for child in node.children
        if child.desc.platform and child.desc.platform.os != "unknown"
    }
    return (
        f"Not all multiplatform-content is present and only the available platforms were copied "
        f"({', '.join(sorted(platforms)) or '?'})"
    )


def _attached_by_tag(
    source: _AttachingSource, tree: ContentNode, tags: Sequence[str], complete: bool, jobs: int
) -> list[tuple[str, ContentNode]]:
    """What cosign's older scheme attaches: an image of its own under a tag made of the digest. Where there are more
    tags than were told at once, each is asked for: a repository may have a hundred thousand."""
    there = set(tags)
    names = [
        f"{d.algorithm}-{d.hex}.{kind}"
        for d in {node.desc.digest: None for node in tree.walk()}
        for kind in _COSIGN
    ]
    found: dict[str, ContentNode] = {}

    def look(name: str) -> None:
        try:
            found[name] = load_tree(source, source.resolve(source.beside(name)), everything, jobs=1)
        except NotFound:
            pass

    in_parallel(jobs, [name for name in names if name in there or not complete], look, stop=threading.Event())
    return [(name, found[name]) for name in names if name in found]
