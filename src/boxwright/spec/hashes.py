"""SHA-2 of small things without OpenSSL.

`import hashlib` loads libcrypto and starts it, 3 to 7 ms, which is longer than a short command needs for all else that
it computes; the interpreter has a plain implementation of its own. It is several times slower by the byte, so streams
of content take OpenSSL's. The interpreter's modules are private (`_sha256`, `_sha512` in Python 3.11, `_sha2` since),
so `hashlib` is the fall-back.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

SMALL = 1 << 18  # bytes from which on OpenSSL is worth its start
QUICK = 20  # bytes that `quick` gives


def new(algorithm: str, size: int = -1) -> _Hash:
    """A hash object for about `size` bytes (negative: for many). `algorithm` is sha256 or sha512."""
    if 0 <= size <= SMALL and "hashlib" not in sys.modules:
        plain = _plain(algorithm)
        if plain is not None:
            return plain()
    import hashlib

    return hashlib.new(algorithm)


def sha256(data: bytes) -> _Hash:
    """The hash object after these bytes."""
    if "hashlib" in sys.modules:  # one call for each of very many files
        import hashlib  # waits for another thread that is in the middle of it

        return hashlib.sha256(data)
    made = new("sha256", len(data))
    made.update(data)
    return made


def quick(data: bytes | memoryview) -> bytes:
    """A digest (BLAKE2b) by which this program knows something again; it costs no start and a third of SHA-2's time."""
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    made: bytes = blake2b(data, digest_size=QUICK).digest()
    return made


def _plain(algorithm: str) -> Callable[[], _Hash] | None:
    for name in (f"_{algorithm}", "_sha2"):
        try:
            made: Callable[[], _Hash] = getattr(__import__(name), algorithm)
        except (ImportError, AttributeError):
            continue
        return made
    return None
