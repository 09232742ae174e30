"""Unpacking: the same tree as in the layer, whiteouts in both forms, nothing outside touched."""

from __future__ import annotations

import io
import os
import resource
import stat
import tarfile
from pathlib import Path

import pytest

from boxwright.files.trees import remove_tree
from boxwright.layer.adopt import adopt_tree
from boxwright.layer.apply import TooDeep, unpack
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.store import Layer, LayerStore
from support import REAL_ROOT
from support.descriptors import none_left_open
from support.layer import census, layer_store, make_tar, member

ROOT = os.geteuid() == 0
D, L, H = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return layer_store(tmp_path / "root")


def ingest(layers: LayerStore, *members: tuple[tarfile.TarInfo, bytes]) -> Layer:
    return ingest_tar(layers, io.BytesIO(make_tar(*members)))


def fresh(tmp_path: Path, name: str = "target") -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_everything_is_there(layers: LayerStore, tmp_path: Path) -> None:
    big = os.urandom(3 << 20)
    layer = ingest(
        layers,
        member("d/", D, mode=0o500, mtime=5),
        member("d/f", data=b"x" * 100, mode=0o4755, mtime=7, pax_headers={"mtime": "7.5"}),
        member("big", data=big),
        member("d/l", L, linkname="/etc/passwd", mtime=9),
        member("h", H, linkname="d/f"),
        member("p", tarfile.FIFOTYPE, mode=0o620),
        member("./", D, mode=0o711, mtime=3),
        member("a", data=b"", pax_headers={"SCHILY.xattr.user.k": "v"}),
    )
    target = fresh(tmp_path)
    unpack(layer, target, as_root=ROOT)
    found = census(target)
    assert {path: (node[0], node[3], node[5]) for path, node in found.items()} == {
        "": ("0o40711", 3 * 10**9, None),
        "a": ("0o100644", 0, b""),
        "big": ("0o100644", 0, big),
        "d": ("0o40500", 5 * 10**9, None),
        "d/f": ("0o104755", 7_500_000_000, b"x" * 100),
        "d/l": ("0o120777", 9 * 10**9, "/etc/passwd"),
        "h": ("0o104755", 7_500_000_000, b"x" * 100),
        "p": ("0o10620", 0, None),
    }
    assert os.stat(target / "h").st_nlink == 2 and found["a"][6] == {"user.k": b"v"}


def test_applied_to_what_is_there(layers: LayerStore, tmp_path: Path) -> None:
    target = fresh(tmp_path)
    unpack(
        ingest(
            layers,
            member("keep/", D, mode=0o700, mtime=5),
            member("keep/a", data=b"old"),
            member("gone/deep/x"),
            member("opq/old"),
            member("f2d"),
            member("d2f/x"),
            member("l", L, linkname="keep"),
        ),
        target,
        overlay=False,
        as_root=ROOT,
    )
    unpack(
        ingest(
            layers,
            member("keep/a", data=b"new"),
            member(".wh.gone"),
            member("opq/", D),
            member("opq/.wh..wh..opq"),
            member("opq/new"),
            member("f2d/x"),
            member("d2f"),
            member("keep/.wh.nothing"),
            member("l/", D),
            member("l/in"),
        ),
        target,
        overlay=False,
        as_root=ROOT,
    )
    found = census(target)
    assert set(found) == {"", "keep", "keep/a", "opq", "opq/new", "f2d", "f2d/x", "d2f", "l", "l/in"}
    assert os.stat(target / "keep").st_mtime == 5, "what the layer only implies keeps its time"
    assert found["keep/a"][5] == b"new" and found["keep"][0] == "0o40700" and found["l"][0].startswith("0o4")


def test_links_in_the_target_lead_nowhere(layers: LayerStore, tmp_path: Path) -> None:
    outside = fresh(tmp_path, "outside")
    (outside / "x").write_text("mine")
    target = fresh(tmp_path)
    (target / "d").symlink_to(outside)
    (target / "f").symlink_to(outside / "x")
    unpack(
        ingest(
            layers,
            member("d/x", data=b"theirs"),
            member("f", data=b"theirs"),
            member(".wh.d2"),
            member("d/", D),
        ),
        target,
        overlay=False,
        as_root=ROOT,
    )
    assert (outside / "x").read_text() == "mine" and os.listdir(outside) == ["x"]
    assert (target / "d/x").read_bytes() == b"theirs" and not (target / "d").is_symlink()


@pytest.mark.skipif(not REAL_ROOT, reason="whiteouts of overlayfs need root")
def test_overlay_form(layers: LayerStore, tmp_path: Path) -> None:
    layer = ingest(
        layers,
        member(".wh.gone"),
        member("opq/", D),
        member("opq/.wh..wh..opq"),
        member("c", tarfile.CHRTYPE, devmajor=1, devminor=3, uid=7),
    )
    target = fresh(tmp_path)
    unpack(layer, target)
    assert stat.S_ISCHR(os.lstat(target / "gone").st_mode) and os.lstat(target / "gone").st_rdev == 0
    assert os.getxattr(target / "opq", "trusted.overlay.opaque") == b"y"
    assert (os.lstat(target / "c").st_rdev, os.lstat(target / "c").st_uid) == (os.makedev(1, 3), 7)
    other = fresh(tmp_path, "rootless")
    unpack(layer, other, as_root=False)
    assert os.getxattr(other / "opq", "user.overlay.opaque") == b"y" and not (other / "c").exists()


def test_tree_layers_unpack_too(layers: LayerStore, tmp_path: Path) -> None:
    tree = layers.store.root / "work" / "up"
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_bytes(b"x" * 5000)
    (tree / "h").hardlink_to(tree / "d/f")
    (tree / "l").symlink_to("d")
    layer = adopt_tree(layers, tree)
    target = fresh(tmp_path)
    unpack(layer, target, as_root=ROOT)
    assert census(target) == census(layer.tree_path)


def test_too_deep_is_an_error(layers: LayerStore, tmp_path: Path) -> None:
    with none_left_open(but=3), pytest.raises(TooDeep):
        unpack(ingest(layers, member("d/" * 1000 + "f")), fresh(tmp_path), as_root=ROOT)
    fd = os.open(tmp_path, os.O_RDONLY)
    remove_tree(fd, b"target")
    os.close(fd)


def test_too_deep_for_the_descriptors_is_the_same_error(layers: LayerStore, tmp_path: Path) -> None:
    layer, target = ingest(layers, member("d/" * 300 + "f")), fresh(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, limits[1]))
    try:
        with pytest.raises(TooDeep):
            unpack(layer, target, as_root=ROOT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_removing_has_no_depth_limit(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    fd = os.open(tmp_path / "t", os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("f", os.O_CREAT, dir_fd=fd))
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    fd = os.open(tmp_path, os.O_RDONLY)
    remove_tree(fd, b"t")
    os.close(fd)
    assert os.listdir(tmp_path) == []


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/x").touch()
    tree = tmp_path / "tree"
    for name in ("a/b/c", "a/d", "e"):
        (tree / name).mkdir(parents=True)
        (tree / name / "f").touch()
    (tree / "a/l").symlink_to(tmp_path / "keep")
    (tree / "a/b").chmod(0)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        remove_tree(fd, b"tree")
        remove_tree(fd, b"never there")
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["keep"] and os.listdir(tmp_path / "keep") == ["x"]
