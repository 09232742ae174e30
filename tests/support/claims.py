"""What the tests hold an image against: everything that its manifest claims, down to the bytes of every layer.

Apart from the program's own look (image/validate.py), which asks what a store lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.content.verify import CHUNK
from boxwright.errors import BoxwrightError
from boxwright.image.store import ImageStore, is_image
from boxwright.image.validate import Problem, check_blob, check_layer
from boxwright.layer.compress import open_decompressed
from boxwright.layer.store import LayerMissing
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import Index, Manifest, parse


def validate(images: ImageStore, desc: Descriptor) -> list[Problem]:
    """Recompute everything that a manifest or index claims."""
    return list(_Image(images).check(desc, set()))


class _Image:
    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._store = images.store

    def check(self, desc: Descriptor, above: set[Digest]) -> Iterator[Problem]:
        name = str(desc.digest)
        try:
            raw = self._store.read(desc.digest)
            content = parse(raw, desc.media_type)
        except BoxwrightError as error:
            yield Problem("image", name, str(error))
            return
        if len(raw) != desc.size:
            yield Problem("image", name, f"has {len(raw)} bytes, not {desc.size}")
        if isinstance(content, Index):
            for entry in content.manifests:
                here = (
                    entry.media_type in mt.INDEXES | mt.MANIFESTS
                    and self._store.size(entry.digest) is not None
                )
                if here and entry.digest not in above:
                    yield from self.check(entry, above | {desc.digest})
            return
        yield from self._manifest(name, content)

    def _manifest(self, name: str, manifest: Manifest) -> Iterator[Problem]:
        if not is_image(manifest):
            for part in manifest.references():
                yield from self._blob(part)
            return
        try:
            config = ImageConfig.parse(self._store.read(manifest.config.digest))
        except BoxwrightError as error:
            yield Problem("image", name, f"its config: {error}")
            return
        if len(config.diff_ids) != len(manifest.layers):
            yield Problem(
                "image",
                name,
                f"its config lists {len(config.diff_ids)} layers, the manifest {len(manifest.layers)}",
            )
            return
        entries = sum(not entry.empty_layer for entry in config.history)
        if config.history and entries != len(config.diff_ids):
            yield Problem(
                "image", name, f"its history tells of {entries} layers, there are {len(config.diff_ids)}"
            )
        for diff_id, desc in zip(config.diff_ids, manifest.layers, strict=True):
            yield from self._layer(diff_id, desc)

    def _layer(self, diff_id: DiffID, desc: Descriptor) -> Iterator[Problem]:
        try:
            layer = self._images.layers.get(diff_id)
        except LayerMissing as error:
            yield Problem("layer", str(diff_id), str(error))
            return
        yield from check_layer(self._images, layer)
        if str(desc.digest) == str(diff_id):
            if desc.size != layer.tar_size:
                yield Problem(
                    "layer", str(diff_id), f"has {layer.tar_size} bytes, the manifest says {desc.size}"
                )
            return
        problem = next(self._blob(desc), None)
        if problem:
            yield problem
        elif (found := _inflated(self._images, desc)) != str(diff_id):
            yield Problem("blob", str(desc.digest), f"contains {found}, the image config says {diff_id}")

    def _blob(self, desc: Descriptor) -> Iterator[Problem]:
        size = self._store.size(desc.digest)
        if size is None:
            yield Problem("blob", str(desc.digest), "is not in the store")
        elif size != desc.size:
            yield Problem("blob", str(desc.digest), f"has {size} bytes, not {desc.size}")
        elif problem := check_blob(self._images, desc.digest):
            yield problem


def _inflated(images: ImageStore, desc: Descriptor) -> str:
    """The diff ID of what a layer blob contains, or why it cannot be told."""
    import hashlib

    found = hashlib.sha256()
    try:
        with images.store.open_raw(desc.digest) as raw, open_decompressed(raw) as stream:
            while data := stream.read(CHUNK):
                found.update(data)
    except BoxwrightError as error:
        return str(error)
    return f"sha256:{found.hexdigest()}"
