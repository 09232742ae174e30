"""From a solved plan to an image: layers in the form that an output wants, times into the history, compose.

The outcome is on record like a step's: the same layers and config in the same form give the same image, also for an
image without a layer of its own, and one that is still here is neither composed nor written again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from boxwright.build import annotations as notes
from boxwright.build.cache import INLINE, OWN_INLINE
from boxwright.build.dockerfile.history import COMMENT
from boxwright.build.graph import Tree, Vertex, json_digest
from boxwright.build.outputs import ImageForm
from boxwright.build.plan import Plan
from boxwright.image.catalog import familiar
from boxwright.image.steps import StepCache, StepRecord
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import HistoryEntry, ImageConfig
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.manifest import Index, Manifest, parse
from boxwright.spec.times import rfc3339, unix_seconds
from boxwright.spec.values import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.build.forms import FormLayer, FormMaker
    from boxwright.image.catalog import ImageRow
    from boxwright.image.store import ImageStore

KIND = "export/2"
_OLD = (
    "id",
    "parent",
    "container",
    "container_config",
    "docker_version",
    "parent_id",
    INLINE,
    OWN_INLINE,
)


@dataclass(frozen=True, slots=True)
class Exported:
    """An image in the store's blobs: manifest or index (`desc`, with the annotations and the platform of its entry in
    an index), and the digest of its config, of an index that of its first image. `created` is RFC 3339. `reused` when
    it was there already."""

    image_id: str
    desc: Descriptor
    created: str = ""
    reused: bool = False

    @property
    def target(self) -> str:
        """The digest of the manifest or index."""
        return str(self.desc.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A plan, what its target came to, and what each of its vertices did."""

    plan: Plan
    tree: Tree
    tree_of: Callable[[Vertex], Tree]
    ensure: Callable[[], None]  # brings the layers here


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCaches:
    """What the build's caches mean for its image: `carried` are further fields of the config, the cache that an image
    carries of itself; `elsewhere` are layers that are not here and need not come."""

    carried: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[DiffID, Descriptor] = field(default_factory=dict)


