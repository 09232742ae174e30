"""Places to mount on, made before a process starts in a tree, and taken away or left out afterwards: nothing of the
engine's own is in a layer.

OCI runtimes make what is missing too, each in its own way: crun follows no dangling links and makes parents sticky. So
every destination is resolved here, with the tree as its root, and made, and both mount at the result.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from boxwright.errors import Invalid
from boxwright.files.entries import set_mode
from boxwright.rootfs.root import Root, UnsafePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PSEUDO = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2")
_KERNEL = (
    "/proc",
    "/sys",
    "/dev",
)  # never through a link of the tree's: runtimes refuse those, and masks go by the names


class MountPointInvalid(Invalid):
    """Nothing can be mounted there: a file or a circle of links is in the way."""


class MountPoints:
    """The mount points of one tree. `prepare` before the runtime starts, `clean` when it has ended and the tree is
    still mounted, `prune` on what was written once it is not."""

    def __init__(self) -> None:
        self._made: list[tuple[str, bool]] = []  # path, whether a directory; parents first
        self._above: dict[
            str, tuple[int, int, int]
        ] = {}  # directories of the tree's own above them: mode, owners

    def prepare(
        self,
        rootfs: Path,
        mounts: Sequence[dict[str, Any]],
        announce: Callable[[list[str]], None] | None = None,
    ) -> None:
        """Make what is missing, and replace each destination by where it really is. `announce` is told before what
        will be made (absolute paths). Raises MountPointInvalid."""
        with Root.at(rootfs) as root:
            places: list[tuple[str, str, bool]] = []  # as asked for, where that is, whether a directory
            covered: list[str] = []
            for mount in mounts:
                asked = mount["destination"]
                if any(asked.startswith(above + "/") for above in covered):
                    continue  # lies in a mount that hides the tree; the runtime makes it there
                try:
                    real = asked if asked in _KERNEL else root.resolve(asked)
                except UnsafePath as error:
                    raise MountPointInvalid(f"cannot mount at {asked}: {error}") from error
                if any(real.startswith(above + "/") for above in covered):
                    mount["destination"] = real
                    continue
                directory = mount["type"] in _PSEUDO or Path(mount["source"]).is_dir()
                mount["destination"] = "/" + real.lstrip("/")
                covered += [asked.rstrip("/"), mount["destination"].rstrip("/")]
                places.append((asked, real, directory))
            if announce is not None:
                announce(missing(root, [real for _, real, _ in places]))
            for asked, real, directory in places:
                try:
                    self._make(root, real, directory)
                except NotADirectoryError as error:
                    raise MountPointInvalid(f"cannot mount at {asked}: a file is in the way") from error

    def _make(self, root: Root, path: str, directory: bool) -> None:
        parts = path.strip("/").split("/")
        above: dict[str, tuple[int, int, int]] = {}
        for count in range(1, len(parts) + 1):
            here = "/".join(parts[:count])
            is_directory = directory or count < len(parts)
            with root.parent(here) as (fd, name):
                try:
                    if is_directory:
                        os.mkdir(name, 0o755, dir_fd=fd)
                        set_mode(fd, name, 0o755)  # whatever the umask is
                    else:
                        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                        os.close(os.open(name, flags, 0o644, dir_fd=fd))
                except FileExistsError:
                    above[here] = _facts(os.stat(name, dir_fd=fd, follow_symlinks=False))
                    continue
                self._made.append((here, is_directory))
        if self._made and self._made[-1][0] == "/".join(parts):  # else nothing below them was touched
            made = {path for path, _ in self._made}
            self._above = {
                **{path: facts for path, facts in above.items() if path not in made},
                **self._above,
            }

    def clean(self, rootfs: Path) -> None:
        """Remove what was made, unless the step put something there."""
        with Root.at(rootfs) as root:
            for path, is_directory in reversed(self._made):
                try:
                    with root.parent(path) as (fd, name):
                        if is_directory:
                            os.rmdir(name, dir_fd=fd)
                        elif _is_empty_file(fd, name):
                            os.unlink(name, dir_fd=fd)
                except OSError:
                    continue  # the step uses it, or removed it itself

    def prune(self, upper: Path) -> None:
        """Directories that overlayfs copied up only because of a mount point in them go again: they are as they were
        in the tree below, and empty."""
        with Root.at(upper) as root:
            for path in sorted(self._above, key=lambda p: p.count("/"), reverse=True):
                try:
                    info = root.lstat(path)
                    same = stat.S_ISDIR(info.st_mode) and _facts(info) == self._above[path]
                    if same and not _is_opaque(upper / path):
                        with root.parent(path) as (fd, name):
                            os.rmdir(name, dir_fd=fd)
                except OSError:
                    continue  # not copied up, or not empty


def missing(root: Root, paths: Sequence[str]) -> list[str]:
    """Those paths, and directories above them, that the tree does not have."""
    out: set[str] = set()
    for path in paths:
        parts = path.strip("/").split("/")
        for length in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:length])
            try:
                root.lstat(here)
            except OSError:
                out.add(here)
    return sorted(out)


def _facts(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_mode, info.st_uid, info.st_gid


def _is_empty_file(fd: int, name: str) -> bool:
    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    return stat.S_ISREG(info.st_mode) and info.st_size == 0


def _is_opaque(path: Path) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
