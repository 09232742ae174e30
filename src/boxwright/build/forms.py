"""Layers in the form that an output wants: squashed, with other times, compressed. What was made once is on record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.build.graph import json_digest
from boxwright.image.steps import StepCache, StepRecord
from boxwright.spec import mediatypes as mt
from boxwright.spec.compression import layer_type
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.outputs import ImageForm
    from boxwright.build.plan import Plan
    from boxwright.image.store import ImageStore
    from boxwright.layer.store import Layer

_JOBS = 4  # layers that are compressed at a time


@dataclass(frozen=True, slots=True)
class FormLayer:
    """A layer as a manifest names it, and the digest of its tar."""

    desc: Descriptor
    diff_id: DiffID


class FormMaker:
    """Makes layers of others; `hold` keeps blobs and layers for the caller's lease."""

    def __init__(self, images: ImageStore, cache: StepCache, hold: Callable[..., None]) -> None:
        self._images, self._cache, self._hold = images, cache, hold
        self._store, self._stored = images.store, images.layers

    # --- other layers ------------------------------------------------------------------------------

    def squashed(self, stack: Sequence[DiffID], kept: int) -> DiffID:
        """One layer of everything above the lowest `kept` ones. Raises what reading layers raises."""
        key = json_digest({"kind": "squash/1", "layers": [str(layer) for layer in stack], "kept": kept})

        def make() -> Layer:
            from boxwright.layer.squash import squash

            return squash(self._stored, self._stored.stack(stack), kept)

        return self._on_record(key=key, kind="squash/1", name="squashing layers", make=make)

    def clamped(self, layer: DiffID, epoch: int, exactly: bool) -> DiffID:
        """The layer with no time later than `epoch`, or with no other. Raises what reading it raises."""
        key = json_digest({"kind": "times/1", "layer": str(layer), "epoch": epoch, "exactly": exactly})

        def make() -> Layer:
            from boxwright.layer.times import with_times

            return with_times(self._stored, self._stored.get(layer), epoch, exactly=exactly)

        return self._on_record(
            key=key, kind="times/1", name=f"rewriting layers with source-date-epoch {epoch}", make=make
        )

    def _on_record(self, key: str, kind: str, name: str, make: Callable[[], Layer]) -> DiffID:
        hit = self._cache.find(key)
        if hit is not None:
            self._hold("layer", *hit.layers)
            if self._cache.present(hit.layers):
                return hit.layers[0]
        made = make()  # held by every lease of this process from its first moment
        self._hold("layer", made.diff_id)
        self._note(key=key, kind=kind, name=name, layers=(made.diff_id,), result={}, size=made.bytes)
        return made.diff_id

    def _note(
        self,
        key: str,
        kind: str,
        name: str,
        layers: tuple[DiffID, ...],
        result: Mapping[str, Any],
        size: int,
    ) -> None:
        now = time.time()
        self._cache.add(
            StepRecord(
                key=key,
                lineage="",
                kind=kind,
                name=name,
                ingredients={},
                layers=layers,
                result=result,
                bytes=size,
                seconds=0.0,
                created=now,
                last_used=now,
                uses=1,
            )
        )

    # --- layers as blobs ---------------------------------------------------------------------------

    def packed(
        self, stack: Sequence[DiffID], form: ImageForm, foreign: Mapping[DiffID, Descriptor]
    ) -> list[FormLayer]:
        """The stack as a manifest of this form names it, `foreign` layers as they are. Raises LayerMissing,
        DiskFull."""
        here = [diff_id for diff_id in dict.fromkeys(stack) if diff_id not in foreign]
        layers = dict(zip(here, self._stored.stack(here)))
        if form.plain:
            return [
                FormLayer(foreign[diff_id], diff_id) if diff_id in foreign else self._plain(layers[diff_id])
                for diff_id in stack
            ]
        from boxwright.content.parallel import in_parallel

        found: dict[DiffID, FormLayer] = {}

        def one(diff_id: DiffID) -> None:
            if diff_id in foreign:
                found[diff_id] = FormLayer(foreign[diff_id], diff_id)
                return
            made = self._packed(layers[diff_id], form)
            media_type = layer_type(made.desc.media_type, oci=form.oci)
            found[diff_id] = replace(made, desc=replace(made.desc, media_type=media_type))

        in_parallel(_JOBS, list(dict.fromkeys(stack)), one, stop=threading.Event())
        return [found[diff_id] for diff_id in stack]

    def _plain(self, layer: Layer) -> FormLayer:
        from boxwright.image.compose import layer_descriptor

        return FormLayer(layer_descriptor(layer.diff_id, layer.tar_size), layer.diff_id)

    def _packed(self, layer: Layer, form: ImageForm) -> FormLayer:
        from boxwright.layer.compress import arrived_as, compress_layer

        if not form.force:
            for desc in arrived_as(self._stored, layer, form.compression):
                if self._here(desc):
                    return FormLayer(desc, layer.diff_id)
        if form.compression == "none":
            return self._plain(layer)
        if form.compression == "estargz":
            return self._estargz(layer, form.level)
        desc = compress_layer(
            layers=self._stored,
            layer=layer,
            store=self._store,
            kind=form.compression or "gzip",
            level=form.level,
        )
        self._hold("blob", desc.digest)
        return FormLayer(desc, layer.diff_id)

    def _here(self, desc: Descriptor) -> bool:
        self._hold("blob", desc.digest)
        with self._store.committing():
            return self._store.size(desc.digest) == desc.size

    def _estargz(self, layer: Layer, level: int | None) -> FormLayer:
        from boxwright.layer.estargz import make_estargz

        key = json_digest({"kind": "estargz/1", "layer": str(layer.diff_id), "level": level})
        hit = self._cache.find(key)
        if hit is not None:
            desc = Descriptor.from_json(hit.result["blob"])
            if self._here(desc):
                return FormLayer(desc, DiffID.parse(str(hit.result["diff_id"])))
        desc, diff_id = make_estargz(layer, self._store, level)
        self._hold("blob", desc.digest)
        result = {"blob": desc.to_json(), "diff_id": str(diff_id)}
        self._note(
            key=key, kind="estargz/1", name="compressing to eStargz", layers=(), result=result, size=desc.size
        )
        return FormLayer(desc, diff_id)

    def to_run(self, target: Descriptor) -> None:
        """Make layers of blobs that became other tars than any layer here, so that the image can be run. Raises what
        reading them raises."""
        from boxwright.layer.blobs import ingest_blob

        for _, manifest in self._images.manifests_of(target):
            for desc in manifest.layers:
                if mt.is_layer(desc.media_type) and self._stored.by_blob(desc.digest) is None:
                    with self._store.open_raw(desc.digest) as body:
                        ingest_blob(self._stored, body, desc)

    # --- layers that registries may not hold ---------------------------------------------------------

    def foreign(self, plan: Plan) -> dict[DiffID, Descriptor]:
        """Which layers of the base its own manifest calls so, with their addresses."""
        for row in self._images.same_image(plan.parent) if plan.parent else ():
            found = self._images.resolved(row, platform=plan.platform)
            return {
                diff_id: desc
                for diff_id, desc in zip(found.config.diff_ids, found.manifest.layers)
                if mt.is_foreign(desc.media_type) and desc.urls
            }
        return {}
