"""rmi, prune, the sweep, and where the space is."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from boxwright.content.lease import Lease
from boxwright.engine import Engine
from boxwright.errors import Invalid
from boxwright.image.catalog import NoSuchImage
from boxwright.image.maintain import Pruned
from boxwright.image.remove import ImageInUse, Remover, Use
from boxwright.layer.blobs import ingest_tar
from boxwright.spec import mediatypes as mt
from support.image import add_container, add_step, engine, imported, layer_of, oci_files, tar_of, with_entry


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    return engine(tmp_path / "root")


def lines(eng: Engine, *names: str, force: bool = False, **options: bool) -> list[str]:
    return [f"{r.action}: {r.what}" for r in eng.images.remove(*names, force=force, **options)]


def keys(pruned: Pruned) -> tuple[str, ...]:
    return tuple(line.what for line in pruned.removed)


def empty(eng: Engine) -> bool:
    return (
        not list(eng.services.store.blobs())
        and not eng.services.layers.all()
        and not os.listdir(eng.services.layers.root)
        and not os.listdir(eng.root / "trash")
    )


def test_removing_the_last_name_removes_everything(eng: Engine) -> None:
    image = imported(eng, "app:1")
    layer = layer_of(eng, "app:1")
    assert lines(eng, "app:1") == ["Untagged: app:1", f"Deleted: {image}", f"Deleted: {layer}"]
    assert empty(eng)


def test_one_name_of_several(eng: Engine) -> None:
    image = imported(eng, "app:1")
    eng.images.tag("app:1", "other:2")
    assert lines(eng, "app:1") == ["Untagged: app:1"]
    assert eng.services.images_store.resolve("other:2").image_id == image


def test_an_id_with_several_names_needs_force(eng: Engine) -> None:
    image = imported(eng, "app:1")
    eng.images.tag("app:1", "other:2")
    with pytest.raises(
        ImageInUse,
        match=r"unable to delete .{12} \(must be forced\) - image is referenced in multiple repositories",
    ):
        eng.images.remove(image[7:19])
    assert lines(eng, image[7:19], force=True)[:3] == [
        "Untagged: app:1",
        "Untagged: other:2",
        f"Deleted: {image}",
    ]


def test_digest_names_go_with_the_last_tag(eng: Engine) -> None:
    image = imported(eng, "app:1")
    row = eng.services.images_store.resolve("app:1")
    eng.services.images_store.tag("app:1", f"app@{row.target}")
    assert lines(eng, "app:1")[:3] == ["Untagged: app:1", f"Untagged: app@{row.target}", f"Deleted: {image}"]


def test_an_id_with_a_tag_and_its_digest_is_one_reference(eng: Engine) -> None:
    image = imported(eng, "app:1")
    eng.services.images_store.tag("app:1", f"app@{eng.services.images_store.resolve('app:1').target}")
    assert f"Deleted: {image}" in lines(eng, image)


@pytest.mark.parametrize("running", [True, False])
def test_used_images_stay(eng: Engine, running: bool) -> None:
    image = imported(eng, "app:1")
    use = Use("c" * 64, eng.services.images_store.resolve("app:1").target, running)
    remover = Remover(eng.services.images_store, [use])
    with pytest.raises(
        ImageInUse,
        match=r'unable to remove repository reference "app:1" \(must force\) - container c{12} is using its referenced image',
    ):
        remover.remove("app:1")
    with pytest.raises(ImageInUse, match="cannot be forced" if running else "must be forced"):
        remover.remove(image)
    if running:
        with pytest.raises(ImageInUse, match="running container"):
            remover.remove(image, force=True)
        assert [r.action for r in remover.remove("app:1", force=True)] == ["Untagged"]
    else:
        assert [r.action for r in remover.remove("app:1", force=True)] == ["Untagged", "Deleted"]


def test_a_digest_that_is_no_name_removes_nothing(eng: Engine) -> None:
    imported(eng, "app:1")
    target = eng.services.images_store.resolve("app:1").target
    assert eng.services.images_store.resolve(f"app@{target}")
    with pytest.raises(NoSuchImage):
        eng.images.remove(f"app@{target}")
    assert eng.images.list()[0].tags == ("app:1",)


def test_a_failure_changes_nothing(eng: Engine) -> None:
    image = imported(eng, "app:1")
    with pytest.raises(ImageInUse):
        Remover(
            eng.services.images_store, [Use("c", eng.services.images_store.resolve("app:1").target, True)]
        ).remove(image)
    assert eng.images.list()[0].tags == ("app:1",)
    with pytest.raises(NoSuchImage):
        eng.images.remove("nosuch")


def test_several_at_once_go_as_far_as_they_can(eng: Engine) -> None:
    imported(eng, "a", "1")
    imported(eng, "b", "2")
    done, failures = eng.services.maintenance.remove(["a", "nosuch", "b"])
    assert [r.what for r in done if r.action == "Untagged"] == ["a:latest", "b:latest"]
    assert [type(f) for f in failures] == [NoSuchImage]
    assert empty(eng)


def test_a_containers_layers_outlive_its_image(eng: Engine) -> None:
    imported(eng, "app:1")
    layer = layer_of(eng, "app:1")
    add_container(eng, "app:1")
    eng.images.remove("app:1", force=True)
    assert [str(x.diff_id) for x in eng.services.layers.all()] == [layer]
    assert len(list(eng.services.store.blobs())) == 3  # manifest, config and the layer's tar, for `commit`
    with eng.services.db.write() as sql:
        sql.execute("DELETE FROM containers")
    eng.system.collect()
    assert empty(eng)


def test_shared_layers_stay(eng: Engine) -> None:
    imported(eng, "one", "a", changes=["CMD x"])
    imported(eng, "two", "a", changes=["CMD y"])
    assert len(lines(eng, "one")) == 2  # no line about the layer
    assert len(eng.services.layers.all()) == 1


def test_unnamed_parents_go_too(eng: Engine) -> None:
    from boxwright.spec.config import HistoryEntry

    parent = imported(eng, "")
    config = eng.services.images_store.resolved(eng.services.images_store.resolve(parent)).config
    for name in ("child", "twin"):
        eng.services.images_store.create(
            with_entry(config, HistoryEntry(created_by=name)), names=[name], parent=parent
        )
    assert parent not in str(lines(eng, "child"))  # the twin still builds on it
    assert f"Deleted: {parent}" in lines(eng, "twin")
    assert empty(eng)


# --- prune ---------------------------------------------------------------------------------------


def test_prune_takes_unnamed_images_only(eng: Engine) -> None:
    gone = imported(eng, "app", "1")
    kept = imported(eng, "app", "2")
    pruned = eng.images.prune()
    assert [(r.action, r.what) for r in pruned.removed] == [("Deleted", gone)]
    assert pruned.bytes > 0 and [i.id for i in eng.images.list()] == [kept]


def test_prune_all_spares_what_containers_use(eng: Engine) -> None:
    imported(eng, "used", "1")
    gone = imported(eng, "free", "2")
    add_container(eng, "used")
    assert [(r.action, r.what) for r in eng.images.prune(everything=True).removed] == [
        ("Untagged", "free:latest"),
        ("Deleted", gone),
    ]


def test_prune_filters(eng: Engine) -> None:
    imported(engine(eng.root, SOURCE_DATE_EPOCH="1000000000"), "old", "1")
    imported(eng, "kept", "2", changes=["LABEL keep=1"])
    imported(eng, "new", "3")
    assert len(eng.images.prune(everything=True, filters={"until": ["24h"]}).removed) == 2
    assert len(eng.images.prune(everything=True, filters={"label!": ["keep"]}).removed) == 2
    assert [i.tags for i in eng.images.list()] == [("kept:latest",)]


def test_builder_prune(eng: Engine) -> None:
    imported(eng, "app", "1")
    kept = layer_of(eng, "app")
    imported(eng, "gone", "2")
    free = layer_of(eng, "gone")
    add_step(eng, "in-image", kept)
    add_step(eng, "old", free, used=time.time() - 7200)
    eng.images.remove("gone")
    assert eng.services.layers.has(eng.services.layers.all()[1].diff_id)  # the step record keeps it
    assert keys(eng.builds.prune(filters={"until": ["3h"]})) == ()
    pruned = eng.builds.prune()
    assert keys(pruned) == ("old",) and pruned.bytes > 0
    assert [str(x.diff_id) for x in eng.services.layers.all()] == [kept]
    assert keys(eng.builds.prune(everything=True)) == ("in-image",)
    assert eng.images.list()[0].tags == ("app:latest",)


def test_builder_prune_keeps_a_budget(eng: Engine) -> None:
    for n in range(3):
        imported(eng, "x", str(n))
        add_step(eng, f"s{n}", layer_of(eng, "x"), used=1000.0 + n, size=100)
    eng.images.prune(everything=True)
    assert keys(eng.builds.prune(keep=250)) == ("s0",)


def cache_mount(eng: Engine, name: str, *, uses: int = 1) -> Path:
    folder = eng.root / "cache" / "mounts" / name
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "file").write_bytes(b"x" * 16_384)
    (folder / "id").write_text("/root/.cache")
    (folder / "lock").write_text("." * uses)
    return folder


def test_builder_prune_empties_cache_mounts_that_no_build_holds(eng: Engine) -> None:
    import fcntl

    idle, busy = cache_mount(eng, "aa", uses=3), cache_mount(eng, "bb")
    usage = {item.entry.key: item for item in eng.system.df().cache}
    assert (
        usage["aa"].entry.name == "cached mount /root/.cache"
        and usage["aa"].entry.uses == 3
        and usage["aa"].size >= 16_384
    )
    with open(busy / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        pruned = eng.builds.prune()
    assert keys(pruned) == ("aa",) and pruned.bytes >= 16_384
    assert not idle.exists() and (busy / "data" / "file").exists()
    assert keys(eng.builds.prune(everything=True)) == ("bb",)


def test_builder_prune_takes_what_its_filters_say(eng: Engine) -> None:
    imported(eng, "app", "1")
    layer = layer_of(eng, "app")
    cache_mount(eng, "aa")
    add_step(eng, "step", layer)
    eng.images.remove("app")
    assert keys(eng.builds.prune(filters={"type": ["source.local"]})) == ()
    assert keys(eng.builds.prune(filters={"inuse": ["true"]})) == ()
    assert keys(eng.builds.prune(filters={"id": ["b"]})) == ()
    assert keys(eng.builds.prune(filters={"description": ["root"], "type": ["exec.cachemount"]})) == ("aa",)
    with pytest.raises(Invalid, match="colour"):
        eng.builds.prune(filters={"colour": ["red"]})
    assert keys(eng.builds.prune(filters={"type": ["regular"]})) == ("step",)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"type!": ["exec.cachemount"]}, ["step"]),
        ({"type!": ["regular", "exec.cachemount"]}, []),
        ({"type~": ["^exec[.]"]}, ["aa"]),
        ({"type~": ["^regular$"]}, ["step"]),
        ({"id!": ["a"]}, ["step"]),
        ({"id~": ["^s.ep$", "nothing"]}, ["step"]),
        ({"description~": ["cache$"]}, ["aa"]),
        ({"description!": ["mount"]}, ["step"]),
        ({"mutable": ["true"]}, ["aa"]),
        ({"mutable": ["false"]}, ["step"]),
        ({"immutable": ["1"]}, ["step"]),
        ({"immutable": ["true"], "mutable": ["true"]}, []),
    ],
)
def test_filters_of_the_build_cache(eng: Engine, filters: dict[str, list[str]], found: list[str]) -> None:
    """BuildKit's words and operators: ``=``, ``!=``, ``~=``."""
    imported(eng, "app", "1")
    cache_mount(eng, "aa")
    add_step(eng, "step", layer_of(eng, "app"))
    eng.images.remove("app")
    assert [usage.entry.key for usage in eng.builds.cache(filters=filters)] == found
    assert sorted(keys(eng.builds.prune(filters=filters))) == found
    with pytest.raises(Invalid, match="description~=\\("):
        eng.builds.cache(filters={"description~": ["("]})


