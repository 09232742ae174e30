"""The destination side of COPY, ADD and WORKDIR: a layer is planned as entries over the parent's tree, then its tar is
written in one go. No file is created; the parent is only looked at."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Mapping
from functools import partial

from boxwright.build.graph import Outcome
from boxwright.build.ops.context import StepContext
from boxwright.errors import Invalid
from boxwright.layer.entry import FileAttributes
from boxwright.layer.writer import LayerWriter
from boxwright.rootfs.paths import TooManyLinks, real
from boxwright.spec.hints import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from boxwright.layer.tree import PlainFiles
    from boxwright.layer.write import TarBuilder

_MAX_LINKS = 255  # as BuildKit's
_CHUNK = 1 << 20


class CopyRefused(Invalid):
    """What is to be copied does not fit what is at the destination."""


class NotDirectory(CopyRefused):
    """Something that is no directory is where one has to be; `path` is absolute."""

    def __init__(self, path: str) -> None:
        super().__init__(f"cannot copy to non-directory: {path}")
        self.path = path


class Parent(Protocol):
    """The tree below: `viewtree.ViewTree`."""

    def lstat(self, path: str) -> FileAttributes | None: ...
    def open(self, node: Any) -> BinaryIO | bytes: ...
    def digest(self, node: Any) -> str: ...
    def origin(self, node: Any) -> object: ...


class Content(Protocol):
    """Where the bytes of a planned file come from."""

    def open(self) -> BinaryIO | bytes:
        """A stream, or all of it. Called once, when the entry is written."""
        ...

    def xattrs(self) -> Mapping[str, bytes]:
        """The file's extended attributes."""
        ...

    def origin(self) -> object:
        """Files of equal origin are one file of one layer; None: it is not known."""
        ...

    def digest(self) -> str:
        """The sha256 of the bytes, in hex."""
        ...


class Planned(NamedTuple):
    """An entry of the layer to be. `identity`: entries with the same one are names of one file. A file with
    content has its `xattrs` from there. `dated`: the time is the file's own, and no mere stamp of the layer."""

    type: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = {}
    content: Content | None = None
    identity: object = None
    dated: bool = False


class Range(NamedTuple):
    """Plain files of one directory (`layer.tree.PlainFiles`, held compactly) as they stand in the tar of a layer, whose
    descriptor is `source`."""

    source: int
    offset: int
    directory: bytes
    names: bytes  # a NUL between them
    modes: array[int]
    sizes: array[int]
    uid: int
    gid: int
    mtime: int

    def files(self) -> PlainFiles:
        """The same, to be written."""
        from boxwright.layer.tree import PlainFiles

        return PlainFiles(
            directory=self.directory,
            names=self.names.split(b"\0"),
            modes=self.modes,
            sizes=self.sizes,
            uid=self.uid,
            gid=self.gid,
            mtime=self.mtime,
        )


class WrittenRun(NamedTuple):
    """Where files of one directory that follow each other stand in the tar."""

    directory: str
    first: str
    files: int
    offset: int
    length: int


