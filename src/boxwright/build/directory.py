"""The result of a build as files of the host (``type=local``)."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from boxwright.rootfs.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.view import LayersView, Node

_CHUNK = 1 << 20
_MODE = 0o1777  # not setuid and setgid: a program of an image must not run as the host's root
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def write_directory(view: LayersView, top: Path) -> list[str]:
    """Files as a user has them: content, permissions, times, links, hard links, FIFOs and ``user.*`` attributes; owned
    by who writes them. What is there already stays, unless a file of the result has its name.

    Returns the paths that were left out: devices and sockets. Raises OSError.
    """
    top.mkdir(parents=True, exist_ok=True)
    directories: list[Node] = []
    left_out: list[str] = []
    first: dict[object, str] = {}
    with Root.at(top) as root:
        for node in view.walk(""):
            if not node.path:
                continue
            if node.type in ("char", "block", "socket"):
                left_out.append(node.path)
            elif node.type == "dir":
                _make_directory(root, node.path)
                directories.append(node)
            else:
                root.remove_tree(node.path)
                _entry(root=root, view=view, node=node, first=first)
        for node in reversed(directories):
            fd = root.open(node.path, _DIRECTORY)
            try:
                _attributes(fd, node)
            finally:
                os.close(fd)
    return left_out


def _make_directory(root: Root, path: str) -> None:
    try:
        root.makedirs(path)
    except (FileExistsError, NotADirectoryError):
        root.remove_tree(path)
        root.makedirs(path)


def _entry(root: Root, view: LayersView, node: Node, first: dict[object, str]) -> None:
    if node.type == "file" and node.links > 1:
        known = first.setdefault(node.identity, node.path)
        if known != node.path:
            with root.parent(known) as (there, old), root.parent(node.path) as (here, name):
                os.link(old, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
            return
    if node.type == "file":
        fd = root.open(node.path, _NEW, node.mode & 0o777)
        with os.fdopen(fd, "wb") as target, view.open(node) as content:
            shutil.copyfileobj(content, target, _CHUNK)
            target.flush()
            _attributes(fd, node)
        return
    with root.parent(node.path) as (here, name):
        if node.type == "symlink":
            os.symlink(node.link, name, dir_fd=here)
        else:
            os.mkfifo(name, node.mode & 0o777, dir_fd=here)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=here, follow_symlinks=False)


def _attributes(fd: int, node: Node) -> None:
    for name, value in node.xattrs.items():
        if name.startswith("user."):
            with suppress(OSError):  # the file system has none
                os.setxattr(fd, name, value)
    os.fchmod(fd, node.mode & _MODE)
    os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
