"""`cp`, `diff` and `commit` of a container that does not run: its tree is a directory."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from boxwright.container.commit import _left_out, changes, image_config
from boxwright.container.config import ContainerConfig
from boxwright.container.copying import (
    ContainerCopyRefused,
    ContainerPathMissing,
    ReadOnlyTree,
    archive_in,
    archive_out,
    copy_in,
    copy_out,
)
from boxwright.container.records import Container, save_state
from boxwright.snapshot.snapshotter import Change
from boxwright.spec.values import replace
from support.few import Few, added

ONE = "a1" * 32


@pytest.fixture
def few(tmp_path: Path) -> Few:
    (tmp_path / "ingest").mkdir()
    tree = tmp_path / "tree"
    (tree / "etc/deep").mkdir(parents=True)
    (tree / "etc/motd").write_text("hello")
    (tree / "etc/deep/f").write_text("deep")
    (tree / "link").symlink_to("/etc/motd")
    (tree / "out").symlink_to("/../../../../../../etc")
    return Few(tmp_path)


@pytest.fixture
def box(few: Few) -> Container:
    return added(few, ONE, "box")


def out(few: Few, box: Container, path: str, target: Path | str, **more: Any) -> int:
    return copy_out(few, box, path, str(target), **more)  # type: ignore[arg-type]


def into(few: Few, box: Container, source: Path | str, path: str, **more: Any) -> int:
    return copy_in(few, box, str(source), path, **more)  # type: ignore[arg-type]


def test_a_destination_means_what_docker_says(few: Few, box: Container, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert out(few, box, "/etc/motd", there) == 5
    assert (there / "motd").read_text() == "hello"
    out(few, box, "/etc/motd", there / "renamed")
    assert (there / "renamed").read_text() == "hello"
    out(few, box, "etc", there)
    assert (there / "etc/deep/f").read_text() == "deep"
    out(few, box, "/etc", there / "copy")  # which is not there: it becomes the directory
    assert (there / "copy/motd").read_text() == "hello"
    (there / "flat").mkdir()
    out(few, box, "/etc/.", there / "flat")  # its contents alone
    assert sorted(os.listdir(there / "flat")) == ["deep", "motd"]


def test_links_are_kept_or_followed(few: Few, box: Container, tmp_path: Path) -> None:
    out(few, box, "/link", tmp_path / "kept")
    assert os.readlink(tmp_path / "kept") == "/etc/motd"
    out(few, box, "/link", tmp_path / "followed", follow=True)
    assert (tmp_path / "followed").read_text() == "hello"
    # A link of the container's is followed in its tree, never in the host's.
    into(few, box, tmp_path / "followed", "/out/new")
    assert (few.root / "tree/etc/new").read_text() == "hello"


def test_what_cannot_be_copied_is_refused(few: Few, box: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ContainerPathMissing, match="Could not find the file /nosuch in container box"):
        out(few, box, "/nosuch", tmp_path)
    with pytest.raises(ContainerPathMissing):
        into(few, box, tmp_path / "nosuch", "/etc")
    with pytest.raises(ContainerCopyRefused, match="cannot copy directory"):
        out(few, box, "/etc", tmp_path / "file")
    with pytest.raises(ContainerCopyRefused, match="must be a directory"):
        out(few, box, "/etc/motd", f"{tmp_path}/nosuch/")
    with pytest.raises(ContainerPathMissing, match="no such directory"):
        into(few, box, tmp_path / "file", "/no/such/place")


def test_a_read_only_tree_stays_so(few: Few, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "volume").mkdir()
    config = ContainerConfig(image="image", read_only=True).to_json()
    point = {"source": str(tmp_path / "volume"), "target": "/data", "writable": True, "name": ""}
    box = added(few, ONE, "box", config=config, mounts=[point])
    with pytest.raises(ReadOnlyTree, match="rootfs is marked read-only"):
        into(few, box, tmp_path / "file", "/etc/x")
    into(few, box, tmp_path / "file", "/data/x")  # a volume of its own may be written
    assert (tmp_path / "volume/x").read_text() == "x"
    box.record["mounts"][0]["writable"] = False
    with pytest.raises(ReadOnlyTree, match="volume is marked read-only"):
        into(few, box, tmp_path / "file", "/data/y")


def test_archives(few: Few, box: Container) -> None:
    sink = io.BytesIO()
    archive_out(few, box, "/etc", sink)  # type: ignore[arg-type]
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        assert tar.getnames() == ["etc", "etc/deep", "etc/deep/f", "etc/motd"]
    (few.root / "tree/new").mkdir()
    archive_in(few, box, "/new", io.BytesIO(sink.getvalue()))  # type: ignore[arg-type]
    assert (few.root / "tree/new/etc/deep/f").read_text() == "deep"
    with pytest.raises(ContainerCopyRefused, match="not a directory"):
        archive_in(few, box, "/etc/motd", io.BytesIO(sink.getvalue()))  # type: ignore[arg-type]
    with pytest.raises(ContainerPathMissing):
        archive_in(few, box, "/nosuch", io.BytesIO(sink.getvalue()))  # type: ignore[arg-type]


def test_mount_points_are_no_part_of_diff_and_commit(few: Few, box: Container) -> None:
    few.snapshots.found = [Change("/data", "A"), Change("/srv", "C"), Change("/srv/x", "A")]
    save_state(box.directory, replace(box.state, placeholders=("/data", "/srv/mnt/deep")))
    services: Any = few
    assert changes(services, box) == [Change("/srv", "C"), Change("/srv/x", "A")]
    # /srv holds a change of its own; /srv/mnt is there because a mount point was made in it.
    assert _left_out(services, box) == {"/data", "/srv/mnt/deep", "/srv/mnt"}


def test_an_image_keeps_what_is_not_about_one_container(few: Few) -> None:
    merged = {
        "Hostname": "h",
        "Tty": True,
        "Cmd": ["x"],
        "Env": [],
        "Volumes": {"/typed": {}, "/images": {}},
        "StopTimeout": 3,
    }
    mounts = [{"target": "/typed", "name": ""}, {"target": "/images", "name": "v"}]
    box = added(few, ONE, "box", merged=merged, mounts=mounts)
    assert image_config(box) == {"Cmd": ["x"], "Volumes": {"/images": {}}}