class LayerBuilder:
    """Plans a layer over `parent` (None: over nothing). `mtime` in nanoseconds is given to what it makes itself.

    Paths are relative to the root, without a leading slash; '' is the root.
    """

    def __init__(self, parent: Parent | None, mtime: int) -> None:
        self.mtime = mtime
        self._parent = parent
        self._entries: dict[str, Planned] = {}
        self._fresh: set[str] = set() if parent is not None else {""}
        self._ranges: dict[str, Range] = {}
        self.runs: list[WrittenRun] = []  # when it is written

    # --- looking -------------------------------------------------------------------------------

    def lookup(self, path: str) -> FileAttributes | Planned | None:
        """What is at a path now: planned, or below."""
        planned = self._entries.get(path)
        return planned if planned is not None else self._below(path)

    def _below(self, path: str) -> FileAttributes | None:
        directory = path.rpartition("/")[0]
        if self._parent is None or directory in self._fresh:
            return None
        return self._parent.lstat(path)

    def real(self, path: str, *, follow_last: bool = True, top: str = "") -> str:
        """The path with symbolic links resolved inside the root; what does not exist stays as written.

        `top`, a real path, takes the root's place: `path` is below it, and so is whatever a link leads to. Raises
        CopyRefused for a circle.
        """
        prefix = f"{top}/" if top else ""

        def link(path: str) -> str | None:
            found = self.lookup(prefix + path)
            return found.link if found is not None and found.type == "symlink" else None

        try:
            below = real(path, link, follow_last=follow_last, most=_MAX_LINKS)
        except TooManyLinks as error:
            raise CopyRefused(f"too many levels of symbolic links in /{path}") from error
        return prefix + below if below else top

    # --- planning ------------------------------------------------------------------------------

    def make_directory(
        self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0, *, top: str = ""
    ) -> str:
        """The directory at `path` and its missing parents, links followed as `real` does; existing ones stay as they
        are. Returns where it really is. Raises CopyRefused when something else is in the way."""
        real = self.real(path, top=top)
        parts = real.split("/") if real else []
        for count in range(1, len(parts) + 1):
            here = "/".join(parts[:count])
            found = self.lookup(here)
            if found is None:
                self._new_directory(
                    here, Planned(type="dir", mode=mode, uid=uid, gid=gid, mtime_ns=self.mtime)
                )
            elif found.type != "dir":
                raise NotDirectory(f"/{here}")
        return real

    def _new_directory(self, path: str, entry: Planned) -> None:
        self._entries[path] = entry
        self._fresh.add(path)

    def directory(self, path: str, entry: Planned) -> None:
        """A directory with just these attributes, over one that may exist."""
        parent = path.rpartition("/")[0]
        found = None if parent in self._fresh and path not in self._entries else self.lookup(path)
        if found is None:
            self._new_directory(path, entry)
            return
        if found.type != "dir":
            raise NotDirectory(f"/{path}")
        self._entries[path] = entry

    def other(self, path: str, entry: Planned) -> None:
        """Anything but a directory; replaces anything but a directory."""
        if path in self._entries or path.rpartition("/")[0] not in self._fresh:
            found = self.lookup(path)
            if found is not None and found.type == "dir":
                raise CopyRefused(f"cannot replace to directory /{path} with file")
        self._entries[path] = entry

    def replace(self, path: str, entry: Planned) -> None:
        """Anything over anything, as unpacking an archive does."""
        found = self.lookup(path)
        if found is not None and found.type == "dir" and entry.type == "dir":
            self._entries[path] = entry
            return
        if found is not None and found.type == "dir":
            prefix = path + "/"
            for inside in [p for p in self._entries if p.startswith(prefix)]:
                del self._entries[inside]
                self._fresh.discard(inside)
            self._fresh.discard(path)
        if entry.type == "dir":
            self._new_directory(path, entry)
        else:
            self._entries[path] = entry

    def linkable(self, path: str) -> Planned | None:
        """What is at exactly this path, ready to be planned for another name of the same file; a file of the parent's
        becomes one of this layer's. None for a directory, and when there is nothing."""
        found = self.lookup(path)
        if found is None or found.type == "dir":
            return None
        if not isinstance(found, Planned):
            assert self._parent is not None
            content = _Below(self._parent, found) if found.type == "file" else None
            found = Planned(
                type=found.type,
                mode=found.mode & 0o7777,
                uid=found.uid,
                gid=found.gid,
                mtime_ns=found.mtime_ns,
                size=found.size if content else 0,
                link=found.link,
                device=found.device,
                xattrs=found.xattrs,
                content=content,
                dated=True,
            )
        if found.type == "file" and found.identity is None:
            found = found._replace(identity=("linked", path))
        self._entries[path] = found
        return found

    def is_new(self, path: str) -> bool:
        """Whether there is a directory that this layer makes: below it is only what was planned."""
        return path in self._fresh

    def take(self, first: str, taken: Range) -> None:
        """Files of a new directory, `first` and those behind it, as they stand in another layer. Nothing else may be
        planned in between."""
        self._ranges[first] = taken

    # --- writing -------------------------------------------------------------------------------

    def write(self, ctx: StepContext) -> Outcome:
        """Write the layer and publish it. Raises DiskFull, Cancelled, EntryInvalid."""
        from boxwright.layer.write import TarBuilder

        self._leave_unchanged(ctx)
        self._add_parents()
        with LayerWriter(ctx.services.layers, read_again=True) as writer:
            builder = TarBuilder(writer)
            first: dict[object, str] = {}
            runs = _Runs(builder)
            for count, path in enumerate(sorted([*self._entries, *self._ranges], key=_order)):
                if not count & 255:
                    ctx.check()
                if path in self._ranges:
                    taken = self._ranges.pop(path)
                    runs.add(path, len(taken.sizes))
                    builder.put_files(partial(writer.append_range, taken.source, taken.offset), taken.files())
                    continue
                entry = self._entries.pop(path)
                if entry.type == "file":
                    runs.add(path)
                else:
                    runs.over()
                self._put(builder=builder, path=path, entry=entry, first=first)
            runs.over()
            self.runs = runs.found
            builder.finish()
            layer = ctx.keep(writer.commit)
        return Outcome((layer.diff_id,), layer.bytes)

    def _leave_unchanged(self, ctx: StepContext) -> None:
        """Drop what the parent has just so: a layer is a difference. Names of one file stay or go together."""
        if self._parent is None:
            return
        below: dict[str, FileAttributes] = {}
        names: dict[object, list[str]] = {}
        for count, (path, entry) in enumerate(self._entries.items()):
            if not count & 255:
                ctx.check()
            if entry.identity is not None:
                names.setdefault(entry.identity, []).append(path)
            found = self._below(path)
            if found is not None and _same(entry, found, self._parent):
                below[path] = found
        for path, found in list(below.items()):
            identity = self._entries[path].identity
            group = names[identity] if identity is not None else [path]
            linked = {below[name].identity if name in below else path for name in group}
            if linked != {found.identity} or (len(group) == 1) != (found.identity is None):
                continue
            del self._entries[path]

    def _add_parents(self) -> None:
        """Existing directories on the way are told with their own attributes: the topmost layer's count."""
        missing: set[str] = set()
        for path in self._entries:
            parent = path.rpartition("/")[0]
            while parent and parent not in self._entries and parent not in missing:
                missing.add(parent)
                parent = parent.rpartition("/")[0]
        for path in missing:
            found = self._below(path)
            if found is None:
                self._entries[path] = Planned(type="dir", mode=0o755, uid=0, gid=0, mtime_ns=self.mtime)
            else:
                self._entries[path] = Planned(
                    type="dir",
                    mode=found.mode & 0o7777,
                    uid=found.uid,
                    gid=found.gid,
                    mtime_ns=found.mtime_ns,
                    xattrs=found.xattrs,
                )

    @staticmethod
    def _put(builder: TarBuilder, path: str, entry: Planned, first: dict[object, str]) -> None:
        name = os.fsencode(path)
        if entry.type == "file":
            if entry.identity is not None and first.setdefault(entry.identity, path) != path:
                known = os.fsencode(first[entry.identity])
                builder.put(
                    name,
                    "hardlink",
                    mode=entry.mode,
                    uid=entry.uid,
                    gid=entry.gid,
                    mtime=entry.mtime_ns,
                    size=0,
                    link=known,
                )
                return
            if entry.size:
                LayerBuilder._put_file(builder=builder, path=path, name=name, entry=entry)
                return
        builder.put(
            name,
            entry.type,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            mtime=entry.mtime_ns,
            size=0,
            link=os.fsencode(entry.link),
            device=entry.device,
            xattrs={os.fsencode(k): v for k, v in entry.xattrs.items()} if entry.xattrs else None,
        )

    @staticmethod
    def _put_file(builder: TarBuilder, path: str, name: bytes, entry: Planned) -> None:
        assert entry.content is not None
        content = entry.content.open()
        if not isinstance(content, bytes):
            from boxwright.layer.write import Entry

            with content:
                builder.add(
                    Entry(
                        path=path,
                        type="file",
                        mode=entry.mode,
                        uid=entry.uid,
                        gid=entry.gid,
                        mtime_ns=entry.mtime_ns,
                        size=entry.size,
                        xattrs=entry.content.xattrs(),
                    ),
                    content,
                )
            return
        if len(content) != entry.size:
            raise CopyRefused(
                f"/{path} changed while it was copied: it has {len(content)} bytes, not {entry.size}"
            )
        found = entry.content.xattrs()
        xattrs = {os.fsencode(k): v for k, v in found.items()} if found else None
        builder.put(
            name,
            "file",
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            mtime=entry.mtime_ns,
            size=entry.size,
            xattrs=xattrs,
        )
        builder.content_bytes(content)


