"""BuildKit's names of files by their content: heads, contents and names of all below, times left out. The files are
read."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from boxwright.build.context.tree import UNDECIDED, judged, resolve_in
from boxwright.build.dockerfile.globs import compile_match, has_wildcards
from boxwright.build.dockerfile.ignore import IgnoreMatcher
from boxwright.spec import hashes
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.context.filetree import FileTree, TreeNode

_CHUNK = 1 << 20
_ROOT = "/"
_SORTED = 12  # so many Go's sort leaves in order where they are equal
_TYPES = {"file": "0", "dir": "5", "symlink": "2"}
_EMPTY = "sha256:" + hashes.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Picked:
    """What a step reads: an absolute, clean path or pattern, and of the files below those that `included` match (none:
    all) and `excluded` do not, patterns relative to it as those of .dockerignore."""

    path: str
    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it is one path with all that is below it."""
        return not (self.included or self.excluded or has_wildcards(self.path))


def selected(tree: FileTree, wanted: Sequence[Picked]) -> tuple[str, ...]:
    """The digests under which BuildKit may know what these select together. Of what patterns match there are two: up to
    BuildKit 0.25 a match was known by its last name alone, later by its path; the first is left out where it does not
    tell directories apart. Empty when something selected has no digest here."""
    matches = [(one.path, _matching(tree, one)) for one in wanted if not one.whole]
    whole = [
        (path, content(tree, path[1:])) for path in _outermost([one.path for one in wanted if one.whole])
    ]
    paths = [path for path, _ in (*whole, *matches)]
    if len(paths) > _SORTED and len(set(paths)) < len(paths):
        return ()
    found = []
    for old in (False, True) if matches else (False,):
        digests = [*whole, *((path, one and one.digest(old)) for path, one in matches)]
        told = [digest for _, digest in sorted(digests, key=lambda one: one[0])]
        if all(told):
            found.append("sha256:" + hashes.sha256("\0".join(map(str, told)).encode()).hexdigest())
    return tuple(found)


def _outermost(paths: Sequence[str]) -> list[str]:
    """Sorted, without what lies below another one."""
    wanted = set(paths)
    return sorted(
        path
        for path in wanted
        if not any(path != above and path.startswith(above.rstrip("/") + "/") for above in wanted)
    )


@dataclass(frozen=True, slots=True)
class _Matches:
    """What is selected of a path or pattern: paths from there, or from where the pattern begins, and digests. `flat`:
    last names tell where each is."""

    pattern: str
    found: tuple[tuple[str, str], ...]
    flat: bool

    def digest(self, old: bool) -> str | None:
        if not self.found:
            return _EMPTY
        named = [(path, _name(path or self.pattern), digest) for path, digest in self.found]
        if len(named) == 1 and named[0][1] == _name(self.pattern):
            return named[0][2]
        if old and not self.flat:
            return None
        if old:
            raw = b"\0".join(name + digest.encode() for _, name, digest in named)
        else:
            raw = b"".join(_key(path) + digest.encode() for path, _, digest in named)
        return "sha256:" + hashes.sha256(raw).hexdigest()


def _matching(tree: FileTree, wanted: Picked) -> _Matches | None:
    """None where a pattern goes by way of a link, and where it selects what is told in another way."""
    pattern, wild = wanted.path, has_wildcards(wanted.path)
    words = pattern.strip("/").split("/")
    prefix = "/".join(words[: next((at for at, word in enumerate(words) if has_wildcards(word)), len(words))])
    start = resolve_in(tree, prefix, follow_last=wild)
    if start is None or (wild and start.type != "dir"):
        return _Matches(pattern, (), True)
    if wild and start.path != prefix:
        return None
    found, flat = list[tuple[str, str]](), True
    fixed = () if wild else _fixed(start.path, wanted.included)
    for node, top in _listed(tree, start, wanted):
        digest = content(tree, node.path) if top and node.type == "symlink" else _node(tree, node)
        if digest is None:
            return None
        flat = flat and (node.type != "dir" or node.path in fixed)
        found.append((node.path[len(start.path) :].lstrip("/"), digest))
    return _Matches(pattern, tuple(found), flat)


