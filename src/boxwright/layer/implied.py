"""Directories that tars only imply, where overlayfs would show them with the wrong attributes.

An archive with ``tmp/file`` and no ``tmp/`` (`crane append`, Bazel, ko, jib make such) says nothing about /tmp. In an
index that directory is 0755 root:root of 1970, and overlayfs takes the uppermost layer's word: /tmp would lose its
1777. The cure is one more lower directory on top of the stack that holds those directories alone, as they should be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from boxwright.files.disk import disk_errors
from boxwright.layer.erofs import IMPLIED_AT
from boxwright.layer.store import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.view import ViewNode


def implies(layer: Layer) -> bool:
    """Whether the layer holds directories, other than its root, that its tar never mentions."""
    if layer.kind == "tree":
        return False
    fd = os.open(layer.index_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return any(os.pread(fd, 4, IMPLIED_AT))
    finally:
        os.close(fd)


def misshown(layers: Sequence[Layer]) -> list[ViewNode]:
    """The directories of a stack (bottom first) that overlayfs would show with other attributes than the layers
    say, as they should be, with all that lies above them; sorted by path. Empty for almost every stack."""
    suspects = [layer for layer in layers[1:] if implies(layer)]
    if not suspects:
        return []
    from boxwright.layer.view import LayersView

    with LayersView(layers) as view:
        out: dict[str, ViewNode] = {}
        for path in sorted({path for layer in suspects for path in _implied(layer)}):
            node = view.lstat(path)
            if node is None or node.type != "dir" or node.path != path or not node.place[0][2].implied:
                continue
            if (node.mode, node.uid, node.gid, node.mtime_ns) != (0o755, 0, 0, 0) or node.xattrs:
                while path not in out:
                    out[path] = node
                    path = path.rpartition("/")[0]
                    above = view.lstat(path)
                    assert above is not None
                    node = above
        return [out[path] for path in sorted(out)]


def write_attributes(nodes: Sequence[ViewNode], target: Path) -> None:
    """Make what `misshown` says in an empty directory: the uppermost lower of the stack. What this process may not
    set (owners without root) is left as it is. Raises DiskFull."""
    with disk_errors(str(target)):
        for node in nodes:
            (target / node.path).mkdir(mode=0o700, exist_ok=True)
        for node in reversed(nodes):
            path = target / node.path
            if os.geteuid() == 0:
                os.chown(path, node.uid, node.gid)
                for name, value in node.xattrs.items():
                    os.setxattr(path, name, value)
            path.chmod(node.mode)
            os.utime(path, ns=(node.mtime_ns, node.mtime_ns))


def _implied(layer: Layer) -> Iterator[str]:
    from boxwright.layer.source import open_source

    source = open_source(layer)
    try:
        todo = [(b"", source.root)]
        while todo:
            path, handle = todo.pop()
            for name, child in source.children(handle).items():
                facts = source.facts(child)
                if facts.is_dir:
                    below = path + b"/" + name if path else name
                    if facts.implied:
                        yield os.fsdecode(below)
                    todo.append((below, child))
    finally:
        source.close()