def test_parents_are_the_records_below(eng: Engine) -> None:
    imported(eng, "one", "1")
    imported(eng, "two", "2")
    below = layer_of(eng, "one")
    add_step(eng, "below", below)
    add_step(eng, "top", f"{below} {layer_of(eng, 'two')}")
    eng.images.remove("one")
    eng.images.remove("two")
    assert {u.entry.key: u.entry.parents for u in eng.builds.cache()} == {"below": (), "top": ("below",)}
    for filters, found in (
        ({"parents": ["bel"]}, ["top"]),
        ({"parents": ["top"]}, []),
        ({"parents!": ["below"]}, ["below"]),
        ({"parents~": ["^b"]}, ["top"]),
    ):
        assert [usage.entry.key for usage in eng.builds.cache(filters=filters)] == found
    assert keys(eng.builds.prune(filters={"parents": ["below"]})) == ("top",)


def test_a_record_goes_with_the_rows_that_lead_to_it(eng: Engine) -> None:
    add_step(eng, "step", "", used=1000.0)
    with eng.services.db.write() as sql:
        sql.execute(
            "INSERT INTO steps SELECT 'other', lineage, 'alias', name, '{}', layers, result, 0, seconds, created, 2000.0, uses FROM steps"
        )
    (item,) = eng.system.df().cache
    assert item.entry.last_used == 2000.0
    assert keys(eng.builds.prune()) == ("step",)
    with eng.services.db.read() as sql:
        assert sql.execute("SELECT count(*) FROM steps").fetchone() == (0,)


