"""Sources of COPY and ADD in any tree: the build context, a tar, another stage's layers.

A `FileTree` says what is where; `select` finds what a source word means in it, with Go's wildcards, links
followed inside the tree only, `--exclude` and `--parents` (Dockerfile reference, "COPY").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from boxwright.build.context.filetree import FileTree, KnowingTree, TreeNode
from boxwright.build.context.folders import TOLD, FolderFiles, FolderSummary, fold, folders_of
from boxwright.build.dockerfile.globs import compile_match, has_wildcards
from boxwright.build.dockerfile.ignore import NOTHING, IgnoreMatcher
from boxwright.build.dockerfile.paths import clean_path
from boxwright.errors import Invalid, NotFound
from boxwright.rootfs.paths import Names, TooManyLinks, walk
from boxwright.spec import hashes
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object  # what it is for is checked before it runs


class SourceMissing(NotFound):
    """A source path does not exist in the tree; `path` is absolute in it."""

    def __init__(self, path: str, *, hint: str = "") -> None:
        super().__init__(f'"{path}": not found', hint=hint)
        self.path = path


class LinkLoop(Invalid):
    """Symbolic links lead in a circle."""


def fingerprint(tree: FileTree, node: TreeNode) -> str:
    """`KnowingTree.fingerprint` of any tree."""
    kind = node.type
    content = tree.digest(node) if kind == "file" else node.link
    if kind in ("char", "block"):
        content = f"{node.device[0]}:{node.device[1]}"
    extra = (
        "".join(f"\0{name}={node.xattrs[name].hex()}" for name in sorted(node.xattrs)) if node.xattrs else ""
    )
    return f"{kind}\0{node.mode:o}\0{node.uid}:{node.gid}\0{content}{extra}"


def knowing(tree: FileTree) -> KnowingTree | None:
    """The tree, if it is one that knows more."""
    return tree if hasattr(tree, "fingerprint") else None  # type: ignore[return-value]


class CopySource:
    """One match of a source word.

    `directory`: the *contents* are copied, `entries` lie below it (its own mode does not count); with
    `--parents` their `rel` starts at the pivot. Otherwise there is one entry, and `name` is what the file
    is called inside a destination that is a directory. `whole`: everything below `path`, which the tree may know
    more about than can be said of single nodes; those are looked at when they are asked for.
    """

    __slots__ = ("_make", "_nodes", "directory", "name", "path", "whole")

    def __init__(
        self,
        path: str,
        name: str,
        *,
        directory: bool,
        nodes: Callable[[], Iterable[TreeNode]],
        whole: bool = False,
    ) -> None:
        self.path = path  # where it really is in the tree, links followed
        self.name, self.directory, self.whole = name, directory, whole
        self._make = nodes
        self._nodes: tuple[TreeNode, ...] | None = None

    @property
    def nodes(self) -> tuple[TreeNode, ...]:
        """What is copied: parents before children, names sorted."""
        if self._nodes is None:
            self._nodes = tuple(self._make())
        return self._nodes

    def walk(self) -> Iterable[TreeNode]:
        """The same, for one look at each: they are not kept for a second."""
        return self._make() if self._nodes is None else self._nodes

    @property
    def entries(self) -> list[tuple[str, TreeNode]]:
        """Each node under its place relative to what is copied, '' for a single file. Parents before children, names
        sorted; made anew each time."""
        if not self.directory:
            return [("", node) for node in self.nodes]
        cut = len(self.path) + 1 if self.path else 0
        return [(node.path[cut:], node) for node in self.nodes]

    def __len__(self) -> int:
        return len(self.nodes)


class _SummingTree(FileTree, Protocol):
    """A tree that knows what a whole directory comes to without looking at each node."""

    def bytes_below(self, path: str) -> int:
        """How many bytes the files below a directory have."""

    def walk_folders(self, path: str) -> Iterable[TreeNode | FolderFiles]:
        """All below a directory, the plain files of one that is known at once."""

    def summary(self, path: str) -> FolderSummary:
        """What `folders.fold` makes of everything below a directory."""


def _summing(tree: FileTree) -> _SummingTree | None:
    return tree if hasattr(tree, "summary") else None  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Everything that one source word selects. A wildcard may select nothing."""

    tree: FileTree
    sources: tuple[CopySource, ...]
    wildcard: bool = False

    def __iter__(self) -> Iterator[CopySource]:
        return iter(self.sources)

    @property
    def size(self) -> int:
        """How many bytes the selected files have."""
        summing = _summing(self.tree)
        return sum(
            summing.bytes_below(source.path)
            if summing and source.whole
            else sum(node.size for node in source.nodes)
            for source in self.sources
        )

    def digest(self, *, times: bool = False) -> str:
        """sha256 (hex) of what decides the copy's result: names, types, modes, owners, links, extended
        attributes, contents, and `times` where the copy keeps them."""
        lines: list[str] = []
        linked: dict[object, list[str]] = {}
        tree = self.tree
        known, summing = knowing(tree), _summing(tree)
        printed = known.fingerprint if known else partial(fingerprint, tree)
        for number, source in enumerate(self.sources):
            if not source.directory:
                node = source.nodes[0]
                lines.append(f"F{source.name}\0{printed(node)}" + (f"\0{node.mtime_ns}" if times else ""))
                found = [("", node.identity)] if node.identity is not None else []
            else:
                if summing and source.whole and not times:
                    summary = summing.summary(source.path)
                else:
                    summary = fold("", folders_of(source.entries, printed, times=times))
                lines.append(f"D{summary.digest}")
                found = summary.links
            for rel, identity in found:
                linked.setdefault(identity, []).append(f"{number}/{rel}")
        lines += sorted("=" + "\0".join(sorted(names)) for names in linked.values() if len(names) > 1)
        return hashes.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def manifest(self, *, times: bool = False) -> dict[str, str]:
        """Path in the tree -> `mode` and the digest's beginning (file), `mode -> target` (symlink) or `mode type`, and
        behind NULs ``name=value`` of what is unusual: what a record keeps so that a later miss can be explained."""
        found: dict[str, str] = {}
        linked: dict[object, str] = {}
        summing = _summing(self.tree) if not times else None
        for source in self.sources:
            for node in summing.walk_folders(source.path) if summing and source.whole else source.walk():
                if isinstance(node, FolderFiles):
                    found.update(node.told())
                    continue
                what = (
                    self.tree.digest(node)[:TOLD]
                    if node.type == "file"
                    else f"-> {node.link}"
                    if node.type == "symlink"
                    else node.type
                )
                more = []
                if node.uid or node.gid:
                    more.append(f"owner={node.uid}:{node.gid}")
                if node.xattrs:
                    more.append(
                        "extended attributes="
                        + ",".join(f"{n}:{v.hex()}" for n, v in sorted(node.xattrs.items()))
                    )
                if node.device != (0, 0):
                    more.append(f"device={node.device[0]}:{node.device[1]}")
                if (identity := node.identity) is not None and linked.setdefault(
                    identity, node.path
                ) != node.path:
                    more.append(f"hard link={linked[identity]}")
                if times:
                    more.append(f"time={node.mtime_ns}")
                found[node.path] = "\0".join((f"{node.mode:04o} {what}", *more))
        return found