class Exporter:
    """Makes images of solved plans. `hold` keeps blobs and layers for the caller's lease; `stamp` writes a time that no
    layer has."""

    def __init__(
        self,
        images: ImageStore,
        cache: StepCache,
        *,
        hold: Callable[..., None],
        stamp: Callable[[float], str],
        squash: str = "",
        history: bool = True,
        caches: OfCaches | None = None,
    ) -> None:
        caches = caches or OfCaches()
        self._carried, self._elsewhere = caches.carried, caches.elsewhere
        self._images = images
        self._cache = cache
        self._hold = hold
        self._stamp = stamp
        self._squash, self._history = squash, history

    @cached_property
    def _forms(self) -> FormMaker:
        from boxwright.build.forms import FormMaker  # an image that is found needs none

        return FormMaker(self._images, self._cache, self._hold)

    def image(self, solved: Solved, form: ImageForm) -> Exported:
        """One platform's image, made or found; not registered, no names. Raises what reading layers raises."""
        key = self._key(solved, form)
        hit = self._cache.find(key)
        if hit is not None and (found := self._found(hit.result, solved.plan, form)) is not None:
            return found
        at = hit.created if hit is not None else time.time()
        solved.ensure()
        layers = self._layers(solved, form)
        config = self._config(
            solved=solved, form=form, layers=[layer.diff_id for layer in layers], fallback=self._stamp(at)
        )
        raw = config.to_bytes()
        manifest = Manifest.compose(
            Descriptor.of(raw, mt.OCI_CONFIG if form.oci else mt.DOCKER_CONFIG),
            [layer.desc for layer in layers],
            media_type=mt.OCI_MANIFEST if form.oci else mt.DOCKER_MANIFEST,
            annotations=notes.at(form.annotations, notes.MANIFEST, str(solved.plan.platform)),
        )
        self._hold("blob", manifest.descriptor.digest, manifest.config.digest)
        self._images.store.put(raw, manifest.config.media_type)
        desc = self._images.store.put(manifest.raw, manifest.media_type)
        if hit is None:
            self._record(
                key=key,
                tree=solved.tree,
                at=at,
                desc=desc,
                image_id=str(manifest.config.digest),
                created=config.created,
            )
        return Exported(str(manifest.config.digest), self._entry(desc, solved.plan, form), config.created)

    def index(
        self, made: Sequence[Exported], form: ImageForm, attached: Sequence[Descriptor] = ()
    ) -> Exported:
        """Several images under one index, and behind them what is `attached` to them."""
        index = Index.compose(
            [*(one.desc for one in made), *attached],
            media_type=mt.OCI_INDEX if form.oci else mt.DOCKER_LIST,
            annotations=notes.at(form.annotations, notes.INDEX),
        )
        self._hold("blob", index.descriptor.digest)
        desc = self._images.store.put(index.raw, index.media_type)
        desc = replace(desc, annotations=notes.at(form.annotations, notes.INDEX_DESCRIPTOR))
        return Exported(
            image_id=made[0].image_id,
            desc=desc,
            created=max(one.created for one in made),
            reused=all(one.reused for one in made),
        )

    def register(self, exported: Exported, names: Sequence[str], parent: str = "") -> None:
        """Make it an image of the store and point normalised names at it; what they pointed at before keeps its row,
        without a name."""
        row = self._row(exported.target)
        if row is None:
            self._forms.to_run(exported.desc)
            row = self._images.add(exported.desc, parent=parent)
        for name in names:
            if name not in row.names:
                self._images.tag(exported.target, name)
            elif "@" not in name:
                self._images.tell("tag", row, familiar(name))
        self._images.tell("create", row)

    # --- what is on record -----------------------------------------------------------------------

    def _found(self, result: Any, plan: Plan, form: ImageForm) -> Exported | None:
        """The image of a record, if all of it is still here."""
        target = Digest.parse(str(result["target"]))
        row = self._row(str(target))
        if row is None:
            self._hold("blob", target)
            with self._images.store.committing():
                if not self._whole(target):
                    return None
        desc = Descriptor(str(result["media_type"]), target, int(result["size"]))
        created = str(result["created"])
        return Exported(
            image_id=str(result["image_id"]),
            desc=self._entry(desc, plan, form),
            created=created,
            reused=row is not None,
        )

    def _whole(self, target: Digest) -> bool:
        store, layers = self._images.store, self._images.layers
        if store.size(target) is None:
            return False
        manifest = parse(store.read(target))
        assert isinstance(manifest, Manifest)
        return all(
            store.size(desc.digest) == desc.size
            or mt.is_foreign(desc.media_type)
            or (desc is not manifest.config and layers.has(DiffID(desc.digest.algorithm, desc.digest.hex)))
            for desc in manifest.references()
        )

    def _record(self, key: str, tree: Tree, at: float, desc: Descriptor, image_id: str, created: str) -> None:
        result = {
            "target": str(desc.digest),
            "media_type": desc.media_type,
            "size": desc.size,
            "image_id": image_id,
            "created": created,
        }
        self._cache.add(
            StepRecord(
                key=key,
                lineage="",
                kind=KIND,
                name="exporting to image",
                ingredients={},
                layers=tree.layers,
                result=result,
                bytes=0,
                seconds=0.0,
                created=at,
                last_used=time.time(),
                uses=1,
            )
        )

    def _row(self, target: str) -> ImageRow | None:
        rows = self._images.rows("target = ?", (target,))
        return rows[0] if rows else None

    def _key(self, solved: Solved, form: ImageForm) -> str:
        plan, tree_of = solved.plan, solved.tree_of
        drafts = [
            (d.created_by, tree_of(d.vertex).created if d.vertex is not None else "") for d in plan.drafts
        ]
        body: dict[str, Any] = {
            "kind": KIND,
            "layers": [str(layer) for layer in solved.tree.layers],
            "config": plan.config,
            "author": plan.author,
            "platform": plan.platform.to_json(),
            "base": [h.to_json() for h in plan.base_history],
            "kept": self._base_layers(plan),
            "history": [list(d) for d in drafts],
            "form": _said(form),
            "squash": self._squash,
            "told": self._history,
            "order": list(plan.config),
            **({"carried": dict(self._carried)} if self._carried else {}),
            **({"elsewhere": sorted(map(str, self._elsewhere))} if self._elsewhere else {}),
        }
        return json_digest(body)

    # --- parts of an image -------------------------------------------------------------------------

    def _layers(self, solved: Solved, form: ImageForm) -> list[FormLayer]:
        kept, stack = self._base_layers(solved.plan), solved.tree.layers
        squash = self._squashing(solved)
        if squash:
            kept = kept if squash == "new" else 0
            stack = (*stack[:kept], self._forms.squashed(stack, kept))
        if form.rewrite and form.epoch is not None:
            stack = (*stack[:kept], *(self._forms.clamped(d, form.epoch, form.exactly) for d in stack[kept:]))
        foreign = self._forms.foreign(solved.plan) if form.foreign else {}
        return self._forms.packed(stack, form, {**foreign, **self._elsewhere})

    def _squashing(self, solved: Solved) -> str:
        """What is squashed; '' where there is nothing."""
        below = self._base_layers(solved.plan) if self._squash == "new" else 0
        return self._squash if len(solved.tree.layers) > below else ""

    @staticmethod
    def _base_layers(plan: Plan) -> int:
        return len(plan.base.diff_ids) if plan.base is not None else 0

    @staticmethod
    def _entry(desc: Descriptor, plan: Plan, form: ImageForm) -> Descriptor:
        annotations = notes.at(form.annotations, notes.MANIFEST_DESCRIPTOR, str(plan.platform))
        return replace(desc, platform=plan.platform, annotations=annotations)

    def _config(
        self, solved: Solved, form: ImageForm, layers: Sequence[DiffID], fallback: str
    ) -> ImageConfig:
        plan, tree_of = solved.plan, solved.tree_of
        epoch = rfc3339(form.epoch) if form.epoch is not None else ""
        times = fill(
            [tree_of(d.vertex).created if d.vertex is not None else "" for d in plan.drafts],
            epoch or fallback,
        )
        entries = [
            HistoryEntry(
                created=epoch or at,
                created_by=d.created_by,
                author="",
                comment=COMMENT,
                empty_layer=d.vertex is None,
            )
            for at, d in zip(times, plan.drafts)
        ]
        if entries:
            created = entries[-1].created
        else:
            created = plan.base.created if plan.base is not None and plan.base.created else fallback
            if epoch and (form.exactly or _later(created, form.epoch)):
                created = epoch
        extra = {k: v for k, v in plan.base.extra.items() if k not in _OLD} if plan.base is not None else {}
        extra |= self._carried
        return ImageConfig(
            platform=plan.platform,
            diff_ids=tuple(layers),
            history=squashed_history(plan.base_history, entries, self._squashing(solved))
            if self._history
            else (),
            config=plan.config,
            created=created,
            author=plan.author,
            extra=extra,
        )