def test_pruning_everything_forgets_the_digests_of_files(eng: Engine) -> None:
    (eng.root / "cache" / "context").mkdir(parents=True)
    eng.builds.prune()
    assert (eng.root / "cache" / "context").exists()
    eng.builds.prune(everything=True)
    assert not (eng.root / "cache" / "context").exists()
    assert sum(part.size for part in eng.system.df().parts if part.type == "Build Cache") <= 4096


# --- the sweep -----------------------------------------------------------------------------------


def test_a_lease_keeps_what_nothing_else_does(eng: Engine) -> None:
    with Lease(eng.services.db, "test") as lease:
        desc = eng.services.store.put(b"blob", "x")
        lease.hold("blob", desc.digest)
        ingest_tar(eng.services.layers, io.BytesIO(tar_of({"a": b"b"})))  # held from its first moment
        eng.system.collect()
        assert list(eng.services.store.blobs()) == [desc.digest] and len(eng.services.layers.all()) == 1
    eng.system.collect()
    assert empty(eng)


def test_leftovers_of_every_kind(eng: Engine) -> None:
    imported(eng, "app")
    eng.services.store.put(b"stray", "x")
    (eng.root / "blobs/sha256/.half.1.abcd").write_bytes(b"half")
    stray = eng.services.layers.root / ("sha256-" + "0" * 64)
    (stray / "tree/deep").mkdir(parents=True)
    left = eng.services.layers.root / ".tmp-dead"
    left.mkdir()
    os.utime(left, (1, 1))
    (eng.root / "trash").mkdir(exist_ok=True)
    (eng.root / "trash/interrupted").write_bytes(b"x")
    old, fresh = eng.root / "ingest/sha256-old", eng.root / "ingest/sha256-fresh"
    old.write_bytes(b"x" * 5000)
    fresh.write_bytes(b"x")
    os.utime(old, (1, 1))
    (eng.root / "work/nobody/upper").mkdir(parents=True)
    eng.system.collect()
    assert len(list(eng.services.store.blobs())) == 3 and len(eng.services.layers.all()) == 1
    assert sorted(os.listdir(eng.root / "ingest")) == ["sha256-fresh"]
    with eng.services.store.ingest("sha256-busy") as busy:
        busy.write(b"on its way")
        eng.builds.prune(
            everything=True
        )  # takes whatever can be fetched again, but not from under a download
        assert sorted(os.listdir(eng.root / "ingest")) == ["sha256-busy"]
    assert os.listdir(eng.root / "trash") == [] and os.listdir(eng.root / "work") == []
    assert len(os.listdir(eng.services.layers.root)) == 1
    assert eng.system.fsck() == []


