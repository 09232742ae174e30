"""The merged tree of a stack, read without mounting: overlayfs's rules."""

from __future__ import annotations

import gc
import os
import stat
import tarfile
from pathlib import Path

import pytest

from boxwright.errors import Invalid
from boxwright.layer import source
from boxwright.layer import view as view_module
from boxwright.layer.adopt import adopt_tree
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.source import IndexBroken, SharedSources
from boxwright.layer.store import Layer, LayerMissing, LayerStore
from boxwright.layer.view import LayersView, PathLoop, PathMissing
from support import REAL_ROOT
from support.layer import layer_store, make_tar, member

D, L, H = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return layer_store(tmp_path / "root")


def stack(layers: LayerStore, *tars: list[tuple[tarfile.TarInfo, bytes]]) -> list[Layer]:
    import io

    return [ingest_tar(layers, io.BytesIO(make_tar(*members))) for members in tars]


BASE = [
    member("etc/", D, mode=0o751, uid=3, mtime=9),
    member("etc/passwd", data=b"root"),
    member("etc/group", data=b"base"),
    member("tmp/", D, mode=0o1777),
    member("usr/bin/sh", data=b"sh", mode=0o755),
    member("bin", L, linkname="usr/bin"),
    member("gone/a"),
    member("opaque/old"),
    member("swap", data=b"file"),
    member("dir-to-file/x"),
    member("hard", H, linkname="etc/passwd"),
    member("loop", L, linkname="loop2"),
    member("loop2", L, linkname="loop"),
    member("up", L, linkname="../../../../etc/passwd"),
    member("abs", L, linkname="/etc"),
    member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("attrs", data=b"x", pax_headers={"SCHILY.xattr.user.k": "v"}),
]
TOP = [
    member("etc/group", data=b"top"),
    member(".wh.gone"),
    member("opaque/", D),
    member("opaque/.wh..wh..opq"),
    member("opaque/new"),
    member("swap/", D),
    member("swap/in"),
    member("dir-to-file", data=b"now"),
    member("tmp/file"),
]


def test_merged(layers: LayerStore) -> None:
    view = LayersView(stack(layers, BASE, TOP))
    assert view.listdir("/") == [
        "abs",
        "attrs",
        "bin",
        "dev",
        "dir-to-file",
        "etc",
        "hard",
        "loop",
        "loop2",
        "opaque",
        "swap",
        "tmp",
        "up",
        "usr",
    ]
    assert view.read("etc/group") == b"top" and view.read("/etc/passwd") == b"root"
    assert view.lstat("gone") is None and view.lstat("gone/a") is None
    assert view.listdir("opaque") == ["new"] and view.listdir("swap") == ["in"]
    assert view.read("dir-to-file") == b"now" and view.lstat("dir-to-file/x") is None


def test_directories_that_the_upper_tar_only_implies_keep_their_attributes(layers: LayerStore) -> None:
    view = LayersView(stack(layers, BASE, TOP))
    tmp, etc = view.lstat("tmp"), view.lstat("/etc")
    assert tmp is not None and tmp.mode == 0o1777
    assert etc is not None and (etc.mode, etc.uid, etc.mtime_ns) == (0o751, 3, 9 * 10**9)


def test_links(layers: LayerStore) -> None:
    view = LayersView(stack(layers, BASE))
    assert (
        view.read("/bin/sh") == b"sh"
        and view.read("up") == b"root"
        and view.read("abs/passwd") == b"root"
        and view.read("abs/../etc/group") == b"base"
    )
    node = view.resolve("/bin/../bin/sh")
    assert node is not None and node.path == "usr/bin/sh"
    link = view.lstat("bin")
    assert link is not None and (link.type, link.link) == ("symlink", "usr/bin")
    with pytest.raises(PathLoop):
        view.resolve("loop")
    one, two = view.lstat("hard"), view.lstat("etc/passwd")
    assert one is not None and two is not None and one.identity == two.identity and one.links == 2


@pytest.mark.parametrize("path", ["no", "etc/no", "etc/passwd/x", "etc/passwd/..", "no/../etc", "bin/no"])
def test_missing(layers: LayerStore, path: str) -> None:
    view = LayersView(stack(layers, BASE))
    assert view.resolve(path) is None and view.read(path) is None
    with pytest.raises(PathMissing):
        view.listdir(path)
    with pytest.raises(PathMissing):
        list(view.walk(path))


def test_kinds_and_limits(layers: LayerStore) -> None:
    view = LayersView(stack(layers, BASE))
    null, attrs, root = view.lstat("dev/null"), view.lstat("attrs"), view.lstat("/")
    assert null is not None and (null.type, null.device) == ("char", (1, 3))
    assert attrs is not None and dict(attrs.xattrs) == {"user.k": b"v"}
    assert root is not None and (root.path, root.type) == ("", "dir")
    assert view.read("etc") is None
    with pytest.raises(Invalid, match="at most"):
        view.read("etc/passwd", limit=2)
    with pytest.raises(Invalid, match="not a directory"):
        view.listdir("attrs")


