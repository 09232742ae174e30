"""The layers of a root, by diff ID.

    ROOT/layers/sha256-<hex>/layer.tar    the uncompressed tar, as it arrived
    ROOT/layers/sha256-<hex>/index.erofs  where everything in it lies, in a form that the kernel mounts
    ROOT/layers/sha256-<hex>/sparse.data  expanded sparse files; only when the tar has such
    ROOT/layers/sha256-<hex>/tree/        instead of the three: what a build step or container wrote
    ROOT/layers/.tmp-<hex>/               on its way in; its writer holds a shared flock on it
    ROOT/trash/                           on its way out

Life cycle: a writer (or adopted tree) fills a temporary directory; `publish` renames it and inserts its row, both
under `LocalStore.committing`. What is published never changes. Directories without a row are garbage.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from boxwright.content.db import Database
from boxwright.content.lease import hold_for_process
from boxwright.content.local import LocalStore
from boxwright.errors import NotFound
from boxwright.files import locks
from boxwright.files.disk import disk_errors
from boxwright.files.locks import Lock
from boxwright.files.trees import set_aside
from boxwright.files.whole import fsync_dir
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.values import dataclass

_MOST_ORIGINS = 8  # repositories remembered for a blob; each costs a request when none can be mounted from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from boxwright.spec.descriptor import Descriptor


_TREE = "tree"


@dataclass(frozen=True, slots=True)
class Layer:
    """A stored layer. `bytes` counts the content of regular files, as Docker's SIZE does."""

    diff_id: DiffID
    kind: Literal["tar", "tree"]
    path: Path
    tar_size: int
    bytes: int
    entries: int

    @property
    def tar_path(self) -> Path:
        """A 'tar' layer's archive: exactly `tar_size` bytes."""
        return self.path / "layer.tar"

    @property
    def index_path(self) -> Path:
        """A 'tar' layer's EROFS index; `devices` are its extra devices."""
        return self.path / "index.erofs"

    @property
    def devices(self) -> tuple[Path, ...]:
        """The extra devices of the index, in the order in which a mount must name them: the tar, and the expanded
        sparse files when it has such."""
        sparse = self.path / "sparse.data"
        return (self.tar_path, sparse) if sparse.exists() else (self.tar_path,)

    @property
    def tree_path(self) -> Path:
        """A 'tree' layer's directory, an overlay upper."""
        return self.path / _TREE

    @property
    def tree_name(self) -> str:
        """The same as text: a step of a build has one for each step before it."""
        return f"{self.path}/{_TREE}"


_AT_ONCE = 500  # parameters of one statement
_MOST_MADE = 2000


class LayerMissing(NotFound):
    """The store has no layer of this diff ID."""