def _fixed(top: str, included: Sequence[str]) -> set[str]:
    """The directories whose place is known by the selection itself: one that lists files, and those on the way to one
    path."""
    found = {top}
    if len(included) == 1 and not has_wildcards(included[0]) and "!" not in included[0]:
        for word in included[0].split("/"):
            top = f"{top}/{word}".lstrip("/")
            found.add(top)
    return found


def _listed(tree: FileTree, start: TreeNode, wanted: Picked) -> Iterator[tuple[TreeNode, bool]]:
    """The nodes that are selected, each behind the directories that it is in, and whether it is in none of them."""
    included = IgnoreMatcher(wanted.included) if wanted.included else None
    excluded = IgnoreMatcher(wanted.excluded) if wanted.excluded else None
    wild = has_wildcards(wanted.path)
    fits, top = compile_match(wanted.path).fullmatch, "" if wild else start.path
    inner = tree.walk(start.path) if start.type == "dir" else ()
    above: list[_Header] = []
    for node in inner if wild or wanted.path == _ROOT else (start, *inner):
        if wild and not (top and node.path.startswith(top + "/")):
            if not fits("/" + node.path):
                continue
            top = node.path
        while above and not node.path.startswith(above[-1].node.path + "/"):
            above.pop()
        below = above[-1] if above else None
        rel, numbers = node.path[len(top) :].lstrip("/"), below.numbers if below else UNDECIDED
        numbers, stays = judged(rel, numbers, included=included, excluded=excluded)
        if node.type == "dir":
            above.append(_Header(node, numbers))
        for header in above if stays else ():
            if not header.listed:
                header.listed = True
                yield header.node, False
        if stays and node.type != "dir":
            yield node, not above


@dataclass(slots=True)
class _Header:
    """A directory on the way, and the patterns that decided about it."""

    node: TreeNode
    numbers: tuple[int, int]
    listed: bool = False


def _key(path: str) -> bytes:
    return b"\0" + path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")


def content(tree: FileTree, path: str) -> str | None:
    """The digest of a file or directory: of its head and content, of a directory those of all below it. None where
    it holds what is told in another way (devices, extended attributes)."""
    node = tree.resolve(path)
    if node is None:
        return None
    if node.type != "dir":
        return _node(tree, node)
    inside: dict[str, dict[bytes, str]] = {}  # of directories, by their paths, the names with their digests
    below = [inner for inner in tree.walk(node.path) if inner.path != node.path]
    for inner in reversed(below):  # what is in a directory before the directory
        digest = _node(tree, inner)
        if digest is None:
            return None
        if inner.type == "dir":
            digest = _directory(digest, inside.pop(inner.path, {}))
        inside.setdefault(posixpath.dirname(inner.path), {})[_name(inner.path)] = digest
    head = _node(tree, node) if node.path else _EMPTY  # the root has no head
    return _directory(head, inside.pop(node.path, {})) if head is not None else None


def _directory(head: str, names: Mapping[bytes, str]) -> str:
    hashed = hashes.new("sha256")
    hashed.update(b"\0" + head.encode())
    for name in sorted(names):
        hashed.update(b"\0" + name + names[name].encode())
    return "sha256:" + hashed.hexdigest()


def _name(path: str) -> bytes:
    return posixpath.basename(path).encode("utf-8", "surrogateescape")


def _node(tree: FileTree, node: TreeNode) -> str | None:
    kind = _TYPES.get(node.type)
    if kind is None or node.xattrs:
        return None
    mode = 0o777 if node.type == "symlink" else node.mode & 0o7777
    size = node.size if node.type == "file" else 0
    link = node.link if node.type == "symlink" else ""
    head = f"namemode{mode}uid{node.uid}gid{node.gid}size{size}typeflag{kind}linkname{link}unamegname"
    hashed = hashes.new("sha256")
    hashed.update(f"{head}devmajor0devminor0".encode("utf-8", "surrogateescape"))
    if node.type == "file":
        opened = tree.open(node)
        if isinstance(opened, bytes):
            hashed.update(opened)
        else:
            with opened:
                while data := opened.read(_CHUNK):
                    hashed.update(data)
    return "sha256:" + hashed.hexdigest()
