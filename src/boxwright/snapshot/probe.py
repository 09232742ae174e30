"""Which snapshot driver works here, found out by doing once what it will do: kernels differ in more than their
version (file systems that cannot carry an overlay, namespaces that may not mount, filters).

The answer is kept (`snapshot.chosen`).
"""

from __future__ import annotations

import os
from pathlib import Path

from boxwright.content.local import LocalStore
from boxwright.errors import Invalid, Unsupported
from boxwright.files.places import Places
from boxwright.files.trees import remove_tree
from boxwright.layer.store import LayerStore
from boxwright.snapshot.chosen import DRIVERS, chosen, keep
from boxwright.snapshot.mount import MountFailed, attach, detach, open_tree
from boxwright.snapshot.snapshotter import Mount, Snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DriverUnknown(Invalid):
    """There is no driver of this name."""


class DriverUnusable(Unsupported):
    """The wanted driver does not work here."""


def choose_driver(root: Path, layers: LayerStore, *, wanted: str = "") -> Snapshotter:
    """The best driver that works, or the wanted one. Raises DriverUnknown, DriverUnusable."""
    if wanted and wanted not in DRIVERS:
        raise DriverUnknown(f"unknown snapshot driver {wanted!r}", hint="known are " + ", ".join(DRIVERS))
    known = chosen(root, wanted)
    if known is None:
        known = _probe(layers.store, wanted)
        keep(root, wanted, known)
    return make(known["driver"], root, layers, reason=known["reason"], userxattr=bool(known.get("userxattr")))


def make(
    driver: str, root: Path, layers: LayerStore, *, reason: str = "", userxattr: bool = False
) -> Snapshotter:
    """A driver by name, without asking whether it works."""
    if driver == "mounted":
        from boxwright.snapshot.mounted import Mounted

        return Mounted(root, layers, reason=reason)
    if driver == "unpacked":
        from boxwright.snapshot.unpacked import Unpacked

        return Unpacked(root, layers, reason=reason, userxattr=userxattr)
    from boxwright.snapshot.copied import Copied

    return Copied(root, layers, reason=reason)


def _probe(store: LocalStore, wanted: str) -> dict[str, Any]:
    reasons: list[str] = []
    for driver in (wanted,) if wanted else DRIVERS:
        reason = ""
        # A user namespace's root has no `trusted.` attributes; overlayfs can keep its own under `user.` instead.
        for userxattr in (False, True) if driver == "unpacked" else (False,):
            failed = try_driver(driver, store.root, userxattr=userxattr)
            if not failed:
                why = (
                    "chosen by the user"
                    if wanted
                    else "; ".join(reasons) or "the best there is: layers are mounted, never unpacked"
                )
                return {"driver": driver, "reason": why, "userxattr": userxattr}
            reason = reason or failed
        reasons.append(f"{driver} does not work here: {reason}")
    raise DriverUnusable("; ".join(reasons), hint="leave BOXWRIGHT_DRIVER unset to use the best that works")


def try_driver(driver: str, root: Path, *, userxattr: bool = False) -> str:
    """Do what the driver does, small; returns what stopped it, '' when nothing did."""
    if driver == "copied":
        return ""
    base = Places(root).workspace(f".probe-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        for name in ("lower/dir", "upper", "work"):
            (base / name).mkdir(parents=True)
        (base / "lower/dir/file").write_bytes(b"x" * 600)
        lower = base / "lower"
        if driver == "mounted":
            _tiny_index(base)
            attach([Mount("erofs", str(base / "index.erofs"), (f"device={base}/layer.tar", "ro"))], lower)
        try:
            return _try_overlay(base, userxattr)
        finally:
            if driver == "mounted":
                detach(lower)
    except MountFailed as error:
        return str(error).replace(str(base), "…")
    except OSError as error:
        return f"{error.strerror}"
    finally:
        fd = os.open(Places(root).workspaces, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(fd, base.name)
        finally:
            os.close(fd)


def _try_overlay(base: Path, userxattr: bool) -> str:
    options = (
        f"lowerdir+={base}/lower",
        f"upperdir={base}/upper",
        f"workdir={base}/work",
        "redirect_dir=nofollow",
        "metacopy=off",
        "index=off",
        "xino=off",
        "volatile",
    )
    fd = open_tree([Mount("overlay", "overlay", options + (("userxattr",) if userxattr else ()))])
    try:
        reader = os.open("dir/file", os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
        try:
            if os.read(reader, 1000) != b"x" * 600:
                return "a file in a mounted layer reads wrong"
        finally:
            os.close(reader)
        # What a build does to a tree: replace a directory, which needs a whiteout and then an opaque mark.
        os.unlink("dir/file", dir_fd=fd)
        os.rmdir("dir", dir_fd=fd)
        os.mkdir("dir", dir_fd=fd)
        os.mkdir("new", dir_fd=fd)
        os.chown("new", os.geteuid(), os.getegid(), dir_fd=fd)
    finally:
        os.close(fd)
    marks = [name for name in os.listxattr(base / "upper/dir") if name.endswith(".overlay.opaque")]
    if not marks:
        return "overlayfs does not mark replaced directories in a way that can be read"
    return "" if os.path.isdir(base / "upper/new") else "overlayfs does not write to its upper directory"


def _tiny_index(base: Path) -> None:
    from boxwright.layer.erofs import write_index
    from boxwright.layer.tree import LayerTree
    from boxwright.layer.write import Entry, TarBuilder
    from boxwright.layer.writer import scan_file

    with open(base / "layer.tar", "w+b", buffering=0) as tar:
        builder = TarBuilder(tar)
        builder.add(Entry(path="dir", type="dir", mode=0o755))
        builder.add(Entry(path="dir/file", size=600), b"x" * 600)
        builder.finish()
        tree = LayerTree()
        scan_file(tar.fileno(), builder.offset, tree)
        fd = os.open(base / "index.erofs", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            write_index(tree, builder.offset, fd)
        finally:
            os.close(fd)