class LayerStore:
    """Layers on disk. Methods may be called from any thread."""

    def __init__(self, store: LocalStore, db: Database) -> None:
        self.store = store
        self.db = db
        self.root = store.places.layers
        self._made: dict[tuple[object, ...], Layer] = {}  # of rows, which say all of a layer

    def path(self, diff_id: Digest) -> Path:
        """Where a layer is or would be."""
        return self.store.places.layer(diff_id.algorithm, diff_id.hex)

    # --- which layers are kept -----------------------------------------------------------------------------

    def get(self, diff_id: Digest) -> Layer:
        """Raises LayerMissing."""
        return self.stack([diff_id])[0]

    def stack(self, diff_ids: Sequence[Digest]) -> list[Layer]:
        """`get` of many at once. Raises LayerMissing."""
        found = self._found(diff_ids)
        for diff_id in diff_ids:
            if str(diff_id) not in found:
                raise LayerMissing(
                    f"layer {diff_id} is not in the store", hint="pull or build the image again"
                )
        return [found[str(diff_id)] for diff_id in diff_ids]

    def missing(self, diff_ids: Sequence[DiffID]) -> list[DiffID]:
        """Those that are not stored now."""
        found = self._found(diff_ids)
        return [diff_id for diff_id in diff_ids if str(diff_id) not in found]

    def _found(self, diff_ids: Sequence[Digest]) -> dict[str, Layer]:
        names = [str(diff_id) for diff_id in diff_ids]
        found: dict[str, Layer] = {}
        with self.db.read() as sql:
            for at in range(0, len(names), _AT_ONCE):
                some = names[at : at + _AT_ONCE]
                rows = sql.execute(
                    "SELECT diff_id, kind, tar_size, bytes, entries FROM layers"
                    f" WHERE diff_id IN ({','.join('?' * len(some))})",
                    some,
                )
                found.update((row[0], self._layer(row)) for row in rows)
        return found

    def has(self, diff_id: Digest) -> bool:
        """Whether the layer is stored now."""
        with self.db.read() as sql:
            return (
                sql.execute("SELECT 1 FROM layers WHERE diff_id = ?", (str(diff_id),)).fetchone() is not None
            )

    def all(self) -> list[Layer]:
        """Every stored layer."""
        with self.db.read() as sql:
            rows = sql.execute(
                "SELECT diff_id, kind, tar_size, bytes, entries FROM layers ORDER BY added"
            ).fetchall()
        return [self._layer(row) for row in rows]

    def _layer(self, row: tuple[str, Literal["tar", "tree"], int, int, int]) -> Layer:
        layer = self._made.get(row)
        if layer is None:
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            diff_id = DiffID.parse(row[0])
            layer = self._made[row] = Layer(
                diff_id=diff_id,
                kind=row[1],
                path=self.path(diff_id),
                tar_size=row[2],
                bytes=row[3],
                entries=row[4],
            )
        return layer

    def by_blob(self, digest: Digest) -> Layer | None:
        """The stored layer whose compressed, or virtual, blob has this digest; None when none is known."""
        with self.db.read() as sql:
            row = sql.execute(
                "SELECT diff_id, kind, tar_size, bytes, entries FROM layers WHERE diff_id = ?1"
                " OR diff_id IN (SELECT diff_id FROM layer_blobs WHERE digest = ?1)",
                (str(digest),),
            ).fetchone()
        return None if row is None else self._layer(row)

    def blobs(self, diff_id: Digest) -> list[tuple[Descriptor, str]]:
        """The compressed forms that are known, stored here or not, each with the compressor that made it ('' when it
        came from elsewhere)."""
        from boxwright.spec.descriptor import Descriptor

        with self.db.read() as sql:
            rows = sql.execute(
                "SELECT media_type, digest, size, compressor FROM layer_blobs WHERE diff_id = ? ORDER BY rowid",
                (str(diff_id),),
            ).fetchall()
        return [
            (Descriptor(media_type, Digest.parse(digest), size), compressor)
            for media_type, digest, size, compressor in rows
        ]

    def record_blob(
        self, diff_id: Digest, desc: Descriptor, *, compressor: str = "", origin: str = ""
    ) -> None:
        """Note that the blob decompresses to the layer; `origin` is a repository that has it."""
        with self.db.write() as sql:
            sql.execute(
                "INSERT INTO layer_blobs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (diff_id, digest) DO UPDATE SET"
                " origin = CASE WHEN excluded.origin = '' THEN origin ELSE excluded.origin END",
                (str(diff_id), str(desc.digest), desc.media_type, desc.size, compressor, origin),
            )

    def origins(self, blob: Digest) -> list[str]:
        """The repositories (``domain/path``) that are known to have a blob, the newest first."""
        with self.db.read() as sql:
            rows = sql.execute(
                "SELECT DISTINCT origin FROM layer_blobs WHERE digest = ? AND origin != ''", (str(blob),)
            )
            return [origin for (known,) in rows for origin in known.split()]

    def note_origin(self, blobs: Iterable[Digest], repository: str) -> None:
        """Remember that a repository has these blobs: a later pull fetches them there, a later push mounts them."""
        with self.db.write() as sql:
            for blob in blobs:
                rows = sql.execute(
                    "SELECT diff_id, origin FROM layer_blobs WHERE digest = ?", (str(blob),)
                ).fetchall()
                for diff_id, origin in rows:
                    known = [o for o in origin.split() if o != repository]
                    text = " ".join([repository, *known][:_MOST_ORIGINS])
                    if text != origin:
                        sql.execute(
                            "UPDATE layer_blobs SET origin = ? WHERE diff_id = ? AND digest = ?",
                            (text, diff_id, str(blob)),
                        )

    def inflates_to(self, blob: Digest) -> DiffID | None:
        """The diff ID of what a blob contains, when that is known; the layer need not be stored."""
        with self.db.read() as sql:
            row = sql.execute(
                "SELECT diff_id FROM layer_blobs WHERE digest = ?1 UNION ALL SELECT diff_id FROM layers "
                "WHERE diff_id = ?1 LIMIT 1",
                (str(blob),),
            ).fetchone()
        return DiffID.parse(row[0]) if row else None

    def comes_again(self, digest: str) -> bool:
        """Whether a blob or a layer can be fetched again (a repository that has it is known), or a blob be compressed
        again."""
        with self.db.read() as sql:
            row = sql.execute(
                "SELECT 1 FROM layer_blobs WHERE (origin != '' AND (digest = ?1 OR diff_id = ?1)) OR "
                "(compressor != '' AND digest = ?1 AND digest != diff_id)",
                (digest,),
            ).fetchone()
        return row is not None

    def compressed(self, layers: Container[str]) -> set[str]:
        """Digests of the compressed forms that are known of these layers."""
        with self.db.read() as sql:
            rows = sql.execute("SELECT diff_id, digest FROM layer_blobs")
            return {digest for diff_id, digest in rows if diff_id in layers}

    def touch(self, *diff_ids: Digest) -> None:
        """Note that the layers were used now."""
        now = time.time()
        with self.db.write(durable=False) as sql:
            sql.executemany(
                "UPDATE layers SET last_used = ? WHERE diff_id = ?", [(now, str(d)) for d in diff_ids]
            )

    # --- in ----------------------------------------------------------------------------------------

    def publish(
        self,
        directory: Path,
        diff_id: DiffID,
        kind: Literal["tar", "tree"],
        tar_size: int,
        content: int,
        entries: int,
        *,
        anew: bool = False,
    ) -> Layer:
        """For our writers: the complete directory, whose files are synced, becomes the layer, unless an equal
        one exists. With `anew` it takes the place of one whose files are damaged; the row is there all the time."""
        final = self.path(diff_id)
        now = time.time()
        with self.store.committing(), disk_errors(str(final)), self.db.write() as sql:
            hold_for_process(self.db, "layer", diff_id)
            known = sql.execute(
                "SELECT diff_id, kind, tar_size, bytes, entries FROM layers WHERE diff_id = ?",
                (str(diff_id),),
            ).fetchone()
            if known is not None and final.is_dir() and not anew:
                sql.execute("UPDATE layers SET last_used = ? WHERE diff_id = ?", (now, str(diff_id)))
                return self._layer(known)
            if final.exists():  # damaged, or left by a crash between rename and row
                set_aside(final, self.store.places.trash)
            if kind == "tar":  # a tree was synced with its directory
                fsync_dir(directory)
            directory.rename(final)
            fsync_dir(self.root)
            sql.execute(
                "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (str(diff_id), kind, tar_size, content, entries, now, now),
            )
        return Layer(
            diff_id=diff_id, kind=kind, path=final, tar_size=tar_size, bytes=content, entries=entries
        )

    # --- out ---------------------------------------------------------------------------------------

    def remove(self, diff_id: Digest) -> None:
        """For the collector, inside `LocalStore.sweeping`: drop the row, durably, then move the files to ROOT/trash."""
        with self.db.write() as sql:
            sql.execute("DELETE FROM layers WHERE diff_id = ?", (str(diff_id),))
        path = self.path(diff_id)
        if path.exists():
            set_aside(path, self.store.places.trash)

    def keep_rows(self, live: Container[str]) -> list[DiffID]:
        """For the collector, in its transaction: drop the rows of all other layers, and what is known of their
        compressed forms; returns what was stored of them. The files are `leftovers` then."""
        with self.db.write() as sql:
            dead = [d for (d,) in sql.execute("SELECT diff_id FROM layers") if d not in live]
            sql.executemany("DELETE FROM layers WHERE diff_id = ?", [(d,) for d in dead])
            known = {d for (d,) in sql.execute("SELECT diff_id FROM layer_blobs") if d not in live}
            sql.executemany("DELETE FROM layer_blobs WHERE diff_id = ?", [(d,) for d in known])
        return list(map(DiffID.parse, dead))

    def leftovers(self) -> Iterator[Path]:
        """For the collector, inside `LocalStore.sweeping`: what no row and no living writer owns."""
        with self.db.read() as sql:
            known = {text.replace(":", "-", 1) for (text,) in sql.execute("SELECT diff_id FROM layers")}
        for name in os.listdir(self.root):
            if name not in known and (not name.startswith(".tmp-") or _abandoned(self.root / name)):
                yield self.root / name

    def discard(self, path: Path) -> None:
        """For the collector: move one of `leftovers` to ROOT/trash."""
        set_aside(path, self.store.places.trash)


def _abandoned(directory: Path) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        Lock(locks.NEW_LAYER, fd, wait=False).close()
    except BlockingIOError:
        return False
    return True
