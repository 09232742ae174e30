"""Nodes of a merged tree as entries of a tar."""

from __future__ import annotations

from boxwright.layer.write import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.layer.view import LayersView, ViewNode
    from boxwright.layer.write import TarBuilder


class NodeWriter:
    """Writes nodes of one view below `prefix`, further names of a file as hard links to its first. With `mtime_ns`
    every entry has that time. Sockets have no place in a tar and are left out."""

    def __init__(
        self, builder: TarBuilder, view: LayersView, *, prefix: str = "", mtime_ns: int | None = None
    ) -> None:
        self._builder, self._view, self._prefix, self._mtime = builder, view, prefix, mtime_ns
        self._first: dict[object, str] = {}

    def add(self, node: ViewNode) -> None:
        """Raises what reading the content raises."""
        if node.type == "socket":
            return
        path = self._prefix + node.path
        known = (
            self._first.setdefault(node.identity, path) if node.type == "file" and node.links > 1 else path
        )
        linked = known != path
        entry = Entry(
            path=path,
            type="hardlink" if linked else node.type,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            mtime_ns=node.mtime_ns if self._mtime is None else self._mtime,
            size=0 if linked else node.size,
            link=known if linked else node.link,
            device=(0, 0) if linked else node.device,
            xattrs={} if linked else node.xattrs,
        )
        if entry.type == "file" and entry.size:
            with self._view.open(node) as content:
                self._builder.add(entry, content)
        else:
            self._builder.add(entry)
