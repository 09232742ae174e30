"""The local store as both ends of a copy."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.content import copy
from boxwright.content.lease import Lease
from boxwright.content.local import BlobMissing
from boxwright.content.store import Sink, Source
from boxwright.content.verify import ContentMismatch
from boxwright.engine import Engine
from boxwright.errors import Corrupt
from boxwright.image.archive import ArchiveSource
from boxwright.image.members import DirMembers
from boxwright.image.store import ConfigContradiction, NotAnImage
from boxwright.image.target import LocalTarget
from boxwright.layer.adopt import adopt_tree
from boxwright.layer.scan import TarInvalid
from boxwright.spec import mediatypes as mt
from boxwright.spec.config import HistoryEntry, ImageConfigInvalid
from boxwright.spec.descriptor import Descriptor
from boxwright.spec.digest import Digest
from boxwright.spec.manifest import MAX_SIZE
from support.image import config, digest, engine, imported, oci_files, rootfs, saved, sound, write_files


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    return engine(tmp_path / "root")


@pytest.fixture
def target(eng: Engine) -> Iterator[LocalTarget]:
    with Lease(eng.services.db, "test") as lease:
        yield LocalTarget(eng.services.images_store, lease, origin="reg.io/team/app")


def layout(tmp_path: Path, files: dict[str, bytes]) -> ArchiveSource:
    return ArchiveSource(DirMembers(write_files(tmp_path / "layout", files)))


def blob(data: bytes, media_type: str) -> Descriptor:
    return Descriptor.of(data, media_type)


def test_it_is_both(target: LocalTarget) -> None:
    assert isinstance(target, Source) and isinstance(target, Sink)


def test_a_copy_in_keeps_blobs_and_makes_layers(eng: Engine, target: LocalTarget, tmp_path: Path) -> None:
    source = layout(tmp_path, oci_files([rootfs("a"), rootfs("b")]))
    desc = copy.copy(source, "", target, "reg.io/team/app:1")
    assert sound(eng.services.images_store, "reg.io/team/app:1")
    row = eng.services.images_store.resolve("reg.io/team/app:1")
    assert row.names == ("reg.io/team/app:1", f"reg.io/team/app@{desc.digest}")
    manifest = eng.services.images_store.resolved(row).manifest
    assert all(eng.services.store.size(layer.digest) == layer.size for layer in manifest.layers)
    assert target.origins(manifest.layers[0]) == ["reg.io/team/app"]
    assert all(target.exists(part) for part in (*manifest.references(), desc))


def test_a_name_with_a_digest_loses_its_tag(eng: Engine, target: LocalTarget, tmp_path: Path) -> None:
    source = layout(tmp_path, oci_files([rootfs("a")]))
    desc = source.resolve("")
    copy.copy(source, "", target, f"reg.io/team/app:1@{desc.digest}")
    assert eng.services.images_store.resolve(str(desc.digest)).names == (f"reg.io/team/app@{desc.digest}",)


def test_a_layer_that_is_lost_is_made_of_its_blob(eng: Engine, target: LocalTarget, tmp_path: Path) -> None:
    source = layout(tmp_path, oci_files([rootfs("a")]))
    copy.copy(source, "", target, "app:1")
    resolved = eng.services.images_store.resolve_platform("app:1")
    with eng.services.store.sweeping():
        eng.services.layers.remove(resolved.layers[0])
    assert not eng.services.layers.has(resolved.layers[0])
    assert target.exists(resolved.manifest.layers[0])
    assert sound(eng.services.images_store, "app:1")


def test_uncompressed_layers_are_served_without_a_blob(eng: Engine, target: LocalTarget) -> None:
    imported(eng, "app:1", "a")
    layer = eng.services.images_store.resolve_platform("app:1").manifest.layers[0]
    eng.services.store.path(layer.digest).unlink()  # as on a file system without hard links
    with target.open(layer) as stream:
        assert digest(stream.read()) == str(layer.digest)
    with pytest.raises(BlobMissing):
        target.open(Descriptor(mt.OCI_LAYER, Digest.of(b"x"), 1))


def test_trees_are_served_and_come_back(eng: Engine, tmp_path: Path) -> None:
    """A layer that a build step wrote."""
    imported(eng, "base", "a")
    tree = eng.root / "work" / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_bytes(b"new" * 1000)
    (tree / "link").symlink_to("sub/file")
    from boxwright.image.compose import with_layer

    with Lease(eng.services.db, "build"):
        layer = adopt_tree(eng.services.layers, tree)
        base = eng.services.images_store.resolve_platform("base").config
        eng.services.images_store.create(
            with_layer(base, layer.diff_id, HistoryEntry(created_by="RUN x")), names=["app"]
        )
    assert layer.kind == "tree" and sound(eng.services.images_store, "app")
    other = engine(tmp_path / "other")
    archive = saved(eng, "app")
    other.images.load(io.BytesIO(archive))
    assert other.services.layers.get(layer.diff_id).kind == "tar" and sound(
        other.services.images_store, "app"
    )
    assert saved(other, "app") == archive
    assert [line.size for line in other.images.history("app")] == [3000, 16]


# --- lies ----------------------------------------------------------------------------------------


def test_a_blob_that_inflates_to_something_else(eng: Engine, target: LocalTarget) -> None:
    layer, raw = gzip.compress(rootfs("a")), config([rootfs("z")])
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": mt.OCI_CONFIG, "digest": digest(raw), "size": len(raw)},
            "layers": [{"mediaType": mt.OCI_LAYER_GZIP, "digest": digest(layer), "size": len(layer)}],
        }
    ).encode()
    target.push(blob(layer, mt.OCI_LAYER_GZIP), io.BytesIO(layer))
    target.push(blob(raw, mt.OCI_CONFIG), io.BytesIO(raw))
    with pytest.raises(ContentMismatch, match="the image config says"):
        target.push(blob(manifest, mt.OCI_MANIFEST), io.BytesIO(manifest))
    assert eng.images.list() == []


@pytest.mark.parametrize(
    "kind", [mt.OCI_LAYER_GZIP, mt.OCI_LAYER, mt.OCI_CONFIG, mt.OCI_MANIFEST, "application/octet-stream"]
)
@pytest.mark.parametrize("how", ["other", "short", "long"])
def test_bytes_that_are_not_what_they_claim(eng: Engine, target: LocalTarget, kind: str, how: str) -> None:
    good = (
        gzip.compress(rootfs("a"))
        if kind == mt.OCI_LAYER_GZIP
        else rootfs("a")
        if kind == mt.OCI_LAYER
        else b'{"schemaVersion": 2}'
    )
    sent = {"other": good[:-1] + bytes([good[-1] ^ 1]), "short": good[:-1], "long": good + b"x"}[how]
    with pytest.raises((Corrupt, TarInvalid)):
        target.push(Descriptor(kind, Digest.of(good), len(good)), io.BytesIO(sent))
    assert list(eng.services.store.blobs()) == [] and eng.services.layers.all() == []


def test_a_config_that_lists_other_layers(eng: Engine, target: LocalTarget) -> None:
    raw = config([rootfs("a")])
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": mt.OCI_CONFIG, "digest": digest(raw), "size": len(raw)},
            "layers": [],
        }
    ).encode()
    target.push(blob(raw, mt.OCI_CONFIG), io.BytesIO(raw))
    with pytest.raises(ConfigContradiction):
        target.push(blob(manifest, mt.OCI_MANIFEST), io.BytesIO(manifest))


def test_artifacts_are_kept_but_are_no_images(eng: Engine, target: LocalTarget) -> None:
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": mt.OCI_EMPTY, "digest": digest(b"{}"), "size": 2},
            "layers": [],
        }
    ).encode()
    target.push(blob(b"{}", mt.OCI_EMPTY), io.BytesIO(b"{}"))
    target.push(blob(manifest, mt.OCI_MANIFEST), io.BytesIO(manifest))
    with pytest.raises(NotAnImage):
        target.tag("app:1", blob(manifest, mt.OCI_MANIFEST))


@pytest.mark.parametrize(
    "part",
    [
        {"Env": 5},
        {"Env": [1]},
        {"Cmd": 5},
        {"OnBuild": "text"},
        {"Labels": ["a"]},
        {"Labels": {"a": 1}},
        {"WorkingDir": []},
        {"Volumes": "x"},
    ],
)
def test_configs_of_the_wrong_shape_are_not_registered(
    eng: Engine, tmp_path: Path, part: dict[str, object]
) -> None:
    files = oci_files([rootfs("a")], config=part)
    with pytest.raises(ImageConfigInvalid):
        eng.images.load(write_files(tmp_path / "layout", files))
    assert eng.images.list() == []


def test_what_the_collector_condemned_does_not_count_as_here(
    eng: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob is held and looked for between the collector's decision and its deed: the answer waits for the deed."""
    import threading

    from boxwright.image.collect import Collector

    images = eng.services.images_store
    desc = images.store.put(b'{"nobody":"needs this"}', mt.OCI_CONFIG)
    decided, asked = threading.Event(), threading.Event()
    dead_blobs = Collector._dead_blobs

    def slowly(self: Collector, live: set[str]) -> list[Path]:
        decided.set()
        asked.wait(0.5)
        return dead_blobs(self, live)

    monkeypatch.setattr(Collector, "_dead_blobs", slowly)
    sweep = threading.Thread(target=Collector(images.layers, tuple).sweep)
    sweep.start()
    assert decided.wait(10)
    with Lease(eng.services.db, "test") as lease:
        said = LocalTarget(images, lease).exists(desc)
        asked.set()
        sweep.join(20)
        assert not said and images.store.size(desc.digest) is None
        images.store.put(b'{"nobody":"needs this"}', mt.OCI_CONFIG)
        monkeypatch.undo()
        Collector(images.layers, tuple).sweep()
        assert LocalTarget(images, lease).exists(desc)


def test_a_large_manifest_in_an_archive_is_not_read(tmp_path: Path) -> None:
    """Of a descriptor's size alone it is refused."""
    files = oci_files([rootfs("a")])
    index = json.loads(files["index.json"])
    index["manifests"][0]["size"] = MAX_SIZE + 1
    with pytest.raises(ContentMismatch, match="at most"):
        layout(tmp_path, {**files, "index.json": json.dumps(index).encode()})
