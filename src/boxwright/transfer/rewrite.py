"""Manifests and indexes, written again for layers in another form."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.content.tree import ContentNode
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import Index, Manifest
from boxwright.spec.values import replace
from boxwright.transfer.restate import Restating, attesting, is_attestation


def rewritten(
    node: ContentNode, blobs: dict[Digest, Descriptor], restating: Restating | None = None
) -> ContentNode:
    """The tree with compressed layers named in its manifests; the same bytes where nothing changed. `restating` writes
    attestations of manifests that changed anew. Raises StatementInvalid."""
    content = node.content
    if isinstance(content, Manifest):
        layers = tuple(_as_entry(layer, blobs.get(layer.digest, layer)) for layer in content.layers)
        if all(a.digest == b.digest for a, b in zip(layers, content.layers)):
            return node
        fresh = Manifest.compose(
            content.config,
            layers,
            media_type=mt.OCI_MANIFEST if content.config.media_type == mt.OCI_CONFIG else content.media_type,
            annotations=content.annotations,
            subject=content.subject,
            artifact_type=content.artifact_type,
        )
        return ContentNode(
            replace(fresh.descriptor, platform=node.desc.platform, annotations=node.desc.annotations), fresh
        )
    children = tuple(rewritten(child, blobs, restating) for child in node.children)
    changed = _changed(node, children)
    if changed and restating is not None:
        subjects = attesting(content)
        children = tuple(
            restating.again(child, about, changed[about])
            if (about := subjects.get(child.desc.digest)) in changed and is_attestation(child.content)
            else child
            for child in children
        )
        changed = _changed(node, children)
    if not changed:
        return node
    index = Index.compose(
        [changed.get(e.digest, e) for e in content.manifests],
        media_type=content.media_type,
        annotations=content.annotations,
        subject=content.subject,
    )
    return ContentNode(index.descriptor, index, children)


def _changed(node: ContentNode, children: Sequence[ContentNode]) -> dict[Digest, Descriptor]:
    return {
        old.desc.digest: new.desc
        for old, new in zip(node.children, children)
        if old.desc.digest != new.desc.digest
    }


def _as_entry(old: Descriptor, new: Descriptor) -> Descriptor:
    if old.digest == new.digest:
        return old
    return Descriptor(
        media_type=new.media_type, digest=new.digest, size=new.size, annotations=old.annotations
    )
