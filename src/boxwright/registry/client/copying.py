"""`copy` with a registry at one end or both, signatures included."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.content.copy import Node, Progress, copy_tree, everything, for_platforms, load
from boxwright.content.store import Sink, Source
from boxwright.errors import BoxwrightError, NotFound
from boxwright.registry.client.client import RegistryClient
from boxwright.registry.client.remote import Remote
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.platform import Platform
from boxwright.spec.reference import Reference

_COSIGN = ("sig", "att", "sbom")  # tags sha256-<hex>.<kind>, by which cosign attaches what has no subject


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
    tree = load(source, root, for_platforms(platforms) if platforms else everything)
    attached = _by_tag(source, tree) if referrers and isinstance(source, Remote) else []
    for name, node in attached:
        if isinstance(sink, Remote):
            copy_tree(source, node, sink, str(sink.reference.with_tag(name)), jobs=jobs, progress=progress)
    return copy_tree(source, tree, sink, sink_name, jobs=jobs, progress=progress, referrers=referrers)


def _by_tag(source: Remote, tree: Node) -> list[tuple[str, Node]]:
    """What cosign's older scheme attaches: an image of its own under a tag made of the digest."""
    try:
        tags = set(source.tags())
    except BoxwrightError:  # some registries do not list; then there is nothing to go by
        return []
    found = []
    for node in tree.walk():
        for kind in _COSIGN:
            name = f"{node.desc.digest.algorithm}-{node.desc.digest.hex}.{kind}"
            if name in tags:
                try:
                    desc = source.resolve(str(source.reference.with_tag(name)))
                except NotFound:
                    continue
                found.append((name, load(source, desc, everything)))
    return found
