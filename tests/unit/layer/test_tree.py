"""Paths of an archive: none leads out, and the last word wins."""

from __future__ import annotations

import tarfile

import pytest

from boxwright.layer.scan import Scanner, TarInvalid
from boxwright.layer.tree import IMPLIED, LayerTree, clean
from support.layer import make_tar, member


def tree_of(*members: tuple[tarfile.TarInfo, bytes]) -> LayerTree:
    tree = LayerTree()
    for header in Scanner().feed(make_tar(*members, format=tarfile.GNU_FORMAT)):
        tree.add(header)
    return tree


def names(tree: LayerTree, number: int = 0, prefix: str = "") -> set[str]:
    out = set()
    for name, child in tree.dirs[number].items():
        out.add(prefix + name.decode())
        if child in tree.dirs:
            out |= names(tree, child, prefix + name.decode() + "/")
    return out


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"./a/b", b"a/b"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"a//b/./c/", b"a/b/c"),
        (b"a/../b", b"b"),
        (b"./", b""),
        (b".", b""),
        (b"/", b""),
        (b"/../../x", b"x"),
        (b".hidden", b".hidden"),
        (b"a/.hidden", b"a/.hidden"),
        (b"a/..", b""),
        (b"..a", b"..a"),
        (b"a/b/../../c", b"c"),
    ],
)
def test_clean(name: bytes, path: bytes) -> None:
    assert clean(name) == path


@pytest.mark.parametrize(
    "name", [b"..", b"../x", b"a/../../x", b"./../x", b"n" * 256, b"d/" * 2100, b"a/" + b"n" * 300]
)
def test_names_that_no_layer_may_hold(name: bytes) -> None:
    with pytest.raises(TarInvalid):
        clean(name)


def test_parents_are_implied_once() -> None:
    tree = tree_of(member("a/b/c"), member("a/", tarfile.DIRTYPE, mode=0o700))
    assert names(tree) == {"a", "a/b", "a/b/c"}
    a = tree.dirs[0][b"a"]
    assert not tree.flags[a] & IMPLIED and tree.mode[a] == 0o40700
    assert tree.flags[tree.dirs[a][b"b"]] & IMPLIED


def test_entries_under_a_symbolic_link_stay_in_the_layer() -> None:
    tree = tree_of(
        member("bin", tarfile.SYMTYPE, linkname="usr/bin"),
        member("bin/tool"),
        member("esc", tarfile.SYMTYPE, linkname="../../../../etc"),
        member("esc/shadow"),
        member("abs", tarfile.SYMTYPE, linkname="/var/x"),
        member("abs/y"),
    )
    assert names(tree) == {
        "bin",
        "usr",
        "usr/bin",
        "usr/bin/tool",
        "esc",
        "etc",
        "etc/shadow",
        "abs",
        "var",
        "var/x",
        "var/x/y",
    }


def test_a_link_that_changes_is_followed_anew() -> None:
    tree = tree_of(
        member("l", tarfile.SYMTYPE, linkname="one"),
        member("l/a"),
        member("l", tarfile.SYMTYPE, linkname="two"),
        member("l/b"),
        member("l", tarfile.DIRTYPE),
        member("l/c"),
    )
    assert names(tree) == {"l", "one", "one/a", "two", "two/b", "l/c"}


@pytest.mark.parametrize(
    "members",
    [
        [member("loop", tarfile.SYMTYPE, linkname="loop"), member("loop/x")],
        [
            member("a", tarfile.SYMTYPE, linkname="b"),
            member("b", tarfile.SYMTYPE, linkname="a"),
            member("a/x"),
        ],
        [member("grow", tarfile.SYMTYPE, linkname="grow/grow"), member("grow/x")],
        [member("file"), member("file/x")],
        [member("h", tarfile.LNKTYPE, linkname="missing")],
        [member("h", tarfile.LNKTYPE, linkname="../outside")],
        [member("d/", tarfile.DIRTYPE), member("h", tarfile.LNKTYPE, linkname="d")],
        [member(".wh.x"), member("h", tarfile.LNKTYPE, linkname="x")],
        [member(".", data=b"x")],
        [member(".", tarfile.SYMTYPE, linkname="x")],
        [member("a/.wh..")],
        [member("a/.wh...")],
        [member("a/.wh.")],
        [member("s", tarfile.SYMTYPE, linkname="")],
        [member("c", tarfile.CHRTYPE, devmajor=5000, devminor=0)],
        [
            member("chain0", tarfile.SYMTYPE, linkname="a/" * 1000),
            *(member(f"chain{n}", tarfile.SYMTYPE, linkname=f"chain{n - 1}/..") for n in range(1, 50)),
            member("chain49/x"),
        ],
    ],
)
def test_what_is_refused(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(TarInvalid):
        tree_of(*members)


def test_a_hard_link_to_itself_changes_nothing() -> None:
    tree = tree_of(member("a", data=b"x"), member("a", tarfile.LNKTYPE, linkname="./a"))
    assert names(tree) == {"a"}


def test_a_file_replaces_a_directory_with_all_below_and_comes_back_empty() -> None:
    tree = tree_of(member("d/a/b"), member("d", data=b"file"), member("d", tarfile.DIRTYPE), member("d/c"))
    assert names(tree) == {"d", "d/c"}


def test_many_entries_take_little_memory() -> None:
    import tracemalloc

    from boxwright.layer.scan import Header

    tracemalloc.start()
    try:
        tree = LayerTree()
        for n in range(20_000):
            tree.add(
                Header(
                    b"dir%d/some-file-%d" % (n // 50, n),
                    "file",
                    0o644,
                    0,
                    0,
                    n,
                    0,
                    n,
                    b"",
                    0,
                    0,
                    None,
                    n * 512,
                    None,
                )
            )
        assert tracemalloc.get_traced_memory()[1] < 7 << 20
    finally:
        tracemalloc.stop()