class _Runs:
    """Finds the runs of what is written."""

    def __init__(self, builder: TarBuilder) -> None:
        self._builder = builder
        self.found: list[WrittenRun] = []
        self._directory: str | None = None
        self._first, self._count, self._offset = "", 0, 0

    def add(self, path: str, count: int = 1) -> None:
        """Files are next: this one and those behind it."""
        directory, _, name = path.rpartition("/")
        if directory != self._directory:
            self.over()
            self._directory, self._first, self._count = directory, name, 0
            self._offset = self._builder.offset
        self._count += count

    def over(self) -> None:
        """Something else is next."""
        if self._directory is not None:
            length = self._builder.offset - self._offset
            self.found.append(
                WrittenRun(
                    directory=self._directory,
                    first=self._first,
                    files=self._count,
                    offset=self._offset,
                    length=length,
                )
            )
            self._directory = None


class _Below(NamedTuple):
    """A file's content in the parent's tree."""

    parent: Parent
    node: FileAttributes

    def open(self) -> BinaryIO | bytes:
        return self.parent.open(self.node)

    def xattrs(self) -> Mapping[str, bytes]:
        return self.node.xattrs

    def origin(self) -> object:
        return self.parent.origin(self.node)

    def digest(self) -> str:
        return self.parent.digest(self.node)


