"""One file of a context directory: what its status says, and what has to be read of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from boxwright.build.context.looks import KEY, NO_XATTRS, look_key
from boxwright.build.dockerfile.ignore import NOTHING
from boxwright.spec import hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from boxwright.build.context.looks import Look
else:
    Protocol = object  # what it is for is checked before it runs

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "file",  # as BuildKit has it: an empty one
}
_NOTHING = hashes.sha256(b"").digest()  # of an empty file
_NO_DEVICE = (0, 0)
CHUNK = 1 << 20  # bytes up to which a file is read in one go
_DEFAULT_UMASK = 0o022


class NodeOwner(Protocol):
    """The directory that a file was found in."""

    modes: dict[str, dict[int, int]]  # by type: permissions with the checkout's umask -> without

    def know(self, node: LocalNode) -> None:
        """Read what a file's status does not say: the digest of its content, its extended attributes."""


class LocalNode:
    """A file of the context, as the image is to have it: owned by root, modes without the checkout's umask.

    Plain numbers instead of a stat_result: a context may have very many of these.
    """

    __slots__ = (
        "_tree",
        "_xattrs",
        "carry",
        "device",
        "hidden",
        "identity",
        "link",
        "mode",
        "mtime_ns",
        "noted",
        "path",
        "size",
        "type",
    )

    uid = 0
    gid = 0

    def __init__(
        self,
        tree: NodeOwner,
        path: str,
        kind: str,
        noted: Look,
        link: str = "",
        hidden: bool = False,
        carry: int = NOTHING,
    ) -> None:
        self._tree = tree
        self.path = path
        self.type = kind
        self.link = link
        self.hidden = hidden  # ignored itself; may be a directory with something in it that is not
        self.carry = carry  # the ignore pattern that decided
        mode, inode, device, links, size, self.mtime_ns, _ = noted
        permissions = mode & 0o7777
        self.mode = tree.modes[kind].get(permissions, permissions)
        self.size = size if kind == "file" else 0
        self.noted = look_key(noted)  # and the digest of the content behind it, once that is known
        self.identity: tuple[int, int] | None = (device, inode) if kind == "file" and links > 1 else None
        self.device = _NO_DEVICE
        self._xattrs: Mapping[str, bytes] | None = None
        if stat.S_ISSOCK(mode):  # which cannot be opened to find out
            self.learn(_NOTHING, NO_XATTRS)

    @property
    def key(self) -> bytes:
        """The `stat_key` of what was listed."""
        return self.noted[:KEY]

    @property
    def content(self) -> str:
        """The digest of the content in hex; '' while it is not known."""
        return self.noted[KEY:].hex()

    @property
    def is_known(self) -> bool:
        """Whether the digest of the content is known."""
        return len(self.noted) > KEY

    def learn(self, digest: bytes, xattrs: Mapping[str, bytes]) -> None:
        """Take what was read of the file: the sha256 of its content, its extended attributes."""
        self.noted = self.noted[:KEY] + digest
        self._xattrs = xattrs

    @property
    def xattrs(self) -> Mapping[str, bytes]:
        if self._xattrs is None:
            self._tree.know(self)
        return self._xattrs or NO_XATTRS


def hash_file(fd: int, size: int) -> str:
    """The sha256, in hex, of what can be read from a descriptor; `size` is what is expected."""
    if size < CHUNK:
        data = os.read(fd, size + 1)
        if len(data) == size:
            return hashes.sha256(data).hexdigest()
        os.lseek(fd, 0, os.SEEK_SET)
    digest = hashes.new("sha256")
    while chunk := os.read(fd, CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def read_xattrs(directory: int, name: str) -> Mapping[str, bytes]:
    """The extended attributes that an image keeps: user.* and file capabilities."""
    path = f"/proc/self/fd/{directory}/{name}" if name else directory
    try:
        names = os.listxattr(path, follow_symlinks=False) if name else os.listxattr(path)
        wanted = [n for n in names if n == "security.capability" or n.startswith("user.")]
        if not wanted:
            return NO_XATTRS
        return {
            n: os.getxattr(path, n, follow_symlinks=False) if name else os.getxattr(path, n)
            for n in sorted(wanted)
        }
    except OSError:
        return NO_XATTRS  # the file system has none, or they went meanwhile


def umask_of(mode: int, *, directory: bool) -> int:
    """The umask that made a file (or directory) of this mode out of 0666 (0777).

    Where a class of users may neither read nor write, it is taken to be shut out altogether. A mode that no
    umask makes (the owner cannot read or write it) says nothing: then it is 022, the usual one.
    """
    if mode & 0o600 != 0o600:
        return _DEFAULT_UMASK
    missing = ~mode & (0o777 if directory else 0o666)
    if not directory:
        missing |= sum(1 << shift for shift in (0, 3) if missing >> shift & 6 == 6)
    return missing & 0o077
