"""What every snapshot driver must do, and that all of them make the same layer of the same changes."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boxwright.layer.store import LayerMissing, LayerStore
from boxwright.layer.write import Entry
from boxwright.rootfs.root import Root
from boxwright.snapshot.snapshotter import Change, Snapshotter
from boxwright.snapshot.workspace import KeyInvalid, SnapshotExists, SnapshotMissing, SnapshotReadOnly
from boxwright.spec.digest import DiffID
from support.snapshot import EPOCH, add_layer, driver, listing, make_layers, normalise, why_not

BOTTOM: dict[str, object] = {
    "a/": None,
    "a/1": b"one",
    "a/2": b"two",
    "a/sub/": None,
    "a/sub/x": b"x",
    "a/sub/y": b"y",
    "bin": "usr/bin",
    "dangling": "nowhere",
    "etc/": None,
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
    "gone/": None,
    "gone/file": b"old",
    "h1": b"linked",
    "h2": ("link", "h1"),
    "script": Entry(path="script", mode=0o4755, size=3, mtime_ns=EPOCH, uid=0, gid=5),
    "tagged": Entry(path="tagged", size=3, mtime_ns=EPOCH, xattrs={"user.colour": b"blue"}),
    "usr/": None,
    "usr/bin/": None,
    "usr/bin/tool": b"tool",
}
TOP: dict[str, object] = {
    "-a/1": None,
    "etc/": None,
    "etc/group": b"root:x:0:\n",
    "gone/": None,
    "gone/!": None,
    "gone/new": b"new",
}

Operation = Callable[[Path], None]


def _replace_directory(tree: Path) -> None:
    for name in ("x", "y"):
        (tree / "a/sub" / name).unlink()
    (tree / "a/sub").rmdir()
    (tree / "a/sub").mkdir()
    (tree / "a/sub/z").write_text("z")


def _remove_directory(tree: Path) -> None:
    for name in ("sub/x", "sub/y", "2"):
        (tree / "a" / name).unlink()
    (tree / "a/sub").rmdir()
    (tree / "a").rmdir()


def _link_to_directory(tree: Path) -> None:
    (tree / "bin").unlink()
    (tree / "bin").mkdir()
    (tree / "bin/own").write_text("own")


def _directory_to_link(tree: Path) -> None:
    _remove_directory(tree)
    (tree / "a").symlink_to("usr")


def _rename_over_directory(tree: Path) -> None:
    (tree / "fresh/deep").mkdir(parents=True)
    (tree / "fresh/deep/f").write_text("f")
    (tree / "gone/new").unlink()
    (tree / "fresh").rename(tree / "gone")


def _scratch(tree: Path) -> None:
    (tree / "etc/passwd.new").write_text("x")
    (tree / "etc/passwd.new").unlink()


def _hard_links(tree: Path) -> None:
    (tree / "n1").write_text("n")
    (tree / "n2").hardlink_to(tree / "n1")
    (tree / "usr/bin/alias").hardlink_to(tree / "usr/bin/tool")


OPERATIONS: dict[str, tuple[Operation, list[str]]] = {
    "nothing": (lambda tree: None, []),
    "new file": (lambda tree: (tree / "etc/new").write_text("new") and None, ["C /etc", "A /etc/new"]),
    "changed file": (
        lambda tree: (tree / "etc/passwd").write_text("x") and None,
        ["C /etc", "C /etc/passwd"],
    ),
    "mode": (lambda tree: (tree / "etc/group").chmod(0o600), ["C /etc", "C /etc/group"]),
    "mode of a directory": (lambda tree: (tree / "usr").chmod(0o700), ["C /usr"]),
    "removed file": (lambda tree: (tree / "etc/group").unlink(), ["C /etc", "D /etc/group"]),
    "removed link": (lambda tree: (tree / "dangling").unlink(), ["D /dangling"]),
    "removed directory": (_remove_directory, ["D /a"]),
    "replaced directory": (
        _replace_directory,
        ["C /a", "C /a/sub", "D /a/sub/x", "D /a/sub/y", "A /a/sub/z"],
    ),
    "link replaced by a directory": (_link_to_directory, ["C /bin", "A /bin/own"]),
    "directory replaced by a link": (_directory_to_link, ["C /a"]),
    "renamed file": (
        lambda tree: (tree / "etc/passwd").rename(tree / "etc/shadow") and None,
        ["C /etc", "D /etc/passwd", "A /etc/shadow"],
    ),
    "renamed over a file": (
        lambda tree: (tree / "a/2").rename(tree / "etc/group") and None,
        ["C /a", "D /a/2", "C /etc", "C /etc/group"],
    ),
    "renamed over a directory": (
        _rename_over_directory,
        ["C /gone", "A /gone/deep", "A /gone/deep/f", "D /gone/new"],
    ),
    "made and removed": (_scratch, []),
    "hard links": (_hard_links, ["A /n1", "A /n2", "C /usr", "C /usr/bin", "A /usr/bin/alias"]),
    "deep": (lambda tree: (tree / "p/q/r").mkdir(parents=True), ["A /p", "A /p/q", "A /p/q/r"]),
    "fifo": (lambda tree: os.mkfifo(tree / "fifo"), ["A /fifo"]),
    "link": (lambda tree: (tree / "etc/link").symlink_to("/absolute"), ["C /etc", "A /etc/link"]),
    "attribute": (lambda tree: os.setxattr(tree / "tagged", "user.colour", b"red"), None),  # type: ignore[dict-item]
    "written through a link": (
        lambda tree: (tree / "bin/tool").write_text("changed") and None,
        ["C /usr", "C /usr/bin", "C /usr/bin/tool"],
    ),
}


class SnapshotSuite:
    """Subclasses set `driver_name`."""

    driver_name = ""

    @pytest.fixture
    def layers(self, tmp_path: Path) -> LayerStore:
        return make_layers(tmp_path / "root")

    @pytest.fixture
    def snapshots(self, layers: LayerStore, tmp_path: Path) -> Iterator[Snapshotter]:
        reason = why_not(self.driver_name, tmp_path / "root")
        if reason:
            pytest.skip(f"{self.driver_name} cannot be used here: {reason}")
        with driver(self.driver_name, tmp_path / "root", layers) as snapshots:
            yield snapshots

    @pytest.fixture
    def stack(self, layers: LayerStore) -> list[DiffID]:
        return [add_layer(layers, BOTTOM), add_layer(layers, TOP)]

    def test_the_tree_is_the_stack(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.view("v", stack)
        tree = snapshots.mount("v")
        assert sorted(os.listdir(tree)) == [
            "a",
            "bin",
            "dangling",
            "etc",
            "gone",
            "h1",
            "h2",
            "script",
            "tagged",
            "usr",
        ]
        assert sorted(os.listdir(tree / "a")) == ["2", "sub"]
        assert os.listdir(tree / "gone") == ["new"]
        assert (tree / "bin/tool").read_bytes() == b"tool"
        assert (tree / "h1").stat().st_ino == (tree / "h2").stat().st_ino
        assert os.getxattr(tree / "tagged", "user.colour") == b"blue"
        assert stat.S_IMODE((tree / "script").stat().st_mode) == 0o4755 or os.geteuid() != 0
        assert (tree / "script").stat().st_mtime_ns == EPOCH
        assert tree.stat().st_mode & 0o7777 == 0o755

    def test_no_layers_are_an_empty_tree(self, snapshots: Snapshotter) -> None:
        snapshots.view("v", [])
        assert os.listdir(snapshots.mount("v")) == []
        snapshots.prepare("w", [])
        (snapshots.mount("w") / "f").write_text("f")
        assert [*snapshots.changes("w")] == [Change("/f", "A")]

    def test_one_layer_with_a_whiteout_shows_no_device(
        self, snapshots: Snapshotter, stack: list[DiffID]
    ) -> None:
        snapshots.view("v", stack[1:])
        assert not (snapshots.mount("v") / "a/1").is_char_device()

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_changes_and_layers(
        self, snapshots: Snapshotter, stack: list[DiffID], name: str, layers: LayerStore, tmp_path: Path
    ) -> None:
        operation, expected = OPERATIONS[name]
        snapshots.prepare("k", stack)
        operation(snapshots.mount("k"))
        found = [f"{change.kind} {change.path}" for change in snapshots.changes("k")]
        if expected is not None:
            assert found == expected
        before = listing(snapshots.mount("k"))
        normalise(snapshots.seal("k"))
        layer = snapshots.commit("k")
        with pytest.raises(SnapshotMissing):
            snapshots.mounts("k")
        # The layer on top of what was below gives the tree that was there.
        snapshots.view("again", [*stack, layer.diff_id])
        assert listing(snapshots.mount("again")) == before
        # Another driver makes the same layer of the same operations.
        for other in ("mounted", "unpacked", "copied"):
            if other != self.driver_name and not why_not(other, tmp_path / "root"):
                with driver(other, tmp_path / "root", layers, alone=False) as second:
                    second.prepare("o", stack)
                    operation(second.mount("o"))
                    normalise(second.seal("o"))
                    assert second.commit("o").diff_id == layer.diff_id, other

    def test_a_snapshot_of_a_living_tree(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.prepare("k", stack)
        tree = snapshots.mount("k")
        (tree / "etc/new").write_text("new")
        first = snapshots.snapshot_layer("k")
        assert snapshots.snapshot_layer("k") == first
        assert first.kind == "tar"
        (tree / "etc/newer").write_text("newer")
        assert snapshots.snapshot_layer("k") != first
        assert (tree / "etc/new").read_text() == "new"
        snapshots.view("v", [*stack, first.diff_id])
        assert sorted(os.listdir(snapshots.mount("v") / "etc")) == ["group", "new", "passwd"]

    def test_opened_without_mounting(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.prepare("k", stack)
        with Root(snapshots.open("k")) as tree:
            assert tree.read("/bin/tool") == b"tool"
            os.close(tree.open("/etc/made", os.O_WRONLY | os.O_CREAT))
        assert (snapshots.mount("k") / "etc/made").exists()
        with Root(snapshots.open("k")) as tree:
            assert "made" in tree.listdir("etc")
        snapshots.unmount("k")
        snapshots.unmount("k")
        with Root(snapshots.open("k")) as tree:
            assert "made" in tree.listdir("etc")

    def test_a_volatile_tree_can_be_mounted_again(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.prepare("k", stack, volatile=True)
        for number in range(3):
            (snapshots.mount("k") / f"f{number}").write_text("f")
            snapshots.unmount("k")
        assert len([*snapshots.changes("k")]) == 3

    @pytest.mark.parametrize("left", ["nothing", "an empty file", "half a line", "no directory"])
    def test_what_a_power_cut_took_is_made_again(
        self, snapshots: Snapshotter, stack: list[DiffID], tmp_path: Path, left: str
    ) -> None:
        """A damaged `state` is no tree, above all no view; `restore` makes it a writable one again."""
        snapshots.prepare("k", stack)
        state = tmp_path / "root/work/k/state"
        before = state.read_text()
        snapshots.restore("k", stack)
        if left == "no directory":
            shutil.rmtree(state.parent)
        elif left == "nothing":
            state.unlink()
        else:
            state.write_text("" if left == "an empty file" else "wri")
        for use in (snapshots.mounts, snapshots.usage, snapshots.seal, snapshots.open):
            with pytest.raises(SnapshotMissing):
                use("k")
        snapshots.restore("k", stack)
        assert state.read_text() == before
        (snapshots.mount("k") / "new").write_text("new")
        assert [*snapshots.changes("k")] == [Change("/new", "A")]

    def test_usage_counts_content(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.prepare("k", stack)
        assert snapshots.usage("k") == 0
        tree = snapshots.mount("k")
        (tree / "five").write_text("12345")
        (tree / "same").hardlink_to(tree / "five")
        assert snapshots.usage("k") in (5, 10)
        snapshots.view("v", stack)
        assert snapshots.usage("v") == 0

    def test_wrong_uses(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.prepare("k", stack)
        with pytest.raises(SnapshotExists):
            snapshots.prepare("k", stack)
        with pytest.raises(KeyInvalid):
            snapshots.prepare("../k", stack)
        with pytest.raises(LayerMissing):
            snapshots.prepare("m", [DiffID.of(b"no such layer")])
        with pytest.raises(SnapshotMissing):
            snapshots.mounts("m")
        with pytest.raises(SnapshotMissing):
            snapshots.commit("never")
        snapshots.view("v", stack)
        with pytest.raises(SnapshotReadOnly):
            snapshots.commit("v")
        assert [*snapshots.changes("v")] == []
        snapshots.seal("k")
        with pytest.raises(SnapshotReadOnly):
            snapshots.mounts("k")

    def test_discard_takes_everything_in_any_state(
        self, snapshots: Snapshotter, stack: list[DiffID], tmp_path: Path
    ) -> None:
        work = tmp_path / "root/work"
        snapshots.discard("never")
        snapshots.prepare("mounted", stack)
        (snapshots.mount("mounted") / "f").write_text("f")
        snapshots.prepare("plain", stack)
        snapshots.prepare("sealed", stack)
        (snapshots.mount("sealed") / "f").write_text("f")
        snapshots.seal("sealed")
        (work / "half").mkdir()
        (work / "half/rootfs").mkdir()
        (work / "torn").mkdir()
        (work / "torn/upper").write_text("not even a directory")
        for key in ("mounted", "plain", "sealed", "half", "torn", "mounted"):
            snapshots.discard(key)
        assert os.listdir(work) == []

    def test_a_layer_may_go_while_its_tree_is_used(self, snapshots: Snapshotter, stack: list[DiffID]) -> None:
        snapshots.prepare("k", stack)
        tree = snapshots.mount("k")
        for diff_id in stack:
            snapshots.release(diff_id)
            snapshots.release(diff_id)
        assert (tree / "bin/tool").read_bytes() == b"tool"
        snapshots.unmount("k")
        assert (snapshots.mount("k") / "bin/tool").read_bytes() == b"tool"

    def test_a_layer_may_occur_twice(self, snapshots: Snapshotter, layers: LayerStore) -> None:
        one = add_layer(layers, {"d/": None, "d/f": b"one", "x": b"x"})
        two = add_layer(layers, {"-d": None, "y": b"y"})
        snapshots.view("v", [one, two, one])
        tree = snapshots.mount("v")
        assert sorted(os.listdir(tree)) == ["d", "x", "y"]
        assert (tree / "d/f").read_bytes() == b"one"

    def test_hostile_names_stay_inside(
        self, snapshots: Snapshotter, layers: LayerStore, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("secret")
        layer = add_layer(
            layers,
            {
                "evil": str(tmp_path),
                "evil2/": None,
                "evil2/up": "../../../../../../../../../" + str(tmp_path),
            },
        )
        snapshots.prepare("k", [layer])
        with Root(snapshots.open("k")) as tree:
            assert tree.read("evil/secret") is None
            assert tree.read("evil2/up/secret") is None
        snapshots.discard("k")
        assert secret.read_text() == "secret"