def select(
    tree: FileTree,
    pattern: str,
    *,
    exclude: Iterable[str] = (),
    parents: bool = False,
) -> SourceSet:
    """What a source word of COPY or ADD means. Raises SourceMissing, PatternInvalid, LinkLoop.

    `exclude` patterns are those of .dockerignore, relative to each source; `parents` keeps the path of
    each source below the destination, from the `/./` in it if there is one.
    """
    excluded = IgnoreMatcher(exclude) or None
    if parents:
        return _with_parents(tree, pattern, excluded)
    path = clean_path("/" + pattern)[1:]
    if not has_wildcards(path):
        return SourceSet(tree, (_source(tree, path, excluded),))
    return SourceSet(tree, tuple(_source(tree, match, excluded) for match in _expand(tree, path)), True)


def _source(tree: FileTree, path: str, excluded: IgnoreMatcher | None) -> CopySource:
    node = tree.resolve(path)
    if node is None:
        raise _missing(tree, path)
    name = path.rpartition("/")[2]
    if node.type != "dir":
        return CopySource(node.path, name, directory=False, nodes=lambda: (node,))
    if excluded is None:
        return CopySource(node.path, name, directory=True, nodes=lambda: tree.walk(node.path), whole=True)
    nodes = tuple(filtered(nodes=tree.walk(node.path), top=node.path, included=None, excluded=excluded))
    return CopySource(node.path, name, directory=True, nodes=lambda: nodes)


def _missing(tree: FileTree, path: str) -> SourceMissing:
    known = knowing(tree)
    return SourceMissing(f"/{path}", hint=known.explain_missing(path) if known else "")


def _expand(tree: FileTree, path: str) -> list[str]:
    """The paths that a pattern matches, sorted. Links are followed before its first wildcard and behind
    the whole match, not between (as BuildKit does)."""
    parts = path.split("/")
    first = next(at for at, part in enumerate(parts) if has_wildcards(part))
    top = tree.resolve("/".join(parts[:first]))
    if top is None or top.type != "dir":
        return []
    found = [top.path]
    for at, part in enumerate(parts[first:], first):
        matcher = compile_match(part).fullmatch
        last = at == len(parts) - 1
        below: list[str] = []
        for directory in found:
            for name in tree.listdir(directory):
                if matcher(name):
                    inside = f"{directory}/{name}" if directory else name
                    if last or ((node := tree.lstat(inside)) is not None and node.type == "dir"):
                        below.append(inside)
        found = below
    return found


