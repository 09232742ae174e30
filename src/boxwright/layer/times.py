"""A layer with other modification times, and otherwise as it was."""

from __future__ import annotations

from boxwright.layer.reader import TarReader
from boxwright.layer.store import Layer, LayerStore
from boxwright.layer.tarstream import open_tar
from boxwright.layer.tree import WHITEOUT
from boxwright.layer.write import TarBuilder
from boxwright.layer.writer import LayerWriter


def with_times(layers: LayerStore, layer: Layer, epoch: int, *, exactly: bool) -> Layer:
    """The layer with `epoch` (unix seconds) for every later time, with `exactly` for every time; the layer itself where
    nothing changes. Raises what reading it raises, DiskFull."""
    limit, changed = epoch * 1_000_000_000, False
    with TarReader(open_tar(layer)) as reader, LayerWriter(layers) as writer:
        builder = TarBuilder(writer)
        for header in reader.entries():
            mtime = header.seconds * 1_000_000_000 + header.nanoseconds
            name = header.name.rstrip(b"/")
            if mtime > limit or (exactly and not name.rpartition(b"/")[2].startswith(WHITEOUT)):
                changed = changed or mtime != limit
                mtime = limit
            builder.put(
                b"" if name == b"." else name,
                header.type,
                mode=header.mode,
                uid=header.uid,
                gid=header.gid,
                mtime=mtime,
                size=header.size,
                link=header.link,
                device=(header.major, header.minor),
                xattrs=header.xattrs,
            )
            while data := reader.content():
                builder.copied(data)
            builder.end_content(header.size)
        builder.finish()
        return writer.commit() if changed else layer
