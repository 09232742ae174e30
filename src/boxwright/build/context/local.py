"""The build context: a directory of the host as COPY sees it.

Nothing is transferred and nothing is opened that no step asks for. Directories are read once, when they
are first needed; contents are known by digest, remembered between builds by `DigestCache`. Paths are always
resolved inside the directory, by descriptor: a link cannot lead out of it, whatever program puts it there.
"""

from __future__ import annotations

import errno
import io
import marshal
import os
import stat
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from boxwright.build.context.cache import DigestCache, any_racy, was_racy
from boxwright.build.context.filetree import TreeNode
from boxwright.build.context.folders import (
    TOLD,
    Folder,
    FolderCache,
    FolderFiles,
    FolderSummary,
    fold,
    folder_of,
)
from boxwright.build.context.looks import KEY, NO_XATTRS, look, stat_key
from boxwright.build.context.node import CHUNK, TYPES, LocalNode, hash_file, read_xattrs, umask_of
from boxwright.build.context.placed import Placed
from boxwright.build.context.tree import SourceSet, resolve_in, select
from boxwright.build.context.watched import WatchedFile
from boxwright.build.dockerfile.ignore import NOTHING, IgnoreMatcher
from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.rootfs.root import Root
from boxwright.spec import hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Self

    from boxwright.build.context.looks import Look

_DEEPEST = 64  # directories held open at once
_TOLD = KEY + TOLD // 2  # where what is told of a digest ends, behind the key
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ContextMissing(NotFound):
    """The context directory does not exist."""


class ContextUnreadable(Invalid):
    """Something in the context cannot be read."""


class ContextChanged(Conflict):
    """A file of the context changed while it was read."""


def _looked_at(folder: int) -> Iterator[tuple[str, Look]]:
    with os.scandir(folder) as listing:
        for entry in listing:
            with suppress(FileNotFoundError):
                yield entry.name, look(entry.stat(follow_symlinks=False))


class _Listing:
    """A directory as it was listed; `packed` until its nodes are made."""

    __slots__ = ("key", "packed", "read_at")

    def __init__(self, packed: bytes, key: bytes, read_at: int) -> None:
        self.packed, self.key, self.read_at = packed, key, read_at


