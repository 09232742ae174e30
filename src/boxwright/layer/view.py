"""The merged tree of a stack of layers, read without mounting anything and without privilege.

The rules are overlayfs's: the uppermost name wins, a whiteout hides what lies below, directories merge down to an
opaque one. One thing is better: a directory that a tar only implies takes its attributes from below.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType

from boxwright.errors import Invalid, NotFound
from boxwright.layer.source import Inode, LayerSource, SharedSources, open_content, open_source, read_content
from boxwright.layer.store import Layer
from boxwright.rootfs.paths import TooManyLinks, walk
from boxwright.spec.hints import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Final, Self

    from boxwright.spec.digest import DiffID

    _Parts = list[tuple[int, Any, Inode]]  # what a name means in each layer that counts, uppermost first


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_CACHED = 20_000  # directories
_FEW = 16  # names of a directory that are looked up one by one
_MANY = 8  # layers of which it is worth knowing beforehand which have a name
_NO_XATTRS: Final[Mapping[str, bytes]] = {}


class PathLoop(Invalid):
    """A path leads through too many symbolic links."""


class PathMissing(NotFound):
    """The tree has no such path."""


class ViewNode(NamedTuple):
    """One name in the tree. `path` is relative to the root ('' is the root itself), as in write.Entry."""

    path: str
    type: str  # file, dir, symlink, hardlink never, char, block, fifo, socket
    mode: int  # permission bits
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: str
    device: tuple[int, int]
    xattrs: Mapping[str, bytes]
    links: int  # names that the file has in its layer
    identity: tuple[int, int]  # equal for hard links of one file
    place: Any  # for LayersView


class LayersView:
    """Layers bottom first. Safe to share between threads; `close` (or a `with` block) frees the descriptors."""

    def __init__(self, layers: Sequence[Layer], shared: SharedSources | None = None) -> None:
        """`shared` has sources that other views read too; it is closed after the view."""
        self._sources: list[LayerSource] = []
        self._own: list[LayerSource] = []
        self._names = [layer.diff_id for layer in reversed(layers)]
        self._shared = shared
        self._apart: list[int] | None = None  # layers that have to be asked; None: all
        try:
            for layer in reversed(layers):
                source, kept = shared.open(layer) if shared is not None else (open_source(layer), False)
                self._sources.append(source)
                if not kept:
                    self._own.append(source)
        except BaseException:
            self.close()
            raise
        # A view of no layers is an empty directory.
        empty = (
            -1,
            None,
            Inode(
                mode=stat.S_IFDIR | 0o755,
                uid=0,
                gid=0,
                mtime_ns=0,
                size=0,
                rdev=0,
                links=2,
                identity=0,
                implied=True,
                opaque=False,
                has_xattrs=False,
            ),
        )
        roots = [(n, source.root, source.facts(source.root)) for n, source in enumerate(self._sources)]
        self._dirs: dict[bytes, _Parts] = {b"": _merging(roots) or [empty]}
        self._listings: dict[bytes, dict[bytes, _Parts]] = {}
        self._asked: dict[bytes, dict[bytes, _Parts | None]] = {}  # names that were looked up one by one
        if shared is not None and len(layers) > _MANY:
            self._numbers = {name.hex: number for number, name in enumerate(self._names)}
            if len(self._numbers) == len(self._names):  # a stack may have a layer twice
                self._apart = [n for n, name in enumerate(self._names) if not shared.knows(name)]

    def close(self) -> None:
        """Free the descriptors; the view and streams from it must not be used any more."""
        for source in self._own:
            source.close()
        self._own, self._sources = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    # --- single names ------------------------------------------------------------------------------

    def lstat(self, path: str) -> ViewNode | None:
        """What the path names, its last part not followed, the others followed inside the tree. None when there is
        no such thing. Raises PathLoop."""
        return self.resolve(path, follow_last=False)

    def resolve(self, path: str, *, follow_last: bool = True) -> ViewNode | None:
        """What the path names; `ViewNode.path` is where it really lies. Symbolic links and '..' stay inside the root.
        Raises PathLoop."""
        above, _, name = os.fsencode(path).rpartition(b"/")
        if (parts := self._dirs.get(above)) is not None and name not in (b"", b".", b".."):
            # The directory is known by just this path, so that no link is on the way.
            found = self._lookup(above, parts, name)
            if found is None:
                return None
            if not follow_last or not stat.S_ISLNK(found[0][2].mode):
                return self._node(above + b"/" + name if above else name, found)
        cursor = _Position(self)
        try:
            last, directory = walk(cursor, path, follow_last=follow_last)
            where, parts = cursor.at(last) if last else (cursor.path, cursor.parts)
        except TooManyLinks as error:
            raise PathLoop(f"{path!r} leads through too many symbolic links") from error
        except FileNotFoundError:
            return None
        return None if directory and not parts[0][2].is_dir else self._node(where, parts)

    def read(self, path: str, limit: int = 10 << 20) -> bytes | None:
        """A file's content, links followed; None when the path names no file. More than `limit` bytes raise Invalid."""
        node = self.resolve(path)
        if node is None or node.type != "file":
            return None
        if node.size > limit:
            raise Invalid(f"{path} has {node.size} bytes; at most {limit} are read")
        return self.content(node)

    def open(self, node: ViewNode) -> BinaryIO:
        """A file's content as a stream; close it."""
        number, handle, _ = node.place[0]
        return open_content(self._sources[number], handle, node.size)

    def content(self, node: ViewNode) -> bytes:
        """A file's content, of any size."""
        number, handle, _ = node.place[0]
        return read_content(self._sources[number], handle, node.size) if node.size else b""

    def origin(self, node: ViewNode) -> object:
        """Which file of which layer it is: equal for nodes of any views that show the same one."""
        number, _, facts = node.place[0]
        return self._names[number], facts.identity

    def layer(self, node: ViewNode) -> DiffID:
        """Which layer a node is of."""
        number: int = node.place[0][0]
        return self._names[number]

    # --- directories -------------------------------------------------------------------------------

    def listdir(self, path: str) -> list[str]:
        """Names in a directory (links followed), sorted by their bytes. Raises PathMissing, Invalid."""
        node = self.resolve(path)
        if node is None:
            raise PathMissing(f"{path}: no such file or directory")
        if node.type != "dir":
            raise Invalid(f"{path} is not a directory")
        return [os.fsdecode(name) for name in sorted(self._list(os.fsencode(node.path), node.place))]

    def walk(self, path: str = "") -> Iterator[ViewNode]:
        """The path itself (its last part not followed) and everything below, a directory before what it holds,
        siblings in byte order. Raises PathMissing."""
        node = self.lstat(path)
        if node is None:
            raise PathMissing(f"{path}: no such file or directory")
        todo: list[tuple[bytes, _Parts]] = [(os.fsencode(node.path), node.place)]
        while todo:
            where, parts = todo.pop()
            yield self._node(where, parts)
            if parts[0][2].is_dir:
                prefix = where + b"/" if where else b""
                listing = self._merge(parts)
                todo += [(prefix + name, listing[name]) for name in sorted(listing, reverse=True)]

    def _node(self, path: bytes, parts: _Parts) -> ViewNode:
        number, handle, facts = parts[0]
        mode = facts.mode
        kind = _KINDS.get(mode & 0o170000, "file")
        if facts.implied:
            number, handle, facts = next((part for part in parts if not part[2].implied), parts[0])
            mode = facts.mode
        link, device, xattrs = "", (0, 0), _NO_XATTRS
        if kind == "symlink":
            link = os.fsdecode(self._sources[number].link(handle))
        elif kind == "char" or kind == "block":
            device = os.major(facts.rdev), os.minor(facts.rdev)
        if facts.has_xattrs:
            xattrs = {
                os.fsdecode(name): value for name, value in self._sources[number].xattrs(handle).items()
            }
        return ViewNode(
            os.fsdecode(path),
            kind,
            mode & 0o7777,
            facts.uid,
            facts.gid,
            facts.mtime_ns,
            facts.size if kind == "file" else 0,
            link,
            device,
            xattrs,
            facts.links,
            (number, facts.identity),
            parts,
        )

    def _dir(self, path: bytes) -> _Parts:
        """A directory that was found before."""
        parts = self._dirs.get(path)
        if parts is None:
            above, _, name = path.rpartition(b"/")
            parts = self._lookup(above, self._dir(above), name)
            assert parts is not None
        return parts

    def _lookup(self, above: bytes, parts: _Parts, name: bytes) -> _Parts | None:
        """One name in a directory; None when it is not there, or `parts` are not a directory's."""
        path = above + b"/" + name if above else name
        known = self._dirs.get(path)
        if known is not None:
            return known
        found = self._find(above, parts, name)
        if found is not None and found[0][2].is_dir:
            if len(self._dirs) > _CACHED:
                self._dirs = {b"": self._dirs[b""]}
                self._asked.clear()
            self._dirs[path] = found
        return found

    def _find(self, path: bytes, parts: _Parts, name: bytes) -> _Parts | None:
        """One of the names that `_merge` would find. To list a directory of many layers costs more than a few names."""
        asked = self._asked.setdefault(path, {})
        if name in asked:
            return asked[name]
        if len(asked) >= _FEW or path in self._listings:
            return self._list(path, parts).get(name)
        many = self._apart is not None and len(parts) > _MANY
        having = self._having(path, parts, name) if many else self._children(parts, name)
        found = asked[name] = _meaning(having)
        return found

    def _children(self, parts: _Parts, name: bytes) -> Iterator[tuple[int, Any, Inode]]:
        """What a name in a directory is in each layer that has it, uppermost first."""
        for number, handle, _ in parts:
            if number >= 0 and (child := self._sources[number].child(handle, name)) is not None:
                yield number, child, self._sources[number].facts(child)

    def _having(self, path: bytes, parts: _Parts, name: bytes) -> _Parts:
        """`_children`, of a directory of many layers: only those are asked of which it is not known what they have.

        A layer of few names that has the name has the directory, too, and so is one of `parts` unless one above the
        last of them hides it."""
        from bisect import bisect_left

        assert self._shared is not None and self._apart is not None
        lowest, numbers = parts[-1][0], self._numbers
        having = [
            (number, handle, facts)
            for layer, handle, facts in self._shared.standing(path + b"/" + name if path else name)
            if (number := numbers.get(layer, lowest + 1)) <= lowest
        ]
        asked: _Parts = []
        for number in self._apart:
            at = bisect_left(parts, number, key=_number)
            if at < len(parts) and parts[at][0] == number:
                asked.append(parts[at])
        having += self._children(asked, name)
        having.sort(key=_number)
        return having

    def _list(self, path: bytes, parts: _Parts) -> dict[bytes, _Parts]:
        listing = self._listings.get(path)
        if listing is None:
            if len(self._listings) > 256:
                self._listings.clear()
            listing = self._listings[path] = self._merge(parts)
        return listing

    def _merge(self, parts: _Parts) -> dict[bytes, _Parts]:
        """The names of a directory, each with what it means."""
        out: dict[bytes, _Parts] = {}
        closed: set[bytes] = set()  # names that nothing below can add to
        several = len(parts) > 1
        for number, handle, _ in parts:
            if number < 0:
                continue
            source = self._sources[number]
            facts_of = source.facts
            for name, child in source.children(handle).items():
                if several and name in closed:
                    continue
                facts = facts_of(child)
                if facts.is_dir:
                    out.setdefault(name, []).append((number, child, facts))
                    if facts.opaque:
                        closed.add(name)
                    continue
                if several:
                    closed.add(name)
                if name not in out and not facts.is_whiteout:
                    out[name] = [(number, child, facts)]
        return out


