"""Reads a tar entry by entry and hands on every byte of it, for code that makes another archive of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from boxwright.content.verify import CHUNK
from boxwright.layer.scan import BLOCK, Header, Scanner, TarInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Self


class TarReader:
    """Owns the stream: a context manager. `between` hears all bytes that are not read as content: headers, padding,
    the archive's end and what follows."""

    def __init__(self, tar: BinaryIO, between: Callable[[bytes], object] = lambda data: None) -> None:
        self._tar = (
            io.BufferedReader(tar, CHUNK // 8) if isinstance(tar, io.RawIOBase) else tar
        )  # closes it, too
        self._between = between
        self._scanner = Scanner()
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def entries(self) -> Iterator[Header]:
        """Each entry, its content next: a caller that wants it calls `content`, before the next entry. Raises
        TarInvalid, for sparse files too: their content is not what lies in the archive."""
        scanner = self._scanner
        while data := self._tar.read(min(scanner.skippable, CHUNK) or BLOCK):
            if scanner.skippable:
                scanner.skip(len(data))
                self._between(data)
                continue
            self._between(data)
            for header in scanner.feed(data):
                if header.segments is not None:
                    raise TarInvalid(f"{header.name!r} is a sparse file, of which parts are stored only")
                self._left = header.size
                yield header
        scanner.finish()

    def content(self, most: int = CHUNK) -> bytes:
        """The next bytes of the entry's content, b'' at its end. Raises TarInvalid when the archive ends before."""
        if not self._left:
            return b""
        data = self._tar.read(min(most, self._left))
        if not data:
            raise TarInvalid("the archive is cut off", hint="fetch or make it again")
        self._left -= len(data)
        self._scanner.skip(len(data))
        return data
