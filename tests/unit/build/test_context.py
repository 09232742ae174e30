"""The build context: what is in it, what a source word selects, and what is remembered of it."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxwright.build.context import watched
from boxwright.build.context.cache import DigestCache, any_racy, was_racy
from boxwright.build.context.folders import TOLD
from boxwright.build.context.local import ContextChanged, ContextMissing, LocalContext
from boxwright.build.context.looks import KEY, stat_key
from boxwright.build.context.node import umask_of
from boxwright.build.context.tree import LinkLoop, SourceMissing, SourceSet, filtered, fingerprint, reachable
from boxwright.build.dockerfile.ignore import IgnoreMatcher
from support import vectors
from support.descriptors import descriptors, none_left_open

OLD = 1_600_000_000


def make(root: Path, tree: dict[str, str | None]) -> Path:
    """Files by path: text; None is a directory; `-> x` a symbolic link."""
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        elif text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
            path.chmod(0o644)
    return root


def selected(context: LocalContext, pattern: str, **options: Any) -> list[tuple[str, list[str]]]:
    return [
        (source.name, [rel for rel, _ in source.entries]) for source in context.entries(pattern, **options)
    ]


# What is in it


@pytest.mark.parametrize(
    "case",
    [case for case in vectors("context-filter.json")["cases"] if not case["follow"]],
    ids=lambda c: f"{c['test']} {c['include']} {c['exclude']}",
)
def test_filters(case: dict[str, Any], tmp_path: Path) -> None:
    if case["exclude"] == ["!foo/bar"]:
        pytest.skip("upstream stacks this filter on another one, which the vector does not show")
    for line in case["tree"]:
        _, name, kind, *target = line.split(" ")
        make(tmp_path, {name: None if kind == "dir" else f"-> {target[0]}" if target else ""})
    included = IgnoreMatcher(case["include"]) or None
    with LocalContext(tmp_path, IgnoreMatcher(case["exclude"])) as context:
        found = [
            f"symlink:{node.link} {node.path}" if node.type == "symlink" else f"{node.type} {node.path}"
            for node in filtered(reachable(context, "", included), "", included, None)
        ]
    assert found == [line.replace("symlink:C:/", "symlink:/") for line in case["listing"]]


def test_walk_is_sorted_and_whole(tmp_path: Path) -> None:
    make(tmp_path, {"b/x": "", "a": "", "b.c": "", "b/a/z": "", "é": "", "B": ""})
    with LocalContext(tmp_path) as context:
        assert [node.path for node in context.walk("")] == ["B", "a", "b", "b/a", "b/a/z", "b/x", "b.c", "é"]
        assert [node.path for node in context.walk("b")] == ["b/a", "b/a/z", "b/x"]
        assert list(context.walk("a")) == []


def test_special_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o644)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "sock"))
    server.close()
    with LocalContext(tmp_path) as context:
        nodes = list(context.walk(""))
        assert [(node.path, node.type) for node in nodes] == [("fifo", "fifo"), ("sock", "file")]
        # As in BuildKit, whose layers have an empty file for it; no process waits at the other end.
        assert nodes[1].size == 0 and context.open(nodes[1]) == b"" and len(context.digest(nodes[1])) == 64
        assert selected(context, "sock") == [("sock", [""])]


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))).write_text("x")
    with LocalContext(tmp_path) as context:
        found = context.entries(".")
        assert [rel for rel, _ in found.sources[0].entries] == ["\udcff"]
        assert len(found.digest()) == 64


def test_ignored_directories_are_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"node_modules/a/b": "", "node_modules/keep/c": "", "src/x": ""})
    opened: list[str] = []
    scan = LocalContext._scan
    monkeypatch.setattr(
        LocalContext, "_scan", lambda self, node: (opened.append(node.path), scan(self, node))[1]
    )
    with LocalContext(tmp_path, IgnoreMatcher(["node_modules", "!node_modules/keep"])) as context:
        assert [node.path for node in context.walk("")] == [
            "node_modules",
            "node_modules/keep",
            "node_modules/keep/c",
            "src",
            "src/x",
        ]
    assert sorted(opened) == ["", "node_modules", "node_modules/keep", "src"]


def test_what_is_ignored_cannot_be_copied(tmp_path: Path) -> None:
    make(tmp_path, {"a": "", "b": ""})
    with LocalContext(tmp_path, IgnoreMatcher(["a"])) as context:
        with pytest.raises(SourceMissing, match='"/a": not found') as caught:
            context.entries("a")
        assert caught.value.hint == "it is excluded by .dockerignore"
        with pytest.raises(SourceMissing, match='"/c": not found') as caught:
            context.entries("/c/")
        assert caught.value.hint == ""
        assert selected(context, "?") == [("b", [""])]


def test_missing_context(tmp_path: Path) -> None:
    with pytest.raises(ContextMissing, match="unable to prepare context"):
        LocalContext(tmp_path / "x")


# What a source word selects


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make(
        tmp_path,
        {
            "a.txt": "a",
            "b.txt": "b",
            "c.md": "c",
            "dir/x.txt": "x",
            "dir/sub/y.txt": "y",
            "dir/sub/z.md": "z",
            "dir2/w.txt": "w",
            "file[1]": "f",
            "to-dir": "-> dir",
            "to-file": "-> dir/x.txt",
            "up": "-> ../../etc/passwd",
            "abs": "-> /dir/sub",
            "loop": "-> loop",
            "dangling": "-> nowhere",
            "dir/link": "-> x.txt",
        },
    )


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("a.txt", [("a.txt", [""])]),
        ("/a.txt", [("a.txt", [""])]),
        ("./dir/../a.txt", [("a.txt", [""])]),
        ("../../a.txt", [("a.txt", [""])]),
        ("dir", [("dir", ["link", "sub", "sub/y.txt", "sub/z.md", "x.txt"])]),
        ("dir/", [("dir", ["link", "sub", "sub/y.txt", "sub/z.md", "x.txt"])]),
        ("*.txt", [("a.txt", [""]), ("b.txt", [""])]),
        ("dir*", [("dir", ["link", "sub", "sub/y.txt", "sub/z.md", "x.txt"]), ("dir2", ["w.txt"])]),
        ("*/x.txt", [("x.txt", [""])]),
        ("dir/*/y*", [("y.txt", [""])]),
        ("nothing*", []),
        ("none/*", []),
        ("a.txt/*", []),
        ("file[1]", []),  # a pattern, whatever is called so
        ("file[[]1]", [("file[1]", [""])]),
        ("[ab].txt", [("a.txt", [""]), ("b.txt", [""])]),
        ("to-dir", [("to-dir", ["link", "sub", "sub/y.txt", "sub/z.md", "x.txt"])]),
        ("to-dir/sub", [("sub", ["y.txt", "z.md"])]),
        ("to-dir/s*", [("sub", ["y.txt", "z.md"])]),
        ("to-file", [("to-file", [""])]),
        ("to-f*", [("to-file", [""])]),
        ("abs/y.txt", [("y.txt", [""])]),
        ("dir/link", [("link", [""])]),
    ],
)
def test_select(tree: Path, pattern: str, want: list[tuple[str, list[str]]]) -> None:
    with LocalContext(tree) as context:
        assert selected(context, pattern) == want


def test_links_to_files_give_the_file(tree: Path) -> None:
    with LocalContext(tree) as context:
        source = context.entries("to-file").sources[0]
        assert (source.name, source.path, source.nodes[0].type) == ("to-file", "dir/x.txt", "file")
        inside = dict(context.entries("dir").sources[0].entries)["link"]
        assert (inside.type, inside.link) == ("symlink", "x.txt")


@pytest.mark.parametrize("pattern", ["up", "dangling", "nope", "a.txt/b", "dang*"])
def test_select_missing(tree: Path, pattern: str) -> None:
    with LocalContext(tree) as context, pytest.raises(SourceMissing, match="not found"):
        context.entries(pattern)


def test_links_in_circles(tree: Path) -> None:
    with (
        LocalContext(tree) as context,
        pytest.raises(LinkLoop, match='too many levels of symbolic links in "/loop"'),
    ):
        context.entries("loop")


@pytest.mark.parametrize(
    ("pattern", "exclude", "want"),
    [
        ("dir", ["*.txt"], [("dir", ["link", "sub", "sub/y.txt", "sub/z.md"])]),
        ("dir", ["**/*.txt"], [("dir", ["link", "sub", "sub/z.md"])]),
        ("dir", ["sub"], [("dir", ["link", "x.txt"])]),
        ("dir", ["sub", "!sub/y.txt"], [("dir", ["link", "sub", "sub/y.txt", "x.txt"])]),
        ("*.txt", ["b*"], [("a.txt", [""]), ("b.txt", [""])]),  # they are below no source
        ("dir*", ["dir*", "sub"], [("dir", ["link", "x.txt"]), ("dir2", ["w.txt"])]),
        ("dir", ["*"], [("dir", [])]),
        ("a.txt", ["a.txt"], [("a.txt", [""])]),
    ],
)
def test_exclude(tree: Path, pattern: str, exclude: list[str], want: list[tuple[str, list[str]]]) -> None:
    with LocalContext(tree) as context:
        assert selected(context, pattern, exclude=exclude) == want


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("dir/sub/y.txt", ["dir", "dir/sub", "dir/sub/y.txt"]),
        ("dir/./sub/y.txt", ["sub", "sub/y.txt"]),
        ("dir/sub/./y.txt", ["y.txt"]),
        ("dir/sub", ["dir", "dir/sub", "dir/sub/y.txt", "dir/sub/z.md"]),
        ("*/*.txt", ["dir", "dir/x.txt", "dir2", "dir2/w.txt"]),
        ("**/*.md", ["c.md", "dir", "dir/sub", "dir/sub/z.md"]),
        ("./dir2", ["dir2", "dir2/w.txt"]),
        ("none*", []),
    ],
)
def test_parents(tree: Path, pattern: str, want: list[str]) -> None:
    with LocalContext(tree) as context:
        assert [rel for rel, _ in context.entries(pattern, parents=True).sources[0].entries] == want


@pytest.mark.parametrize("pattern", ["dir/nope", "nope/./x"])
def test_parents_missing(tree: Path, pattern: str) -> None:
    with LocalContext(tree) as context, pytest.raises(SourceMissing):
        context.entries(pattern, parents=True)


def test_parents_below_a_pattern(tree: Path) -> None:
    """What is before the pivot may match several directories; files that match are none."""
    with LocalContext(tree) as context:
        found = context.entries("*dir*/./*.txt", parents=True)
        assert [[rel for rel, _ in source.entries] for source in found] == [["x.txt"], ["w.txt"], ["x.txt"]]
        assert [source.path for source in found] == ["dir", "dir2", "dir"]  # to-dir leads to dir
        assert len(context.entries("none*/./x", parents=True).sources) == 0
        with pytest.raises(SourceMissing):
            context.entries("none/./x", parents=True)


def test_parents_with_exclude(tree: Path) -> None:
    with LocalContext(tree) as context:
        found = context.entries("dir", parents=True, exclude=["dir/sub/*.md", "**/link"]).sources[0].entries
        assert [rel for rel, _ in found] == ["dir", "dir/sub", "dir/sub/y.txt", "dir/x.txt"]


# Keys


def digest_of(root: Path, pattern: str = ".", **options: Any) -> str:
    with LocalContext(root, **options) as context:
        return context.entries(pattern).digest()


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a.txt").write_text("A"),
        lambda root: (root / "a.txt").chmod(0o600),
        lambda root: (root / "a.txt").rename(root / "A.txt"),
        lambda root: (root / "a.txt").unlink(),
        lambda root: (root / "new").mkdir(),
        lambda root: (root / "dir/sub").chmod(0o700),
        lambda root: ((root / "to-dir").unlink(), (root / "to-dir").symlink_to("dir2")),
        lambda root: ((root / "b.txt").unlink(), os.link(root / "a.txt", root / "b.txt")),
    ],
)
def test_key_changes(tree: Path, change: Change) -> None:
    before = digest_of(tree, umask=0o022)
    change(tree)
    assert digest_of(tree, umask=0o022) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: os.utime(root / "a.txt", (1, 1)),
        lambda root: root.chmod(0o700),
        lambda root: ((root / "a.txt").write_text("other"), (root / "a.txt").write_text("a")),
    ],
)
def test_key_stays(tree: Path, change: Change) -> None:
    before = digest_of(tree, umask=0o022)
    change(tree)
    assert digest_of(tree, umask=0o022) == before


def test_hard_links_count(tmp_path: Path) -> None:
    make(tmp_path, {"a": "x", "b": "x"})
    apart = digest_of(tmp_path)
    (tmp_path / "b").unlink()
    os.link(tmp_path / "a", tmp_path / "b")
    assert digest_of(tmp_path) != apart


def test_wildcard_names_count(tmp_path: Path) -> None:
    make(tmp_path, {"a.txt": "x"})
    before = digest_of(tmp_path, "*.txt")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert digest_of(tmp_path, "*.txt") != before


def test_xattrs_count(tmp_path: Path) -> None:
    make(tmp_path, {"a": "x", "d": None})
    before = digest_of(tmp_path)
    try:
        os.setxattr(tmp_path / "a", "user.k", b"1")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    with_file = digest_of(tmp_path)
    assert with_file != before
    os.setxattr(tmp_path / "d", "user.k", b"1")
    assert digest_of(tmp_path) not in (before, with_file)
    with LocalContext(tmp_path) as context:
        node = context.lstat("a")
        assert node is not None and dict(node.xattrs) == {"user.k": b"1"}


def test_own_fingerprint_is_the_common_one(tree: Path) -> None:
    with LocalContext(tree) as context:
        for node in context.walk(""):
            assert context.fingerprint(node) == fingerprint(context, node)


def test_manifest(tree: Path) -> None:
    with LocalContext(tree) as context:
        found: SourceSet = context.entries("dir")
        assert {path: text.split(" ")[0] for path, text in found.manifest().items()} == {
            "dir/link": "0777",
            "dir/sub": "0755",
            "dir/sub/y.txt": "0644",
            "dir/sub/z.md": "0644",
            "dir/x.txt": "0644",
        }
        assert found.manifest()["dir/x.txt"] == f"0644 {context.digest(found.sources[0].nodes[-1])[:TOLD]}"


# Modes


@pytest.mark.parametrize(
    ("mode", "directory", "umask"),
    [
        (0o644, False, 0o022),
        (0o664, False, 0o002),
        (0o600, False, 0o077),
        (0o640, False, 0o027),
        (0o666, False, 0o000),
        (0o755, False, 0o022),
        (0o755, True, 0o022),
        (0o775, True, 0o002),
        (0o700, True, 0o077),
        (0o750, True, 0o027),
        (0o444, False, 0o022),
    ],
)
def test_umask_of(mode: int, directory: bool, umask: int) -> None:
    assert oct(umask_of(mode, directory=directory)) == oct(umask)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o027])
def test_modes_do_not_depend_on_the_checkout(tmp_path: Path, umask: int) -> None:
    make(tmp_path, {"plain": "", "tool": "", "set": "", "d": None})
    for name, mode in (
        ("plain", 0o666 & ~umask),
        ("tool", 0o777 & ~umask),
        ("d", 0o777 & ~umask),
        ("set", 0o4711),
    ):
        (tmp_path / name).chmod(mode)
    with LocalContext(tmp_path, umask=umask) as context:
        assert {node.path: oct(node.mode) for node in context.walk("")} == {
            "plain": "0o644",
            "tool": "0o755",
            "d": "0o755",
            "set": "0o4711",
        }


def test_modes_set_on_purpose_stay(tmp_path: Path) -> None:
    make(tmp_path, {"key": ""})
    (tmp_path / "key").chmod(0o600)
    with LocalContext(tmp_path, umask=0o022) as context:
        node = context.lstat("key")
        assert node is not None and node.mode == 0o600


# Remembering


def settle(root: Path) -> None:
    """Make all files old enough to be trusted."""
    time.sleep(0.15)
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, ns=(OLD * 10**9 + 5, OLD * 10**9 + 5))
    time.sleep(0.15)


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    read = LocalContext._read
    monkeypatch.setattr(
        LocalContext, "_read", lambda self, node: (seen.append(node.path), read(self, node))[1]
    )
    return seen


def test_unchanged_files_are_not_read_again(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    settle(tree)
    seen = hashed(monkeypatch)
    first = digest_of(tree, cache=cache)
    assert len(seen) == 8
    seen.clear()
    assert digest_of(tree, cache=cache) == first
    assert seen == []
    (tree / "a.txt").write_text("changed")
    assert digest_of(tree, cache=cache) != first
    assert seen == ["a.txt"]


def test_same_size_and_time_is_still_noticed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The change that a comparison of size and mtime misses."""
    cache = tmp_path_factory.mktemp("cache")
    settle(tree)
    first = digest_of(tree, cache=cache)
    status = (tree / "a.txt").stat()
    (tree / "a.txt").write_text("b")
    os.utime(tree / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(tree, cache=cache) != first


def test_fresh_files_are_not_trusted(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    settle(tree)
    (tree / "a.txt").write_text("1")
    digest_of(tree, cache=cache)
    seen = hashed(monkeypatch)
    digest_of(tree, cache=cache)
    assert seen == ["a.txt"]


def test_racy_rule(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    now = path.stat().st_ctime_ns
    assert was_racy(stat_key(path.stat()), now)
    assert was_racy(stat_key(path.stat()), now + 50_000_000)
    os.utime(path, ns=(OLD * 10**9 + 1, OLD * 10**9 + 1))
    changed = path.stat().st_ctime_ns
    assert not was_racy(stat_key(path.stat()), changed + 200_000_000)
    os.utime(path, ns=(OLD * 10**9 + 1, changed + 3600 * 10**9))  # in the future: says nothing
    assert not was_racy(stat_key(path.stat()), path.stat().st_ctime_ns + 200_000_000)


def test_racy_rule_of_many(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    young = stat_key(path.stat())
    now = path.stat().st_ctime_ns
    old = stat_key(SimpleNamespace(**{**_fields(path.stat()), "st_mtime_ns": 1, "st_ctime_ns": 1}))
    assert not any_racy([], now)
    assert not any_racy([old, old], now)
    assert any_racy([old, young, old], now)
    assert any_racy([young, old], now + 50_000_000)
    # A coarse clock would still be in its tick; this one is finer.
    assert not any_racy([old, young], now + 200_000_000)
    assert not any_racy([old, young], now + 10**10)


def _fields(status: os.stat_result) -> dict[str, int]:
    return {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}


def remembered(cache: Path, path: str, status: os.stat_result) -> tuple[str, Any] | None:
    """What a digest cache tells of a file."""
    node: Any = SimpleNamespace(path=path, noted=stat_key(status))
    return (node.noted[KEY:].hex(), node._xattrs) if DigestCache(cache).recall(node) else None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: b"x" + data,
    ],
)
def test_damaged_caches_count_as_none(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / "f").write_text("x")
    status = (tmp_path / "f").stat()
    path = tmp_path / "cache"
    cache = DigestCache(path)
    cache.put(
        "f",
        key=stat_key(status),
        digest=bytes.fromhex("ab" * 32),
        xattrs={"user.x": b"1"},
        read_at=status.st_ctime_ns + 10**10,
    )
    cache.save()
    assert remembered(path, "f", status) == ("ab" * 32, {"user.x": b"1"})
    path.write_bytes(damage(path.read_bytes()))
    assert remembered(path, "f", status) is None


def test_a_cache_that_cannot_be_written_is_no_error(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blocked = tmp_path_factory.mktemp("c") / "file"
    blocked.write_text("")
    assert digest_of(tree, cache=blocked) == digest_of(tree)


def test_caches_do_not_grow_for_ever(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    status = (tmp_path / "f").stat()
    cache = DigestCache(tmp_path / "cache")
    for number in range(12_000):
        cache.put(
            str(number),
            key=stat_key(status),
            digest=bytes.fromhex("ab" * 32),
            xattrs={},
            read_at=status.st_ctime_ns + 10**10,
        )
    cache.save()
    again = DigestCache(tmp_path / "cache")
    again.put(
        "new",
        key=stat_key(status),
        digest=bytes.fromhex("ab" * 32),
        xattrs={},
        read_at=status.st_ctime_ns + 10**10,
    )
    again.save()
    assert remembered(tmp_path / "cache", "5", status) is None
    assert remembered(tmp_path / "cache", "new", status) is not None


def test_few_directories_of_a_digest_cache_are_open_at_once(tmp_path: Path) -> None:
    """What was put into one is there when it is asked for again, in the same build and in the next; what was packed
    meanwhile counts as used."""
    (tmp_path / "f").write_text("x")
    status = (tmp_path / "f").stat()
    later = status.st_ctime_ns + 10**10
    cache = DigestCache(tmp_path / "cache")
    for number in range(11_000):
        cache.put(
            f"large/{number}", key=stat_key(status), digest=bytes.fromhex("ab" * 32), xattrs={}, read_at=later
        )
    for number in range(100):
        cache.put(
            f"d{number}/f",
            key=stat_key(status),
            digest=bytes.fromhex(f"{number:02x}" * 32),
            xattrs={"user.n": b"%d" % number},
            read_at=later,
        )
        assert len(cache._open) <= 16
    cache.put(
        "large/one more", key=stat_key(status), digest=bytes.fromhex("cd" * 32), xattrs={}, read_at=later
    )
    cache.put(
        "d7/f", key=stat_key(status), digest=bytes.fromhex("ef" * 32), xattrs={}, read_at=status.st_ctime_ns
    )  # racy: forgotten, packed or not
    cache.save()
    path = tmp_path / "cache"
    assert remembered(path, "large/5", status) == ("ab" * 32, {})
    assert remembered(path, "large/one more", status) == ("cd" * 32, {})
    assert remembered(path, "d7/f", status) is None
    for number in (0, 6, 8, 99):
        assert remembered(path, f"d{number}/f", status) == (f"{number:02x}" * 32, {"user.n": b"%d" % number})


# Reading


def test_content(tree: Path) -> None:
    (tree / "big").write_bytes(b"x" * (2 << 20))
    with LocalContext(tree) as context:
        small = context.lstat("a.txt")
        big = context.lstat("big")
        assert small is not None and big is not None
        assert context.open(small) == b"a"
        stream = context.open(big)
        assert not isinstance(stream, bytes)
        with stream:
            assert stream.read() == b"x" * (2 << 20)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.write_text("zz"),
        lambda p: p.unlink(),
        lambda p: (p.unlink(), p.symlink_to("b.txt")),
        lambda p: (p.unlink(), p.mkdir()),
    ],
)
def test_changes_during_the_build_are_noticed(tree: Path, change: Change) -> None:
    with LocalContext(tree) as context:
        node = context.lstat("a.txt")
        assert node is not None
        change(tree / "a.txt")
        with pytest.raises(ContextChanged, match=r"'a.txt' of the build context changed while it was read"):
            context.open(node)
        with pytest.raises(ContextChanged):
            context.digest(node)


@pytest.mark.parametrize("known", [True, False])
def test_a_large_file_that_is_written_while_it_is_read(tmp_path: Path, known: bool) -> None:
    file = tmp_path / "context/large"
    file.parent.mkdir()
    file.write_bytes(bytes(2 << 20))
    os.utime(file, (OLD, OLD))
    with LocalContext(file.parent, cache=tmp_path / "cache") as context:
        node = context.lstat("large")
        assert node is not None
        if known:
            context.digest(node)
        stream = context.open(node)
        assert not isinstance(stream, bytes)
        assert stream.read(1 << 20) == bytes(1 << 20)
        with file.open("r+b") as written:
            written.seek(1 << 20)
            written.write(b"new")
        stream.read()
        with pytest.raises(ContextChanged, match="'large' of the build context changed"):
            stream.close()
        assert stream.closed


def test_a_large_file_that_is_written_within_a_tick_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system whose times do not show it."""
    file = tmp_path / "large"
    file.write_bytes(bytes(2 << 20))
    with LocalContext(tmp_path) as context:
        node = context.lstat("large")
        assert node is not None
        context.digest(node)
        monkeypatch.setattr(watched, "stat_key", lambda status: node.key)
        monkeypatch.setattr(watched, "was_racy", lambda key, read_at: True)
        with context.open(node) as stream:  # type: ignore[union-attr]
            assert stream.read() == bytes(2 << 20)
        stream = context.open(node)  # type: ignore[assignment]
        file.write_bytes(b"new" + bytes((2 << 20) - 3))
        with pytest.raises(ContextChanged):
            stream.close()


def test_a_link_swapped_in_leads_nowhere(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = make(tmp_path_factory.mktemp("outside"), {"x.txt": "secret"})
    with LocalContext(tree) as context:
        node = context.lstat("dir/x.txt")
        assert node is not None
        (tree / "dir").rename(tree / "was")
        (tree / "dir").symlink_to(outside)
        assert context.open(node) == b"x"  # by the descriptor that is still open
        assert context.listdir("dir2") == ["w.txt"]
        with pytest.raises(ContextChanged):
            context.open(node)


def test_unreadable_directories(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    make(tmp_path, {"d/x": ""})
    (tmp_path / "d").chmod(0)
    try:
        with (
            LocalContext(tmp_path) as context,
            pytest.raises(Exception, match="cannot read 'd' of the build context"),
        ):
            list(context.walk(""))
        with LocalContext(tmp_path, IgnoreMatcher(["d"])) as context:
            assert list(context.walk("")) == []
    finally:
        (tmp_path / "d").chmod(0o755)


def test_deep_trees(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 150)
    deep.mkdir(parents=True)
    (deep / "f").write_text("x")
    before = len(descriptors())
    with none_left_open(), LocalContext(tmp_path) as context:
        assert sum(1 for _ in context.walk("")) == 151
        assert context.entries(".").digest()
        assert len(descriptors()) < before + 200
    assert sys.getrecursionlimit() >= 1000


def test_several_threads(tree: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with LocalContext(tree) as context, ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: context.entries(".").digest(), range(16)))
    assert found == {digest_of(tree)}