class Inline(NamedTuple):
    """Content that is at hand."""

    data: bytes

    def open(self) -> BinaryIO | bytes:
        return self.data

    def xattrs(self) -> Mapping[str, bytes]:
        return {}

    def origin(self) -> object:
        return None

    def digest(self) -> str:
        return hashed(self.data)


def hashed(content: BinaryIO | bytes) -> str:
    """The sha256 of content, in hex; a stream is closed."""
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _same(entry: Planned, found: FileAttributes, parent: Parent) -> bool:
    """Whether the parent's entry is the planned one, as a difference of two trees sees it."""
    if (entry.type, entry.mode, entry.uid, entry.gid) != (found.type, found.mode, found.uid, found.gid):
        return False
    if entry.dated and entry.mtime_ns != found.mtime_ns:
        return False
    if entry.type == "file":
        if entry.size != found.size:
            return False
        content = entry.content
        if content is None:
            return entry.xattrs == found.xattrs
        if content.xattrs() != found.xattrs:
            return False
        origin = content.origin()
        return (
            (origin is not None and origin == parent.origin(found))
            or not entry.size
            or content.digest() == parent.digest(found)
        )
    return (entry.link, entry.device, entry.xattrs) == (found.link, found.device, found.xattrs)


def _order(path: str) -> str:
    # A directory before what it holds, siblings in byte order.
    return path.replace("/", "\0")
