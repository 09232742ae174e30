"""Recomputing every claim: of one image (the oracle of tests), or of the whole store (`system fsck`)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from boxwright.content.local import BlobMissing
from boxwright.content.verify import CHUNK
from boxwright.errors import BoxwrightError
from boxwright.files.trees import erase
from boxwright.image.steps import StepCache
from boxwright.image.store import ImageStore, is_image
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.store import Layer, LayerMissing
from boxwright.layer.tarstream import open_tar
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import DiffID, Digest
from boxwright.spec.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.layer.erofs import Summary


@dataclass(frozen=True, slots=True)
class Problem:
    """One claim that does not hold. `kind` is blob, layer, index, image, step, volume or container; `state` what
    became of it: '' (only reported), 'repaired' (made again), 'dropped', or 'kept' (broken, but it is the only copy).
    What is `gone` has no bytes that could be kept."""

    kind: str
    what: str
    detail: str
    state: str = ""
    gone: bool = False


def check_blob(images: ImageStore, digest: Digest) -> Problem | None:
    """Hash a stored blob."""
    found, size = digest.hasher(), 0
    try:
        with images.store.open_raw(digest) as file:
            while data := file.read(CHUNK):
                found.update(data)
                size += len(data)
    except OSError as error:
        return Problem("blob", str(digest), f"cannot be read: {error.strerror}")
    if found.hexdigest() == digest.hex:
        return None
    return Problem("blob", str(digest), _other(digest, found.hexdigest(), size), gone=not size)


def _other(digest: Digest, found: str, size: int) -> str:
    return f"has other bytes: their digest is {digest.algorithm}:{found}" if size else "is empty"


def check_layer(images: ImageStore, layer: Layer) -> Iterator[Problem]:
    """Hash a layer's tar stream, and make its index again to compare."""
    name = str(layer.diff_id)
    found, size = layer.diff_id.hasher(), 0
    try:
        with open_tar(layer) as stream:
            while data := stream.read(CHUNK):
                found.update(data)
                size += len(data)
    except (BoxwrightError, OSError) as error:
        there = layer.tar_path.is_file() if layer.kind == "tar" else layer.tree_path.is_dir()
        yield Problem("layer", name, f"cannot be read: {error}", gone=not there)
        return
    if found.hexdigest() != layer.diff_id.hex:
        yield Problem("layer", name, _other(layer.diff_id, found.hexdigest(), size), gone=not size)
        return
    if size != layer.tar_size:
        yield Problem("layer", name, f"has {size} bytes, its record says {layer.tar_size}")
    if layer.kind == "tar" and (detail := _index_differs(layer)):
        yield Problem("index", name, detail)


def _index_differs(layer: Layer) -> str:
    """Why the index is not the one that the tar gives; '' when it is."""
    # In memory: a check must work on a full disk too.
    with open(os.memfd_create("index"), "w+b") as fresh:
        summary = _make_index(layer, fresh.fileno())
        if (summary.bytes, summary.entries) != (layer.bytes, layer.entries):
            return (
                f"the tar has {summary.entries} entries of {summary.bytes} bytes, its record says "
                f"{layer.entries} of {layer.bytes}"
            )
        fresh.seek(0)
        try:
            with open(layer.index_path, "rb") as stored:
                while True:
                    wanted, there = fresh.read(CHUNK), stored.read(CHUNK)
                    if wanted != there:
                        return "its index does not fit its tar"
                    if not wanted:
                        return ""
        except OSError as error:
            return f"its index cannot be read: {error.strerror}"


