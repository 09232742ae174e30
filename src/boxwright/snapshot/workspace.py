"""ROOT/work/<key>/: one tree in use, the same for every driver.

    state     what it is: 'write' or 'view', 'volatile' or 'durable', then the diff IDs below it, bottom first
    rootfs/   where the tree is mounted (the `copied` driver: the tree itself)
    upper/    what was written, in overlayfs's form
    work/     overlayfs's own

A directory without `state` is half made. Whatever is there, `remove` takes it away."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from boxwright.errors import Conflict, Invalid, NotFound
from boxwright.files import whole
from boxwright.files.disk import disk_errors, write_atomic
from boxwright.files.places import Places
from boxwright.files.trees import remove_tree
from boxwright.files.whole import fsync_dir
from boxwright.spec.digest import DiffID
from boxwright.spec.text import is_name
from boxwright.spec.values import dataclass

_HELPER = ".mount-"
_LONGEST_KEY = 200


class SnapshotMissing(NotFound):
    """There is no tree under this key."""


class SnapshotExists(Conflict):
    """The key is taken."""


class SnapshotReadOnly(Conflict):
    """The tree is a view, or is sealed: nothing can be written or committed."""


class KeyInvalid(Invalid):
    """The key is no usable directory name."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """`layers` bottom first; `sealed`: all is written, and it will not be mounted again."""

    path: Path
    writable: bool
    volatile: bool
    layers: tuple[DiffID, ...]
    sealed: bool = False

    @property
    def lasting(self) -> bool:
        """Whether it outlives the process that made it: a container's. Views and trees of build steps do not."""
        return self.writable and not self.volatile

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    @property
    def upper(self) -> Path:
        return self.path / "upper"

    @property
    def work(self) -> Path:
        return self.path / "work"


def workspace_path(root: Path, key: str) -> Path:
    """Where a key's workspace is or would be. Raises KeyInvalid."""
    if not is_name(key, least=1) or len(key) > _LONGEST_KEY:
        raise KeyInvalid(f"invalid snapshot key {key!r}")
    return Places(root).workspace(key)


def create(
    root: Path, key: str, layers: Sequence[DiffID], *, writable: bool, volatile: bool = False
) -> Workspace:
    """Make the directories, without `state`: the caller finishes with `save`. Raises SnapshotExists, DiskFull."""
    workspace = Workspace(
        path=workspace_path(root, key), writable=writable, volatile=volatile, layers=tuple(layers)
    )
    with disk_errors(str(workspace.path)):
        try:
            workspace.path.mkdir(mode=0o711)
        except FileExistsError as error:
            raise SnapshotExists(f"a tree named {key} exists already") from error
        except FileNotFoundError:
            workspace.path.mkdir(mode=0o711, parents=True)
        make_directory(workspace.rootfs)
    return workspace


def make_directory(path: Path) -> None:
    """One that may become a container's /, whatever the umask; or it is there."""
    try:
        path.mkdir()
        path.chmod(0o755)
    except FileExistsError:
        pass


def save(workspace: Workspace) -> None:
    """Write `state`; with it the workspace exists, after a power cut too if it is one that outlives its process."""
    words = ["write" if workspace.writable else "view", "volatile" if workspace.volatile else "durable"]
    text = "\n".join(
        [" ".join(words + (["sealed"] if workspace.sealed else [])), *map(str, workspace.layers)]
    )
    state = workspace.path / "state"
    with disk_errors(str(state)):
        if workspace.lasting:
            write_atomic(state, text.encode())  # its directory's entries with it: rootfs, upper, work
            fsync_dir(workspace.path.parent)
        else:
            whole.replace(state, text.encode(), sync=False)


def load(root: Path, key: str) -> Workspace:
    """Raises SnapshotMissing, also when a power cut left no whole `state`."""
    path = workspace_path(root, key)
    try:
        first, *layers = (path / "state").read_text().split("\n")
        kind, lasts, *more = first.split()
        stack = tuple(map(DiffID.parse, layers))
    except (FileNotFoundError, NotADirectoryError, ValueError, Invalid) as error:
        raise SnapshotMissing(f"there is no tree named {key}") from error
    if kind not in ("write", "view") or lasts not in ("volatile", "durable"):
        raise SnapshotMissing(f"the tree {key} is damaged")
    return Workspace(
        path=path,
        writable=kind == "write",
        volatile=lasts == "volatile",
        layers=stack,
        sealed="sealed" in more,
    )


def lost(root: Path, key: str, layers: Sequence[DiffID]) -> Workspace | None:
    """A container's workspace, to be finished, when its directory is not whole (a power cut took its `state`, or
    all of it).
    None when it is whole."""
    try:
        load(root, key)
        return None
    except SnapshotMissing:
        pass
    workspace = Workspace(path=workspace_path(root, key), writable=True, volatile=False, layers=tuple(layers))
    with disk_errors(str(workspace.path)):
        workspace.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        make_directory(workspace.rootfs)
    return workspace


def helper_mount(path: Path) -> Path:
    """A new directory of a workspace to mount something on, which `helper_mounts` finds after a crash."""
    target = path / f"{_HELPER}{os.urandom(6).hex()}"
    target.mkdir()
    return target


def helper_mounts(path: Path) -> list[Path]:
    """The directories of `helper_mount` that are there."""
    try:
        return [path / name for name in os.listdir(path) if name.startswith(_HELPER)]
    except FileNotFoundError:
        return []


def remove(path: Path) -> None:
    """Delete a workspace in whatever state it is; nothing may be mounted in it. Raises OSError."""
    try:
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        try:
            os.unlink(
                f"{path.name}/state", dir_fd=fd
            )  # first: from here on it is garbage, also after a crash
        except (FileNotFoundError, NotADirectoryError):
            pass
        remove_tree(fd, path.name)
    finally:
        os.close(fd)


def content_bytes(directory: Path) -> int:
    """Bytes of regular files' content below a directory, each inode once, as `docker ps --size` counts."""
    total = 0
    seen: set[tuple[int, int]] = set()
    todo = [str(directory)]
    while todo:
        try:
            entries = os.scandir(todo.pop())
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if info.st_nlink == 1 or (info.st_dev, info.st_ino) not in seen:
                        seen.add((info.st_dev, info.st_ino))
                        total += info.st_size
    return total