class LocalContext:
    """A directory, less what `ignore` leaves out. Safe to use from several threads; a context manager.

    `cache` is the directory of digest caches (ROOT/cache/context). `umask` is that of the checkout, see
    `umask_of`; None reads it off the directory's own mode. `keep_modes`: permissions are taken as they are.
    Raises ContextMissing.
    """

    def __init__(
        self,
        root: Path,
        ignore: IgnoreMatcher | None = None,
        cache: Path | None = None,
        *,
        umask: int | None = None,
        keep_modes: bool = False,
    ) -> None:
        self.root = root
        self.ignore = ignore or None
        try:
            self._root = Root.at(root)
            status = os.fstat(self._root.fd)
        except OSError as error:
            raise ContextMissing(
                f"unable to prepare context: path {str(root)!r}: {error.strerror}"
            ) from error
        mask = umask_of(status.st_mode, directory=True) if umask is None else umask
        kept: dict[int, int] = {}
        self.modes = dict.fromkeys(TYPES.values(), kept)
        if not keep_modes:
            self.modes["file"] = {0o666 & ~mask: 0o644, 0o777 & ~mask: 0o755}
            self.modes["dir"] = {0o777 & ~mask: 0o755}
        self._lock = threading.RLock()
        self._folders: dict[str, dict[str, LocalNode]] = {}
        self._listings: dict[str, _Listing] = {}
        self._known: dict[str, Folder | None] = {}
        self._files: dict[str, FolderFiles] = {}
        self._top = LocalNode(tree=self, path="", kind="dir", noted=look(status))
        self._opened = [("", self._root.fd)]  # from the top to the directory that was used last
        name = hashes.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
        self._cache = DigestCache(cache / name if cache else None)
        rules = repr((ignore and (ignore.patterns, ignore.exceptions), self.modes)).encode(
            "utf-8", "surrogateescape"
        )
        view = f"{name}-{hashes.quick(rules).hex()[:16]}"
        self._folder_cache = FolderCache(cache / view if cache else None)
        self._placed = Placed(cache / f"{view}-placed" if cache else None)

    def entries(self, pattern: str, *, exclude: Iterable[str] = (), parents: bool = False) -> SourceSet:
        """What a source word of COPY means here. Raises SourceMissing, PatternInvalid, ContextUnreadable."""
        with self._lock:
            return select(self, pattern, exclude=exclude, parents=parents)

    def explain_missing(self, path: str) -> str:
        """A hint when the ignore rules hide what is looked for."""
        if self.ignore and self.ignore.excluded(path or "."):
            return "it is excluded by .dockerignore"
        return ""

    # FileTree

    def lstat(self, path: str) -> LocalNode | None:
        if not path:
            return self._top
        parent, _, name = path.rpartition("/")
        with self._lock:
            above = self.lstat(parent)
            if above is None or above.type != "dir":
                return None
            node = self._folder(above).get(name)
            return node if node is not None and self._visible(node) else None

    def resolve(self, path: str, *, follow_last: bool = True) -> TreeNode | None:
        return resolve_in(self, path, follow_last=follow_last)

    def listdir(self, path: str) -> Sequence[str]:
        with self._lock:
            node = self.lstat(path)
            if node is None or node.type != "dir":
                return ()
            return [name for name, child in self._folder(node).items() if self._visible(child)]

    def walk(self, path: str) -> Iterator[LocalNode]:
        top = self.lstat(path)
        if top is None or top.type != "dir":
            return
        stack = [iter(self._folder(top).values())]
        while stack:
            for node in stack[-1]:
                if node.hidden and not self._visible(node):
                    continue
                yield node
                if node.type == "dir":
                    stack.append(iter(self._folder(node).values()))
                    break
            else:
                stack.pop()

    def open(self, node: TreeNode) -> BinaryIO | bytes:
        """The content of a file, which is still the one that was listed (and hashed); of a large one that is known
        when the stream is closed, which raises ContextChanged. The digest of a small file whose content was not known
        yet is known afterwards.

        Raises ContextChanged, ContextUnreadable.
        """
        assert isinstance(node, LocalNode)
        if not node.size and node.is_known:
            return b""
        if node.size >= CHUNK:
            with self._lock:
                return io.BufferedReader(WatchedFile(self._open(node), node, self._changed(node.path)))
        read_at, key, known = time.time_ns(), node.key, node.is_known
        data, xattrs = self._small(node, key, attributes=not known)
        if not known:
            digest = hashes.sha256(data).digest()
            with self._lock:
                self._cache.put(node.path, key=key, digest=digest, xattrs=xattrs, read_at=read_at)
                node.learn(digest, xattrs)
        # A change in the very tick in which the file was hashed would not show in its status.
        elif was_racy(key, read_at) and hashes.sha256(data).hexdigest() != node.content:
            raise self._changed(node.path)
        return data

    def _small(self, node: LocalNode, key: bytes, *, attributes: bool) -> tuple[bytes, Mapping[str, bytes]]:
        """The content of a small file that was listed with this `stat_key`, and its extended attributes if they are
        wanted. One look at its status suffices: a file that is the same after it was read as when it was listed was
        the same in between."""
        parent, _, name = node.path.rpartition("/")
        with self._lock:
            try:
                fd = os.open(name, _FILE_FLAGS, dir_fd=self._folder_fd(parent))
            except OSError as error:
                raise self._unreadable(node.path, error) from error
        try:
            data = os.read(fd, node.size + 1)
            status = os.fstat(fd)
            xattrs = read_xattrs(fd, "") if attributes else NO_XATTRS
        except OSError as error:
            if stat_key(os.fstat(fd)) != key:
                raise self._changed(node.path) from error
            raise self._unreadable(node.path, error) from error
        finally:
            os.close(fd)
        if stat_key(status) != key or len(data) != node.size:
            raise self._changed(node.path)
        return data, xattrs

    def digest(self, node: TreeNode) -> str:
        assert isinstance(node, LocalNode)
        if not node.is_known and node.type == "file":
            self.know(node)
        return node.content

    def fingerprint(self, node: TreeNode) -> str:
        assert isinstance(node, LocalNode)
        xattrs = node._xattrs
        if xattrs is None:
            self.know(node)
            xattrs = node.xattrs
        kind = node.type
        if kind == "file" and not xattrs:
            return f"file\0{node.mode:o}\x000:0\0{node.content}"
        content = node.content if kind == "file" else node.link
        if kind in ("char", "block"):
            content = f"{node.device[0]}:{node.device[1]}"
        extra = (
            "".join(f"\0{name}={value.hex()}" for name, value in node.xattrs.items()) if node.xattrs else ""
        )
        return f"{kind}\0{node.mode:o}\x000:0\0{content}{extra}"

    # All below a directory at once

    def walk_folders(self, path: str) -> Iterator[LocalNode | FolderFiles]:
        """As `walk` below a directory that was summed up, in another order; the regular files of a directory come as
        one where all are plain."""
        top = self.lstat(path)
        todo = [top] if top is not None and top.type == "dir" else []
        while todo:
            top = todo.pop()
            nodes: Iterable[LocalNode] = ()
            with self._lock:
                known = self._known.get(top.path)
                if (
                    known is None
                    or known.below
                    or (files := self._plain(top, known)) is None
                    or len(files.modes) != known.files  # there are links and the like beside them
                ):
                    nodes = [node for node in self._folder(top).values() if self._visible(node)]
                    files = self._plain(top, known) if known is not None else None
            if files is not None:
                yield files._replace(
                    breaks=tuple(n.path.rpartition("/")[2] for n in nodes if n.type != "file")
                )
            for node in nodes:
                if node.type == "dir":
                    yield node
                    todo.append(node)
                elif files is None or node.type != "file":
                    yield node

    def folder(self, path: str) -> Folder | None:
        """What is known of a directory's own files; None when nothing is, or they were not summed up."""
        with self._lock:
            return self._known.get(path)

    def find_placed(self, key: bytes) -> tuple[str, int, int] | None:
        """Where a run of files stands in a layer (`placed`)."""
        with self._lock:
            return self._placed.find(key)

    def note_placed(self, layer: str, runs: Iterable[tuple[bytes, int, int]]) -> None:
        """Keep where runs of files stand in a layer: their keys, offsets and lengths."""
        with self._lock:
            for key, offset, length in runs:
                self._placed.put(key=key, layer=layer, offset=offset, length=length)

    def files_of(self, path: str) -> Iterator[LocalNode]:
        """The regular files of one directory, one by one."""
        for node in self._folder(self._node(path)).values():
            if node.type == "file":
                yield node

    def _plain(self, folder: LocalNode, known: Folder) -> FolderFiles | None:
        """The files of a known directory; None when `FolderFiles` cannot say all of them (links, attributes)."""
        found = self._files.get(folder.path)
        if found is None and (found := self._plain_files(folder, known)) is not None:
            self._files[folder.path] = found
        return found

    def _plain_files(self, folder: LocalNode, known: Folder) -> FolderFiles | None:
        if known.links or not known.files:
            return None
        nodes, modes, others = self._folders.get(folder.path), self.modes["file"], 0
        if nodes is not None:
            own = [(name, node) for name, node in nodes.items() if node.type == "file"]
            others = sum(node.type not in ("file", "dir") for node in nodes.values())
            if not own or any(node._xattrs or not node.is_known for _, node in own):
                return None
            names = [name for name, _ in own]
            permissions = [node.mode for _, node in own]
            sizes = [node.size for _, node in own]
            digests: bytes | None = b"".join([node.noted[KEY:_TOLD] for _, node in own])
        else:
            listed = marshal.loads(self._listing(folder.path).packed)
            kinds = {stat.S_IFMT(mode) for mode in {noted[0] for _, noted in listed}}
            if stat.S_IFDIR in kinds:
                listed = [one for one in listed if not stat.S_ISDIR(one[1][0])]
            if self.ignore is not None:
                ignore, prefix, above = self.ignore, f"{folder.path}/" if folder.path else "", folder.carry
                listed = [one for one in listed if not ignore.excludes(ignore.decide(prefix + one[0], above))]
            if not kinds <= {stat.S_IFDIR, stat.S_IFREG} and not all(
                stat.S_ISREG(noted[0]) for _, noted in listed
            ):
                return None
            names = [name for name, _ in listed]
            digests = self._cache.recall_plain(folder.path, names, count=TOLD // 2)
            seen = {noted[0] & 0o7777 for _, noted in listed}
            placed = {mode: modes.get(mode, mode) for mode in seen}
            permissions = [placed[noted[0] & 0o7777] for _, noted in listed]
            sizes = [noted[4] for _, noted in listed]
        if digests is None or len(names) + others != known.files or sum(sizes) != known.size:
            return None
        return FolderFiles(
            path=folder.path,
            own=known.own,
            joined="\0".join(names),
            modes=array("H", permissions),
            sizes=array("q", sizes),
            digests=digests,
        )

    def bytes_below(self, path: str) -> int:
        """How many bytes the files have. Raises ContextUnreadable."""
        with self._lock:
            return sum(
                folder.size if folder else sum(n.size for n in self._folder(self._node(at)).values())
                for at, folder in self._survey(path)
            )

    def summary(self, path: str) -> FolderSummary:
        """What a copy takes of all that is visible. Reads what is not known of files that changed."""
        with self._lock:
            return fold(path, [(at, folder or self._learned(at)) for at, folder in self._survey(path)])

    def _survey(self, path: str) -> list[tuple[str, Folder | None]]:
        """Every directory, parents first, and what is known of it because its listing is the one of an earlier
        build."""
        found: list[tuple[str, Folder | None]] = []
        todo = [path]
        while todo:
            at = todo.pop()
            folder = self._recalled(at)
            found.append((at, folder))
            prefix = f"{at}/" if at else ""
            if folder is not None:
                below = [prefix + name for name, _, _ in folder.below]
            else:
                below = [n.path for n in self._folder(self._node(at)).values() if n.type == "dir"]
            todo += reversed(below)
        return found

    def _recalled(self, path: str) -> Folder | None:
        if path not in self._known:
            folder = self._known[path] = self._folder_cache.recall(path, self._listing(path).key)
            if folder is not None:
                self._cache.keep(path)
        return self._known[path]

    def _learned(self, path: str) -> Folder:
        nodes = self._folder(self._node(path))
        folder = self._known[path] = folder_of(nodes.items(), self.fingerprint)
        listing = self._listing(path)
        if not any_racy([node.key for node in nodes.values()], listing.read_at):
            self._folder_cache.put(path, listing.key, folder)
        return folder

    # Reading

    def know(self, node: LocalNode) -> None:
        """Find out the digest of a file's content and the extended attributes of anything; read at most once."""
        with self._lock:
            if node.type == "file":
                if not self._cache.recall(node):
                    self._read(node)
            else:
                node._xattrs = self._attributes(node)

    def save(self) -> None:
        """Keep the digests for the next build."""
        with self._lock:
            self._cache.save()
            self._folder_cache.save()
            self._placed.save()

    def close(self) -> None:
        """Save, and let go of the directory. Idempotent."""
        with self._lock:
            self._folders.clear()  # before the caches are written, which takes the room of theirs twice
            self._listings.clear()
            self._files.clear()
            self.save()
            while len(self._opened) > 1:
                os.close(self._opened.pop()[1])
            self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _folder(self, node: LocalNode) -> dict[str, LocalNode]:
        """What is in a directory, sorted by name, less what is ignored."""
        found = self._folders.get(node.path)
        if found is None:
            with self._lock:
                found = self._folders[node.path] = self._scan(node)
        return found

    def _node(self, path: str) -> LocalNode:
        """What is at a path that was listed, visible or not."""
        if not path:
            return self._top
        parent, _, name = path.rpartition("/")
        return self._folder(self._node(parent))[name]

    def _listing(self, path: str) -> _Listing:
        """What is in a directory and what its status is, looked at once."""
        found = self._listings.get(path)
        if found is None:
            read_at = time.time_ns()
            fd = self._folder_fd(path)
            try:
                try:
                    with os.scandir(fd) as listing:
                        seen = [(entry.name, look(entry.stat(follow_symlinks=False))) for entry in listing]
                except FileNotFoundError:  # something was removed since it was listed
                    seen = list(_looked_at(fd))
            except OSError as error:
                raise self._unreadable(path, error) from error
            seen.sort()
            packed = marshal.dumps(seen, 2)  # 2: what is equal has equal bytes
            found = self._listings[path] = _Listing(packed, hashes.quick(packed), read_at)
        return found

    def _scan(self, folder: LocalNode) -> dict[str, LocalNode]:
        prefix = f"{folder.path}/" if folder.path else ""
        ignore, above, types, recall = self.ignore, folder.carry, TYPES, self._cache.recall
        carry, hidden = NOTHING, False
        found: dict[str, LocalNode] = {}
        listing = self._listing(folder.path)
        if folder._xattrs is None:
            folder._xattrs = read_xattrs(self._folder_fd(folder.path), "")
        for name, noted in marshal.loads(listing.packed):
            path = prefix + name
            kind = types.get(noted[0] & 0o170000)
            if kind is None:
                continue
            if ignore is not None:
                carry = ignore.decide(path, above)
                hidden = ignore.excludes(carry)
                if hidden and not (kind == "dir" and ignore.may_include_below(path, carry)):
                    continue
            node = found[name] = LocalNode(
                tree=self, path=path, kind=kind, noted=noted, hidden=hidden, carry=carry
            )
            if kind == "file":
                if not node.is_known:  # here rather than in `know`: most were known before
                    recall(node)
            elif kind != "dir":
                self._look_closer(node, name, self._folder_fd(folder.path))
        listing.packed = b""
        return found

    def _look_closer(self, node: LocalNode, name: str, folder: int) -> None:
        """Where a link leads, which device it is: what no listing says."""
        try:
            if node.type == "symlink":
                node.link = os.readlink(name, dir_fd=folder)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise self._unreadable(node.path, error) from error
        if stat_key(status) != node.key:
            raise self._changed(node.path)
        if node.type != "symlink":
            node.device = os.major(status.st_rdev), os.minor(status.st_rdev)

    def _visible(self, node: LocalNode) -> bool:
        """Whether the node is part of the context: not ignored, or on the way to something that is not."""
        if not node.hidden:
            return True
        return node.type == "dir" and any(self._visible(child) for child in self._folder(node).values())

    def _folder_fd(self, path: str) -> int:
        """A descriptor of a directory, opened from its parent's without following links. It and those above
        it stay open until a directory elsewhere is asked for."""
        opened = self._opened
        while opened[-1][0] and opened[-1][0] != path and not path.startswith(opened[-1][0] + "/"):
            os.close(opened.pop()[1])
        above, fd = opened[-1]
        if above == path:
            return fd
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            if path.count("/") >= _DEEPEST:
                fd = self._root.open(path, flags)
                opened.append((path, fd))
                return fd
            for name in path[len(above) + 1 if above else 0 :].split("/"):
                fd = os.open(name, flags, dir_fd=fd)
                above = f"{above}/{name}" if above else name
                opened.append((above, fd))
        except OSError as error:
            raise self._unreadable(path, error) from error
        return fd

    def _open(self, node: LocalNode) -> int:
        parent, _, name = node.path.rpartition("/")
        try:
            fd = os.open(
                name,
                _FILE_FLAGS,
                dir_fd=self._folder_fd(parent),
            )
        except OSError as error:
            raise self._unreadable(node.path, error) from error
        if stat_key(os.fstat(fd)) != node.key:
            os.close(fd)
            raise self._changed(node.path)
        return fd

    def _attributes(self, node: LocalNode) -> Mapping[str, bytes]:
        if node.type == "symlink":
            return NO_XATTRS
        if node.type == "dir":
            return read_xattrs(self._folder_fd(node.path), "")
        parent, _, name = node.path.rpartition("/")
        return read_xattrs(self._folder_fd(parent), name)

    def _read(self, node: LocalNode) -> None:
        read_at = time.time_ns()
        xattrs = self._attributes(node)
        fd = self._open(node)
        try:
            digest = bytes.fromhex(hash_file(fd, node.size))
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if stat_key(status) != node.key:
            raise self._changed(node.path)
        self._cache.put(node.path, key=node.key, digest=digest, xattrs=xattrs, read_at=read_at)
        node.learn(digest, xattrs)

    def _unreadable(self, path: str, error: OSError) -> Invalid | Conflict:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR) and path:
            return self._changed(path)
        return ContextUnreadable(
            f"cannot read {path or '.'!r} of the build context {str(self.root)!r}: {error.strerror}",
            hint="if the build does not need it, name it in .dockerignore",
        )

    def _changed(self, path: str) -> ContextChanged:
        return ContextChanged(
            f"{path!r} of the build context changed while it was read",
            hint="build again when nothing writes to it",
        )
