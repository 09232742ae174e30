"""Where the disk space of a root is: by inode, so that the parts add up to what `du -x` sees."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from boxwright.content.db import Database
from boxwright.content.gc import mark
from boxwright.content.local import LocalStore
from boxwright.image.buildcache import BuildCache, CacheEntry
from boxwright.image.catalog import ImageCatalog
from boxwright.image.collect import Reach
from boxwright.image.describe import ImageSummary, summaries
from boxwright.image.remove import Use
from boxwright.spec.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    Nodes = set[tuple[str, str]]  # ("layer" or "blob", its digest)
    SizeOf = Callable[[Iterable[tuple[str, str]]], int]


@dataclass(frozen=True, slots=True)
class Part:
    """One line of `system df`. `size` and `reclaimable` are bytes on disk; `active` of `total` are in use."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """An image in `system df -v`. `shared` and `unique` are bytes on disk that it shares with others, or has alone."""

    image: ImageSummary
    shared: int
    unique: int
    containers: int


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """A volume in `system df -v`; `links` are the containers that mount it."""

    name: str
    links: int
    size: int


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """A part of the build cache in `system df -v`; `size` is disk space that it alone keeps, in bytes."""

    entry: CacheEntry
    size: int


@dataclass(frozen=True, slots=True)
class Usage:
    """All parts; `other` is the database, partial downloads and the like."""

    parts: tuple[Part, ...]
    images: tuple[ImageUsage, ...] = ()
    volumes: tuple[VolumeUsage, ...] = ()
    cache: tuple[CacheUsage, ...] = ()
    containers: dict[str, int] = field(default_factory=dict)  # id -> bytes of its own

    @property
    def total(self) -> int:
        """Everything under the root."""
        return sum(part.size for part in self.parts)


class _Sizes:
    """Disk space below paths of one file system, each inode counted once over the life of this object."""

    def __init__(self, root: Path) -> None:
        self._device = root.stat().st_dev
        self._seen: set[tuple[int, int]] = set()

    def of(self, path: Path, *, below: bool = True) -> int:
        try:
            info = path.lstat()
        except FileNotFoundError:
            return 0
        total = self._count(info)
        if not below or not stat.S_ISDIR(info.st_mode) or self._elsewhere(info):
            return total
        todo = [str(path)]
        while todo:
            try:
                entries = list(os.scandir(todo.pop()))
            except (FileNotFoundError, PermissionError):
                continue
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                total += self._count(info)
                if stat.S_ISDIR(info.st_mode) and not self._elsewhere(info):
                    todo.append(entry.path)
        return total

    def _elsewhere(self, info: os.stat_result) -> bool:
        """A mount inside (an index, a running container's tree) is not the store's own disk space. Directories tell: on
        overlayfs, a file may have the device of a layer."""
        return stat.S_ISDIR(info.st_mode) and info.st_dev != self._device

    def _count(self, info: os.stat_result) -> int:
        if self._elsewhere(info):
            return 0
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            inode = (info.st_dev, info.st_ino)
            if inode in self._seen:
                return 0
            self._seen.add(inode)
        return info.st_blocks * 512


class Surveyor:
    """Measures one root. `uses` are all of its containers, `volumes` the names of all its volumes."""

    def __init__(self, store: LocalStore, db: Database, uses: Sequence[Use], volumes: Sequence[str]) -> None:
        self._root, self._places = store.root, store.places
        self._db = db
        self._catalog = ImageCatalog(store.root, db)
        self._reach = Reach(store.root, db)
        self._sizes = _Sizes(store.root)
        self._uses, self._names = uses, volumes
        self._running = {use.container for use in uses if use.running}

    def survey(self) -> Usage:
        """Measure everything. Reads the whole tree of the root."""
        self._settle()
        blobs = self._folder(self._places.blobs_of("sha256"), "sha256:")
        blobs |= self._folder(self._places.blobs_of("sha512"), "sha512:")
        layers = {
            name.replace("-", ":", 1): size for name, size in self._folder(self._places.layers, "").items()
        }
        images = summaries(self._catalog, show_all=True)
        reached = {image.id: self._reached(image.targets) for image in images}
        of_images = set().union(*reached.values()) if reached else set()
        # What only containers keep (their image's row is gone) is theirs.
        of_containers = self._reached({use.target for use in self._uses}) | {
            ("layer", diff_id) for use in self._uses for diff_id in use.layers
        }
        sizes = {**{("layer", d): n for d, n in layers.items()}, **{("blob", d): n for d, n in blobs.items()}}

        def disk(nodes: Iterable[tuple[str, str]]) -> int:
            return sum(sizes.get(node, 0) for node in nodes)

        volumes = self._volumes()
        kept = of_images | of_containers
        cached = self._cache(layers, {digest for kind, digest in kept if kind == "layer"})
        cache_size = disk(sizes.keys() - kept) + self._sizes.of(self._places.cache)
        own = {use.container: self._own(use.container) for use in self._uses}
        parts = (
            self._of_images(images, reached, disk),
            self._of_containers(own, disk(of_containers - of_images)),
            _of_volumes(volumes),
            _of_cache(cached, cache_size),
            self._other(),
        )
        return Usage(
            parts=parts,
            images=tuple(self._shares(images=images, reached=reached, layers=layers, blobs=blobs)),
            volumes=tuple(volumes),
            cache=tuple(cached),
            containers=own,
        )

    # --- parts ---------------------------------------------------------------------------------

    def _own(self, container: str) -> int:
        return self._sizes.of(self._places.container(container)) + self._sizes.of(
            self._places.workspace(container)
        )

    def _of_images(
        self,
        images: Sequence[ImageSummary],
        reached: Mapping[str, Nodes],
        disk: SizeOf,
    ) -> Part:
        used = {use.target for use in self._uses}
        active = [image.id for image in images if not used.isdisjoint(image.targets)]
        size = disk(set().union(*reached.values()))
        return Part(
            type="Images",
            total=len(images),
            active=len(active),
            size=size,
            reclaimable=size - disk(set().union(*(reached[image] for image in active))),
        )

    def _of_containers(self, own: Mapping[str, int], alone: int) -> Part:
        """`alone`: bytes of images that only containers keep."""
        return Part(
            type="Containers",
            total=len(own),
            active=len(self._running & own.keys()),
            size=sum(own.values()) + alone,
            reclaimable=sum(size for container, size in own.items() if container not in self._running),
        )

    def _other(self) -> Part:
        other = self._rest()
        trash = other.pop("trash", 0) + other.pop("ingest", 0)
        return Part(
            type="Other",
            total=len(other),
            active=len(other),
            size=sum(other.values()) + trash,
            reclaimable=trash,
        )

    def _settle(self) -> None:
        """Bring what SQLite keeps in its log into its file, unless another process is busy with it."""
        if self._db.read_only:
            return
        with self._db.read() as sql:
            if sql.execute("PRAGMA query_only").fetchone()[0]:  # of a full disk's, a copy is read
                return
            (patience,) = sql.execute("PRAGMA busy_timeout").fetchone()
            sql.execute("PRAGMA busy_timeout=100")
            try:
                sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                sql.execute(f"PRAGMA busy_timeout={patience}")

    def _folder(self, folder: Path, prefix: str) -> dict[str, int]:
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        return {prefix + n: self._sizes.of(folder / n) for n in names}

    def _reached(self, targets: Iterable[str]) -> set[tuple[str, str]]:
        return mark([("blob", target) for target in targets if target], self._reach)

    def _volumes(self) -> list[VolumeUsage]:
        return [
            VolumeUsage(
                name=name,
                links=sum(name in use.volumes for use in self._uses),
                size=self._sizes.of(self._places.volume(name)),
            )
            for name in self._names
        ]

    def _cache(self, layers: dict[str, int], kept: set[str]) -> list[CacheUsage]:
        found, counted = [], kept.copy()
        for entry in BuildCache(self._root, self._db).entries(kept):
            own = [d for d in entry.layers if d not in counted]
            counted.update(own)
            size = sum(layers.get(d, 0) for d in own)
            found.append(CacheUsage(entry, _Sizes(self._root).of(entry.path) if entry.path else size))
        return found

    def _rest(self) -> dict[str, int]:
        """What is left under the root, by top-level name. Run last: counted inodes are not counted again."""
        places = self._places
        parts = (
            places.blobs,
            places.layers,
            places.containers,
            places.workspaces,
            places.volumes,
            places.cache,
        )
        done = {part.relative_to(self._root).parts[0] for part in parts}
        out = {"": self._sizes.of(self._root, below=False)}
        for name in sorted(os.listdir(self._root)):
            # What SQLite has only while a process reads, as this one does, is not what `du` finds afterwards.
            if name not in done and not name.endswith((".db-wal", ".db-shm")):
                out[name] = self._sizes.of(self._root / name)
        for name in sorted(done - {places.cache.name}):
            out[name] = self._sizes.of(self._root / name, below=False)
        out["blobs/"] = sum(
            self._sizes.of(self._places.blobs_of(a), below=False) for a in ("sha256", "sha512")
        )
        known, volumes = {use.container for use in self._uses}, set(self._names)
        for path, owned in (
            (self._places.containers, known),
            (self._places.workspaces, known),
            (self._places.volumes, volumes),
        ):
            if path.is_dir():
                out[path.name + "/"] = sum(
                    self._sizes.of(path / n) for n in os.listdir(path) if n not in owned
                )
        return out

    def _shares(
        self,
        images: list[ImageSummary],
        reached: dict[str, set[tuple[str, str]]],
        layers: dict[str, int],
        blobs: dict[str, int],
    ) -> Iterable[ImageUsage]:
        times: dict[tuple[str, str], int] = {}
        for nodes in reached.values():
            for node in nodes:
                times[node] = times.get(node, 0) + 1
        for image in images:
            shared = unique = 0
            for node in reached[image.id]:
                size = (layers if node[0] == "layer" else blobs).get(node[1], 0)
                shared, unique = (shared + size, unique) if times[node] > 1 else (shared, unique + size)
            yield ImageUsage(
                image=image,
                shared=shared,
                unique=unique,
                containers=sum(use.target in image.targets for use in self._uses),
            )


def _of_volumes(volumes: Sequence[VolumeUsage]) -> Part:
    return Part(
        type="Local Volumes",
        total=len(volumes),
        active=sum(bool(volume.links) for volume in volumes),
        size=sum(volume.size for volume in volumes),
        reclaimable=sum(volume.size for volume in volumes if not volume.links),
    )


def _of_cache(rows: Sequence[CacheUsage], size: int) -> Part:
    return Part(
        type="Build Cache",
        total=len(rows),
        active=sum(row.entry.in_use for row in rows),
        size=size,
        reclaimable=size,
    )
