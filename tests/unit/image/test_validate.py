"""fsck: every claim is recomputed, and what can be had again is dropped."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.engine import Engine
from boxwright.image.steps import StepCache
from boxwright.image.validate import Checker
from boxwright.spec.digest import Digest
from support.image import add_step, engine, imported, oci_files, rootfs, sound, tar_of


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    found = engine(tmp_path / "root")
    imported(found, "plain:1", "a")
    found.images.load(io.BytesIO(tar_of(oci_files([rootfs("b")], name="docker.io/x/packed:1"))))
    return found


def kinds(eng: Engine, *, repair: bool = False) -> list[tuple[str, str]]:
    """After a repair the store is sound, but for the only copies that there are."""
    found = eng.system.fsck(repair=repair)
    if repair:
        kept = [p.what for p in found if p.state == "kept"]
        assert [p for p in eng.system.fsck() if p.what not in kept] == []
        assert [p for p in eng.system.fsck(repair=True) if p.state != "kept"] == []
        for name in kept:
            digest = Digest.parse(name)
            assert eng.services.store.size(digest) or eng.services.layers.path(digest).is_dir(), (
                "what is kept is there"
            )
    return [(p.kind, p.state) for p in found]


def damage(path: Path, at: int = 0) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def layer(eng: Engine, name: str) -> Path:
    resolved = eng.services.images_store.resolved(eng.services.images_store.resolve(name))
    return eng.services.layers.get(resolved.layers[0]).path


def test_a_sound_store(eng: Engine) -> None:
    assert eng.system.fsck() == [] and eng.system.fsck(repair=True) == []


def test_damage_to_a_tar_that_nothing_can_replace(eng: Engine) -> None:
    damage(layer(eng, "plain:1") / "layer.tar", 700)
    assert kinds(eng) == [("layer", "")]
    assert kinds(eng, repair=True) == [("layer", "kept")]


def test_a_tar_is_made_again_from_its_blob(eng: Engine) -> None:
    damage(layer(eng, "x/packed:1") / "layer.tar", 700)
    assert kinds(eng, repair=True) == [("layer", "repaired")]
    assert eng.system.fsck() == [] and sound(eng.services.images_store, "x/packed:1")


def test_an_index_is_made_again_from_its_tar(eng: Engine) -> None:
    damage(layer(eng, "plain:1") / "index.erofs", 1500)
    assert kinds(eng, repair=True) == [("index", "repaired")]
    assert eng.system.fsck() == [] and sound(eng.services.images_store, "plain:1")


def test_a_lost_index(eng: Engine) -> None:
    (layer(eng, "plain:1") / "index.erofs").unlink()
    assert kinds(eng, repair=True) == [("index", "repaired")]
    assert eng.system.fsck() == []


def test_a_damaged_blob_with_a_known_origin_is_dropped_with_its_image(eng: Engine) -> None:
    resolved = eng.services.images_store.resolved(eng.services.images_store.resolve("x/packed:1"))
    blob = resolved.manifest.layers[0].digest
    eng.services.images_store.tag("x/packed:1", f"x/packed@{resolved.target.digest}")
    with eng.services.db.write() as sql:
        sql.execute("UPDATE layer_blobs SET origin = 'docker.io/x/packed'")
    damage(eng.services.store.path(blob), 30)
    assert ("blob", "") in kinds(eng)
    assert ("blob", "dropped") in kinds(eng, repair=True)
    assert eng.system.fsck() == []
    assert [i.tags for i in eng.images.list()] == [("plain:1",)]


@pytest.mark.parametrize("which", ["config", "manifest"])
def test_damage_to_an_imported_image_is_told_and_kept(eng: Engine, which: str) -> None:
    row = eng.services.images_store.resolve("plain:1")
    damage(eng.services.store.path(Digest.parse(row.image_id if which == "config" else row.target)), 5)
    assert ("blob", "") in kinds(eng) and ("image", "") in kinds(eng)
    assert ("blob", "kept") in kinds(eng, repair=True)


def test_a_lost_config(eng: Engine) -> None:
    row = eng.services.images_store.resolve("plain:1")
    eng.services.store.path(Digest.parse(row.image_id)).unlink()
    assert kinds(eng) == [("image", "")]
    assert kinds(eng, repair=True) == [("image", "dropped")]
    assert eng.system.fsck() == []


def _manifest(eng: Engine) -> Path:
    return eng.services.store.path(Digest.parse(eng.services.images_store.resolve("plain:1").target))


def _config(eng: Engine) -> Path:
    return eng.services.store.path(Digest.parse(eng.services.images_store.resolve("plain:1").image_id))


def _tar(eng: Engine) -> Path:
    return layer(eng, "plain:1") / "layer.tar"


def _packed_tar(eng: Engine) -> Path:
    return layer(eng, "x/packed:1") / "layer.tar"


def _packed_blob(eng: Engine) -> Path:
    resolved = eng.services.images_store.resolved(eng.services.images_store.resolve("x/packed:1"))
    return eng.services.store.path(resolved.manifest.layers[0].digest)


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize(
    "which", [_manifest, _config, _tar, _packed_tar, _packed_blob, lambda e: _tar(e).parent]
)
def test_what_is_not_there_is_no_only_copy(eng: Engine, which: Callable[[Engine], Path], empty: bool) -> None:
    """Lost as a whole, or what a power cut leaves of an unsynced file."""
    path = which(eng)
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir() if empty else None
    elif empty:
        path.chmod(0o644)
        path.write_bytes(b"")
    else:
        path.unlink()
    assert eng.system.fsck()
    found = kinds(eng, repair=True)
    assert found and all(state in ("dropped", "repaired") for _, state in found)
    assert eng.system.fsck() == []


def test_a_lost_tar_is_made_again_from_the_blob_that_other_tools_see(eng: Engine) -> None:
    _tar(eng).unlink()
    assert kinds(eng, repair=True) == [("layer", "repaired")]
    assert sound(eng.services.images_store, "plain:1")


def test_what_is_made_again_stays_until_it_is(eng: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair that is killed loses nothing."""

    def cut(*words: object, **more: object) -> None:
        raise KeyboardInterrupt

    damage(layer(eng, "plain:1") / "index.erofs", 1500)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(eng.services.layers, "publish", cut)
        eng.system.fsck(repair=True)
    assert kinds(eng) == [("index", "")]
    assert kinds(eng, repair=True) == [("index", "repaired")] and sound(eng.services.images_store, "plain:1")