def test_walk_is_sorted_and_complete(layers: LayerStore) -> None:
    view = LayersView(
        stack(
            layers,
            [member("a/b/c"), member("a-b"), member("a.b/x"), member("z/", D)],
            [member("a/n"), member("a/.wh.b")],
        )
    )
    assert [node.path for node in view.walk("")] == ["", "a", "a/n", "a-b", "a.b", "a.b/x", "z"]
    assert [node.path for node in view.walk("/a.b")] == ["a.b", "a.b/x"]
    assert [node.path for node in view.walk("a-b")] == ["a-b"]


def test_no_layers_are_an_empty_directory() -> None:
    view = LayersView([])
    assert (
        view.listdir("/") == [] and view.lstat("x") is None and [node.type for node in view.walk()] == ["dir"]
    )


def test_large_directories_and_contents(layers: LayerStore) -> None:
    body = os.urandom(200_000)
    names = [f"{n:04}{'x' * (n % 90)}" for n in range(1500)]
    view = LayersView(
        stack(
            layers, [member("big", data=body), *(member(f"d/{name}", data=name.encode()) for name in names)]
        )
    )
    assert view.listdir("d") == sorted(names)
    node = view.lstat("big")
    assert node is not None and view.content(node) == body
    with view.open(node) as stream:
        assert stream.read(1000) + stream.read() == body


def test_trees_and_tars_stack(layers: LayerStore) -> None:
    tree = layers.store.root / "work" / "up"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hosts").write_text("tree")
    (tree / "bin2").symlink_to("/usr/bin")
    (tree / "etc").chmod(0o700)
    view = LayersView([*stack(layers, BASE), adopt_tree(layers, tree), *stack(layers, TOP)])
    assert (
        view.read("etc/hosts") == b"tree"
        and view.read("etc/group") == b"top"
        and view.read("bin2/sh") == b"sh"
    )
    etc = view.lstat("etc")
    assert etc is not None and etc.mode == 0o700
    assert [node.path for node in view.walk("etc")] == ["etc", "etc/group", "etc/hosts", "etc/passwd"]
    for odd in ("etc/\0", "a\0b/c", "etc/" + "n" * 300):
        assert view.lstat(odd) is None and view.resolve(odd) is None


@pytest.mark.skipif(not REAL_ROOT, reason="making trusted attributes needs root")
def test_whiteouts_of_trees(layers: LayerStore) -> None:
    tree = layers.store.root / "work" / "up"
    (tree / "opaque").mkdir(parents=True)
    os.setxattr(tree / "opaque", "trusted.overlay.opaque", b"y")
    os.mknod(tree / "gone", stat.S_IFCHR | 0o600, 0)
    view = LayersView([*stack(layers, BASE), adopt_tree(layers, tree)])
    assert view.lstat("gone") is None and view.listdir("opaque") == [] and view.read("swap") == b"file"


def test_closing(layers: LayerStore) -> None:
    stored = stack(layers, BASE, TOP)
    gc.collect()  # what other tests left to it
    before = len(os.listdir("/proc/self/fd"))
    with LayersView(stored) as view:
        assert view.read("etc/group") == b"top"
        assert len(os.listdir("/proc/self/fd")) > before
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_of_a_large_directory_is_found_without_its_list(layers: LayerStore) -> None:
    names = ["d/" + str(number) * (1 + number % 60) for number in range(1, 700)]
    (layer,) = stack(layers, [member(name) for name in names])
    opened = source.TarSource(layer)
    [directory] = opened.children(opened.root).values()
    known = opened.children(directory)
    assert sorted(known) == sorted(name[2:].encode() for name in names)
    for name, child in known.items():
        assert opened.child(directory, name) == child
        for other in (name + b"0", name[:-1] or b"~", b"\x01" + name, name + b"\xff"):
            assert opened.child(directory, other) == known.get(other)
    for name in (b"", b".", b"..", b"\xff", b"!"):
        assert opened.child(directory, name) is None
    opened.close()


@pytest.mark.parametrize("few", [0, 1 << 30])
def test_names_are_found_one_by_one_as_in_a_list(
    layers: LayerStore, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "_FEW", few)
    stored = stack(layers, BASE, TOP, BASE, TOP)
    for count in range(1, 5):
        with LayersView(stored[:count]) as listed, LayersView(stored[:count]) as view:
            there = {node.path: node for node in listed.walk()}
            for path in {
                *there,
                "gone/a",
                "gone",
                "opaque/old",
                "swap/x",
                "dir-to-file/x",
                "none",
                "etc/none",
            }:
                assert view.lstat(path) == there.get(path), path


@pytest.mark.parametrize("left", [b"", b"x", b"x" * 4096])
def test_a_damaged_index_is_told(layers: LayerStore, left: bytes) -> None:
    """What a power cut leaves of one, say."""
    (layer,) = stack(layers, BASE)
    layer.index_path.chmod(0o600)
    layer.index_path.write_bytes(left)
    with pytest.raises(IndexBroken), LayersView([layer]) as view:
        view.resolve("/etc/passwd")


