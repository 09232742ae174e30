"""The result of a build as files of the host (``type=local``)."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from boxwright.files.disk import whole_file
from boxwright.files.entries import set_mode
from boxwright.files.trees import remove_tree
from boxwright.files.whole import beside
from boxwright.rootfs.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.view import LayersView, ViewNode

_CHUNK = 1 << 20
_MODE = 0o1777  # not setuid and setgid: a program of an image must not run as the host's root
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = 32
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Written:
    """Files of results in a directory as a user has them: content, permissions, times (with `mtime_ns` this one),
    links, hard links, FIFOs and ``user.*`` attributes; owned by who writes them. Other files stay, unless a file of
    a result has their name, or `remove_others` is called. A file is there when it is whole: until then what had its
    name is, and other builds may write to the same directory."""

    def __init__(self, top: Path, mtime_ns: int | None = None) -> None:
        self._top, self._mtime = top, mtime_ns
        self._paths: set[str] = set()
        self.left_out: list[str] = []  # devices and sockets

    def add(self, view: LayersView, below: str = "") -> None:
        """Write a tree, perhaps `below` a directory of that name. Raises OSError."""
        self._top.mkdir(parents=True, exist_ok=True)
        with Root.at(self._top) as root:
            if below:
                _directory(root, below)
        directories: list[ViewNode] = []
        first: dict[object, str] = {}
        with Root.at(self._top / below) as root:
            for node in view.walk(""):
                if not node.path:
                    continue
                if node.type in ("char", "block", "socket"):
                    self.left_out.append(node.path)
                    continue
                if self._mtime is not None:
                    node = node._replace(mtime_ns=self._mtime)
                if node.type == "dir":
                    _directory(root, node.path)
                    directories.append(node)
                else:
                    _entry(root=root, view=view, node=node, first=first)
                self._paths.add(f"{below}/{node.path}" if below else node.path)
            for node in reversed(directories):
                fd = root.open(node.path, _DIRECTORY)
                try:
                    _attributes(fd, node)
                finally:
                    os.close(fd)
        if below:
            self._paths.add(below)
            if self._mtime is not None:
                os.utime(self._top / below, ns=(self._mtime, self._mtime))

    def add_file(self, name: str, content: bytes, below: str = "") -> None:
        """Write a file beside a tree that was added there. Raises OSError, DiskError."""
        directory = self._top / below
        with whole_file(directory / name) as out:
            out.write(content)
        self._paths.add(f"{below}/{name}" if below else name)
        if self._mtime is not None:
            for path in (directory / name, directory) if below else (directory / name,):
                os.utime(path, ns=(self._mtime, self._mtime))

    def remove_others(self) -> None:
        """Remove what is in the directory and in no result. Raises OSError."""
        with Root.at(self._top) as root:
            self._sweep(root, "")

    def _sweep(self, root: Root, directory: str) -> None:
        for name in root.listdir(directory or "/"):
            path = f"{directory}/{name}" if directory else name
            if path not in self._paths:
                root.remove_tree(path)
            elif stat.S_ISDIR(root.lstat(path).st_mode):
                before = root.stat(path)
                self._sweep(root, path)
                with root.parent(path) as (fd, last):  # what was removed changed the directory's time
                    times = before.st_atime_ns, before.st_mtime_ns
                    os.utime(last, ns=times, dir_fd=fd, follow_symlinks=False)


def _directory(root: Root, path: str) -> None:
    """A directory, also where a file or a link is: through a link the result would be in another place."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(root.lstat(path).st_mode):
            root.remove_tree(path)
    root.makedirs(path)


def _entry(root: Root, view: LayersView, node: ViewNode, first: dict[object, str]) -> None:
    with root.parent(node.path) as (here, name):
        temporary = beside(name)
        try:
            _new(root=root, view=view, node=node, first=first, here=here, name=temporary)
            try:
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
            except IsADirectoryError:
                remove_tree(here, name)
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
        finally:
            # A rename of one of two links to one file leaves both as they are.
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=here)


def _new(
    *, root: Root, view: LayersView, node: ViewNode, first: dict[object, str], here: int, name: str
) -> None:
    if node.type == "file":
        known = first.setdefault(node.identity, node.path) if node.links > 1 else node.path
        if known != node.path:
            with root.parent(known) as (there, old):
                _link(there, old, here=here, name=name)
            return
        fd = os.open(name, _NEW, node.mode & 0o777, dir_fd=here)
        with os.fdopen(fd, "wb") as target, view.open(node) as content:
            shutil.copyfileobj(content, target, _CHUNK)
            target.flush()
            _attributes(fd, node)
        return
    if node.type == "symlink":
        os.symlink(node.link, name, dir_fd=here)
    else:
        os.mkfifo(name, node.mode & 0o777, dir_fd=here)
        set_mode(here, name, node.mode & _MODE)
    os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=here, follow_symlinks=False)


def _link(there: int, old: str, here: int, name: str) -> None:
    for left in reversed(range(_AGAIN)):
        try:
            return os.link(old, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:  # another build put its own file there while the kernel made the link
            if not left:
                raise


def _attributes(fd: int, node: ViewNode) -> None:
    for name, value in node.xattrs.items():
        if name.startswith("user."):
            with suppress(OSError):  # the file system has none
                os.setxattr(fd, name, value)
    os.fchmod(fd, node.mode & _MODE)
    os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
