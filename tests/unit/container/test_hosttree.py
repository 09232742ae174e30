"""Containers whose tree is a directory of the host: what is recorded, what is looked at, and that it stays."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from boxwright.container import commit, copying
from boxwright.container.config import ContainerConfig, ContainerConfigInvalid
from boxwright.container.hosttree import NoDifference
from boxwright.engine import Engine
from support.image import engine as engine_at


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/motd").write_text("hello")
    return engine_at(tmp_path / "root", BOXWRIGHT_DRIVER="copied", DOCKER_CONFIG=str(tmp_path / "docker"))


def test_a_container_without_an_image(engine: Engine, tmp_path: Path) -> None:
    tree = str(tmp_path / "tree")
    box = engine.containers.create(ContainerConfig(image="", rootfs=tree, command=("sh",), workdir="/w"))
    shown = engine.containers.inspect(box.id)
    assert (shown["Rootfs"], shown["Config"]["Image"], shown["Image"]) == (tree, tree, "")
    sink = io.BytesIO()
    copying.export(engine.services, box, sink)
    assert "etc/motd" in {m.name for m in tarfile.open(fileobj=io.BytesIO(sink.getvalue()))}
    with pytest.raises(NoDifference, match=r"is the directory .* of the host"):
        commit.changes(engine.services, box)
    with pytest.raises(NoDifference, match=r"is the directory .* of the host"):
        engine.containers.commit(box)
    engine.system.collect()
    assert engine.system.df() is not None and engine.system.fsck() == []
    engine.containers.remove(box, volumes=True)
    assert sorted(p.name for p in (tmp_path / "tree").rglob("*")) == ["etc", "motd"]


def test_what_is_no_directory(engine: Engine, tmp_path: Path) -> None:
    for path in (f"{tmp_path}/tree/etc/motd", f"{tmp_path}/none", f"{tmp_path}/tree\nx"):
        with pytest.raises(ContainerConfigInvalid, match=r"there is no such directory"):
            engine.containers.create(ContainerConfig(image="", rootfs=path, command=("sh",)))
    assert engine.containers.list(all=True) == [] and not os.listdir(engine.root / "work")
