"""ROOT as an OCI layout: what other tools read there is what the database says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxwright.content.layout import NAME, Layout
from boxwright.engine import Engine
from boxwright.files.disk import DiskFull
from support.image import engine, imported, saved


def names(eng: Engine) -> dict[str, str]:
    """Reference name -> digest, as another tool finds them."""
    return {entry.annotations[NAME]: str(entry.digest) for entry in Layout(eng.root).entries()}


def test_names_come_and_go(tmp_path: Path) -> None:
    eng = engine(tmp_path)
    imported(eng, "app:1")
    first = eng.services.images_store.resolve("app:1").target
    eng.images.tag("app:1", "quay.io/team/app:2")
    assert names(eng) == {"app:1": first, "quay.io/team/app:2": first}
    imported(eng, "app:1", "another")
    assert names(eng) == {
        "app:1": eng.services.images_store.resolve("app:1").target,
        "quay.io/team/app:2": first,
    }
    eng.images.remove("quay.io/team/app:2")
    assert list(names(eng)) == ["app:1"]
    eng.images.remove("app:1")
    assert names(eng) == {}


def test_every_claim_can_be_read(tmp_path: Path) -> None:
    """Manifest, config and layers, all through the layout; a second image by way of load."""
    eng = engine(tmp_path / "one")
    imported(eng, "app:1", "a", "b")
    other = engine(tmp_path / "two")
    (tmp_path / "archive").write_bytes(saved(eng, "app:1"))
    other.images.load(tmp_path / "archive")
    for each in (eng, other):
        layout = Layout(each.root)
        row = each.services.images_store.resolve("app:1")
        [(desc, manifest)] = each.services.images_store.manifests(row)
        assert layout.resolve("app:1") == desc
        for part in (manifest.config, *manifest.layers):
            with layout.open(part) as body:
                assert len(body.read()) == part.size


def test_a_layer_is_kept_once(tmp_path: Path) -> None:
    eng = engine(tmp_path)
    imported(eng, "app:1", "a")
    layer = eng.services.images_store.resolve_platform("app:1").layers[0]
    blob, tar = eng.services.store.path(layer), eng.services.layers.get(layer).tar_path
    assert os.path.samefile(blob, tar)
    eng.images.remove("app:1")
    assert not blob.exists() and not tar.exists()


def test_a_kill_between_is_made_good(tmp_path: Path) -> None:
    """The database moved on and index.json did not: prune and fsck bring it up to date."""
    eng = engine(tmp_path)
    imported(eng, "app:1")
    for heal in (eng.images.prune, eng.system.fsck):
        (tmp_path / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
        assert names(eng) == {}
        heal()
        assert list(names(eng)) == ["app:1"]


def test_repair_keeps_what_is_shown_and_the_layer_one(tmp_path: Path) -> None:
    eng = engine(tmp_path)
    imported(eng, "app:1", "a")
    layer = eng.services.images_store.resolve_platform("app:1").layers[0]
    index = eng.services.layers.get(layer).index_path
    index.chmod(0o600)
    index.write_bytes(b"broken")
    assert [p.state for p in eng.system.fsck(repair=True)] == ["repaired"]
    assert os.path.samefile(eng.services.store.path(layer), eng.services.layers.get(layer).tar_path)
    assert eng.system.fsck() == []


def test_a_name_that_could_not_be_published_is_set_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure after the change would say that it has not happened. The next change tells other tools of both."""
    eng = engine(tmp_path)
    imported(eng, "app:1")

    def full(*words: object) -> None:
        raise DiskFull("no room for index.json")

    with monkeypatch.context() as patch:
        patch.setattr(eng.services.store, "export_index", full)
        eng.images.tag("app:1", "app:2")
    assert [i.tags for i in eng.images.list()] == [("app:1", "app:2")] and list(names(eng)) == ["app:1"]
    with monkeypatch.context() as patch, pytest.raises(DiskFull):
        patch.setattr(eng.services.db, "write", full)
        eng.images.tag("app:1", "app:3")
    assert [i.tags for i in eng.images.list()] == [("app:1", "app:2")]
    eng.images.tag("app:1", "app:4")
    assert list(names(eng)) == ["app:1", "app:2", "app:4"]
