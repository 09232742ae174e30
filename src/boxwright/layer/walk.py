"""An overlay upper directory as a canonical tar: every file by directory descriptor, no symbolic link followed.

The tree may belong to a running container: a name that becomes something else between two calls is skipped or
reported, never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from boxwright.layer.scan import BLOCKDEV, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK
from boxwright.layer.tree import OPAQUE_MARK, WHITEOUT
from boxwright.layer.whiteout import is_whiteout
from boxwright.layer.write import EntryInvalid, TarBuilder

_DEEPEST = 900  # one descriptor a level, of the usual 1024
_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_FOREIGN = (
    "trusted.overlay.redirect",
    "trusted.overlay.metacopy",
    "user.overlay.redirect",
    "user.overlay.metacopy",
)


def write_tree(tree: Path | int, builder: TarBuilder) -> None:
    """Write the tree (a path, or a descriptor of its directory) and the end of the archive. Whiteouts and opaque
    directories become OCI's; sockets are left out; the root is told, without its time, only when it is not 0755
    root:root without xattrs. Raises EntryInvalid."""
    fd = os.open(".", _DIR_FLAGS, dir_fd=tree) if isinstance(tree, int) else os.open(tree, _DIR_FLAGS)
    walker = _Walker(builder)
    try:
        walker.root(fd)
    finally:
        walker.close()
    builder.finish()


class _Walker:
    def __init__(self, builder: TarBuilder) -> None:
        self._builder = builder
        self._links: dict[tuple[int, int], bytes] = {}
        self._stack: list[tuple[int, bytes, Iterator[tuple[bytes, bytes, os.DirEntry[bytes] | None]]]] = []

    def close(self) -> None:
        for fd, _, _ in self._stack:
            os.close(fd)

    def root(self, fd: int) -> None:
        self._stack.append((fd, b"", iter(())))
        st = os.fstat(fd)
        xattrs, opaque = _xattrs(fd, b"")
        if st.st_mode & 0o7777 != 0o755 or st.st_uid or st.st_gid or xattrs:
            # Its time is that of the last name written into it: no program set it, and it would differ each time.
            self._builder.put(
                b"", DIR, mode=st.st_mode, uid=st.st_uid, gid=st.st_gid, mtime=0, size=0, xattrs=xattrs
            )
        self._stack[-1] = (fd, b"", iter(_listing(fd, opaque)))
        while self._stack:
            fd, prefix, names = self._stack[-1]
            for shown, name, entry in names:
                if entry is None:
                    self._builder.put(prefix + shown, FILE, mode=0, uid=0, gid=0, mtime=0, size=0)
                elif self._entry(fd=fd, prefix=prefix, shown=shown, name=name, entry=entry):
                    break
            else:
                os.close(self._stack.pop()[0])

    def _entry(self, fd: int, prefix: bytes, shown: bytes, name: bytes, entry: os.DirEntry[bytes]) -> bool:
        """Write one name; True when it is a directory, which is now on top of the stack."""
        path = prefix + shown
        if entry.is_file(follow_symlinks=False):
            self._file(fd, path, name)
        elif entry.is_dir(follow_symlinks=False):
            self._dir(fd, path, name)
            return True
        else:
            self._other(parent=fd, prefix=prefix, path=path, name=name)
        return False

    def _file(self, parent: int, path: bytes, name: bytes) -> None:
        fd = _open(name, parent)
        try:
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                raise EntryInvalid(f"{os.fsdecode(path)} changed its type while it was read")
            if st.st_nlink > 1 and self._linked(st, path):
                return
            size = st.st_size
            xattrs, _ = _xattrs(fd, path)
            self._put(path, FILE, st, size=size, xattrs=xattrs)
            if size:
                self._builder.content_fd(fd, size, path)
        finally:
            os.close(fd)

    def _linked(self, st: os.stat_result, path: bytes) -> bool:
        key = (st.st_dev, st.st_ino)
        first = self._links.setdefault(key, path)
        if first is path:
            return False
        self._put(path, HARDLINK, st, link=first)
        return True

    def _dir(self, parent: int, path: bytes, name: bytes) -> None:
        if len(self._stack) >= _DEEPEST or len(path) > 4096:
            raise EntryInvalid(f"{os.fsdecode(path[:200])}… lies too deep for a layer")
        try:
            fd = os.open(name, _DIR_FLAGS, dir_fd=parent)
        except PermissionError:  # not root, and the owner took away his own permission
            with _readable(name, parent, 0o500):
                fd = os.open(name, _DIR_FLAGS, dir_fd=parent)
        self._stack.append((fd, path + b"/", iter(())))
        st = os.fstat(fd)
        xattrs, opaque = _xattrs(fd, path)
        self._put(path, DIR, st, xattrs=xattrs)
        self._stack[-1] = (fd, path + b"/", iter(_listing(fd, opaque)))

    def _other(self, parent: int, prefix: bytes, path: bytes, name: bytes) -> None:
        st = os.stat(name, dir_fd=parent, follow_symlinks=False)
        link, device, kind = b"", (0, 0), FIFO
        if stat.S_ISSOCK(st.st_mode):
            return
        if stat.S_ISLNK(st.st_mode):
            kind, link = SYMLINK, os.readlink(name, dir_fd=parent)
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            kind = CHAR if stat.S_ISCHR(st.st_mode) else BLOCKDEV
            device = os.major(st.st_rdev), os.minor(st.st_rdev)
        elif not stat.S_ISFIFO(st.st_mode):
            raise EntryInvalid(f"{os.fsdecode(path)} changed its type while it was read")
        if st.st_nlink > 1 and self._linked(st, path):
            return
        xattrs, _ = _xattrs(b"/proc/self/fd/%d/%b" % (parent, name), path)
        # Links are kept 0777 by Linux.
        self._put(path, kind, st, link=link, device=device, xattrs=xattrs)

    def _put(
        self,
        path: bytes,
        kind: str,
        st: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        xattrs: dict[bytes, bytes] | None = None,
    ) -> None:
        self._builder.put(
            path,
            kind,
            mode=st.st_mode,
            uid=st.st_uid,
            gid=st.st_gid,
            mtime=st.st_mtime_ns,
            size=size,
            link=link,
            device=device,
            xattrs=xattrs,
        )


def _listing(fd: int, opaque: bool) -> list[tuple[bytes, bytes, os.DirEntry[bytes] | None]]:
    """(name in the tar, name here, entry) in the tar's order; entry None = only a mark."""
    out: list[tuple[bytes, bytes, os.DirEntry[bytes] | None]] = []
    if opaque:
        out.append((OPAQUE_MARK, b"", None))
    with os.scandir(fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if name[:4] == WHITEOUT:
                raise EntryInvalid(
                    f"a file is called {os.fsdecode(name)}: in a layer, names that begin with .wh. mean removed files",
                    hint="rename or remove it",
                )
            if not (
                entry.is_file(follow_symlinks=False)
                or entry.is_dir(follow_symlinks=False)
                or entry.is_symlink()
            ) and is_whiteout(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                out.append((WHITEOUT + name, name, None))
            else:
                out.append((name, name, entry))  # type: ignore[arg-type]
    out.sort(key=lambda item: item[0])
    return out


def _xattrs(where: int | bytes, path: bytes) -> tuple[dict[bytes, bytes] | None, bool]:
    """What a layer keeps of extended attributes, and whether overlayfs calls the directory opaque."""
    try:
        names = os.listxattr(where, follow_symlinks=not isinstance(where, bytes))
    except OSError:  # a file system without them, or no /proc
        return None, False
    if not names:
        return None, False
    kept: dict[bytes, bytes] = {}
    opaque = False
    for name in names:
        if name.startswith(("trusted.overlay.", "user.overlay.")):
            if name in _FOREIGN:
                raise EntryInvalid(
                    f"{os.fsdecode(path)} has {name}: the overlay was mounted with options that layers cannot express"
                )
            opaque = opaque or (name in _OPAQUE and _value(where, name) == b"y")
        elif (
            not name.startswith("security.") or name == "security.capability"
        ):  # the others belong to the host
            value = _value(where, name)
            if value is not None:
                kept[os.fsencode(name)] = value
    return kept or None, opaque


def _value(where: int | bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(where, name, follow_symlinks=not isinstance(where, bytes))
    except OSError:
        return None


def _open(name: bytes, parent: int) -> int:
    try:
        return os.open(name, _FILE_FLAGS, dir_fd=parent)
    except PermissionError:
        with _readable(name, parent, 0o400):
            return os.open(name, _FILE_FLAGS, dir_fd=parent)


class _readable:
    """Lends the owner a permission for a moment."""

    def __init__(self, name: bytes, parent: int, bits: int) -> None:
        self._name, self._parent, self._bits = name, parent, bits

    def __enter__(self) -> None:
        self._mode = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False).st_mode & 0o7777
        os.chmod(self._name, self._mode | self._bits, dir_fd=self._parent)

    def __exit__(self, *_: object) -> None:
        os.chmod(self._name, self._mode, dir_fd=self._parent)