def _with_parents(tree: FileTree, pattern: str, excluded: IgnoreMatcher | None) -> SourceSet:
    base, pivot, rest = pattern.partition("/./")
    if not pivot:
        base, rest = "", pattern
    wanted = clean_path("/" + rest)[1:]
    above = clean_path("/" + base)[1:]
    wildcard = has_wildcards(pattern)
    included = IgnoreMatcher([wanted]) if wanted else None
    sources = []
    for place in _expand(tree, above) if has_wildcards(above) else [above]:
        top = tree.resolve(place)
        if top is None or top.type != "dir":
            if place != above:
                continue
            raise _missing(tree, above)
        if not wildcard and wanted and tree.resolve(f"{top.path}/{wanted}" if top.path else wanted) is None:
            raise _missing(tree, clean_path(f"/{base}/{rest}")[1:])
        nodes = tuple(
            filtered(
                nodes=reachable(tree, top.path, included), top=top.path, included=included, excluded=excluded
            )
        )
        sources.append(CopySource(top.path, "", directory=True, nodes=partial(tuple, nodes)))
    return SourceSet(tree, tuple(sources), wildcard)


def reachable(tree: FileTree, top: str, included: IgnoreMatcher | None) -> Iterator[TreeNode]:
    """What lies below, without the directories in which nothing can match."""
    if included is None:
        yield from tree.walk(top)
        return
    stack = [("", top, NOTHING)]
    while stack:
        rel, path, above = stack.pop()
        if rel:
            node = tree.lstat(path)
            if node is None:
                continue
            yield node
            if node.type != "dir":
                continue
        down: list[tuple[str, str, int]] = []
        for name in tree.listdir(path):
            inside = f"{rel}/{name}" if rel else name
            number = included.decide(inside, above)
            if included.excludes(number) or included.may_match_below(inside):
                down.append((inside, f"{path}/{name}" if path else name, number))
        stack.extend(reversed(down))


UNDECIDED = (NOTHING, NOTHING)  # the numbers of what is in no directory


def judged(
    rel: str, above: tuple[int, int], *, included: IgnoreMatcher | None, excluded: IgnoreMatcher | None
) -> tuple[tuple[int, int], bool]:
    """Which patterns of both decided about a path whose directory has the numbers `above`, and whether it stays:
    `included` (None: everything) matches it and `excluded` does not."""
    in_number, out_number = above
    stays = True
    if included is not None:
        in_number = included.decide(rel, in_number)
        stays = included.excludes(in_number)
    if excluded is not None:
        out_number = excluded.decide(rel, out_number)
        stays = stays and not excluded.excludes(out_number)
    return (in_number, out_number), stays


def filtered(
    nodes: Iterable[TreeNode], top: str, included: IgnoreMatcher | None, excluded: IgnoreMatcher | None
) -> Iterator[TreeNode]:
    """Of nodes below `top` that come parents first: those that `included` matches (None: all) and `excluded`
    does not. Patterns are relative to `top`.

    The directories above a node that stays come with it, whatever the patterns say of them.
    """
    if included is None and excluded is None:
        yield from nodes
        return
    cut = len(top) + 1 if top else 0
    above = {"": UNDECIDED}
    waiting: dict[str, TreeNode] = {}
    for node in nodes:
        rel = node.path[cut:]
        parent = rel.rpartition("/")[0]
        numbers, stays = judged(rel, above[parent], included=included, excluded=excluded)
        if node.type == "dir":
            above[rel] = numbers
        if not stays:
            if node.type == "dir":
                waiting[rel] = node
            continue
        chain: list[TreeNode] = []
        while parent in waiting:
            chain.append(waiting.pop(parent))
            parent = parent.rpartition("/")[0]
        yield from reversed(chain)
        yield node


def resolve_in(tree: FileTree, path: str, *, follow_last: bool = True) -> TreeNode | None:
    """`FileTree.resolve` by `lstat` alone: component by component, never above the top. Raises LinkLoop."""
    node = tree.lstat(path)
    if node is not None and not (follow_last and node.type == "symlink"):
        return node
    cursor = _Nodes(tree)
    try:
        name, directory = walk(cursor, path, follow_last=follow_last)
    except TooManyLinks as error:
        raise LinkLoop(f'too many levels of symbolic links in "/{path}"') from error
    except FileNotFoundError:
        return None
    node = tree.lstat("/".join((*cursor.above, name)) if name else "/".join(cursor.above))
    return None if node is None or (directory and node.type != "dir") else node


class _Nodes(Names):
    """The cursor of a `FileTree`; what is absent, or no directory on the way, ends the walk with FileNotFoundError."""

    def __init__(self, tree: FileTree) -> None:
        self._node: TreeNode | None = None

        def link(path: str) -> str | None:
            node = self._node = tree.lstat(path)
            if node is None:
                raise FileNotFoundError(path)
            return node.link if node.type == "symlink" else None

        super().__init__(link)

    def down(self, name: str) -> None:
        if self._node is None or self._node.type != "dir":  # what `link` was just asked for
            raise FileNotFoundError(name)
        super().down(name)
