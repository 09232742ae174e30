"""The collector's sweep: what no root reaches goes.

Roots are the rows of images, names, containers and step records, and whatever a living lease holds. The sweep
holds store.lock exclusively, so no process publishes meanwhile; inside one transaction it computes the live set and
deletes rows, then renames dead files to ROOT/trash, lets go of the lock, and deletes the trash at leisure. Killed
anywhere, it leaves a store that works: files without rows are garbage for the next sweep.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from boxwright.content.db import Database
from boxwright.content.gc import mark
from boxwright.content.lease import drop_dead, held
from boxwright.files import locks
from boxwright.files.locks import Lock
from boxwright.files.places import Places
from boxwright.files.trees import erase, set_aside
from boxwright.image.holding import Holding
from boxwright.image.steps import StepCache
from boxwright.layer.store import LayerStore
from boxwright.spec import mediatypes as mt
from boxwright.spec.digest import DiffID
from boxwright.spec.manifest import MAX_SIZE
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_PARTIAL_AGE = 24 * 3600  # seconds that an interrupted download stays resumable
_FRESH = 5  # seconds between the making of a layer's temporary directory and its lock, at the very most
_SINGLE, _INDEX, _BLOB, _LAYER = "manifest", "index", "blob", "layer"
Node = tuple[str, str]  # what, digest


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep took. `bytes` is disk space; `layers` are diff IDs."""

    bytes: int = 0
    blobs: int = 0
    layers: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()


class Reach:
    """What content refers to, and what refers to it and lives with it. Content is immutable, so one answer serves
    before and inside the lock; what is attached is looked up again with `look`."""

    def __init__(self, root: Path, db: Database) -> None:
        self._blobs = Places(root).blobs
        self._known: dict[Node, tuple[Node, ...]] = {}
        self._attached: dict[str, list[Node]] = {}
        self.look(db)

    def look(self, db: Database) -> None:
        """Read what is attached to what."""
        found: dict[str, list[Node]] = {}
        with db.read() as sql:
            for subject, target in sql.execute("SELECT subject, target FROM attached"):
                found.setdefault(subject, []).append((_BLOB, target))
        self._attached = found

    def __call__(self, node: Node) -> Sequence[Node]:
        own = self._own(node)
        more = self._attached.get(node[1]) if node[0] == _BLOB else None
        return (*own, *more) if more else own

    def _own(self, node: Node) -> tuple[Node, ...]:
        found = self._known.get(node)
        if found is None:
            found = tuple(self._references(node))
            if found:  # a blob that is not here yet may come
                self._known[node] = found
        return found

    def _references(self, node: Node) -> Iterable[Node]:
        kind, digest = node
        if kind == _LAYER:
            return ()
        body = self._json(digest)
        if not isinstance(body, dict):
            return ()
        return [*_manifest_references(body), *_config_references(body)]

    def _json(self, digest: str) -> Any:
        """The blob, if it can be a manifest or a config; None for anything else."""
        algorithm, _, hexed = digest.partition(":")
        try:
            with open(self._blobs / algorithm / hexed, "rb") as file:
                if os.fstat(file.fileno()).st_size > MAX_SIZE or file.read(1) != b"{":
                    return None
                return json.loads(b"{" + file.read())
        except (OSError, ValueError, RecursionError):
            return None


def _manifest_references(body: dict[str, Any]) -> Iterable[Node]:
    entries = body.get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str):
            yield _BLOB, entry["digest"]
    layers = body.get("layers")
    for entry in (body.get("config"), *(layers if isinstance(layers, list) else ())):
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str):
            yield _BLOB, entry["digest"]
            if str(entry.get("mediaType")) == mt.OCI_LAYER:
                yield _LAYER, entry["digest"]


def _config_references(body: dict[str, Any]) -> Iterable[Node]:
    rootfs = body.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    for diff_id in diff_ids if isinstance(diff_ids, list) else ():
        yield _LAYER, str(diff_id)


def roots(db: Database, holdings: Iterable[Holding]) -> set[Node]:
    """Where the mark begins; `holdings` are those of all containers."""
    return roots_besides_steps(db, holdings) | {(_LAYER, diff_id) for diff_id in StepCache(db).kept()}


def roots_besides_steps(db: Database, holdings: Iterable[Holding]) -> set[Node]:
    """Where it begins for what builds alone do not keep."""
    found: set[Node] = set()
    with db.read() as sql:
        for (target,) in sql.execute("SELECT target FROM images UNION SELECT target FROM names"):
            found.add((_BLOB, target))
    for holding in holdings:
        if holding.target:  # one whose tree is the host's has none
            found.add((_BLOB, holding.target))
        found.update((_LAYER, diff_id) for diff_id in holding.layers)
    found.update((_BLOB, ref) for ref in held(db, "blob"))
    found.update((_LAYER, ref) for ref in held(db, "layer"))
    return found


