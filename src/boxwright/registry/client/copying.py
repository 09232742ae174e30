"""`copy` with a registry at one end or both, signatures included."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol, cast

from boxwright.content.copy import Node, Progress, copy_tree, everything, for_platforms, in_parallel, load
from boxwright.content.store import Neighbouring, Sink, Source
from boxwright.errors import BoxwrightError, NotFound
from boxwright.registry.client.client import RegistryClient
from boxwright.registry.client.remote import Remote
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

_COSIGN = ("sig", "att", "sbom")  # tags sha256-<hex>.<kind>, by which cosign attaches what has no subject


class _Neighbour(Neighbouring, Source, Protocol):
    """A source of that kind."""


def remote_end(client: RegistryClient, name: str, *, push: bool = False) -> tuple[Remote, str]:
    """A registry's end of a copy. Raises ReferenceInvalid."""
    reference = Reference.parse(name).with_default_tag()
    return client.remote(reference, push=push), str(reference)


def copy_between(
    source: Source, source_name: str, sink: Sink, sink_name: str, *, platforms: Sequence[Platform] = (), referrers: bool = True,
    jobs: int = 6, progress: Progress | None = None,
) -> Descriptor:  # fmt: skip
    """`content.copy` of all platforms, or of some, with what refers to the image. Raises what the two ends raise."""
    root = source.resolve(source_name)
    tree: list[Node] = []
    tags: list[str] = []
    by_tag = referrers and isinstance(source, Neighbouring) and isinstance(sink, Neighbouring)

    def read() -> None:
        tree.append(load(source, root, for_platforms(platforms) if platforms else everything, jobs=jobs))

    def ask() -> None:
        try:
            tags.extend(cast(_Neighbour, source).tags())
        except BoxwrightError:  # some registries do not list; then there is nothing to go by
            pass

    in_parallel(jobs, [read, *([ask] if by_tag else [])], lambda question: question(), stop=threading.Event())
    if by_tag:
        for tag, node in _by_tag(cast(_Neighbour, source), tree[0], tags):
            copy_tree(source, node, sink, cast(Neighbouring, sink).beside(tag), jobs=jobs, progress=progress)
    copy_tree(source, tree[0], sink, sink_name, jobs=jobs, progress=progress, referrers=referrers)
    if not sink_name:
        sink.tag("", root)  # without a name, but to be found
    return root


def _by_tag(source: _Neighbour, tree: Node, tags: Sequence[str]) -> list[tuple[str, Node]]:
    """What cosign's older scheme attaches: an image of its own under a tag made of the digest."""
    there, found = set(tags), []
    for digest in {node.desc.digest: None for node in tree.walk()}:
        for kind in _COSIGN:
            name = f"{digest.algorithm}-{digest.hex}.{kind}"
            if name in there:
                try:
                    desc = source.resolve(source.beside(name))
                except NotFound:
                    continue
                found.append((name, load(source, desc, everything)))
    return found