class _Position:
    """A directory of a view, for `rootfs.paths.walk`. What is absent, or no directory on the way, ends the walk with
    FileNotFoundError."""

    def __init__(self, view: LayersView) -> None:
        self._view = view
        self._name, self._found = "", (b"", view._dirs[b""])  # what was asked for last
        self.restart()

    def at(self, name: str) -> tuple[bytes, _Parts]:
        """A name in the directory: its path and what it is."""
        if name != self._name:
            raw = os.fsencode(name)
            found = self._view._lookup(self.path, self.parts, raw)
            if found is None:
                raise FileNotFoundError(name)
            self._name, self._found = name, (self.path + b"/" + raw if self.path else raw, found)
        return self._found

    def link(self, name: str) -> str | None:
        number, handle, facts = self.at(name)[1][0]
        return os.fsdecode(self._view._sources[number].link(handle)) if stat.S_ISLNK(facts.mode) else None

    def down(self, name: str) -> None:
        path, parts = self.at(name)
        if not parts[0][2].is_dir:
            raise FileNotFoundError(name)
        self._move(path, parts)

    def up(self) -> None:
        above = self.path.rpartition(b"/")[0]
        self._move(above, self._view._dir(above))

    def restart(self) -> None:
        self._move(b"", self._view._dirs[b""])

    def _move(self, path: bytes, parts: _Parts) -> None:
        self.path, self.parts, self._name = path, parts, ""


def _number(part: tuple[int, Any, Inode]) -> int:
    return part[0]


def _meaning(having: Iterable[tuple[int, Any, Inode]]) -> _Parts | None:
    """What a name means, by what it is in each layer that has it, uppermost first."""
    out: _Parts = []
    for part in having:
        facts = part[2]
        if not facts.is_dir:
            return out or (None if facts.is_whiteout else [part])
        out.append(part)
        if facts.opaque:
            break
    return out or None


def _merging(parts: _Parts) -> _Parts:
    """Directories, uppermost first, down to the first opaque one."""
    for position, (_, _, facts) in enumerate(parts):
        if facts.opaque:
            return parts[: position + 1]
    return parts
