"""Streams that check what passes through them."""

from __future__ import annotations

import io

from boxwright.errors import Corrupt
from boxwright.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

CHUNK = 1024 * 1024  # bytes; one size for every buffer in the data path


class ContentMismatch(Corrupt):
    """Bytes are not what their descriptor says."""


class VerifiedReader(io.RawIOBase):
    """Reads exactly `desc.size` bytes of `raw` and compares their digest at the end.

    Closing before the end is not an error of the content: it raises nothing.
    """

    def __init__(self, raw: BinaryIO, desc: Descriptor, *, what: str = "") -> None:
        self._raw = raw
        self._desc = desc
        self._what = what or f"{desc.media_type} {desc.digest}"
        self._left = desc.size
        self._hash = desc.digest.hasher(desc.size)
        self._done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._left == 0:
            self._finish()
            return 0
        view = view[: self._left]
        readinto = getattr(self._raw, "readinto", None)
        if readinto is not None:
            count = readinto(view) or 0
        else:
            data = self._raw.read(len(view))
            count = len(data)
            view[:count] = data
        if not count:
            raise ContentMismatch(
                f"{self._what} ends {self._left} bytes before its size of {self._desc.size}"
            )
        self._hash.update(view[:count])
        self._left -= count
        if self._left == 0:
            self._finish()
        return count

    def _finish(self) -> None:
        if self._done:
            return
        self._done = True
        if self._hash.hexdigest() != self._desc.digest.hex:
            raise ContentMismatch(
                f"{self._what} has other bytes: their digest is {self._desc.digest.algorithm}:{self._hash.hexdigest()}"
            )
        if self._raw.read(1):
            raise ContentMismatch(f"{self._what} goes on after its size of {self._desc.size} bytes")

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def read_verified(raw: BinaryIO, desc: Descriptor, *, limit: int) -> bytes:
    """All of a small blob; raises ContentMismatch, also when it claims more than `limit` bytes."""
    if desc.size > limit:
        raw.close()
        raise ContentMismatch(
            f"{desc.media_type} {desc.digest} claims {desc.size} bytes; at most {limit} are accepted"
        )
    with io.BufferedReader(VerifiedReader(raw, desc), CHUNK) as stream:
        return stream.read()
