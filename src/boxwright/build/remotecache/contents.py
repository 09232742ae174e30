"""BuildKit's names of files by their content: heads, contents and names of all below, times left out. The files are
read."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from boxwright.build.dockerfile.globs import compile_match, has_wildcards
from boxwright.spec import hashes
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.context.filetree import FileTree, TreeNode

_CHUNK = 1 << 20
_TYPES = {"file": "0", "dir": "5", "symlink": "2"}
_EMPTY = "sha256:" + hashes.sha256(b"").hexdigest()


def selected(tree: FileTree, paths: Sequence[str]) -> tuple[str, ...]:
    """The digests under which BuildKit may know what these absolute, clean paths and patterns select together. With a
    pattern there are two: up to BuildKit 0.25 a match was known by its last name alone, later by its path. Empty when
    something selected has no digest here."""
    patterns = {path: _matching(tree, path) for path in paths if has_wildcards(path)}
    plain = {path: content(tree, path[1:]) for path in _outermost([p for p in paths if p not in patterns])}
    found = []
    for old in (False, True) if patterns else (False,):
        digests = []
        for path in sorted([*plain, *(path for path in paths if path in patterns)]):
            matches = patterns.get(path)
            digests.append(plain[path] if path in plain else matches and matches.digest(old))
        if all(digests):
            found.append("sha256:" + hashes.sha256("\0".join(map(str, digests)).encode()).hexdigest())
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
    """What a pattern matches, with all below it: paths from where the pattern begins, and digests. `flat`: there is no
    directory among it."""

    pattern: str
    found: tuple[tuple[str, str], ...]
    flat: bool

    def digest(self, old: bool) -> str | None:
        if not self.found:
            return _EMPTY
        first, digest = self.found[0]
        if len(self.found) == 1 and posixpath.basename(first) == posixpath.basename(self.pattern):
            return digest
        if old and not self.flat:
            return None
        if old:
            raw = b"\0".join(_name(path) + digest.encode() for path, digest in self.found)
        else:
            raw = b"".join(_key(path) + digest.encode() for path, digest in self.found)
        return "sha256:" + hashes.sha256(raw).hexdigest()


def _matching(tree: FileTree, pattern: str) -> _Matches | None:
    """None where the pattern goes by way of a link, and where it selects what is told in another way."""
    words = pattern.strip("/").split("/")
    prefix = "/".join(words[: next(at for at, word in enumerate(words) if has_wildcards(word))])
    start = tree.resolve(prefix)
    if start is None or start.type != "dir":
        return _Matches(pattern, (), True)
    if start.path != prefix:
        return None
    found, flat, match, fits = list[tuple[str, str]](), True, "", compile_match(pattern).fullmatch
    for node in tree.walk(prefix):
        if not match or not node.path.startswith(match + "/"):
            if not fits("/" + node.path):
                continue
            match = node.path
        followed = node.type == "symlink" and match == node.path
        digest = content(tree, node.path) if followed else _node(tree, node)
        if digest is None:
            return None
        flat = flat and node.type != "dir"
        found.append((node.path[len(prefix) :].lstrip("/"), digest))
    return _Matches(pattern, tuple(found), flat)


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
