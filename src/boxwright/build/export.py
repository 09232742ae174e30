"""From a solved plan to an image: times into the history, compose, names. Nothing of it is done twice.

The outcome is on record like a step's: the same layers and config give the same image ID, also for an image
without a layer of its own, and an image that is still here is neither composed nor written again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from boxwright.build.dockerfile.history import COMMENT
from boxwright.build.graph import Tree, Vertex, json_digest
from boxwright.build.plan import Plan
from boxwright.image.steps import StepCache, StepRecord
from boxwright.spec.config import HistoryEntry, ImageConfig
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.image.catalog import ImageRow
    from boxwright.image.store import ImageStore

KIND = "export/1"


@dataclass(frozen=True, slots=True)
class Exported:
    """An image in the store. `reused` when it was there already."""

    image_id: str
    target: str
    media_type: str
    size: int
    reused: bool


class Exporter:
    """Makes images of solved plans."""

    def __init__(
        self, images: ImageStore, cache: StepCache, *, stamp: Callable[[float], str], epoch: int | None
    ) -> None:
        self._images = images
        self._cache = cache
        self._stamp = stamp
        self._epoch = epoch

    def find(
        self, plan: Plan, tree: Tree, tree_of: Callable[[Vertex], Tree], annotations: Mapping[str, str]
    ) -> Exported | None:
        """The image, if the same one was made before and is still here."""
        hit = self._cache.find(self._key(plan=plan, tree=tree, tree_of=tree_of, annotations=annotations))
        if hit is None:
            return None
        row = self._row(str(hit.result.get("target", "")))
        return _exported(row, True) if row is not None else None

    def make(
        self,
        plan: Plan,
        tree: Tree,
        tree_of: Callable[[Vertex], Tree],
        annotations: Mapping[str, str],
        parent: str = "",
    ) -> Exported:
        """Compose and register the image. The caller's lease holds its layers."""
        key = self._key(plan=plan, tree=tree, tree_of=tree_of, annotations=annotations)
        hit = self._cache.find(key)
        at = hit.created if hit is not None else time.time()
        config = self._config(plan=plan, tree=tree, tree_of=tree_of, fallback=self._stamp(at))
        row = self._images.create(config, parent=parent, annotations=dict(annotations))
        if hit is None:
            now = time.time()
            result = {"target": row.target, "image_id": row.image_id}
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
                    last_used=now,
                    uses=1,
                )
            )
        return _exported(row, False)

    def name(self, exported: Exported, names: Sequence[str]) -> None:
        """Point normalised names at the image; what they pointed at before keeps its row, without a name."""
        row = self._row(exported.target)
        has = row.names if row is not None else ()
        for name in names:
            if name not in has:
                self._images.tag(exported.target, name)

    def _row(self, target: str) -> ImageRow | None:
        rows = self._images.rows("target = ?", (target,))
        return rows[0] if rows else None

    def _key(
        self, plan: Plan, tree: Tree, tree_of: Callable[[Vertex], Tree], annotations: Mapping[str, str]
    ) -> str:
        drafts = [
            (d.created_by, tree_of(d.vertex).created if d.vertex is not None else "") for d in plan.drafts
        ]
        body: dict[str, Any] = {
            "kind": KIND,
            "layers": [str(layer) for layer in tree.layers],
            "config": plan.config,
            "author": plan.author,
            "platform": plan.platform.to_json(),
            "base": [h.to_json() for h in plan.base_history],
            "history": [list(d) for d in drafts],
            "annotations": dict(annotations),
            "epoch": self._epoch,
            "order": list(plan.config),
        }
        return json_digest(body)

    def _config(
        self, plan: Plan, tree: Tree, tree_of: Callable[[Vertex], Tree], fallback: str
    ) -> ImageConfig:
        times = fill(
            [tree_of(d.vertex).created if d.vertex is not None else "" for d in plan.drafts], fallback
        )
        entries = [
            HistoryEntry(
                created=at, created_by=d.created_by, author="", comment=COMMENT, empty_layer=d.vertex is None
            )
            for at, d in zip(times, plan.drafts)
        ]
        created = times[-1] if times else fallback if plan.base is None else plan.base.created or fallback
        extra = dict(plan.base.extra) if plan.base is not None else {}
        for key in (
            "id",
            "parent",
            "container",
            "container_config",
            "docker_version",
            "parent_id",
            "moby.buildkit.cache.v0",
        ):
            extra.pop(key, None)
        return ImageConfig(
            platform=plan.platform,
            diff_ids=tree.layers,
            history=(*plan.base_history, *entries),
            config=plan.config,
            created=created,
            author=plan.author,
            extra=extra,
        )


def fill(times: Sequence[str], fallback: str) -> list[str]:
    """The times of history entries, where changes of metadata have none: that of the layer before, for those in
    front the first layer's, or `fallback` without any."""
    first = next((t for t in times if t), fallback)
    out: list[str] = []
    for at in times:
        out.append(at or (out[-1] if out else first))
    return out


def _exported(row: ImageRow, reused: bool) -> Exported:
    return Exported(
        image_id=row.image_id, target=row.target, media_type=row.media_type, size=row.size, reused=reused
    )
