"""Digests: content named by its hash (OCI image-spec, descriptor.md#digests)."""

from __future__ import annotations

from collections.abc import Iterable

from boxwright.errors import Invalid
from boxwright.spec import hashes
from boxwright.spec.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash
    from typing import Self

_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = "0123456789abcdef"


class DigestInvalid(Invalid):
    """The text is not ``algorithm:hex`` of a registered algorithm."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """``algorithm:hex``; only sha256 and sha512, lower-case hex of the right length."""

    algorithm: str
    hex: str

    # As the decorator would make them, for what is compared and looked up most.
    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.hex == other.hex and self.algorithm == other.algorithm

    def __hash__(self) -> int:
        return hash(self.hex)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``sha256:…``. Raises DigestInvalid."""
        algorithm, colon, hexed = text.partition(":")
        length = _LENGTHS.get(algorithm)
        if not colon or length is None or len(hexed) != length or hexed.strip(_HEX):
            raise DigestInvalid(
                f"invalid digest {text[:150]!r}: wanted sha256: and 64, or sha512: and 128, lower-case hex digits"
            )
        return cls(algorithm, hexed)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of these bytes."""
        made = hashes.new(algorithm, len(data))
        made.update(data)
        return cls(algorithm, made.hexdigest())

    @property
    def short(self) -> str:
        """The first 12 hex digits, as Docker prints them."""
        return self.hex[:12]

    def hasher(self, size: int = -1) -> _Hash:
        """A fresh hash object of this digest's algorithm, for about `size` bytes (negative: for many)."""
        return hashes.new(self.algorithm, size)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class DiffID(Digest):
    """Digest of a layer's uncompressed tar."""

    __slots__ = ()


class ChainID(Digest):
    """Name of a stack of layers (image-spec, config.md#layer-chainid)."""

    __slots__ = ()


def chain_id(diff_ids: Iterable[Digest]) -> ChainID | None:
    """Fold diff IDs, bottom first, into the chain ID of the stack; None for no layers."""
    chain: ChainID | None = None
    for diff in diff_ids:
        if chain is None:
            chain = ChainID(diff.algorithm, diff.hex)
        else:
            chain = ChainID.of(f"{chain} {diff}".encode())
    return chain
