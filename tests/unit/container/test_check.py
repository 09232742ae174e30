"""What fsck finds of volumes and containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.container.volumes import Volumes
from boxwright.engine import Engine
from boxwright.files.trees import erase
from boxwright.image.validate import Problem
from boxwright.spec.digest import DiffID
from support.image import add_container, imported


def found(engine: Engine, *, repair: bool = False) -> list[tuple[str, str, str]]:
    return [(p.kind, p.what, p.state) for p in engine.system.fsck(repair=repair)]


def test_a_volume_without_its_directory_is_told_and_made_again(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    volumes = Volumes(engine.root, engine.services.db)
    for name in ("kept", "lost"):
        volumes.create(name)
    erase(volumes.get("lost").path)
    assert found(engine) == [("volume", "lost", "")]
    assert found(engine, repair=True) == [("volume", "lost", "repaired")]
    assert volumes.get("lost").data.is_dir() and found(engine) == []


def test_a_container_without_its_layers_is_told_and_kept(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    imported(engine, "app:1", "a")
    layer = engine.services.layers.all()[0]
    add_container(engine, "app:1", "a" * 64)
    assert found(engine) == []
    lost = str(DiffID("sha256", "1" * 64))
    with engine.services.db.write() as sql:
        sql.execute("UPDATE containers SET layers = ?", (f"{layer.diff_id} {lost}",))
    (problem,) = engine.system.fsck()
    assert problem == Problem("container", "a" * 64, f"its layer {lost} is not in the store")
    assert found(engine, repair=True) == [("container", "a" * 64, "kept")]


def test_what_another_command_removes_meanwhile_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path)
    volumes = Volumes(engine.root, engine.services.db)
    volume, _ = volumes.create("going")
    listed = Volumes.list

    def removed(self: Volumes) -> object:
        rows = listed(self)
        volumes.remove(volume.name)
        return rows

    monkeypatch.setattr(Volumes, "list", removed)
    assert found(engine) == []
