"""Sparse files written out: the bytes of an archive as they are, but for entries that store parts of a file only."""

from __future__ import annotations

from boxwright.content.verify import CHUNK
from boxwright.layer.scan import BLOCK, Header, Scanner, TarInvalid
from boxwright.layer.write import TarBuilder
from boxwright.layer.writer import LayerWriter


def write_out(archive: LayerWriter, into: LayerWriter) -> None:
    """Write what `archive` took to `into`, each file whole. What stands before a sparse entry and speaks of it
    (extended headers) is replaced with it; holes stay holes on the disk. Raises TarInvalid, DiskFull."""
    _Rewriting(archive, into).run()


class _Rewriting:
    def __init__(self, archive: LayerWriter, into: LayerWriter) -> None:
        self._archive = archive
        self._into = into
        self._builder = TarBuilder(into)
        self._done = 0  # bytes of the archive that are written or replaced

    def run(self) -> None:
        scanner, end = Scanner(), 0  # `end` of the last entry and its data
        size = self._archive.size
        while scanner.position < size:
            if scanner.skippable:
                scanner.skip(min(scanner.skippable, size - scanner.position))
                continue
            for header in scanner.feed(self._archive.read(BLOCK, scanner.position)):
                start, end = end, scanner.position + scanner.skippable
                if header.segments is None:
                    shift = self._builder.offset - self._done
                    self._into.announce(header._replace(offset=header.offset + shift))
                else:
                    self._copy(self._done, start)
                    self._whole(header)
                    self._done = end
        scanner.finish()
        self._copy(self._done, min(end, size))
        self._builder.end_content(min(end, size))
        self._builder.finish()

    def _copy(self, at: int, end: int) -> None:
        while at < end:
            data = self._archive.read(min(CHUNK, end - at), at)
            if not data:
                raise TarInvalid("the archive is cut off", hint="fetch or make it again")
            self._builder.copied(data)
            at += len(data)

    def _whole(self, header: Header) -> None:
        builder, at, source = self._builder, 0, header.offset
        mtime = header.seconds * 1_000_000_000 + header.nanoseconds
        builder.put(
            header.name,
            header.type,
            mode=header.mode,
            uid=header.uid,
            gid=header.gid,
            mtime=mtime,
            size=header.size,
            xattrs=header.xattrs,
        )
        segments = header.segments or ()
        for offset, length in zip(segments[::2], segments[1::2]):
            builder.content_holes(offset - at, self._into.skip)
            self._copy(source, source + length)
            at, source = offset + length, source + length
        builder.content_holes(header.size - at, self._into.skip)
        builder.end_content(header.size)
