"""A stack of layers as the kernel's overlayfs shows it, against the view that mounts nothing."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.errors import Invalid
from boxwright.files.syscalls import call
from boxwright.layer.adopt import adopt_tree
from boxwright.layer.apply import unpack
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.tarstream import open_tar
from boxwright.layer.view import LayersView
from support import REAL_ROOT
from support.layer import census, layer_store, make_tar, member, mounted

pytestmark = [pytest.mark.rooted, pytest.mark.skipif(not REAL_ROOT, reason="mounting needs root")]

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_SET_STRING, _SET_FD, _CREATE = 1, 5, 6


@pytest.fixture(scope="module", autouse=True)
def _kernel(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = layer_store(tmp_path_factory.mktemp("probe"))
    layers = [ingest_tar(store, io.BytesIO(make_tar(member(name, data=b"x")))) for name in ("a", "b")]
    try:
        with stacked(layers):
            pass
    except OSError as error:
        pytest.skip(f"this kernel does not stack indexes by descriptor: {error}")


@contextmanager
def stacked(layers: Sequence[Layer]) -> Iterator[int]:
    """An overlay of the layers (bottom first, two at least), attached nowhere."""
    with ExitStack() as stack:
        lowers = []
        for layer in reversed(layers):
            if layer.kind == "tar":
                lowers.append(stack.enter_context(mounted(layer)))
            else:
                lowers.append(os.open(layer.tree_path, os.O_PATH | os.O_DIRECTORY))
                stack.callback(os.close, lowers[-1])
        context = call(_FSOPEN, b"overlay", 1)
        stack.callback(os.close, context)
        for fd in lowers:
            call(_FSCONFIG, context, _SET_FD, b"lowerdir+", None, fd)
        call(_FSCONFIG, context, _CREATE, None, None, 0)
        root = call(_FSMOUNT, context, 1, 0)
        stack.callback(os.close, root)
        yield root


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ENTRIES = st.lists(
    st.one_of(
        st.builds(lambda name, data: member(name, data=data, mtime=5), PATHS, st.binary(max_size=20)),
        st.builds(
            lambda name, mode: member(name, tarfile.DIRTYPE, mode=mode),
            PATHS,
            st.sampled_from([0o755, 0o700]),
        ),
        st.builds(lambda name, link: member(name, tarfile.SYMTYPE, linkname=link), PATHS, PATHS),
        PATHS.map(lambda path: member("/".join([*path.split("/")[:-1], ".wh." + path.split("/")[-1]]))),
        PATHS.map(lambda path: member(path + "/.wh..wh..opq")),
    ),
    max_size=8,
)


def facts_of_kernel(root: int | Path) -> dict[str, tuple[Any, ...]]:
    found = {}
    for path, (mode, uid, gid, mtime, rdev, held, _, _) in census(root).items():
        # A directory that an upper tar only implies has the upper's attributes in an overlay, the lower's in a view.
        found[path] = ("dir",) if mode.startswith("0o4") else (mode, uid, gid, mtime, rdev, held)
    return found


def facts_of_view(view: LayersView) -> dict[str, tuple[Any, ...]]:
    kinds = {"file": 0o100000, "symlink": 0o120000, "char": 0o020000}
    out: dict[str, tuple[Any, ...]] = {}
    for node in view.walk():
        held = view.content(node) if node.type == "file" else node.link
        shown = (
            oct(kinds.get(node.type, 0) | node.mode),
            node.uid,
            node.gid,
            node.mtime_ns,
            os.makedev(*node.device),
            held,
        )
        out[node.path] = ("dir",) if node.type == "dir" else shown
    return out


def ingested(store: LayerStore, archives: Sequence[list[tuple[tarfile.TarInfo, bytes]]]) -> list[Layer]:
    out = []
    for entries in archives:
        try:
            out.append(ingest_tar(store, io.BytesIO(make_tar(*entries))))
        except Invalid:
            continue
    return out


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(ENTRIES, min_size=2, max_size=4))
def test_view_overlay_and_application_agree(
    tmp_path_factory: pytest.TempPathFactory, archives: list[Any]
) -> None:
    base = tmp_path_factory.mktemp("stack")
    layers = ingested(layer_store(base / "root"), archives)
    layers = list({layer.diff_id: layer for layer in layers}.values())
    if len(layers) < 2:
        return
    with stacked(layers) as root, LayersView(layers) as view:
        shown = facts_of_kernel(root)
        assert facts_of_view(view) == shown
    (base / "plain").mkdir()
    for layer in layers:
        unpack(layer, base / "plain", overlay=False)
    assert facts_of_kernel(base / "plain") == shown
    lowers = []
    for number, layer in enumerate(layers):
        (base / f"lower{number}" / "tree").mkdir(parents=True)
        unpack(layer, base / f"lower{number}" / "tree")
        lowers.append(
            Layer(
                diff_id=layer.diff_id,
                kind="tree",
                path=base / f"lower{number}",
                tar_size=0,
                bytes=0,
                entries=0,
            )
        )
    with stacked(lowers) as root:
        assert facts_of_kernel(root) == shown
    with LayersView(lowers) as view:
        assert facts_of_view(view) == shown


def test_an_overlay_s_upper_becomes_a_layer_and_back(tmp_path: Path) -> None:
    """What a step wrote, adopted as a tree, sent as a tar and ingested elsewhere, stacks to the same."""
    import subprocess

    store = layer_store(tmp_path / "root")
    below = ingest_tar(
        store,
        io.BytesIO(
            make_tar(
                member("keep", data=b"k"),
                member("gone/x"),
                member("dir/old"),
                member("chmod", data=b"c"),
                member("move/in"),
            )
        ),
    )
    for name in ("upper", "work", "merged", "lower"):
        (tmp_path / name).mkdir()
    unpack(below, tmp_path / "lower")
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work,redirect_dir=off,metacopy=off,index=off"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(tmp_path / "merged")], check=True)
    try:
        script = "rm -r gone dir; mkdir dir; echo n > dir/new; chmod 600 chmod; ln keep hard; mv move moved; mkfifo p; ln -s keep l"
        subprocess.run(["sh", "-ec", script], cwd=tmp_path / "merged", check=True)
        wanted = {
            path: node[:1] + node[5:6] for path, node in census(tmp_path / "merged", content=False).items()
        }
    finally:
        subprocess.run(["umount", str(tmp_path / "merged")], check=True)
    tree = adopt_tree(store, tmp_path / "upper")
    with open_tar(tree) as stream:
        tar = ingest_tar(layer_store(tmp_path / "other"), stream)
    for top in (tree, tar):
        with stacked([below, top]) as root:
            assert {
                path: node[:1] + node[5:6] for path, node in census(root, content=False).items()
            } == wanted
