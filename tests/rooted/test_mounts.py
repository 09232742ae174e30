"""Mounts by descriptor, the way before, and what the drivers leave behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxwright.files import syscalls
from boxwright.layer.write import Entry
from boxwright.runtime.process import Stdio, run, spawn
from boxwright.snapshot import mount as mounting
from boxwright.snapshot import probe
from boxwright.snapshot.mount import (
    MountFailed,
    MountUnsupported,
    attach,
    detach,
    find_overlay,
    is_mounted,
    open_tree,
)
from boxwright.snapshot.snapshotter import Mount
from support import REAL_ROOT
from support.descriptors import none_left_open
from support.snapshot import add_layer, driver, make_layers, mounts_below

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    base = tmp_path / "base"
    for name in ("a", "b", "upper", "work", "target"):
        (base / name).mkdir(parents=True)
    (base / "a/f").write_text("a")
    yield base
    for path in mounts_below(tmp_path):
        detach(Path(path))


def overlay(base: Path, *more: str) -> list[Mount]:
    return [
        Mount(
            "overlay",
            "overlay",
            (
                f"lowerdir+={base}/a",
                f"lowerdir+={base}/b",
                f"upperdir={base}/upper",
                f"workdir={base}/work",
                *more,
            ),
        )
    ]


def test_nothing_is_in_the_mount_table(base: Path) -> None:
    fd = open_tree(overlay(base))
    assert os.listdir(fd) == ["f"]
    os.close(os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    assert mounts_below(base) == []
    os.close(fd)
    assert (base / "upper/made").exists()


def test_attach_and_detach(base: Path) -> None:
    target = base / "target"
    assert not is_mounted(target)
    attach(overlay(base), target)
    assert is_mounted(target)
    assert os.listdir(target) == ["f"]
    assert find_overlay(base / "upper") == target
    assert detach(target)
    assert not detach(target)
    assert not detach(base / "missing")
    assert find_overlay(base / "upper") is None


def test_odd_names(base: Path) -> None:
    odd = base / 'co:lon,com ma\\back"slash'
    odd.mkdir()
    (odd / "inside").write_text("x")
    for name in ("u", "w", "t"):
        (odd / name).mkdir()
    mount = Mount(
        "overlay",
        "overlay",
        (f"lowerdir+={odd}", f"lowerdir+={base}/a", f"upperdir={odd}/u", f"workdir={odd}/w"),
    )
    attach([mount], odd / "t")
    assert "inside" in os.listdir(odd / "t")
    assert find_overlay(odd / "u") in (odd / "t", None)  # the table escapes in more than one way


def test_long_names(base: Path) -> None:
    deep = base
    for _ in range(5):
        deep = deep / ("d" * 100)
    for name in ("l/here", "u", "w", "t"):
        (deep / name).mkdir(parents=True)
    attach(
        [Mount("overlay", "overlay", (f"lowerdir+={deep}/l", f"upperdir={deep}/u", f"workdir={deep}/w"))],
        deep / "t",
    )
    assert os.listdir(deep / "t") == ["here"]


def test_a_read_only_bind(base: Path) -> None:
    attach([Mount("bind", str(base / "a"), ("ro",))], base / "target")
    with pytest.raises(OSError, match="Read-only"):
        (base / "target/new").write_text("x")
    assert detach(base / "target")


def test_errors_say_what_and_why(base: Path) -> None:
    with pytest.raises(MountFailed, match=r"cannot mount overlay overlay: .*No such file") as missing:
        open_tree([Mount("overlay", "overlay", (f"lowerdir+={base}/nope", f"lowerdir+={base}/a"))])
    assert missing.value.code == errno.ENOENT
    with pytest.raises(MountUnsupported, match="cannot mount nosuchfs"):
        open_tree([Mount("nosuchfs", "x")])
    with pytest.raises(MountFailed, match="nothing to mount"):
        open_tree([])
    with none_left_open(), pytest.raises(MountUnsupported):
        open_tree([Mount("erofs", str(base / "a/f"), ("ro",))])


def test_without_the_new_calls(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = syscalls.call

    def old_kernel(number: int, *arguments: int | bytes | None) -> int:
        if number == syscalls.FSOPEN:
            raise OSError(errno.ENOSYS, "Function not implemented")
        return real(number, *arguments)

    monkeypatch.setattr(syscalls, "call", old_kernel)
    attach(overlay(base, "index=off"), base / "target")
    assert os.listdir(base / "target") == ["f"]
    assert [p for p in mounts_below(base) if ".mount-" in p] == []
    assert sorted(os.listdir(base)) == ["a", "b", "target", "upper", "work"]


def test_fifty_layers(tmp_path: Path) -> None:
    layers = make_layers(tmp_path / "root")
    stack = [add_layer(layers, {f"f{n}": b"%d" % n}) for n in range(50)]
    if probe.try_driver("mounted", tmp_path / "root"):
        pytest.skip("no EROFS from files")
    with driver("mounted", tmp_path / "root", layers) as snapshots:
        snapshots.prepare("k", stack)
        assert len(os.listdir(snapshots.mount("k"))) == 50
        assert len(mounts_below(tmp_path)) == 51
        snapshots.view("v", stack)
        assert len(os.listdir(snapshots.mount("v"))) == 50
        assert len(mounts_below(tmp_path)) == 52  # the layers are mounted once


def test_layers_are_mounted_again_when_they_are_missing(tmp_path: Path) -> None:
    layers = make_layers(tmp_path / "root")
    stack = [add_layer(layers, {"f": b"f"})]
    with driver("mounted", tmp_path / "root", layers) as snapshots:
        snapshots.prepare("k", stack)
        (snapshots.mount("k") / "g").write_text("g")
        for path in mounts_below(tmp_path):  # as after a reboot
            detach(Path(path))
        assert sorted(os.listdir(snapshots.mount("k"))) == ["f", "g"]


def test_many_processes_mount_a_layer_once(tmp_path: Path) -> None:
    layers = make_layers(tmp_path / "root")
    stack = [add_layer(layers, {f"f{n}": b"f"}) for n in range(5)]
    program = (
        "import sys\nfrom pathlib import Path\nfrom support.snapshot import make_layers\nfrom boxwright.snapshot.probe import make\n"
        "from boxwright.spec.digest import DiffID\nroot = Path(sys.argv[1])\nsnapshots = make('mounted', root, make_layers(root))\n"
        "snapshots.prepare(sys.argv[2], [DiffID.parse(d) for d in sys.argv[3:]])\nsnapshots.mount(sys.argv[2])\n"
    )
    env = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PATH": os.defpath}
    with driver("mounted", tmp_path / "root", layers):
        running = [
            spawn(
                [sys.executable, "-c", program, str(tmp_path / "root"), f"k{n}", *map(str, stack)],
                env=env,
                stdio=Stdio(stderr=2),
            )
            for n in range(6)
        ]
        assert [process.wait(60) for process in running] == [0] * 6
        assert len(mounts_below(tmp_path)) == 5 + 6


def test_a_tree_mounted_elsewhere_is_found(tmp_path: Path) -> None:
    layers = make_layers(tmp_path / "root")
    stack = [add_layer(layers, {"f": b"f"})]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with driver("mounted", tmp_path / "root", layers) as snapshots:
        snapshots.prepare("k", stack)
        mounting.attach(snapshots.mounts("k"), elsewhere)
        (elsewhere / "new").write_text("x")
        fd = snapshots.open("k")
        assert sorted(os.listdir(fd)) == ["f", "new"]
        os.close(fd)
        snapshots.discard("k")
        assert not is_mounted(elsewhere)


def test_unpacked_layers_are_what_the_tar_says(tmp_path: Path) -> None:
    layers = make_layers(tmp_path / "root")
    entries: dict[str, object] = {
        "d/": Entry(path="d", type="dir", mode=0o1751, uid=7, gid=8, mtime_ns=12_345_678_901),
        "d/f": Entry(
            path="d/f",
            type="file",
            mode=0o6711,
            uid=1,
            gid=2,
            mtime_ns=99,
            size=100_000,
            xattrs={"user.a": b"b"},
        ),
        "d/g": ("link", "d/f"),
        "null": Entry(path="null", type="char", mode=0o666, device=(1, 3)),
        "pipe": Entry(path="pipe", type="fifo", mode=0o640),
        "l": "d/f",
        "big": Entry(path="big", size=3 << 20),
        "-gone": None,
        "o/": None,
        "o/!": None,
    }
    layer = layers.get(add_layer(layers, entries))
    with driver("unpacked", tmp_path / "root", layers) as snapshots:
        tree = Path(snapshots.lower(layer))  # type: ignore[attr-defined]
        info = (tree / "d/f").stat()
        assert (
            info.st_mode & 0o7777,
            info.st_uid,
            info.st_gid,
            info.st_mtime_ns,
            info.st_size,
            info.st_nlink,
        ) == (0o6711, 1, 2, 99, 100_000, 2)
        assert os.getxattr(tree / "d/g", "user.a") == b"b"
        info = (tree / "d").stat()
        assert (info.st_mode & 0o7777, info.st_uid, info.st_gid, info.st_mtime_ns) == (
            0o1751,
            7,
            8,
            12_345_678_901,
        )
        assert (tree / "null").stat().st_rdev == os.makedev(1, 3)
        assert (tree / "gone").stat().st_rdev == 0
        assert (tree / "big").read_bytes() == b"x" * (3 << 20)
        assert os.getxattr(tree / "o", "trusted.overlay.opaque") == b"y"
        (layer.path / "unpacked.part").mkdir()  # a crash while another was unpacking
        shutil.rmtree(tree)
        assert snapshots.lower(layer) == str(tree)  # type: ignore[attr-defined]
        assert not (layer.path / "unpacked.part").exists()


def test_in_a_user_namespace(tmp_path: Path) -> None:
    """No EROFS and no ``trusted.`` attributes there: directories, and overlayfs's attributes under ``user.``."""
    if shutil.which("unshare") is None or run(["unshare", "-Urm", "true"], check=False).code:
        pytest.skip("user namespaces cannot be made here")
    program = (
        "import json, os, sys\nfrom pathlib import Path\nfrom support.snapshot import add_layer, make_layers\n"
        "from boxwright.snapshot.probe import choose_driver\nroot = Path(sys.argv[1])\nlayers = make_layers(root)\n"
        "one = add_layer(layers, {'d/': None, 'd/f': b'x', 'e/': None, 'e/g': b'y'})\n"
        "two = add_layer(layers, {'-d/f': None, 'e/': None, 'e/!': None, 'e/n': b'n'})\n"
        "snapshots = choose_driver(root, layers)\nsnapshots.prepare('k', [one, two])\ntree = snapshots.mount('k')\n"
        "seen = [sorted(os.listdir(tree / name)) for name in 'de']\n"
        "os.unlink(tree / 'e/n'); os.rmdir(tree / 'e'); os.mkdir(tree / 'e')\n"
        "changes = [f'{c.kind} {c.path}' for c in snapshots.changes('k')]\nlayer = snapshots.commit('k')\n"
        "snapshots.view('v', [one, two, layer.diff_id])\n"
        "print(json.dumps([snapshots.name, seen, changes, os.listdir(snapshots.mount('v') / 'e')]))\nsnapshots.discard('v')\n"
    )
    env = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PATH": os.environ["PATH"]}
    done = run(
        ["unshare", "-Urm", sys.executable, "-c", program, str(tmp_path / "root")],
        env=env,
    )
    assert json.loads(done.stdout) == ["unpacked", [[], ["n"]], ["C /e", "D /e/n"], []]


def test_the_choice_is_remembered_and_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    layers = make_layers(root)
    tried: list[str] = []

    def only(*working: str) -> None:
        tried.clear()

        def fake(driver: str, root: Path, *, userxattr: bool = False) -> str:
            tried.append(driver)
            return "" if driver in working else "not today"

        monkeypatch.setattr(probe, "try_driver", fake)

    only("copied")
    chosen = probe.choose_driver(root, layers)
    assert chosen.name == "copied"
    assert chosen.reason == "mounted does not work here: not today; unpacked does not work here: not today"
    only()
    assert probe.choose_driver(root, layers).name == "copied"
    assert tried == []
    with pytest.raises(probe.DriverUnusable, match="mounted does not work here: not today"):
        probe.choose_driver(root, layers, wanted="mounted")
    with pytest.raises(probe.DriverUnknown):
        probe.choose_driver(root, layers, wanted="zfs")
    only("unpacked", "copied")
    assert probe.choose_driver(root, layers, wanted="unpacked").reason == "chosen by the user"
    assert os.listdir(root / "work") == []