def test_views_share_what_is_opened(layers: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Counted(source.TarSource):
        def __init__(self, layer: Layer) -> None:
            opened.append(str(layer.diff_id))
            super().__init__(layer)

    monkeypatch.setattr(source, "TarSource", Counted)
    below = stack(layers, BASE, TOP)
    shared = SharedSources()
    with LayersView(below[:1], shared) as first:
        assert first.read("etc/group") == b"base"
    with LayersView(below, shared) as second, LayersView(below, shared) as third:
        assert second.read("etc/group") == third.read("etc/group") == b"top"
        assert second.listdir("") == LayersView(below).listdir("")
    assert opened[:2] == [str(layer.diff_id) for layer in below] and len(opened) == 4
    monkeypatch.setattr(source, "_MOST_KEPT", 0)
    with LayersView(below, SharedSources()) as alone:
        assert alone.read("etc/passwd") == b"root"
    shared.close()


def test_what_is_known_of_many_layers_changes_no_answer(layers: LayerStore) -> None:
    """Layers of few names between ones that are asked: whatever is put away, covered or closed above or below."""
    big = [member(f"big/{number:03}") for number in range(2 * source._FEW_NAMES)]
    few = [
        [member("etc/group", data=b"1"), member("d/one"), member("gone/b")],
        [member("d/", D, mode=0o700), member("d/two", data=b"2"), member("big/000", data=b"x")],
        [member(".wh.d"), member("swap/in")],
        [member("d/sub/three"), member("d/one", L, linkname="sub/three"), member("big/.wh.001")],
        [member("d/sub/", D), member("d/sub/.wh..wh..opq"), member("d/sub/four")],
        [member("swap", data=b"again"), member(".wh.gone")],
        [member("gone/late"), member("etc/", D, mode=0o711), member("abs", data=b"no link")],
        [member("d", data=b"a file")],
        [member("d/after/five"), member("big/", D), member("big/.wh..wh..opq"), member("big/007")],
        [member("late/by/the/way"), member("d/after/five", H, linkname="late/by/the/way")],
    ]
    stacked = stack(layers, BASE, few[0], few[1], big, *few[2:6], TOP, *few[6:])
    paths = {""}
    for layer in stacked:
        with LayersView([layer]) as one:
            paths |= {node.path for node in one.walk()}
    paths |= {"d/none", "big/999", "nothing/here", "abs/group", "bin/sh", "up", "loop"}
    shared = SharedSources()
    known = 0
    for top in range(1, len(stacked) + 1):
        # A layer may be in a stack twice.
        for below in (stacked[:top], [*stacked[:top], stacked[0]], stacked[len(stacked) - top :]):
            for path in sorted(paths):
                with LayersView(below) as asked, LayersView(below, shared) as knowing:
                    known += knowing._apart is not None
                    for look in (LayersView.lstat, LayersView.resolve):
                        if path.startswith("loop") and look is LayersView.resolve:
                            continue
                        assert look(knowing, path) == look(asked, path), (top, path)
                    assert knowing.read("etc/group") == asked.read("etc/group")
    assert known and not all(shared.knows(layer.diff_id) for layer in stacked)
    shared.close()


def test_of_a_layer_of_few_names_no_name_is_asked(
    layers: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step looks up costs as many questions as there are large layers, however many small ones there are."""
    asked: list[bytes] = []

    class Counted(source.TarSource):
        def child(self, handle: int, name: bytes) -> int | None:
            asked.append(name)
            return super().child(handle, name)

    monkeypatch.setattr(source, "TarSource", Counted)
    big = [member(f"d/{number:03}") for number in range(2 * source._FEW_NAMES)]
    below = stack(layers, big, *([member(f"d/f{number}")] for number in range(40)))
    shared = SharedSources()
    with LayersView(below, shared) as view:
        assert view.lstat("d/f7") is not None and view.lstat("d/f99") is None
    assert asked == [b"d", b"f7", b"f99"]
    shared.close()


def test_contents_that_went_are_told_of(layers: LayerStore) -> None:
    (layer,) = stack(layers, BASE)
    with LayersView([layer]) as view:
        layer.tar_path.unlink()
        with pytest.raises(LayerMissing, match="lost its files"):
            view.read("etc/passwd")


@pytest.mark.parametrize("size", [source._SMALL - 1, source._SMALL, source._SMALL + 1, 3 * source._SMALL])
def test_an_index_is_read_or_mapped(layers: LayerStore, size: int) -> None:
    """One file beside a directory whose names fill the index up to about this size."""
    names = [member(f"d/{number:0200}") for number in range(size // 300)]
    (layer,) = stack(layers, [*names, member("x", data=b"content")])
    with LayersView([layer]) as view:
        assert len(view.listdir("d")) == len(names) and view.read("x") == b"content"
