"""The protocols through which bytes move. Four places implement them: the local store, a registry, an archive,
an OCI layout. `content.copy.copy` moves an image between any two.

Life cycle of content: a writer is opened (`ingest`), takes bytes, and commits; until then nothing is visible.
What is committed is immutable. A reader verifies what it reads: `close` after a full read, or the read that
reaches the end, raises `Corrupt` on a mismatch.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol, runtime_checkable

from boxwright.spec.descriptor import Descriptor


class Fetcher(Protocol):
    """Gives bytes for descriptors."""

    def open(self, desc: Descriptor) -> BinaryIO:
        """A verified stream of exactly these bytes. Raises NotFound; reading raises Corrupt, Unavailable."""
        ...


class Resolver(Protocol):
    """Gives descriptors for names."""

    def resolve(self, name: str) -> Descriptor:
        """The manifest or index that the name points at now. Raises NotFound, Unavailable, Unauthorized."""
        ...


class Pusher(Protocol):
    """Takes bytes. `push` returning means "the content is stored", not "I stored it"."""

    def exists(self, desc: Descriptor) -> bool:
        """A hint, never a promise."""
        ...

    def push(self, desc: Descriptor, body: BinaryIO) -> None:
        """Store the bytes; idempotent. Raises Corrupt when they are not what `desc` says."""
        ...


class Tagger(Protocol):
    """Takes names."""

    def tag(self, name: str, desc: Descriptor) -> None:
        """Point the name at a stored manifest or index."""
        ...


@runtime_checkable
class Source(Fetcher, Resolver, Protocol):
    """Where images come from."""


@runtime_checkable
class Sink(Pusher, Tagger, Protocol):
    """Where images go."""
