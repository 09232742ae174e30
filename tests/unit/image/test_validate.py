"""fsck: every claim is recomputed, and what can be had again is dropped."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from boxwright.engine import Engine
from boxwright.spec.digest import Digest
from support_image import add_step, engine, imported, oci_files, rootfs, sound, tar_of


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    found = engine(tmp_path / "root")
    imported(found, "plain:1", "a")
    found.load(io.BytesIO(tar_of(oci_files([rootfs("b")], name="docker.io/x/packed:1"))))
    return found


def kinds(eng: Engine, *, repair: bool = False) -> list[tuple[str, str]]:
    return [(p.kind, p.state) for p in eng.fsck(repair=repair)]


def damage(path: Path, at: int = 0) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def layer(eng: Engine, name: str) -> Path:
    resolved = eng.images_store.resolved(eng.images_store.resolve(name))
    return eng.layers.get(resolved.layers[0]).path


def test_a_sound_store(eng: Engine) -> None:
    assert eng.fsck() == [] and eng.fsck(repair=True) == []


def test_damage_to_a_tar_that_nothing_can_replace(eng: Engine) -> None:
    damage(layer(eng, "plain:1") / "layer.tar", 700)
    assert kinds(eng) == [("layer", "")]
    assert kinds(eng, repair=True) == [("layer", "kept")]


def test_a_tar_is_made_again_from_its_blob(eng: Engine) -> None:
    damage(layer(eng, "x/packed:1") / "layer.tar", 700)
    assert kinds(eng, repair=True) == [("layer", "repaired")]
    assert eng.fsck() == [] and sound(eng.images_store, "x/packed:1")


def test_an_index_is_made_again_from_its_tar(eng: Engine) -> None:
    damage(layer(eng, "plain:1") / "index.erofs", 1500)
    assert kinds(eng, repair=True) == [("index", "repaired")]
    assert eng.fsck() == [] and sound(eng.images_store, "plain:1")


def test_a_lost_index(eng: Engine) -> None:
    (layer(eng, "plain:1") / "index.erofs").unlink()
    assert kinds(eng, repair=True) == [("index", "repaired")]
    assert eng.fsck() == []


def test_a_damaged_blob_with_a_known_origin_is_dropped_with_its_image(eng: Engine) -> None:
    resolved = eng.images_store.resolved(eng.images_store.resolve("x/packed:1"))
    blob = resolved.manifest.layers[0].digest
    eng.images_store.tag("x/packed:1", f"x/packed@{resolved.target.digest}")
    with eng.db.write() as sql:
        sql.execute("UPDATE layer_blobs SET origin = 'docker.io/x/packed'")
    damage(eng.store.path(blob), 30)
    assert ("blob", "") in kinds(eng)
    assert ("blob", "dropped") in kinds(eng, repair=True)
    assert eng.fsck() == []
    assert [i.tags for i in eng.images()] == [("plain:1",)]


@pytest.mark.parametrize("which", ["config", "manifest"])
def test_damage_to_an_imported_image_is_told_and_kept(eng: Engine, which: str) -> None:
    row = eng.images_store.resolve("plain:1")
    damage(eng.store.path(Digest.parse(row.image_id if which == "config" else row.target)), 5)
    assert ("blob", "") in kinds(eng) and ("image", "") in kinds(eng)
    assert ("blob", "kept") in kinds(eng, repair=True)


def test_a_lost_config(eng: Engine) -> None:
    row = eng.images_store.resolve("plain:1")
    eng.store.path(Digest.parse(row.image_id)).unlink()
    assert kinds(eng) == [("image", "")]
    assert kinds(eng, repair=True) == [("image", "dropped")]
    assert eng.fsck() == []


def test_a_step_record_without_its_layers(eng: Engine) -> None:
    add_step(eng, "key", "sha256:" + "0" * 64)
    assert kinds(eng, repair=True) == [("step", "dropped")]
    assert eng.fsck() == []


def test_a_lost_layer_that_a_step_makes_again(eng: Engine) -> None:
    diff_id = eng.images_store.resolved(eng.images_store.resolve("plain:1")).layers[0]
    add_step(eng, "key", str(diff_id))
    damage(layer(eng, "plain:1") / "layer.tar", 700)
    assert ("layer", "dropped") in kinds(eng, repair=True)
    assert eng.fsck() == []
