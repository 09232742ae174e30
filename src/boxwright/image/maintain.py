"""Removal and pruning as commands see them: rows first (`remove`), then the sweep (`collect`), then what was freed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from boxwright.content import reserve
from boxwright.errors import BoxwrightError
from boxwright.image.collect import Collector, Reach, Swept, roots_besides_steps
from boxwright.image.filters import Filters
from boxwright.image.holding import Holding
from boxwright.image.remove import Removed, Remover, Use
from boxwright.image.store import ImageStore
from boxwright.snapshot.snapshotter import Snapshotter
from boxwright.spec.digest import DiffID, chain_id
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.image.buildcache import CacheEntry
    from boxwright.image.usage import Usage
    from boxwright.image.validate import Problem


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune took, and bytes of disk space. Names of images say what happened to them; of containers, networks,
    volumes and build cache these are IDs, names, names and keys."""

    removed: tuple[Removed, ...] = ()
    bytes: int = 0

    @classmethod
    def of(cls, deleted: Iterable[str], bytes: int = 0) -> Pruned:
        """Things that are gone."""
        return cls(tuple(Removed("Deleted", name) for name in deleted), bytes)


class Maintenance:
    """`holdings` tells what containers keep, `uses` also which of them run; `volumes` are the names of all volumes;
    `snapshots` makes the snapshot driver, which is asked only when something mounted may have to go."""

    def __init__(
        self,
        images: ImageStore,
        holdings: Callable[[], Iterable[Holding]],
        uses: Callable[[], Sequence[Use]],
        volumes: Callable[[], Sequence[str]],
        snapshots: Callable[[], Snapshotter],
    ) -> None:
        self._images = images
        self._db = images.db
        self._holdings = holdings
        self._uses = uses
        self._volumes = volumes
        self._snapshots = snapshots

    # --- the sweep -----------------------------------------------------------------------------

    def sweep(self, *, copies: bool = False) -> Swept:
        """See Collector.sweep."""
        return Collector(
            self._images.layers, self._holdings, release=self._release, discard=self._discard
        ).sweep(copies=copies)

    def _release(self, layers: Sequence[DiffID]) -> None:
        if not self._images.store.places.mounts.is_dir():
            return  # nothing was ever mounted; the driver need not be found out
        snapshots = self._snapshots()
        for diff_id in layers:
            snapshots.release(diff_id)

    def _discard(self, key: str) -> None:
        self._snapshots().discard(key)

    def usage(self) -> Usage:
        """See usage.Surveyor."""
        from boxwright.image.usage import Surveyor

        return Surveyor(
            store=self._images.store, db=self._db, uses=self._uses(), volumes=self._volumes()
        ).survey()

    def fsck(self, *, repair: bool = False) -> list[Problem]:
        """See validate.Checker."""
        from boxwright.image.validate import Checker

        problems = Checker(self._images).run(repair=repair)
        if not self._db.read_only:
            self._images.publish()
        return problems

    # --- images --------------------------------------------------------------------------------

    def remove(
        self, texts: Sequence[str], *, force: bool = False, prune: bool = True
    ) -> tuple[list[Removed], list[BoxwrightError]]:
        """`rmi` of several: what went, and why others did not. One sweep follows for all."""
        reserve.spend(self._images.store.root)
        lines: list[Removed] = []
        failures: list[BoxwrightError] = []
        stacks: list[tuple[str, ...]] = []
        for text in texts:
            stack = self._stack(text)
            try:
                gone = Remover(self._images, self._uses()).remove(text, force=force, prune=prune)
                self._tell(gone)
                lines += gone
                stacks.append(stack)
            except BoxwrightError as error:
                failures.append(error)
        if lines:
            self._images.publish()
        if any(line.action == "Deleted" for line in lines):
            swept = self.sweep()
            lines += _layer_lines(stacks, set(swept.layers))
        return lines, failures

    def _tell(self, lines: Iterable[Removed]) -> None:
        for line in lines:
            if line.image is None:
                continue
            if line.action == "Untagged":
                self._images.tell("untag", line.image)
            else:  # Docker looks its labels up when it is gone
                self._images.tell("delete", replace(line.image, labels=""))

    def _tell_pruned(self, kind: str, freed: int) -> None:
        from boxwright.content import journal

        journal.tell(
            str(self._images.store.places.events),
            kind=kind,
            action="prune",
            identity="",
            attributes={"reclaimed": str(freed)},
        )

    def _stack(self, text: str) -> tuple[str, ...]:
        """The layers of an image before it goes, bottom first."""
        try:
            row = self._images.find(text)
            config = json.loads(self._images.blob(row.image_id)) if row else {}
            return tuple(str(d) for d in config["rootfs"]["diff_ids"])
        except (BoxwrightError, ValueError, KeyError, TypeError):
            return ()  # only the lines about its layers depend on it

    def image_prune(self, *, everything: bool = False, filters: Filters | None = None) -> Pruned:
        """See engine.images.prune."""
        reserve.spend(self._images.store.root)
        lines = Remover(self._images, self._uses()).prune(filters, everything=everything)
        self._tell(lines)
        self._images.publish()
        swept = self.sweep()
        self._tell_pruned("image", swept.bytes)
        return Pruned(tuple(lines), swept.bytes)

    # --- build cache ---------------------------------------------------------------------------

    def builder_prune(
        self,
        *,
        everything: bool = False,
        filters: Filters | None = None,
        keep: int = 0,
        most: int = 0,
        free: int = 0,
    ) -> Pruned:
        """See engine.builds.prune. Filters: see buildcache.matcher."""
        from boxwright.image.buildcache import BuildCache, matcher

        reserve.spend(self._images.store.root)
        matches, cache = matcher(filters or {}), BuildCache(self._images.store.root, self._db)
        entries = sorted(
            cache.entries(self._layers_of_images()), key=lambda entry: entry.last_used, reverse=True
        )
        candidates = [entry for entry in entries if matches(entry) and (everything or not entry.in_use)]
        chosen, budget = [], keep
        for entry in candidates:
            if budget >= entry.bytes and keep:
                budget -= entry.bytes
                continue
            chosen.append(entry)
        if most or free:
            chosen = self._enough(chosen, sum(entry.bytes for entry in entries), most=most, free=free)
        gone = cache.remove(chosen)
        if everything and not filters and not (keep or most or free):
            cache.forget_digests()
        swept = self.sweep(copies=everything)
        self._tell_pruned("builder", swept.bytes)
        return Pruned.of((entry.key for entry in gone), swept.bytes)

    def _enough(self, entries: list[CacheEntry], total: int, most: int, free: int) -> list[CacheEntry]:
        """Of entries, latest first, the oldest whose removal leaves `most` bytes of cache and `free` bytes on the disk;
        what of the two is 0 is not asked for."""
        import os

        disk = os.statvfs(self._images.store.root)
        wanted = max(total - most if most else 0, free - disk.f_bavail * disk.f_frsize if free else 0)
        chosen: list[CacheEntry] = []
        for entry in reversed(entries):
            if wanted <= 0:
                break
            chosen.append(entry)
            wanted -= entry.bytes
        return chosen

    def _layers_of_images(self) -> set[str]:
        """Layers that images and containers keep: a record whose result is all theirs costs nothing."""
        from boxwright.content.gc import mark

        begin = roots_besides_steps(self._db, self._holdings())
        return {
            digest
            for kind, digest in mark(begin, Reach(self._images.store.root, self._db))
            if kind == "layer"
        }


def _layer_lines(stacks: Sequence[Sequence[str]], gone: set[str]) -> list[Removed]:
    """Docker names removed layers by chain ID, top first."""
    lines: dict[str, Removed] = {}
    for stack in stacks:
        for height in range(len(stack), 0, -1):
            if stack[height - 1] in gone:
                chain = str(chain_id([DiffID.parse(d) for d in stack[:height]]))
                lines.setdefault(chain, Removed("Deleted", chain))
    return list(lines.values())
