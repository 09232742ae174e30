"""Which part of a tree some paths and patterns need: what a client must send of its context, and no more.

The rules are those of BuildKit's transfer: patterns as in .dockerignore, and every link on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from boxwright.build.context_tree import FileTree, TreeNode, filtered, reachable
from boxwright.build.dockerfile.globs import compile_match, has_wildcards
from boxwright.build.dockerfile.ignore import IgnoreMatcher
from boxwright.build.dockerfile.paths import clean_path


def follow_links(tree: FileTree, paths: Iterable[str]) -> list[str] | None:
    """Every path that must be at hand for `paths` to be read through links: themselves, the links, their
    targets. Sorted, without what lies below another; None when the whole tree is meant."""
    found: set[str] = set()
    for path in paths:
        _follow(tree, clean_path("/" + path)[1:], found)
    kept: list[str] = []
    for path in sorted(found):
        if path == "":
            return None
        parts = path.split("/")
        if not any("/".join(parts[:at]) in found for at in range(1, len(parts))):
            kept.append(path)
    return kept


def _follow(tree: FileTree, path: str, found: set[str]) -> None:
    parts = path.split("/")
    for at in range(1, len(parts) + 1):
        current = "/".join(parts[:at])
        targets = _targets(tree, current)
        rest = parts[at:]
        if (targets or not rest) and current in found:
            return
        if targets:
            found.add(current)
            for target in targets:
                _follow(tree, clean_path("/".join(("", target, *rest)))[1:], found)
            return
    found.add(path)


def _targets(tree: FileTree, path: str) -> list[str]:
    """Where a path leads if it is a link, or a pattern that matches links."""
    parent, _, name = path.rpartition("/")
    if has_wildcards(name):
        top = tree.lstat(parent)
        if top is None or top.type != "dir":
            return []
        matcher = compile_match(name).fullmatch
        names = [f"{parent}/{other}" if parent else other for other in tree.listdir(parent) if matcher(other)]
    else:
        names = [path]
    nodes = [node for each in names if (node := tree.lstat(each)) is not None and node.type == "symlink"]
    return [
        clean_path(
            f"/{node.path.rpartition('/')[0]}/{node.link}" if not node.link.startswith("/") else node.link
        )[1:]
        for node in nodes
    ]


def walk_included(
    tree: FileTree, include: Iterable[str] = (), follow: Iterable[str] = ()
) -> Iterator[TreeNode]:
    """The part of a tree that `include` patterns and the paths in `follow` need, parents first."""
    patterns = list(include)
    paths = list(follow)
    if paths:
        targets = follow_links(tree, paths)
        patterns = [] if targets is None else patterns + targets
    included = IgnoreMatcher(patterns) or None
    yield from filtered(reachable(tree, "", included), "", included, None)
