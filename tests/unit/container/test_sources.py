"""What a container's mounts are made of at a start: host paths, volumes, images, and parts of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boxwright.container.config import ContainerConfigInvalid
from boxwright.container.records import MountPoint
from boxwright.container.rows import view_key
from boxwright.container.sources import Sources, SubpathMissing
from boxwright.container.volumes import NoSuchVolume
from boxwright.files import locks
from boxwright.files.locks import Lock
from support.few import Few, added
from support.mounts import Mounts, Unmounted

ONE, LAYER = "a1" * 32, "sha256:" + "d" * 64


class Start:
    def __init__(self, root: Path) -> None:
        few = Few(root)
        self.mounts, self.trees = Mounts(), few.snapshots
        self.trees.tree.mkdir()
        self.volumes = Unmounted(root, few.db)
        services: Any = few
        host: Any = self.mounts
        self.box = added(few, ONE, "box")
        self.sources = Sources(services, self.box, mounts=host, volumes=self.volumes)

    def ready(self, **more: Any) -> MountPoint:
        return self.sources.ready(2, MountPoint(target="/t", **more))


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


def test_a_path_of_the_host_is_looked_for_and_left_as_it_is(start: Start, tmp_path: Path) -> None:
    point = MountPoint(kind="bind", target="/t", source=str(tmp_path))
    assert start.sources.ready(0, point) == point
    with pytest.raises(ContainerConfigInvalid, match=f"bind source path does not exist: {tmp_path}/gone"):
        start.ready(kind="bind", source=f"{tmp_path}/gone")
    (tmp_path / "dangling").symlink_to("gone")  # the runtime says what it thinks of that
    start.ready(kind="bind", source=f"{tmp_path}/dangling")
    tmpfs = MountPoint(kind="tmpfs", target="/t")
    assert start.sources.ready(0, tmpfs) == tmpfs and not start.mounts.done and not start.sources.mounts


def test_a_volume_is_its_directory(start: Start) -> None:
    volume, _ = start.volumes.create("vol")
    found = start.ready(kind="volume", name="vol")
    assert found.source == str(volume.data) and found.writable and not start.sources.shares
    assert not start.ready(kind="volume", name="vol", writable=False).writable
    with pytest.raises(NoSuchVolume):
        start.ready(kind="volume", name="gone")


@pytest.mark.parametrize(("options", "writable"), [("bind", True), ("bind,ro", False), ("ro,rw", True)])
def test_a_volume_with_a_device_is_shared_until_the_supervisor_has_it(
    start: Start, tmp_path: Path, options: str, writable: bool
) -> None:
    device = {"type": "none", "device": str(tmp_path), "o": options}
    volume, _ = start.volumes.create("vol", options=device)
    assert start.ready(kind="volume", name="vol").writable is writable
    assert [share.place for share in start.sources.shares] == [str(volume.data)]
    lock = str(volume.path / "lock")
    with pytest.raises(BlockingIOError):
        Lock.at(locks.VOLUME, lock, wait=False)
    start.sources.release()
    Lock.at(locks.VOLUME, lock, wait=False).close()
    assert not start.sources.shares


def test_an_image_is_a_tree_of_its_own(start: Start) -> None:
    found = start.ready(kind="image", name="data", layers=(LAYER,))
    key = view_key(ONE, 2)
    assert found.source == str(start.trees.tree) and start.sources.mounts == [found.source]
    assert start.trees.discarded == [key] and start.trees.viewed == [(key, LAYER)]  # an old one gives way


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_part_is_mounted_beside_the_tree_from_what_it_really_is(start: Start, kind: str) -> None:
    volume, _ = start.volumes.create("vol")
    (volume.data / "a").mkdir()
    (volume.data / "a/directory").mkdir()
    (volume.data / "a/file").touch()
    (volume.data / "link").symlink_to("a")
    found = start.ready(kind="volume", name="vol", subpath=f"link/{kind}")
    place = start.box.directory / "part-2"
    assert found.source == str(place) and place.is_dir() is (kind == "directory")
    assert start.mounts.done == [
        ("detach", "part-2"),
        ("attach part", f"{volume.data}/a/{kind}", "part-2"),
    ]
    assert start.sources.mounts == [str(place)]
    start.ready(kind="volume", name="vol", subpath=f"link/{kind}")  # at the next start it is there


def test_of_several_mounts_the_last_is_taken_down_first(start: Start) -> None:
    (start.trees.tree / "sub").mkdir()
    start.ready(kind="image", name="data", layers=(LAYER,), subpath="sub")
    assert start.sources.mounts == [str(start.box.directory / "part-2"), str(start.trees.tree)]


@pytest.mark.parametrize("subpath", ["gone", "out/secret", "up"])
def test_a_part_that_is_not_there_or_is_outside(start: Start, tmp_path: Path, subpath: str) -> None:
    volume, _ = start.volumes.create("vol")
    (tmp_path / "secret").touch()
    (volume.data / "out").symlink_to(tmp_path)  # inside, an absolute link means the volume's own top
    (volume.data / "up").symlink_to("../" * 9 + "secret")
    with pytest.raises(SubpathMissing) as told:
        start.ready(kind="volume", name="vol", subpath=subpath)
    path = volume.data / subpath
    assert str(told.value) == f"cannot access path {path}: lstat {path}: no such file or directory"
    assert told.value.exit_code == 127 and not start.sources.mounts
