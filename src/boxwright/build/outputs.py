"""Where results go beside the store: a directory, a tar, an archive that other tools read (dockerfile.md 2.2)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from boxwright.build.export import Exported
from boxwright.build.graph import Tree
from boxwright.build.plan import Plan
from boxwright.build.request import Output, RequestInvalid
from boxwright.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from boxwright.build.builder import Building
    from boxwright.image.rooms import Rooms
    from boxwright.layer.view import LayersView

_KINDS = ("image", "docker", "oci", "local", "tar", "cacheonly", "registry")


def wanted_outputs(outputs: Sequence[Output]) -> tuple[bool, list[Output]]:
    """Whether the image goes into the store, and what else is to be written. Raises RequestInvalid."""
    if not outputs:
        return True, []
    others: list[Output] = []
    to_store = False
    for output in outputs:
        if output.type not in _KINDS:
            raise RequestInvalid(f"unknown output type {output.type!r}", hint=f"one of {', '.join(_KINDS)}")
        if output.type in ("image", "registry") or (output.type == "docker" and not output.dest):
            to_store = True
        elif output.type != "cacheonly":
            if not output.dest and output.type in ("local", "oci"):
                raise RequestInvalid(f"output type={output.type} needs dest=PATH")
            others.append(output)
    return to_store, others


def write_outputs(
    building: Building,
    outputs: Sequence[Output],
    solved: Sequence[tuple[Plan, Tree]],
    exported: Exported | None,
    names: Sequence[str],
) -> None:
    """Write every output. Raises what writing raises."""
    for output in outputs:
        if output.type in ("oci", "docker"):
            assert exported is not None
            _archive(building.rooms, output, exported, names)
            continue
        for plan, tree in solved:
            split = len(solved) > 1
            view = building.step(plan.target).view(tree)
            if output.type == "local":
                top = Path(output.dest) / str(plan.platform).replace("/", "_") if split else Path(output.dest)
                _directory(view, top)
            else:
                with _sink(output.dest) as sink:
                    _tar(view, sink)


def make_index(rooms: Rooms, made: Sequence[Exported], platforms: Sequence[Platform]) -> Exported:
    """Join the images of several platforms under one index, and register that."""
    from boxwright.spec.descriptor import Descriptor
    from boxwright.spec.digest import Digest
    from boxwright.spec.manifest import Index

    index = Index.compose(
        Descriptor(one.media_type, Digest.parse(one.target), one.size, platform=platform)
        for one, platform in zip(made, platforms)
    )
    with rooms.store.committing():
        desc = rooms.store.put(index.raw, index.media_type)
        row = rooms.images_store.add(desc)
    return Exported(row.image_id, row.target, row.media_type, row.size, False)


def _archive(rooms: Rooms, output: Output, exported: Exported, names: Sequence[str]) -> None:
    from boxwright.image.save import save

    wanted = [output.options["name"]] if output.options.get("name") else list(names) or [exported.target]
    with _sink(output.dest) as sink:
        save(rooms.images_store, wanted, sink)


def _sink(dest: str) -> BinaryIO:
    if dest in ("", "-"):
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    path = Path(dest)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _tar(view: LayersView, sink: BinaryIO) -> None:
    from boxwright.layer.write import Entry, TarBuilder

    builder = TarBuilder(sink)
    first: dict[object, str] = {}
    for node in view.walk(""):
        if not node.path or node.type == "socket":
            continue
        known = (
            first.setdefault(node.identity, node.path)
            if node.type == "file" and node.links > 1
            else node.path
        )
        if known != node.path:
            builder.add(Entry(node.path, "hardlink", node.mode, node.uid, node.gid, node.mtime, link=known))
            continue
        entry = Entry(
            node.path,
            node.type,
            node.mode,
            node.uid,
            node.gid,
            node.mtime,
            node.size,
            node.link,
            node.device,
            node.xattrs,
        )
        if node.type == "file" and node.size:
            with view.open(node) as content:
                builder.add(entry, content)
        else:
            builder.add(entry)
    builder.finish()


def _directory(view: LayersView, top: Path) -> None:
    """Files as a user has them: content, permissions and links; owners and devices only where that is allowed."""
    import shutil

    from boxwright.rootfs.root import Root

    top.mkdir(parents=True, exist_ok=True)
    modes: list[tuple[str, int]] = []
    with Root.at(top) as root:
        for node in view.walk(""):
            if not node.path or node.type in ("socket", "char", "block", "fifo"):
                continue
            if node.type == "dir":
                root.makedirs(node.path)
                modes.append((node.path, node.mode))
                continue
            root.remove_tree(node.path)
            if node.type == "symlink":
                with root.parent(node.path) as (fd, name):
                    os.symlink(node.link, name, dir_fd=fd)
                continue
            fd = root.open(node.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, node.mode & 0o777)
            with os.fdopen(fd, "wb") as target, view.open(node) as content:
                shutil.copyfileobj(content, target, 1 << 20)
                os.fchmod(target.fileno(), node.mode & 0o777)
        for path, mode in reversed(modes):
            fd = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
            os.fchmod(fd, mode & 0o777)
            os.close(fd)