def _make_index(layer: Layer, fd: int) -> Summary:
    from boxwright.layer.erofs import write_index
    from boxwright.layer.tree import LayerTree
    from boxwright.layer.writer import scan_file

    tree = LayerTree()
    tar = os.open(layer.tar_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        scan_file(tar, layer.tar_size, tree)
    finally:
        os.close(tar)
    return write_index(tree, layer.tar_size, fd)


class Checker:
    """`fsck` over a whole store, beside other commands: what one of them takes away meanwhile is no problem. The
    collector waits while one thing is looked at, so that whatever is there at the beginning is there to the end."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._db = images.db
        self._steps = StepCache(images.db)

    def run(self, *, repair: bool = False) -> list[Problem]:
        """Every problem; with `repair`, what can be made, fetched or built again is dropped or made at once."""
        problems: list[Problem] = []
        for digest in list(self._images.store.blobs()):
            with self._images.store.committing():
                # An exposed blob is the same file as a layer's tar, which is read below.
                gone = self._images.store.size(digest) is None or self._exposed(digest)
                found = None if gone else check_blob(self._images, digest)
            if found:
                problems.append(self._repair_blob(found) if repair else found)
        for layer in self._images.layers.all():
            with self._images.store.committing():
                broken = (
                    list(check_layer(self._images, layer)) if self._images.layers.has(layer.diff_id) else []
                )
            problems += [self._repair_layer(problem, layer) for problem in broken] if repair else broken
        problems += self._rows(repair)
        return problems

    # --- repairing -----------------------------------------------------------------------------

    def _repair_blob(self, problem: Problem) -> Problem:
        if not problem.gone and not self._replaceable(problem.what):
            return replace(problem, state="kept")
        digest = Digest.parse(problem.what)
        with self._images.store.sweeping():
            # Another process may have brought it since the look.
            if self._images.store.size(digest) is not None and check_blob(self._images, digest) is None:
                return replace(problem, state="repaired")
            erase(self._images.store.path(digest))
        return replace(problem, state="dropped")

    def _repair_layer(self, problem: Problem, layer: Layer) -> Problem:
        if problem.kind == "index":
            with open_tar(layer) as body:
                self._again(layer, body)
            return replace(problem, state="repaired")
        for desc in self._forms(layer):
            if (
                self._images.store.size(desc.digest) == desc.size
                and check_blob(self._images, desc.digest) is None
            ):
                with self._images.store.open(desc) as body:
                    self._again(layer, body)
                return replace(problem, state="repaired")
        if problem.gone or self._replaceable(problem.what):
            return replace(problem, state="dropped" if self._drop(layer.diff_id) else "repaired")
        return replace(problem, state="kept")

    def _forms(self, layer: Layer) -> list[Descriptor]:
        """The blobs that the layer can be made of again: compressed ones, and its tar where other tools were shown
        it."""
        plain = Descriptor(mt.OCI_LAYER, layer.diff_id, layer.tar_size)
        known = [desc for desc, _ in self._images.layers.blobs(layer.diff_id)]
        return known if self._exposed(layer.diff_id) else [plain, *known]

    def _again(self, layer: Layer, body: BinaryIO) -> None:
        """Take the layer in once more. What there was stays until then."""
        exposed = self._exposed(layer.diff_id)
        fresh = ingest_tar(self._images.layers, body, expected=layer.diff_id, anew=True)
        if exposed:
            with self._images.store.sweeping():
                self._images.store.path(layer.diff_id).unlink(missing_ok=True)
                self._images.store.expose(fresh.diff_id, fresh.tar_path)

    def _drop(self, diff_id: DiffID) -> bool:
        """The name by which other tools were shown its tar as a blob goes, too. False when another process made the
        layer again since the look: it stays."""
        layers = self._images.layers
        with self._images.store.sweeping():
            if layers.has(diff_id) and not any(check_layer(self._images, layers.get(diff_id))):
                return False
            if self._exposed(diff_id):
                self._images.store.path(diff_id).unlink()
            layers.remove(diff_id)
        return True

    def _exposed(self, digest: Digest) -> bool:
        layers = self._images.layers
        try:
            return layers.has(digest) and os.path.samefile(
                layers.get(digest).tar_path, self._images.store.path(digest)
            )
        except FileNotFoundError:
            return False

    def _replaceable(self, digest: str) -> bool:
        """Whether content can be fetched (its repository is known) or built (a step record made it) again."""
        if self._images.layers.comes_again(digest) or digest in self._steps.kept():
            return True
        with self._db.read() as sql:
            named = sql.execute(
                "SELECT 1 FROM names WHERE name LIKE '%@%' AND target = ?", (digest,)
            ).fetchone()
            known = sql.execute(
                "SELECT 1 FROM images WHERE target = ?1 OR manifest = ?1 OR image_id = ?1", (digest,)
            ).fetchone()
        return bool(named or not (known or self._is_layer(digest)))

    def _is_layer(self, digest: str) -> bool:
        return self._images.layers.has(Digest.parse(digest))

    # --- rows ----------------------------------------------------------------------------------

    def _rows(self, repair: bool) -> Iterator[Problem]:
        for row in self._images.rows():
            # While it is repaired nothing is published: a pull that brings the content meanwhile would lose its name.
            with self._images.store.sweeping() if repair else self._images.store.committing():
                gone = not self._images.rows("target = ?", (row.target,))
                problem = None if gone else self._row(row.target, row.media_type, row.size)
                if problem is None:
                    continue
                # An image that was pulled can be pulled again; a row whose content is gone is worth nothing either way.
                worthless = repair and (problem.gone or any("@" in name for name in row.names))
                if worthless:
                    with self._db.write() as sql:
                        sql.execute("DELETE FROM names WHERE target = ?", (row.target,))
                        sql.execute("DELETE FROM images WHERE target = ?", (row.target,))
            yield replace(problem, state="dropped" if worthless else "kept" if repair else "")
        yield from self._stale_steps(repair)

    def _stale_steps(self, repair: bool) -> list[Problem]:
        """Records of steps whose layers are gone. One transaction looks and removes: a build may run a step again, and
        record it, at any time."""
        with self._images.store.committing(), self._db.write() if repair else self._db.read():
            stacks = self._steps.stacks()
            layers = {str(layer.diff_id) for layer in self._images.layers.all()}
            stale = [key for key, stack in stacks.items() if not layers.issuperset(stack)]
            if repair and stale:
                self._steps.remove(stale)
        state = "dropped" if repair else ""
        return [Problem("step", key, "its result is not in the store", state=state) for key in stale]

    def _row(self, target: str, media_type: str, size: int) -> Problem | None:
        """The claims of an image that do not need its layers' bytes, which were read already."""
        desc = Descriptor(media_type, Digest.parse(target), size)
        try:
            manifests = self._images.manifests_of(desc)
            if not manifests:
                return Problem("image", target, "no manifest of this index is in the store", gone=True)
            for _, manifest in manifests:
                if not is_image(manifest):
                    continue
                config = self._images.config_of(manifest)
                for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=True):
                    self._images.layers.get(diff_id)
                    if (
                        str(layer.digest) != str(diff_id)
                        and self._images.store.size(layer.digest) != layer.size
                    ):
                        detail = f"its layer blob {layer.digest} is not in the store"
                        return Problem("image", target, detail, gone=True)
        except BoxwrightError as error:
            lost = isinstance(error, (BlobMissing, LayerMissing))
            return Problem("image", target, str(error), gone=lost)
        return None