def test_compressed_copies_stay_until_they_are_unwanted(eng: Engine) -> None:
    files = oci_files([tar_of({"a": b"b" * 3000})], name="app:1")
    eng.images.load(io.BytesIO(tar_of(files)))
    imported(eng, "keeper")
    row = eng.services.images_store.resolve("app:1")
    resolved = eng.services.images_store.resolved(row)
    eng.services.images_store.create(resolved.config, names=["local:1"])
    blob = resolved.manifest.layers[0]
    assert blob.media_type == mt.OCI_LAYER_GZIP
    eng.images.remove("app:1")
    assert eng.services.store.size(blob.digest) is not None  # the next push need not compress
    eng.system.collect(copies=True)
    assert eng.services.store.size(blob.digest) is None
    assert eng.system.fsck() == []


# --- usage ---------------------------------------------------------------------------------------


def _du(path: Path) -> int:
    total, seen = 0, set()
    for folder, _, names in os.walk(path):
        for name in [
            ".",
            *(n for n in names if not n.endswith((".db-wal", ".db-shm"))),
        ]:  # gone when no process reads
            info = os.lstat(os.path.join(folder, name))
            if info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_blocks * 512
    return total


def test_the_parts_are_the_whole(eng: Engine, tmp_path: Path) -> None:
    big = os.urandom(200_000)
    imported(eng, "app", "1")
    eng.images.load(io.BytesIO(tar_of(oci_files([tar_of({"big": big})], name="docker.io/x/packed:1"))))
    imported(eng, "gone", "2")
    add_step(eng, "step", layer_of(eng, "gone"), size=10)
    eng.images.remove("gone")
    add_container(eng, "app")
    for path in (
        "containers/" + "c" * 64 + "/log",
        "work/" + "c" * 64 + "/upper/f",
        "volumes/v/data",
        "cache/x/y",
        "ingest/part",
        "mounts/m/f",
        "volumes/stray/data",
    ):
        (eng.root / path).parent.mkdir(parents=True, exist_ok=True)
        (eng.root / path).write_bytes(big[:50_000])
    with eng.services.db.write() as sql:
        sql.execute("INSERT INTO volumes VALUES ('v', 0, 0, '{}')")
    usage = eng.system.df()
    parts = {part.type: part for part in usage.parts}
    assert abs(usage.total - _du(eng.root)) <= _du(eng.root) / 100
    assert (
        parts["Images"].total == 2
        and parts["Images"].active == 1
        and 0 < parts["Images"].reclaimable < parts["Images"].size
    )
    assert (
        parts["Containers"].size >= 100_000
        and parts["Local Volumes"].size >= 50_000
        and parts["Local Volumes"].reclaimable >= 50_000
    )
    assert parts["Build Cache"].total == 1 and parts["Build Cache"].size >= 50_000
    assert all(0 <= part.reclaimable <= part.size for part in usage.parts)


def test_sharing_is_told(eng: Engine) -> None:
    imported(eng, "one", "a", changes=["CMD x"])
    imported(eng, "two", "a", changes=["CMD y"])
    imported(eng, "alone", "b")
    usage = {u.image.tags[0]: u for u in eng.system.df().images}
    assert usage["one:latest"].shared == usage["two:latest"].shared > 0
    assert usage["alone:latest"].shared == 0 and usage["alone:latest"].unique > usage["one:latest"].unique > 0
