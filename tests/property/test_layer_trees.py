"""What must hold for every tree: apply∘diff is the identity, layer bytes are reproducible, index == tar."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.errors import Invalid
from boxwright.layer.apply import unpack
from boxwright.layer.blobs import ingest_tar
from boxwright.layer.scan import Scanner
from boxwright.layer.tree import LayerTree
from boxwright.layer.view import LayersView
from boxwright.layer.walk import write_tree
from boxwright.layer.write import TarBuilder
from support.layer import census, expected, layer_store, make_tar, member

ROOT = os.geteuid() == 0
SMALL = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from(["a", "b", "c", "a.b", "a-b", "-x", "!", "ü", "n" * 120, ".h"])
TIMES = st.integers(-(10**18), 4 * 10**18)
FILES = st.tuples(st.just("file"), st.binary(max_size=1500), st.integers(0, 0o7777), TIMES)
LINKS = st.tuples(st.just("link"), st.text("abc/.", min_size=1, max_size=300), st.just(0), TIMES)
TREES: st.SearchStrategy[Any] = st.recursive(
    FILES | LINKS,
    lambda below: st.tuples(
        st.just("dir"), st.dictionaries(NAMES, below, max_size=4), st.integers(0o700, 0o7777), TIMES
    ),
    max_leaves=14,
)
ROOTS = st.dictionaries(NAMES, TREES, max_size=5)


def make(path: Path, tree: dict[str, Any], *, backwards: bool = False) -> None:
    for name in sorted(tree, reverse=backwards):
        kind, held, mode, mtime = tree[name]
        target = path / name
        if kind == "dir":
            target.mkdir()
            make(target, held, backwards=backwards)
            target.chmod(mode | 0o700)
        elif kind == "file":
            target.write_bytes(held)
            target.chmod(mode if ROOT else mode | 0o400)
        else:
            target.symlink_to(held)
        os.utime(target, ns=(0, mtime), follow_symlinks=False)


def tar_of(tree: Path) -> bytes:
    out = io.BytesIO()
    write_tree(tree, TarBuilder(out))
    return out.getvalue()


@SMALL
@given(ROOTS)
def test_apply_after_diff_is_the_identity(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        (base / "tree").mkdir()
        (base / "back").mkdir()
        make(base / "tree", tree)
        data = tar_of(base / "tree")
        layer = ingest_tar(layer_store(base / "root"), io.BytesIO(data))
        unpack(layer, base / "back", as_root=ROOT)
        before, after = census(base / "tree"), census(base / "back")
        del before[""], after[""]  # the root's own time is not part of a layer
        assert after == before
        assert tar_of(base / "back") == data


@SMALL
@given(ROOTS, st.sampled_from([0o000, 0o022, 0o077]))
def test_layer_bytes_do_not_depend_on_how_the_tree_came_to_be(tree: dict[str, Any], umask: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        one, two = Path(temporary, "one"), Path(temporary, "two")
        one.mkdir()
        make(one, tree)
        two.mkdir()
        old = os.umask(umask)
        try:
            make(two, tree, backwards=True)
        finally:
            os.umask(old)
        two.chmod(one.stat().st_mode)
        assert tar_of(one) == tar_of(two)


PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
ENTRIES = st.lists(
    st.one_of(
        st.builds(
            lambda name, data, mode, uid, mtime: member(
                name, data=data, mode=mode, uid=uid, gid=uid // 2, mtime=mtime
            ),
            PATHS,
            st.binary(max_size=1200),
            st.integers(0, 0o7777),
            st.integers(0, 1 << 31),
            st.integers(-(1 << 33), 1 << 36),
        ),
        st.builds(lambda name, mode: member(name, tarfile.DIRTYPE, mode=mode), PATHS, st.integers(0, 0o7777)),
        st.builds(
            lambda name, link: member(name, tarfile.SYMTYPE, linkname=link),
            PATHS,
            st.text("xyz", min_size=1, max_size=700),
        ),
        st.builds(lambda name, link: member(name, tarfile.LNKTYPE, linkname=link), PATHS, PATHS),
        st.builds(
            lambda name, a, b: member(name, tarfile.BLKTYPE, devmajor=a, devminor=b),
            PATHS,
            st.integers(1, 4095),
            st.integers(0, (1 << 20) - 1),
        ),
    ),
    max_size=14,
)


@SMALL
@given(ENTRIES, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_the_index_says_what_the_archive_says(entries: list[Any], form: int) -> None:
    data = make_tar(*entries, format=form)
    try:
        wanted = expected(data)
    except KeyError:  # the scanner refuses it, or follows a link as the simple reader does not
        return
    with tempfile.TemporaryDirectory() as temporary:
        try:
            layer = ingest_tar(layer_store(Path(temporary)), io.BytesIO(data))
        except Invalid:
            # A hard link to a directory, a name that becomes one: the simple reader above does not notice.
            return
        found = {}
        with LayersView([layer]) as view:
            for node in view.walk():
                kind = {"file": 0o100000, "dir": 0o040000, "symlink": 0o120000, "block": 0o060000}[node.type]
                held = (
                    view.content(node)
                    if node.type == "file"
                    else node.link
                    if node.type == "symlink"
                    else None
                )
                found[node.path] = (
                    oct(kind | node.mode),
                    node.uid,
                    node.gid,
                    node.mtime_ns,
                    os.makedev(*node.device),
                    held,
                )
        assert found == {path: node[:6] for path, node in wanted.items()}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_mutated_archives_raise_nothing_but_invalid(data: st.DataObject) -> None:
    raw = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    for repair in (False, True):
        if repair:
            fix_checksums(raw)
        scanner, tree = Scanner(), LayerTree()
        try:
            for start in range(0, len(raw), 700):
                for header in scanner.feed(raw[start : start + 700]):
                    tree.add(header)
            scanner.finish()
        except Invalid:
            pass


def fix_checksums(raw: bytearray) -> None:
    """Make every block that looks like a header right again, so that mutations reach what lies behind the check."""
    for at in range(0, len(raw) - 511, 512):
        if raw[at + 257 : at + 262] == b"ustar":
            raw[at + 148 : at + 156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])


SEED = make_tar(
    member("a/", tarfile.DIRTYPE),
    member("a/b", data=b"x" * 600),
    member("l", tarfile.SYMTYPE, linkname="a"),
    member("l/in"),
    member("h", tarfile.LNKTYPE, linkname="a/b"),
    member("n" * 150, data=b"y", pax_headers={"SCHILY.xattr.user.k": "v", "mtime": "1.5", "uid": "3000000"}),
    member("c", tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("s", data=b"z" * 10, pax_headers={"GNU.sparse.map": "0,10", "GNU.sparse.size": "4096"}),
    member("a/.wh.x"),
    member("a/.wh..wh..opq"),
)