class Collector:
    """Sweeps over one root. `holdings` tells what containers keep; it is asked again in the sweep's transaction.
    `release` unmounts the indexes of layers, `discard` ends a workspace (both from the snapshot driver); without them
    only files are removed."""

    def __init__(
        self,
        layers: LayerStore,
        holdings: Callable[[], Iterable[Holding]],
        *,
        release: Callable[[Sequence[DiffID]], None] | None = None,
        discard: Callable[[str], None] | None = None,
    ) -> None:
        store = layers.store
        self._store = store
        self._layers = layers
        self._db = layers.db
        self._root = store.root
        self._holdings = holdings
        self._release = release
        self._discard = discard
        self._reach = Reach(store.root, self._db)

    def sweep(self, *, copies: bool = False) -> Swept:
        """Remove what nothing reaches. `copies` also drops the compressed copies of layers that no manifest here
        names, and interrupted downloads of any age: they can be made or fetched again."""
        workspaces = self._workspaces()
        # Warms the answers, so that the lock is held briefly.
        mark(roots(self._db, self._holdings()), self._reach)
        with self._store.sweeping():
            with self._db.write() as sql:
                self._reach.look(self._db)
                live = mark(roots(self._db, self._holdings()), self._reach)
                layers = {digest for kind, digest in live if kind == _LAYER}
                blobs = {digest for kind, digest in live if kind == _BLOB}
                if not copies:
                    blobs |= self._layers.compressed(layers)
                lost = {s for (s,) in sql.execute("SELECT subject FROM attached") if (_BLOB, s) not in live}
                sql.executemany("DELETE FROM attached WHERE subject = ?", [(s,) for s in lost])
                dead = self._layers.keep_rows(layers)
            dead_blobs = self._dead_blobs(blobs)
            if self._release is not None and dead:
                self._release(dead)
            for path in list(self._layers.leftovers()):
                if not path.name.startswith(".tmp-") or path.stat().st_mtime < time.time() - _FRESH:
                    self._layers.discard(path)
            for path in dead_blobs:
                set_aside(path, self._store.places.trash)
        freed = self.empty_trash() + self._partials(0 if copies else _PARTIAL_AGE)
        return Swept(
            bytes=freed,
            blobs=len(dead_blobs),
            layers=tuple(sorted(map(str, dead))),
            workspaces=tuple(workspaces),
        )

    # --- parts ---------------------------------------------------------------------------------

    def _workspaces(self) -> list[str]:
        """End the workspaces of dead owners; returns their keys."""
        # Listed before the owners are read: an owner is recorded before its directory is made.
        there = os.listdir(self._store.places.workspaces) if self._store.places.workspaces.is_dir() else []
        dead = set(drop_dead(self._db))
        owned = held(self._db, "workspace")
        for holding in self._holdings():
            owned |= {holding.container, *holding.workspaces}
        stray = sorted((dead | {name for name in there if not name.startswith(".")}) - owned)
        for key in stray:
            if self._discard is not None:
                self._discard(key)
            else:
                erase(self._store.places.workspace(key))
        return stray

    def _dead_blobs(self, live: set[str]) -> list[Path]:
        found: list[Path] = []
        for algorithm in ("sha256", "sha512"):
            folder = self._store.places.blobs_of(algorithm)
            if folder.is_dir():
                # Names with a dot are half-written: no process writes while the collector holds the lock.
                found += [
                    folder / n
                    for n in os.listdir(folder)
                    if n.startswith(".") or f"{algorithm}:{n}" not in live
                ]
        return found

    def empty_trash(self) -> int:
        """Delete what sweeps put aside, this one and any that were interrupted; returns the bytes freed."""
        folder = self._store.places.trash
        return sum(erase(folder / name) for name in os.listdir(folder)) if folder.is_dir() else 0

    def _partials(self, age: float) -> int:
        """Delete interrupted downloads that no pull went on with for so many seconds; returns the bytes freed."""
        freed, oldest = 0, time.time() - age
        for entry in list(os.scandir(self._store.places.ingests)):
            try:
                if entry.stat(follow_symlinks=False).st_mtime > oldest:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    freed += erase(Path(entry.path))
                    continue
                with Lock(locks.INGEST, os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC), wait=False):
                    freed += erase(Path(entry.path))
            except (FileNotFoundError, BlockingIOError):
                continue
        return freed