def test_a_step_record_without_its_layers(eng: Engine) -> None:
    add_step(eng, "key", "sha256:" + "0" * 64)
    assert kinds(eng, repair=True) == [("step", "dropped")]
    assert eng.system.fsck() == []


def test_a_lost_layer_that_a_step_makes_again(eng: Engine) -> None:
    diff_id = eng.services.images_store.resolved(eng.services.images_store.resolve("plain:1")).layers[0]
    add_step(eng, "key", str(diff_id))
    damage(layer(eng, "plain:1") / "layer.tar", 700)
    assert ("layer", "dropped") in kinds(eng, repair=True)
    assert eng.system.fsck() == []


def test_what_goes_meanwhile_is_no_problem(eng: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command removes images while fsck is between two looks: its lists are old, the store is sound."""
    store, layers, catalog = eng.services.images_store.store, eng.services.layers, eng.services.images_store
    blobs, stored, rows = list(store.blobs()), layers.all(), catalog.rows()
    assert blobs and stored and rows
    eng.images.remove("plain:1", "x/packed:1")
    seen = catalog.rows
    monkeypatch.setattr(store, "blobs", lambda: iter(blobs))
    monkeypatch.setattr(layers, "all", lambda: stored)
    monkeypatch.setattr(
        catalog, "rows", lambda where="", arguments=(): seen(where, arguments) if where else rows
    )
    assert eng.system.fsck() == []


def test_the_collector_waits_while_something_is_looked_at(
    eng: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content that was there at the beginning of a look is there to its end."""
    from boxwright.image import validate

    looking, swept = threading.Event(), threading.Event()
    other = Engine(eng.root)

    def remove() -> None:
        assert looking.wait(10)
        other.images.remove("plain:1", "x/packed:1")
        swept.set()

    check = validate.check_layer

    def slowly(images: object, layer: object) -> object:
        looking.set()
        assert not swept.wait(0.3)  # the sweep cannot end while we look
        yield from check(images, layer)  # type: ignore[arg-type]

    monkeypatch.setattr(validate, "check_layer", slowly)
    thread = threading.Thread(target=remove)
    thread.start()
    assert eng.system.fsck() == []
    thread.join(20)
    assert swept.is_set() and eng.system.fsck() == []


def test_an_image_pruned_as_it_is_registered(eng: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is told all the same: another process took it away after it was written."""
    store = eng.services.images_store
    row = store.resolve("plain:1")
    publish = store.publish

    def after() -> None:
        with eng.services.db.write() as sql:
            sql.execute("DELETE FROM names")
            sql.execute("DELETE FROM images")
        publish()

    monkeypatch.setattr(store, "publish", after)
    assert store.add(store.descriptor(row), names=["plain:2"]).target == row.target


def test_a_blob_that_came_again_since_the_look_stays(eng: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process took the broken one away and pulled it, between the look and the repair."""
    path = _packed_blob(eng)
    sound_bytes = path.read_bytes()
    damage(path, 30)
    monkeypatch.setattr(Checker, "_replaceable", lambda *_: path.write_bytes(sound_bytes) > 0)
    found = eng.system.fsck(repair=True)
    assert [(p.kind, p.state) for p in found] == [("blob", "repaired")]
    assert path.read_bytes() == sound_bytes and eng.system.fsck() == []


def test_a_layer_that_came_again_since_the_look_stays(eng: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = _tar(eng)
    sound_bytes = tar.read_bytes()
    damage(tar, 700)
    monkeypatch.setattr(Checker, "_replaceable", lambda *_: tar.write_bytes(sound_bytes) > 0)
    assert [(p.kind, p.state) for p in eng.system.fsck(repair=True)] == [("layer", "repaired")]
    assert eng.system.fsck() == [] and sound(eng.services.images_store, "plain:1")


def test_a_step_that_ran_again_since_the_look_stays(eng: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build records it anew, with layers that are there, while the old record is looked at."""
    diff_id = eng.services.images_store.resolved(eng.services.images_store.resolve("plain:1")).layers[0]
    add_step(eng, "key", "sha256:" + "0" * 64)
    other, stacks, recorded = Engine(eng.root), StepCache.stacks, threading.Event()

    def build() -> None:
        with other.services.db.write():
            StepCache(other.services.db).remove(["key"])
            add_step(other, "key", str(diff_id))
        recorded.set()

    thread = threading.Thread(target=build)

    def slowly(steps: StepCache) -> dict[str, frozenset[str]]:
        found = stacks(steps)
        thread.start()
        recorded.wait(0.3)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(StepCache, "stacks", slowly)
        assert [(p.kind, p.state) for p in eng.system.fsck(repair=True)] == [("step", "dropped")]
        thread.join(20)
    assert StepCache(eng.services.db).stacks() == {"key": frozenset({str(diff_id)})}
