"""What an overlay upper directory says against the layers below it: as a layer, and as `docker diff`'s lines."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.view import LayersView, ViewNode
from boxwright.layer.whiteout import is_whiteout
from boxwright.layer.writer import LayerWriter
from boxwright.snapshot.compare import Lent
from boxwright.snapshot.snapshotter import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}


def write_layer(
    layers: LayerStore, upper: Path | int, *, owned: bool = False, omit: Collection[str] = ()
) -> Layer:
    """Write an upper directory, which may be in use, out as a tar-backed layer; `owned`: what is this user's belongs
    to root in the layer (a tree that was made without privilege). Empty files, links and directories at the paths of
    `omit` (absolute, as `Change.path`) are left out. Raises Invalid, DiskFull."""
    from boxwright.layer.walk import write_tree
    from boxwright.layer.write import TarBuilder

    left_out = {os.fsencode(path.strip("/")) for path in omit}

    class Selective(TarBuilder):
        def __init__(self, sink: Any) -> None:
            super().__init__(sink)
            # directories that are left out unless something in them is not
            self._held: list[tuple[bytes, dict[str, Any]]] = []

        def put(self, name: bytes, kind: str, *, uid: int, gid: int, size: int, **more: Any) -> None:
            self._held = [held for held in self._held if name.startswith(held[0] + b"/")]
            uid, gid = _inside(uid, gid, owned)
            known = {"uid": uid, "gid": gid, "size": size, **more}
            if name in left_out and kind == "dir":
                self._held.append((name, known))
            elif name not in left_out or kind not in ("file", "symlink") or size:
                for directory, attributes in self._held:
                    super().put(directory, "dir", **attributes)
                self._held = []
                super().put(name, kind, **known)

    with LayerWriter(layers) as writer:
        write_tree(upper, Selective(writer) if owned or left_out else TarBuilder(writer))
        return writer.commit()


def _inside(uid: int, gid: int, owned: bool) -> tuple[int, int]:
    if not owned:
        return uid, gid
    return 0 if uid == os.geteuid() else uid, 0 if gid == os.getegid() else gid


def changes(
    upper: Path, below: Sequence[Layer], *, owned: bool = False, omit: Collection[str] = ()
) -> Iterator[Change]:
    """What `upper` changes in the stack of layers, in path order.

    Docker's rules (moby archive.ChangesDirs): A added, C changed, D deleted; a directory is changed when its mode
    or owner is or when something in it is; a file that was opened and left as it was is not. `owned`: as for
    `write_layer`; owners then say nothing. `omit`: as for `write_layer`."""
    with LayersView(below) as view, Lent(upper, 0o500) as modes:
        fd = os.open(upper, _DIRECTORY)
        try:
            yield from _Comparer(below=view, owned=owned, modes=modes, omit=frozenset(omit)).directory(
                fd, "", hidden=False
            )
        finally:
            os.close(fd)


class _Comparer:
    def __init__(
        self, below: LayersView, owned: bool, modes: Mapping[str, int], omit: frozenset[str]
    ) -> None:
        self._omit = omit
        self._below = below
        self._owned = owned
        self._modes = modes

    def directory(self, fd: int, path: str, *, hidden: bool, new: bool = False) -> list[Change]:
        """`hidden`: an opaque directory at or above this one hides what the layers have here; `new`: they have no
        directory here."""
        found: dict[str, list[Change]] = {}
        names = os.listdir(fd)
        if hidden and not new:
            present = set(names)
            for name in self._below.listdir(path or "/"):
                if name not in present:
                    found[name] = [Change(f"{path}/{name}", "D")]
        for name in names:
            try:
                found[name] = self._entry(parent=fd, name=name, path=f"{path}/{name}", hidden=hidden, new=new)
            except FileNotFoundError:  # a running container removed it meanwhile
                continue
        return [change for name in sorted(found) for change in found[name]]

    def _entry(self, parent: int, name: str, path: str, hidden: bool, new: bool) -> list[Change]:
        info = os.lstat(name, dir_fd=parent)
        old = None if new else self._below.lstat(path)
        if is_whiteout(info):
            return [Change(path, "D")] if old is not None else []
        inside: list[Change] = []
        if stat.S_ISDIR(info.st_mode):
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            try:
                inside = self.directory(
                    fd, path, hidden=hidden or _is_opaque(fd), new=old is None or old.type != "dir"
                )
            finally:
                os.close(fd)
        if (
            path in self._omit
            and not inside
            and (stat.S_ISDIR(info.st_mode) or stat.S_ISLNK(info.st_mode) or not info.st_size)
        ):
            return []
        if old is None:
            return [Change(path, "A"), *inside]
        if inside or not self._same(info, old, self._modes.get(path[1:], stat.S_IMODE(info.st_mode))):
            return [Change(path, "C"), *inside]
        return []

    def _same(self, info: os.stat_result, old: ViewNode, mode: int) -> bool:
        if stat.S_IFMT(info.st_mode) != _TYPES.get(old.type):
            return False
        if not self._owned and (info.st_uid, info.st_gid) != (old.uid, old.gid):
            return False
        if stat.S_ISLNK(info.st_mode):
            return info.st_size == len(os.fsencode(old.link)) and _same_time(info.st_mtime_ns, old.mtime_ns)
        if mode != old.mode:
            return False
        if stat.S_ISDIR(info.st_mode):
            return True
        if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            return (os.major(info.st_rdev), os.minor(info.st_rdev)) == old.device
        return info.st_size == old.size and _same_time(info.st_mtime_ns, old.mtime_ns)


def _same_time(one: int, two: int) -> bool:
    # Tars often drop what is below a second.
    return one == two or (one // 10**9 == two // 10**9 and (one % 10**9 == 0 or two % 10**9 == 0))


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError:
            continue
    return False