def squashed_history(
    base: Sequence[HistoryEntry], own: Sequence[HistoryEntry], squash: str
) -> tuple[HistoryEntry, ...]:
    """The history when all layers of this build (`new`), or all there are (`all`), are one: the last entry has it, and
    what made the base is told of only with `new`."""
    if not squash:
        return (*base, *own)
    told = own or base
    one = [replace(entry, empty_layer=True) for entry in told[:-1]]
    one += [replace(entry, empty_layer=False) for entry in told[-1:]]
    return (*(base if squash == "new" else ()), *one)


def _said(form: ImageForm) -> dict[str, Any]:
    """A form as a part of a key."""
    return {
        "compression": form.compression,
        "level": form.level,
        "force": form.force,
        "oci": form.oci,
        "epoch": form.epoch,
        "rewrite": form.rewrite,
        "exactly": form.exactly,
        "foreign": form.foreign,
        "annotations": [[one.level, one.platform, one.key, one.value] for one in form.annotations],
    }


def _later(text: str, epoch: int | None) -> bool:
    seconds = unix_seconds(text)
    return epoch is not None and (seconds is None or seconds > epoch)


def fill(times: Sequence[str], fallback: str) -> list[str]:
    """The times of history entries, where changes of metadata have none: that of the layer before, for those in
    front the first layer's, or `fallback` without any."""
    first = next((t for t in times if t), fallback)
    out: list[str] = []
    for at in times:
        out.append(at or (out[-1] if out else first))
    return out
