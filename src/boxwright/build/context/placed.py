"""Where the files of a directory stand in a layer: a range of its tar, which the next layer can take as it is.

A range is known by everything that decides its bytes: the digest of the directory's files, which of them these are, and
where and how they were placed. So nothing has to be compared; what is not there any more is written anew.
"""

from __future__ import annotations

from pathlib import Path

from boxwright.build.context import kept
from boxwright.spec import hashes

_MAGIC = b"boxwright placed 1\n"
_ROOM = 1000  # ranges


def run_key(own: str, first: str, count: int, into: str, manner: str) -> bytes:
    """The key of `count` files from `first` on, of a directory whose files have the digest `own`, placed in the
    directory `into`. `manner` is all that decides their headers besides."""
    text = "\0".join((own, first, str(count), into, manner))
    return hashes.quick(text.encode("utf-8", "surrogateescape"))


class Placed:
    """The ranges of one context, in one file, which is read when the first is asked for. Not for several threads at
    once."""

    def __init__(self, path: Path | None) -> None:
        """`path` is the file; None keeps nothing. What cannot be read is as if it were not there."""
        self._path = path
        self._known: dict[bytes, tuple[str, int, int]] | None = None if path is not None else {}
        self._used: set[bytes] = set()
        self._dirty = False

    def find(self, key: bytes) -> tuple[str, int, int] | None:
        """The layer's diff ID, the range's offset and its length."""
        return self._loaded().get(key)

    def put(self, key: bytes, layer: str, offset: int, length: int) -> None:
        """Remember where a run is; in several layers, the one that was written last."""
        self._loaded()[key] = layer, offset, length
        self._used.add(key)
        self._dirty = True

    def save(self) -> None:
        """Write the file anew if there is anything new; a failure to do so costs only time later."""
        if self._path is None or not self._dirty:
            return
        known = self._loaded()
        if len(known) > 4 * len(self._used) + _ROOM:
            self._known = known = {key: known[key] for key in self._used}
        self._dirty = not kept.save(self._path, _MAGIC, known)  # type: ignore[arg-type]

    def _loaded(self) -> dict[bytes, tuple[str, int, int]]:
        if self._known is None:
            assert self._path is not None
            known: dict[bytes, tuple[str, int, int]] = kept.load(self._path, _MAGIC)  # type: ignore[assignment]
            self._known = known
        return self._known
