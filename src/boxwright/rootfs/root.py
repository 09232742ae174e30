"""A tree that another program filled, addressed only from its top directory's descriptor.

Every path is resolved *inside* the tree: absolute links start at its top, ``..`` stops there (openat2's
RESOLVE_IN_ROOT; where the kernel or a filter lacks openat2, a walk component by component does the same). A link
that the tree's owner swaps in while we look can therefore lead elsewhere in the tree, never out of it.
"""

from __future__ import annotations

import errno
import os
import stat
from _struct import pack
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from boxwright.errors import Invalid
from boxwright.files import syscalls
from boxwright.files.entries import set_mode
from boxwright.files.trees import remove_tree
from boxwright.rootfs.paths import TooManyLinks, real, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_NO_MAGIC_LINKS, _IN_ROOT = 0x02, 0x10
_AGAIN = 32


class UnsafePath(Invalid):
    """A path is empty, has a NUL, or needs more links than are followed."""


class Root:
    """Owns the descriptor `fd` of the tree's top directory. Paths may be absolute or relative: both start at the
    top."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """Open a directory of the host as a tree. Raises OSError."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        """A descriptor (close-on-exec); links are followed inside the tree, the last one too unless O_NOFOLLOW.
        Raises OSError."""
        return open_in_root(root=self.fd, path=_checked(path), flags=flags | os.O_CLOEXEC, mode=mode)

    def stat(self, path: str) -> os.stat_result:
        """What the path leads to. Raises OSError."""
        return self._status(path, 0)

    def lstat(self, path: str) -> os.stat_result:
        """The path itself, its last component not followed. Raises OSError."""
        return self._status(path, os.O_NOFOLLOW)

    def _status(self, path: str, flag: int) -> os.stat_result:
        fd = self.open(path, os.O_PATH | flag)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def readlink(self, path: str) -> str:
        """The target of a symbolic link. Raises OSError."""
        fd = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def listdir(self, path: str = "/") -> list[str]:
        """Sorted names. Raises OSError."""
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def read(self, path: str, limit: int = 10 << 20) -> bytes | None:
        """The beginning of a regular file; None when there is none at that path."""
        try:
            fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            parts: list[bytes] = []
            while limit > 0 and (chunk := os.read(fd, min(limit, 1 << 20))):
                parts.append(chunk)
                limit -= len(chunk)
            return b"".join(parts)
        finally:
            os.close(fd)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """(descriptor of the containing directory, last component), for the calls with `dir_fd`. Raises OSError,
        UnsafePath when the path is the top itself."""
        head, _, name = _checked(path).rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise UnsafePath(f"{path!r} does not name an entry of a directory")
        fd = self.open(head or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            yield fd, name
        finally:
            os.close(fd)

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """The absolute path inside the tree without links and dots; components that do not exist are kept as they
        are, and so is the last one, link or not, unless it is followed. Raises UnsafePath when links go in circles."""
        try:
            return "/" + real(_checked(path), self._link, follow_last=follow_last)
        except TooManyLinks as error:
            raise UnsafePath(f"too many levels of symbolic links in {path!r}") from error

    def _link(self, path: str) -> str | None:
        try:
            return self.readlink(path)
        except OSError:
            return None

    def makedirs(self, path: str, mode: int = 0o755, *, uid: int = -1, gid: int = -1) -> list[str]:
        """Make a directory and its missing parents, through links; returns what was made, parents first. Mode and
        owner (-1 = this process's) go to the new ones only. Raises OSError."""
        made: list[str] = []
        at = ""
        fd = os.dup(self.fd)
        try:
            for name in self.resolve(path).split("/")[1:]:
                if not name:
                    continue
                at += f"/{name}"
                try:
                    os.mkdir(name, mode, dir_fd=fd)
                    set_mode(fd, name, mode)  # mkdir's goes through the umask
                    if uid >= 0 or gid >= 0:
                        os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
                    made.append(at)
                except FileExistsError:
                    pass
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = below
        finally:
            os.close(fd)
        return made

    def remove_tree(self, path: str) -> None:
        """Remove whatever is at the path, all below it too; nothing there is no error. Raises OSError."""
        try:
            with self.parent(path) as (fd, name):
                remove_tree(fd, name)
        except (FileNotFoundError, NotADirectoryError):
            pass


def found_in(top: Path, path: str) -> tuple[str, int]:
    """Where a path inside a tree of the host leads: the absolute path inside it without links, and the mode of what
    lies there. Raises OSError, UnsafePath."""
    with Root.at(top) as root:
        inside = root.resolve(path)
        return inside, root.lstat(inside).st_mode


def _checked(path: str) -> str:
    if "\0" in path:
        raise UnsafePath("a path has a NUL character")
    return path or "/"


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """openat2 with RESOLVE_IN_ROOT, or the walk. Raises OSError."""
    creating = flags & (os.O_CREAT | os.O_TMPFILE) not in (0, os.O_DIRECTORY)
    how = pack("QQQ", flags, mode if creating else 0, _IN_ROOT | _NO_MAGIC_LINKS)
    for _ in range(_AGAIN):
        try:
            return syscalls.call(syscalls.OPENAT2, root, os.fsencode(path), how, len(how))
        except OSError as error:
            if syscalls.missing(error):
                break
            if error.errno != errno.EAGAIN:  # a rename somewhere raced with '..': look again
                raise OSError(error.errno, error.strerror, path) from None
    return walk_in_root(root=root, path=path, flags=flags, mode=mode)


def walk_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """The same without openat2: one component at a time, never following a link blindly. Raises OSError."""
    cursor = _Descriptors(root)
    try:
        name, directory = walk(cursor, path, follow_last=not flags & os.O_NOFOLLOW)
        if not name:
            return os.open(".", flags & ~os.O_CREAT | os.O_CLOEXEC, mode, dir_fd=cursor.fd)
        if directory:  # 'name/'
            flags |= os.O_DIRECTORY
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=cursor.fd)
    finally:
        cursor.close()


class _Descriptors:
    """The cursor of a tree of the host: the directories from the top down to this one, all open."""

    def __init__(self, root: int) -> None:
        self._open = [os.dup(root)]

    @property
    def fd(self) -> int:
        return self._open[-1]

    def link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self.fd)
        except OSError:
            return None

    def down(self, name: str) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._open.append(os.open(name, flags, dir_fd=self.fd))

    def up(self) -> None:
        if len(self._open) > 1:
            os.close(self._open.pop())

    def restart(self) -> None:
        while len(self._open) > 1:
            self.up()

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)
